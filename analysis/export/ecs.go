package export

// This file writes documents of the Elastic Common Schema. https://www.elastic.co/docs/reference/ecs

import (
	"net/netip"
	"strings"

	"github.com/acc-project/acc/analysis/communityid"
	"github.com/acc-project/acc/analysis/conntrack"
	"github.com/acc-project/acc/format"
)

// ecsVersion is the version of the schema that documents follow.
const ecsVersion = "9.4.0"

// ecsEnd is source or destination.
type ecsEnd struct {
	Address string  `json:"address"`
	IP      string  `json:"ip"`
	Port    uint16  `json:"port"`
	Bytes   *uint64 `json:"bytes,omitempty"`
	Packets *uint32 `json:"packets,omitempty"`
}

func ecsEndOf(a netip.AddrPort) ecsEnd {
	return ecsEnd{Address: a.Addr().String(), IP: a.Addr().String(), Port: a.Port()}
}

// named is what has a name or an id alone.
type (
	ecsID struct {
		ID string `json:"id"`
	}
	ecsName struct {
		Name string `json:"name"`
	}
	ecsPod struct {
		Type      string  `json:"type"`
		Namespace string  `json:"namespace"`
		Resource  ecsName `json:"resource"`
	}
	ecsProcess struct {
		PID        uint32 `json:"pid"`
		Name       string `json:"name"`
		Executable string `json:"executable,omitempty"`
		Thread     ecsNum `json:"thread"`
	}
	ecsNum struct {
		ID uint32 `json:"id"`
	}
)

// ecsDocument is one connection.
type ecsDocument struct {
	Timestamp string            `json:"@timestamp,omitempty"`
	ECS       map[string]string `json:"ecs"`
	Event     struct {
		Kind     string   `json:"kind"`
		Category []string `json:"category"`
		Type     []string `json:"type"`
		Action   string   `json:"action"`
		Outcome  string   `json:"outcome"`
		Dataset  string   `json:"dataset"`
		Module   string   `json:"module"`
		ID       string   `json:"id"`
		Start    string   `json:"start,omitempty"`
		End      string   `json:"end,omitempty"`
		Duration *int64   `json:"duration,omitempty"` // nanoseconds
	} `json:"event"`
	Host        map[string]string `json:"host"`
	Source      ecsEnd            `json:"source"`
	Destination ecsEnd            `json:"destination"`
	Network     struct {
		Transport   string  `json:"transport"`
		Type        string  `json:"type,omitempty"`
		Direction   string  `json:"direction"`
		CommunityID string  `json:"community_id,omitempty"`
		Bytes       *uint64 `json:"bytes,omitempty"`
		Packets     *uint64 `json:"packets,omitempty"`
	} `json:"network"`
	Process      *ecsProcess `json:"process,omitempty"`
	Container    *ecsID      `json:"container,omitempty"`
	Orchestrator *ecsPod     `json:"orchestrator,omitempty"`
	Service      *ecsName    `json:"service,omitempty"` // the systemd unit
	ACC          struct {
		CaptureID   string `json:"capture_id"`
		End         string `json:"end"`
		QueueWaitNS *int64 `json:"queue_wait_ns,omitempty"`
		Refused     uint64 `json:"refused_packets"`
	} `json:"acc"` // no part of ECS, which leaves names to those who need more
}

// ecs writes a connection.
func ecs(o *objects, c *conntrack.Connection) error {
	var d ecsDocument
	d.ECS = map[string]string{"version": ecsVersion}
	from, to, ended, known := o.s.span(c)
	e := &d.Event
	e.Kind, e.Category, e.Dataset, e.Module, e.ID = "event", []string{"network"}, "acc.connection", "acc", o.s.uid(c)
	e.Action, e.Outcome, e.Type = "connection-"+c.End.ID(), "unknown", []string{"connection"}
	switch {
	case c.End.Refused():
		e.Outcome, e.Type = "failure", append(e.Type, "denied")
	case c.AcceptedSeq != 0:
		e.Outcome, e.Type = "success", append(e.Type, "allowed")
	}
	if !c.Before && !c.BeginUnknown {
		e.Type = append(e.Type, "start")
	}
	if ended {
		e.Type = append(e.Type, "end")
	}
	if known {
		d.Timestamp, e.Start = rfc3339(from), rfc3339(from)
		if ended {
			length := to - from
			e.End, e.Duration = rfc3339(to), &length
		}
	}
	d.Host = map[string]string{"name": o.s.Host(), "hostname": o.s.Host()}
	d.Source, d.Destination = ecsEndOf(client(c)), ecsEndOf(server(c))
	n := &d.Network
	n.Transport, n.Type, n.Direction = "tcp", family(client(c).Addr()), "ingress"
	n.CommunityID = communityid.Of(format.ProtoTCP, c.Local, c.Remote)
	if c.Counted {
		in, out := c.BytesIn, c.BytesOut
		both := in + out
		d.Source.Bytes, d.Destination.Bytes, n.Bytes = &in, &out, &both
	}
	if c.ClosedSeq != 0 {
		in, out := c.SegsIn, c.SegsOut
		both := uint64(in) + uint64(out)
		d.Source.Packets, d.Destination.Packets, n.Packets = &in, &out, &both
	}
	if c.TID != 0 {
		d.Process = &ecsProcess{PID: c.PID, Name: format.Quote(c.Comm), Thread: ecsNum{c.TID}}
	}
	if p := c.Process; p != nil {
		if d.Process != nil {
			d.Process.Executable = format.Quote(p.Exe)
		}
		if p.Container != "" {
			d.Container = &ecsID{p.Container}
		}
		if namespace, name, ok := strings.Cut(p.Pod, "/"); ok {
			d.Orchestrator = &ecsPod{"kubernetes", namespace, ecsName{name}}
		}
		if p.Unit != "" {
			d.Service = &ecsName{format.Quote(p.Unit)}
		}
	}
	d.ACC.CaptureID, d.ACC.End, d.ACC.Refused = o.s.ID(), c.End.ID(), c.RefusedPackets
	if c.QueueWaitNS >= 0 {
		wait := c.QueueWaitNS
		d.ACC.QueueWaitNS = &wait
	}
	return o.json.Encode(&d)
}
