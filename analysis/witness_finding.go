package analysis

import "fmt"

// This file makes findings of a cross-check that disagrees.

// crossCheck finds the namespaces whose counters the capture has no account of, each by itself.
func (fs *findings) crossCheck(r *Result) {
	for i := range r.Witness.Spaces {
		x := &r.Witness.Spaces[i]
		if x.Verdict != WitnessDiffers {
			continue
		}
		where := ""
		if len(r.Witness.Spaces) > 1 {
			where = fmt.Sprintf(" in network namespace %d", x.NetNS)
		}
		s, weight := Critical, x.Unexplained
		next := "do not conclude from this capture that a client did not connect; see docs/RELIABILITY.md for what can be missing, and record again"
		if x.Unexplained < 0 {
			s, weight = Warning, -x.Unexplained
			next = "acc verify FILE says whether the file was altered; see docs/RELIABILITY.md"
		}
		fs.add(crossCheck, s, uint64(weight), nil, next, "cross-check with kernel counters%s: %s", where, x.difference(fs.a.witness.blind))
		fs.list[len(fs.list)-1].NetNS = x.NetNS
	}
}
