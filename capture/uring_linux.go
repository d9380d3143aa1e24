package capture

// This file reads the bits of io_uring's requests, which move between kernels, from BTF.

import (
	"bytes"
	"encoding/binary"
	"os"
)

// The values of an enum without a name, which programs can't ask for, and which move between kernels.
const (
	multishotBit = "REQ_F_APOLL_MULTISHOT_BIT" // the request is multishot; io_accept itself says it from 6.10 on
	polledBit    = "REQ_F_POLLED_BIT"          // it waited for a connection before
)

// requestFlag is the bit of io_kiocb.flags that has a name, 0 if this kernel's types do not tell.
func requestFlag(bit string) uint64 {
	b, err := os.ReadFile("/sys/kernel/btf/vmlinux")
	if err != nil || len(b) < 24 {
		return 0
	}
	// struct btf_header (include/uapi/linux/btf.h): magic, version, flags, hdr_len,
	// type_off, type_len, str_off, str_len.
	order := binary.NativeEndian
	head := int(order.Uint32(b[4:]))
	types, typesLen := head+int(order.Uint32(b[8:])), int(order.Uint32(b[12:]))
	strs := head + int(order.Uint32(b[16:]))
	if types+typesLen > len(b) || strs > len(b) {
		return 0
	}
	name := bytes.Index(b[strs:], []byte("\x00"+bit+"\x00"))
	if name < 0 {
		return 0
	}
	// struct btf_enum: name_off, val. No other type has this name and a small number behind it.
	want := order.AppendUint32(nil, uint32(name+1))
	for at := types; at+8 <= types+typesLen; at += 4 {
		if bytes.Equal(b[at:at+4], want) {
			if bit := order.Uint32(b[at+4:]); bit > 0 && bit < 64 {
				return 1 << bit
			}
		}
	}
	return 0
}
