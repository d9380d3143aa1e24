package report

// This file says who had a connection open at the end.

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/acc-project/acc/analysis/conntrack"

	"github.com/acc-project/acc/format"
)

// holders names the processes that had a connection open when recording ended.
func holders(c *conntrack.Connection) string {
	var names []string
	for _, h := range c.Holders {
		names = append(names, fmt.Sprintf("%s[%d]", cmp.Or(format.Quote(h.Comm), "?"), h.PID))
	}
	if n := c.MoreHolders; n > 0 {
		names = append(names, fmt.Sprintf("%d more", n))
	}
	return strings.Join(names, ", ")
}

// holderWords says the same as a sentence.
func holderWords(c *conntrack.Connection) string {
	verb := "has"
	if len(c.Holders)+int(c.MoreHolders) > 1 {
		verb = "have"
	}
	text := fmt.Sprintf("%s %s it open", holders(c), verb)
	if !c.HoldersKnown {
		text += " (not all processes could be looked at)"
	}
	return text
}
