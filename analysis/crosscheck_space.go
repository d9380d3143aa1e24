package analysis

// This file gives what the cross-check found of a namespace to the rules of findings.

import (
	"github.com/acc-project/acc/analysis/crosscheck"
	"github.com/acc-project/acc/analysis/findings"
)

// spaceOf is what the rules of findings look at of a namespace.
func spaceOf(x *crosscheck.Namespace, blind bool) findings.Space {
	s := findings.Space{
		NetNS: x.NetNS, Differs: x.Verdict == crosscheck.VerdictDiffers, Unexplained: x.Unexplained,
		Drops: x.OtherDrops, Reserved: x.ReservedDrops > 0,
	}
	if s.Differs {
		s.Difference = x.Difference(blind)
	}
	if s.Drops > 0 {
		s.DropsWhy = x.DropWords()
	}
	return s
}
