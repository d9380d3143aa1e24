package export

// This file writes events of the Open Cybersecurity Schema Framework: Network Activity. https://schema.ocsf.io/1.8.0

import (
	"slices"
	"strconv"

	"github.com/acc-project/acc/analysis"
	"github.com/acc-project/acc/analysis/communityid"
	"github.com/acc-project/acc/analysis/conntrack"
	"github.com/acc-project/acc/analysis/listeners"
	"github.com/acc-project/acc/format"
)

// ocsfVersion is the version of the schema that events follow.
const ocsfVersion = "1.8.0"

// Activities of class 4001, Network Activity.
const (
	ocsfOpen, ocsfClose, ocsfReset, ocsfFail, ocsfListen = 1, 2, 3, 4, 7
)

var ocsfActivities = map[int]string{ocsfOpen: "Open", ocsfClose: "Close", ocsfReset: "Reset", ocsfFail: "Fail",
	ocsfListen: "Listen"}

// ocsfEvent is one event.
type ocsfEvent struct {
	ActivityID   int            `json:"activity_id"`
	ActivityName string         `json:"activity_name"`
	CategoryUID  int            `json:"category_uid"`
	CategoryName string         `json:"category_name"`
	ClassUID     int            `json:"class_uid"`
	ClassName    string         `json:"class_name"`
	TypeUID      int            `json:"type_uid"`
	TypeName     string         `json:"type_name"`
	SeverityID   int            `json:"severity_id"`
	Severity     string         `json:"severity"`
	StatusID     int            `json:"status_id"`
	Status       string         `json:"status"`
	StatusDetail string         `json:"status_detail,omitempty"`
	Time         int64          `json:"time"` // milliseconds
	StartTime    *int64         `json:"start_time,omitempty"`
	EndTime      *int64         `json:"end_time,omitempty"`
	Duration     *int64         `json:"duration,omitempty"` // milliseconds
	Metadata     ocsfMetadata   `json:"metadata"`
	Src          *ocsfEndpoint  `json:"src_endpoint,omitempty"`
	Dst          ocsfEndpoint   `json:"dst_endpoint"`
	Connection   ocsfConnection `json:"connection_info"`
	Traffic      *ocsfTraffic   `json:"traffic,omitempty"`
	Actor        *ocsfActor     `json:"actor,omitempty"`
	Device       ocsfDevice     `json:"device"`
	Unmapped     map[string]any `json:"unmapped,omitempty"`
}

type (
	ocsfMetadata struct {
		Version  string      `json:"version"`
		UID      string      `json:"uid"`
		Product  ocsfProduct `json:"product"`
		Profiles []string    `json:"profiles"`
	}
	ocsfProduct struct {
		Name       string `json:"name"`
		VendorName string `json:"vendor_name"`
		Version    string `json:"version,omitempty"`
	}
	ocsfEndpoint struct {
		IP       string `json:"ip,omitempty"`
		Port     uint16 `json:"port,omitempty"`
		Hostname string `json:"hostname,omitempty"`
	}
	ocsfConnection struct {
		UID          string `json:"uid,omitempty"`
		CommunityUID string `json:"community_uid,omitempty"`
		ProtocolName string `json:"protocol_name"`
		ProtocolNum  int    `json:"protocol_num"`
		VersionID    int    `json:"protocol_ver_id"` // 4, 6, 0 not known
		DirectionID  int    `json:"direction_id"`
		Direction    string `json:"direction"`
	}
	ocsfTraffic struct {
		BytesIn    uint64  `json:"bytes_in"`
		BytesOut   uint64  `json:"bytes_out"`
		Bytes      uint64  `json:"bytes"`
		PacketsIn  *uint64 `json:"packets_in,omitempty"`
		PacketsOut *uint64 `json:"packets_out,omitempty"`
	}
	ocsfActor struct {
		Process ocsfProcess `json:"process"`
	}
	ocsfProcess struct {
		PID       uint32         `json:"pid,omitempty"`
		TID       uint32         `json:"tid,omitempty"`
		Name      string         `json:"name,omitempty"`
		File      *ocsfFile      `json:"file,omitempty"`
		Container *ocsfContainer `json:"container,omitempty"`
	}
	ocsfFile struct {
		Name   string `json:"name"`
		Path   string `json:"path"`
		TypeID int    `json:"type_id"`
	}
	ocsfContainer struct {
		UID     string `json:"uid"`
		PodUUID string `json:"pod_uuid,omitempty"`
	}
	ocsfDevice struct {
		Hostname string `json:"hostname"`
		TypeID   int    `json:"type_id"`
		Type     string `json:"type"`
	}
)

// ocsfNew begins an event of an activity at a time.
func (o *objects) ocsfNew(activity int, unixNS int64, uid string) ocsfEvent {
	name := ocsfActivities[activity]
	e := ocsfEvent{ActivityID: activity, ActivityName: name, CategoryUID: 4, CategoryName: "Network Activity",
		ClassUID: 4001, ClassName: "Network Activity", TypeUID: 400100 + activity, TypeName: "Network Activity: " + name,
		SeverityID: 1, Severity: "Informational", StatusID: 1, Status: "Success", Time: unixNS / 1e6,
		Metadata: ocsfMetadata{Version: ocsfVersion, UID: uid + ":" + name, Profiles: []string{"host"},
			Product: ocsfProduct{Name: "acc", VendorName: "acc-project", Version: format.Quote(o.s.Header.Tool)}},
		Device: ocsfDevice{Hostname: format.Quote(o.s.Host()), TypeID: 1, Type: "Server"}}
	e.Connection = ocsfConnection{ProtocolName: "tcp", ProtocolNum: 6, DirectionID: 1, Direction: "Inbound"}
	if activity == ocsfFail || activity == ocsfReset {
		e.StatusID, e.Status = 2, "Failure"
	}
	return e
}

