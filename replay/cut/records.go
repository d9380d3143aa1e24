package cut

// This file writes those records of a frame that belong to the part.

import "github.com/acc-project/acc/format"

// processes keeps the records of processes that events of the part name.
func (c *cutter) processes(b *format.Batch) error {
	for i := range b.Processes {
		p := &b.Processes[i]
		if c.procs != nil && (!c.procs[p.Num] || c.wrote[p.Num]) {
			continue
		}
		if c.procs != nil {
			c.wrote[p.Num] = true
		}
		if err := c.out.Process(*p); err != nil {
			return err
		}
	}
	return nil
}

// records writes those of a frame that are of the part.
func (c *cutter) records(i int, b *format.Batch) error {
	if len(b.Losses) > 0 || len(b.Gaps) > 0 { // they are of after the events before them
		if err := c.out.Flush(); err != nil {
			return err
		}
		c.state.lose()
	}
	if err := c.processes(b); err != nil {
		return err
	}
	for _, p := range b.Clocks {
		if c.inside(p.BootNS) {
			if err := c.out.Clock(p); err != nil {
				return err
			}
		}
	}
	for k := range b.Snapshots {
		s := b.Snapshots[k]
		if s.Final || !c.note.Begin {
			continue
		}
		c.state.begin(&s)
		if err := c.out.Snapshot(c.chosen(s)); err != nil {
			return err
		}
	}
	if err := c.losses(i, i+1); err != nil {
		return err
	}
	if err := c.watches(b); err != nil {
		return err
	}
	for _, m := range b.Marks {
		if c.inside(m.BootNS) {
			if err := c.out.Mark(m); err != nil {
				return err
			}
		}
	}
	for _, g := range b.Gaps {
		if err := c.out.Gap(g); err != nil {
			return err
		}
	}
	return nil
}

// finals writes the lists of the end, where the part has that.
func (c *cutter) finals(b *format.Batch) error {
	for k := range b.Snapshots {
		if s := b.Snapshots[k]; s.Final && c.note.End {
			if err := c.out.Flush(); err != nil {
				return err
			}
			if err := c.out.Snapshot(c.chosen(s)); err != nil {
				return err
			}
		}
	}
	return nil
}

// chosen leaves out of a list the connections that the part has not.
func (c *cutter) chosen(s format.Snapshot) format.Snapshot {
	if c.o.Chooser == nil {
		return s
	}
	list := []format.Connection{}
	for i := range s.Connections {
		x, seq := &s.Connections[i], uint64(0)
		if o := c.state.find(x); o != nil {
			seq = o.seq
		}
		if c.o.Chooser.Connection(x, seq) {
			list = append(list, *x)
		}
	}
	s.Connections, s.ConnectionsKnown = list, false
	return s
}
