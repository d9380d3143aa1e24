package main

// This file has the flags of acc record that select what is recorded.

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/user"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/acc-project/acc/analysis/humanize"
	"github.com/acc-project/acc/capture"
	"github.com/acc-project/acc/format"
)

// selectOptions are the values of these flags.
type selectOptions struct {
	ports, addrs, laddrs, raddrs     []string
	pids, comms, uids                []string
	cgroups, containers, pods, units []string
	netns, families                  []string
	follow, failedOnly, onlyCommand  bool
}

// families are the words for address families, and what each is.
var families = map[string]format.Family{"ipv4": format.FamilyIPv4, "ipv6": format.FamilyIPv6, "unix": format.FamilyUnix,
	"vsock": format.FamilyVSock, "smc": format.FamilySMC}

// addSelectFlags gives record the flags.
func addSelectFlags(cmd *cobra.Command, o *selectOptions) {
	f := cmd.Flags()
	f.StringSliceVar(&o.ports, "port", nil, "only listeners at this local `PORT`, or in a range, like 443 or 8000-8099")
	f.StringSliceVar(&o.addrs, "addr", nil, "only connections whose local or peer's address is in `CIDR`")
	f.StringSliceVar(&o.laddrs, "laddr", nil, "only connections whose local address is in `CIDR`")
	f.StringSliceVar(&o.raddrs, "raddr", nil, "only connections whose peer's address is in `CIDR`")
	f.StringSliceVar(&o.families, "family", nil, "only sockets of `FAMILY`: ipv4, ipv6, unix, vsock or smc")
	f.StringArrayVar(&o.netns, "netns", nil, "only sockets of the network namespace `WHICH`: of a PID, of a "+
		"file like /run/netns/NAME, or inode:N")
	f.StringSliceVarP(&o.pids, "pid", "p", nil, "only process `PID`")
	f.BoolVar(&o.follow, "follow", false, "with --pid: also the processes that it has started or will start")
	f.StringSliceVar(&o.comms, "comm", nil, "only processes or threads with this `NAME`, as ps -o comm "+
		"prints it (Linux keeps 15 bytes)")
	f.StringSliceVar(&o.uids, "uid", nil, "only processes of `USER`, a name or a number")
	f.StringArrayVar(&o.cgroups, "cgroup", nil, "only processes in the cgroup with this `PATH` or ID, or below "+
		"it (version 2)")
	f.StringSliceVar(&o.containers, "container", nil, "only processes in the container with this `ID` or name")
	f.StringSliceVar(&o.pods, "pod", nil, "only processes in Kubernetes pod `NAMESPACE/NAME`")
	f.StringSliceVar(&o.units, "unit", nil, "only processes in systemd unit `NAME`, also after it restarts")
	f.BoolVar(&o.failedOnly, "failed-only", false, "only failed accept calls, and dropped connections")
	f.BoolVar(&o.onlyCommand, "only-command", false, "only COMMAND and the processes that it starts")
	complete(cmd, "port", namesOf(capture.KindPort, nil))
	complete(cmd, "pid", namesOf(capture.KindPID, capture.CommOf))
	complete(cmd, "comm", namesOf(capture.KindComm, nil))
	complete(cmd, "uid", namesOf(capture.KindUID, userName))
	complete(cmd, "cgroup", namesOf(capture.KindCgroup, nil))
	complete(cmd, "container", namesOf(capture.KindContainer, nil))
	complete(cmd, "pod", namesOf(capture.KindPod, nil))
	complete(cmd, "unit", namesOf(capture.KindUnit, nil))
	complete(cmd, "netns", namesOf(capture.KindNetNS, nil))
	values(cmd, "family", "ipv4", "ipv6", "unix", "vsock", "smc")
	for _, flag := range []string{"addr", "laddr", "raddr"} {
		values(cmd, flag, "127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "::1/128", "fd00::/8")
	}
	group(cmd, "What to select (values of one flag: any of them; several flags: all of them)", "port", "addr",
		"laddr", "raddr", "family", "netns", "pid", "follow", "comm", "uid", "cgroup", "container", "pod", "unit",
		"failed-only", "only-command")
}

// namesOf completes the value of a flag by what this host has of a kind, each with what says more about it.
func namesOf(kind string, about func(string) string) cobra.CompletionFunc {
	return func(_ *cobra.Command, _ []string, word string) (words []string, _ cobra.ShellCompDirective) {
		before, last := lastOfList(word)
		for _, name := range capture.Names(kind) {
			if !strings.HasPrefix(name, last) || len(words) >= 200 {
				continue
			}
			if about != nil {
				words = append(words, cobra.CompletionWithDesc(before+name, about(name)))
				continue
			}
			words = append(words, before+name)
		}
		return words, nothing
	}
}

func userName(uid string) string {
	if u, err := user.LookupId(uid); err == nil {
		return u.Username
	}
	return ""
}

// selection finds on this host what the flags name.
func (o *selectOptions) selection(command bool) (s capture.Selection, err error) {
	if err := o.contradicts(command); err != nil {
		return s, err
	}
	steps := []func(*capture.Selection) error{o.sockets, o.addresses, o.tasks, o.groups}
	for _, step := range steps {
		if err := step(&s); err != nil {
			return s, withNear(err)
		}
	}
	s.Follow, s.FailedOnly, s.OnlyCommand = o.follow, o.failedOnly, o.onlyCommand
	if s.FailedOnly {
		s.Words = append(s.Words, "failed calls and drops")
	}
	if s.OnlyCommand {
		s.Words = append(s.Words, "the command and what it starts")
	}
	return s, neverFits(&s)
}

// neverFits gives an error for criteria of sockets that none fits.
func neverFits(s *capture.Selection) error {
	families := func(of ...format.Family) bool { // all that are selected are of these
		return len(s.Families) > 0 && !slices.ContainsFunc(s.Families, func(f format.Family) bool {
			return !slices.Contains(of, f)
		})
	}
	for i, list := range [][]netip.Prefix{s.Addrs, s.LAddrs, s.RAddrs} {
		v6 := len(list) > 0 && !slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Addr().Is4() })
		if len(list) > 0 && families(format.FamilyUnix, format.FamilyVSock) || v6 && families(format.FamilyIPv4) {
			return &usageError{fmt.Errorf("--%s and --family contradict each other: no socket of that family has such "+
				"an address", []string{"addr", "laddr", "raddr"}[i]), "leave out one of them"}
		}
	}
	if len(s.Ports) > 0 && families(format.FamilyUnix) {
		return &usageError{errors.New("--port and --family contradict each other: UNIX sockets have no port"),
			"leave out one of them"}
	}
	return nil
}

