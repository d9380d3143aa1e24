package redact

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/acc-project/acc/format"
)

var testKey = []byte("0123456789abcdef0123456789abcdeF")

// Each field of each record has a rule: what becomes of a new one is to be decided, not found out. Without a rule it
// is removed, which TestWithoutARule holds.
func TestEveryFieldHasARule(t *testing.T) {
	for i := range format.Fields {
		if _, ok := eventRules[format.Fields[i].Name]; !ok {
			t.Errorf("the field %s of events has no rule in policy.go", format.Fields[i].Name)
		}
	}
	if len(eventRules) != len(format.Fields) {
		t.Errorf("there are rules for %d fields of events, and %d fields", len(eventRules), len(format.Fields))
	}
	seen := map[string]bool{}
	var look func(v reflect.Type)
	look = func(v reflect.Type) {
		switch v.Kind() {
		case reflect.Pointer, reflect.Slice:
			look(v.Elem())
		case reflect.Struct:
			for i := range v.NumField() {
				tag, _, _ := strings.Cut(v.Field(i).Tag.Get("msgpack"), ",")
				key := v.Name() + "." + tag
				seen[key] = true
				r, ok := recordRules[key]
				if !ok {
					t.Errorf("%s has no rule in policy.go", key)
				}
				if r.how == walk {
					look(v.Field(i).Type)
				}
			}
		}
	}
	for _, v := range []any{format.Header{}, format.Process{}, format.Clock{}, format.Loss{}, format.Snapshot{}, format.Counters{},
		format.Gap{}, format.Mark{}, format.Counted{}, format.End{}, format.Watch{}, format.Doing{}, format.Image{},
		format.Stack{}} {
		look(reflect.TypeOf(v))
	}
	for key := range recordRules {
		if !seen[key] {
			t.Errorf("the rule of %s is of nothing", key)
		}
	}
	for key, r := range recordRules {
		if r.class != "" && !knownClass(r.class) {
			t.Errorf("%s is of class %q, which is none", key, r.class)
		}
	}
}

func knownClass(name string) bool {
	for _, c := range Classes {
		if c.Name == name {
			return true
		}
	}
	return false
}

// An event has no member beside those of the table: what the table does not know could not be removed.
func TestTheTableIsTheEvent(t *testing.T) {
	v := reflect.ValueOf(&format.Event{}).Elem()
	for i := range v.NumField() {
		e := format.Event{}
		set(reflect.ValueOf(&e).Elem().Field(i))
		if name := v.Type().Field(i).Name; name != "Seq" {
			found := false
			for j := range format.Fields {
				f := &format.Fields[j]
				found = found || f.Int(&e) != 0 || f.Str(&e) != "" || f.Addr(&e).IsValid()
			}
			if !found {
				t.Errorf("no field of the table is %s", name)
			}
		}
	}
}

func set(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString("secret-x")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Struct:
		v.Set(reflect.ValueOf(netip.MustParseAddr("203.0.113.77")))
	case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(77)
	default:
		v.SetUint(77)
	}
}

// secrets are values that must not be in a redacted capture.
var secrets = []string{"secret-host", "secretcomm", "/opt/secret/bin", "secret.service", "kubepods/secret", "c0ffee00secret", "ns-secret/pod",
	"secret-uid", "/run/secret.sock", "secret-arg", "secret detail", "6.1.0-secretkernel", "#1 secret build", "SECRET-TZ",
	"secret-machine", "secret-boot", "secret reason", "secret filter", "secret why", "@secret-abstract", "192.0.2.33", "2001:db8::33",
	"198.51.100.7"}

