package format

// This file has the Writer.

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"reflect"

	"github.com/klauspost/compress/zstd"
	"github.com/vmihailenco/msgpack/v5"
)

// WriterOptions are a Writer's settings; the zero value is the default.
type WriterOptions struct {
	FrameEvents int // events that fill a frame; 0: 16384, at most 65536
	// Room is asked before a frame is written, with its length in bytes. With an error
	// the frame is not written, and the call that ended it gives a *NoRoomError; then
	// room is not asked for any more, so that losses and the end can be written. nil:
	// there is always room.
	Room func(bytes int) error
	// Checkpoint is called after each frame that was written, and after the end of
	// the capture, in the goroutine of the Writer; nil: nobody wants to know.
	Checkpoint func(Checkpoint)
}

// Checkpoint is how far a capture has come. Whoever keeps its Head where the
// writer of the capture can't reach it can tell later that the capture up to
// there is the one that was written.
type Checkpoint struct {
	Frame  uint32   // number of the last frame, from 0
	Bytes  int64    // of the capture so far
	Events uint64   // in it
	Head   [32]byte // chain of the last frame
	Closed bool     // the capture is complete
}

// How many sockets and tasks stand in one record: with the longest names it is below the
// limit on its length.
const (
	maxListeners   = 1_500
	maxConnections = 1_500
	maxBlocked     = 20_000
)

// Writer writes a capture. It is for one goroutine. The first error of the
// underlying writer is final: every later call gives it again.
type Writer struct {
	w       io.Writer
	err     error
	header  Header
	max     int // events of a frame
	most    int // of them that repeats may be, 0: none
	zstd    *zstd.Encoder
	records bytes.Buffer // small records of the current frame
	queued  int          // their number
	msgpack *msgpack.Encoder
	block   blockEncoder // the events of the current frame
	last    *known       // of the last one
	content []byte
	out     []byte
	packed  []byte
	room    func(bytes int) error

	seq    uint64 // of the next event
	count  uint64 // of events
	frames uint32
	copies bool // see NewCopy

	number uint64 // of the event before, in a cut
	tell   func(Checkpoint)
	chain  [32]byte
	at     int64 // bytes written
	index  []Frame
	closed bool
}

// NewWriter begins a capture on w and writes its header at once. Format, Compat,
// Incompat and Fields of h are filled in.
func NewWriter(w io.Writer, h Header, o WriterOptions) (*Writer, error) {
	if o.FrameEvents == 0 {
		o.FrameEvents = 1 << 14
	}
	return newWriter(w, h, o, false)
}

func newWriter(w io.Writer, h Header, o WriterOptions, copies bool) (*Writer, error) {
	if o.FrameEvents < 1 || o.FrameEvents > maxEvents {
		return nil, fmt.Errorf("use %d events a frame: not in 1 to %d", o.FrameEvents, maxEvents)
	}
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true),
		zstd.WithWindowSize(1<<20), zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithAllLitEntropyCompression(true))
	if err != nil {
		return nil, fmt.Errorf("set up compression: %w", err)
	}
	if !copies {
		h.Format, h.Fields, h.Incompat = Version, specs(), nil
		if len(h.Cuts) > 0 {
			h.Fields, h.Incompat = append(h.Fields, seqField), []string{FeatureCut}
		}
	}
	fw := &Writer{w: w, header: h, max: o.FrameEvents, room: o.Room, zstd: enc, seq: 1, copies: copies,
		tell: o.Checkpoint}
	fw.block.numbered = !copies && len(h.Cuts) > 0
	if !copies && !fw.block.numbered {
		fw.most = fw.max
	}
	fw.block.begin()
	fw.msgpack = msgpack.NewEncoder(&fw.records)
	fw.msgpack.SetSortMapKeys(true)
	fw.msgpack.UseCompactInts(true)
	if err := fw.record("header", &h); err != nil {
		return nil, err
	}
	return fw, fw.Flush()
}

// record queues one small record.
func (w *Writer) record(tag string, body any) error {
	if w.closed {
		return errors.New("write to a closed capture")
	}
	if w.err != nil {
		return w.err
	}
	if err := w.encode(tag, body); err != nil {
		w.err = fmt.Errorf("encode %s: %w", tag, err)
		return w.err
	}
	if w.queued++; w.queued >= maxRecords || w.records.Len() > 1<<20 {
		return w.Flush()
	}
	return nil
}

// encode appends a small record. Texts that are longer than readers take are cut, and lists that are.
func (w *Writer) encode(tag string, body any) error {
	if err := errors.Join(w.msgpack.EncodeArrayLen(2), w.msgpack.EncodeString(tag)); err != nil {
		return err
	}
	at, left := w.records.Len(), maxElements
	if err := w.msgpack.Encode(body); err != nil {
		return err
	}
	if err := inRange(tag, w.records.Bytes()[at:], &left); !errors.Is(err, errText) && !errors.Is(err, errElements) {
		return nil
	}
	w.records.Truncate(at)
	return w.msgpack.Encode(boundsOf(tag, &left).cut(reflect.ValueOf(body).Elem()).Interface())
}

