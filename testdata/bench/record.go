package main

// This file measures recording.

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
)

// guest runs a script of testdata/bench/guest in a machine and gives what it prints.
func guest(vm string, flags []string, script string, args ...string) ([]byte, error) {
	all := append([]string{"-kernel", "6.1", "-timeout", "60m"}, flags...)
	all = append(all, "-in", "testdata/bench/guest/"+script, "--", "/bin/sh", "/in/"+script)
	cmd := exec.Command(vm, append(all, args...)...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, os.Stderr
	err := cmd.Run()
	if err != nil {
		err = fmt.Errorf("run %s in a machine: %w\n%s", script, err, out.String())
	}
	return out.Bytes(), err
}

// record measures what each watcher adds to a connection and to another system call.
func record(vm, acc, loop string) error {
	out, err := guest(vm, []string{"-icount", "-append", "mitigations=off", "-mem", "2048", "-in", acc + ":/in/acc", "-in", loop + ":/in/loop",
		"-bin", "trace-cmd,perf,bpftrace,strace"}, "record.sh", "4000", "4", "100000")
	if err != nil {
		return err
	}
	t := newTable("watched by", "instructions a connection", "added", "of trace-cmd's", "added to a getppid")
	type row struct {
		name             string
		connect, getppid int64
	}
	var rows []row
	var none row
	trace := int64(0)
	for line := range strings.Lines(string(out)) {
		cells := strings.Split(strings.TrimSpace(line), "\t")
		if len(cells) != 4 || cells[0] != "RECORD" {
			continue
		}
		connect, err1 := strconv.ParseInt(cells[2], 10, 64)
		getppid, err2 := strconv.ParseInt(cells[3], 10, 64)
		r := row{cells[1], connect, getppid}
		if err1 != nil || err2 != nil {
			r.connect, r.getppid = -1, -1
		}
		switch rows = append(rows, r); r.name {
		case "nothing":
			none = r
		case "trace-cmd record":
			trace = r.connect - none.connect
		}
	}
	if none.connect <= 0 {
		return fmt.Errorf("the machine measured nothing:\n%s", out)
	}
	for _, r := range rows {
		if r.connect < 0 {
			t.row(r.name, "did not run", "", "", "")
			continue
		}
		t.row(r.name, count(r.connect), count(r.connect-none.connect), ratio(float64(r.connect-none.connect), float64(trace)), count(r.getppid-none.getppid))
	}
	return section("record", t.String())
}
