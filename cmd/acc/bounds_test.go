package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// What the bounds of a recording take, and what is refused before anything is attached.
func TestBoundFlags(t *testing.T) {
	for _, c := range []struct {
		o       boundOptions
		several bool
		want    string // "": it is accepted
	}{
		{boundOptions{free: []string{"1GB"}}, true, ""},
		{boundOptions{free: []string{"1GB", "end"}}, true, ""},
		{boundOptions{free: []string{"drop", "1GB"}}, true, ""},
		{boundOptions{free: []string{"1GB", "drop"}}, false, "this recording is one file"},
		{boundOptions{free: []string{"1"}}, true, "--min-free 1 has no unit"},
		{boundOptions{free: []string{"end"}}, true, "--min-free has no size"},
		{boundOptions{free: []string{"1GB", "2GB"}}, true, "is not a size and a word"},
		{boundOptions{free: []string{"1GB", "stop"}}, true, "is not a size and a word"},
		{boundOptions{cpu: "5%"}, false, ""},
		{boundOptions{cpu: "5"}, false, "is not a percentage"},
		{boundOptions{cpu: "-5%"}, false, "is not a percentage"},
		{boundOptions{cpu: "NaN%"}, false, "is not a percentage"},
		{boundOptions{memory: "128MB"}, false, ""},
		{boundOptions{memory: "16MB"}, false, "is less than recording takes: 72.0 MiB"},
		{boundOptions{memory: "128"}, false, "has no unit"},
	} {
		err := c.o.read(8<<20, c.several)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.o, err, c.want)
		}
	}
	o := boundOptions{cpu: "5%", free: []string{"1GB"}}
	if err := o.read(8<<20, true); err != nil || o.cpuPart != 0.05 || o.freeBytes != 1e9 || o.freeEnds {
		t.Errorf("%v, %+v", err, o)
	}
}

// A recording for which the disk has no room is refused; old files of it count as room where they may go.
func TestRoomFor(t *testing.T) {
	dir := t.TempDir()
	free, err := freeSpace(dir)
	if err != nil {
		t.Skip(err)
	}
	set := &fileSet{folder: dir, old: []setFile{{"a", free, time.Time{}, time.Time{}}}}
	least := boundOptions{free: []string{"x"}, freeBytes: free + free/2}
	ends := least
	ends.freeEnds = true
	for i, c := range []struct {
		o    boundOptions
		most int64
		set  *fileSet
		want string
	}{
		{boundOptions{}, free / 2, &fileSet{folder: dir}, ""},
		{boundOptions{}, 2 * free, &fileSet{folder: dir}, "--ring 1TB is more than the disk of " + dir + " has room for"},
		{boundOptions{}, free + free/2, set, ""},
		{least, 0, set, ""},
		{ends, 0, set, "less than --min-free x"},
		{least, 0, nil, "less than --min-free x"},
	} {
		if err := c.o.roomFor("--ring 1TB", c.most, c.set, filepath.Join(dir, "x.acc")); (err == nil) != (c.want == "") ||
			err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%d: %v, want %q", i, err, c.want)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "x.acc")); err == nil {
		t.Error("a file was made")
	}
}
