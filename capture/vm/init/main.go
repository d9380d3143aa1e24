//go:build linux

// Init is the first process of the guest that capture/vm boots: it mounts what
// programs expect, runs the command, sends back what it left in /out and its
// exit code, and powers off. Where systemd is to be the first process, it becomes that,
// and a service of it does the rest.
package main

import (
	"archive/tar"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

func main() {
	do := boot
	if os.Getpid() != 1 {
		do = command // systemd runs us
	}
	code, err := do()
	if err != nil {
		fmt.Fprintln(os.Stderr, "init:", err) // on the console
	}
	if err := send(code); err != nil {
		fmt.Fprintln(os.Stderr, "init:", err)
	}
	unix.Sync()
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
}

// boot makes the machine ready and runs the command, or gives the machine to systemd.
func boot() (int, error) {
	if err := mounts(); err != nil {
		return 125, err
	}
	if err := loopback(); err != nil {
		return 125, err
	}
	_ = unix.Sethostname([]byte("vm"))
	_ = unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 1 << 20, Max: 1 << 20})
	if out, err := exec.Command("/bin/busybox", "--install", "-s", "/bin").CombinedOutput(); err != nil {
		return 125, fmt.Errorf("install busybox: %w %s", err, out)
	}
	var modules []string
	if err := readList("/modules.json", &modules); err != nil {
		return 125, err
	}
	loadModules(modules)
	list, err := os.ReadFile("/command.json")
	if err != nil {
		return 125, err
	}
	if disk := argument("acc_root"); disk != "" {
		if err := switchRoot(disk); err != nil {
			return 125, err
		}
	}
	if err := errors.Join(os.MkdirAll(own, 0o755), os.WriteFile(own+"/command.json", list, 0o644)); err != nil {
		return 125, err
	}
	if argument("acc_systemd") != "" {
		return 125, becomeSystemd()
	}
	return command()
}

// own has what the command's service needs, and the command.
const own = "/run/acc-vm"

// service runs the command when systemd has started what it starts by itself.
const service = `[Unit]
Description=Command of capture/vm
[Service]
ExecStart=` + own + `/init
Type=exec
LimitNOFILE=1048576
`

// becomeSystemd makes Debian's systemd the first process, with a service that runs this program again.
func becomeSystemd() error {
	const wants = "/run/systemd/system/multi-user.target.wants"
	program, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		return err
	}
	unit := "/run/systemd/system/acc-vm.service"
	err = errors.Join(os.WriteFile(own+"/init", program, 0o755), os.MkdirAll(wants, 0o755),
		os.WriteFile(unit, []byte(service), 0o644), os.Symlink(unit, wants+"/acc-vm.service"))
	if err != nil {
		return err
	}
	return unix.Exec("/lib/systemd/systemd", []string{"systemd"}, []string{"TERM=dumb"})
}

// command runs the command, and gives its exit code.
func command() (int, error) {
	var argv []string
	if err := readList(own+"/command.json", &argv); err != nil {
		return 125, err
	}
	out, err := serial("/dev/" + argument("acc_output"))
	if err != nil {
		return 125, err
	}
	defer out.Close()
	os.Setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdout = struct{ io.Writer }{out} // through a pipe: programs are not to take it for a terminal
	cmd.Stderr = cmd.Stdout
	cmd.WaitDelay = time.Second // for daemons that keep the pipe open
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "TMPDIR=/tmp", "ACC_VM=" +
		argument("acc_kernel")}
	err = cmd.Run()
	_ = unix.IoctlSetInt(int(out.Fd()), unix.TCSBRK, 1) // wait until all is sent
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) && !errors.Is(err, exec.ErrWaitDelay) {
		fmt.Fprintln(out, "init:", err)
		return 127, nil
	}
	if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return 128 + int(ws.Signal()), nil
	}
	return cmd.ProcessState.ExitCode(), nil
}