// ocsf writes an event for the opening of a connection, if the capture has it, and one for its end, if it ended.
func ocsf(o *objects, c *conntrack.Connection) error {
	from, to, ended, _ := o.s.span(c)
	uid := o.s.uid(c)
	fill := func(e *ocsfEvent) {
		src, dst := client(c), server(c)
		e.Src = &ocsfEndpoint{IP: src.Addr().String(), Port: src.Port()}
		e.Dst = ocsfEndpoint{IP: dst.Addr().String(), Port: dst.Port(), Hostname: format.Quote(o.s.Host())}
		e.Connection.UID, e.Connection.CommunityUID = uid, communityid.Of(format.ProtoTCP, c.Local, c.Remote)
		e.Connection.VersionID = map[string]int{"ipv4": 4, "ipv6": 6}[family(src.Addr())]
		e.StatusDetail = string(c.End)
		if c.TID != 0 {
			p := ocsfProcess{PID: c.PID, TID: c.TID, Name: format.Quote(c.Comm)}
			if r := c.Process; r != nil && r.Exe != "" {
				p.File = &ocsfFile{Name: baseName(format.Quote(r.Exe)), Path: format.Quote(r.Exe), TypeID: 1}
			}
			if r := c.Process; r != nil && r.Container != "" {
				p.Container = &ocsfContainer{UID: r.Container, PodUUID: r.PodUID}
			}
			e.Actor = &ocsfActor{p}
		}
		e.Unmapped = map[string]any{"acc_end": c.End.ID(), "acc_capture_id": o.s.ID()}
		if c.QueueWaitNS >= 0 {
			e.Unmapped["acc_queue_wait_ns"] = c.QueueWaitNS
		}
	}
	if !c.Before && !c.BeginUnknown && !c.End.Refused() {
		e := o.ocsfNew(ocsfOpen, from, uid)
		fill(&e)
		e.StatusDetail = ""
		if err := o.json.Encode(&e); err != nil {
			return err
		}
	}
	activity := ocsfActivity(c.End)
	if !ended || activity == 0 {
		return nil
	}
	e := o.ocsfNew(activity, to, uid)
	fill(&e)
	start, end, length := from/1e6, to/1e6, to/1e6-from/1e6
	e.StartTime, e.EndTime, e.Duration = &start, &end, &length
	if c.Counted {
		e.Traffic = &ocsfTraffic{BytesIn: c.BytesIn, BytesOut: c.BytesOut, Bytes: c.BytesIn + c.BytesOut}
		if c.ClosedSeq != 0 {
			in, out := uint64(c.SegsIn), uint64(c.SegsOut)
			e.Traffic.PacketsIn, e.Traffic.PacketsOut = &in, &out
		}
	}
	return o.json.Encode(&e)
}

// ocsfActivity is that of an end, 0 if acc did not see it.
func ocsfActivity(end conntrack.End) int {
	switch end {
	case conntrack.EndByServer, conntrack.EndByClient, conntrack.EndByBoth:
		return ocsfClose
	case conntrack.EndResetByClient, conntrack.EndResetByServer, conntrack.EndWriteRefused, conntrack.EndKilled,
		conntrack.EndListener:
		return ocsfReset
	case conntrack.EndRefused, conntrack.EndTimeout, conntrack.EndError, conntrack.EndAccept:
		return ocsfFail
	}
	return 0
}

// ocsfListeners writes which sockets began to listen while it was recorded: those that the finding new-listener names.
func ocsfListeners(o *objects, r *analysis.Result) error {
	for i := range r.Findings {
		f := &r.Findings[i]
		if f.ID != "new-listener" || f.Since == nil {
			continue
		}
		at := slices.IndexFunc(r.Listeners, func(l listeners.ListenerInfo) bool {
			return l.Listener == f.Listener && l.NetNS == f.NetNS
		})
		if at < 0 || r.Listeners[at].Proto != "tcp" {
			continue
		}
		l := &r.Listeners[at]
		e := o.ocsfNew(ocsfListen, f.Since.UnixNano(), o.s.ID()+":listener:"+strconv.FormatUint(l.Listener, 10))
		e.Dst = ocsfEndpoint{IP: l.LAddr, Port: l.LPort, Hostname: format.Quote(o.s.Host())}
		e.Connection.DirectionID, e.Connection.Direction = 0, "Unknown"
		if len(l.PIDs) > 0 && len(l.Comms) > 0 {
			e.Actor = &ocsfActor{ocsfProcess{PID: l.PIDs[0], Name: format.Quote(l.Comms[0])}}
		}
		if err := o.json.Encode(&e); err != nil {
			return err
		}
	}
	return nil
}

// baseName is the last part of a path of Linux.
func baseName(p string) string {
	for i := len(p) - 1; i >= 0; i-- {
		if p[i] == '/' {
			return p[i+1:]
		}
	}
	return p
}
