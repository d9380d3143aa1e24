//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	cdpbrowser "github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/acc-project/acc/format"
	"github.com/acc-project/acc/testdata/fleet"
)

// browser is Debian's Chromium, in which reports are opened: make test-browser. What pages said and did is kept.
type browser struct {
	t   *testing.T
	ctx context.Context

	mu   sync.Mutex
	said []string // console, exceptions, dialogs, requests other than for the page
}

// openBrowser starts one, or skips the test.
func openBrowser(t *testing.T) *browser {
	t.Helper()
	if os.Getenv("ACC_BROWSER") == "" {
		t.Skip("needs Chromium: make test-browser")
	}
	program, err := exec.LookPath("chromium")
	must(t, err)
	options := []chromedp.ExecAllocatorOption{
		chromedp.ExecPath(program), chromedp.UserDataDir(t.TempDir()), chromedp.WindowSize(1366, 900), chromedp.WSURLReadTimeout(2 * time.Minute),
	}
	for _, f := range []string{"headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking", "disable-component-update", "disable-sync", "hide-scrollbars"} {
		options = append(options, chromedp.Flag(f, true))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewExecAllocator(ctx, options...)
	t.Cleanup(cancel)
	b := &browser{t: t}
	b.ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	note := func(format string, args ...any) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.said = append(b.said, fmt.Sprintf(format, args...))
	}
	must(t, chromedp.Listen(b.ctx, func(event any) {
		switch e := event.(type) {
		case *runtime.EventConsoleAPICalled:
			note("console: %s", e.Type)
		case *runtime.EventExceptionThrown:
			note("exception: %+v", e.ExceptionDetails)
		case *log.EventEntryAdded:
			note("log: %s", e.Entry.Text)
		case *page.EventJavascriptDialogOpening:
			note("dialog: %s", e.Message)
			go func() {
				_, _ = chromedp.Call(b.ctx, page.HandleJavaScriptDialog, page.HandleJavaScriptDialogParams{Accept: true})
			}()
		case *network.EventRequestWillBeSent:
			if !strings.HasPrefix(e.Request.URL, "file:") && !strings.HasPrefix(e.Request.URL, "blob:") && !strings.HasPrefix(e.Request.URL, "data:") || e.Type != network.ResourceTypeDocument && strings.HasPrefix(e.Request.URL, "file:") {
				note("request: %.100s", e.Request.URL)
			}
		}
	}))
	return b
}

func (b *browser) run(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	must(b.t, chromedp.Do(b.ctx, steps...))
}

// open opens a file as a double click does, and waits until it is drawn.
func (b *browser) open(file, hash string) {
	b.t.Helper()
	b.run(chromedp.Navigate("about:blank"), chromedp.Navigate((&url.URL{Scheme: "file", Path: file, Fragment: hash}).String()))
	b.wait("document.documentElement.dataset.drawn !== undefined")
}

// wait waits until an expression is true. The page of before can still be there when it begins.
func (b *browser) wait(expression string) {
	b.t.Helper()
	for began := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		yes, err := chromedp.Run(b.ctx, chromedp.Evaluate[bool](expression))
		switch {
		case err == nil && yes:
			return
		case time.Since(began) > time.Minute:
			b.t.Fatalf("%s: not within a minute: %v; the table has %s", expression, err, eval[string](b, `(document.getElementById("table-note") || {}).textContent || ""`))
		}
	}
}

// eval gives the value of an expression of the page.
func eval[T any](b *browser, expression string) T {
	b.t.Helper()
	v, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](expression))
	must(b.t, err)
	return v
}

func (b *browser) shot(file string) {
	b.t.Helper()
	b.run(chromedp.Sleep(300 * time.Millisecond))
	png, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
	must(b.t, err)
	must(b.t, os.WriteFile(file, png, 0o644))
}

// script runs a statement of the page.
func (b *browser) script(statement string) {
	b.t.Helper()
	eval[bool](b, "(() => { "+statement+"; return true })()")
}

// theme chooses light or dark.
func (b *browser) theme(name string) {
	b.t.Helper()
	_, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: name}}})
	must(b.t, err)
}

// noScripts switches scripts off.
func (b *browser) noScripts(yes bool) {
	b.t.Helper()
	_, err := chromedp.Call(b.ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: yes})
	must(b.t, err)
}

// quiet fails if a page said anything.
func (b *browser) quiet() {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range b.said {
		b.t.Error(s)
	}
	b.said = nil
}

