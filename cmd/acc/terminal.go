package main

// This file finds out how what acc prints is to look: how wide, in which colours,
// characters and time zone.

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/acc-project/acc/analysis/report"
	"github.com/acc-project/acc/format"
)

// widthOf is the width of the terminal that out is, else COLUMNS if it is set, else 0.
func widthOf(out io.Writer) int {
	if f, ok := out.(*os.File); ok && isTerminal(f) {
		if n, _ := size(f); n > 0 {
			return n
		}
	}
	if n, err := strconv.Atoi(os.Getenv("COLUMNS")); err == nil && n > 0 && n <= 10_000 {
		return n
	}
	return 0
}

// heightOf is how many lines the terminal has that out is, 0 if it is none.
func heightOf(out io.Writer) int {
	if f, ok := out.(*os.File); ok && isTerminal(f) {
		_, n := size(f)
		return n
	}
	return 0
}

// colorOf decides whether to colour what goes to out.
func colorOf(choice string, out io.Writer) (bool, error) {
	switch choice {
	case "always":
		return true, nil
	case "never":
		return false, nil
	case "auto":
		f, ok := out.(*os.File)
		return ok && isTerminal(f) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb", nil
	}
	return false, &usageError{fmt.Errorf("--color %q is neither auto, always nor never", choice), "like --color never"}
}

// asciiOnly reports whether the locale or the terminal takes nothing but ASCII. Without a
// locale acc writes UTF-8.
func asciiOnly(getenv func(string) string) bool {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		locale := strings.ToLower(getenv(name))
		if locale == "" {
			continue
		}
		if !strings.Contains(locale, "utf-8") && !strings.Contains(locale, "utf8") {
			return true
		}
		break
	}
	switch getenv("TERM") {
	case "vt52", "vt100", "vt102", "vt220", "ansi", "dumb":
		return true
	}
	return false
}

// textOut is where text for people is written to.
func textOut(out io.Writer) io.Writer {
	if asciiOnly(os.Getenv) {
		return report.ASCII(out)
	}
	return out
}

// zoneOptions choose the time zone of what is printed.
type zoneOptions struct{ utc, local bool }

func (o *zoneOptions) flags(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&o.utc, "utc", false, "print times in UTC, not in the recorded host's zone")
	cmd.Flags().BoolVar(&o.local, "local", false, "print times in this machine's zone (TZ)")
	run := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if o.utc && o.local {
			return usage(cmd, errors.New("--utc and --local are different zones"))
		}
		return run(cmd, args)
	}
}

// zone is that of times; hostSec is the recorded host's, seconds east of UTC.
func (o *zoneOptions) zone(hostSec int) *time.Location {
	switch {
	case o.utc:
		return time.UTC
	case o.local:
		return time.Local
	}
	return report.Zone(hostSec)
}

// dayOf is the day of a time, as it is said above the lines of that day.
func dayOf(bootNS int64, clock format.Clock, zone *time.Location) string {
	if !clock.Known() {
		return "boot+: since the host's start, the clock is lost"
	}
	return clock.Time(bootNS).In(zone).Format("2006-01-02 -07:00")
}
