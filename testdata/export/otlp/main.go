// Otlp reads JSON lines of OTLP by the OpenTelemetry collector's own package, and prints how many log records there are by
// the value of an attribute. It is a module of its own: acc does not need the collector.
//
//	cd testdata/export/otlp && go run . acc.end <otlp.jsonl
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"log"
	"os"

	"go.opentelemetry.io/collector/pdata/plog"
)

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
			host, _ := resource.Resource().Attributes().Get("host.name")
			for _, scope := range resource.ScopeLogs().All() {
				for _, r := range scope.LogRecords().All() {
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