// Process records a process. Its Num must be there before an event refers to it.
func (w *Writer) Process(p Process) error { return w.record("process", &p) }

// Clock records a clock pair.
func (w *Writer) Clock(c Clock) error { return w.record("clock", &c) }

// Counters records what the kernel's own counters said.
func (w *Writer) Counters(c Counters) error { return w.record("counters", &c) }

// Watch records that threads were looked at.
func (w *Writer) Watch(x Watch) error { return w.record("watch", &x) }

// Image records a file that stacks refer to. It must be there before one does.
func (w *Writer) Image(x Image) error { return w.record("image", &x) }

// Stack records where a thread was. It must be there before a Doing refers to it.
func (w *Writer) Stack(x Stack) error { return w.record("stack", &x) }

// Doing records what a thread did.
func (w *Writer) Doing(x Doing) error { return w.record("doing", &x) }

// Mark records a mark.
func (w *Writer) Mark(m Mark) error { return w.record("mark", &m) }

// Counted records calls that were counted.
func (w *Writer) Counted(c Counted) error { return w.record("counted", &c) }

// Loss records a loss.
func (w *Writer) Loss(l Loss) error { return w.record("loss", &l) }

// Snapshot records what was there when the recording began, in as many records as
// its lists need.
func (w *Writer) Snapshot(s Snapshot) error {
	for {
		part := s
		part.Listeners = s.Listeners[:min(len(s.Listeners), maxListeners)]
		part.Connections = s.Connections[:min(len(s.Connections), maxConnections)]
		part.Blocked = s.Blocked[:min(len(s.Blocked), maxBlocked/4)]
		s.Listeners, s.Connections, s.Blocked = s.Listeners[len(part.Listeners):],
			s.Connections[len(part.Connections):], s.Blocked[len(part.Blocked):]
		if err := w.record("snapshot", &part); err != nil || len(s.Listeners)+len(s.Connections)+len(s.Blocked) == 0 {
			return err
		}
	}
}

// Event records a copy of e and sets e.Seq. It ends the frame when that is full. In a cut, an event has its number
// already, and those before it have smaller ones.
func (w *Writer) Event(e *Event) error {
	if err := w.writable(); err != nil {
		return err
	}
	if w.block.numbered {
		if e.Seq <= w.number || e.Seq > math.MaxInt64 {
			return fmt.Errorf("write event %d of a cut: it comes after event %d", e.Seq, w.number)
		}
		w.number = e.Seq
		w.block.numbers = append(w.block.numbers, int64(e.Seq))
	} else {
		e.Seq = w.seq
	}
	w.last = w.block.add(e)
	return w.added()
}

// writable reports why no event can be written.
func (w *Writer) writable() error {
	switch {
	case w.closed:
		return errors.New("write to a closed capture")
	case w.err != nil:
		return w.err
	case w.copies:
		return errors.New("write an event to a copy")
	}
	return nil
}

// added counts an event, and ends the frame if it is full.
func (w *Writer) added() error {
	w.seq++
	w.count++
	if w.block.rows >= w.max {
		return w.Flush()
	}
	return nil
}

// Row names an event of the frame that is being written. The zero value names none.
type Row struct {
	k       *known
	version uint64
}

// Last names the event that [Writer.Event] recorded last, if it is of the current frame, and can be repeated: it has
// a hook that acc knows.
func (w *Writer) Last() Row {
	if w.block.rows == 0 || w.last.values[atHook] >= int64(NumHooks) {
		return Row{}
	}
	return Row{w.last, w.last.version}
}

// Has reports whether an event is of the frame that is being written, and its task has had none of its
// kind and errno since but repeats.
func (w *Writer) Has(r Row) bool { return r.k != nil && r.k.version == r.version }

// Flush ends the current frame and writes it, if it holds anything.
func (w *Writer) Flush() error {
	if w.err != nil || w.records.Len() == 0 && w.block.rows == 0 {
		return w.err
	}
	w.content = append(w.content[:0], w.records.Bytes()...)
	w.records.Reset()
	w.queued = 0
	l := link{events: uint32(w.block.rows), firstSeq: w.seq - uint64(w.block.rows)}
	if l.events > 0 {
		w.content = appendBlock(w.content, &w.block, l.firstSeq)
		l.minNS, l.maxNS = w.block.firstNS, w.block.lastNS
	}
	if err := w.pack(); err != nil {
		return err
	}
	l.content = uint32(len(w.content))
	err := w.frame(&l, w.packed)
	if none, ok := err.(*NoRoomError); ok && l.events > 0 {
		none.Hits = w.block.hits()
	}
	if l.events > 0 {
		w.block.begin()
	}
	return err
}

