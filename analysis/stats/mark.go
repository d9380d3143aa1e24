package stats

// This file keeps the first and the last events that show something.

import (
	"cmp"
	"slices"
)

// Sample is an event of a mark.
type Sample struct {
	Seq uint64
	NS  int64
}

// KeepSamples is how many of the first and of the last events of a mark are kept.
const KeepSamples = 4

// Mark is what is kept of the events that show a finding.
type Mark struct {
	Count           uint64
	FirstNS, LastNS int64
	High            int64 // the largest value that came with one
	first, last     [KeepSamples]Sample
}

func (m *Mark) Note(seq uint64, ns, value int64) {
	if m.Count == 0 {
		m.FirstNS, m.LastNS, m.High = ns, ns, value
	}
	if m.Count < KeepSamples {
		m.first[m.Count] = Sample{seq, ns}
	} else {
		m.last[m.Count%KeepSamples] = Sample{seq, ns}
	}
	m.Count++
	m.FirstNS, m.LastNS, m.High = min(m.FirstNS, ns), max(m.LastNS, ns), max(m.High, value)
}

// More adds events of which none is kept, the last of them at a time, to those that there are.
func (m *Mark) More(n uint64, lastNS int64) {
	if m == nil || m.Count == 0 {
		return
	}
	m.Count += n
	m.LastNS = max(m.LastNS, lastNS)
}

// Join adds what another mark has, as far as its events are kept.
func (m *Mark) Join(other *Mark) {
	list := other.Samples()
	for _, e := range list {
		m.Note(e.Seq, e.NS, other.High)
	}
	m.Count += other.Count - uint64(len(list))
}

// Samples gives the events, in the order of the capture.
func (m *Mark) Samples() []Sample {
	if m == nil {
		return nil
	}
	list := slices.Clone(m.first[:min(m.Count, KeepSamples)])
	for i := range min(m.Count-min(m.Count, KeepSamples), KeepSamples) {
		list = append(list, m.last[i])
	}
	slices.SortFunc(list, func(a, b Sample) int { return cmp.Compare(a.Seq, b.Seq) })
	return list
}

// N is how many events were noted, none of a nil mark.
func (m *Mark) N() uint64 {
	if m == nil {
		return 0
	}
	return m.Count
}

// Worst keeps the events with the largest values.
type Worst struct {
	List []Sample
	ns   []int64
}

func (w *Worst) Add(seq uint64, ns, value int64) {
	const keep = 2 * KeepSamples
	if len(w.List) == keep && value <= w.ns[keep-1] {
		return
	}
	i, _ := slices.BinarySearchFunc(w.ns, value, func(a, b int64) int { return cmp.Compare(b, a) })
	if len(w.List) == keep {
		w.List, w.ns = w.List[:keep-1], w.ns[:keep-1]
	}
	w.List, w.ns = slices.Insert(w.List, i, Sample{seq, ns}), slices.Insert(w.ns, i, value)
}
