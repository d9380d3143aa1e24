//go:build linux && (amd64 || arm64)

package capture

import (
	"maps"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"

	"github.com/acc-project/acc/format"
)

// enums are the numbers that the programs and this package share, by their names in C.
var enums = map[string]map[string]uint64{
	"kind": {
		"ENTER": uint64(format.Enter), "RETURN": uint64(format.Return), "QUEUED": uint64(format.Queued), "CLOSED": uint64(format.Closed),
		"DROP": uint64(format.Drop), "STATE": uint64(format.State), "LISTEN": uint64(format.Listen), "STOP": uint64(format.Stop),
	},
	"hook": {
		"HOOK_SYS_ACCEPT4": uint64(format.HookSysAccept4), "HOOK_DO_ACCEPT": uint64(format.HookDoAccept), "HOOK_IO_ACCEPT": uint64(format.HookIOAccept),
		"HOOK_IO_COMPLETE": uint64(format.HookIOComplete), "HOOK_KERNEL_ACCEPT": uint64(format.HookKernelAccept),
		"HOOK_SYS_EXIT": uint64(format.HookSysExit), "HOOK_FD_INSTALL": uint64(format.HookFDInstall), "HOOK_HASHDANCE": uint64(format.HookHashdance),
		"HOOK_QUEUE_ADD": uint64(format.HookQueueAdd), "HOOK_SET_STATE": uint64(format.HookSetState), "HOOK_CONN_REQUEST": uint64(format.HookConnRequest),
		"HOOK_SYN_RECV": uint64(format.HookSynRecv), "HOOK_CHILD_FORGET": uint64(format.HookChildForget), "HOOK_LISTEN_START": uint64(format.HookListenStart),
		"HOOK_TCP_DONE": uint64(format.HookTCPDone), "HOOK_TCP_FIN": uint64(format.HookTCPFin),
		"HOOK_INET_LISTEN": uint64(format.HookInetListen), "HOOK_MIGRATE_SOCK": uint64(format.HookMigrateSock),
		"HOOK_LISTEN_STOP": uint64(format.HookListenStop),
	},
	"via": {
		"VIA_UNKNOWN": uint64(format.ViaUnknown), "VIA_ACCEPT": uint64(format.ViaAccept), "VIA_ACCEPT4": uint64(format.ViaAccept4),
		"VIA_SOCKETCALL": uint64(format.ViaSocketcall), "VIA_IO_URING": uint64(format.ViaIOUring), "VIA_KERNEL": uint64(format.ViaKernel),
	},
	"mark": {
		"MARK_ENTER_LOST": format.MarkEnterLost, "MARK_PREV_MISSED": format.MarkPrevMissed, "MARK_NO_FACTS": format.MarkNoFacts,
		"MARK_ARMED": format.MarkArmed, "MARK_CLIENT_LOST": format.MarkClientLost, "MARK_BEFORE": format.MarkBefore, "MARK_NO_FD": format.MarkNoFD,
		"MARK_DENIED": format.MarkDenied, "MARK_SYN_COOKIE": format.MarkSynCookie, "MARK_FAST_OPEN": format.MarkFastOpen,
		"MARK_DEFERRED": format.MarkDeferred, "MARK_SYN_QUEUE": format.MarkSynQueue, "MARK_ADDR_SHORT": format.MarkAddrShort,
		"MARK_ADDR_DIFFERS":   format.MarkAddrDiffers,
		"MARK_ENTER_LEFT_OUT": format.MarkEnterLeftOut,
	},
	"uring": {"URING_MULTISHOT": format.UringMultishot, "URING_DIRECT": format.UringDirect, "URING_REGISTERED": format.UringRegistered},
	"uring_end": {
		"GOES_ON": uint64(format.UringGoesOn), "END_QUEUE_FULL": uint64(format.UringQueueFull), "END_FAILED": uint64(format.UringFailed),
		"END_CANCELLED": uint64(format.UringCancelled), "END_RING_CLOSED": uint64(format.UringRingClosed), "END_THREAD_ENDED": uint64(format.UringThreadEnded),
	},
	"cause": {
		"CAUSE_UNKNOWN": 0, "CAUSE_HANDSHAKE": uint64(format.CauseHandshake), "CAUSE_DEFER_DATA": uint64(format.CauseDeferData),
		"CAUSE_DEFER_CLOSED": uint64(format.CauseDeferClosed), "CAUSE_DEFER_RAN_OUT": uint64(format.CauseDeferRanOut),
		"CAUSE_COOKIE_ALWAYS": uint64(format.CauseCookieAlways), "CAUSE_COOKIE_FULL": uint64(format.CauseCookieFull),
		"CAUSE_FAST_OPEN": uint64(format.CauseFastOpen), "CAUSE_MOVED": uint64(format.CauseMoved),
		"CAUSE_MOVED_HANDSHAKE": uint64(format.CauseMovedHandshake), "CAUSE_ACCEPT_QUEUE_FULL": uint64(format.CauseAcceptQueueFull),
		"CAUSE_SYN_QUEUE_FULL": uint64(format.CauseSynQueueFull), "CAUSE_ABORTED": uint64(format.CauseAborted),
		"CAUSE_COOKIE_DROPPED": uint64(format.CauseCookieDropped), "CAUSE_LISTENER_CLOSED": uint64(format.CauseListenerClosed),
		"CAUSE_LISTENER_STOPPED": uint64(format.CauseListenerStopped), "CAUSE_LISTENER_SHUT": uint64(format.CauseListenerShut),
		"CAUSE_LISTENER_DISCONNECTED": uint64(format.CauseListenerDisconnected),
		"CAUSE_LISTENER_DESTROYED":    uint64(format.CauseListenerDestroyed), "CAUSE_LISTENER_EXITED": uint64(format.CauseListenerExited),
	},
	"watch_for": {
		"WATCH_RETURNS": watchReturns, "WATCH_BEFORE": watchBefore, "WATCH_DENIED": watchDenied, "WATCH_ENDING": watchEnding,
	},
	"deferral": {"NOT_DEFERRED": 0, "DEFERRED_ENTRY": 1, "DEFERRED_RETURN": 2},
	"probe": {
		"PROBE_ENTER": probeEnter, "PROBE_RETURN": probeReturn, "PROBE_DO_ACCEPT": probeDoAccept, "PROBE_IO_ACCEPT": probeIOAccept,
		"PROBE_IO_COMPLETE": probeIOComplete, "PROBE_KERNEL_ACCEPT": probeKernelAccept, "PROBE_SYS_EXIT": probeSysExit,
		"PROBE_FD_INSTALL": probeFDInstall, "PROBE_HASHDANCE": probeHashdance, "PROBE_QUEUE_ADD": probeQueueAdd, "PROBE_CLOSED": probeClosed,
		"PROBE_STATE": probeState, "PROBE_CONN_REQUEST": probeConnRequest, "PROBE_SYN_RECV": probeSynRecv, "PROBE_CHILD_FORGET": probeChildForget,
		"PROBE_LISTEN": probeListen, "PROBE_DONE": probeDone, "PROBE_FIN": probeFin, "PROBE_RELISTEN": probeRelisten,
		"PROBE_MIGRATE": probeMigrate, "PROBE_LISTEN_STOP": probeListenStop, "NUM_PROBES": numProbes,
	},
}

