package evidence_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"strings"

	"github.com/acc-project/acc/analysis/conntrack"

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
	x := evidence.Examine(r.Header(), analysis.Options{Connection: func(c *conntrack.Connection) error {
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

// Prove whether a capture is intact, and what a kept chain head says of it.
func ExampleVerify() {
	f, err := os.Open("../cmd/acc/testdata/sklookup.acc")
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()
	kept := &evidence.Kept{Heads: []evidence.Head{{Frame: 1, Hex: strings.Repeat("0", 64)}}} // that of another file
	v, err := evidence.Verify(context.Background(), f, nil, evidence.VerifyOptions{Name: "incident.acc", Kept: kept})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(v.Verdict, v.Capture, v.Integrity.State, v.Recording.State, v.Heads[0].Status)
	// Output:
	// altered intact altered complete differs
}

// Say where and when a capture was taken, and whether something was lost.
func ExampleDescribe() {
	f, err := os.Open("../cmd/acc/testdata/sklookup.acc")
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()
	r, err := format.NewReader(f, format.ReaderOptions{Salvage: true})
	if err != nil {
		log.Fatal(err)
	}
	c, err := evidence.NewCapture("incident.acc", r, f)
	if err != nil {
		log.Fatal(err)
	}
	i, verdict, err := evidence.Describe(c)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(i.Verdict, verdict, i.Header.Host, *i.Accepted, "accepted", i.Lost, "lost;", i.CrossCheck.Text)
	// Output:
	// intact <nil> vm 6 accepted 0 lost; the kernel counted the same: 6 TCP connections
}
