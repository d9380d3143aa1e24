package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"testing"

	"github.com/acc-project/acc/analysis"
	"github.com/acc-project/acc/analysis/audit"
	"github.com/acc-project/acc/analysis/conntrack"
	"github.com/acc-project/acc/analysis/crosscheck"
	"github.com/acc-project/acc/analysis/pairing"
	"github.com/acc-project/acc/evidence"
	"github.com/acc-project/acc/format"
	"github.com/acc-project/acc/replay/cut"
)

// cutResult is what analyze makes of a capture.
type cutResult struct {
	*analysis.Result
	pairs  map[uint64]pairing.Pair         // by the number of the return
	lives  map[uint64]conntrack.Connection // by the number of any of its events
	silent map[string]conntrack.Connection // without an event, by addresses
	all    []conntrack.Connection
}

func resultOf(t *testing.T, file []byte) *cutResult {
	t.Helper()
	r, err := format.NewReader(bytes.NewReader(file), format.ReaderOptions{})
	if err != nil {
		t.Fatal(err)
	}
	a := &cutResult{pairs: map[uint64]pairing.Pair{}, lives: map[uint64]conntrack.Connection{},
		silent: map[string]conntrack.Connection{}}
	x := evidence.Examine(r.Header(), analysis.Options{Top: -1, Pair: func(p *pairing.Pair) error {
		if p.ReturnSeq != 0 {
			a.pairs[p.ReturnSeq] = *p
		}
		return nil
	}, Connection: func(c *conntrack.Connection) error {
		for _, seq := range []uint64{c.ID, c.QueuedSeq, c.AcceptedSeq, c.ClosedSeq, c.DropSeq} {
			a.lives[seq] = *c
		}
		if c.ID == 0 {
			a.silent[fmt.Sprint(c.NetNS, c.Local, c.Remote)] = *c
		}
		a.all = append(a.all, *c)
		return nil
	}})
	for err == nil {
		var b *format.Batch
		if b, err = r.Next(); err == nil {
			err = x.Add(b, 0)
		}
	}
	if !errors.Is(err, io.EOF) && !errors.Is(err, format.ErrTruncated) {
		t.Fatal(err)
	}
	if a.Result, err = x.Finish(err, nil); err != nil {
		t.Fatal(err)
	}
	return a
}

// What analyze says of a cut is never more, and never other, than what it says of the whole.
func TestCutSaysNothingElse(t *testing.T) {
	cuts := 0
	for _, x := range corpus(t, testing.Short()) {
		s, err := cut.Take(bytes.NewReader(x.data))
		if err != nil || len(s.Header.Cuts) > 0 || s.FirstNS >= s.LastNS || s.LastNS-s.FirstNS > 1e18 {
			continue
		}
		whole := resultOf(t, x.data)
		if whole.Integrity.State == audit.Corrupt || len(whole.all) > 20_000 {
			continue
		}
		in := &cut.Input{Survey: s, Files: []format.CutFile{s.File}, Seek: true, Open: func() (cut.Source, error) {
			return format.NewReader(bytes.NewReader(x.data), format.ReaderOptions{Parts: true})
		}}
		part := (s.LastNS - s.FirstNS) / 7
		for n := range int64(7) {
			for _, span := range [][2]int64{{s.FirstNS + n*part, s.FirstNS + (n+1)*part}, {s.FirstNS + n*part, math.MaxInt64},
				{math.MinInt64, s.FirstNS + n*part}} {
				var out bytes.Buffer
				note, _, err := cut.Write(&out, in, cut.Options{Tool: "test", FromNS: span[0], UntilNS: span[1]})
				if err != nil {
					t.Fatalf("%s %v: %v", x.name, span, err)
				}
				cuts++
				t.Run(fmt.Sprintf("%s/%d-%d", x.name, n, span), func(t *testing.T) {
					checkCut(t, whole, resultOf(t, out.Bytes()), note)
				})
			}
		}
	}
	if cuts < 100 {
		t.Errorf("only %d cuts", cuts)
	}
}

