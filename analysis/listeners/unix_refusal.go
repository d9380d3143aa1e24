package listeners

import (
	"fmt"
	"strings"

	"github.com/acc-project/acc/analysis/crosscheck"
	"github.com/acc-project/acc/analysis/humanize"
	"github.com/acc-project/acc/format"
)

// This file has the connects that full queues of UNIX listeners refused.

const (
	counterUnixFull    = "unix_queue_full"       // how often a UNIX listener's queue was seen full
	counterUnixRefused = "unix_connects_refused" // connects that a full queue refused
)

// UnixRefusals says where clients of UNIX sockets were refused, as the recorder counted it. Where it
// did not, it says where they may have been: a connect that finds the queue full waits, or fails with
// EAGAIN (unix_stream_connect), and no counter of the kernel shows it.
func (reg *Registry) UnixRefusals(end *format.End) (list []crosscheck.NotShown) {
	if end != nil && end.UnixCounted {
		for _, x := range end.UnixRefused {
			list = append(list, crosscheck.NotShown{
				NetNS: x.NetNS, Counter: counterUnixRefused, Count: x.Count, Text: refusedText(&x, end.UnixUnseen),
			})
		}
		return list
	}
	for _, l := range reg.all {
		if n := max(l.full, min(uint64(l.fullHigh.n), 1)); l.family == format.FamilyUnix && n > 0 {
			text := fmt.Sprintf("acc saw the accept queue of UNIX socket %s full %s; a client's connect that failed "+
				"meanwhile (EAGAIN) is not recorded",
				l.name(), humanize.Plural(n, "time"))
			list = append(list, crosscheck.NotShown{NetNS: l.key.netns, Counter: counterUnixFull, Count: n, Text: text})
		}
	}
	return list
}

// refusedText says how many connects to a name were refused. Unseen: so many were not looked at.
func refusedText(x *format.UnixRefused, unseen uint64) string {
	name := "UNIX socket " + format.Quote(x.Name)
	if x.NetNS == 0 {
		name = "further UNIX sockets"
	}
	text := fmt.Sprintf("%s to %s failed with EAGAIN because its accept queue was full; acc counts these, it has no "+
		"event of each",
		humanize.Plural(x.Count, "connect"), name)
	if unseen > 0 {
		text += fmt.Sprintf("; at least so many: %s not looked at", wereOf(unseen, "connect"))
	}
	return text
}

// wereOf is how many of something were.
func wereOf(n uint64, what string) string {
	if n == 1 {
		return "1 " + what + " was"
	}
	return humanize.Plural(n, what) + " were"
}

// refusedConnects gives each UNIX listener the connects that its full queue refused. Clients give a
// path as they know it: one that names no listener, or several, stays with "not shown".
func (reg *Registry) refusedConnects(end *format.End) {
	if end == nil || !end.UnixCounted {
		return
	}
	for i := range end.UnixRefused {
		x := &end.UnixRefused[i]
		var found *listener
		for _, l := range reg.all {
			abstract := strings.HasPrefix(x.Name, "@")
			if l.family != format.FamilyUnix || x.Name == "" || l.bound != x.Name || abstract &&
				l.key.netns != x.NetNS {
				continue
			}
			if found != nil {
				found = nil
				break
			}
			found = l
		}
		if found != nil {
			found.refused += x.Count
		}
	}
}
