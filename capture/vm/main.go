//go:build linux

// Vm boots a Debian kernel in an emulated machine and runs one command in it as
// root. Recording needs a kernel that can be traced; this brings one to any
// Debian-like machine, also to those that can't trace or virtualise.
//
//	go run ./capture/vm -kernel 6.1 -in ./acc -bin nginx,wrk -out . -- /in/acc record -d 5
//
// The guest is a kernel from a Debian package and a file system in memory: what
// -in and -bin name, busybox, modules, and an init that runs the command. What the command
// leaves in /out comes back. With -root the command's file system is a Debian with the
// packages that it names, of the kernel's suite, and /in, /out and /tmp are in memory all the same. What the command
// changes is gone with the machine. With -systemd the first process is that Debian's systemd, and the command a
// service of it. The exit code is the command's; 124 if it took
// too long, 125 if the machine failed. With -arch arm64 the guest's programs are
// those of -in, built for it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"time"
)

const (
	exitTimeout = 124
	exitMachine = 125
)

type list []string

func (l *list) String() string     { return strings.Join(*l, ",") }
func (l *list) Set(s string) error { *l = append(*l, strings.Split(s, ",")...); return nil }

type options struct {
	kernel  string
	arch    string
	mem     int
	smp     int
	icount  bool
	in      list
	bin     list
	modules list
	root    list
	systemd bool
	out     string
	timeout time.Duration
	cmdline string
	verbose bool
	prepare bool
	disk    string // image of the root file system, "" for none
	command []string
}

func main() {
	var o options
	flag.StringVar(&o.kernel, "kernel", "6.1", "kernel: "+strings.Join(kernelNames(), ", "))
	flag.StringVar(&o.arch, "arch", "amd64", "architecture: amd64, arm64")
	flag.IntVar(&o.mem, "mem", 1024, "memory in MiB")
	flag.IntVar(&o.smp, "smp", 2, "CPUs")
	flag.BoolVar(&o.icount, "icount", false, "let the guest's clock count instructions, a nanosecond each; one CPU")
	flag.Var(&o.in, "in", "HOST[:GUEST] file or directory to put into the guest (default /in/NAME)")
	flag.Var(&o.bin, "bin", "programs of the host to put into the guest with their libraries")
	flag.Var(&o.modules, "modules", "kernel modules to load before the command, those that the kernel has")
	flag.Var(&o.root, "root", "run the command in a Debian with these packages, on a disk that is made once")
	flag.BoolVar(&o.systemd, "systemd", false,
		"of -root: its systemd is the first process, and runs the command as a service")
	flag.StringVar(&o.out, "out", "", "directory that gets what the command leaves in /out")
	flag.DurationVar(&o.timeout, "timeout", 10*time.Minute, "longest run")
	flag.StringVar(&o.cmdline, "append", "", "more for the kernel's command line")
	flag.BoolVar(&o.verbose, "v", false, "tell what is done, and keep the console in the cache")
	flag.BoolVar(&o.prepare, "prepare", false, "fetch what is needed and do no more")
	flag.Parse()
	o.command = flag.Args()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	code, err := run(ctx, &o)
	if err != nil {
		fmt.Fprintf(os.Stderr, "vm: %v\n", err)
	}
	stop()
	os.Exit(code)
}

func run(ctx context.Context, o *options) (int, error) {
	if len(o.command) == 0 && !o.prepare {
		return 2, errors.New("name a command to run behind --")
	}
	m, ok := machines[o.arch]
	if !ok {
		return 2, fmt.Errorf("no architecture %q; there are amd64, arm64", o.arch)
	}
	if o.arch != "amd64" && len(o.root) > 0 {
		return 2, errors.New("-root is of this machine's architecture, which the other one can't run")
	}
	if o.arch != "amd64" && len(o.bin) > 0 {
		return 2, fmt.Errorf("-bin takes programs of this machine, which %s can't run", o.arch)
	}
	if o.systemd && len(o.root) == 0 {
		return 2, errors.New("-systemd needs -root, which has it")
	}
	if o.systemd {
		o.root = append(o.root, "systemd", "systemd-sysv")
	}
	programs := append([]string{m.qemu}, o.bin...)
	if len(o.root) > 0 {
		programs = append(programs, "mmdebstrap", "mke2fs")
	}
	if err := install(programs); err != nil {
		return exitMachine, err
	}
	cache, err := cacheDir()
	if err != nil {
		return exitMachine, err
	}
	kernel, err := fetchKernel(cache, o.kernel, o.arch)
	if err == nil && len(o.root) > 0 {
		o.disk, err = fetchRoot(cache, o.kernel, o.root)
	}
	if err != nil || o.prepare {
		return exitIf(err), err
	}
	dir, err := os.MkdirTemp("", "acc-vm-")
	if err != nil {
		return exitMachine, err
	}
	defer os.RemoveAll(dir)
	if err := buildInit(ctx, filepath.Join(dir, "init"), o.arch); err != nil {
		return exitMachine, err
	}
	if err := writeInitrd(filepath.Join(dir, "initrd"), filepath.Join(dir, "init"), kernel, o); err != nil {
		return exitMachine, err
	}
	return boot(ctx, dir, filepath.Join(kernel, "vmlinuz"), m, o)
}

func exitIf(err error) int {
	if err != nil {
		return exitMachine
	}
	return 0
}

// cacheDir is where kernels are kept: $ACC_VM_CACHE, or .vm-cache beside go.mod.
func cacheDir() (string, error) {
	dir := os.Getenv("ACC_VM_CACHE")
	if dir == "" {
		out, err := exec.Command("go", "env", "GOMOD").Output()
		if err != nil {
			return "", fmt.Errorf("find the module: %w", err)
		}
		dir = filepath.Join(filepath.Dir(strings.TrimSpace(string(out))), ".vm-cache")
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	return filepath.Abs(dir)
}

// buildInit compiles the guest's first process.
func buildInit(ctx context.Context, path, arch string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", path,
		"github.com/acc-project/acc/capture/vm/init")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch)
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("build init: %w", err)
	}
	return nil
}
