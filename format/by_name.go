package format

// This file holds how maps are written: in the order of their keys.

import (
	"maps"
	"slices"

	"github.com/vmihailenco/msgpack/v5"
)

// encodeByName writes a map as the library does, but smallest name first; the library sorts maps of text alone.
func encodeByName[V any](e *msgpack.Encoder, values map[string]V, encode func(V) error) error {
	if values == nil {
		return e.EncodeNil()
	}
	if err := e.EncodeMapLen(len(values)); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if err := e.EncodeString(name); err != nil {
			return err
		}
		if err := encode(values[name]); err != nil {
			return err
		}
	}
	return nil
}
