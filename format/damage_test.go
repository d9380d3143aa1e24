package format

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/acc-project/acc/testdata/figures"
)

// parts cuts a capture into its links with their frames, and index and tail as one.
func parts(data []byte) (list [][]byte) {
	for i := 0; i < len(data); {
		if !bytes.HasPrefix(data[i:], linkHead) {
			return append(list, data[i:])
		}
		n := 8 + linkSize + int(binary.LittleEndian.Uint32(data[i+8+12:]))
		list = append(list, data[i:i+n])
		i += n
	}
	return list
}

// noticed reads a damaged capture strictly and with salvage, and fails unless
// both notice, no event is another one than the original's, and salvage loses no
// more than may be lost.
func noticed(t *testing.T, what string, data []byte, events []Event, mayLose int) {
	t.Helper()
	bySeq := func(got []Event) {
		last := uint64(0)
		for i := range got {
			s := got[i].Seq
			if s <= last || s > uint64(len(events)) || got[i] != events[s-1] {
				t.Fatalf("%s: event %d is not the one that was recorded", what, s)
			}
			last = s
		}
	}
	got, _, _, err := read(data, ReaderOptions{})
	if err == nil || errors.Is(err, io.EOF) {
		t.Fatalf("%s: the strict reader does not notice", what)
	}
	bySeq(got)
	got, _, r, err := read(data, ReaderOptions{Salvage: true})
	if errors.Is(err, io.EOF) && len(r.Skipped()) == 0 {
		t.Fatalf("%s: salvage does not notice", what)
	}
	if r == nil && mayLose < len(events) && !errors.Is(err, ErrTruncated) && !errors.As(err, new(*VersionError)) {
		t.Fatalf("%s: salvage gives up: %v", what, err)
	}
	if r != nil {
		bySeq(got)
		if len(got) < len(events)-mayLose {
			t.Fatalf("%s: salvage gives %d of %d events", what, len(got), len(events))
		}
	}
}

const perFrame = 16

// Cut anywhere, a capture gives exactly the events of its complete frames, and
// either reader says that it is truncated.
func TestCuts(t *testing.T) {
	cuts, captures := 0, [][]Event{sample(40, 3)}
	if figures.Torture() {
		captures = append(captures, odd(), nil, sample(200, 5))
	}
	for _, events := range captures {
		data := write(t, events, perFrame)
		var ends []int // of frames
		for _, p := range parts(data) {
			last := 0
			if len(ends) > 0 {
				last = ends[len(ends)-1]
			}
			ends = append(ends, last+len(p))
		}
		for cut := range len(data) {
			frames := 0
			for frames < len(ends)-1 && ends[frames] <= cut {
				frames++
			}
			want := min(max(frames-1, 0)*perFrame, len(events))
			for _, salvage := range []bool{false, true} {
				if salvage && cut%8 != 0 && !figures.Torture() {
					continue
				}
				got, _, r, err := read(data[:cut], ReaderOptions{Salvage: salvage})
				if !errors.Is(err, ErrTruncated) || r != nil && len(r.Skipped()) > 0 {
					t.Fatalf("cut at %d of %d: %v", cut, len(data), err)
				}
				if r != nil && len(got) != want {
					t.Fatalf("cut at %d: %d events, want %d", cut, len(got), want)
				}
				for i := range got {
					if got[i] != sampleWant(events, i) {
						t.Fatalf("cut at %d: event %d differs", cut, i)
					}
				}
			}
			cuts++
		}
	}
	figures.Tell(t, "A1 cut at every byte", "%d cuts of %d captures: the events of the complete frames, and truncated, every time", cuts, len(captures))
}

func sampleWant(events []Event, i int) Event {
	e := events[i]
	e.Seq = uint64(i + 1)
	return e
}

