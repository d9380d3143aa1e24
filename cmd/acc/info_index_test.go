package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/acc-project/acc/evidence"
	"github.com/acc-project/acc/format"
)

// largeSample is a capture that info does not read all of, and how many accepts are in it.
func largeSample(t *testing.T, clean bool) (data []byte, accepted int) {
	t.Helper()
	var out bytes.Buffer
	w, err := format.NewWriter(&out, format.Header{Host: "web1", Clock: format.Clock{BootNS: 1, RealNS: 1_700_000_000_000_000_000}}, format.WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	r, n := rand.New(rand.NewPCG(7, 8)), uint64(0)
	for i := 0; int64(out.Len()) <= smallCapture+100_000; i++ {
		e := format.Event{BootNS: int64(i+1) * 1000, Kind: format.Return, Hook: format.HookSysAccept4, CPUSeq: uint64(i + 1), UserData: r.Uint64(), Ret: -11}
		if r.IntN(3) == 0 {
			e.Ret = 5
			accepted++
		}
		n++
		if err := w.Event(&e); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Loss(format.Loss{Hook: format.HookSysAccept4, Kind: format.Return, Count: 3, FromNS: 1000, ToNS: 2000}); err != nil {
		t.Fatal(err)
	}
	end := format.End{Reason: "signal", Clean: clean, Lost: 3, Clock: format.Clock{BootNS: 5e9 + 1, RealNS: 1_700_000_005_000_000_000}}
	end.Totals = []format.ProbeTotal{{Hook: format.HookSysAccept4, Kind: format.Return, Seen: n + 3, Recorded: n, Lost: 3}}
	if err := w.Close(end); err != nil {
		t.Fatal(err)
	}
	return out.Bytes(), accepted
}

// By the index info says the same as by reading all, says what it did not read, and
// reads all if what it looks at does not fit.
func TestInfoByIndex(t *testing.T) {
	data, accepted := largeSample(t, true)
	name := filepath.Join(t.TempDir(), "x.acc")
	ask := func(data []byte, full bool) (i info, text string, err error) {
		t.Helper()
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
		for _, asJSON := range []bool{false, true} {
			in, openErr := openFile(name)
			if openErr != nil {
				t.Fatal(openErr)
			}
			var out bytes.Buffer
			err = runInfo(&out, new(bytes.Buffer), in, infoOptions{full: full, json: asJSON}, new([]*evidence.Info))
			if text += out.String(); asJSON && out.Len() > 0 {
				plain := regexp.MustCompile(`"hook": "[a-z_0-9]*"|"kind": "[a-z]*"`).ReplaceAll(out.Bytes(), []byte(`"x": 0`)) // words, which Go does not read again
				if err := json.Unmarshal(plain, &i); err != nil {
					t.Fatal(err)
				}
			}
		}
		return i, text, err
	}
	fast, text, err := ask(data, false)
	if err != nil || fast.Read != evidence.ReadIndex || fast.Verdict != "unchecked" || fast.Accepted != nil ||
		fast.CrossCheck != nil || fast.Start != nil {
		t.Fatalf("by the index: %v\n%s", err, text)
	}
	for _, want := range []string{"NOT looked at", "by the index", "acc info --full"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
	full, text, err := ask(data, true)
	if err != nil || full.Read != evidence.ReadAll || *full.Accepted != uint64(accepted) ||
		strings.Contains(text, "NOT looked at") {
		t.Fatalf("all: %v\n%s", err, text)
	}
	if fast.Events != full.Events || fast.Frames != full.Frames || fast.Bytes != full.Bytes || fast.Lost != full.Lost || fast.Lost != 3 ||
		fast.First != nil || full.First == nil || fast.End.Reason != full.End.Reason || fast.Header.Host != full.Header.Host {
		t.Errorf("by the index %+v, all %+v", fast, full)
	}

	unclosed, _ := largeSample(t, false)
	if i, text, err := ask(unclosed, false); !errors.As(err, new(*evidence.UncleanError)) ||
		i.Read != evidence.ReadIndex || i.Verdict != "unclean" {
		t.Errorf("in disorder: %v\n%s", err, text)
	}
	frames, err := format.ReadIndex(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	end := frames[len(frames)-1].At
	for what, at := range map[string]int64{"header": 120, "link before END": frames[len(frames)-2].At + 30, "END": end + 120, "index": int64(len(data)) - 110, "tail": int64(len(data)) - 20} {
		bad := bytes.Clone(data)
		bad[at] ^= 1
		if i, text, err := ask(bad, false); err == nil || i.Read != evidence.ReadAll || i.Verdict != "corrupt" {
			t.Errorf("%s: %v\n%s", what, err, text)
		}
	}
	if i, text, err := ask(data[:end], false); !errors.Is(err, format.ErrTruncated) || i.Read != evidence.ReadAll ||
		i.Verdict != "truncated" {
		t.Errorf("cut: %v\n%s", err, text)
	}
	middle := bytes.Clone(data)
	middle[len(data)/2] ^= 1
	if i, text, err := ask(middle, true); err == nil || i.Verdict != "corrupt" {
		t.Errorf("a flip in the middle: %v\n%s", err, text)
	}
}