// contradicts gives an error for flags that make no sense together.
func (o *selectOptions) contradicts(command bool) error {
	switch {
	case o.follow && len(o.pids) == 0:
		return &usageError{errors.New("--follow needs --pid: it takes what that process starts"), "like -p 1234 --follow"}
	case o.onlyCommand && !command:
		return &usageError{errors.New("--only-command needs a command"),
			"like acc record --only-command -- nginx -g 'daemon off;'"}
	case o.onlyCommand && len(o.pids) > 0:
		return &usageError{errors.New("--only-command and --pid contradict each other: both say which processes"),
			"give one of them"}
	}
	return nil
}

// withNear gives an error about an unknown name the names that are nearest to it.
func withNear(err error) error {
	unknown := new(capture.UnknownError)
	if !errors.As(err, &unknown) {
		return err
	}
	near := nearest(unknown.Name, unknown.All)
	if unknown.What == "process" {
		for i, pid := range near {
			near[i] = fmt.Sprintf("%s (%s)", pid, format.Quote(capture.CommOf(pid)))
		}
	}
	if len(near) == 0 {
		return &hinted{err, "acc sees none here at all: run it as root and on the host itself, " +
			"or select by --comm, --pid or --port"}
	}
	hint := "the nearest: " + strings.Join(near, ", ")
	if n := len(unknown.All) - len(near); n > 0 {
		hint += fmt.Sprintf(", and %d more", n)
	}
	return &hinted{err, hint}
}

