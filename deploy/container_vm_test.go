package deploy

// This file runs deploy/Containerfile's image with the rights and mounts of deploy/daemonset.yaml.

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// podman gives the flags with which podman runs the only container of a DaemonSet as a kubelet would.
func podman(t *testing.T, daemonSet map[string]any) string {
	t.Helper()
	pod, c := podOf(t, daemonSet), container(t, daemonSet)
	security := c["securityContext"].(map[string]any)
	capabilities := security["capabilities"].(map[string]any)
	limits := c["resources"].(map[string]any)["limits"].(map[string]any)
	flags := []string{"--read-only-tmpfs=false", fmt.Sprintf("--user %v", security["runAsUser"]),
		"--workdir " + c["workingDir"].(string), "--memory " + strings.TrimSuffix(limits["memory"].(string), "i")}
	if pod["hostPID"] == true {
		flags = append(flags, "--pid=host")
	}
	if pod["hostNetwork"] == true {
		flags = append(flags, "--network=host")
	}
	if security["readOnlyRootFilesystem"] == true {
		flags = append(flags, "--read-only")
	}
	if security["allowPrivilegeEscalation"] == false {
		flags = append(flags, "--security-opt no-new-privileges")
	}
	for _, drop := range capabilities["drop"].([]any) {
		flags = append(flags, fmt.Sprintf("--cap-drop %v", drop))
	}
	for _, add := range capabilities["add"].([]any) {
		flags = append(flags, fmt.Sprintf("--cap-add %v", add))
	}
	paths := map[string]string{}
	for _, v := range pod["volumes"].([]any) {
		paths[v.(map[string]any)["name"].(string)] = v.(map[string]any)["hostPath"].(map[string]any)["path"].(string)
	}
	for _, m := range c["volumeMounts"].([]any) {
		m := m.(map[string]any)
		mount := "-v " + paths[m["name"].(string)] + ":" + m["mountPath"].(string)
		if m["readOnly"] == true {
			mount += ":ro"
		}
		flags = append(flags, mount)
	}
	return strings.Join(flags, " ")
}

// image builds acc's image, as localhost/acc.
func image(t *testing.T, s transcript) {
	t.Helper()
	const storage = "[storage]\ndriver = \"vfs\"\nrunroot = \"/run/storage\"\ngraphroot = \"/var/lib/storage\"\n"
	// There is no module for overlays here.
	if err := os.WriteFile("/etc/containers/storage.conf", []byte(storage), 0o644); err != nil {
		t.Fatal(err)
	}
	s.run("mkdir -p /tmp/image && cp /usr/bin/acc /tmp/image/")
	s.run("podman build -q --network=none -t acc -f /in/deploy/Containerfile /tmp/image")
	s.run("podman images acc")
}

