package main

// This file is acc version.

import (
	"cmp"
	"fmt"
	"regexp"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
)

// What the Makefile says of a build; empty in a plain go build and go install, whose
// build information is used instead.
var (
	version string // git describe --tags --always --dirty
	commit  string // all of its hash
	date    string // of the commit, RFC 3339 in UTC
)

// build says from what this binary was made.
type build struct {
	release  string // like v0.1.0; "" if it is none
	commit   string // "" if it is not known
	date     string // of the commit, "" if it is not known
	modified bool   // the source was not that of the commit
}

var (
	releaseVersion = regexp.MustCompile(`^v\d+\.\d+\.\d+(-(alpha|beta|rc)\.?\d+)?$`)
	pseudoVersion  = regexp.MustCompile(`^v\d+\.\d+\.\d+-(?:.*[.-])?\d{14}-([0-9a-f]{12})(?:\+.*)?$`)
	described      = regexp.MustCompile(`^(?:.*-g)?([0-9a-f]{7,40})(?:-dirty)?$`)
)

// thisBuild is the build of this process.
func thisBuild() build {
	info, _ := debug.ReadBuildInfo()
	return buildOf(version, commit, date, info)
}

// buildOf puts together what the Makefile and the Go toolchain say; info can be nil.
func buildOf(version, commit, date string, info *debug.BuildInfo) build {
	b := build{commit: commit, date: date}
	if version == "" && info != nil {
		version = info.Main.Version
		for _, s := range info.Settings {
			switch s.Key {
			case "vcs.revision":
				b.commit = cmp.Or(b.commit, s.Value)
			case "vcs.time":
				b.date = cmp.Or(b.date, s.Value)
			case "vcs.modified":
				b.modified = s.Value == "true"
			}
		}
	}
	b.modified = b.modified || strings.HasSuffix(version, "dirty")
	if releaseVersion.MatchString(version) && !b.modified {
		b.release = version
	} else if m := pseudoVersion.FindStringSubmatch(version); m != nil {
		b.commit = cmp.Or(b.commit, m[1])
	} else if m := described.FindStringSubmatch(version); m != nil {
		b.commit = cmp.Or(b.commit, m[1])
	}
	return b
}

// name is the version in one word, as captures have it.
func (b build) name() string {
	n := cmp.Or(b.release, short(b.commit), "unreleased")
	if b.modified {
		n += "-dirty"
	}
	return n
}

// short is a commit as people name it.
func short(commit string) string { return commit[:min(len(commit), 12)] }

// lines say everything about the build, for acc version.
func (b build) lines() string {
	first := b.release
	if first == "" {
		first = "unreleased, commit " + cmp.Or(short(b.commit), "unknown")
	}
	if b.modified {
		first += ", with local changes"
	}
	source := "commit: " + cmp.Or(b.commit, "unknown")
	if b.date != "" {
		source += ", of " + b.date
	}
	can := "reads captures; to record, run acc on Linux, on x86-64 or arm64"
	if canRecord(runtime.GOOS, runtime.GOARCH) {
		can = "records and reads captures"
	}
	return fmt.Sprintf("%s\n%s\nbuilt: by %s for %s/%s\nthis build: %s", first, source, runtime.Version(), runtime.GOOS,
		runtime.GOARCH, can)
}

// canRecord reports whether acc has a recorder for a system.
func canRecord(goos, goarch string) bool {
	return goos == "linux" && (goarch == "amd64" || goarch == "arm64")
}

// toolVersion is what captures say of the acc that wrote them.
func toolVersion() string { return thisBuild().name() }

func newVersionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print version, commit, and what this build can do",
		Long: `Version prints the version of acc, the commit it was built from with its date, the Go
version and the platform, and whether this build can record or only read captures. A build
that is not a release says "unreleased".`,
		Example: `  acc version`,
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "acc version %s\n", thisBuild().lines())
			return err
		},
	}
}