// nearest gives at most 5 of some names, those first that are nearest to one.
func nearest(name string, all []string) []string {
	name = strings.ToLower(name)
	far := func(n string) int {
		n = strings.ToLower(n)
		if strings.Contains(n, name) || strings.Contains(name, n) {
			return 0
		}
		return distance(name, n)
	}
	list := slices.Clone(all)
	slices.SortStableFunc(list, func(a, b string) int { return far(a) - far(b) })
	list = list[:min(5, len(list))]
	for i := range list {
		list[i] = format.Quote(list[i])
	}
	return list
}

// words are a criterion, and its values.
func words(what string, list []string) string {
	quoted := make([]string, len(list))
	for i, w := range list {
		quoted[i] = format.Quote(w)
	}
	return what + " " + strings.Join(quoted, " or ")
}

func (o *selectOptions) sockets(s *capture.Selection) error {
	for _, p := range o.ports {
		first, last, ranged := strings.Cut(p, "-")
		if !ranged {
			last = first
		}
		a, err1 := strconv.ParseUint(first, 10, 16)
		b, err2 := strconv.ParseUint(last, 10, 16)
		if errors.Join(err1, err2) != nil || a == 0 || a > b {
			return &usageError{fmt.Errorf("--port %q is no port from 1 to 65535, and no range of them", p),
				"like --port 443 or --port 8000-8099"}
		}
		s.Ports = append(s.Ports, capture.PortRange{First: uint16(a), Last: uint16(b)})
	}
	if len(o.ports) > 0 {
		s.Words = append(s.Words, words("port", o.ports))
	}
	for _, w := range o.families {
		f, ok := families[w]
		if !ok {
			return &usageError{fmt.Errorf("--family %q is not ipv4, ipv6, unix, vsock or smc", w),
				"like --family ipv4,ipv6"}
		}
		s.Families = append(s.Families, f)
	}
	if len(o.families) > 0 {
		s.Words = append(s.Words, words("family", o.families))
	}
	for _, w := range o.netns {
		n, err := capture.FindNetNS(w)
		if err != nil {
			return fmt.Errorf("--netns: %w", err)
		}
		s.NetNS = append(s.NetNS, n)
	}
	if len(o.netns) > 0 {
		s.Words = append(s.Words, words("network namespace", o.netns))
	}
	return nil
}

func (o *selectOptions) addresses(s *capture.Selection) error {
	for _, x := range []struct {
		flag, what string
		words      []string
		list       *[]netip.Prefix
	}{
		{"addr", "address", o.addrs, &s.Addrs},
		{"laddr", "local address", o.laddrs, &s.LAddrs},
		{"raddr", "peer's address", o.raddrs, &s.RAddrs},
	} {
		for _, w := range x.words {
			p, err := netip.ParsePrefix(w)
			if err != nil {
				a, err := netip.ParseAddr(w)
				if err != nil || a.Zone() != "" {
					return &usageError{fmt.Errorf("--%s %q is no address, and no network", x.flag, w),
						"like --" + x.flag + " 10.0.0.0/8"}
				}
				a = a.Unmap()
				p = netip.PrefixFrom(a, a.BitLen())
			}
			*x.list = append(*x.list, p.Masked())
		}
		if len(x.words) > 0 {
			s.Words = append(s.Words, words(x.what, x.words))
		}
	}
	return nil
}

func (o *selectOptions) tasks(s *capture.Selection) error {
	for _, w := range o.pids {
		n, err := strconv.ParseUint(w, 10, 31)
		if err != nil || n == 0 {
			return &usageError{fmt.Errorf("--pid %q is no process id", w),
				"like --pid 1234; --comm nginx takes processes by their name"}
		}
		if err := capture.FindProcess(uint32(n)); err != nil {
			return fmt.Errorf("--pid: %w", err)
		}
		s.PIDs = append(s.PIDs, uint32(n))
	}
	if len(o.pids) > 0 {
		text := words("process", o.pids)
		if o.follow {
			text += " and what it starts"
		}
		s.Words = append(s.Words, text)
	}
	for _, w := range o.comms {
		if w == "" {
			return &usageError{errors.New("--comm is empty"), "like --comm nginx"}
		}
		s.Comms = append(s.Comms, w[:min(15, len(w))])
	}
	if len(o.comms) > 0 {
		s.Words = append(s.Words, words("name", s.Comms))
	}
	for _, w := range o.uids {
		id := w
		if u, err := user.Lookup(w); err == nil {
			id = u.Uid
		}
		n, err := strconv.ParseUint(id, 10, 32)
		if err != nil {
			return withNear(fmt.Errorf("--uid: %w", &capture.UnknownError{What: "user", Name: w, All: userNames()}))
		}
		s.UIDs = append(s.UIDs, uint32(n))
	}
	if len(o.uids) > 0 {
		s.Words = append(s.Words, words("user", o.uids))
	}
	return nil
}

