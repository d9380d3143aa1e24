package main

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/acc-project/acc/testdata/fleet"
)

// site is a host that has captures, a worker, and an S3 between them, all of them folders of this machine.
type site struct {
	t        *testing.T
	dir      string // the worker's
	captures string // the host's, in place of /var/lib/acc
	env      []string
	ran      map[string]bool // commands of docs/FLEET.md
	commands []string
}

// run runs a command of docs/FLEET.md, and gives what it prints and its exit code.
func (s *site) run(line string) (out string, code int) {
	s.t.Helper()
	if !slices.Contains(s.commands, line) {
		s.t.Fatalf("docs/FLEET.md has no %q", line)
	}
	s.ran[line] = true
	cmd := exec.Command("sh", "-c", strings.ReplaceAll(line, "/var/lib/acc", s.captures))
	cmd.Dir, cmd.Env = s.dir, s.env
	b, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		s.t.Fatalf("%s: %v", line, err)
	}
	return string(b), cmd.ProcessState.ExitCode()
}

// must runs commands that end with exit code 0.
func (s *site) must(lines ...string) {
	s.t.Helper()
	for _, line := range lines {
		if out, code := s.run(line); code != 0 {
			s.t.Fatalf("%s: exit code %d\n%s", line, code, out)
		}
	}
}

// arrived fails unless incoming has these files of the host, byte for byte, and no others.
func (s *site) arrived(how string, want map[string][]byte) {
	s.t.Helper()
	files, _ := filepath.Glob(filepath.Join(s.dir, "incoming", "*", "*.acc"))
	for _, file := range files {
		name, _ := filepath.Rel(filepath.Join(s.dir, "incoming"), file)
		if b, err := os.ReadFile(file); err != nil || !bytes.Equal(b, want[name]) {
			s.t.Errorf("%s: %s has %d bytes, %d were sent (%v)", how, name, len(b), len(want[name]), err)
		}
	}
	if len(files) != len(want) {
		s.t.Errorf("%s: %d files arrived, %d were sent", how, len(files), len(want))
	}
	s.t.Logf("%s: %d files arrived as they were", how, len(files))
}

// script writes a program of the worker's PATH.
func (s *site) script(name, text string) {
	must(s.t, os.WriteFile(filepath.Join(s.dir, "bin", name), []byte("#!/bin/sh\n"+text+"\n"), 0o700))
}

// newSite makes the captures of some hosts, and starts an S3 (npm's s3rver) on this machine.
func newSite(t *testing.T, modules string) *site {
	doc, err := os.ReadFile("../../docs/FLEET.md")
	must(t, err)
	s := &site{t: t, dir: t.TempDir(), captures: t.TempDir(), ran: map[string]bool{}}
	for _, m := range regexp.MustCompile(`(?m)^    (\S.*)$`).FindAllStringSubmatch(string(doc), -1) {
		s.commands = append(s.commands, m[1])
	}
	made := t.TempDir()
	_, err = fleet.Make(made, 4, 1500, 2, time.Date(2026, 11, 28, 14, 0, 0, 0, time.UTC))
	must(t, err)
	files, _ := filepath.Glob(filepath.Join(made, "*.acc"))
	for _, file := range files {
		host := filepath.Base(file)[:len("host-0000")]
		must(t, os.MkdirAll(filepath.Join(s.captures, host), 0o700))
		must(t, os.Rename(file, filepath.Join(s.captures, host, filepath.Base(file))))
	}
	must(t, os.Mkdir(filepath.Join(s.dir, "bin"), 0o700))
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	listener.Close()
	url := "http://127.0.0.1:" + port
	server := exec.Command("node", filepath.Join(modules, "s3rver/bin/s3rver.js"), "-d", t.TempDir(), "-a", "127.0.0.1", "-p", port,
		"--silent", "--configure-bucket", "bucket", "--configure-bucket", "incoming")
	must(t, server.Start())
	t.Cleanup(func() { server.Process.Kill(); server.Wait() })
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		if c, err := net.Dial("tcp", listener.Addr().String()); err == nil {
			c.Close()
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("s3rver does not listen")
		}
	}
	// A shell on the worker in place of ssh, and the AWS CLI with its --endpoint-url, which from 2.13 on is a variable, too.
	aws, err := exec.LookPath("/usr/bin/aws")
	if err != nil {
		aws, err = exec.LookPath("aws")
	}
	must(t, err)
	s.script("remote-shell", `shift; exec sh -c "$*"`)
	s.script("aws", fmt.Sprintf("exec %s --endpoint-url %s \"$@\"", aws, url))
	s.env = append(slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "AWS_") }),
		"PATH="+filepath.Join(s.dir, "bin")+":"+os.Getenv("PATH"), "RSYNC_RSH=remote-shell", "HOME="+s.dir, "NO_PROXY=127.0.0.1", "no_proxy=127.0.0.1",
		"AWS_ACCESS_KEY_ID=S3RVER", "AWS_SECRET_ACCESS_KEY=S3RVER", "AWS_DEFAULT_REGION=us-east-1",
		"RCLONE_CONFIG_REMOTE_TYPE=s3", "RCLONE_CONFIG_REMOTE_PROVIDER=Other", "RCLONE_CONFIG_REMOTE_ENV_AUTH=true", "RCLONE_CONFIG_REMOTE_ENDPOINT="+url)
	return s
}