// No flipped bit, overwritten byte or zeroed sector passes; salvage loses one
// frame, or what the sector touches.
func TestDamage(t *testing.T) {
	events := sample(40, 4)
	data := write(t, events, perFrame)
	r := rand.New(rand.NewPCG(figures.Seed(t), 1))
	all := figures.Torture()
	bits, sets, sectors := 0, 0, 0
	try := func(what string, at, n, mayLose int, change func(b []byte)) bool {
		bad := bytes.Clone(data)
		change(bad[at : at+n])
		if bytes.Equal(bad, data) {
			return false
		}
		noticed(t, what, bad, events, mayLose)
		return true
	}
	for i := range data {
		for bit := range 8 {
			if !all && r.IntN(20) != 0 {
				continue
			}
			if try("flip", i, 1, perFrame, func(b []byte) { b[0] ^= 1 << bit }) {
				bits++
			}
		}
		for _, v := range []byte{0x00, 0xff} {
			if !all && r.IntN(20) != 0 {
				continue
			}
			if try("set", i, 1, perFrame, func(b []byte) { b[0] = v }) {
				sets++
			}
		}
	}
	for size := 16; size <= 512; size *= 2 {
		for at := 0; at+size <= len(data); at += size {
			if !all && r.IntN(4) != 0 {
				continue
			}
			if try("zero", at, size, (size/200+2)*perFrame, func(b []byte) { clear(b) }) {
				sectors++
			}
		}
	}
	figures.Tell(t, "A2 damage", "%d bits flipped, %d bytes set, %d sectors zeroed in %d bytes: all noticed, no event changed, one frame lost at most",
		bits, sets, sectors, len(data))
}

// Frames that are deleted, doubled, swapped, cut out, or taken from another
// capture are noticed wherever that is.
func TestRearrangements(t *testing.T) {
	events := sample(64, 6)
	// The same recording but for one event: frames that fit in everything but the chain.
	twin := sample(64, 6)
	twin[20].UID++
	a, b, c := parts(write(t, events, perFrame)), parts(write(t, sample(64, 7), perFrame)), parts(write(t, twin, perFrame))
	n, tried := len(a), 0
	try := func(what string, list ...[]byte) {
		data := bytes.Join(list, nil)
		if bytes.Equal(data, bytes.Join(a, nil)) {
			return
		}
		tried++
		got, _, _, err := read(data, ReaderOptions{})
		if err == nil || errors.Is(err, io.EOF) {
			t.Errorf("%s: the strict reader gives %d events and notices nothing", what, len(got))
		}
		_, _, r, err := read(data, ReaderOptions{Salvage: true})
		if errors.Is(err, io.EOF) && len(r.Skipped()) == 0 {
			t.Errorf("%s: salvage notices nothing", what)
		}
	}
	cat := func(lists ...[][]byte) (all [][]byte) {
		for _, l := range lists {
			all = append(all, l...)
		}
		return all
	}
	for i := range n {
		try("delete", cat(a[:i], a[i+1:])...)
		try("double", cat(a[:i+1], a[i:])...)
		for j := range n {
			moved := cat(a)
			moved[i], moved[j] = moved[j], moved[i]
			try("swap", moved...)
			try("delete a stretch", cat(a[:min(i, j)], a[max(i, j):])...)
			try("insert", cat(a[:j], a[i:i+1], a[j:])...)
		}
		for _, other := range [][][]byte{b, c} {
			grafted := cat(a)
			grafted[i] = other[i]
			if !bytes.Equal(other[i], a[i]) {
				try("graft", grafted...)
			}
			if i > 0 && i < n-1 && !bytes.Equal(bytes.Join(other[:i], nil), bytes.Join(a[:i], nil)) {
				try("splice", cat(other[:i], a[i:])...)
			}
		}
	}
	try("two captures", cat(a, b)...)
	try("twice", cat(a, a)...)
	figures.Tell(t, "A3 frames rearranged", "%d captures with frames deleted, doubled, swapped, inserted, grafted or spliced: all noticed", tried)
}

