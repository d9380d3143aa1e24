package analysis

import "github.com/acc-project/acc/analysis/findings"

// summary is what the rules of findings look at of a namespace.
func (x *WitnessSpace) summary(blind bool) findings.Space {
	s := findings.Space{NetNS: x.NetNS, Differs: x.Verdict == WitnessDiffers, Unexplained: x.Unexplained, Drops: x.OtherDrops, Reserved: x.ReservedDrops > 0}
	if s.Differs {
		s.Difference = x.difference(blind)
	}
	if s.Drops > 0 {
		s.DropsWhy = x.dropWords()
	}
	return s
}