// switchRoot makes the file system of a disk the root, as switch_root(8) does, with /in, /out and /tmp of this one.
func switchRoot(disk string) error {
	const root = "/newroot"
	if err := os.MkdirAll(root, 0o755); err != nil {
		return err
	}
	for tries := 0; ; tries++ { // the driver may still look for disks
		err := unix.Mount(disk, root, "ext4", 0, "")
		if err == nil {
			break
		}
		if tries == 100 {
			return fmt.Errorf("mount %s: %w", disk, err)
		}
		time.Sleep(100 * time.Millisecond)
	}
	for _, m := range []struct {
		at   string
		flag uintptr
	}{
		{"/proc", unix.MS_MOVE}, {"/sys", unix.MS_MOVE}, {"/dev", unix.MS_MOVE}, {"/in", unix.MS_BIND},
		{"/out", unix.MS_BIND},
	} {
		if err := os.MkdirAll(root+m.at, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(m.at, root+m.at, "", m.flag, ""); err != nil {
			return fmt.Errorf("mount %s of the root file system: %w", m.at, err)
		}
	}
	for _, at := range []string{"/run", "/tmp"} {
		if err := unix.Mount("tmpfs", root+at, "tmpfs", 0, "mode=1777"); err != nil {
			return fmt.Errorf("mount %s of the root file system: %w", at, err)
		}
	}
	if err := os.Chdir(root); err != nil {
		return err
	}
	if err := errors.Join(unix.Mount(".", "/", "", unix.MS_MOVE, ""), unix.Chroot("."), os.Chdir("/")); err != nil {
		return fmt.Errorf("switch to the root file system: %w", err)
	}
	return os.WriteFile("/etc/hosts", []byte("127.0.0.1 localhost vm\n::1 localhost\n"), 0o644)
}

// argument is what the kernel's command line says of a name.
func argument(name string) string {
	b, _ := os.ReadFile("/proc/cmdline")
	for word := range strings.FieldsSeq(string(b)) {
		if value, ok := strings.CutPrefix(word, name+"="); ok {
			return value
		}
	}
	return ""
}

func readList(path string, to *[]string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, to)
}

// loadModules loads modules in their order. What this kernel has not, or can't
// load, is told on the console.
func loadModules(names []string) {
	for _, name := range names {
		b, err := os.ReadFile("/modules/" + name + ".ko")
		if errors.Is(err, fs.ErrNotExist) {
			fmt.Fprintln(os.Stderr, "init: no module", name)
			continue
		}
		if err == nil {
			err = unix.InitModule(b, "")
		}
		if err != nil {
			fmt.Fprintf(os.Stderr, "init: load module %s: %v\n", name, err)
		}
	}
}

func mounts() error {
	for _, m := range []struct {
		kind, at string
		must     bool
	}{
		{"proc", "/proc", true}, {"sysfs", "/sys", true}, {"devtmpfs", "/dev", true}, {"tmpfs", "/dev/shm", true},
		{"devpts", "/dev/pts", true},
		{"tracefs", "/sys/kernel/tracing", true}, {"debugfs", "/sys/kernel/debug", false},
		{"bpf", "/sys/fs/bpf", false},
		{"securityfs", "/sys/kernel/security", false}, {"cgroup2", "/sys/fs/cgroup", false},
	} {
		_ = os.MkdirAll(m.at, 0o755)
		if err := unix.Mount(m.kind, m.at, m.kind, 0, ""); err != nil && m.must && !errors.Is(err, unix.EBUSY) {
			return fmt.Errorf("mount %s: %w", m.at, err)
		}
	}
	return nil
}

// loopback brings lo up; the kernel gives it its addresses.
func loopback() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		return fmt.Errorf("open socket: %w", err)
	}
	defer unix.Close(fd)
	ifr, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	if err := ifr.SetInet4Addr(net.IPv4(127, 0, 0, 1).To4()); err != nil {
		return err
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFADDR, ifr); err != nil {
		return fmt.Errorf("set address of lo: %w", err)
	}
	ifr.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, ifr); err != nil {
		return fmt.Errorf("bring lo up: %w", err)
	}
	return nil
}

// serial opens a port that passes bytes as they are.
func serial(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	t, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	if err != nil {
		return nil, fmt.Errorf("set up %s: %w", path, err)
	}
	t.Iflag, t.Oflag, t.Lflag = 0, 0, 0
	t.Cflag = unix.CS8 | unix.CREAD | unix.CLOCAL | unix.B115200
	if err := unix.IoctlSetTermios(int(f.Fd()), unix.TCSETS, t); err != nil {
		return nil, fmt.Errorf("set up %s: %w", path, err)
	}
	return f, nil
}

// send writes what is below /out and the exit code as an archive.
func send(code int) error {
	f, err := serial("/dev/" + argument("acc_result"))
	if err != nil {
		return err
	}
	defer f.Close()
	w := tar.NewWriter(f)
	err = filepath.WalkDir("/out", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, _ := filepath.Rel("/out", path)
		info, err := d.Info()
		if err != nil {
			return err
		}
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: int64(info.Mode().Perm()),
			Size: int64(len(b))}); err != nil {
			return err
		}
		_, err = w.Write(b)
		return err
	})
	text := strconv.Itoa(code)
	err = errors.Join(err, w.WriteHeader(&tar.Header{Name: "exit-code", Mode: 0o644, Size: int64(len(text))}))
	_, writeErr := w.Write([]byte(text))
	err = errors.Join(err, writeErr, w.Close())
	return errors.Join(err, unix.IoctlSetInt(int(f.Fd()), unix.TCSBRK, 1))
}