func checkCut(t *testing.T, whole, got *cutResult, note *format.Cut) {
	t.Helper()
	if got.Integrity.State != audit.Intact {
		t.Fatalf("the cut is %s: %v", got.Integrity.State, got.Integrity.Why)
	}
	if got.CrossCheck.Verdict != crosscheck.VerdictSilent || !got.Recording.Part {
		t.Errorf("cross-check %+v, recording %+v", got.CrossCheck, got.Recording)
	}
	for what, n := range map[string][2]uint64{
		"accepted": {got.Totals.Accepted, whole.Totals.Accepted}, "failed": {got.Totals.Failed, whole.Totals.Failed},
		"lost": {got.Totals.Lost, whole.Totals.Lost}, "missed": {got.Totals.Missed, whole.Totals.Missed},
		"queued": {got.Connections.Queued, whole.Connections.Queued}, "closed": {got.Connections.Closed, whole.Connections.Closed},
	} {
		if n[0] > n[1] {
			t.Errorf("%s: %d of %d", what, n[0], n[1])
		}
	}
	for seq, p := range got.pairs {
		w := whole.pairs[seq]
		if p.EnterSeq != 0 && p.EnterSeq != w.EnterSeq || p.WaitNS >= 0 && p.WaitNS != w.WaitNS || p.Ret != w.Ret {
			t.Errorf("attempt %d: %+v, of the whole %+v", seq, p, w)
		}
		if p.Why == pairing.WhyBegan && w.Why != pairing.WhyBegan && w.EnterNS >= note.FromNS && !w.Inverted {
			t.Errorf("attempt %d is said to have begun before, of the whole: %s", seq, w.Why)
		}
	}
	for i := range got.all {
		c := &got.all[i]
		w, ok := whole.lives[c.ID]
		if c.ID == 0 {
			checkSilent(t, whole, c, note)
			continue
		}
		if !ok {
			t.Errorf("connection %d is none of the whole", c.ID)
			continue
		}
		for what, n := range map[string][2]uint64{"queued": {c.QueuedSeq, w.QueuedSeq}, "accepted": {c.AcceptedSeq, w.AcceptedSeq},
			"closed": {c.ClosedSeq, w.ClosedSeq}, "cookie": {c.Cookie, w.Cookie}} {
			if n[0] != 0 && n[0] != n[1] {
				t.Errorf("connection %d: %s %d, of the whole %d", c.ID, what, n[0], n[1])
			}
		}
		for what, n := range map[string][2]int64{"handshake": {c.HandshakeNS, w.HandshakeNS}, "served": {c.ServedNS, w.ServedNS}} {
			if n[0] >= 0 && n[0] != n[1] {
				t.Errorf("connection %d: %s %d, of the whole %d", c.ID, what, n[0], n[1])
			}
		}
		wait, atLeast := w.InQueue()
		if mine, bound := c.InQueue(); mine >= 0 && wait >= 0 && (mine > wait || c.AcceptedSeq != 0 && !bound && !atLeast && mine != wait) {
			t.Errorf("connection %d: in the queue for %d (at least: %v), of the whole %d", c.ID, mine, bound, wait)
		}
		if c.AliveNS > 0 && w.AliveNS > 0 && c.AliveNS > w.AliveNS {
			t.Errorf("connection %d lived %d, of the whole %d", c.ID, c.AliveNS, w.AliveNS)
		}
		if c.End.Told() && c.End != w.End {
			t.Errorf("connection %d: %s, of the whole %s", c.ID, c.End, w.End)
		}
		if first := firstOf(&w); c.Before && !w.Before && !w.BeginUnknown && first >= note.FromNS {
			t.Errorf("connection %d is said to be from before: %d is not before %d", c.ID, first, note.FromNS)
		}
		if (c.End.Open() || c.End.Waiting()) && w.End.Told() && w.EndNS <= note.UntilNS {
			t.Errorf("connection %d: %s, of the whole it ended at %d, before %d", c.ID, c.End, w.EndNS, note.UntilNS)
		}
		if c.End == conntrack.EndGone && w.End != conntrack.EndGone {
			t.Errorf("connection %d: gone, of the whole %s", c.ID, w.End)
		}
	}
}

