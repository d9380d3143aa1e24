package main

// This file says what a file is that is no capture.

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/acc-project/acc/format"
)

// foreignFiles are files of other programs that people give to acc, by their first bytes.
// In a hint, %s is the name of the file.
var foreignFiles = []struct{ magic, kind, hint string }{
	{"\xd4\xc3\xb2\xa1", "a pcap file, which has packets", "tcpdump -nr %s prints it"},
	{"\xa1\xb2\xc3\xd4", "a pcap file, which has packets", "tcpdump -nr %s prints it"},
	{"\x4d\x3c\xb2\xa1", "a pcap file, which has packets", "tcpdump -nr %s prints it"},
	{"\xa1\xb2\x3c\x4d", "a pcap file, which has packets", "tcpdump -nr %s prints it"},
	{"\x17\x08\x44tracing", "a trace.dat file of trace-cmd", "trace-cmd report -i %s prints it"},
	{"PERFILE2", "a perf.data file of perf", "perf script -i %s prints it"},
	{"2ELIFREP", "a perf.data file of perf", "perf script -i %s prints it"},
	{"-----BEGIN SSH SIGNATURE", "a signature", "acc verify finds the signature of a capture by itself: acc verify " +
		"CAPTURE"},
	{"\xfd7zXZ\x00", "an xz file", "if a capture is in it: xz -dc %s | acc analyze -"},
	{"BZh", "a bzip2 file", "if a capture is in it: bzip2 -dc %s | acc analyze -"},
	{"\x1f\x8b", "a gzip file, and no capture is where it begins",
		"if a tar archive with a capture is in it: tar -xzOf %s | acc analyze -"},
	{"\x28\xb5\x2f\xfd", "a zstd file, and no capture is where it begins",
		"if a capture is in it: zstd -dc --long=31 %s | acc analyze -"},
	{"PK\x03\x04", "a zip file", "if a capture is in it: unzip -p %s | acc analyze -"},
	{"{", "JSON, as acc replay --json prints", "acc reads captures that acc record wrote"},
}

// isArchive reports whether a file begins as a zip or a tar archive does, in which a capture can lie as it is.
func isArchive(head []byte) bool { return bytes.HasPrefix(head, []byte("PK\x03\x04")) || isTar(head) }

// isTar reports whether a file begins as a tar archive does.
func isTar(head []byte) bool { return len(head) >= 262 && string(head[257:262]) == "ustar" }

// foreign gives the error for what is no capture and begins with head: by its kind, if
// that is known.
func foreign(err error, head []byte, name string) error {
	kind, hint := "", "acc reads captures that acc record wrote"
	for _, f := range foreignFiles {
		if bytes.HasPrefix(head, []byte(f.magic)) {
			kind, hint = f.kind, f.hint
			break
		}
	}
	if bytes.HasPrefix(head, []byte("\n\r\r\n")) {
		kind, hint = "a pcapng file, which has packets", "tshark -nr %s prints it"
		if isScap(head) {
			kind, hint = "an scap file of sysdig or Falco", "sysdig -r %s prints it"
		}
	}
	if isTar(head) {
		kind, hint = "a tar archive", "if a capture is in it: tar -xOf %s | acc analyze -"
	}
	if kind == "" {
		return &hinted{err, hint}
	}
	if bytes.Contains([]byte(hint), []byte("%s")) {
		hint = fmt.Sprintf(hint, fileName(name))
	}
	return &hinted{fmt.Errorf("%w: it is %s", format.ErrNotCapture, kind), hint}
}

// isScap tells an scap file from pcapng, whose first block they share: its second block
// is one of sysdig's, whose types are 0x201 and following.
func isScap(head []byte) bool {
	if len(head) < 12 {
		return false
	}
	order := binary.ByteOrder(binary.LittleEndian)
	if order.Uint32(head[8:]) != 0x1a2b3c4d {
		order = binary.BigEndian
	}
	next := order.Uint32(head[4:])
	if next < 12 || uint64(next)+4 > uint64(len(head)) {
		return false
	}
	kind := order.Uint32(head[next:])
	return kind > 0x200 && kind < 0x300
}

// headBytes is how much of the beginning of an input is kept, to name what it is.
const headBytes = 512

// keptHead reads, and keeps the first bytes.
type keptHead struct {
	r    io.Reader
	head []byte
}

func (k *keptHead) Read(p []byte) (int, error) {
	n, err := k.r.Read(p)
	k.head = append(k.head, p[:min(n, headBytes-len(k.head))]...)
	return n, err
}

// unwrap looks at whether a whole capture was compressed by another program. A command
// that takes what is inside reads on there; others say how to unwrap it.
func (in *input) unwrap(r io.Reader) (io.Reader, error) {
	by, content := "", r
	if in.bytes == 0 {
		var err error
		if content, err = unwrapReport(r); err != nil {
			return nil, err
		}
		r = content
	}
	if in.bytes > 0 { // which stays where it is
		_, by = format.Unwrap(io.NewSectionReader(in.source, 0, in.bytes))
	} else {
		content, by = format.Unwrap(r)
	}
	if by == "" {
		return content, nil
	}
	if !in.inside {
		name := in.file.Name()
		to := strings.TrimSuffix(strings.TrimSuffix(name, ".gz"), ".zst")
		if to == name {
			to += ".acc"
		}
		hint := "unwrap it: " + by + " -dc " + fileName(name) + " > " + fileName(to)
		if in.file == os.Stdin {
			hint = "unwrap it with " + by + " -dc"
		}
		return nil, &hinted{errors.New("a capture that " + by +
			" compressed once more: this command takes the capture itself"), hint}
	}
	if in.bytes > 0 {
		content, _ = format.Unwrap(r)
		in.bytes = 0 // where a byte is inside is not known
	}
	return content, nil
}
