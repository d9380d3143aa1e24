package format

// This file has the Reader.

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"iter"
	"runtime"
)

// ReaderOptions are a Reader's settings; the zero value reads strictly.
type ReaderOptions struct {
	// Salvage makes the reader skip what is corrupt and go on; see [Reader.Skipped].
	Salvage bool
	// MaxSkip is through how many bytes between two frames salvaging looks for the next
	// one before it gives up with a *CorruptError; 0: all there are. It is for input that
	// need not have an end: a device, a pipe.
	MaxSkip int64
	// Ahead makes the reader decode frames on other CPUs before they are asked for; what
	// it gives is the same. It is for input that never makes wait: a file, not a pipe
	// into which events are recorded.
	Ahead bool
	// Parts makes batches give their events by [Batch.Parts] alone, a few at a time while
	// they are in the caches near a CPU: Events is empty.
	Parts bool
	// Omit names fields whose values are not needed: events may have zero there. What
	// is corrupt stays so.
	Omit []string
}

// Batch is what one frame of a capture holds. A consumer takes it in the order
// of the members. Its slices belong to the reader and are overwritten by the
// next call of Next; the texts in them are not.
type Batch struct {
	Header    *Header // in the first batch only; nil if salvaging found none
	Processes []Process
	Clocks    []Clock
	Losses    []Loss
	Snapshots []Snapshot
	Counters  []Counters
	Watches   []Watch
	Doings    []Doing
	Images    []Image
	Stacks    []Stack
	Marks     []Mark
	Counted   []Counted
	Gaps      []Gap // of a repaired capture, before the next batch
	Events    []Event
	End       *End  // in the last batch only
	Offset    int64 // of the frame in the capture, in bytes
	Bytes     int64 // of the frame in the capture, its link included

	Frame    uint32   // number of the frame, from 0
	FirstSeq uint64   // Seq of its first event, or of the next one if it has none
	Chain    [32]byte // hash of this frame and all before it
	MinNS    int64    // smallest BootNS of its events by its link, 0 if it has none
	MaxNS    int64

	link  *link
	raw   []byte        // the zstd frame
	block *blockDecoder // what Parts takes the events from, nil: Events

	times    *blockDecoder     // what AppendTimes takes them from, nil: Events
	replaced iter.Seq[[]Event] // what Parts gives instead, nil: the events of the frame
}

// Parts gives the events in their order, some at a time, in memory that is used again
// for the next ones.
func (b *Batch) Parts() iter.Seq[[]Event] {
	return func(yield func([]Event) bool) {
		if b.replaced != nil {
			b.replaced(yield)
		} else if b.block != nil {
			b.block.parts(b.FirstSeq, yield)
		} else if len(b.Events) > 0 {
			yield(b.Events)
		}
	}
}

// Reader reads a capture from its beginning, a frame at a time, in memory that
// does not grow with the capture. It is for one goroutine.
type Reader struct {
	src     source
	salvage bool
	header  Header
	first   bool // the first batch was decoded but not yet given
	err     error
	decoder *frameDecoder // of frames that are not read ahead
	ahead   *ahead        // nil: none are
	batch   *Batch        // given last

	frame   uint32 // number expected next
	seq     uint64 // Seq expected next
	events  uint64 // events given
	chain   [32]byte
	ended   bool
	index   hash.Hash // of the frames read, as the index should have them
	skipped []Skip
	skipEnd int64 // where the last of them ends
	maxSkip int64
	passed  int64     // bytes left out since the last frame
	start   *[32]byte // chain of frame 0, nil if salvaging found none
	another bool      // at the current place another capture begins
	drained bool      // all that is left was left out
}

