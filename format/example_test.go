package format_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log"
	"os"

	"github.com/acc-project/acc/format"
)

// Range over the events of a capture. What stands before a damaged place is right: Next gives
// it first, and then says what is wrong.
func ExampleReader() {
	f, err := os.Open("../testdata/captures/v1.acc")
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()
	r, err := format.NewReader(f, format.ReaderOptions{})
	if err != nil {
		log.Fatal(err)
	}
	kinds := map[format.Kind]int{}
	for {
		b, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			log.Fatal(err)
		}
		for i := range b.Events {
			kinds[b.Events[i].Kind]++
		}
	}
	fmt.Println(kinds[format.Enter], "entries,", kinds[format.Return], "returns")
	// Output: 25 entries, 24 returns
}

// A reader that is not acc's needs zstd and msgpack only: docs/FORMAT.md. acc's own refuses
// what is no capture.
func ExampleNewReader() {
	_, err := format.NewReader(bytes.NewReader([]byte("GET / HTTP/1.1\r\n")), format.ReaderOptions{})
	fmt.Println(errors.Is(err, format.ErrNotCapture))
	// Output: true
}
