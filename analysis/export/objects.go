package export

// This file writes formats that have one JSON object a line.

import (
	"bufio"
	"encoding/json"
	"io"

	"github.com/acc-project/acc/analysis"
	"github.com/acc-project/acc/analysis/conntrack"
	"github.com/acc-project/acc/analysis/pairing"
)

// objects writes what is made of each connection.
type objects struct {
	onlyConnections
	w    *bufio.Writer
	json *json.Encoder
	s    *Source
	of   func(o *objects, c *conntrack.Connection) error
	end  func(o *objects, r *analysis.Result) error // of a capture; nil: nothing
	logs []otlpRecord
}

func objectFormat(of func(*objects, *conntrack.Connection) error,
	end func(*objects, *analysis.Result) error) func(io.Writer, Options) (Sink, error) {
	return func(w io.Writer, _ Options) (Sink, error) {
		o := &objects{w: bufio.NewWriterSize(w, lineBuffer), of: of, end: end}
		o.json = json.NewEncoder(o.w)
		o.json.SetEscapeHTML(false)
		return o, nil
	}
}

func (o *objects) Begin(s *Source) error {
	o.s = s
	return nil
}

func (o *objects) Attempt(*pairing.Pair) error { return nil }

func (o *objects) Connection(c *conntrack.Connection) error {
	o.s.connections++
	return o.of(o, c)
}

func (o *objects) End(_ *Source, r *analysis.Result) error {
	if o.end == nil || r == nil {
		return nil
	}
	return o.end(o, r)
}

func (o *objects) Close() error { return o.w.Flush() }
