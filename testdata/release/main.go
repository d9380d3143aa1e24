// Release makes what a release of acc consists of: archives for each system, packages,
// bills of materials and SHA-256 sums. The same source makes the same bytes, wherever
// its folder is. Usage, in the folder of the source:
//
//	go run ./testdata/release -version V -commit HASH -date RFC3339 [-out DIR]
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// release is one release.
type release struct {
	version string // as git describe says it
	plain   string // as packages have it: without v; 0.0.0-dev.HASH if it is not of a tag
	commit  string
	date    time.Time // of the commit: the time of every file
	out     string
	work    string // what the archives are made of
}

type target struct{ os, arch string }

// targets are the systems. Only on Linux there is a recorder.
var targets = []target{
	{"linux", "amd64"}, {"linux", "arm64"}, {"darwin", "arm64"}, {"darwin", "amd64"}, {"windows", "amd64"},
}

func main() {
	r := release{}
	var date string
	flag.StringVar(&r.version, "version", "", "git describe --tags --always --dirty")
	flag.StringVar(&r.commit, "commit", "", "hash of the commit")
	flag.StringVar(&date, "date", "", "time of the commit, RFC 3339")
	flag.StringVar(&r.out, "out", "dist", "folder that is made, with all that is in it")
	only := flag.String("targets", "", "only these, like linux/amd64,windows/amd64; empty: all")
	flag.Parse()
	if *only != "" {
		targets = slices.DeleteFunc(targets, func(t target) bool { return !slices.Contains(strings.Split(*only, ","), t.os+"/"+t.arch) })
	}
	var err error
	if r.date, err = time.Parse(time.RFC3339, date); err == nil {
		err = r.run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

var tag = regexp.MustCompile(`^v(\d+\.\d+\.\d+(-(alpha|beta|rc)\.?\d+)?)$`)

func (r *release) run() error {
	if r.commit == "" {
		return errors.New("-commit is missing")
	}
	r.date = r.date.UTC()
	r.plain = "0.0.0-dev." + r.commit[:min(len(r.commit), 12)]
	if m := tag.FindStringSubmatch(r.version); m != nil {
		r.plain = m[1]
	}
	r.work = filepath.Join(r.out, "work")
	if err := os.RemoveAll(r.out); err != nil {
		return err
	}
	for _, step := range []func() error{r.binaries, r.documents, r.archives, r.packages, r.sums} {
		if err := step(); err != nil {
			return err
		}
	}
	return os.RemoveAll(r.work)
}

// command runs a program and gives what it prints.
func (r *release) command(env []string, name string, args ...string) ([]byte, error) {
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, out)
	}
	return out, err
}

// binary is where a target's program lies.
func (r *release) binary(goos, arch string) string {
	name := filepath.Join(r.work, goos+"-"+arch, "acc")
	if goos == "windows" {
		name += ".exe"
	}
	return name
}

// binaries builds acc for all targets, static and without the paths of this machine.
func (r *release) binaries() error {
	flags := fmt.Sprintf("-s -w -X main.version=%s -X main.commit=%s -X main.date=%s", r.version, r.commit, r.date.Format(time.RFC3339))
	for _, t := range targets {
		env := []string{"GOOS=" + t.os, "GOARCH=" + t.arch, "CGO_ENABLED=0", "GOAMD64=v1", "GOARM64=v8.0", "GOFLAGS="}
		if _, err := r.command(env, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags", flags, "-o", r.binary(t.os, t.arch), "./cmd/acc"); err != nil {
			return err
		}
	}
	for _, t := range targets {
		sbom, err := r.command(nil, "go", "run", "./testdata/supply", "sbom", r.binary(t.os, t.arch), r.version)
		if err == nil {
			err = os.WriteFile(filepath.Join(r.out, r.base(t.os, t.arch)+".cdx.json"), sbom, 0o644)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// base is what the files of a target are called.
func (r *release) base(goos, arch string) string { return "acc-" + r.plain + "-" + goos + "-" + arch }

// documents makes manual, completions and licences, which are the same for all targets.
func (r *release) documents() error {
	man, err := filepath.Abs(filepath.Join(r.work, "man"))
	if err == nil {
		err = errors.Join(os.MkdirAll(man, 0o755), os.MkdirAll(filepath.Join(r.work, "completions"), 0o755))
	}
	if err != nil {
		return err
	}
	env := []string{"ACC_MAN=" + man, "ACC_DATE=" + r.date.Format(time.DateOnly), "ACC_VERSION=" + r.version}
	if _, err := r.command(env, "go", "test", "-count=1", "-run", "^TestManPages$", "./cmd/acc"); err != nil {
		return err
	}
	for shell, name := range map[string]string{"bash": "acc.bash", "zsh": "_acc", "fish": "acc.fish", "powershell": "acc.ps1"} {
		out, err := r.command(nil, "go", "run", "./cmd/acc", "completion", shell)
		if err == nil {
			err = os.WriteFile(filepath.Join(r.work, "completions", name), out, 0o644)
		}
		if err != nil {
			return err
		}
	}
	texts, err := r.command(nil, "go", "run", "./testdata/supply", "texts", r.binary(targets[0].os, targets[0].arch))
	if err == nil {
		err = os.WriteFile(filepath.Join(r.work, "THIRD-PARTY-LICENSES"), texts, 0o644)
	}
	return err
}