// frame writes a compressed frame behind its link, of which it fills in the rest.
func (w *Writer) frame(l *link, packed []byte) error {
	l.frame, l.size = w.frames, uint32(len(packed))
	if l.size > maxFrame || l.content > maxContent {
		w.err = fmt.Errorf("write frame %d: %d bytes, more than the format allows", l.frame, l.content)
		return w.err
	}
	w.out = append(l.seal(w.out[:0], w.chain, packed), packed...)
	if w.room != nil {
		if err := w.room(len(w.out)); err != nil {
			w.room, w.seq, w.count = nil, l.firstSeq, w.count-uint64(l.events)
			return &NoRoomError{err: err}
		}
	}
	w.chain = l.chain
	w.frames++
	if len(w.index) <= maxIndexFrames {
		w.index = append(w.index, l.entry(w.at))
	}
	if err := w.write(w.out); err != nil {
		return err
	}
	w.checkpoint(false)
	return nil
}

func (w *Writer) checkpoint(closed bool) {
	if w.tell != nil {
		w.tell(Checkpoint{Frame: w.frames - 1, Bytes: w.at, Events: w.count, Head: w.chain, Closed: closed})
	}
}

// pack compresses the frame's content. What lies between two seams is a zstd block
// of its own, with statistics of its own.
func (w *Writer) pack() error {
	w.packed = w.packed[:0]
	w.zstd.ResetContentSize((*appender)(&w.packed), int64(len(w.content)))
	from := 0
	for _, to := range append(w.block.seams, len(w.content)) {
		_, err := w.zstd.Write(w.content[from:to])
		if err == nil && to < len(w.content) {
			err = w.zstd.Flush()
		}
		if err != nil {
			w.err = fmt.Errorf("compress frame %d: %w", w.frames, err)
			return w.err
		}
		from = to
	}
	w.block.seams = w.block.seams[:0]
	if err := w.zstd.Close(); err != nil {
		w.err = fmt.Errorf("compress frame %d: %w", w.frames, err)
	}
	return w.err
}

// appender is a slice that is written to.
type appender []byte

func (a *appender) Write(b []byte) (int, error) {
	*a = append(*a, b...)
	return len(b), nil
}

func appendBlock(b []byte, enc *blockEncoder, firstSeq uint64) []byte {
	text := func(s string) { b = append(append(b, 0xa0|byte(len(s))), s...) }
	b = appendArrayLen(b, 2)
	text("block")
	b = appendMapLen(b, 3)
	text("seq")
	b = appendInt(b, int64(firstSeq))
	text("rows")
	b = appendInt(b, int64(enc.rows))
	text("cols")
	return enc.append(b)
}

func (w *Writer) write(b []byte) error {
	n, err := w.w.Write(b)
	w.at += int64(n)
	if err == nil && n < len(b) {
		err = io.ErrShortWrite
	}
	if err != nil {
		w.err = fmt.Errorf("write capture: %w", err)
	}
	return w.err
}

// Close writes what is left, END, the index and the tail. End.Events is filled
// in. It does not close the underlying writer. Only the first call does anything.
func (w *Writer) Close(end End) error {
	if w.closed {
		return w.err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	end.Events = w.Events()
	if len(end.Blocked) > maxBlocked {
		end.Blocked, end.BlockedKnown = end.Blocked[:maxBlocked], false
	}
	if err := w.record("end", &end); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	w.closed, w.most = true, 0
	t := tail{indexAt: uint64(w.at), frames: w.frames, events: end.Events, chain: w.chain}
	payload, err := packIndex(w.zstd, w.index)
	if err != nil {
		w.err = err
		return err
	}
	t.indexSum = crc32.Checksum(payload, castagnoli)
	t.at = t.indexAt + 8 + uint64(len(payload))
	b := append(skippable(uint32(len(payload)), typeIndex)[:8], payload...)
	if err := w.write(t.append(b)); err != nil {
		return err
	}
	w.checkpoint(true)
	return nil
}

// Events is how many events the capture holds so far.
func (w *Writer) Events() uint64 { return w.count }

// Head is the chain head so far: the chain of the last frame.
func (w *Writer) Head() [32]byte { return w.chain }

// Bytes is how many bytes have been written so far.
func (w *Writer) Bytes() int64 { return w.at }

// Records is how many records of the current frame are no events.
func (w *Writer) Records() int { return w.queued }

// Pending reports whether the current frame holds anything that Flush would write.
func (w *Writer) Pending() bool { return w.records.Len() > 0 || w.block.rows > 0 }
