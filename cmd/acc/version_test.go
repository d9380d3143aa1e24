package main

import (
	"runtime/debug"
	"strings"
	"testing"
)

// A version is a release's or says that it is none, and never what go says for want of one.
func TestVersion(t *testing.T) {
	const hash = "537b438d3c5a2f1e0d9c8b7a6f5e4d3c2b1a0f9e"
	info := func(version string, settings ...string) *debug.BuildInfo {
		i := &debug.BuildInfo{Main: debug.Module{Version: version}}
		for n := 0; n < len(settings); n += 2 {
			i.Settings = append(i.Settings, debug.BuildSetting{Key: settings[n], Value: settings[n+1]})
		}
		return i
	}
	for _, c := range []struct {
		version, commit string
		info            *debug.BuildInfo
		name, first     string
	}{
		{"v0.1.0", hash, nil, "v0.1.0", "v0.1.0"},
		{"v0.1.0-rc.1", hash, nil, "v0.1.0-rc.1", "v0.1.0-rc.1"},
		{"v0.1.0-dirty", hash, nil, "537b438d3c5a-dirty", "unreleased, commit 537b438d3c5a, with local changes"},
		{"v0.1.0-3-g537b438", hash, nil, "537b438d3c5a", "unreleased, commit 537b438d3c5a"},
		{"537b438", "", nil, "537b438", "unreleased, commit 537b438"},
		{"537b438-dirty", hash, nil, "537b438d3c5a-dirty", "unreleased, commit 537b438d3c5a, with local changes"},
		{"", "", info("v0.1.0"), "v0.1.0", "v0.1.0"},
		{"", "", info("(devel)"), "unreleased", "unreleased, commit unknown"},
		{"", "", info(""), "unreleased", "unreleased, commit unknown"},
		{"", "", nil, "unreleased", "unreleased, commit unknown"},
		{"", "", info("(devel)", "vcs.revision", hash, "vcs.time", "2026-11-28T22:00:00Z", "vcs.modified", "false"), "537b438d3c5a", "unreleased, commit 537b438d3c5a"},
		{"", "", info("v0.0.0-20261128220000-537b438d3c5a"), "537b438d3c5a", "unreleased, commit 537b438d3c5a"},
		{"", "", info("v0.1.1-0.20261128220000-537b438d3c5a+dirty", "vcs.modified", "true"), "537b438d3c5a-dirty", "unreleased, commit 537b438d3c5a, with local changes"},
	} {
		b := buildOf(c.version, c.commit, "", c.info)
		first, _, _ := strings.Cut(b.lines(), "\n")
		if b.name() != c.name || first != c.first {
			t.Errorf("%q, %v: %q, %q, want %q, %q", c.version, c.info, b.name(), first, c.name, c.first)
		}
		if strings.Contains(b.lines(), "devel") {
			t.Errorf("%q: %s", c.version, b.lines())
		}
	}
}
