package crosscheck

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/acc-project/acc/format"
)

// This file says of which network namespaces the kernel's counters are not in the capture, and why.

// counterUnread is the name under which "not shown" lists such a namespace.
const counterUnread = "namespace_not_read"

// maxUnread bounds how many of them the sentence names.
const maxUnread = 3

// elsewhere gives the namespaces in which connections were accepted and whose counters were not
// read twice, most connections first; all beyond maxSpaces are the last.
func (w *Check) elsewhere() (list []*space) {
	other := func(s *space) {
		if s.sums.accepted > 0 && (s.first == nil || s.last == nil) {
			list = append(list, s)
		}
	}
	for _, s := range w.spaces {
		other(s)
	}
	for _, s := range w.ended {
		other(s)
	}
	slices.SortFunc(list, func(a, b *space) int {
		return cmp.Or(cmp.Compare(b.sums.accepted, a.sums.accepted), cmp.Compare(a.netns, b.netns))
	})
	other(w.rest)
	return list
}

// unreadWords says how many connections were accepted in each.
func (w *Check) unreadWords(list []*space) (words []string) {
	for i, s := range list {
		if i == maxUnread && len(list) > maxUnread+1 {
			n := int64(0)
			for _, s := range list[i:] {
				n += s.sums.accepted
			}
			return append(words, fmt.Sprintf("%d more accepted in %d further network namespaces, whose counters acc "+
				"could not read", n, len(list)-i))
		}
		text := fmt.Sprintf("%d more accepted in network namespace %d, whose counters acc could not read",
			s.sums.accepted, s.netns)
		switch why := w.whyUnread(s.netns); {
		case s == w.rest:
			text = fmt.Sprintf("%d more accepted in network namespaces beyond the first %d", s.sums.accepted, maxSpaces)
		case s.first != nil:
			text = fmt.Sprintf("%d more accepted in network namespace %d, whose counters acc could read only once",
				s.sums.accepted, s.netns)
		case why != "":
			text += ": " + why
		}
		words = append(words, text)
	}
	return words
}

// whyUnread is what the recorder says of a namespace that it could not read.
func (w *Check) whyUnread(netns uint32) string {
	if w.end != nil {
		for _, x := range w.end.Unread {
			if x.NetNS == netns {
				return format.Quote(x.Why)
			}
		}
	}
	return ""
}

// unreadSpaces lists those namespaces for "not shown".
func (w *Check) unreadSpaces() (list []NotShown) {
	if w.end == nil {
		return nil
	}
	for _, x := range w.end.Unread {
		text := fmt.Sprintf("acc could not read the kernel's counters in network namespace %d, nor what listened "+
			"there at the start and the end: %s", x.NetNS, format.Quote(x.Why))
		list = append(list, NotShown{x.NetNS, counterUnread, 1, text})
	}
	return list
}
