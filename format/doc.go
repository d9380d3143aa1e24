// Package format reads and writes captures, the files of acc.
//
// A capture is a standard zstd stream whose content is a standard msgpack
// stream. What is acc's own (sequence, lengths, checksums, hash chain, index,
// end mark) rides in zstd skippable frames, which every zstd reader passes over:
//
//	link  frame 0   header                          skippable, then zstd
//	link  frame 1   processes, clocks, losses, a block of events
//	…
//	link  frame n   end
//	index                                           skippable
//	tail                                            skippable
//
// Every zstd frame stands alone: it is compressed without reference to another,
// and its content is whole records. A record is an array of a tag and a body:
// ["header", {…}], ["process", {…}], ["clock", {…}], ["loss", {…}],
// ["block", {seq, rows, cols}], ["end", {…}]. Readers pass over tags and members
// that they don't know. A frame holds at most one block; columns of a block
// stand in the order of the header's fields. docs/FORMAT.md specifies all of it,
// with a reader in Python.
//
// A [Reader] is strict: what is not exactly as a [Writer] wrote it is a
// [CorruptError] with its place, and a capture that stops early is [ErrTruncated]
// after all that is complete. Salvage is a separate, explicit mode that leaves
// out what is bad and says what it left out.
//
// Input is taken for hostile: lengths are checked against what is there before
// anything is allocated or decoded, and memory has a bound for any input.
//
// Stable until version 1: captures of any version can be read, always. Exported names may
// change until then; docs/API.txt lists them, CHANGELOG.md says which changed.
package format
