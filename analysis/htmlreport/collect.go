package htmlreport

// This file collects, while a capture is analysed, what the page draws: series over time, and connections.

import (
	"cmp"
	"slices"
	"time"

	"github.com/acc-project/acc/analysis"
	"github.com/acc-project/acc/analysis/conntrack"
	"github.com/acc-project/acc/analysis/pairing"
	"github.com/acc-project/acc/analysis/report"
	"github.com/acc-project/acc/analysis/stats"
	"github.com/acc-project/acc/format"
)

const (
	maxBuckets = 360  // of a series
	maxErrnos  = 8    // errors that are drawn by themselves, the first ones
	maxLosses  = 1000 // intervals of losses
	firstWidth = int64(10 * time.Millisecond)
)

// DefaultConnections is how many connections a page has if nobody says otherwise.
const DefaultConnections = 30_000

// ConnectionsBeside gives how many connections a page has beside a capture of so many bytes: fewer than the default if
// that keeps the page below 5 MB, but at least 5,000.
func ConnectionsBeside(bytes int64) int {
	const page, one, most = 300_000, 24, 5_000_000 // of the rest, of a connection, of all
	if room := most - page - bytes*4/3; room > 0 && room < DefaultConnections*one {
		return max(int(room/one), 5000)
	}
	return DefaultConnections
}

// Collector takes what happened in a capture while it is analysed. Its memory does not grow with the capture.
type Collector struct {
	startNS            int64
	accepted, arrived  stats.Series
	refused, failedAll stats.Series
	failed             map[int32]*stats.Series
	queueWaits         waits
	losses             []format.Loss
	moreLosses         uint64 // events that were lost beyond those
	kept               kept
}

// NewCollector makes one for the capture with header h that keeps at most so many connections, 0: the default.
func NewCollector(h *format.Header, connections int) *Collector {
	start := h.Clock.BootNS
	series := func() stats.Series { return stats.NewSeries(start, firstWidth, maxBuckets) }
	return &Collector{startNS: start, accepted: series(), arrived: series(), refused: series(), failedAll: series(),
		failed: map[int32]*stats.Series{}, queueWaits: waits{startNS: start, widthNS: firstWidth},
		kept: kept{max: cmp.Or(connections, DefaultConnections)}}
}

// Listen has the analysis give the collector each attempt and each connection.
func (c *Collector) Listen(o *analysis.Options) { o.Pair, o.Connection = c.pair, c.connection }

// Batch takes the losses of a batch. The batches of a capture come in their order.
func (c *Collector) Batch(b *format.Batch) {
	for _, l := range b.Losses {
		if len(c.losses) < maxLosses {
			c.losses = append(c.losses, l)
		} else {
			c.moreLosses += l.Count
		}
	}
}

func (c *Collector) pair(p *pairing.Pair) error {
	switch {
	case p.Accepted():
		*c.accepted.At(p.ReturnNS)++
	case p.Failed() && p.Why != pairing.WhyRestarted:
		*c.failedAll.At(p.ReturnNS)++
		s := c.failed[p.Errno]
		if s == nil {
			if len(c.failed) == maxErrnos {
				return nil
			}
			made := stats.NewSeries(c.startNS, firstWidth, maxBuckets)
			s = &made
			c.failed[p.Errno] = s
		}
		*s.At(p.ReturnNS)++
	}
	return nil
}

func (c *Collector) connection(x *conntrack.Connection) error {
	if x.QueuedSeq != 0 {
		*c.arrived.At(x.QueuedNS)++
	}
	for _, r := range x.Refusals {
		*c.refused.At(r.NS)++
	}
	if more := x.RefusedPackets - min(uint64(len(x.Refusals)), x.RefusedPackets); more > 0 && x.RefusedNS != 0 {
		*c.refused.At(x.RefusedNS) += more
	}
	if wait, atLeast := x.InQueue(); wait >= 0 && !atLeast {
		at := x.AcceptedNS
		if at == 0 {
			at = x.EndNS
		}
		c.queueWaits.add(at, wait)
	}
	c.kept.add(x)
	return nil
}

// kept is a bounded choice of connections: all, as long as there is room, then the worst half and an even sample of
// the others.
type kept struct {
	max    int
	total  uint64
	worst  []conntrack.Connection // a heap whose first one is the least bad
	even   []conntrack.Connection // every stride-th of the others
	stride uint64
	passed uint64 // others so far
}

// worse orders connections: what went wrong last, then the longest in the queue, then the longest alive.
func worse(a, b *conntrack.Connection) int {
	wait := func(c *conntrack.Connection) int64 { ns, _ := c.InQueue(); return ns }
	return cmp.Or(cmp.Compare(trouble(a), trouble(b)), cmp.Compare(wait(a), wait(b)),
		cmp.Compare(a.AliveNS, b.AliveNS), cmp.Compare(b.ID, a.ID))
}

// trouble is how wrong a connection went.
func trouble(c *conntrack.Connection) int {
	switch {
	case report.Trouble(c):
		return 2
	case badEnd(c):
		return 1
	}
	return 0
}

func (k *kept) add(c *conntrack.Connection) {
	k.total++
	if len(k.worst) < (k.max+1)/2 {
		k.worst = append(k.worst, *c)
		k.up(len(k.worst) - 1)
		return
	}
	other := c
	var pushed conntrack.Connection
	if len(k.worst) > 0 && worse(c, &k.worst[0]) > 0 {
		pushed = k.worst[0]
		k.worst[0] = *c
		k.down(0)
		other = &pushed
	}
	k.stride = max(k.stride, 1)
	if k.passed++; k.passed%k.stride != 0 {
		return
	}
	if len(k.even) >= k.max/2 {
		half := k.even[:0]
		for i := 1; i < len(k.even); i += 2 {
			half = append(half, k.even[i])
		}
		k.even = half
		if k.stride *= 2; k.passed%k.stride != 0 {
			return
		}
	}
	if k.max/2 > 0 {
		k.even = append(k.even, *other)
	}
}

func (k *kept) up(i int) {
	for i > 0 && worse(&k.worst[i], &k.worst[(i-1)/2]) < 0 {
		k.worst[i], k.worst[(i-1)/2] = k.worst[(i-1)/2], k.worst[i]
		i = (i - 1) / 2
	}
}

func (k *kept) down(i int) {
	for {
		least := i
		for _, j := range []int{2*i + 1, 2*i + 2} {
			if j < len(k.worst) && worse(&k.worst[j], &k.worst[least]) < 0 {
				least = j
			}
		}
		if least == i {
			return
		}
		k.worst[i], k.worst[least] = k.worst[least], k.worst[i]
		i = least
	}
}

// list gives what is kept in the order in which it began, and says which of all they are; "" if they are all.
func (k *kept) list() (rows []conntrack.Connection, which string) {
	rows = append(slices.Clone(k.worst), k.even...)
	slices.SortFunc(rows, func(a, b conntrack.Connection) int {
		return cmp.Or(cmp.Compare(report.BeganNS(&a), report.BeganNS(&b)), cmp.Compare(a.ID, b.ID))
	})
	if uint64(len(rows)) < k.total {
		which = "the " + report.Count(uint64(len(k.worst))) + " worst, and one in " + report.Count(k.stride) +
			" of the others"
	}
	return rows, which
}

// waits are how long connections waited, over time: a histogram with four bins to the octave for each bucket.
type waits struct {
	startNS, widthNS int64
	buckets          []waitBucket
}

const waitBins = 4 * 40 // up to 2^40 µs

type waitBucket struct {
	bins [waitBins]uint32
	n    uint64
	max  int64
}
