package main

// This file has the flags of recordings in several files.

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/acc-project/acc/analysis/report"
	"github.com/acc-project/acc/capture"
	"github.com/acc-project/acc/format"
)

// rotateOptions are --rotate-size and those beside it.
type rotateOptions struct {
	size, every, files, total string
}

func (o *rotateOptions) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&o.size, "rotate-size", "", "begin another file when one has this `SIZE`, like 64MB")
	f.StringVar(&o.every, "rotate-every", "", "begin another file after this `TIME`, like 1h")
	f.StringVar(&o.files, "rotate-files", "", "keep the newest `N` files and remove older ones")
	f.StringVar(&o.total, "max-total", "", "keep at most this `SIZE` of files, like 1GB, and remove the oldest")
	values(cmd, "rotate-size", "16MB", "64MB", "256MB")
	values(cmd, "rotate-every", "10m", "1h", "24h")
	values(cmd, "rotate-files", "4", "16", "100")
	values(cmd, "max-total", "256MB", "1GB", "10GB")
}

// rotates reports whether the recording goes on from file to file.
func (o *rotateOptions) rotates() bool { return o.size+o.every+o.files+o.total != "" }

// Least and usual sizes of a file.
const (
	leastFile = 1 << 20
	usualFile = 64 << 20
)

// rotateLimits are rotateOptions, read.
type rotateLimits struct {
	size  int64
	every time.Duration
	files int
	total int64
}

// read reads the flags; out is -o.
func (o *rotateOptions) read(out string, force bool) (l rotateLimits, err error) {
	if !o.rotates() {
		return l, nil
	}
	switch {
	case out == "-":
		return l, &usageError{errors.New("standard output can't go on in another file"),
			"name a folder with -o, or leave out --rotate-size, --rotate-every, --rotate-files and --max-total"}
	case force:
		return l, &usageError{errors.New("--force overwrites one file, and a recording in several files overwrites none"),
			"leave out --force: each file gets a new name"}
	case o.every != "":
		if l.every, err = timeWithUnit("--rotate-every", o.every); err != nil {
			return l, err
		}
		if l.every < time.Second {
			return l, &usageError{fmt.Errorf("--rotate-every %s is less than a second", o.every), "like --rotate-every 1h"}
		}
	}
	if o.files != "" {
		if l.files, err = strconv.Atoi(o.files); err != nil || l.files < 2 {
			return l, &usageError{fmt.Errorf("--rotate-files %q is not a number from 2 on", o.files),
				"at least 2: one that is written, and the one before it"}
		}
	}
	if o.total != "" {
		if l.total, err = bytesOf("--max-total", o.total); err != nil {
			return l, err
		}
	}
	if o.size != "" {
		if l.size, err = bytesOf("--rotate-size", o.size); err != nil {
			return l, err
		}
		if l.size < leastFile {
			return l, &usageError{fmt.Errorf("--rotate-size %s is less than 1MiB", o.size), "like --rotate-size 64MB"}
		}
	}
	if l.size == 0 && (o.every == "" || l.total > 0) {
		l.size = usualFile
		if l.total > 0 {
			l.size = max(min(l.size, l.total/8), leastFile)
		}
	}
	if l.total > 0 && l.total < 3*l.size {
		return l, &usageError{fmt.Errorf("--max-total %s has no room for three files of %s", o.total, report.Bytes(l.size)),
			"a larger --max-total, or a smaller --rotate-size"}
	}
	return l, nil
}

// says says when the next file comes, and what is kept.
func (l *rotateLimits) says() string {
	when := []string{}
	if l.size > 0 {
		when = append(when, "at "+report.Bytes(l.size))
	}
	if l.every > 0 {
		when = append(when, "every "+l.every.String())
	}
	text := "another file " + strings.Join(when, " or ")
	switch {
	case l.files > 0 && l.total > 0:
		return text + fmt.Sprintf("; the newest %d are kept, within %s", l.files, report.Bytes(l.total))
	case l.files > 0:
		return text + fmt.Sprintf("; the newest %d are kept", l.files)
	case l.total > 0:
		return text + fmt.Sprintf("; the newest are kept, within %s", report.Bytes(l.total))
	}
	return text + "; all are kept"
}

// options has the recording go on in the files of set.
func (s *fileSet) options(l rotateLimits, errOut io.Writer) *capture.Rotate {
	owner, _ := caller()
	return &capture.Rotate{Bytes: l.size, Every: l.every, Owner: owner, Foreign: s.foreign(),
		Next: func() (io.Writer, error) {
			o, err := s.next()
			if err != nil {
				return nil, err
			}
			return o.file, nil
		},
		Ended: func(w io.Writer, end *format.End) {
			if err := s.end(w, end != nil); err != nil {
				fmt.Fprintf(errOut, "acc: %s\n", format.Quote(err.Error()))
			}
		},
		Failed: func(err error) {
			fmt.Fprintf(errOut, "acc: %s; the recording goes on in the file that it has\n", format.Quote(err.Error()))
		},
	}
}

// sizeUnits are the units of sizes; the first that a text ends with counts.
var sizeUnits = []struct {
	name  string
	bytes float64
}{
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40},
	{"kB", 1e3}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12},
}

// bytesOf reads a size, which must have a unit.
func bytesOf(flag, s string) (int64, error) {
	hint := "like " + flag + " 64MB, or 64MiB"
	for _, u := range sizeUnits {
		num, ok := strings.CutSuffix(s, u.name)
		if !ok {
			continue
		}
		n, err := strconv.ParseFloat(strings.TrimSpace(num), 64)
		if err != nil || !(n > 0) || n*u.bytes > math.MaxInt64/4 {
			break
		}
		return int64(n * u.bytes), nil
	}
	if _, err := strconv.ParseFloat(s, 64); err == nil {
		return 0, &usageError{fmt.Errorf("%s %s has no unit", flag, s), hint}
	}
	return 0, &usageError{fmt.Errorf("%s %q is not a size", flag, s), hint}
}

// timeWithUnit reads a time, which must have a unit.
func timeWithUnit(flag, s string) (time.Duration, error) {
	hint := "like " + flag + " 30s, 10m or 1h"
	if _, err := strconv.ParseFloat(s, 64); err == nil {
		return 0, &usageError{fmt.Errorf("%s %s has no unit", flag, s), hint}
	}
	d, err := time.ParseDuration(s)
	if err != nil || d <= 0 {
		return 0, &usageError{fmt.Errorf("%s %q is not a time", flag, s), hint}
	}
	return d, nil
}

// foreign reports whether the folder is such that root can write to it by its privileges alone.
func (s *fileSet) foreign() bool {
	st, err := os.Stat(cmp.Or(s.folder, "."))
	return err == nil && os.Geteuid() == 0 && !ownedBy(st, 0)
}
