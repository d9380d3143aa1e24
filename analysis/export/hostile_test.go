package export

import (
	"bytes"
	"testing"

	"github.com/acc-project/acc/analysis"
	"github.com/acc-project/acc/analysis/conntrack"
	"github.com/acc-project/acc/analysis/filter"
	"github.com/acc-project/acc/analysis/pairing"
	"github.com/acc-project/acc/format"
)

// A damaged or forged capture can have connections without addresses, times or a thread, with a process record all the
// same. Each format writes them.
func TestConnectionsThatLackAll(t *testing.T) {
	for i := range Formats {
		f := &Formats[i]
		if f.Folder {
			continue
		}
		t.Run(f.Name, func(t *testing.T) {
			var out bytes.Buffer
			sink, err := f.New(&out, Options{})
			if err != nil {
				t.Fatal(err)
			}
			s := &Source{Header: &format.Header{}, Env: &filter.Env{Clocks: format.NewClocks(format.Clock{}),
				Process: func(uint32) *format.Process { return nil }}}
			step := func(err error) {
				if err != nil {
					t.Fatal(err)
				}
			}
			step(sink.Begin(s))
			for _, c := range []conntrack.Connection{{},
				{Names: conntrack.Names{Process: &format.Process{Exe: "/bin/x", Pod: "a/b"}}},
				{Counted: true, ClosedSeq: 1, EndNS: -1, QueuedSeq: 2, QueuedNS: -1 << 62, RefusedPackets: 1}} {
				step(sink.Connection(&c))
			}
			if _, attempts := sink.Wants(); attempts {
				step(sink.Attempt(&pairing.Pair{}))
			}
			step(sink.End(s, &analysis.Result{}))
			step(sink.Close())
			if out.Len() == 0 {
				t.Error("nothing was written")
			}
		})
	}
}