// NewReader reads the header of the capture on r. Its errors are those of
// [Reader.Next], ErrNotCapture and *VersionError. The caller closes r. Where nothing can be
// read, the reader goes past holes of a sparse file, if r is a [HoleSkipper].
func NewReader(r io.Reader, o ReaderOptions) (*Reader, error) {
	fr := &Reader{src: source{r: r}, salvage: o.Salvage, maxSkip: o.MaxSkip, seq: 1, first: true, index: sha256.New()}
	var err error
	if fr.decoder, err = newFrameDecoder(&fr.header, o); err != nil {
		return nil, err
	}
	if n := min(runtime.GOMAXPROCS(0), maxAhead); o.Ahead && n > 1 {
		fr.ahead = &ahead{max: n}
	}
	head, err := fr.src.peek(len(linkHead))
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read capture: %w", err)
	}
	if !bytes.HasPrefix(linkHead, head) && !o.Salvage {
		return nil, fmt.Errorf("%w: it does not begin with a capture's first bytes", ErrNotCapture)
	}
	if err := fr.next(); err != nil {
		if ended := errors.Is(err, ErrTruncated) || errors.As(err, new(*CorruptError)); o.Salvage && ended &&
			len(fr.skipped) > 0 {
			if bytes.HasPrefix(linkHead, head) {
				return nil, &CorruptError{Offset: fr.skipped[0].Offset, Reason: fr.skipped[0].Reason}
			}
			return nil, fmt.Errorf("%w: no frame of one was found in %d bytes", ErrNotCapture, fr.src.at)
		}
		return nil, err
	}
	return fr, nil
}

// Header is the capture's header. If salvaging found none, only Format is set.
func (r *Reader) Header() *Header { return &r.header }

// Skipped is what salvaging has left out so far.
func (r *Reader) Skipped() []Skip { return r.skipped }

// Next gives the next frame's batch. At the end of a whole capture it gives
// io.EOF. Otherwise the error is one of ErrTruncated (errors.Is), *CorruptError
// (errors.As; when salvaging only beyond MaxSkip), or what reading the input gave. An error is
// final.
func (r *Reader) Next() (*Batch, error) {
	if r.err != nil {
		return nil, r.err
	}
	if r.first {
		r.first = false
		return r.batch, nil
	}
	if err := r.next(); err != nil {
		r.err, r.ahead = err, nil
		return nil, err
	}
	return r.batch, nil
}

// next decodes the next frame, past what salvaging skips.
func (r *Reader) next() error {
	for {
		at := r.src.at
		var bad *CorruptError
		err := r.step()
		if err == nil || !r.salvage || r.drained || !errors.As(err, &bad) {
			return err
		}
		if r.ended || r.another { // what lies behind is not this capture's
			return r.skipRest(bad.Reason)
		}
		if err := r.resync(at, bad.Reason); err != nil {
			return err
		}
	}
}

// step takes what stands at the current place: a frame, or the index and the tail.
func (r *Reader) step() error {
	if r.ended {
		return r.finish()
	}
	j := r.readAhead()
	if j == nil {
		var err error
		if j, err = r.readFrame(); err != nil {
			return err
		}
	} else if <-j.done; !j.intact {
		return r.broken(&j.link)
	}
	l, at := &j.link, r.src.at
	if err := r.follows(j); err != nil {
		return err
	}
	b, err := r.decode(j)
	if err != nil {
		return err
	}
	seq := l.firstSeq + uint64(l.events)
	for _, g := range b.Gaps {
		if r.header.Repaired == nil || l.events > 0 || g.Next < seq {
			return r.corrupt("frame %d says that something is missing in a way that no repair does", l.frame)
		}
		seq = g.Next
	}
	if r.salvage {
		r.missed(l)
	}
	l.entry(at).hash(r.index)
	b.Offset, b.Bytes = at, int64(8+linkSize+len(j.frame))
	b.Frame, b.FirstSeq, b.Chain = l.frame, l.firstSeq, l.chain
	b.MinNS, b.MaxNS, b.link, b.raw = l.minNS, l.maxNS, l, j.frame
	r.frame, r.seq, r.chain = l.frame+1, seq, l.chain
	if l.frame == 0 {
		r.start = &l.chain
	}
	r.events += uint64(l.events)
	r.ended = b.End != nil
	r.batch = b
	r.src.take(8 + linkSize + len(j.frame))
	r.passed = 0
	if a := r.ahead; a != nil && !r.first && !a.alone {
		a.hold(j)
		r.fill()
	}
	return nil
}

