package museum

// This file has exhibits that were compressed once more.

import (
	"bytes"
	"compress/gzip"
	"io"

	"github.com/klauspost/compress/zstd"
)

// Wrap compresses a file as a whole, as gzip or zstd do.
func Wrap(by string, data []byte) []byte {
	if by == "zstd" {
		return encoder.EncodeAll(data, nil)
	}
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, err := w.Write(data)
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		panic(err)
	}
	return out.Bytes()
}

// wrapped are captures that another program compressed, by hands that mean harm.
func wrapped() []Exhibit {
	var whole bytes.Buffer
	good(&whole)
	capture := whole.Bytes()
	list := []Exhibit{
		raw("zstd around a capture", 1, Wrap("zstd", capture)),
		raw("cut gzip", 1, Wrap("gzip", capture)[:60]),
		raw("head of gzip alone", 1, []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255}),
		raw("gzip of 1 MiB of blocks without a byte", 1,
			append([]byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255}, bytes.Repeat([]byte{0, 0, 0, 255, 255}, 200_000)...)),
		raw("zstd with a window of 3.75 TiB", 1, []byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xff, 0x23, 0x03, 0x00, 0x00}),
	}
	bomb := func(name string, open func(w io.Writer) io.WriteCloser) Exhibit {
		return Exhibit{Name: name, Verify: 1, Write: func(w io.Writer) error {
			c := open(w)
			_, err := c.Write(capture)
			zeros := make([]byte, 1<<20)
			for range 256 {
				if err == nil {
					_, err = c.Write(zeros)
				}
			}
			if err == nil {
				err = c.Close()
			}
			return err
		}}
	}
	return append(list,
		bomb("gzip around a capture and 256 MiB of zeros", func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) }),
		bomb("zstd around a capture and 256 MiB of zeros, window of 32 MiB", func(w io.Writer) io.WriteCloser {
			e, err := zstd.NewWriter(w, zstd.WithWindowSize(32<<20), zstd.WithEncoderConcurrency(1))
			if err != nil {
				panic(err)
			}
			return e
		}))
}