// The image is built without a network, and with what the manifest gives it acc records what root records on the
// host. Without a capability that the manifest asks for, it does not.
func TestVMContainer(t *testing.T) {
	needSystemd(t)
	s := transcript{t, os.Stdout}
	if _, err := os.Stat("/usr/bin/acc"); err != nil {
		s.run("apt-get install -qq -y " + oneOf(t, "/in/newer/acc_*_amd64.deb"))
		defer s.run("apt-get purge -qq -y acc")
	}
	servers := world(t, s)
	s.run("chown root:root /var/lib/acc && chmod 755 /var/lib/acc") // as the kubelet makes it: DirectoryOrCreate
	image(t, s)
	daemonSet := documents(t, "/in/deploy/daemonset.yaml")[1]
	args := strings.Trim(fmt.Sprint(container(t, daemonSet)["args"]), "[]")
	security := container(t, daemonSet)["securityContext"].(map[string]any)["capabilities"].(map[string]any)
	unit := func(flags string) string {
		return "[Service]\nTimeoutStartSec=2min\nTimeoutStopSec=30s\nStateDirectory=acc/try\n" +
			"ExecStart=podman run --rm --replace --name acc-try " +
			flags + " localhost/acc " + args + " $ACC_FLAGS\nExecStop=podman stop -t 300 acc-try\n"
	}
	quiet := transcript{t, discard{}}
	base := tryUnit(t, quiet, servers, plainUnit, "")
	t.Logf("root on the host:\n%s", strings.Join(base, "\n"))
	lacks := func(flags string) []string {
		less := difference(base, tryUnit(t, quiet, servers, unit(flags), ""))
		// Container runtimes let nobody use io_uring; acc says that it could not try those probes.
		return slices.DeleteFunc(less, func(l string) bool {
			return strings.HasPrefix(l, "+ limit: the probes for io_uring could not be tried")
		})
	}
	asManifest := podman(t, daemonSet)
	if less := lacks(asManifest); len(less) > 0 {
		t.Errorf("the manifest's container:\n%s", strings.Join(less, "\n"))
	}
	for _, add := range security["add"].([]any) {
		name := add.(string)
		less := lacks(strings.Replace(asManifest, "--cap-add "+name, "", 1))
		if len(less) == 0 {
			t.Errorf("without %s the recording is the same", name)
		}
		t.Logf("without %s: %s", name, costs(less))
	}
}

// What kubectl debug --profile=sysadmin gives a container: all privileges, the node's namespaces, and its root at
// /host. Its stream breaks off, and what came is a capture of all that happened a second before.
func TestVMOneShot(t *testing.T) {
	needSystemd(t)
	s := transcript{t, os.Stdout}
	if _, err := os.Stat("/usr/bin/acc"); err != nil {
		s.run("apt-get install -qq -y " + oneOf(t, "/in/newer/acc_*_amd64.deb"))
		defer s.run("apt-get purge -qq -y acc")
	}
	servers := world(t, s)
	image(t, s)
	stream := exec.Command("/bin/bash", "-c", "exec podman run --rm --name acc-once --pid=host --network=host "+
		"--ipc=host --privileged "+
		"-v /:/host:rslave --entrypoint acc localhost/acc record -d 10m -o - 2>/run/acc-once.err | cat >/run/acc-once.acc")
	stream.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := stream.Start(); err != nil {
		t.Fatal(err)
	}
	until(t, "recording", func() bool {
		b, _ := os.ReadFile("/run/acc-once.err")
		return strings.Contains(string(b), "acc: recording to ")
	})
	connect(t, servers)
	size, grown := int64(0), time.Now()
	until(t, "a stream that rests", func() bool { // a block is a second's
		if st, err := os.Stat("/run/acc-once.acc"); err == nil && st.Size() != size {
			size, grown = st.Size(), time.Now()
		}
		return size > 0 && time.Since(grown) > 10*time.Second
	})
	s.run("pkill -KILL -x cat")
	connect(t, servers) // acc notices when it writes
	until(t, "the end of the container", func() bool { _, code := s.code("pgrep -x acc"); return code != 0 })
	_ = stream.Wait()
	s.code("cat /run/acc-once.err")
	if said, code := s.code("acc info /run/acc-once.acc"); code != 3 || !strings.Contains(said, "truncated") {
		t.Errorf("exit code %d", code)
	}
	known := facts(t, "/run/acc-once.acc")
	t.Logf("known:\n%s", strings.Join(known, "\n"))
	for port := range servers {
		if !slices.Contains(known, fmt.Sprintf("accept calls: %d accepted at 127.0.0.1:%d", connections, port)) {
			t.Errorf("not %d accepted at %d", connections, port)
		}
	}
	for _, want := range []string{`pod "shop/till-0"`, "the host's mounts", "net.core.somaxconn = 5001",
		"ids of machine and boot: known: true true"} {
		if !slices.ContainsFunc(known, func(f string) bool { return strings.Contains(f, want) }) {
			t.Errorf("not known: %s", want)
		}
	}
}
