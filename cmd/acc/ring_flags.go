package main

// This file has the flags of the flight recorder.

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/acc-project/acc/analysis/findings"
	"github.com/acc-project/acc/analysis/report"
)

// ringOptions are --ring and those beside it.
type ringOptions struct {
	ring            []string
	after, cooldown string
	on              []string
	exec            string
	most            int
}

func (o *ringOptions) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringSliceVar(&o.ring, "ring", nil, "keep only the last `TIME OR SIZE`, like 10m or 256MB, or both: "+
		"--ring 10m,256MB; -o must name a folder")
	f.StringVar(&o.after, "after", "30s", "a dump also keeps this `TIME` after its cause")
	f.StringSliceVar(&o.on, "on", nil, "dump at one of these `CAUSES`, like queue-overflow or 'rate x3' "+
		"(a finding, or a rate: 'errno=EMFILE rate>10/s')")
	f.StringVar(&o.exec, "exec", "", "run the shell command `CMD` for each complete dump, with its folder as last "+
		"argument; it has the rights of acc's caller")
	f.StringVar(&o.cooldown, "cooldown", "30s", "after a dump, no finding dumps again for this `TIME`")
	f.IntVar(&o.most, "max-dumps", 20, "findings dump at most `N` times")
	lists(cmd, "ring", "10m", "1h", "256MB", "1GB")
	values(cmd, "after", "10s", "30s", "5m")
	lists(cmd, "on", append(findings.IDs(), "errno=EMFILE rate>10/s\ta rate of errors",
		"rate x3\tthree times the usual rate")...)
	values(cmd, "exec")
	values(cmd, "cooldown", "30s", "10m")
	values(cmd, "max-dumps", "5", "20")
}

// ringLimits are ringOptions, read.
type ringLimits struct {
	age      time.Duration // 0: no bound
	bytes    int64         // 0: no bound
	after    time.Duration
	cooldown time.Duration
	on       []trigger
	exec     string
	most     int
}

// isRing reports whether the recording is a flight recorder.
func (l *ringLimits) isRing() bool { return l.age > 0 || l.bytes > 0 }

// read reads the flags of a ring, and gives the limits of its files.
func (o *ringOptions) read(
	cmd func(string) bool,
	out string,
	rotates bool,
) (l ringLimits, files rotateLimits, err error) {
	if len(o.ring) == 0 {
		for _, flag := range []string{"after", "on", "exec", "cooldown", "max-dumps"} {
			if cmd(flag) {
				return l, files, &usageError{fmt.Errorf("--%s is for a flight recorder", flag), "add --ring 10m"}
			}
		}
		return l, files, nil
	}
	if rotates {
		return l, files, &usageError{errors.New("--ring keeps and removes files itself"),
			"leave out --rotate-size, --rotate-every, --rotate-files and --max-total"}
	}
	if out == "-" {
		return l, files, &usageError{errors.New("a flight recorder can't write to standard output: it removes old files"),
			"name a folder with -o, like -o /var/lib/acc"}
	}
	if st, err := os.Stat(out); out != "" && errors.Is(err, fs.ErrNotExist) {
		return l, files, &usageError{fmt.Errorf("the folder %s is not there: --ring keeps its files there, and dumps", out),
			"make it, or name another one with -o"}
	} else if out == "" || err != nil || !st.IsDir() {
		return l, files, &usageError{errors.New("--ring needs a folder for what is kept, and for dumps"),
			"like -o /var/lib/acc"}
	}
	for _, s := range o.ring {
		var sizeErr, timeErr error
		var n int64
		var d time.Duration
		if n, sizeErr = bytesOf("--ring", s); sizeErr == nil {
			if l.bytes > 0 {
				return l, files, &usageError{fmt.Errorf("--ring has two sizes: %s", strings.Join(o.ring, " and ")),
					"one size, one time, or one of each: --ring 10m,256MB"}
			}
			l.bytes = n
			continue
		}
		if d, timeErr = timeWithUnit("--ring", s); timeErr != nil {
			return l, files, &usageError{fmt.Errorf("--ring %q is neither a time nor a size with a unit", s),
				"like --ring 10m, or --ring 256MB"}
		}
		if l.age > 0 {
			return l, files, &usageError{fmt.Errorf("--ring has two times: %s", strings.Join(o.ring, " and ")),
				"one size, one time, or one of each: --ring 10m,256MB"}
		}
		l.age = d
	}
	switch {
	case l.bytes > 0 && l.bytes < 8*leastFile:
		return l, files, &usageError{errors.New("--ring has less than 8MiB"), "like --ring 256MB"}
	case l.age > 0 && l.age < 10*time.Second:
		return l, files, &usageError{errors.New("--ring has less than 10s"), "like --ring 10m"}
	}
	if l.after, err = durationOf("--after", o.after); err != nil {
		return l, files, err
	}
	if l.cooldown, err = durationOf("--cooldown", o.cooldown); err != nil {
		return l, files, err
	}
	for _, s := range o.on {
		t, err := readTrigger(strings.TrimSpace(s))
		if err != nil {
			return l, files, err
		}
		l.on = append(l.on, t)
	}
	if o.most < 1 {
		return l, files, &usageError{fmt.Errorf("--max-dumps %d is less than 1", o.most), "like --max-dumps 20"}
	}
	l.exec, l.most = o.exec, o.most
	files.size = usualFile / 4
	if l.bytes > 0 {
		files.size, files.total = max(min(files.size, l.bytes/8), leastFile), l.bytes
	}
	files.every = time.Minute
	if l.age > 0 {
		files.every = max(min(files.every, l.age/10), time.Second)
	}
	return l, files, nil
}

// says says what is kept, and what dumps it.
func (l *ringLimits) says(name string) string {
	kept := []string{}
	if l.age > 0 {
		kept = append(kept, "the last "+l.age.String())
	}
	if l.bytes > 0 {
		kept = append(kept, "at most "+report.Bytes(l.bytes))
	}
	causes := []string{"SIGUSR2"}
	if name != "" {
		causes = append(causes, "acc ctl dump "+name)
	}
	for _, t := range l.on {
		causes = append(causes, t.text)
	}
	return fmt.Sprintf("flight recorder: keeps %s; a dump saves that and the next %s; causes of dumps: %s",
		strings.Join(kept, ", "), l.after, strings.Join(causes, ", "))
}
