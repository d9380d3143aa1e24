package evidence_test

import (
	"encoding/json"
	"fmt"
	"log"
	"os"

	"github.com/acc-project/acc/analysis"
	"github.com/acc-project/acc/evidence"
	"github.com/acc-project/acc/format"
)

// List the connections of a capture, and get what was found as JSON. What is wrong with
// the file is in the result, too.
func ExampleExamine() {
	f, err := os.Open("../testdata/captures/v1.acc")
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()
	r, err := format.NewReader(f, format.ReaderOptions{Salvage: true})
	if err != nil {
		log.Fatal(err)
	}
	connections := 0
	x := evidence.Examine(r.Header(), analysis.Options{Connection: func(c *analysis.Connection) error {
		connections++ // c.Remote, c.QueueWaitNS, c.End …; c is overwritten afterwards
		return nil
	}})
	var readErr error
	for readErr == nil {
		var b *format.Batch
		if b, readErr = r.Next(); readErr == nil {
			if err := x.Add(b, len(r.Skipped())); err != nil {
				log.Fatal(err)
			}
		}
	}
	result, err := x.Finish(readErr, r.Skipped())
	if err != nil {
		log.Fatal(err)
	}
	findings, err := json.Marshal(result.FindingCounts)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(connections, "connections; file", result.Integrity.State, "and recording", result.Recording.State)
	fmt.Println(string(findings))
	// Output:
	// 19 connections; file corrupt and recording incomplete
	// {"critical":1,"warning":3,"notice":1}
}
