// Make writes the captures of package fleet into a folder, and what it made into truth.json.
//
//	go run ./testdata/fleet/make -hosts 1000 -connections 100000 -out DIR
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"time"

	"github.com/acc-project/acc/testdata/fleet"
)

func main() {
	hosts := flag.Int("hosts", 20, "hosts")
	connections := flag.Int("connections", 5000, "connections of each")
	out := flag.String("out", "", "folder of the captures")
	jobs := flag.Int("jobs", 2, "hosts at a time")
	start := flag.String("start", "2026-11-28T14:00:00Z", "begin of the hour")
	flag.Parse()
	log.SetFlags(0)
	at, err := time.Parse(time.RFC3339, *start)
	if err != nil || *out == "" {
		log.Fatal("fleet: -out DIR is missing, or -start is no time")
	}
	if err := os.MkdirAll(*out, 0o700); err != nil {
		log.Fatal(err)
	}
	all, err := fleet.Make(*out, *hosts, *connections, *jobs, at)
	if err != nil {
		log.Fatal(err)
	}
	b, _ := json.MarshalIndent(all, "", "  ")
	if err := os.WriteFile(filepath.Join(*out, "truth.json"), append(b, '\n'), 0o600); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s\n", b)
}
