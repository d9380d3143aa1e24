package analysis

import "github.com/acc-project/acc/format"

// numbers holds the numbers that hits of a probe took on their CPU against each
// other: each is there once, or lost, or of the recorder's own hits.
type numbers struct {
	near []number // by place, of the first 256 CPUs
	far  map[hitOn]*number
	full bool // there were too many CPUs to look at all
}

type number struct{ count, most uint64 }

type hitOn struct {
	cpu  uint32
	hook format.Hook
	kind format.Kind
}

const (
	nearCPUs = 1 << 8
	perCPU   = 1 << 8 // places: 32 hooks, 8 kinds
	maxFar   = 1 << 16
)

func (s *numbers) add(e *format.Event) {
	if e.Hook >= 32 || e.Kind >= format.NumKinds {
		return // not known
	}
	if s.near == nil {
		s.near, s.far = make([]number, nearCPUs*perCPU), map[hitOn]*number{}
	}
	var n *number
	if e.CPU < nearCPUs {
		n = &s.near[e.CPU*perCPU+uint32(e.Hook)<<3+uint32(e.Kind)]
	} else if n = s.far[hitOn{e.CPU, e.Hook, e.Kind}]; n == nil {
		if len(s.far) == maxFar {
			s.full = true
			return
		}
		n = &number{}
		s.far[hitOn{e.CPU, e.Hook, e.Kind}] = n
	}
	n.count++
	n.most = max(n.most, e.CPUSeq)
}

// missing adds up, over the CPUs, the numbers below the largest one that no event of p
// has. twice: on some CPU there are more events than numbers.
func (s *numbers) missing(p counted) (missing uint64, twice bool) {
	one := func(n *number) {
		twice = twice || n.count > n.most
		if n.most > n.count {
			missing += n.most - n.count
		}
	}
	if s.near != nil && p.hook < 32 && p.kind < format.NumKinds {
		for cpu := range uint32(nearCPUs) {
			one(&s.near[cpu*perCPU+uint32(p.hook)<<3+uint32(p.kind)])
		}
	}
	for on, n := range s.far {
		if on.hook == p.hook && on.kind == p.kind {
			one(n)
		}
	}
	return missing, twice
}
