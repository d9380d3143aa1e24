//go:build amd64 || arm64

package capture

// This file has the probes of the life of connections.

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/acc-project/acc/bpf"
	"github.com/acc-project/acc/format"
)

const (
	noQueued    = "connections are not seen to be queued"
	noCookies   = "connections made from SYN cookies, or by TCP fast open, are not seen to be queued"
	noClosed    = "connections are not seen to end"
	noSYNDrops  = "connections that are dropped at their SYN are not seen"
	noACKDrops  = "connections over IPv4 that are dropped at the end of their handshake are not seen"
	noACK6Drops = "connections over IPv6 that are dropped at the end of their handshake are not seen"
	noForgotten = "queued connections that are lost with their listener are not seen"
	noListens   = "sockets that begin to listen are not seen"
	noStops     = "when a listener stops, who stopped it and how is not seen, but for what clients it loses"
	noMoves     = "connections in the queue of a listener that stops are not seen to be moved to another one " +
		"(net.ipv4.tcp_migrate_req)"
	noRelisten = "listen() of a socket that listens already is not seen: that its queue gets another limit shows " +
		"when a connection comes"
	noNested  = "connections that end while the CPU is in another change of state are not seen to end"
	noGone    = "clients that close their side before accept are not seen to do so"
	noWaiting = "a SYN for a connection in TIME-WAIT is taken for one that is dropped, while the SYN queue is full"
)

// Those in softirq are trampolines in both modes: a kprobe program is not run where
// it interrupts another one.
var (
	lifeTrampolines = []probe{
		{program: "fentry_hashdance", symbol: "inet_csk_complete_hashdance", how: "fentry", index: probeHashdance,
			without: noQueued},
		{program: "fentry_queue_add", symbol: "inet_csk_reqsk_queue_add", how: "fentry", index: probeQueueAdd,
			without: noCookies},
		{program: "fentry_conn_request", symbol: "tcp_conn_request", how: "fentry", index: probeConnRequest,
			without: noSYNDrops},
		{program: "fentry_v4_syn_recv", symbol: "tcp_v4_syn_recv_sock", how: "fentry", index: probeSynRecv,
			without: noACKDrops},
		{program: "fentry_v6_syn_recv", symbol: "tcp_v6_syn_recv_sock", how: "fentry", index: probeSynRecv,
			without: noACK6Drops},
		{program: "fentry_child_forget", symbol: "inet_child_forget", how: "fentry", index: probeChildForget,
			without: noForgotten},
		{program: "fexit_listen_start", symbol: "inet_csk_listen_start", how: "fexit", index: probeListen,
			without: noListens},
		{program: "fentry_inet_listen", symbol: "inet_listen", how: "fentry", index: probeRelisten,
			without: noRelisten},
		{program: "fentry_inet_listen_sk", symbol: "__inet_listen_sk", how: "fentry", index: probeRelisten,
			without: noRelisten, never: true},
		{program: "fentry_listen_stop", symbol: "inet_csk_listen_stop", how: "fentry", index: probeListenStop,
			without: noStops},
		{program: "fexit_migrate_sock", symbol: "reuseport_migrate_sock", how: "fexit", index: probeMigrate,
			without: noMoves, never: true},
		{program: "fentry_tcp_done", symbol: "tcp_done", how: "fentry", index: probeDone, without: noNested},
		{program: "fentry_tcp_fin", symbol: "tcp_fin", how: "fentry", index: probeFin, without: noGone},
		{program: "fentry_twsk_deschedule", symbol: "inet_twsk_deschedule_put", how: "fentry", index: probeConnRequest,
			without: noWaiting},
		unixRefusals,
		lifeStates,
	}
	// Where the kernel has no trampolines. Programs of kprobes get no cookies.
	lifeKprobes = []probe{
		{program: "kprobe_hashdance", symbol: "inet_csk_complete_hashdance", how: "kprobe", index: probeHashdance,
			without: noQueued},
		{program: "kprobe_queue_add", symbol: "inet_csk_reqsk_queue_add", how: "kprobe", index: probeQueueAdd,
			without: noCookies},
		{program: "kprobe_conn_request", symbol: "tcp_conn_request", how: "kprobe", index: probeConnRequest,
			without: noSYNDrops},
		{program: "kprobe_v4_syn_recv", symbol: "tcp_v4_syn_recv_sock", how: "kprobe", index: probeSynRecv,
			without: noACKDrops},
		{program: "kprobe_v6_syn_recv", symbol: "tcp_v6_syn_recv_sock", how: "kprobe", index: probeSynRecv,
			without: noACK6Drops},
		{program: "kprobe_child_forget", symbol: "inet_child_forget", how: "kprobe", index: probeChildForget,
			without: noForgotten},
		lifeStates,
	}
	lifeStates = probe{program: "tp_inet_sock_set_state", symbol: "inet_sock_set_state", how: "tp_btf",
		index: probeClosed, without: noClosed}
)