// An index whose own sums fit but that says something else than the frames is noticed.
func TestForgedIndex(t *testing.T) {
	data := write(t, sample(64, 9), perFrame)
	enc, _ := zstd.NewWriter(nil)
	frames, err := ReadIndex(bytes.NewReader(data), int64(len(data)))
	if err != nil || len(frames) != 7 {
		t.Fatalf("index of %d frames, %v", len(frames), err)
	}
	end := parts(data)
	body := bytes.Join(end[:len(end)-1], nil)
	var tl tail
	if !tl.parse(data[len(data)-tailSize:]) {
		t.Fatal("no tail")
	}
	seal := func(frames []Frame, tl tail) []byte {
		payload, err := packIndex(enc, frames)
		if err != nil {
			t.Fatal(err)
		}
		tl.indexSum = crc32.Checksum(payload, castagnoli)
		tl.at = tl.indexAt + 8 + uint64(len(payload))
		out := append(bytes.Clone(body), skippable(uint32(len(payload)), typeIndex)[:8]...)
		return tl.append(append(out, payload...))
	}
	if _, _, _, err := read(seal(frames, tl), ReaderOptions{}); !errors.Is(err, io.EOF) {
		t.Fatalf("the same index: %v", err)
	}
	tried := 0
	try := func(what string, data []byte) {
		tried++
		if _, _, _, err := read(data, ReaderOptions{}); !errors.As(err, new(*CorruptError)) {
			t.Errorf("%s: %v", what, err)
		}
		if _, _, r, _ := read(data, ReaderOptions{Salvage: true}); len(r.Skipped()) != 1 {
			t.Errorf("%s: salvage skips %v", what, r.Skipped())
		}
	}
	for i := range frames {
		for what, edit := range map[string]func(f *Frame){
			"place": func(f *Frame) { f.At++ }, "events": func(f *Frame) { f.Events++ }, "seq": func(f *Frame) { f.FirstSeq++ },
			"first": func(f *Frame) { f.MinNS-- }, "last": func(f *Frame) { f.MaxNS++ },
		} {
			list := append([]Frame{}, frames...)
			edit(&list[i])
			try(what, seal(list, tl))
		}
		try("fewer", seal(append(append([]Frame{}, frames[:i]...), frames[i+1:]...), tl))
	}
	try("none", seal(nil, tl))
	try("more", seal(append(append([]Frame{}, frames...), Frame{}), tl))
	for what, edit := range map[string]func(t *tail){
		"frames": func(t *tail) { t.frames++ }, "events": func(t *tail) { t.events++ }, "chain": func(t *tail) { t.chain[5]++ },
		"place of the index": func(t *tail) { t.indexAt++ },
	} {
		x := tl
		edit(&x)
		try("tail: "+what, seal(frames, x))
	}
	figures.Tell(t, "A9 index against scan", "%d forged indexes and tails whose own sums fit: all noticed", tried)
}

// A capture that is still being written is read as far as it goes, each frame
// as soon as it is complete.
func TestGrowingCapture(t *testing.T) {
	events := sample(64, 10)
	list := parts(write(t, events, perFrame))
	in, out := io.Pipe()
	step := make(chan struct{})
	go func() {
		for _, p := range list {
			for _, b := range p { // byte by byte
				if _, err := out.Write([]byte{b}); err != nil {
					return
				}
			}
			<-step // the next frame only when this one was read
		}
		out.Close()
	}()
	r, err := NewReader(in, ReaderOptions{})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for {
		b, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		n += len(b.Events)
		step <- struct{}{}
		if b.End != nil {
			close(step)
		}
	}
	if n != len(events) {
		t.Errorf("%d of %d events", n, len(events))
	}
}

// Whatever the bytes, strict reading and salvage agree on what is whole.
func TestStrictAndSalvageAgree(t *testing.T) {
	r := rand.New(rand.NewPCG(figures.Seed(t), 2))
	events := sample(40, 11)
	data := write(t, events, perFrame)
	rounds := 300
	if figures.Torture() {
		rounds = 100_000
	}
	for range rounds {
		bad := bytes.Clone(data)
		for range r.IntN(4) {
			switch i, n := r.IntN(len(bad)), r.IntN(64); r.IntN(4) {
			case 0:
				bad[i] = byte(r.Uint32())
			case 1:
				bad = append(bad[:i:i], bad[min(i+n, len(bad)):]...)
			case 2:
				bad = append(bad[:i:i], append(bytes.Clone(bad[i:min(i+n, len(bad))]), bad[i:]...)...)
			case 3:
				clear(bad[i:min(i+n, len(bad))])
			}
			if len(bad) == 0 {
				bad = []byte{0}
			}
		}
		agree(t, bad)
	}
	figures.Tell(t, "A2 random edits", "%d captures with up to 4 random edits: strict and salvage agree on what is whole", rounds)
}

// agree fails if the two ways of reading differ on whether data is whole.
func agree(t *testing.T, data []byte) {
	strict, _, _, err := read(data, ReaderOptions{})
	whole := errors.Is(err, io.EOF)
	salvaged, _, r, err := read(data, ReaderOptions{Salvage: true})
	if (errors.Is(err, io.EOF) && len(r.Skipped()) == 0) != whole {
		t.Fatalf("strict says whole: %v; salvage ends with %v", whole, err)
	}
	if len(salvaged) < len(strict) {
		t.Fatalf("strict gives %d events, salvage %d", len(strict), len(salvaged))
	}
}

