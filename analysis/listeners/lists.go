package listeners

// This file makes the lists of listeners, processes, peers and errors.

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"

	"github.com/acc-project/acc/analysis/stats"
	"github.com/acc-project/acc/format"
)

// Listeners gives the busiest listeners, in an order and at most top of them (negative: all), how many these leave out,
// and the sockets that listened for one connection each.
func (reg *Registry) Listeners(by Sort, top int) (list []ListenerInfo, others int, one []OneAccept) {
	list = []ListenerInfo{}
	busiest := slices.DeleteFunc(slices.Clone(reg.all), func(l *listener) bool { return l.idle })
	slices.SortFunc(busiest, func(x, y *listener) int {
		return cmp.Or(by.listeners(x, y), cmp.Compare(y.accepted, x.accepted),
			cmp.Compare(y.attempts, x.attempts), x.addr.Compare(y.addr),
			cmp.Compare(x.seenNS, y.seenNS), cmp.Compare(x.key.inode, y.key.inode), cmp.Compare(x.key.netns, y.key.netns))
	})
	one = reg.oneAccepts(busiest)
	busiest, others = first(busiest, top)
	for _, l := range busiest {
		list = append(list, reg.listenerInfo(l))
	}
	return list, others, one
}

// Processes gives the busiest processes, as Listeners does.
func (reg *Registry) Processes(by Sort, top int) (list []ProcessInfo, others int) {
	list = []ProcessInfo{}
	for _, p := range reg.processes {
		rec := reg.recordOf(p.key.num)
		list = append(list, ProcessInfo{
			Proc: p.key.num, PID: p.key.pid, Comm: cmp.Or(rec.Comm, p.comm), Exe: rec.Exe,
			ExeDev: rec.ExeDev, ExeInode: rec.ExeInode, OtherMounts: rec.OtherMounts(reg.header), UID: rec.UID,
			MntNS: rec.MntNS, Cgroup: rec.Cgroup, Container: rec.Container, Runtime: rec.Runtime, Unit: rec.Unit,
			Pod: rec.Pod, NSPID: rec.NSPID, NetNS: rec.NetNS, PIDNS: rec.PIDNS, Attempts: p.attempts,
			Accepted: p.accepted, Failed: p.failed, Restarted: p.restarted,
		})
	}
	slices.SortFunc(list, func(x, y ProcessInfo) int {
		return cmp.Or(by.processes(&x, &y), cmp.Compare(y.Accepted, x.Accepted), cmp.Compare(y.Attempts, x.Attempts),
			cmp.Compare(x.Proc, y.Proc), cmp.Compare(x.PID, y.PID))
	})
	return first(list, top)
}

// Peers gives the remote addresses with the most connections, as Listeners does.
func (reg *Registry) Peers(by Sort, top int) (list []PeerInfo, others int) {
	list = reg.peers.list()
	slices.SortFunc(list, func(x, y PeerInfo) int {
		return cmp.Or(by.peers(&x, &y), cmp.Compare(y.Accepted, x.Accepted), cmp.Compare(x.Addr, y.Addr))
	})
	return first(list, top)
}

// Beyond is how many connections were accepted at listeners, by processes, and from addresses beyond the bounds.
func (reg *Registry) Beyond() (listeners, processes, peers uint64) {
	return reg.more.accepted, reg.moreProcs.accepted, reg.peers.more
}

// Errors gives the errors of all attempts, by their number, and at most top listeners of each.
func (reg *Registry) Errors(counts []uint64, top int) []ErrorCount {
	var list []errnoCount
	for errno, n := range counts {
		if n > 0 {
			list = append(list, errnoCount{int32(errno), n})
		}
	}
	errors := errorCounts(list)
	where := map[int32][]ErrorListener{}
	for _, l := range reg.all {
		for _, e := range l.errors {
			where[e.errno] = append(where[e.errno], ErrorListener{l.key.inode, l.key.netns, l.name(), e.count})
		}
	}
	for i := range errors {
		e := &errors[i]
		list := append(e.Listeners, where[e.Errno]...)
		slices.SortFunc(list, func(x, y ErrorListener) int {
			return cmp.Or(cmp.Compare(y.Count, x.Count), cmp.Compare(x.Addr, y.Addr),
				cmp.Compare(x.Listener, y.Listener), cmp.Compare(x.NetNS, y.NetNS))
		})
		e.Listeners, _ = first(list, top)
	}
	return errors
}

// first cuts a list to n rows, negative: none, and says how many it left out.
func first[T any](list []T, n int) ([]T, int) {
	if n < 0 || len(list) <= n {
		return list, 0
	}
	return list[:n:n], len(list) - n
}