// lifeProbes are the probes on the life of connections that this kernel can have.
func lifeProbes(o *Options, types *btf.Cache) []probe {
	switch {
	case o.Events == EventsAccept:
		return nil
	case !trampolines(types):
		return lifeKprobes
	case o.Select.Any(): // whose listener it is that refuses is not known there
		return slices.DeleteFunc(slices.Clone(lifeTrampolines), func(p probe) bool { return p.without == noUnixRefused })
	}
	return lifeTrampolines
}

// trampolines reports whether the kernel can attach fentry programs.
func trampolines(types *btf.Cache) bool {
	c, err := ebpf.NewCollectionWithOptions(&ebpf.CollectionSpec{Programs: map[string]*ebpf.ProgramSpec{"none": {
		Type: ebpf.Tracing, AttachType: ebpf.AttachTraceFEntry, AttachTo: "inet_csk_complete_hashdance",
		License:      "Dual BSD/GPL",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.Return()},
	}}}, ebpf.CollectionOptions{Cache: types})
	if err != nil {
		return false
	}
	defer c.Close()
	l, err := link.AttachTracing(link.TracingOptions{Program: c.Programs["none"]})
	if err != nil {
		return false
	}
	return l.Close() == nil
}

// dropsWaiting reports whether a full SYN queue drops SYNs for connections in
// TIME-WAIT, too. It was never meant to; but before Linux 6.10, which notes them for the
// CPU (tcp_tw_isn), their mark in the packet was overwritten on the way.
func dropsWaiting() bool {
	release, _ := kernelName()
	return olderThan(release, 6, 10)
}

// hasLife reports whether the life of connections is recorded.
func (a *attached) hasLife() bool {
	return slices.ContainsFunc(a.probes, func(p probe) bool { return p.index >= probeHashdance })
}

// setLife sets what the programs on the life of connections depend on. It finds out
// whether all events of a connection can have its cookie, which the first one makes.
func (a *attached) setLife(o *Options, spec *ebpf.CollectionSpec) error {
	v := spec.Variables["with_cookies"]
	var with uint32
	if err := v.Get(&with); err != nil {
		return fmt.Errorf("set up the programs: %w", err)
	}
	if o.fullAtLimit {
		if err := spec.Variables["full_at_limit"].Set(uint32(1)); err != nil {
			return fmt.Errorf("set up the programs: %w", err)
		}
	}
	if a.has(noGone) {
		if err := spec.Variables["with_fins"].Set(uint32(1)); err != nil {
			return fmt.Errorf("set up the programs: %w", err)
		}
	}
	a.cookies = with != 0 && !slices.ContainsFunc(a.probes,
		func(p probe) bool { return p.program == "kprobe_hashdance" })
	if a.cookies {
		return nil
	}
	if err := v.Set(uint32(0)); err != nil {
		return fmt.Errorf("set up the programs: %w", err)
	}
	return nil
}

// startLife makes only the probes on the life of connections live.
func startLife(o *Options, types *btf.Cache, life []probe) (*attached, error) {
	mode := ModeKprobe
	life = slices.Clone(life)
	for i := range life {
		switch life[i].program {
		case "fentry_hashdance":
			mode = ModeFentry
			fallthrough
		case "kprobe_hashdance", "tp_inet_sock_set_state":
			life[i].without = "" // there is no recording without them
		}
	}
	return tryObjects(o, types, mode, life)
}