// reportOf writes a report with acc, and gives its path.
func reportOf(t *testing.T, capture string, args ...string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "page.html")
	if out, err := exec.Command("acc", append([]string{"report", capture, "-o", file}, args...)...).CombinedOutput(); err != nil {
		if exit := new(exec.ExitError); !errors.As(err, &exit) || exit.ExitCode() == exitError || exit.ExitCode() == exitUsage {
			t.Fatalf("acc report: %v\n%s", err, out)
		}
	}
	return file
}

// Screenshots of the capture that ACC_SHOT_CAPTURE names, for people to look at, into the folder ACC_SHOTS.
func TestBrowserShots(t *testing.T) {
	dir, capture := os.Getenv("ACC_SHOTS"), os.Getenv("ACC_SHOT_CAPTURE")
	if dir == "" || capture == "" {
		t.Skip("ACC_SHOTS and ACC_SHOT_CAPTURE say of what, and where to")
	}
	b := openBrowser(t)
	file := reportOf(t, capture)
	for _, theme := range []string{"light", "dark"} {
		b.theme(theme)
		b.open(file, "")
		to := func(name string) string { return filepath.Join(dir, theme+"-"+name+".png") }
		b.shot(to("1-top"))
		for _, section := range []string{"time", "queues", "latency", "lanes", "connections", "who", "outcomes", "evidence"} {
			b.script(`document.getElementById("` + section + `").scrollIntoView()`)
			b.shot(to("2-" + section))
		}
		span := eval[float64](b, `Number(document.querySelector("#range-text").textContent.match(/\(([\d.]+)/)[1])`)
		b.open(file, fmt.Sprintf("t=%.3f,%.3f", span*0.45, span*0.5))
		b.script(`document.getElementById("lanes").scrollIntoView()`)
		b.shot(to("3-lanes-zoomed"))
		b.run(chromedp.Focus(chromedp.CSS("#lanes-canvas")), chromedp.KeyEvent(kb.ArrowDown), chromedp.KeyEvent(kb.Enter))
		b.shot(to("4-connection"))
		if got := eval[int](b, "document.documentElement.scrollWidth"); got > 1366 {
			t.Errorf("%s: the page is %d px wide", theme, got)
		}
	}
	b.theme("light")
	b.open(file, "")
	pdf, err := chromedp.Run(b.ctx, chromedp.PrintToPDF(chromedp.PDFPrintBackground()))
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, "print.pdf"), pdf, 0o644))
	b.noScripts(true)
	b.run(chromedp.Navigate("file://" + file))
	b.shot(filepath.Join(dir, "noscript.png"))
	b.noScripts(false)
	b.quiet()
}

// Names of 300 hostile kinds are text and nothing else: as many elements as with harmless names, no dialog, no request,
// nothing on the console, and no script of theirs has run.
func TestBrowserNames(t *testing.T) {
	b := openBrowser(t)
	dir := t.TempDir()
	names := hostileNames(1)
	count := map[string]int{}
	for kind, list := range map[string][]string{"hostile": names, "harmless": harmless(len(names))} {
		for what, data := range map[string][]byte{"names": namedCapture(t, list), "connections": namedConnections(t, list)} {
			file := filepath.Join(dir, what+kind+".acc")
			must(t, os.WriteFile(file, data, 0o600))
			page := reportOf(t, file, "--top", "0")
			b.open(page, "")
			key := what + kind
			count[key] = eval[int](b, `document.querySelectorAll("*").length`)
			if what == "connections" { // each story once
				for i := range min(len(list), 40) {
					b.script(fmt.Sprintf("location.hash = 'c=%d'", 1+i*8))
					b.wait("!document.getElementById('story').hidden")
					count[key] += eval[int](b, `document.querySelectorAll("#story *").length`)
				}
			}
			if eval[bool](b, "window.alerted === true || document.title === 'x'") {
				t.Errorf("%s: a script ran", key)
			}
			b.quiet()
		}
	}
	for _, what := range []string{"names", "connections"} {
		if count[what+"hostile"] != count[what+"harmless"] || count[what+"hostile"] < 200 {
			t.Errorf("%s: %d elements, with harmless names %d", what, count[what+"hostile"], count[what+"harmless"])
		}
	}
}

