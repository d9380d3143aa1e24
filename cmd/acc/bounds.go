package main

// This file has the bounds of a recording on what it takes of the host: disk, CPU and memory.

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/acc-project/acc/analysis/report"
	"github.com/acc-project/acc/capture"
	"github.com/acc-project/acc/format"
)

// boundOptions are --min-free and those beside it.
type boundOptions struct {
	free        []string
	cpu, memory string
	freeBytes   int64 // --min-free, read; 0: none
	freeEnds    bool  // the recording ends at once; else old files go first
	cpuPart     float64
	memoryBytes int64
}

func (o *boundOptions) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringSliceVar(&o.free, "min-free", nil, "leave this `SIZE` of the disk free, like 1GB: acc removes the oldest "+
		"files of the recording, then ends it; 1GB,end: it ends at once")
	f.StringVar(&o.cpu, "max-cpu", "", "use at most `PART` of one CPU, like 5%: beyond, acc leaves out the life of "+
		"connections, then counts failed calls")
	f.StringVar(&o.memory, "max-memory", "", "use at most this `SIZE` of memory, like 128MB: beyond, "+
		"acc leaves out the same")
	values(cmd, "min-free", "1GB", "10GB", "1GB,end")
	values(cmd, "max-cpu", "2%", "5%", "20%")
	values(cmd, "max-memory", "128MB", "256MB")
}

// leastMemory is what recording takes at least, beside the ring.
const leastMemory = 64 << 20

// read reads the flags. several: the recording goes on from file to file.
func (o *boundOptions) read(ring int, several bool) (err error) {
	action := ""
	for _, word := range o.free {
		switch word = strings.TrimSpace(word); {
		case (word == "end" || word == "drop") && action == "":
			action = word
		case o.freeBytes == 0:
			if o.freeBytes, err = bytesOf("--min-free", word); err != nil {
				return err
			}
		default:
			return &usageError{fmt.Errorf("--min-free %q is not a size and a word", strings.Join(o.free, ",")),
				"like --min-free 1GB, or --min-free 1GB,end"}
		}
	}
	switch {
	case action != "" && o.freeBytes == 0:
		return &usageError{errors.New("--min-free has no size"), "like --min-free 1GB," + action}
	case action == "drop" && !several:
		return &usageError{errors.New("--min-free with drop removes old files, and this recording is one file"),
			"add --rotate-size 64MB, or leave out drop"}
	}
	o.freeEnds = action == "end" || !several
	if o.cpu != "" {
		number, ok := strings.CutSuffix(o.cpu, "%")
		part, err := strconv.ParseFloat(number, 64)
		if !ok || err != nil || !(part > 0) || part > 10_000 {
			return &usageError{fmt.Errorf("--max-cpu %q is not a percentage of one CPU", o.cpu), "like --max-cpu 5%"}
		}
		o.cpuPart = part / 100
	}
	if o.memory != "" {
		if o.memoryBytes, err = bytesOf("--max-memory", o.memory); err != nil {
			return err
		}
		if least := leastMemory + int64(ring); o.memoryBytes < least {
			return &usageError{fmt.Errorf("--max-memory %s is less than recording takes: %s with a ring buffer of %s", o.memory,
				report.Bytes(least), report.Bytes(int64(ring))), "like --max-memory 128MB, or a smaller --ring-size"}
		}
	}
	return nil
}

// roomFor refuses a recording for which the disk has no room. most: bytes that it keeps, 0 not known; set is nil if it
// is one file, out its name.
func (o *boundOptions) roomFor(flag string, most int64, set *fileSet, out string) error {
	folder := cmp.Or(filepath.Dir(out), ".")
	own := int64(0)
	if set != nil {
		folder, own = cmp.Or(set.folder, "."), set.bytes()
	}
	free, err := freeSpace(folder)
	if err != nil || out == "-" {
		return nil // a later error says more
	}
	have := free + own
	if o.freeEnds {
		have = free
	}
	switch {
	case o.freeBytes > 0 && have < o.freeBytes:
		return &hinted{fmt.Errorf("%s has %s free, less than --min-free %s", folder, report.Bytes(free), o.free[0]),
			"make room, choose another folder with -o, or a smaller --min-free"}
	case most > free+own-o.freeBytes:
		return &hinted{fmt.Errorf("%s is more than the disk of %s has room for: %s", flag, folder,
			report.Bytes(max(free+own-o.freeBytes, 0))), "a smaller " + strings.Fields(flag)[0] + ", or another folder with -o"}
	}
	return nil
}

// say says what happens when there is little room.
func (o *boundOptions) say(w io.Writer) {
	switch {
	case o.freeBytes == 0:
	case o.freeEnds:
		fmt.Fprintf(w, "acc: it ends when less than %s of the disk is free\n", report.Bytes(o.freeBytes))
	default:
		fmt.Fprintf(w, "acc: when less than %s of the disk is free, the oldest files go, then it ends\n",
			report.Bytes(o.freeBytes))
	}
}

// freeEvery is how often the room on the disk is looked at.
const freeEvery = time.Second

// watchFree ends the recording, or removes its oldest files, while less is free than is to be left.
func (o *boundOptions) watchFree(ctx context.Context, set *fileSet, out string, errOut io.Writer, end func(error)) {
	if o.freeBytes == 0 || out == "-" {
		return
	}
	folder := cmp.Or(filepath.Dir(out), ".")
	if set != nil {
		folder = cmp.Or(set.folder, ".")
	}
	go func() {
		tick := time.NewTicker(freeEvery)
		defer tick.Stop()
		for ctx.Err() == nil {
			free, err := freeSpace(folder)
			for err == nil && free < o.freeBytes && !o.freeEnds && set.dropOldest() {
				free, err = freeSpace(folder)
			}
			if err == nil && free < o.freeBytes {
				end(&capture.EndedError{Reason: format.EndDiskFull,
					Detail: fmt.Sprintf("%s has %s free, less than --min-free %s", folder, report.Bytes(free), o.free[0])})
				return
			}
			select {
			case <-ctx.Done():
			case <-tick.C:
			}
		}
	}()
}