// held are the host's files.
func (s *site) held() map[string][]byte {
	held := map[string][]byte{}
	files, _ := filepath.Glob(filepath.Join(s.captures, "*", "*.acc"))
	for _, file := range files {
		b, err := os.ReadFile(file)
		must(s.t, err)
		name, _ := filepath.Rel(s.captures, file)
		held[name] = b
	}
	return held
}

// Each command of docs/FLEET.md does what it says: rsync, the AWS CLI and rclone bring captures to the worker, a file that is
// still written arrives truncated and then whole, acc looks at all and exports each once.
func TestFleetCommands(t *testing.T) {
	modules := needExport(t)
	s := newSite(t, modules)
	const (
		rsync = "rsync -a /var/lib/acc/ worker:incoming/"
		look  = "acc analyze incoming"
		all   = "acc export --format parquet incoming -o lake"
		since = "find incoming -name '*.acc' -cnewer exported -print0 | xargs -0 -r -P 4 -n 1 acc export --format parquet --replace -o lake"
	)
	incoming := filepath.Join(s.dir, "incoming")
	held := s.held()
	if len(held) != 8 {
		t.Fatalf("%d captures", len(held))
	}
	// One file is being written.
	names, _ := filepath.Glob(filepath.Join(s.captures, "host-0002", "*.acc"))
	slices.Sort(names)
	last := names[len(names)-1]
	whole, err := os.ReadFile(last)
	must(t, err)
	must(t, os.Truncate(last, int64(len(whole))/2))
	s.must(rsync)
	s.arrived("rsync", s.held())
	if out, code := s.run(look); code != exitTruncated || !strings.Contains(out, "4 hosts, 8 captures") || !strings.Contains(out, "INCOMPLETE: file truncated") {
		t.Errorf("exit code %d of:\n%s", code, out)
	}
	must(t, os.WriteFile(last, whole, 0o600))
	s.must(rsync)
	s.arrived("rsync, again", s.held())
	out, code := s.run(look)
	if code != exitOK {
		t.Errorf("exit code %d of:\n%s", code, out)
	}
	rows := regexp.MustCompile(`(?m)^host-\d+ +(\S+)`).FindAllStringSubmatch(out, -1)
	if len(rows) != 4 || rows[0][1] != "CRITICAL" || rows[3][1] == "CRITICAL" {
		t.Errorf("not a line for each host, worst first:\n%s", out)
	}

	must(t, os.RemoveAll(incoming))
	s.must("aws s3 sync /var/lib/acc s3://bucket/incoming", "aws s3 sync s3://bucket/incoming incoming")
	s.arrived("aws", s.held())

	// What is younger than two hours is not moved.
	must(t, os.RemoveAll(incoming))
	moved := s.held()
	young, _ := filepath.Rel(s.captures, last)
	delete(moved, young)
	for name := range moved {
		must(t, os.Chtimes(filepath.Join(s.captures, name), time.Time{}, time.Now().Add(-3*time.Hour)))
	}
	s.must("rclone move --min-age 2h /var/lib/acc remote:incoming", "rclone copy remote:incoming incoming")
	s.arrived("rclone", moved)
	if left := s.held(); len(left) != 1 || left[young] == nil {
		t.Errorf("rclone left %d files", len(left))
	}

	// Everything once, and then each file by itself.
	tables := func() (n int, size map[string]int64) {
		size = map[string]int64{}
		files, _ := filepath.Glob(filepath.Join(s.dir, "lake", "*", "date=*", "host=*", "*.parquet"))
		for _, file := range files {
			st, err := os.Stat(file)
			must(t, err)
			size[file] = st.Size()
		}
		return len(files), size
	}
	if out, code := s.run(all); code != exitOK {
		t.Errorf("exit code %d: %s", code, out)
	}
	if n, _ := tables(); n != 4*len(moved) {
		t.Errorf("%d files for %d captures", n, len(moved))
	}
	if out, code := s.run(all); code != exitError || !strings.Contains(out, "exists: this capture was exported before") {
		t.Errorf("exported again, exit code %d: %s", code, out)
	}
	must(t, os.RemoveAll(filepath.Join(s.dir, "lake")))
	must(t, os.WriteFile(filepath.Join(incoming, young), whole[:len(whole)/2], 0o600))
	s.must("touch -d @0 exported", "touch next")
	if _, code := s.run(since); code != 123 { // xargs: one of them is truncated
		t.Errorf("exit code %d", code)
	}
	s.must("mv next exported")
	n, before := tables()
	if n != 4*len(held) {
		t.Errorf("%d files for %d captures", n, len(held))
	}
	time.Sleep(20 * time.Millisecond) // a tick of the clock of files
	s.must("touch next", since, "mv next exported")
	if _, now := tables(); fmt.Sprint(now) != fmt.Sprint(before) {
		t.Error("nothing had come, and the lake is another one")
	}
	must(t, os.WriteFile(filepath.Join(incoming, young), whole, 0o600))
	s.must("touch next", since, "mv next exported")
	n, now := tables()
	changed := 0
	for file, size := range now {
		if size != before[file] {
			changed++
		}
	}
	if n != 4*len(held) || changed < 3 || changed > 4 {
		t.Errorf("%d of %d files are others, of the one capture that has grown", changed, n)
	}
	for _, line := range s.commands {
		if !s.ran[line] && !strings.HasPrefix(line, "mkdir -p /var/lib/acc") && !strings.HasPrefix(line, "acc record ") { // TestFleetRecord, TestVMBeside
			t.Errorf("not run: %s", line)
		}
	}
}
