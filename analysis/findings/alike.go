package findings

// This file makes one finding of alike ones at several listeners of one program.

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/acc-project/acc/analysis/stats"
)

// Members are the findings of single listeners that a finding of several was made of, the worst first; else itself.
func (f *Finding) Members() []Finding {
	if f.members == nil {
		return []Finding{*f}
	}
	return f.members
}

// Alike makes one finding of those, sorted, that have the same id at listeners of one program, and the same
// next but for the process. The worst one gives the text; each is a part with what it caused. At most keep of them
// are parts, and three of one process; negative: all.
func Alike(list []Finding, keep int) []Finding {
	type like struct{ id, program, next string }
	of := map[like][]Finding{}
	key := func(f *Finding) (like, bool) {
		return like{f.ID, programOf(f.Owner), cmp.Or(f.general, f.Next)}, f.Listener != 0 && f.Owner != ""
	}
	for i := range list {
		if k, ok := key(&list[i]); ok {
			of[k] = append(of[k], list[i])
		}
	}
	joined := []Finding{}
	for i := range list {
		k, ok := key(&list[i])
		switch {
		case !ok || len(of[k]) == 1:
			joined = append(joined, list[i])
		case len(of[k]) > 1:
			joined = append(joined, several(of[k], keep))
			of[k] = nil
		}
	}
	return joined
}

// programOf is the name in name[pid].
func programOf(owner string) string {
	name, _, _ := strings.Cut(owner, "[")
	return name
}

// several makes one finding of members.
func several(members []Finding, keep int) Finding {
	f := members[0]
	f.members, f.Listeners, f.Listener = members, len(members), 0
	f.Parts, f.Evidence = []Part{}, []Evidence{}
	shown, parts := map[string]int{}, 0
	for i := range members {
		m := &members[i]
		if m.Owner != f.Owner {
			f.Owner = programOf(f.Owner)
		}
		if m.Next != f.Next {
			f.Next = f.general // PID stands for each
		}
		if m.NetNS != f.NetNS {
			f.NetNS = 0
		}
		f.Evidence = append(f.Evidence, m.Evidence...)
		if m.Since != nil && (f.Since == nil || m.Since.Before(*f.Since)) {
			f.Since = m.Since
		}
		if m.Until != nil && (f.Until == nil || m.Until.After(*f.Until)) {
			f.Until = m.Until
		}
		if keep >= 0 && (parts >= max(keep, 1) || shown[m.Owner] == perOwner) {
			f.More++
			continue
		}
		parts++
		shown[m.Owner]++
		f.Parts = append(f.Parts, m.part())
		for _, p := range m.Parts {
			if p.ID != m.ID { // else a socket of that listener's address
				f.Parts = append(f.Parts, p)
			}
		}
	}
	f.Text = fmt.Sprintf("%d listeners of %s, the worst: %s", len(members), f.Owner, f.Text)
	slices.SortFunc(f.Evidence, func(x, y Evidence) int { return cmp.Compare(x.Seq, y.Seq) })
	f.Evidence = slices.CompactFunc(f.Evidence, func(x, y Evidence) bool { return x.Seq == y.Seq })
	if n := len(f.Evidence); n > 2*stats.KeepSamples {
		f.Evidence = slices.Delete(f.Evidence, stats.KeepSamples, n-stats.KeepSamples)
	}
	return f
}
