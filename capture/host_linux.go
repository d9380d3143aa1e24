package capture

// This file describes the host for the header.

import (
	"cmp"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/acc-project/acc/format"
)

// machineKey keys the hash of the machine id, as machine-id(5) asks: the id
// itself is confidential, its keyed hash tells machines apart.
const machineKey = "github.com/acc-project/acc capture machine id"

// describeHost fills the header with what the host says of itself. What can't
// be read stays empty: no fact about the host is worth no recording.
func describeHost(h *format.Header) error {
	clock, err := readClock()
	if err != nil {
		return err
	}
	h.Clock, h.StartNS = clock, clock.RealNS
	h.ID = newUUID()
	u := uname()
	h.Host, h.Arch = unix.ByteSliceToString(u.Nodename[:]), unix.ByteSliceToString(u.Machine[:])
	h.Kernel, h.Build = kernelName()
	// Executables' paths are the host's, also where the recorder has its own view of it, in a unit's sandbox.
	h.MntNS = cmp.Or(namespace("/proc/1/ns/mnt"), namespace("/proc/self/ns/mnt"))
	h.BootID = readLine("/proc/sys/kernel/random/boot_id")
	if id := cmp.Or(readLine("/proc/1/root/etc/machine-id"), readLine("/etc/machine-id")); id != "" { // a container has none
		mac := hmac.New(sha256.New, []byte(machineKey))
		mac.Write([]byte(id))
		h.MachineID = hex.EncodeToString(mac.Sum(nil)[:16])
	}
	h.CPUs = ebpf.MustPossibleCPU()
	h.Zone, h.ZoneSec = time.Now().Zone()
	h.Sysctls = hostSettings()
	return nil
}

// uname is what uname(2) says; it has no way to fail.
func uname() (u unix.Utsname) {
	_ = unix.Uname(&u)
	return u
}

// kernelName is the kernel's release and build.
func kernelName() (release, build string) {
	u := uname()
	return unix.ByteSliceToString(u.Release[:]), unix.ByteSliceToString(u.Version[:])
}

// olderThan reports whether a kernel's release is below a version.
func olderThan(release string, major, minor int) bool {
	var a, b int
	_, err := fmt.Sscanf(release, "%d.%d", &a, &b)
	return err == nil && (a < major || a == major && b < minor)
}

func readLine(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// newUUID makes a random UUID (RFC 9562, version 4).
func newUUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails since Go 1.24
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