// namedConnections has a connection for each name, accepted by a process of that name.
func namedConnections(t *testing.T, names []string) []byte {
	t.Helper()
	var out bytes.Buffer
	const second = 1_000_000_000
	w, err := format.NewWriter(&out, format.Header{ID: "3b1f0a52", Host: names[len(names)-1], StartNS: 1_700_000_000 * second, Mode: "fentry",
		Clock: format.Clock{BootNS: second, MonoNS: second, RealNS: 1_700_000_000 * second}}, format.WriterOptions{})
	must(t, err)
	now := int64(second)
	for i, n := range names {
		num := uint32(i + 1)
		must(t, w.Process(format.Process{Num: num, PID: num, Comm: n, Exe: n, Cgroup: n, Container: n, Unit: n, Pod: n}))
		e := format.Event{Family: format.FamilyIPv4, Type: 1, Proto: 6, NetNS: 1, Listener: 7, BacklogMax: 5, LAddr: netip.MustParseAddr("192.0.2.1"), LPort: 80,
			RAddr: netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), RPort: 4000, Cookie: uint64(num)}
		for step := range 8 { // eight events each: the first one numbers the connection
			x := e
			now += second / 100
			x.BootNS = now
			switch step {
			case 0:
				x.Kind, x.Hook, x.State = format.Queued, format.HookHashdance, 3
			case 2:
				x.Kind, x.Hook, x.Via, x.Ret, x.State, x.PID, x.TID, x.Proc, x.Comm = format.Return, format.HookSysAccept4, format.ViaAccept4, 7, 1, num, num, num, n
			case 7:
				x.Kind, x.Hook, x.OldState, x.State, x.Listener, x.BacklogMax = format.Closed, format.HookSetState, 1, 7, 0, 0
			default:
				x = format.Event{BootNS: now, Kind: format.Return, Hook: format.HookSysAccept4, Via: format.ViaAccept4, Ret: -11, PID: num, TID: num, Proc: num, Comm: n, Family: format.FamilyIPv4, Type: 1, NetNS: 1,
					Listener: 7, BacklogMax: 5}
			}
			must(t, w.Event(&x))
		}
	}
	must(t, w.Close(format.End{Reason: strings.Join(names, "\n"), Detail: names[3], Clean: true, Clock: format.Clock{BootNS: now, MonoNS: now, RealNS: 1_700_000_000*second + now - second}}))
	return out.Bytes()
}