// firstOf is the first time that is known of a connection.
func firstOf(c *conntrack.Connection) int64 {
	for _, ns := range []int64{c.QueuedNS, c.AcceptedNS, c.ClosedNS} {
		if ns != 0 {
			return ns
		}
	}
	return 0
}

// checkSilent checks a connection that has no event in the cut: it was there all the time.
func checkSilent(t *testing.T, whole *cutResult, c *conntrack.Connection, note *format.Cut) {
	t.Helper()
	if !c.Before {
		t.Errorf("%s has no event, and is not from before", c.Remote)
	}
	for i := range whole.all {
		w := &whole.all[i]
		if w.NetNS == c.NetNS && w.Local == c.Local && w.Remote == c.Remote && (w.Before || firstOf(w) <= note.FromNS) &&
			(!w.End.Told() || w.EndNS >= note.UntilNS || c.End == conntrack.EndNotRecorded) {
			return
		}
	}
	t.Errorf("%s -> %s has no event and was not there all the time: %s", c.Remote, c.Local, c.End)
}

// A cut that is another one than it says does not pass as one of its parent.
func TestProveForged(t *testing.T) {
	unconfined(t)
	dir := t.TempDir()
	parent := dir + "/parent.acc"
	write := func(name string, data []byte) {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(parent, sample("life"))
	o := cutOptions{output: dir + "/part.acc", from: "1s", until: "4s"}
	if err := runCut(context.Background(), io.Discard, []string{parent}, o); err != nil {
		t.Fatal(err)
	}
	part, err := os.ReadFile(o.output)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		forge func(h *format.Header, e *format.Event, s *format.Snapshot) bool // whether the event is written
		want  string
	}{
		{"genuine", func(*format.Header, *format.Event, *format.Snapshot) bool { return true }, evidence.ParentProven},
		{"another host", func(h *format.Header, _ *format.Event, _ *format.Snapshot) bool {
			if h != nil {
				h.Host = "elsewhere"
			}
			return true
		}, evidence.ParentDiffers},
		{"a peer", func(_ *format.Header, e *format.Event, _ *format.Snapshot) bool {
			if e != nil && e.RPort != 0 {
				e.RPort++
			}
			return true
		}, evidence.ParentDiffers},
		{"an event less", func(_ *format.Header, e *format.Event, _ *format.Snapshot) bool {
			return e == nil || e.Seq%7 != 0
		}, evidence.ParentDiffers},
		{"another parent", func(h *format.Header, _ *format.Event, _ *format.Snapshot) bool {
			if h != nil {
				h.Cuts[0].Files[0].SHA256 = "00"
			}
			return true
		}, evidence.ParentOther},
		{"another time", func(h *format.Header, _ *format.Event, _ *format.Snapshot) bool {
			if h != nil {
				h.Cuts[0].FromNS -= 5e8
			}
			return true
		}, evidence.ParentDiffers},
		{"a list", func(_ *format.Header, _ *format.Event, s *format.Snapshot) bool {
			if s != nil && !s.Final {
				s.ConnectionsKnown = !s.ConnectionsKnown
			}
			return true
		}, evidence.ParentDiffers},
		{"no cut", func(h *format.Header, _ *format.Event, _ *format.Snapshot) bool {
			if h != nil {
				h.Cuts = nil
			}
			return true
		}, evidence.ParentOther},
	} {
		t.Run(c.name, func(t *testing.T) {
			forged := forge(t, part, c.forge)
			name := dir + "/forged.acc"
			write(name, forged)
			v, err := evidence.Verify(context.Background(), bytes.NewReader(forged), nil, evidence.VerifyOptions{Name: name})
			if err != nil {
				t.Fatal(err)
			}
			from, err := openWholes([]string{parent}, func() error { return nil })
			if err != nil {
				t.Fatal(err)
			}
			defer from.Close()
			in, err := openFile(name)
			if err != nil {
				t.Fatal(err)
			}
			defer in.Close()
			x := &verified{v}
			if err := x.prove(context.Background(), from, in); err != nil {
				t.Fatal(err)
			}
			if x.Parent.Status != c.want {
				t.Errorf("%s: %s, want %s", x.Parent.Status, x.Parent.Why, c.want)
			}
			if (x.exitCode() == exitOK) != (c.want == evidence.ParentProven) {
				t.Errorf("exit code %d, verdict %s", x.exitCode(), x.Verdict)
			}
		})
	}
}