// lifeIn is the event of a connection's life that a record of the ring is.
func lifeIn(raw []byte) (*bpf.AccLifeEvent, bool) {
	if uintptr(len(raw)) != unsafe.Sizeof(bpf.AccLifeEvent{}) {
		return nil, false
	}
	return (*bpf.AccLifeEvent)(unsafe.Pointer(unsafe.SliceData(raw))), true
}

// notePlaces tells the programs where something listened when the recording began.
func (a *attached) notePlaces(listeners []format.ListenSocket) error {
	for _, l := range listeners {
		if l.LPort == 0 {
			continue
		}
		err := a.collection.Maps["places"].Update(bpf.AccPlace{Netns: l.NetNS, Port: l.LPort}, uint8(1), ebpf.UpdateAny)
		if errors.Is(err, unix.E2BIG) { // then a port counts in all namespaces
			err = a.collection.Variables["places_full"].Set(uint32(1))
		}
		if err != nil {
			return fmt.Errorf("note what is listened on: %w", err)
		}
		if err := a.setPlaced(l.LPort, l.NetNS); err != nil {
			return fmt.Errorf("note what is listened on: %w", err)
		}
	}
	return nil
}

// setPlaced sets one member of placed_last: the programs may set others at the same time.
func (a *attached) setPlaced(port uint16, netns uint32) error {
	last, err := a.collection.Maps["placed_last"].Memory()
	if err != nil {
		return err
	}
	_, err = last.WriteAt(binary.NativeEndian.AppendUint32(nil, netns), 4*int64(port))
	return err
}

// testLife makes two TCP connections to itself, resets one and closes one side of the
// other before they are accepted, and closes the listener.
func (a *attached) testLife() error {
	if !a.hasLife() {
		return nil
	}
	if err := a.testUnixRefused(); err != nil {
		return err
	}
	a.testPlace = bpf.AccPlace{Netns: uint32(namespace("/proc/thread-self/ns/net"))}
	listener, why := a.listenOnce()
	if why == nil {
		why = connectTwice(listener)
	}
	fired := map[string]bool{}
	early, late := []string{noQueued, noListens, noRelisten, noNested, noGone}, []string{noClosed, noForgotten, noStops}
	var err error
	if why == nil {
		err = a.awaitLife(fired, early)
	}
	if listener >= 0 {
		_ = unix.Close(listener)
	}
	if err != nil {
		return err
	}
	if why != nil {
		a.untestedLife = oneLine(why)
		return a.awaitLife(fired, nil)
	}
	if err := a.awaitLife(fired, late); err != nil {
		return err
	}
	for _, what := range append(early, late...) {
		a.proved(what, fired[what])
	}
	if a.has(noMoves) {
		if err := a.collection.Variables["moves_told"].Set(uint32(1)); err != nil {
			return fmt.Errorf("set up the programs: %w", err)
		}
	}
	if fired[noQueued] {
		if err := a.collection.Variables["adds_settled"].Set(uint32(1)); err != nil {
			return fmt.Errorf("set up the programs: %w", err)
		}
	}
	return nil
}

// awaitLife takes what is in the ring until each of the probes on the self-test's
// connections that show something, and are there, has fired. The kernel may leave
// packets to another task.
func (a *attached) awaitLife(fired map[string]bool, tested []string) error {
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		if err := a.readEarly(); err != nil {
			return err
		}
		for i := range a.early {
			r := &a.early[i]
			if l, ok := lifeIn(r.raw); ok && a.ownLife(l) {
				r.own = true
				switch format.Hook(l.Hook) {
				case format.HookHashdance:
					fired[noQueued] = true
				case format.HookSetState:
					fired[noClosed] = true
				case format.HookChildForget:
					fired[noForgotten] = true
				case format.HookTCPDone:
					fired[noNested] = true
				case format.HookTCPFin:
					fired[noGone] = true
				}
			} else if e, ok := eventIn(r.raw); ok && a.ours(e) && e.Kind >= uint8(format.Listen) {
				r.own = true
				switch format.Hook(e.Hook) {
				case format.HookInetListen:
					fired[noRelisten] = true
				case format.HookListenStart:
					fired[noListens] = true
				case format.HookListenStop:
					fired[noStops] = true
				}
			}
		}
		if !slices.ContainsFunc(tested, func(what string) bool { return a.has(what) && !fired[what] }) ||
			time.Now().After(deadline) {
			return nil
		}
	}
}

