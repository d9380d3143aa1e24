package analysis_test

import (
	"errors"
	"fmt"
	"io"
	"log"
	"os"

	"github.com/acc-project/acc/analysis"
	"github.com/acc-project/acc/format"
)

// Who accepted, and how often it failed. Package evidence does the same and also finds out
// whether the file is intact.
func ExampleAnalyzer() {
	f, err := os.Open("../testdata/captures/v1.acc")
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()
	r, err := format.NewReader(f, format.ReaderOptions{})
	if err != nil {
		log.Fatal(err)
	}
	a := analysis.New(r.Header(), analysis.Options{Top: 1})
	for {
		b, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			log.Fatal(err)
		}
		if err := a.Add(b, len(b.Gaps) > 0); err != nil {
			log.Fatal(err)
		}
	}
	result, err := a.Finish(analysis.Completeness{})
	if err != nil {
		log.Fatal(err)
	}
	for _, l := range result.Listeners {
		fmt.Println(l.Addr, l.Comms, l.Accepted, "accepted,", l.Failed, "failed")
	}
	// Output: 0.0.0.0:80 [nginx] 11 accepted, 10 failed
}