// A page is driven by clicks and keys: zoom, search, sort, a story, links, the download.
func TestBrowserUse(t *testing.T) {
	b := openBrowser(t)
	file := filepath.Join(t.TempDir(), "life.acc")
	must(t, os.WriteFile(file, lifeSample(), 0o600))
	page := reportOf(t, file)
	b.open(page, "")
	note := func() string { return eval[string](b, `document.getElementById("table-note").textContent`) }
	if got := note(); got != "21 of 21 connections" {
		t.Errorf("the table has %s", got)
	}
	// Keys on the lanes.
	before := eval[string](b, `document.getElementById("range-text").textContent`)
	b.run(chromedp.Focus(chromedp.CSS("#lanes-canvas")), chromedp.KeyEvent("+"))
	b.wait(`document.getElementById("range-text").textContent !== ` + strconv.Quote(before) + ` && location.hash.startsWith("#t=")`)
	b.run(chromedp.KeyEvent("0"))
	b.wait(`document.getElementById("range-text").textContent === ` + strconv.Quote(before))
	b.run(chromedp.KeyEvent(kb.ArrowDown), chromedp.KeyEvent(kb.Enter))
	b.wait(`!document.getElementById("story").hidden && /^#c=\d+$/.test(location.hash)`)
	b.run(chromedp.KeyEvent(kb.Escape))
	b.wait(`document.getElementById("story").hidden && document.activeElement.id === "lanes-canvas"`)
	// Search and conditions.
	for text, want := range map[string]string{"10.0.0.2": "2 of 21 connections", "queued>1s": "5 of 21 connections", "refused>0": "15 of 21 connections", "refused never": "15 of 21 connections",
		"nobody": "0 of 21 connections", "queued>many": "A condition is like queued>10ms. 0 of 21 connections"} {
		b.script(`document.getElementById("search").value = ""`)
		b.run(chromedp.SendKeys(chromedp.CSS("#search"), text))
		b.wait(`document.getElementById("table-note").textContent === ` + strconv.Quote(want))
	}
	b.script(`document.getElementById("search").value = ""`)
	b.run(chromedp.SendKeys(chromedp.CSS("#search"), " "), chromedp.Click(chromedp.CSS("#only-bad")))
	b.wait(`document.getElementById("table-note").textContent.startsWith("17 of")`)
	b.run(chromedp.Click(chromedp.CSS("#only-bad")))
	// Sort by what is queued: the longest is first.
	b.run(chromedp.Click(chromedp.CSS(`#table-scroll th[data-name="queued"] button`)))
	b.wait(`document.querySelector('#table-scroll th[data-name="queued"]').getAttribute("aria-sort") === "descending"`)
	// A row by keys.
	b.run(chromedp.Focus(chromedp.CSS(`#table-scroll tr[data-at="0"]`)), chromedp.KeyEvent(kb.ArrowDown), chromedp.KeyEvent(kb.Enter))
	b.wait(`!document.getElementById("story").hidden`)
	id := eval[string](b, `/^#c=(\d+)$/.exec(location.hash)[1]`)
	want, _, _ := accOut(t, filepath.Dir(page), nil, "analyze", "--connection", id, page)
	story := eval[string](b, `document.querySelector("#story pre").textContent`)
	if strings.Join(strings.Fields(story), " ") != strings.Join(strings.Fields(want), " ") {
		t.Errorf("the story of connection %s is\n%s\nacc analyze has\n%s", id, story, want)
	}
	// A link to a connection, and to a time.
	b.open(page, "c="+id)
	b.wait(`!document.getElementById("story").hidden`)
	b.open(page, "t=1,2")
	if got := eval[string](b, `document.getElementById("range-text").textContent`); !strings.Contains(got, "(1.00 s)") {
		t.Errorf("a link to a time shows %s", got)
	}
	// A client that closed first: its FIN is a step, at the time that acc analyze has.
	demo, err := filepath.Abs("../../testdata/examples/demo.acc")
	must(t, err)
	want, _, _ = accOut(t, filepath.Dir(page), nil, "analyze", "--connection", "1", demo)
	b.open(reportOf(t, demo), "c=1")
	b.wait(`!document.getElementById("story").hidden`)
	steps := eval[string](b, `document.querySelector("#story table").innerText`)
	fin, _, _ := strings.Cut(want, "the client sends FIN")
	fin = regexp.MustCompile(`\d\d:\d\d:\d\d\.\d{6}`).FindString(fin[strings.LastIndex(fin, "\n"):])
	if fin == "" || !strings.Contains(steps, fin+"\tthe client sent FIN\t") {
		t.Errorf("the steps lack the client's FIN at %q:\n%s", fin, steps)
	}
	// Drag on a chart.
	b.open(page, "")
	b.script(`document.getElementById("chart-rates").scrollIntoView({block: "center"})`)
	at := eval[[]float64](b, `(() => { const r = document.querySelector("#chart-rates .u-over").getBoundingClientRect(); return [r.left, r.top, r.width, r.height] })()`)
	y := at[1] + at[3]/2
	b.run(chromedp.DragAndDropXY(at[0]+at[2]*0.25, y, at[0]+at[2]*0.75, y, 5))
	b.wait(`location.hash.startsWith("#t=")`)
	// The download is the capture.
	folder := t.TempDir()
	_, err = chromedp.CallBrowser(b.ctx, cdpbrowser.SetDownloadBehavior, cdpbrowser.SetDownloadBehaviorParams{Behavior: "allow", DownloadPath: folder})
	must(t, err)
	b.run(chromedp.Click(chromedp.CSS("#download")))
	saved := filepath.Join(folder, "life.acc")
	for range 200 {
		if got, err := os.ReadFile(saved); err == nil && bytes.Equal(got, lifeSample()) {
			saved = ""
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	if saved != "" {
		t.Error("the page does not save the capture as it is")
	}
	b.quiet()
}

// 100,000 connections are drawn in less than a second, as they are and zoomed; the page that acc makes by itself has
// less than 5 MB.
func TestBrowserSpeed(t *testing.T) {
	b := openBrowser(t)
	dir := t.TempDir()
	_, err := fleet.Make(dir, 1, 100_000, 1, time.Date(2026, 11, 28, 14, 0, 0, 0, time.UTC))
	must(t, err)
	files, err := filepath.Glob(filepath.Join(dir, "*28T*.acc"))
	must(t, err)
	if st, err := os.Stat(reportOf(t, files[0])); err != nil || st.Size() >= 5_000_000 {
		t.Errorf("the page has %d bytes", st.Size())
	}
	file := reportOf(t, files[0], "--connections", "100000")
	b.open(file, "")
	n := eval[string](b, `document.getElementById("table-note").textContent`)
	drawn := eval[string](b, `document.documentElement.dataset.drawn`)
	t.Logf("%s; charts, lanes and table drawn in %s ms", n, drawn)
	if ms, err := strconv.Atoi(drawn); err != nil || ms > 1000 {
		t.Errorf("drawn in %s ms", drawn)
	}
	if !strings.Contains(n, "100,") && !strings.Contains(n, "99,") {
		t.Errorf("the table has %s", n)
	}
	b.quiet()
}
