package deploy

// This file runs deploy/Containerfile's image with the rights and mounts of deploy/daemonset.yaml.

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
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

// The image is built without a network, and with what the manifest gives it acc records what root records on the
// host. Without a capability that the manifest asks for, it does not.
func TestVMContainer(t *testing.T) {
	needSystemd(t)
	s := transcript{t, os.Stdout}
	if _, err := os.Stat("/usr/bin/acc"); err != nil {
		s.run("apt-get install -qq -y " + oneOf(t, "/in/newer/acc_*_amd64.deb"))
		defer s.run("apt-get purge -qq -y acc")
	}
	world(t, s)
	const storage = "[storage]\ndriver = \"vfs\"\nrunroot = \"/run/storage\"\ngraphroot = \"/var/lib/storage\"\n"
	if err := os.WriteFile("/etc/containers/storage.conf", []byte(storage), 0o644); err != nil { // no module for overlays here
		t.Fatal(err)
	}
	s.run("mkdir -p /tmp/image && cp /usr/bin/acc /tmp/image/")
	s.run("podman build -q --network=none -t acc -f /in/deploy/Containerfile /tmp/image")
	s.run("podman images acc")
	daemonSet := documents(t, "/in/deploy/daemonset.yaml")[1]
	args := container(t, daemonSet)["args"].([]any)
	security := container(t, daemonSet)["securityContext"].(map[string]any)["capabilities"].(map[string]any)
	unit := func(flags, args string) string {
		return "[Service]\nStateDirectory=acc/try\nExecStart=podman run --rm --replace --name acc-try " + flags +
			" -v /var/lib/acc/try:/var/lib/acc/try localhost/acc " + args + " $ACC_FLAGS\nExecStop=podman stop -t 30 acc-try\n"
	}
	for probe := range strings.FieldsSeq(cmp.Or(os.Getenv("ACC_PROBES"), "fentry kprobe")) {
		flags := "--probe " + probe
		base := tryUnit(t, s, plainUnit, flags)
		t.Logf("%s, root on the host:\n%s", probe, strings.Join(base, "\n"))
		if !slices.ContainsFunc(base, func(f string) bool { return strings.Contains(f, `pod "shop/till-0"`) }) {
			t.Error("the pod's name is not known")
		}
		asManifest := podman(t, daemonSet)
		if less := difference(base, tryUnit(t, s, unit(asManifest, fmt.Sprint(args[0])), flags)); less != "" {
			t.Errorf("%s, the manifest's container:\n%s", probe, less)
		}
		for _, add := range security["add"].([]any) {
			name := add.(string)
			without := strings.Replace(asManifest, "--cap-add "+name, "", 1)
			less := difference(base, tryUnit(t, s, unit(without, fmt.Sprint(args[0])), flags))
			if less == "" {
				t.Errorf("%s: without %s the recording is the same", probe, name)
			}
			t.Logf("%s, without %s:\n%s", probe, name, less)
		}
	}
	// kubectl debug … -- acc record -o - >FILE, whose stream breaks: what came is a capture.
	s.run("podman run --rm --pid=host --network=host --privileged localhost/acc record -d 5 -o - 2>/tmp/said | " +
		"head -c 4000 >/tmp/broken.acc; cat /tmp/said")
	if said, code := s.code("acc info /tmp/broken.acc"); code != 3 || !strings.Contains(said, "truncated") {
		t.Errorf("exit code %d\n%s", code, said)
	}
}
