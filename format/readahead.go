package format

// This file decodes the next frames of a file meanwhile, on other CPUs.

import "hash/crc32"

// maxAhead is how many frames are decoded at once.
const maxAhead = 4

// Only usual frames are decoded ahead, so that those in flight together take no
// more memory than a single one may.
const (
	aheadFrame   = 1 << 20 // bytes of the compressed frame
	aheadContent = 2 << 20 // bytes of its content
	aheadEvents  = 1 << 14 // events in it
)

// ahead is the frames that are decoded before they are asked for, in the order of
// the capture. A nil *ahead is one that reads nothing ahead.
type ahead struct {
	max   int
	jobs  []*job // begun and not yet taken
	at    int64  // where the link behind the last of them stands
	stuck bool   // what stands there is no usual frame: it is left to the reader
	held  *job   // whose batch was given last
	free  []*frameDecoder
	alone bool // the frame that was given last was not decoded ahead, and may take much memory
}

// job is a frame with its link; one that is decoded ahead has a decoder.
type job struct {
	link  link
	frame []byte
	at    int64    // of the link in the capture
	prev  [32]byte // chain that the link before claims

	decoder *frameDecoder
	done    chan struct{} // closed when what follows is known
	intact  bool          // the frame matches its checksum
	chained [32]byte      // the chain with this frame if prev is right
	err     error         // of decoding
}

func (j *job) run() {
	defer close(j.done)
	if j.intact = crc32.Checksum(j.frame, castagnoli) == j.link.sum; !j.intact {
		return
	}
	j.chained = chain(j.prev, j.link.payload[:], j.frame)
	j.err = j.decoder.decode(&j.link, j.frame)
}

// chain gives the chain with this frame, behind that of the frames before it.
func (j *job) chain(prev [32]byte) [32]byte {
	if j.decoder != nil && j.prev == prev { // else what was left out lies between, and no chain is asked for: mutate: ignore
		return j.chained
	}
	return chain(prev, j.link.payload[:], j.frame)
}

// readAhead gives the frame at the current place if it is decoded ahead, else nil,
// and begins to decode those behind it.
func (r *Reader) readAhead() *job {
	a := r.ahead
	if a == nil || r.first {
		return nil
	}
	for len(a.jobs) > 0 && a.jobs[0].at < r.src.at { // salvage went past it
		<-a.jobs[0].done
		a.release(a.jobs[0]) // else another decoder is made: mutate: ignore
		a.jobs = a.jobs[1:]
	}
	if a.held != nil {
		a.release(a.held) // else another decoder is made: mutate: ignore
		a.held = nil
	}
	r.fill()
	if len(a.jobs) > 0 && a.jobs[0].at == r.src.at {
		return a.jobs[0]
	}
	return nil
}

// fill begins to decode frames until there are as many in flight as may be.
func (r *Reader) fill() {
	a := r.ahead
	if a.at < r.src.at {
		a.at, a.stuck = r.src.at, false
	}
	for len(a.jobs) < a.max && !a.stuck {
		j := r.look(a.at)
		if j == nil {
			a.stuck = true
			return
		}
		if a.alone {
			a.alone = false
			r.decoder.forget()
		}
		j.prev = r.chain
		if n := len(a.jobs); n > 0 {
			j.prev = a.jobs[n-1].link.chain
		}
		a.jobs = append(a.jobs, j)
		a.at += int64(8 + linkSize + len(j.frame))
		go j.run()
	}
}

// look makes a job of the frame at a place not before the current one; nil if it
// can't be decoded ahead.
func (r *Reader) look(at int64) *job {
	skip := int(at - r.src.at)
	b, err := r.src.peek(skip + 8 + linkSize)
	if err != nil || string(b[skip:skip+8]) != string(linkHead[:8]) {
		return nil
	}
	j := &job{at: at, done: make(chan struct{})}
	l := &j.link
	if !l.parse(b[skip+8:]) || l.size > aheadFrame || l.content > aheadContent || l.events > aheadEvents {
		return nil
	}
	if b, err = r.src.peek(skip + 8 + linkSize + int(l.size)); err != nil {
		return nil
	}
	j.frame = b[skip+8+linkSize:]
	if j.decoder, err = r.ahead.take(r); err != nil {
		return nil
	}
	return j
}

// take gives a decoder that is not in use.
func (a *ahead) take(r *Reader) (*frameDecoder, error) {
	if n := len(a.free); n > 0 { // the same: mutate: ignore
		d := a.free[n-1]
		a.free, d.fromNS = a.free[:n-1], r.decoder.fromNS
		return d, nil
	}
	d, err := newFrameDecoder(&r.header, ReaderOptions{Salvage: r.salvage, Omit: r.decoder.omit,
		Parts: r.decoder.parts})
	if err != nil {
		return nil, err
	}
	d.usual, d.fromNS, d.block.cols = true, r.decoder.fromNS, r.decoder.block.cols
	return d, nil
}

// release takes a decoder back whose batch is no longer used.
func (a *ahead) release(j *job) {
	if j.decoder != nil {
		a.free = append(a.free, j.decoder)
	}
}

// hold keeps the memory of a frame of jobs that was taken.
func (a *ahead) hold(j *job) {
	if len(a.jobs) > 0 && a.jobs[0] == j {
		a.held, a.jobs = j, a.jobs[1:]
	}
}

// rest waits for all that is in flight and gives its memory back, for the sake of a
// frame that may take much.
func (a *ahead) rest() {
	if a == nil {
		return
	}
	for _, j := range a.jobs {
		<-j.done
	}
	*a = ahead{max: a.max, alone: true}
}