// decode gives the batch of a frame, which may be decoded already.
func (r *Reader) decode(j *job) (*Batch, error) {
	d, err := j.decoder, j.err
	if d == nil || err == errLarge {
		r.ahead.rest()
		d = r.decoder
		err = d.decode(&j.link, j.frame)
	}
	if newer := new(VersionError); errors.As(err, &newer) {
		return nil, newer
	}
	if err != nil {
		return nil, r.corrupt("%v", err)
	}
	if b := &d.batch; b.Header != nil || r.header.Format != 0 {
		return b, nil
	}
	if !r.salvage {
		return nil, r.corrupt("frame %d holds no header", j.link.frame)
	}
	r.skip(r.src.at, "the header is missing here")
	if err := d.assume(); err != nil {
		return nil, r.corrupt("%v", err)
	}
	return &d.batch, nil
}

// corrupt is the error for the frame at the current place.
func (r *Reader) corrupt(reason string, args ...any) error {
	return &CorruptError{Offset: r.src.at, Reason: fmt.Sprintf(reason, args...)}
}

// truncated is the error for a capture that stops at the current place.
func (r *Reader) truncated(err error) error {
	if !errors.Is(err, io.EOF) {
		return fmt.Errorf("read capture: %w", err)
	}
	return fmt.Errorf("%w: it stops after %d events, at byte %d", ErrTruncated, r.events, r.src.at)
}

// readFrame peeks at the next link and its frame.
func (r *Reader) readFrame() (*job, error) {
	b, err := r.src.peek(8 + linkSize)
	if n := min(len(b), len(linkHead)); !bytes.Equal(b[:n], linkHead[:n]) {
		return nil, r.corrupt("no frame begins here")
	}
	if err != nil {
		return nil, r.truncated(err)
	}
	j := new(job)
	if !j.link.parse(b[8:]) {
		return nil, r.corrupt("a frame's link does not match its checksum")
	}
	b, err = r.src.peek(8 + linkSize + int(j.link.size))
	if err != nil {
		return nil, r.truncated(err)
	}
	j.frame = b[8+linkSize:]
	if crc32.Checksum(j.frame, castagnoli) != j.link.sum {
		return nil, r.broken(&j.link)
	}
	return j, nil
}

// broken is the error for a frame that is not the one of its link.
func (r *Reader) broken(l *link) error {
	return r.corrupt("frame %d does not match its checksum", l.frame)
}

// follows checks that a frame is the one that comes next.
func (r *Reader) follows(j *job) error {
	l := &j.link
	switch {
	case r.salvage && r.foreign(l):
		r.another = true
		return r.corrupt("%s", r.anotherOne())
	case r.salvage && (l.frame < r.frame || l.firstSeq < r.seq):
		return r.corrupt("frame %d comes again or too late", l.frame)
	case r.salvage && r.header.Repaired == nil && l.firstSeq-r.seq > uint64(l.frame-r.frame)*maxEvents:
		return r.corrupt("frame %d begins with event %d, more than can be missing before it", l.frame, l.firstSeq)
	case r.salvage && (r.behindSkip() || l.frame != r.frame):
		return nil // its link to what was left out can't be proven
	case l.frame != r.frame:
		return r.corrupt("frame %d stands where frame %d belongs", l.frame, r.frame)
	case l.firstSeq != r.seq:
		return r.corrupt("frame %d begins with event %d, not %d", l.frame, l.firstSeq, r.seq)
	case j.chain(r.chain) != l.chain:
		return r.corrupt("frame %d does not continue the chain of the frames before it", l.frame)
	}
	return nil
}

// behindSkip reports whether the part before the current place was left out.
func (r *Reader) behindSkip() bool { return len(r.skipped) > 0 && r.skipEnd == r.src.at }

