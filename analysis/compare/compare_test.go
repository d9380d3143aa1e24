package compare

import (
	"bytes"
	"cmp"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/acc-project/acc/analysis"
	"github.com/acc-project/acc/analysis/findings"
	"github.com/acc-project/acc/analysis/pairing"
	"github.com/acc-project/acc/format"
)

const second = int64(1e9)

// traffic is a server under load that is made up: clients come at random, in bursts, at a rate that wanders; a few
// workers accept them one after another, and stall now and then.
type traffic struct {
	seed     uint64
	seconds  float64
	rate     float64 // clients a second
	workers  int
	handling float64 // seconds until a worker accepts again
	port     uint16
	clients  int
	reset    float64 // part of clients that reset
}

var steady = traffic{seconds: 60, rate: 35, workers: 4, handling: 0.008, port: 8080, clients: 60, reset: 0.02}

// events are those of the traffic, in order of time.
func (x traffic) events() (list []format.Event) {
	r := rand.New(rand.NewPCG(x.seed, 42))
	free := make([]float64, x.workers)
	wander, now, cookie := 0.0, 0.0, uint64(0)
	at := func(t float64) int64 { return int64(t * 1e9) }
	listener := netip.MustParseAddr("192.0.2.1")
	for now < x.seconds {
		wander = 0.98*wander + 0.05*r.NormFloat64()
		now += r.ExpFloat64() / (x.rate * math.Exp(wander))
		burst := 1
		if r.IntN(20) == 0 {
			burst = 2 + r.IntN(5)
		}
		client := netip.AddrFrom4([4]byte{10, 0, 0, byte(int(float64(x.clients)*math.Pow(r.Float64(), 1.7)) + 1)})
		for range burst {
			cookie++
			e := format.Event{NetNS: 1, Family: format.FamilyIPv4, Type: 1, Proto: 6, LAddr: listener, LPort: x.port, RAddr: client,
				RPort: uint16(1024 + cookie%60000), Cookie: cookie, Listener: uint64(x.port), BacklogMax: 128}
			queued := now + r.Float64()*0.002
			worker := 0
			for i, f := range free {
				if f < free[worker] {
					worker = i
				}
			}
			entered := free[worker]
			accepted := max(queued, entered) + 0.0001*r.ExpFloat64()
			free[worker] = accepted + x.handling*r.ExpFloat64()
			if r.IntN(200) == 0 {
				free[worker] += 0.15
			}
			q := e
			q.BootNS, q.Kind, q.Hook, q.State, q.HandshakeUS = at(queued), format.Queued, format.HookHashdance, 3, uint32(200*math.Exp(0.5*r.NormFloat64()))
			task := e
			task.PID, task.TID, task.Comm, task.Hook, task.Via, task.State = 10, uint32(10+worker), "server", format.HookSysAccept4, format.ViaAccept4, 10
			enter, ret := task, task
			enter.BootNS, enter.Kind, enter.RAddr, enter.RPort, enter.Cookie = at(entered), format.Enter, netip.Addr{}, 0, 0
			ret.BootNS, ret.Kind, ret.Ret, ret.State = at(accepted), format.Return, 7, 1
			c := e
			c.BootNS, c.Kind, c.Hook, c.OldState, c.State, c.Listener, c.BacklogMax = at(accepted+0.02*math.Exp(0.8*r.NormFloat64())), format.Closed, format.HookSetState, 4, 7, 0, 0
			c.BytesIn, c.BytesOut = 300, 2000
			if r.Float64() < x.reset {
				c.OldState, c.SockErr = 1, 104
			}
			list = append(list, q, enter, ret, c)
		}
	}
	slices.SortStableFunc(list, func(a, b format.Event) int { return cmp.Compare(a.BootNS, b.BootNS) })
	return list
}