// A link whose sums and chain fit but whose numbers are not those that come next
// is refused for that reason; of the salvaged file it costs this frame alone.
func TestForgedLinks(t *testing.T) {
	events := sample(16, 13)
	list := parts(write(t, events, perFrame))
	for want, edit := range map[string]func(l *link){
		"stands where frame 1 belongs": func(l *link) { l.frame++ },
		"begins with event 2, not 1":   func(l *link) { l.firstSeq++ },
		"its link says 15":             func(l *link) { l.events-- },
		"bytes, its link says":         func(l *link) { l.content++ },
		"frame 0 stands":               func(l *link) { l.frame-- },
	} {
		var l, first link
		if !first.parse(list[0][8:8+linkSize]) || !l.parse(list[1][8:8+linkSize]) {
			t.Fatal("no links")
		}
		frame := list[1][8+linkSize:]
		edit(&l)
		data := append(bytes.Clone(list[0]), append(l.seal(nil, first.chain, frame), frame...)...)
		got, _, _, err := read(data, ReaderOptions{})
		var bad *CorruptError
		if !errors.As(err, &bad) || !strings.Contains(bad.Reason, want) && want != "its link says 15" || bad.Offset != int64(len(list[0])) || len(got) > 0 {
			t.Errorf("%s: %d events, %v", want, len(got), err)
		}
	}
	// Fields of a link beyond what a frame can have are no link at all.
	for name, edit := range map[string]func(l *link){
		"size": func(l *link) { l.size = maxFrame + 1 }, "content": func(l *link) { l.content = maxContent + 1 }, "events": func(l *link) { l.events = maxEvents + 1 },
	} {
		l := link{size: maxFrame, content: maxContent, events: maxEvents}
		if !new(link).parse(l.seal(nil, [32]byte{}, nil)[8:]) {
			t.Errorf("%s: a link at its limits is refused", name)
		}
		edit(&l)
		if new(link).parse(l.seal(nil, [32]byte{}, nil)[8:]) {
			t.Errorf("%s: a link beyond its limit is taken", name)
		}
	}
}

// What check lets pass is a whole value, whatever stands behind it, and it
// refuses everything that is cut off.
func TestCheckLengths(t *testing.T) {
	values := [][]byte{
		{0x00}, {0x7f}, {0xe0}, {0xff}, {0xc0}, {0xc2}, {0xc3}, {0xcc, 1}, {0xcd, 1, 2}, {0xce, 1, 2, 3, 4}, {0xcf, 1, 2, 3, 4, 5, 6, 7, 8},
		{0xd0, 1}, {0xd1, 1, 2}, {0xd2, 1, 2, 3, 4}, {0xd3, 1, 2, 3, 4, 5, 6, 7, 8}, {0xca, 1, 2, 3, 4}, {0xcb, 1, 2, 3, 4, 5, 6, 7, 8},
		{0xa0}, {0xa2, 1, 2}, {0xd9, 2, 1, 2}, {0xda, 0, 2, 1, 2}, {0xdb, 0, 0, 0, 2, 1, 2}, {0xc4, 2, 1, 2}, {0xc5, 0, 2, 1, 2}, {0xc6, 0, 0, 0, 2, 1, 2},
		{0x90}, {0x92, 1, 2}, {0xdc, 0, 2, 1, 2}, {0xdd, 0, 0, 0, 2, 1, 2}, {0x80}, {0x81, 1, 2}, {0xde, 0, 1, 1, 2}, {0xdf, 0, 0, 0, 1, 1, 2},
		{0x92, 0x92, 0xa1, 5, 0x90, 0x81, 1, 0xcd, 1, 2}, {0x91, 0x91, 0x91, 0x91, 0x91, 0x91, 0x91, 1},
	}
	for _, v := range values {
		for _, more := range [][]byte{nil, {0xc1}, {0x01, 0x02}, make([]byte, 20)} {
			if n, err := check(append(bytes.Clone(v), more...)); n != len(v) || err != nil {
				t.Errorf("% x with %d bytes behind: %d, %v", v, len(more), n, err)
			}
		}
		for cut := range len(v) {
			if n, err := check(v[:cut]); !errors.Is(err, errShort) {
				t.Errorf("% x cut to %d: %d, %v", v, cut, n, err)
			}
		}
	}
	for want, bad := range map[error][]byte{
		errDeep: {0x91, 0x91, 0x91, 0x91, 0x91, 0x91, 0x91, 0x91, 1}, errType: {0xc1},
	} {
		if _, err := check(bad); !errors.Is(err, want) {
			t.Errorf("% x: %v", bad, err)
		}
	}
	for _, c := range []byte{0xc7, 0xc8, 0xc9, 0xd4, 0xd5, 0xd6, 0xd7, 0xd8} {
		if _, err := check(append([]byte{c}, make([]byte, 20)...)); !errors.Is(err, errType) {
			t.Errorf("extension %x: %v", c, err)
		}
	}
}