// userNames are the users that this host knows, and those that have processes.
func userNames() (list []string) {
	b, _ := os.ReadFile("/etc/passwd")
	for line := range strings.Lines(string(b)) {
		if name, _, ok := strings.Cut(line, ":"); ok && name != "" && name[0] != '#' {
			list = append(list, name)
		}
	}
	for _, uid := range capture.Names(capture.KindUID) {
		if name := userName(uid); name != "" && !slices.Contains(list, name) {
			list = append(list, name)
		}
	}
	return list
}

// groups are all that is found by cgroups: of several flags, what is in all of them.
func (o *selectOptions) groups(s *capture.Selection) error {
	for _, x := range []struct {
		kind  string
		words []string
	}{
		{capture.KindCgroup, o.cgroups}, {capture.KindContainer, o.containers}, {capture.KindPod, o.pods},
		{capture.KindUnit, o.units},
	} {
		if len(x.words) == 0 {
			continue
		}
		var list []capture.Cgroup
		for _, w := range x.words {
			if x.kind == capture.KindPod && !strings.Contains(w, "/") {
				return &usageError{fmt.Errorf("--pod %q has no namespace", w), "like --pod default/" + w}
			}
			found, err := capture.FindCgroups(x.kind, w)
			if err != nil {
				return fmt.Errorf("--%s: %w", x.kind, err)
			}
			list = append(list, found...)
		}
		s.Words = append(s.Words, words(x.kind, x.words))
		if s.Cgroups == nil {
			s.Cgroups = list
			continue
		}
		if s.Cgroups = inBoth(s.Cgroups, list); len(s.Cgroups) == 0 {
			return &hinted{errors.New("no cgroup is " + strings.Join(s.Words[len(s.Words)-2:], " and ")),
				"several flags select what fits all of them"}
		}
	}
	return nil
}

// inBoth are the cgroups of each list that are in, or below, one of the other.
func inBoth(a, b []capture.Cgroup) (list []capture.Cgroup) {
	for _, x := range a {
		for _, y := range b {
			switch {
			case x.Path == y.Path || strings.HasPrefix(x.Path, y.Path+"/"):
				list = append(list, x)
			case strings.HasPrefix(y.Path, x.Path+"/"):
				list = append(list, y)
			}
		}
	}
	return list
}

// sayStart says what is selected, and if that is nothing by now.
func sayStart(w io.Writer, s *capture.Selection, started *capture.Started) {
	if !s.Any() {
		return
	}
	what := format.Quote(strings.Join(s.Words, " and "))
	if started.Listeners > 0 {
		fmt.Fprintf(w, "acc: selected: %s (%s now)\n", what, humanize.Plural(uint64(started.Listeners), "listener"))
		return
	}
	fmt.Fprintf(w, "acc: selected: %s\n", what)
	why := ""
	if len(s.Ports) > 0 {
		if in := started.Ports; len(in) > 0 {
			why = "; ports in use: " + strings.Join(nearest(s.Ports[0].String(), in), ", ")
		}
	}
	fmt.Fprintf(w, "acc: NOTHING that listens now is selected%s; acc records what comes\n", why)
}

// saySelected says at the end what the selection left out.
func saySelected(w io.Writer, s *capture.Selection, end *format.End) {
	if s.Any() {
		fmt.Fprintf(w, "acc: filtered %s: not selected (recorded: %s)\n", humanize.Plural(filteredBy(end), "event"),
			format.Quote(strings.Join(s.Words, " and ")))
	}
}
