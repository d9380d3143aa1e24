package filter

// This file has the fields of events: those of the format's table, and what follows from them.

import (
	"net/netip"
	"strings"

	"github.com/acc-project/acc/analysis/communityid"
	"github.com/acc-project/acc/format"
)

type event = format.Event

// EventFields are the fields of events, in the order of the table, and behind them what follows from
// several. findings are the ids that a finding can have.
func EventFields(findings []string) []Field[event] {
	list := []Field[event]{
		{Name: "seq", Kind: Number, Doc: "position in the capture, from 1",
			Int: func(e *event, _ *Env) (int64, bool) { return int64(e.Seq), true }},
		{Name: "ts", Kind: Time, Doc: "wall clock time of the event",
			Int: func(e *event, _ *Env) (int64, bool) { return e.BootNS, true }},
	}
	for i := range format.Fields {
		list = append(list, eventFields(&format.Fields[i])...)
	}
	list = append(list, Field[event]{Name: "community_id", Kind: Text,
		Doc: "Community ID (version 1) of the connection, as Zeek, Suricata and Arkime have it",
		Text: func(e *event, _ *Env) (string, bool) {
			id := communityid.Of(e.Proto, e.Local(), e.Remote())
			return id, id != ""
		}})
	list = append(list, ProcessFields(func(e *event, env *Env) *format.Process { return ByNumber(env, e.Proc) })...)
	return append(list, FindingsField(findings, func(e *event) (uint32, uint64) { return e.NetNS, e.Listener }))
}

// eventFields makes what the language has of a field of the table: the field as JSON has it and, of a
// number with a unit, the quantity.
func eventFields(f *format.Field) []Field[event] {
	own := Field[event]{Name: f.Name, Doc: f.JSONDoc(), Words: f.JSONWords()}
	number := func(e *event, _ *Env) (int64, bool) { return f.Int(e), f.Has(e) }
	switch {
	case f.JSONType() == "array of strings":
		own.Kind, own.List = List, func(e *event, _ *Env) []string { return format.MarkNames(uint16(f.Int(e))) }
		return []Field[event]{own}
	case f.Names != nil:
		own.Kind, own.Text = Text, func(e *event, _ *Env) (string, bool) {
			n := f.Int(e)
			return f.Word(n), f.Has(e) && (n != 0 || f.Name != "errno")
		}
		return []Field[event]{own}
	case f.Type == format.String:
		own.Kind, own.Text = Text, func(e *event, _ *Env) (string, bool) { return f.Str(e), f.Has(e) }
		return []Field[event]{own}
	case f.Type == format.Addr:
		own.Kind, own.Addr = Address, func(e *event, _ *Env) (netip.Addr, bool) {
			a := f.Addr(e)
			return a, a.IsValid()
		}
		return []Field[event]{own}
	case f.Type == format.Bool:
		own.Kind, own.Yes = Flag, func(e *event, _ *Env) (bool, bool) { return f.Int(e) != 0, f.Has(e) }
		return []Field[event]{own}
	case f.Name == "bytes_in":
		number = func(e *event, _ *Env) (int64, bool) {
			in, _ := e.StreamBytes()
			return int64(in), f.Has(e)
		}
	case f.Name == "bytes_out":
		number = func(e *event, _ *Env) (int64, bool) {
			_, out := e.StreamBytes()
			return int64(out), f.Has(e)
		}
	}
	own.Kind, own.Int = Number, number
	return Quantities(own, f.Unit, f.Name == "boot_ns")
}

// Quantities gives a number and, if it has a unit, what it measures: of x_us the duration x, of x_ns the
// duration x or, of a moment, the time x_at. A number of bytes is a size. boot_ns is ts by another name.
func Quantities[T any](f Field[T], unit string, moment bool) []Field[T] {
	q := f
	switch unit {
	case "B":
		q.Kind = Size
		return []Field[T]{q}
	case "ns":
		base := strings.TrimSuffix(strings.TrimSuffix(f.Name, "_ns"), "_boot")
		switch {
		case moment && base == "boot":
			return []Field[T]{f}
		case moment:
			q.Name, q.Kind = base+"_at", Time
		default:
			q.Name, q.Kind = base, Duration
		}
	case "µs":
		q.Name, q.Kind = strings.TrimSuffix(f.Name, "_us"), Duration
		q.Int = func(v *T, env *Env) (int64, bool) {
			n, known := f.Int(v, env)
			return n * 1000, known
		}
	default:
		return []Field[T]{f}
	}
	return []Field[T]{q, f}
}