// forge writes a capture anew, with its sums right.
func forge(t *testing.T, file []byte, change func(*format.Header, *format.Event, *format.Snapshot) bool) []byte {
	t.Helper()
	r, err := format.NewReader(bytes.NewReader(file), format.ReaderOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	h := *r.Header()
	h.Cuts = append([]format.Cut{}, h.Cuts...)
	for i := range h.Cuts {
		h.Cuts[i].Files = append([]format.CutFile{}, h.Cuts[i].Files...)
	}
	change(&h, nil, nil)
	w, err := format.NewWriter(&out, h, format.WriterOptions{})
	for err == nil {
		var b *format.Batch
		if b, err = r.Next(); err != nil {
			break
		}
		for _, p := range b.Processes {
			err = errors.Join(err, w.Process(p))
		}
		for _, c := range b.Clocks {
			err = errors.Join(err, w.Clock(c))
		}
		for _, l := range b.Losses {
			err = errors.Join(err, w.Loss(l))
		}
		for _, s := range b.Snapshots {
			change(nil, nil, &s)
			err = errors.Join(err, w.Snapshot(s))
		}
		for i := range b.Events {
			if change(nil, &b.Events[i], nil) {
				err = errors.Join(err, w.Event(&b.Events[i]))
			}
		}
		if b.End != nil {
			err = errors.Join(err, w.Close(*b.End))
		} else if b.Header == nil {
			err = errors.Join(err, w.Flush())
		}
	}
	if !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	return out.Bytes()
}

// Of the files of one recording, a cut is what it is of the recording in one file, and is proven by all of them.
func TestCutSet(t *testing.T) {
	unconfined(t)
	dir := t.TempDir()
	write := func(name string, data []byte) string {
		name = dir + "/" + name
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	one := write("one.acc", sample("life"))
	var names []string
	for i, data := range splitCapture(t, sample("life"), 8, 20) {
		names = append(names, write(fmt.Sprintf("set-%d.acc", i), data))
	}
	for n, span := range [][2]string{{"", "1s"}, {"500ms", "3s"}, {"1s", ""}, {"200ms", "250ms"}} {
		o := cutOptions{output: fmt.Sprintf("%s/part%d.acc", dir, n), from: span[0], until: span[1]}
		if err := runCut(context.Background(), io.Discard, names, o); err != nil {
			t.Fatal(err)
		}
		want := o
		want.output = fmt.Sprintf("%s/want%d.acc", dir, n)
		if err := runCut(context.Background(), io.Discard, []string{one}, want); err != nil {
			t.Fatal(err)
		}
		got, wanted := eventsIn(t, o.output), eventsIn(t, want.output)
		if len(got) == 0 || !slices.Equal(got, wanted) {
			t.Errorf("%v: %d events, want %d", span, len(got), len(wanted))
		}
		in, err := openFile(o.output)
		if err != nil {
			t.Fatal(err)
		}
		defer in.Close()
		file, err := os.ReadFile(o.output)
		if err != nil {
			t.Fatal(err)
		}
		v, err := evidence.Verify(context.Background(), bytes.NewReader(file), nil, evidence.VerifyOptions{})
		if err != nil || v.Verdict != audit.Intact {
			t.Fatalf("%v: %+v, %v", span, v, err)
		}
		parent, err := openWholes(names, func() error { return nil })
		if err != nil {
			t.Fatal(err)
		}
		defer parent.Close()
		x := &verified{v}
		if err := x.prove(context.Background(), parent, in); err != nil || x.Parent.Status != evidence.ParentProven {
			t.Errorf("%v: %+v, %v", span, x.Parent, err)
		}
		if n := len(v.Cuts[0].Files); n != len(names) {
			t.Errorf("%v: it names %d files", span, n)
		}
	}
}

func eventsIn(t *testing.T, name string) (list []format.Event) {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := format.NewReader(f, format.ReaderOptions{})
	for err == nil {
		var b *format.Batch
		if b, err = r.Next(); err == nil {
			list = append(list, b.Events...)
		}
	}
	if !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	return list
}
