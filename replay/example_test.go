package replay_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"

	"github.com/acc-project/acc/format"
	"github.com/acc-project/acc/replay"
)

// Print what happened in order of time, as fast as it can be read.
func ExamplePlay() {
	f, err := os.Open("../testdata/captures/v1.acc")
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()
	r, err := format.NewReader(f, format.ReaderOptions{})
	if err != nil {
		log.Fatal(err)
	}
	n, steps, last := 0, 0, int64(-1<<63)
	ordered := replay.Order(r, replay.OrderOptions{})
	err = replay.Play(context.Background(), ordered, replay.PlayOptions{}, func(*format.Batch) error { return nil },
		func(e *format.Event) error {
			if n++; e.BootNS < last {
				steps++
			}
			last = e.BootNS
			return nil
		})
	if !errors.Is(err, io.EOF) {
		log.Fatal(err)
	}
	fmt.Println(n, "events,", steps, "steps back in time")
	// Output: 60 events, 0 steps back in time
}