// capture writes the events of a time as a capture.
func capture(t testing.TB, list []format.Event, from, to float64, edit func(*format.Header)) []byte {
	t.Helper()
	var out bytes.Buffer
	clock := func(s float64) format.Clock {
		ns := int64(s * 1e9)
		return format.Clock{BootNS: ns, MonoNS: ns, RealNS: 1_700_000_000*second + ns}
	}
	h := format.Header{ID: "id", Host: "host", Tool: "acc test", Mode: "fentry", StartNS: clock(from).RealNS, Clock: clock(from), Probes: []format.Probe{
		{Hook: format.HookSysAccept4, Kind: format.Enter}, {Hook: format.HookSysAccept4, Kind: format.Return}, {Hook: format.HookHashdance, Kind: format.Queued}, {Hook: format.HookSetState, Kind: format.Closed}}}
	if from > 0 {
		h.ID = "later"
	}
	if edit != nil {
		edit(&h)
	}
	w, err := format.NewWriter(&out, h, format.WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	totals := map[[2]uint8]uint64{}
	for i := range list {
		e := list[i]
		if e.BootNS < int64(from*1e9) || e.BootNS >= int64(to*1e9) {
			continue
		}
		k := [2]uint8{uint8(e.Hook), uint8(e.Kind)}
		totals[k]++
		e.CPUSeq = totals[k]
		if err := w.Event(&e); err != nil {
			t.Fatal(err)
		}
	}
	end := format.End{Reason: "duration", Clean: true, BlockedKnown: true, Clock: clock(to)}
	for k, n := range totals {
		end.Totals = append(end.Totals, format.ProbeTotal{Hook: format.Hook(k[0]), Kind: format.Kind(k[1]), Seen: n, Recorded: n})
	}
	if err := w.Close(end); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// profileOf reads a capture as acc diff does.
func profileOf(t testing.TB, data []byte) *Profile {
	t.Helper()
	r, err := format.NewReader(bytes.NewReader(data), format.ReaderOptions{})
	if err != nil {
		t.Fatal(err)
	}
	p := NewProfile(r.Header())
	o := analysis.Options{Top: -1}
	p.Listen(&o)
	a := analysis.New(r.Header(), o)
	for {
		b, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = a.Add(b, false)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if p.Result, err = a.Finish(analysis.Completeness{}); err != nil {
		t.Fatal(err)
	}
	return p
}

func texts(d *Diff) string {
	var b strings.Builder
	for _, x := range d.Differences {
		b.WriteString(x.Text + "\n")
	}
	return b.String()
}

// Two halves of a steady recording do not differ, a hundred times. Its rate wanders, clients come in bursts, workers
// stall: the noise that real ones have.
func TestSteady(t *testing.T) {
	alarms, same := 0, 0
	pairs := uint64(100)
	if testing.Short() {
		pairs = 20
	}
	for seed := range pairs {
		x := steady
		x.seed = seed
		list := x.events()
		d := Compare(profileOf(t, capture(t, list, 0, 30, nil)), profileOf(t, capture(t, list, 30, 60, nil)))
		if d.WindowNS == 0 || d.Same < 10 || len(d.Why) > 0 {
			t.Fatalf("seed %d: %d figures were compared in windows of %d ns: %q", seed, d.Same, d.WindowNS, d.Why)
		}
		same += d.Same
		if len(d.Differences) > 0 {
			alarms++
			t.Errorf("seed %d: %s", seed, texts(d))
		}
	}
	t.Logf("%d pairs, %d figures: %d with a difference", pairs, same, alarms)
}

// What really differs is found, and which of it is worse.
func TestDiffers(t *testing.T) {
	x := steady
	x.seed = 7
	base := capture(t, x.events(), 0, 60, nil)
	for name, c := range map[string]struct {
		edit  func(*traffic)
		want  []string
		worse bool
	}{
		"slower":       {func(x *traffic) { x.handling *= 4 }, []string{"all: p99 time in the accept queue"}, true},
		"faster":       {func(x *traffic) { x.handling /= 4; x.workers = 16 }, []string{"all: median time in accept"}, false},
		"more clients": {func(x *traffic) { x.rate *= 1.6; x.workers = 12 }, []string{"all: accepted", "all: new clients"}, false},
		"resets":       {func(x *traffic) { x.reset = 0.3 }, []string{"all: connections reset"}, true},
		"another port": {func(x *traffic) { x.port = 9090 }, []string{"new listener: 192.0.2.1:9090", "gone listener: 192.0.2.1:8080"}, false},
		"new clients":  {func(x *traffic) { x.clients = 120 }, []string{"new peer: 10.0.0."}, false},
	} {
		y := x
		y.seed = 8
		c.edit(&y)
		d := Compare(profileOf(t, base), profileOf(t, capture(t, y.events(), 0, 60, func(h *format.Header) { h.ID, h.Host = "b", "b" })))
		for _, want := range c.want {
			if !strings.Contains(texts(d), want) {
				t.Errorf("%s: %q is missing in\n%s", name, want, texts(d))
			}
		}
		if d.Regression != c.worse {
			t.Errorf("%s: worse is %v:\n%s", name, d.Regression, texts(d))
		}
		if !slices.IsSortedFunc(d.Differences, func(x, y Difference) int { return cmp.Or(cmp.Compare(rank(&x), rank(&y)), cmp.Compare(x.P, y.P)) }) {
			t.Errorf("%s: not sorted by how sure they are", name)
		}
	}
}

// What makes captures hard to compare is said.
func TestDoubts(t *testing.T) {
	x := steady
	list := x.events()
	base := capture(t, list, 0, 30, nil)
	other := func(edit func(*format.Header)) []byte {
		return capture(t, list, 30, 60, func(h *format.Header) { edit(h) })
	}
	for want, b := range map[string][]byte{
		"both are the same recording":    base,
		"of the same time in part":       capture(t, list, 15, 45, nil),
		"different selections":           other(func(h *format.Header) { h.Selection = &format.Selection{Words: []string{"--port 80"}} }),
		"recorded by different versions": other(func(h *format.Header) { h.Tool = "acc 9" }),
		"redacted in different ways":     other(func(h *format.Header) { h.Redacted = &format.Redacted{} }),
		"too short":                      capture(t, list, 30, 30.05, nil),
		"is not complete":                nil,
	} {
		q := (*Profile)(nil)
		if b == nil {
			q = profileOf(t, other(func(*format.Header) {}))
			q.Result.Complete = false
			q.Result.Findings = append(q.Result.Findings, findings.Finding{ID: "incomplete", Severity: findings.Warning},
				findings.Finding{ID: "clock-unsynchronised", Severity: findings.Notice})
		} else {
			q = profileOf(t, b)
		}
		d := Compare(profileOf(t, base), q)
		if d.Comparable || !strings.Contains(strings.Join(d.Why, "\n"), want) {
			t.Errorf("%q is not said: %q", want, d.Why)
		}
		if d.Regression {
			t.Errorf("%q is called worse: %s", want, texts(d))
		}
	}
	// A capture against itself has no difference beside.
	if d := Compare(profileOf(t, base), profileOf(t, base)); len(d.Differences) > 0 {
		t.Errorf("a capture differs from itself: %s", texts(d))
	}
}

// A profile stays small, whatever is in a capture: one that is idle for a day behind its traffic, and errors that no
// kernel has.
func TestProfileIsBounded(t *testing.T) {
	x := steady
	list := x.events()
	d := Compare(profileOf(t, capture(t, list, 0, 30, nil)), profileOf(t, capture(t, list, 0, 24*3600, nil)))
	if d.A.Windows > maxBuckets || d.B.Windows > maxBuckets {
		t.Errorf("%d and %d windows", d.A.Windows, d.B.Windows)
	}
	p := profileOf(t, capture(t, list, 0, 30, nil))
	for errno := range int32(10_000) {
		if err := p.pair(&pairing.Pair{ReturnSeq: 1, Ret: -errno - 1, Errno: errno + 1}); err != nil {
			t.Fatal(err)
		}
	}
	if len(p.errors) > maxSubjects || !p.missed {
		t.Errorf("%d errors are kept; that there were more is known: %v", len(p.errors), p.missed)
	}
}

// The test of ranks gives what R publishes in the examples of wilcox.test: ozone in New York in May and in August
// (airquality), with ties: W = 127.5, p-value = 0.0001208.
func TestMannWhitney(t *testing.T) {
	may := []float64{41, 36, 12, 18, 28, 23, 19, 8, 7, 16, 11, 14, 18, 14, 34, 6, 30, 11, 1, 11, 4, 32, 23, 45, 115, 37}
	august := []float64{39, 9, 16, 78, 35, 66, 122, 89, 110, 44, 28, 65, 22, 59, 23, 31, 44, 21, 9, 45, 168, 73, 76, 118, 84, 85}
	for _, p := range []float64{twoSided(mannWhitney(may, august)), twoSided(mannWhitney(august, may))} {
		if math.Abs(p-0.0001208) > 0.00000005 {
			t.Errorf("p is %.8f, want 0.0001208", p)
		}
	}
	if p := chance([]float64{1, 1, 1}, []float64{1, 1, 1}); p != 1 {
		t.Errorf("of equal values p is %v", p)
	}
	if r := follows([]float64{1, -1, 1, -1, 1, -1, 1, -1}); r != 0 {
		t.Errorf("values that alternate follow each other: %v", r)
	}
	if r := follows([]float64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}); math.Abs(r-0.7) > 1e-9 { // R: acf(1:10)
		t.Errorf("the autocorrelation of 1 to 10 is %v, R's acf has 0.7", r)
	}
}

// Quantiles of histograms are within a bin of what sorting gives, also when buckets were joined.
func TestQuantile(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	var l latencies
	var all []float64
	for i := range 10_000 {
		ns := 1000 * math.Exp(2+2*r.NormFloat64())
		all = append(all, max(ns, 1000))
		l.add(i%8, int64(ns))
	}
	l.halve()
	l.halve()
	l.halve()
	if len(l) != 1 {
		t.Fatalf("%d buckets", len(l))
	}
	slices.Sort(all)
	for _, part := range []float64{0.5, 0.9, 0.99} {
		got, want := quantile(l[0], part, 1), all[int(part*float64(len(all)))]
		if math.Abs(math.Log2(got/want)) > 1.0/binsPerOctave {
			t.Errorf("%v quantile is %v, want %v", part, got, want)
		}
	}
	if !math.IsNaN(quantile(nil, 0.5, 1)) || !math.IsNaN(quantile(l[0], 0.5, 20_000)) {
		t.Error("too few are no quantile")
	}
}
