package format

// This file has what a header says of a redacted capture.

// Redacted says, in a header, of which capture this one is what may be given away.
type Redacted struct {
	SHA256 string `msgpack:"sha256" json:"sha256"` // of the original file, hexadecimal
	Bytes  int64  `msgpack:"bytes" json:"bytes"`   // its length
	Head   string `msgpack:"head" json:"head"`     // chain of its last frame, hexadecimal
	Tool   string `msgpack:"tool" json:"tool"`     // "acc VERSION" that redacted it
	// how addresses were replaced: prefix, opaque or class
	Addresses string   `msgpack:"addresses" json:"addresses"`
	Keep      []string `msgpack:"keep" json:"keep"` // classes that were kept on demand
	// fingerprint of the key, "": a key of its own that was not kept
	Key    string          `msgpack:"key" json:"key"`
	Counts []RedactedCount `msgpack:"counts" json:"counts"` // what was replaced or removed, by class
}

// RedactedCount is how much of a class was replaced or removed.
type RedactedCount struct {
	Class  string `msgpack:"class" json:"class"`   // address, process, path ...
	Values uint64 `msgpack:"values" json:"values"` // different values
	Places uint64 `msgpack:"places" json:"places"` // where they stood
}
