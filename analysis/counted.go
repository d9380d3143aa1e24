package analysis

// This file adds up failed calls that the recorder counted instead of recording each.

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/acc-project/acc/analysis/listeners"
	"github.com/acc-project/acc/format"
)

// CountedCalls are failed calls of one process, with one error, at one listener, beyond the rate at which the recorder
// recorded each. The attempts of the capture, and its other figures, are without them.
type CountedCalls struct {
	Calls    uint64     `json:"calls"`         // how many there were; 0: only entries of calls that waited
	Errno    int32      `json:"errno"`         // their error; 0: several, or none
	Name     string     `json:"name"`          // its name, like EAGAIN
	Meaning  string     `json:"meaning"`       // what it means, in words
	PID      uint32     `json:"pid"`           // of the process; 0: several processes
	Comm     string     `json:"comm"`          // name of the thread that was counted first
	UID      *uint32    `json:"uid"`           // real user id; null: several users
	Listener uint64     `json:"listener"`      // inode number of the listening socket; 0: none, or several
	NetNS    uint32     `json:"netns"`         // inode number of its network namespace
	Addr     string     `json:"addr"`          // where it listens; "" if that is not known
	Entries  uint64     `json:"entries"`       // entries that were left out, also of calls whose return is recorded
	First    *time.Time `json:"first"`         // time of the first; null: its time is not known
	Last     *time.Time `json:"last"`          // time of the last
	FirstNS  int64      `json:"first_boot_ns"` // the same by the boot clock
	LastNS   int64      `json:"last_boot_ns"`  // the same by the boot clock
}

// Who is the process, for people.
func (c *CountedCalls) Who() string {
	switch {
	case c.PID != 0:
		return fmt.Sprintf("%s[%d]", cmp.Or(format.Quote(c.Comm), "?"), c.PID)
	case c.UID != nil:
		return fmt.Sprintf("processes of user %d", *c.UID)
	}
	return "processes of several users"
}

// maxCounted is how many rows are told apart.
const maxCounted = 4096

type countedKey struct {
	listener uint64
	startNS  int64
	netns    uint32
	pid, uid uint32
	ret      int32
}

// counts takes records of counted calls.
func (a *Analyzer) counts(list []format.Counted) {
	for i := range list {
		c := &list[i]
		a.totals.Counted += c.Calls
		a.listeners.Counted(c)
		k := countedKey{c.Listener, c.StartNS, c.NetNS, c.PID, c.UID, c.Ret}
		if a.counted == nil {
			a.counted = map[countedKey]*CountedCalls{}
		}
		row := a.counted[k]
		if row == nil && len(a.counted) >= maxCounted {
			k = countedKey{uid: format.SeveralUsers}
			row = a.counted[k]
		}
		if row == nil {
			row = &CountedCalls{PID: k.pid, Listener: k.listener, NetNS: k.netns, FirstNS: c.FromNS, LastNS: c.ToNS}
			if k.pid != 0 {
				row.Comm = c.Comm
			}
			if k.uid != format.SeveralUsers {
				row.UID = &k.uid
			}
			if k.ret < 0 {
				row.Errno, row.Name, row.Meaning = -k.ret, format.ErrnoName(-k.ret), listeners.Meaning(-k.ret)
			}
			if k.listener != 0 {
				row.Addr = a.listeners.Called(c)
			}
			a.counted[k] = row
		}
		row.Calls, row.Entries = row.Calls+c.Calls, row.Entries+c.Entries
		row.FirstNS, row.LastNS = min(row.FirstNS, c.FromNS), max(row.LastNS, c.ToNS)
	}
}

// countedList gives the rows with the most calls first.
func (a *Analyzer) countedList() (list []CountedCalls, more int) {
	list = []CountedCalls{}
	for _, c := range a.counted {
		c.First, c.Last = a.at(c.FirstNS), a.at(c.LastNS)
		list = append(list, *c)
	}
	slices.SortFunc(list, func(x, y CountedCalls) int {
		return cmp.Or(cmp.Compare(y.Calls, x.Calls), cmp.Compare(x.FirstNS, y.FirstNS), cmp.Compare(x.PID, y.PID),
			cmp.Compare(x.Listener, y.Listener), cmp.Compare(x.Errno, y.Errno))
	})
	if n := a.o.Top; n >= 0 && len(list) > n {
		return list[:n:n], len(list) - n
	}
	return list, 0
}
