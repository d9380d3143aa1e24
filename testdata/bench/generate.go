package main

// This file makes a large capture.

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"

	"github.com/acc-project/acc/format"
)

// generate makes a capture of n events, of a server of four workers that accept
// 100,000 connections a second from 60,000 peers. Times are exponential, as of
// independent clients.
func generate(path string, n int) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer file.Close()
	out := bufio.NewWriterSize(file, 1<<20)
	w, err := format.NewWriter(out, format.Header{
		ID: "00000000-0000-4000-8000-000000000000", Tool: "bench", Host: "made", Kernel: "6.1.0", Arch: "x86_64", CPUs: 4, Mode: "fentry",
		Clock: format.Clock{BootNS: 5_000_000_000_000, MonoNS: 5_000_000_000_000, RealNS: 1_700_005_000_000_000_000}, StartNS: 1_700_005_000_000_000_000,
	}, format.WriterOptions{})
	if err != nil {
		return err
	}
	const workers = 4
	for i := range uint32(workers) {
		if err := w.Process(format.Process{Num: i + 1, PID: 1000 + i, Comm: "server", Exe: "/usr/sbin/server"}); err != nil {
			return err
		}
	}
	r := rand.New(rand.NewPCG(1, 2))
	var hits [workers]uint64
	now := int64(5_000_000_000_000)
	clock := func() format.Clock {
		return format.Clock{BootNS: now, MonoNS: now, RealNS: 1_700_000_000_000_000_000 + now}
	}
	nextClock := now
	listener := netip.AddrFrom4([4]byte{})
	local := netip.AddrFrom4([4]byte{10, 0, 0, 7})
	for i := 0; i+1 < n; i += 2 {
		if now >= nextClock {
			if err := w.Clock(clock()); err != nil {
				return err
			}
			nextClock += 10_000_000_000
		}
		c := uint32(r.IntN(workers))
		hits[c]++
		now += int64(r.ExpFloat64() * 8_000)
		e := format.Event{
			BootNS: now, Kind: format.Enter, Hook: format.HookSysAccept4, Via: format.ViaAccept4, CPU: c, CPUSeq: hits[c], PID: 1000 + c, TID: 1000 + c,
			UID: 33, Comm: "server", Proc: c + 1, Cgroup: 77, NetNS: 4026531840, SockFD: 6, Flags: 0x800, HasAddr: true, HasAddrLen: true, AddrLenIn: 112,
			Listener: 31337, Backlog: uint32(r.IntN(3) + 1), BacklogMax: 511, Family: format.FamilyIPv4, Type: 1, Proto: 6, State: 10, LAddr: listener, LPort: 80,
		}
		if err := w.Event(&e); err != nil {
			return err
		}
		now += 1_500 + int64(r.ExpFloat64()*500)
		peer := r.IntN(60_000)
		e.BootNS, e.Kind, e.HasAddr, e.HasAddrLen, e.AddrLenIn, e.AddrLenOut = now, format.Return, false, false, 0, 16
		e.Ret, e.Backlog, e.State, e.LAddr = int32(8+r.IntN(16)), e.Backlog-1, 1, local
		e.RAddr, e.RPort = netip.AddrFrom4([4]byte{10, 1, byte(peer >> 8), byte(peer)}), uint16(r.IntN(28_000)+32_768)
		e.Inode, e.Cookie = uint64(40_000+i), uint64(i)+7
		if err := w.Event(&e); err != nil {
			return err
		}
	}
	end := format.End{Reason: "made", Clean: true, Totals: []format.ProbeTotal{
		{Hook: format.HookSysAccept4, Kind: format.Enter, Seen: w.Events() / 2, Recorded: w.Events() / 2},
		{Hook: format.HookSysAccept4, Kind: format.Return, Seen: w.Events() / 2, Recorded: w.Events() / 2},
	}, Clock: clock()}
	if err := w.Close(end); err != nil {
		return err
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return file.Close()
}