// The enums of every object are what this package takes them for, no member more or less.
func TestEnums(t *testing.T) {
	for i, object := range objects {
		spec := loadObject(t, object)
		for name, want := range enums {
			var e *btf.Enum
			if err := spec.Types.TypeByName(name, &e); err != nil {
				t.Fatalf("object %d has no enum %s: %v", i, name, err)
			}
			got := map[string]uint64{}
			for _, v := range e.Values {
				got[v.Name] = v.Value
			}
			if !maps.Equal(got, want) {
				t.Errorf("object %d: enum %s is %v, want %v", i, name, got, want)
			}
		}
	}
	for name, n := range map[string]int{"kind": format.NumKinds - 1, "hook": format.NumHooks - 1} {
		if len(enums[name]) != n {
			t.Errorf("%d of enum %s, format has %d", len(enums[name]), name, n)
		}
	}
}

// Each hook and kind is counted at its own place.
func TestProbeOf(t *testing.T) {
	for i, p := range probes {
		if got := probeOf(p.hook, p.kind); got != i {
			t.Errorf("%v %v is counted at %d, want %d", p.hook, p.kind, got, i)
		}
	}
}

func loadObject(t *testing.T, object func() (*ebpf.CollectionSpec, error)) *ebpf.CollectionSpec {
	t.Helper()
	spec, err := object()
	if err != nil {
		t.Fatal(err)
	}
	return spec
}
