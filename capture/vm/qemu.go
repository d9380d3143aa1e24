//go:build linux

package main

// This file starts QEMU.

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// machine is how QEMU emulates an architecture, and what the guest calls its
// serial ports.
type machine struct {
	qemu                    string
	args                    []string
	console, output, result string
}

var machines = map[string]machine{
	// No cmpxchg16b: emulation crashes guests otherwise (QEMU 7.2).
	"amd64": {
		"qemu-system-x86_64",
		[]string{"-cpu", "max,-cx16", "-serial", "chardev:console", "-serial", "chardev:output", "-serial",
			"chardev:result"},
		"ttyS0", "ttyS1", "ttyS2",
	},
	// The usual pointer authentication takes most of the time that emulation has.
	"arm64": {
		"qemu-system-aarch64",
		[]string{
			"-machine", "virt", "-cpu", "max,pauth-impdef=on", "-serial", "chardev:console",
			"-device", "pci-serial,chardev=output,addr=1", "-device", "pci-serial,chardev=result,addr=2",
		},
		"ttyAMA0", "ttyS0", "ttyS1",
	},
}

// boot runs the machine until it powers off. The guest has three serial ports:
// the console, the command's output, and an archive of /out with the exit code.
func boot(ctx context.Context, dir, kernel string, m machine, o *options) (int, error) {
	console, result := filepath.Join(dir, "console"), filepath.Join(dir, "result.tar")
	// thread=single: emulation crashes guests otherwise (QEMU 7.2).
	args := []string{
		"-accel", "tcg,thread=single", "-nodefaults", "-display", "none", "-no-reboot", "-m", strconv.Itoa(o.mem),
		"-kernel", kernel, "-initrd", filepath.Join(dir, "initrd"),
		"-append", fmt.Sprintf("console=%s quiet panic=-1 oops=panic acc_kernel=%s acc_output=%s acc_result=%s %s%s",
			m.console, o.kernel, m.output, m.result, rootArgument(o), o.cmdline),
		"-chardev", "file,id=console,path=" + console,
		"-chardev", "stdio,id=output,signal=off",
		"-chardev", "file,id=result,path=" + result,
	}
	args = append(args, m.args...)
	if o.icount {
		args = append(args, "-icount", "shift=0", "-smp", "1")
	} else {
		args = append(args, "-smp", strconv.Itoa(o.smp))
	}
	if o.disk != "" { // NVMe's driver is built into all of the kernels; writes go to a file that is removed
		args = append(args, "-drive", "if=none,id=root,format=raw,snapshot=on,file="+o.disk, "-device",
			"nvme,serial=root,drive=root")
	}
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, m.qemu, args...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	started := time.Now()
	err := cmd.Run()
	if o.verbose {
		fmt.Fprintf(os.Stderr, "vm: Linux %s ran for %v\n%s\n", o.kernel, time.Since(started).Round(time.Millisecond),
			lastLines(console, 1000))
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return exitTimeout, fmt.Errorf("the command took longer than %v\n%s", o.timeout, lastLines(console, 30))
	}
	if err != nil {
		return exitMachine, fmt.Errorf("run qemu: %w", err)
	}
	code, err := unpack(result, o.out)
	if err != nil {
		return exitMachine, fmt.Errorf("the machine ended without a result: %w\n%s", err, lastLines(console, 30))
	}
	return code, nil
}

// rootArgument names the disk of the root file system to init.
func rootArgument(o *options) string {
	if o.disk == "" {
		return ""
	}
	text := "acc_root=/dev/nvme0n1 "
	if o.systemd {
		text += "acc_systemd=1 "
	}
	return text
}

// unpack takes the exit code out of the guest's archive and everything else into dir.
func unpack(path, dir string) (int, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	for r := tar.NewReader(f); ; {
		h, err := r.Next()
		if err != nil {
			return 0, fmt.Errorf("read the guest's archive: %w", err)
		}
		if h.Name == "exit-code" { // the last one: all the others are there
			b, err := io.ReadAll(r)
			if err != nil {
				return 0, err
			}
			return strconv.Atoi(string(b))
		}
		if dir == "" {
			continue
		}
		if !filepath.IsLocal(h.Name) {
			return 0, fmt.Errorf("the guest's archive holds %q", h.Name)
		}
		to := filepath.Join(dir, h.Name)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return 0, err
		}
		out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, os.FileMode(h.Mode).Perm())
		if err != nil {
			return 0, err
		}
		_, err = io.Copy(out, r)
		if err := errors.Join(err, out.Close()); err != nil {
			return 0, err
		}
	}
}

// lastLines gives the end of the console.
func lastLines(path string, n int) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
