package listeners

// This file orders the tables.

import (
	"cmp"
	"net/netip"
)

// Sort is by what the tables are ordered.
type Sort string

// The orders. Rows that are alike in it stand by how many they accepted.
const (
	SortAccepted Sort = "accepted" // most accepted first; "" is the same
	SortFailed   Sort = "failed"   // most failed attempts first
	SortQueue    Sort = "queue"    // longest accept queue first; processes and peers as accepted
	// longest wait first (99th percentile, in the queue, else in the call); processes and peers as accepted
	SortWait Sort = "wait"
	SortName Sort = "name" // by address or name
)

// Sorts are all of them.
var Sorts = []Sort{SortAccepted, SortFailed, SortQueue, SortWait, SortName}

func (s Sort) listeners(x, y *listener) int {
	switch s {
	case SortFailed:
		return cmp.Compare(y.failed-y.restarted, x.failed-x.restarted)
	case SortQueue:
		return cmp.Compare(y.high.n, x.high.n)
	case SortWait:
		return cmp.Compare(y.wait(), x.wait())
	case SortName:
		return cmp.Compare(x.name(), y.name())
	}
	return 0
}

// wait is how long 99 of 100 connections waited in the queue, else attempts in the call.
func (l *listener) wait() int64 {
	if l.life != nil {
		return l.life.Waits.Quantiles().P99
	}
	return l.waits.Quantiles().P99
}

func (s Sort) processes(x, y *ProcessInfo) int {
	switch s {
	case SortFailed:
		return cmp.Compare(y.Failed-y.Restarted, x.Failed-x.Restarted)
	case SortName:
		return cmp.Compare(x.Comm, y.Comm)
	}
	return 0
}

func (s Sort) peers(x, y *PeerInfo) int {
	if s != SortName {
		return 0
	}
	a, _ := netip.ParseAddr(x.Addr)
	b, _ := netip.ParseAddr(y.Addr)
	return cmp.Or(a.Compare(b), cmp.Compare(x.Addr, y.Addr))
}