// name is what a listener is called in tables.
func (l *listener) name() string {
	switch {
	case l.addr.Addr().IsValid():
		if l.called.addr != l.addr {
			l.called.addr, l.called.text = l.addr, l.addr.String()
		}
		return l.called.text
	case l.bound != "":
		return format.Quote(l.bound)
	case l.guess != 0:
		return "*:" + strconv.Itoa(int(l.guess))
	case l.family != 0:
		return l.family.String()
	}
	return "unknown"
}

// label is its name with what tells it apart from others of the same one.
func (l *listener) label(reg *Registry) string {
	if l.twin == "" {
		return l.name()
	}
	return l.name() + " (" + l.ownerOr("of a process that is not known", reg) + l.twin + ")"
}

// nameTwins finds listeners that have their name in common: of SO_REUSEPORT, in several network
// namespaces, or one after another.
func (reg *Registry) nameTwins() {
	byName := map[string][]*listener{}
	for _, l := range reg.all {
		if !l.idle && l.addr.IsValid() {
			byName[l.name()] = append(byName[l.name()], l)
		}
	}
	for _, list := range byName {
		if len(list) < 2 {
			continue
		}
		spaces := slices.ContainsFunc(list, func(l *listener) bool { return l.key.netns != list[0].key.netns })
		for _, l := range list {
			l.twin = fmt.Sprintf(", socket %d", l.key.inode)
			if spaces {
				l.twin += fmt.Sprintf(" in network namespace %d", l.key.netns)
			}
		}
	}
}

func (reg *Registry) listenerInfo(l *listener) ListenerInfo {
	i := ListenerInfo{
		Listener: l.key.inode, NetNS: l.key.netns, Addr: l.name(), LPort: l.addr.Port(), Family: l.family.String(),
		Proto:    protoName(l.proto),
		Attempts: l.attempts, Accepted: l.accepted, Failed: l.failed, Restarted: l.restarted,
		Waiting: max(l.waiting, l.snap.sits),
		Errors:  errorCounts(l.errors), QueueHigh: l.high.n, QueueMax: l.queueMax, Full: l.full,
		Wait:  l.waits.Quantiles(),
		Owner: l.ownerOr("", reg), Processes: []uint32{}, PIDs: []uint32{}, Comms: []string{},
		TaskNetNS: append([]uint32{}, l.foreign...),
		Timeline:  Timeline{Accepted: []uint64{}, Failed: []uint64{}, Queue: []uint64{}},
	}
	reg.queueInfo(&i, l)
	i.OneAccept = l.oneAccept
	if l.stop != nil {
		i.Stopped, i.Stops = reg.stopInfo(l.stop), l.stop.times
	}
	if l.addr.Addr().IsValid() {
		i.LAddr = l.addr.Addr().String()
	}
	i.UnixRefused = l.refused
	if l.accepted > 0 {
		i.First, i.Last = reg.o.Time(l.firstNS), reg.o.Time(l.lastNS)
	}
	for _, s := range l.shares {
		p := s.p
		if p.key.num != 0 {
			i.Processes = append(i.Processes, p.key.num)
		}
		i.PIDs = append(i.PIDs, p.key.pid)
		i.Comms = append(i.Comms, cmp.Or(reg.recordOf(p.key.num).Comm, p.comm))
	}
	slices.Sort(i.Processes)
	slices.Sort(i.PIDs)
	slices.Sort(i.Comms)
	i.Processes, i.PIDs, i.Comms = slices.Compact(i.Processes), slices.Compact(i.PIDs), slices.Compact(i.Comms)
	if f := l.life; f != nil {
		i.Life = &Life{
			Queued: f.Queued, QueueWait: f.Waits.Quantiles(), FullNS: f.FullNS, FullLongestNS: f.LongestNS,
			RefusedSYN: f.SYNs, RefusedACK: f.ACKs,
			RefusedSYNQueue: f.SYNQueue, RefusedClients: f.Clients, ClosedInQueue: f.ClosedIn, Waiting: f.Stuck,
			Lost:       f.Lost,
			TurnedAway: f.Outcomes.Turned, Unread: f.Outcomes.Unread, Unanswered: f.Outcomes.Unanswered,
			UnansweredFor: f.Outcomes.Waited.Quantiles(), Probes: f.Outcomes.Probes,
		}
	}
	if l.detailed {
		q := &l.depth
		stats.Align(&l.took, &l.bad, &q.coarse)
		i.Timeline = Timeline{BucketNS: l.took.WidthNS, Accepted: l.took.Copy(), Failed: l.bad.Copy(),
			Queue: q.coarse.Copy(), DepthNS: q.fine.WidthNS, Depth: q.fine.Copy()}
	}
	return i
}

// protoName is the word for a protocol number, as the field table has it.
func protoName(proto uint16) string {
	if f, ok := format.FieldByName("proto"); ok {
		if s, ok := f.Names[int64(proto)]; ok {
			return s
		}
	}
	return strconv.Itoa(int(proto))
}
