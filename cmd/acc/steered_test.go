package main

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
)

// testdata/sklookup.acc was recorded while a sk_lookup program gave clients of ports 7992 to 7995
// to the listener of port 7127. What the server read with getsockname, in its order, is the truth.
var sockNames = []int{7127, 7127, 7992, 7993, 7994, 7995}

// Stories and explanations say where a connection was steered, and not where it was not.
func TestSteered(t *testing.T) {
	unconfined(t)
	const file = "testdata/sklookup.acc"
	list := runHere(t, "analyze", "--connections", "--json", file)
	ids := regexp.MustCompile(`(?m)^\{"id":(\d+),"laddr":"127\.0\.0\.1","lport":(\d+),`).FindAllStringSubmatch(list.out, -1)
	if len(ids) != len(sockNames) {
		t.Fatalf("%d connections: %s", len(ids), list.out)
	}
	for i, id := range ids {
		if id[2] != fmt.Sprint(sockNames[i]) {
			t.Errorf("connection %s has local port %s, want %d", id[1], id[2], sockNames[i])
		}
		want := fmt.Sprintf("The client connected to port %d, and the listener is on port 7127: the kernel steered",
			sockNames[i])
		for _, args := range [][]string{{"analyze", "--connection", id[1], file}, {"explain", id[1], file}} {
			if said := runHere(t, args...).out; strings.Contains(said, want) != (sockNames[i] != 7127) ||
				strings.Count(said, "steered") > 1 {
				t.Errorf("%q of a connection to port %d: %s", args, sockNames[i], said)
			}
		}
	}
}