// has reports whether a probe is attached that shows something.
func (a *attached) has(what string) bool {
	return slices.ContainsFunc(a.probes, func(p probe) bool { return p.without == what }) &&
		!slices.Contains(a.limits, what)
}

// ownLife reports whether an event is of the self-test's connection.
func (a *attached) ownLife(l *bpf.AccLifeEvent) bool {
	return l.Lport == a.testPlace.Port && l.Netns == a.testPlace.Netns
}

// listenOnce opens a listener for the self-test.
func (a *attached) listenOnce() (fd int, err error) {
	fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("open a TCP socket: %w", err)
	}
	a.owns(fd)
	addr := &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}
	// twice, for both probes
	if err := errors.Join(unix.Bind(fd, addr), unix.Listen(fd, 1), unix.Listen(fd, 1)); err != nil {
		return fd, fmt.Errorf("listen on the loopback: %w", err)
	}
	bound, err := unix.Getsockname(fd)
	if err != nil {
		return fd, err
	}
	a.testPlace.Port = uint16(bound.(*unix.SockaddrInet4).Port)
	return fd, nil
}

// connectTwice makes a connection that its client resets, and one that it closes.
func connectTwice(listener int) error {
	to, err := unix.Getsockname(listener)
	if err != nil {
		return err
	}
	for _, reset := range []bool{true, false} {
		client, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("open a TCP socket: %w", err)
		}
		_ = unix.SetsockoptTimeval(client, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &unix.Timeval{Sec: 1}) // bounds connect
		err = connect(client, to)
		if err == nil && reset {
			// On another CPU, the reset may overtake the end of the handshake: then there is no connection that it
			// ends.
			_, _ = unix.Poll([]unix.PollFd{{Fd: int32(listener), Events: unix.POLLIN}}, 1000)
			err = unix.SetsockoptLinger(client, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
		}
		_ = unix.Close(client)
		if err != nil {
			return fmt.Errorf("connect over the loopback: %w", err)
		}
	}
	return nil
}

// connect connects, whatever signals interrupt it: the handshake goes on meanwhile.
func connect(fd int, to unix.Sockaddr) error {
	err := unix.Connect(fd, to)
	for tries := 0; (err == unix.EINTR || err == unix.EALREADY) && tries < 100; tries++ {
		_, _ = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}, 10)
		err = unix.Connect(fd, to)
	}
	if err == unix.EISCONN {
		return nil
	}
	return err
}

// snapshot lists what listens and, where the life of connections is recorded, their
// connections, at the beginning or at the end of the recording.
func (a *attached) snapshot(final bool, giveUp func() bool) format.Snapshot {
	shot := format.Snapshot{Final: final}
	sockets(&shot, a.hasLife(), giveUp)
	if !a.cookies {
		for i := range shot.Connections {
			shot.Connections[i].Cookie = 0 // their other events have none
		}
	}
	shot.BootNS = bootNS()
	return shot
}

// describeLife says what the recording of connections' lives can't show.
func (a *attached) describeLife() (limits []string) {
	if !a.hasLife() {
		return nil
	}
	if a.untestedLife != "" {
		limits = append(limits,
			"the probes on the life of connections could not be tried at the start: "+a.untestedLife)
	}
	if slices.ContainsFunc(a.probes, func(p probe) bool { return p.program == "kprobe_hashdance" }) {
		limits = append(limits, noListens, noRelisten, noStops, noMoves, noUnixRefused)
	}
	if !a.cookies {
		limits = append(limits,
			"this kernel has no cookies of connections for probes: addresses and ports tell them apart")
	}
	return limits
}
