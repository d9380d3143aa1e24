package export

// This file writes log records of OpenTelemetry as JSON lines, as OTLP's file exporter and otlpjsonfile receiver have
// them.
// https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding

import (
	"strconv"
	"strings"

	"github.com/acc-project/acc/analysis"
	"github.com/acc-project/acc/analysis/conntrack"
	"github.com/acc-project/acc/analysis/report"
	"github.com/acc-project/acc/format"
)

// otlpRecord is a LogRecord of OpenTelemetry.
type otlpRecord struct {
	TimeUnixNano         string          `json:"timeUnixNano,omitempty"`
	ObservedTimeUnixNano string          `json:"observedTimeUnixNano,omitempty"`
	SeverityNumber       int             `json:"severityNumber"`
	SeverityText         string          `json:"severityText"`
	EventName            string          `json:"eventName"`
	Body                 otlpValue       `json:"body"`
	Attributes           []otlpAttribute `json:"attributes"`
}

type otlpAttribute struct {
	Key   string    `json:"key"`
	Value otlpValue `json:"value"`
}

type otlpValue struct {
	String *string `json:"stringValue,omitempty"`
	Int    *string `json:"intValue,omitempty"` // 64 bits are text in JSON of protobuf
	Bool   *bool   `json:"boolValue,omitempty"`
}

func otlpText(s string) otlpValue { return otlpValue{String: &s} }

// otlpSchema names the semantic conventions that attributes follow.
const otlpSchema = "https://opentelemetry.io/schemas/1.44.0"

// otlpBatch is how many records stand in a line.
const otlpBatch = 100

// otlp writes a connection as a log record: when it ended, or the capture did.
func otlp(o *objects, c *conntrack.Connection) error {
	_, to, _, known := o.s.span(c)
	r := otlpRecord{SeverityNumber: 9, SeverityText: "INFO", EventName: "acc.connection"}
	if known {
		r.TimeUnixNano = strconv.FormatInt(to, 10)
		r.ObservedTimeUnixNano = r.TimeUnixNano
	}
	text := func(key, value string) {
		if value != "" {
			r.Attributes = append(r.Attributes, otlpAttribute{key, otlpText(format.Quote(value))})
		}
	}
	number := func(key string, n int64) {
		s := strconv.FormatInt(n, 10)
		r.Attributes = append(r.Attributes, otlpAttribute{key, otlpValue{Int: &s}})
	}
	peer, local := client(c), server(c)
	r.Body = otlpText(peer.String() + " to " + local.String() + ": " + string(c.End))
	text("network.transport", "tcp")
	text("network.type", family(peer.Addr()))
	text("network.peer.address", peer.Addr().String())
	number("network.peer.port", int64(peer.Port()))
	text("network.local.address", local.Addr().String())
	number("network.local.port", int64(local.Port()))
	if c.TID != 0 {
		number("process.pid", int64(c.PID))
		number("thread.id", int64(c.TID))
		text("thread.name", c.Comm)
	}
	if p := c.Process; p != nil {
		text("process.executable.path", p.Exe)
		text("container.id", p.Container)
		if namespace, name, ok := strings.Cut(p.Pod, "/"); ok {
			text("k8s.namespace.name", namespace)
			text("k8s.pod.name", name)
		}
		text("k8s.pod.uid", p.PodUID)
	}
	text("acc.capture_id", o.s.ID())
	text("acc.connection_id", o.s.uid(c))
	text("acc.end", c.End.ID())
	if began, known := o.s.wall(report.BeganNS(c)); known {
		number("acc.began_unix_ns", began)
	}
	if c.QueueWaitNS >= 0 {
		number("acc.queue_wait_ns", c.QueueWaitNS)
	}
	number("acc.refused_packets", int64(c.RefusedPackets))
	if c.Counted {
		number("acc.bytes_in", int64(c.BytesIn))
		number("acc.bytes_out", int64(c.BytesOut))
	}
	if o.logs = append(o.logs, r); len(o.logs) < otlpBatch {
		return nil
	}
	return otlpFlush(o, nil)
}

// otlpFlush writes the records that wait, as one line: ExportLogsServiceRequest.
func otlpFlush(o *objects, _ *analysis.Result) error {
	if len(o.logs) == 0 {
		return nil
	}
	type (
		scope struct {
			Name string `json:"name"`
		}
		scopeLogs struct {
			Scope      scope        `json:"scope"`
			LogRecords []otlpRecord `json:"logRecords"`
			SchemaURL  string       `json:"schemaUrl"`
		}
		resource struct {
			Attributes []otlpAttribute `json:"attributes"`
		}
		resourceLogs struct {
			Resource  resource    `json:"resource"`
			ScopeLogs []scopeLogs `json:"scopeLogs"`
			SchemaURL string      `json:"schemaUrl"`
		}
		request struct {
			ResourceLogs []resourceLogs `json:"resourceLogs"`
		}
	)
	of := []otlpAttribute{{"host.name", otlpText(format.Quote(o.s.Host()))}, {"os.type", otlpText("linux")}}
	if id := o.s.Header.MachineID; id != "" {
		of = append(of, otlpAttribute{"host.id", otlpText(format.Quote(id))})
	}
	line := request{[]resourceLogs{{resource{of}, []scopeLogs{{scope{"acc"}, o.logs, otlpSchema}}, otlpSchema}}}
	o.logs = o.logs[:0]
	return o.json.Encode(&line)
}