// sample is a capture in which every text that a record can have is a secret.
func sample(t testing.TB, edit func(*format.Header, *format.Snapshot)) []byte {
	t.Helper()
	var out bytes.Buffer
	clock := format.Clock{BootNS: 1e9, RealNS: 1.7e18}
	h := format.Header{ID: "3b1f0a52-6f0e-4f7a-9d55-0123456789ab", Tool: "acc test", Host: "secret-host", MachineID: "secret-machine",
		BootID: "secret-boot", Kernel: "6.1.0-secretkernel", Build: "#1 secret build", Arch: "x86_64", CPUs: 2,
		Command: []string{"acc", "record", "secret-arg"}, StartNS: 1.7e18, Zone: "SECRET-TZ", ZoneSec: 3600, Mode: "fentry",
		Filters: []string{"secret filter", "--events accept"}, Sysctls: []format.Sysctl{{Name: "net.core.somaxconn", Value: "4096"}}, Clock: clock}
	s := format.Snapshot{BootNS: 1e9, Listeners: []format.ListenSocket{{NetNS: 1, Listener: 5, PID: 3, Comm: "secretcomm", Halted: "secret why",
		Family: format.FamilyIPv4, LAddr: "192.0.2.33", LPort: 64443, Holders: []format.Holder{{PID: 3, Comm: "secretcomm"}}},
		{NetNS: 1, Family: format.FamilyUnix, LName: "/run/secret.sock"}, {NetNS: 1, Family: format.FamilyUnix, LName: "@secret-abstract"}},
		Connections: []format.Connection{{NetNS: 1, LAddr: "192.0.2.33", LPort: 64443, RAddr: "198.51.100.7", RPort: 50000, State: 1}}}
	if edit != nil {
		edit(&h, &s)
	}
	w, err := format.NewWriter(&out, h, format.WriterOptions{})
	must(t, err)
	must(t, w.Process(format.Process{Num: 1, PID: 3, Comm: "secretcomm", Exe: "/opt/secret/bin", UID: 3141592653, Cgroup: "kubepods/secret",
		Container: "c0ffee00secret", Runtime: "containerd", Unit: "secret.service", Pod: "ns-secret/pod", PodUID: "secret-uid"}))
	must(t, w.Snapshot(s))
	for i := range 100 {
		e := format.Event{BootNS: 1e9 + int64(i), Kind: format.Return, Hook: format.HookSysAccept4, CPUSeq: uint64(i + 1), PID: 3, TID: 3, UID: 3141592653,
			Comm: "secretcomm", Proc: 1, Ret: 7, NetNS: 1, Listener: 5, Family: format.FamilyIPv4, Proto: 6, LAddr: netip.MustParseAddr("::ffff:192.0.2.33"),
			LPort: 64443, RAddr: netip.MustParseAddr("2001:db8::33"), RPort: uint16(40000 + i), UserData: 0xfeedfacecafebeef}
		must(t, w.Event(&e))
	}
	e := format.Event{BootNS: 2e9, Kind: format.Enter, Hook: format.HookSysAccept4, CPUSeq: 1, PID: 3, TID: 3, LName: "/run/secret.sock", Comm: "secretcomm"}
	must(t, w.Event(&e))
	clock.BootNS, clock.RealNS = 3e9, clock.RealNS+2e9
	must(t, w.Close(format.End{Reason: "secret reason", Detail: "secret detail", Clean: true, Clock: clock, Totals: []format.ProbeTotal{
		{Hook: format.HookSysAccept4, Kind: format.Return, Seen: 100, Recorded: 100}, {Hook: format.HookSysAccept4, Kind: format.Enter, Seen: 1, Recorded: 1}},
		Unread: []format.UnreadNetNS{{NetNS: 4, Why: "secret why"}}, UnixRefused: []format.UnixRefused{{NetNS: 1, Name: "/run/secret.sock", Count: 2}}}))
	return out.Bytes()
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func redacted(t testing.TB, original []byte, o Options) (safe []byte, revealed *Revealed) {
	t.Helper()
	revealed, err := Reveal(bytes.NewReader(original))
	must(t, err)
	var out bytes.Buffer
	if o.Key == nil {
		o.Key = testKey
	}
	if o.Addresses == "" {
		o.Addresses = Prefix
	}
	_, err = Write(&out, bytes.NewReader(original), revealed, o)
	must(t, err)
	return out.Bytes(), revealed
}

// inside is all that a capture holds, decompressed by the reader, as text.
func inside(t testing.TB, capture []byte) string {
	t.Helper()
	r, err := format.NewReader(bytes.NewReader(capture), format.ReaderOptions{})
	must(t, err)
	text := fmt.Sprintf("%+v %+v", *r.Header(), r.Header().Redacted)
	for {
		b, err := r.Next()
		if errors.Is(err, io.EOF) {
			return text
		}
		must(t, err)
		_ = eachRecord(b, func(v any) error { text += fmt.Sprintf("%+v\n", v); return nil })
		for i := range b.Events {
			text += fmt.Sprintf("%+v\n", b.Events[i])
		}
	}
}

// No secret is in a redacted capture, by all modes; times, numbers and events are what they were.
func TestNoSecretIsLeft(t *testing.T) {
	original := sample(t, nil)
	whole := inside(t, original)
	for _, s := range secrets {
		if !strings.Contains(whole, s) {
			t.Errorf("the sample has no %q", s)
		}
	}
	for _, mode := range AddressModes {
		safe, revealed := redacted(t, original, Options{Addresses: mode, Tool: "acc test"})
		text := inside(t, safe)
		for _, s := range append(secrets, "secret", "64443", "3141592653", "18369614222190395119") {
			if strings.Contains(strings.ReplaceAll(text, revealed.SHA256+revealed.Head, ""), s) && !strings.Contains(revealed.SHA256+revealed.Head, s) {
				t.Errorf("%s: %q is there", mode, s)
			}
		}
		c, err := Check(bytes.NewReader(original), revealed, bytes.NewReader(safe))
		must(t, err)
		if !c.Ok || c.Events != 101 || c.Values < 15 {
			t.Errorf("%s: %+v", mode, c)
		}
	}
}

// A field without a rule is removed, whatever it holds.
func TestWithoutARule(t *testing.T) {
	rule, own := recordRules["Header.tool"], eventRules["pid"]
	delete(recordRules, "Header.tool")
	delete(eventRules, "pid")
	defer func() { recordRules["Header.tool"], eventRules["pid"] = rule, own }()
	safe, _ := redacted(t, sample(t, nil), Options{})
	r, err := format.NewReader(bytes.NewReader(safe), format.ReaderOptions{})
	must(t, err)
	if r.Header().Tool != "" {
		t.Errorf("tool is %q", r.Header().Tool)
	}
	for {
		b, err := r.Next()
		if err != nil {
			break
		}
		for i := range b.Events {
			if b.Events[i].PID != 0 {
				t.Fatal("an event has its pid")
			}
		}
	}
}

// What can't be redacted stops it.
func TestFailsClosed(t *testing.T) {
	bad := sample(t, func(_ *format.Header, s *format.Snapshot) { s.Listeners[0].LAddr = "not an address" })
	revealed, err := Reveal(bytes.NewReader(bad))
	must(t, err)
	if _, err := Write(io.Discard, bytes.NewReader(bad), revealed, Options{Key: testKey, Addresses: Prefix}); err == nil ||
		!strings.Contains(err.Error(), "ListenSocket.laddr") {
		t.Errorf("an address that is none: %v", err)
	}
	for _, key := range [][]byte{nil, make([]byte, 31), make([]byte, 33)} {
		if _, err := Write(io.Discard, bytes.NewReader(bad), revealed, Options{Key: key, Addresses: Prefix}); err == nil {
			t.Errorf("a key of %d bytes is taken", len(key))
		}
	}
	damaged := sample(t, nil)
	damaged[len(damaged)/2] ^= 1
	if _, err := Reveal(bytes.NewReader(damaged)); err == nil {
		t.Error("a damaged capture is taken")
	}
}

// Check finds what a redactor forgot: each of these keeps one thing and denies it.
func TestCheckFindsLeaks(t *testing.T) {
	original := sample(t, nil)
	for _, leak := range []string{"comm", "host", "raddr", "laddr", "exe", "pod", "unit", "lname", "uid", "command", "detail", "user_data", "cgroup",
		"container", "kernel", "machine", "name"} {
		revealed, err := Reveal(bytes.NewReader(original))
		must(t, err)
		var out bytes.Buffer
		note, err := Write(&out, bytes.NewReader(original), revealed, Options{Key: testKey, Addresses: Prefix, Keep: []string{leak}})
		must(t, err)
		denied := deny(t, out.Bytes(), note)
		c, err := Check(bytes.NewReader(original), revealed, bytes.NewReader(denied))
		must(t, err)
		if c.Ok {
			t.Errorf("%s was kept, and check does not say so", leak)
		}
	}
	safe, _ := redacted(t, original, Options{})
	other := sample(t, func(h *format.Header, _ *format.Snapshot) { h.CPUs = 3 })
	revealed, err := Reveal(bytes.NewReader(other))
	must(t, err)
	if c, err := Check(bytes.NewReader(other), revealed, bytes.NewReader(safe)); err != nil || c.Ok {
		t.Errorf("another original: %+v, %v", c, err)
	}
	if c, err := Check(bytes.NewReader(original), revealed, bytes.NewReader(original)); err != nil || c.Ok {
		t.Errorf("the original itself: %+v, %v", c, err)
	}
}

// deny writes a capture again with a header that says that nothing was kept.
func deny(t *testing.T, capture []byte, note *format.Redacted) []byte {
	t.Helper()
	r, err := format.NewReader(bytes.NewReader(capture), format.ReaderOptions{})
	must(t, err)
	h, own := *r.Header(), *note
	own.Keep = []string{}
	h.Redacted = &own
	var out bytes.Buffer
	w, err := format.NewWriter(&out, h, format.WriterOptions{FrameEvents: 1 << 16})
	must(t, err)
	for {
		b, err := r.Next()
		if errors.Is(err, io.EOF) {
			return out.Bytes()
		}
		must(t, err)
		must(t, eachRecord(b, func(v any) error {
			switch v := v.(type) {
			case *format.Process:
				return w.Process(*v)
			case *format.Snapshot:
				return w.Snapshot(*v)
			case *format.End:
				return w.Close(*v)
			}
			return nil
		}))
		if b.End == nil {
			for i := range b.Events {
				must(t, w.Event(&b.Events[i]))
			}
			must(t, w.Flush())
		}
	}
}

// Addresses are replaced one to one, stay of their family, and can be turned back; of one subnet in one subnet.
func TestAddresses(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for _, mode := range []string{Prefix, Kinds} {
		x, err := NewRedactor(testKey, mode, nil)
		must(t, err)
		from := map[netip.Addr]netip.Addr{}
		try := func(a netip.Addr) {
			b, err := x.address(a)
			must(t, err)
			if before, ok := from[b]; ok && before != a {
				t.Fatalf("%s: %s and %s become %s", mode, before, a, b)
			}
			from[b] = a
			if b.Is4() != a.Is4() || stays(b) || mode == Kinds && classBits(a) != classBits(b) {
				t.Fatalf("%s: %s becomes %s", mode, a, b)
			}
			if back, ok := x.Plain(b); !ok || back != a {
				t.Fatalf("%s: %s becomes %s, and that %s", mode, a, b, back)
			}
		}
		for i := range 256 { // all of /8, so that what falls on loopback is among them
			try(netip.AddrFrom4([4]byte{max(byte(i), 1) + b2(byte(i) == 127), 1, 2, 3}))
		}
		for range 20000 {
			a := netip.AddrFrom4([4]byte{byte(1 + rnd.UintN(126)), byte(rnd.Uint32()), byte(rnd.Uint32()), byte(rnd.Uint32())})
			try(a)
			c, _ := x.address(a.Next())
			b, _ := x.address(a)
			p1, _ := b.Prefix(8)
			if a.Next().As4()[0] == a.As4()[0] && !p1.Contains(c) && !stays(a.Next()) {
				t.Fatalf("%s: the /8 of %s falls apart", mode, a)
			}
		}
	}
	x, err := NewRedactor(testKey, Opaque, nil)
	must(t, err)
	a, _ := x.address(netip.MustParseAddr("192.0.2.1"))
	b, _ := x.address(netip.MustParseAddr("::ffff:192.0.2.1"))
	c, _ := x.address(netip.MustParseAddr("2001:db8::1"))
	if a.String() != "240.0.0.1" || b.Unmap() != a || !b.Is4In6() || c.String() != "100::1" {
		t.Errorf("numbered %s, %s, %s", a, b, c)
	}
	for _, s := range []string{"127.0.0.1", "127.9.9.9", "::1", "0.0.0.0", "::", "::ffff:127.0.0.1"} {
		if got, _ := x.address(netip.MustParseAddr(s)); got.String() != s {
			t.Errorf("%s becomes %s", s, got)
		}
	}
}

func b2(yes bool) byte {
	if yes {
		return 1
	}
	return 0
}

// Ports are exchanged, each for one of its own.
func TestPorts(t *testing.T) {
	x, err := NewRedactor(testKey, Prefix, nil)
	must(t, err)
	var seen [1 << 16]bool
	same := 0
	for i, p := range x.ports {
		if seen[p] {
			t.Fatalf("two ports become %d", p)
		}
		seen[p] = true
		if int(p) == i {
			same++
		}
	}
	if x.ports[0] != 0 || same > 20 {
		t.Errorf("port 0 becomes %d, %d stay", x.ports[0], same)
	}
}

// One key gives the same content twice; another key another one.
func TestSameKeySameContent(t *testing.T) {
	original := sample(t, nil)
	a, _ := redacted(t, original, Options{KeyGiven: true})
	b, _ := redacted(t, original, Options{KeyGiven: true})
	c, _ := redacted(t, original, Options{KeyGiven: true, Key: []byte("another key of thirty-two bytes!")})
	content := func(capture []byte) string {
		return regexp.MustCompile(`Redacted:0x[0-9a-f]+`).ReplaceAllString(inside(t, capture), "")
	}
	if content(a) != content(b) || content(a) == content(c) {
		t.Error("keys and files do not go together")
	}
}

// What can't be decompressed was not searched: that is an error, not a clean bill.
func TestSearchStopsAtDamage(t *testing.T) {
	original := sample(t, nil)
	safe, revealed := redacted(t, original, Options{})
	for _, n := range []int{1, 50, 200} { // within the last frame of events or END
		c := &checker{vocab: map[string]bool{}, same: map[string]bool{}, ways: [2]map[text]string{{}, {}}}
		cut := bytes.LastIndex(safe, []byte{0x28, 0xb5, 0x2f, 0xfd}) - n // before the index, behind which is no content
		if err := c.search(bytes.NewReader(safe[:cut]), revealed); err == nil {
			t.Errorf("cut at byte %d, it is searched without a complaint", cut)
		}
	}
}
