// Otlp reads JSON lines of OTLP by the OpenTelemetry collector's own package, and prints how many log records there are
// by the value of an attribute. Other attributes than those of the semantic conventions and acc's own are an error. It
// is a module of its own: acc does not need the collector.
//
//	cd testdata/export/otlp && go run . acc.end <otlp.jsonl
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"slices"
	"strings"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/otel/attribute"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0" // the newest that it has
)

// conventions are the attributes that acc takes from OpenTelemetry's semantic conventions.
var conventions = []attribute.Key{
	semconv.HostNameKey, semconv.HostIDKey, semconv.OSTypeKey,
	semconv.NetworkTransportKey, semconv.NetworkTypeKey, semconv.NetworkPeerAddressKey, semconv.NetworkPeerPortKey,
	semconv.NetworkLocalAddressKey, semconv.NetworkLocalPortKey, semconv.ProcessPIDKey, semconv.ProcessExecutablePathKey,
	semconv.ThreadIDKey, semconv.ThreadNameKey, semconv.ContainerIDKey, semconv.K8SNamespaceNameKey,
	semconv.K8SPodNameKey, semconv.K8SPodUIDKey,
}

// check ends the program if an attribute is neither acc's own nor one of the conventions.
func check(attributes pcommon.Map) {
	for key := range attributes.All() {
		if !strings.HasPrefix(key, "acc.") && !slices.Contains(conventions, attribute.Key(key)) {
			log.Fatalf("%s is not in the semantic conventions", key)
		}
	}
}

func main() {
	counts, hosts := map[string]int{}, map[string]int{}
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 16<<20)
	for in.Scan() {
		logs, err := (&plog.JSONUnmarshaler{}).UnmarshalLogs(in.Bytes())
		if err != nil {
			log.Fatal(err)
		}
		for _, resource := range logs.ResourceLogs().All() {
			check(resource.Resource().Attributes())
			host, _ := resource.Resource().Attributes().Get("host.name")
			for _, scope := range resource.ScopeLogs().All() {
				for _, r := range scope.LogRecords().All() {
					check(r.Attributes())
					v, ok := r.Attributes().Get(os.Args[1])
					if !ok || r.Timestamp() == 0 {
						log.Fatalf("a record without %s or time: %v", os.Args[1], r.Attributes().AsRaw())
					}
					counts[v.AsString()]++
					hosts[host.Str()]++
				}
			}
		}
	}
	if err := in.Err(); err != nil {
		log.Fatal(err)
	}
	b, _ := json.Marshal(map[string]any{"counts": counts, "hosts": hosts})
	fmt.Printf("%s\n", b)
}