// skip gives the note of what is left out from at on: a new one, or that of the
// part right before it. Beyond maxSkips the last one stands for all others.
func (r *Reader) skip(at int64, reason string) *Skip {
	n := len(r.skipped)
	if n == 0 || r.skipEnd != at && n < maxSkips {
		r.skipped = append(r.skipped, Skip{Offset: at, Reason: reason})
	} else if r.skipEnd != at {
		r.skipped[n-1].Reason = "and other places behind this one"
	}
	r.skipEnd = at
	return &r.skipped[len(r.skipped)-1]
}

// missed notes what is missing before a frame that salvaging took.
func (r *Reader) missed(l *link) {
	if l.frame != r.frame || l.firstSeq != r.seq || r.behindSkip() {
		r.skip(r.src.at, "frames are missing here").Events += l.firstSeq - r.seq
	}
}

// resync skips from at to the next place where a link, an index or a tail
// stands, and notes why.
func (r *Reader) resync(at int64, reason string) error {
	note := r.skip(at, reason)
	r.src.take(1)
	defer func() {
		note.Bytes += r.src.at - at
		r.passed += r.src.at - at
		r.skipEnd = r.src.at
	}()
	for {
		if past := r.passed + r.src.at - at; r.maxSkip > 0 && past > r.maxSkip {
			return &CorruptError{Offset: r.src.at - past,
				Reason: fmt.Sprintf("no frame begins in %d bytes, and no more are looked at", past)}
		}
		b, err := r.src.peek(64 << 10)
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("read capture: %w", err)
		}
		found := bytes.Index(b, linkHead)
		skip := found
		if found < 0 {
			skip = len(b)
			if err == nil {
				skip -= mayBegin(b)
			}
		}
		r.src.take(skip)
		if found >= 0 {
			return nil
		}
		if err := r.src.skipHole(); err != nil {
			return fmt.Errorf("read capture: %w", err)
		}
		if err != nil {
			return r.truncated(io.EOF)
		}
	}
}

// finish reads the index and the tail, which end a capture.
func (r *Reader) finish() error {
	head := skippable(0, typeIndex)
	at := r.src.at
	b, err := r.src.peek(16)
	if n := len(b); n < 16 {
		if !bytes.Equal(b[:min(n, 4)], head[:min(n, 4)]) {
			return r.corrupt("no index follows the last frame")
		}
		return r.truncated(err)
	}
	size := int(uint32(b[4]) | uint32(b[5])<<8 | uint32(b[6])<<16 | uint32(b[7])<<24)
	if !bytes.Equal(b[:4], head[:4]) || !bytes.Equal(b[8:16], head[8:16]) || size > maxIndex || size < 8 {
		return r.corrupt("no index follows the last frame")
	}
	b, err = r.src.peek(8 + size + 8 + tailSize)
	if err != nil {
		if len(b) > 8+size && !bytes.HasPrefix(skippable(tailSize, typeTail), b[8+size:min(len(b), 8+size+16)]) {
			return r.corrupt("no tail follows the index")
		}
		return r.truncated(err)
	}
	index, rest := b[8:8+size], b[8+size:]
	var t tail
	if !bytes.Equal(rest[:16], skippable(tailSize, typeTail)) || !t.parse(rest[8:]) {
		return r.corrupt("no tail follows the index")
	}
	var bad error
	switch {
	case t.indexSum != crc32.Checksum(index, castagnoli) || t.indexAt != uint64(at) ||
		t.at != uint64(at)+8+uint64(size):
		bad = r.corrupt("the index does not match the tail")
	case t.frames != r.frame || t.events != r.events || t.chain != r.chain:
		bad = r.corrupt("the tail does not match the frames")
	default:
		bad = r.checkIndex(index)
	}
	switch {
	case bad == nil:
	case !r.salvage:
		return bad
	case len(r.skipped) == 0: // else they can't match
		r.skip(at, bad.(*CorruptError).Reason).Bytes += int64(8 + size + 8 + tailSize)
	}
	r.src.take(8 + size + 8 + tailSize)
	if b, err := r.src.peek(1); len(b) > 0 {
		if r.salvage {
			return r.trailing()
		}
		return r.corrupt("something follows the end of the capture")
	} else if !errors.Is(err, io.EOF) {
		return fmt.Errorf("read capture: %w", err)
	}
	return io.EOF
}
