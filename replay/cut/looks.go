package cut

// This file keeps what the recorder saw of threads.

import "github.com/acc-project/acc/format"

// Bounds of the stacks and images that are remembered: four times as many as a recorder names.
const (
	maxStacks     = 1 << 14
	maxStackBytes = 64 << 20
)

// looks is what is known of watches and stacks: a stack can stand long before what refers to it.
type looks struct {
	kept        map[uint32]bool // watches that the part has
	images      map[uint32]*format.Image
	stacks      map[uint32]*format.Stack
	wroteImages map[uint32]bool
	wroteStacks map[uint32]bool
	room        format.Room
	more        bool // there were more of them
}

// keeps reports whether there is room for a stack or an image.
func keeps[T any](l *looks, num uint32, x *T, of map[uint32]*T) bool {
	before := of[num]
	if before != nil {
		l.room.Gives(before)
		delete(of, num)
	}
	if len(of) < maxStacks && l.room.Takes(x) {
		return true
	}
	l.more = true
	return false
}

func newLooks() looks {
	return looks{kept: map[uint32]bool{}, images: map[uint32]*format.Image{}, stacks: map[uint32]*format.Stack{},
		wroteImages: map[uint32]bool{}, wroteStacks: map[uint32]bool{},
		room: format.Room{Max: maxStackBytes}}
}

// watches keeps what the recorder saw of threads, where all of it is of the part's time.
func (c *cutter) watches(b *format.Batch) error {
	l := &c.looks
	for i := range b.Images {
		x := b.Images[i]
		if keeps(l, x.Num, &x, l.images) {
			l.images[x.Num] = &x
		}
	}
	for i := range b.Stacks {
		x := b.Stacks[i]
		if keeps(l, x.Num, &x, l.stacks) {
			l.stacks[x.Num] = &x
		}
	}
	for _, x := range b.Watches {
		if !c.inside(x.FromNS) || !c.inside(x.ToNS) && (x.ToNS != 0 || !c.note.End) {
			continue
		}
		l.kept[x.Num] = true
		for _, cpu := range x.OnCPU {
			for _, s := range cpu.Stacks {
				if err := c.stack(s.Stack); err != nil {
					return err
				}
			}
		}
		for _, g := range x.Goroutines {
			for _, group := range g.Groups {
				if err := c.stack(group.Stack); err != nil {
					return err
				}
			}
		}
		if err := c.out.Watch(x); err != nil {
			return err
		}
	}
	for _, x := range b.Doings {
		if l.kept[x.Watch] && c.inside(x.FromNS) && c.inside(x.ToNS) {
			if err := c.stack(x.Stack); err != nil {
				return err
			}
			if err := c.out.Doing(x); err != nil {
				return err
			}
		}
	}
	return nil
}

// stack writes a stack and its images, if the part has not got them.
func (c *cutter) stack(num uint32) error {
	l := &c.looks
	s, ok := l.stacks[num]
	if !ok || l.wroteStacks[num] {
		return nil
	}
	l.wroteStacks[num] = true
	for _, f := range s.Frames {
		if x, ok := l.images[f.Image]; ok && !l.wroteImages[f.Image] {
			l.wroteImages[f.Image] = true
			if err := c.out.Image(*x); err != nil {
				return err
			}
		}
	}
	return c.out.Stack(*s)
}
