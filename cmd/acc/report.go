package main

// This file is acc report.

import (
	"bufio"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/acc-project/acc/analysis"
	"github.com/acc-project/acc/analysis/htmlreport"
	"github.com/acc-project/acc/analysis/report"
	"github.com/acc-project/acc/evidence"
	"github.com/acc-project/acc/format"
	"github.com/acc-project/acc/replay/redact"
)

type reportOptions struct {
	output         string
	force          bool
	markdown       bool
	zip            bool
	withoutCapture bool
	connections    int
	fit            bool // fewer connections, if the page is to have fewer than 5 MB
	salvage        bool
	top            int
	zoneOptions
}

func newReportCommand() *cobra.Command {
	o := reportOptions{}
	cmd := &cobra.Command{
		Use:   "report FILE -o PAGE.html",
		Short: "Write a web page of what a capture shows, with the capture in it",
		Long: `Report writes one web page: the verdict, the findings, charts over time, connections as lanes, a
table of connections that can be searched, and where the capture comes from. The page loads
nothing and needs no network. Without scripts it still shows the findings and the tables.

The capture is in the page. acc verify, info, analyze, explain, replay, redact and report read
it from there: acc verify PAGE.html prints the SHA-256 that the page shows. The page has a button that
saves the capture. --without-capture leaves it out.

The page shows at most 30,000 connections (--connections), fewer if it has fewer than 5 MB
then: half of them are the worst, the others an even sample. The page says so. A link to
PAGE.html#c=12 opens connection 12, PAGE.html#t=3.5,4 shows the time from 3.5 to 4 seconds after
the start.

Anyone who gets the page gets the capture: names and addresses are the original ones. acc
redact makes a capture that can be given away, acc share makes a page of it.

--markdown prints a summary for a comment, with at most 65,536 characters, the worst first. --zip puts the
page into a zip file, for trackers that refuse HTML.`,
		Example: `  acc report incident.acc -o incident.html
  acc report incident.acc --zip -o incident.zip
  acc report incident.acc --markdown
  acc verify incident.html`,
		Args:              someCaptures,
		ValidArgsFunction: captureFiles,
		RunE: func(cmd *cobra.Command, args []string) error {
			if !cmd.Flags().Changed("connections") {
				o.connections = htmlreport.DefaultConnections
				o.fit = true
			}
			if err := o.complain(); err != nil {
				return err
			}
			return runReport(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr(), args, o)
		},
	}
	takesRead(cmd)
	f := cmd.Flags()
	f.StringVarP(&o.output, "output", "o", "", "the page `FILE` (default: named after the capture; with --markdown: "+
		"standard output)")
	f.BoolVar(&o.force, "force", false, "overwrite the page if it exists")
	f.BoolVar(&o.markdown, "markdown", false, "write a summary in Markdown, for a comment")
	f.BoolVar(&o.zip, "zip", false, "write the page into a zip file")
	f.BoolVar(&o.withoutCapture, "without-capture", false, "leave the capture out of the page")
	f.IntVar(&o.connections, "connections", 0, "how many `CONNECTIONS` the page has at most (default 30,000; "+
		"down to 5,000 if that keeps the page below 5 MB)")
	f.IntVar(&o.top, "top", 100, "`ROWS` in each table, and findings of a kind; 0: all")
	f.BoolVar(&o.salvage, "salvage", false, "skip corrupt parts, report them, and go on")
	o.zoneOptions.flags(cmd)
	anyFile(cmd, "output")
	values(cmd, "connections", "30000", "100000")
	values(cmd, "top", "0\tall rows", "100")
	group(cmd, "What to write", "output", "force", "markdown", "zip", "without-capture", "connections", "top", "utc",
		"local")
	group(cmd, "What to read", "read", "identity-file", "salvage")
	return cmd
}

// largePage is what trackers often take at most.
const largePage = 25 << 20

// maxReportConnections is what a browser still draws.
const maxReportConnections = 1_000_000

func (o *reportOptions) complain() error {
	switch {
	case o.markdown && o.zip:
		return &usageError{errors.New("--markdown and --zip are different outputs"), "ask for one at a time"}
	case o.connections < 1 || o.connections > maxReportConnections:
		return &usageError{fmt.Errorf("--connections must be between 1 and 1,000,000, not %d", o.connections),
			"like --connections 100000"}
	case o.top < 0:
		return &usageError{fmt.Errorf("--top must be 0 or more, not %d", o.top), "--top 0 shows all rows"}
	}
	return nil
}

// reported is a capture that was read for a report.
type reported struct {
	in        *input
	result    *analysis.Result
	collector *htmlreport.Collector
	clocks    *format.Clocks
	zone      *time.Location
	sha256    string
	head      string
	signature string
	verdict   error // of reading
}

func runReport(ctx context.Context, out, errOut io.Writer, names []string, o reportOptions) error {
	in, err := openReportInput(names)
	if err != nil {
		return err
	}
	defer in.Close()
	sig := openSignature(names[0], "")
	if o.markdown {
		return runMarkdown(ctx, out, errOut, in, sig, o)
	}
	o.output = cmp.Or(o.output, pageName(in.name, o.zip))
	if err := notItself(in, o.output); err != nil {
		return err
	}
	to, err := newBinaryTarget("page", o.output, o.force)
	if err != nil {
		return err
	}
	defer to.discard()
	writing.Store(true)
	confineExport("")
	r, err := in.report(ctx, errOut, sig, &o)
	if err == nil {
		err = writePage(ctx, to, r, &o)
	}
	if err != nil {
		return err
	}
	size := int64(0)
	if st, err := to.file.Stat(); err == nil {
		size = st.Size()
	}
	if err := to.commit(); err != nil {
		return err
	}
	r.say(ctx, errOut, to.name, size, &o)
	return r.verdict
}

// openReportInput opens the one capture that a report is of. Standard input, which can be read once, goes into a file
// that nobody else sees.
func openReportInput(names []string) (*input, error) {
	if slices.Equal(names, []string{"-"}) {
		return openSpooled()
	}
	if i := slices.Index(names, "-"); i >= 0 {
		return nil, &usageError{errors.New("a report is of one capture"), "name - alone, or files of one recording"}
	}
	list := expandFolders(names)
	ins, errs := openFiles(list)
	if err := errors.Join(errs...); err != nil {
		closeAll(ins)
		return nil, err
	}
	for _, in := range ins {
		if err := in.again(); err != nil {
			closeAll(ins)
			return nil, err
		}
	}
	if len(ins) > 1 {
		joinSets(ins)
	}
	rest := slices.DeleteFunc(ins, func(in *input) bool { return in == nil })
	if len(rest) > 1 {
		closeAll(rest)
		return nil, &usageError{fmt.Errorf("a report is of one capture, not of %d", len(rest)),
			"write one for each, like acc report " + fileName(rest[0].name)}
	}
	if len(rest[0].more) == 0 {
		if _, err := rest[0].unwrap(nil); err != nil {
			rest[0].Close()
			return nil, fmt.Errorf("%s: %w", rest[0].name, err)
		}
	}
	return rest[0], nil
}

// openSpooled opens what comes by standard input as a file.
func openSpooled() (*input, error) {
	if isTerminal(os.Stdin) {
		return nil, &hinted{errors.New("a capture can't come from a terminal"), "name a file, or pipe one in"}
	}
	f, err := os.CreateTemp("", "acc-report-*.acc")
	if err != nil {
		return nil, err
	}
	defer os.Remove(f.Name()) // which Windows does not do while it is open
	if _, err := io.Copy(f, os.Stdin); err != nil {
		f.Close()
		return nil, fmt.Errorf("read standard input: %w", err)
	}
	if err := f.Close(); err != nil {
		return nil, err
	}
	in, err := openFile(f.Name())
	if err != nil {
		return nil, err
	}
	if in.name = inputName("-"); in.bytes == 0 {
		in.Close()
		return nil, &hinted{errors.New("standard input has no capture that can be read twice"), "name a file"}
	}
	return in, nil
}

// pageName names the page after its capture.
func pageName(capture string, zip bool) string {
	ext := ".html"
	if zip {
		ext = ".zip"
	}
	base := filepath.Base(capture)
	if capture == inputName("-") {
		base = "report"
	}
	base, number := splitSource(base)
	base = strings.TrimSuffix(strings.TrimSuffix(base, ".acc"), ".html")
	if number > 0 {
		base += "-" + strconv.Itoa(number)
	}
	return base + ext
}

// report reads the capture for a report.
func (in *input) report(ctx context.Context, errOut io.Writer, sig evidence.SignatureFile, o *reportOptions) (*reported,
	error) {
	r := &reported{in: in}
	if len(in.more) == 0 {
		sum := sha256.New()
		if _, err := io.Copy(sum, in.all(ctx)); err != nil {
			return nil, in.unredactable(err)
		}
		r.sha256 = hex.EncodeToString(sum.Sum(nil))
		if err := r.readSignature(ctx, sig); err != nil {
			return nil, err
		}
	}
	in.opts = format.ReaderOptions{Salvage: o.salvage, Parts: true, Omit: []string{"cgroup"}}
	if err := in.begin(in.source, o.salvage); err != nil {
		return nil, err
	}
	r.zone = o.zone(in.Header().ZoneSec)
	connections := o.connections
	if o.fit && !o.withoutCapture && len(in.more) == 0 {
		connections = htmlreport.ConnectionsBeside(in.bytes)
	}
	r.collector = htmlreport.NewCollector(in.Start(), connections)
	opts := analysis.Options{Top: cmp.Or(o.top, -1)}
	r.collector.Listen(&opts)
	x := evidence.Examine(in.Start(), opts)
	in.each = func(b *format.Batch) {
		r.collector.Batch(b)
		r.head = hex.EncodeToString(b.Chain[:])
	}
	p := in.showProgress(errOut, false, errOut)
	defer p.stop()
	readErr := feed(ctx, in, x)
	p.stop()
	if !evidence.Ended(readErr) && !errors.As(readErr, new(*format.CorruptError)) {
		return nil, in.Verdict(readErr, x.End(), nil)
	}
	result, err := x.Finish(readErr, in.Skipped())
	if err != nil {
		return nil, err
	}
	r.result, r.clocks, r.verdict = result, x.Clocks(), in.Verdict(readErr, x.End(), result)
	return r, nil
}

// readSignature says what is known of the capture's signature.
func (r *reported) readSignature(ctx context.Context, sig evidence.SignatureFile) error {
	r.signature = "none"
	if errors.Is(sig.Err, fs.ErrNotExist) || sig.Name == "" {
		return nil
	}
	open := func(src io.Reader) (*evidence.Capture, error) {
		reader, err := format.NewReader(src, format.ReaderOptions{Salvage: true})
		if err != nil {
			return nil, err
		}
		return evidence.NewCapture(r.in.name, reader, nil)
	}
	v, err := evidence.Verify(ctx, r.in.all(ctx), open, evidence.VerifyOptions{Name: r.in.name, Signature: sig,
		Namespace: defaultNamespace})
	if err != nil {
		return r.in.unredactable(err)
	}
	r.signature = signatureText(&v.Signature)
	return nil
}

// writePage writes the page, or a zip file with it.
func writePage(ctx context.Context, to *target, r *reported, o *reportOptions) error {
	w := bufio.NewWriterSize(to, 256<<10)
	page, done := io.Writer(w), func() error { return nil }
	name := filepath.Base(to.name)
	if to.stdout {
		name = "report.html"
	}
	if o.zip {
		name = strings.TrimSuffix(name, ".zip") + ".html"
		var err error
		if page, done, err = zipOf(w, name); err != nil {
			return err
		}
	}
	if err := r.page(ctx, page, name, o); err != nil {
		return err
	}
	return errors.Join(done(), w.Flush())
}

// page writes the page under a name, and makes sure that what it has of the capture is what it says.
func (r *reported) page(ctx context.Context, w io.Writer, name string, o *reportOptions) error {
	in := r.in
	opts := htmlreport.Options{Tool: "acc " + toolVersion(), Name: captureName(in.name), Page: name, Zone: r.zone,
		SHA256: r.sha256, Head: r.head, Signature: r.signature}
	switch {
	case o.withoutCapture:
		opts.Left = "--without-capture left it out"
	case len(in.more) > 0:
		opts.Left = fmt.Sprintf("the recording has %d files", 1+len(in.more))
	default:
		opts.Bytes = in.bytes
	}
	sum := sha256.New()
	capture := io.TeeReader(in.all(ctx), sum)
	if err := r.collector.Write(w, r.result, in.Header(), r.clocks, capture, opts); err != nil {
		if errors.Is(err, errStopped) {
			return exited(130)
		}
		return err
	}
	if opts.Bytes > 0 && hex.EncodeToString(sum.Sum(nil)) != r.sha256 {
		return &hinted{fmt.Errorf("%s changed while it was read", in.name), "wait until the recording has ended"}
	}
	return nil
}

// captureName is what the capture is saved as from the page.
func captureName(name string) string {
	base := filepath.Base(name)
	if name == inputName("-") {
		base = "capture"
	}
	return strings.TrimSuffix(strings.TrimSuffix(base, ".acc"), ".html") + ".acc"
}

// say says what was written, and warns of what it gives away.
func (r *reported) say(ctx context.Context, errOut io.Writer, name string, size int64, o *reportOptions) {
	in, what := r.in, "the page"
	if o.zip {
		what = "the page in a zip file"
	}
	with := ""
	switch {
	case o.withoutCapture, len(in.more) > 0:
		with = ", without the capture"
	default:
		with = fmt.Sprintf(", with the capture (%s, SHA-256 %s)", report.Bytes(in.bytes), r.sha256)
	}
	fmt.Fprintf(errOut, "acc: %s: %s, %s%s\n", fileName(name), what, report.Bytes(size), with)
	if size > largePage && o.fit {
		fmt.Fprintln(errOut, "hint: many trackers refuse files of that size: acc cut makes a part of the capture, "+
			"--without-capture leaves it out")
	}
	fmt.Fprintf(errOut, "acc: %s: %s\n", fileName(in.name), report.Statement(&r.result.Integrity, &r.result.Recording))
	switch {
	case in.Header().Redacted != nil:
		for _, line := range report.Notices(in.Header().Redacted, nil) {
			fmt.Fprintf(errOut, "acc: %s\n", format.Quote(line))
		}
	case len(in.more) == 0:
		if revealed, err := redact.Reveal(in.all(ctx)); err == nil {
			fmt.Fprintf(errOut, "acc: it is NOT redacted: whoever has the page has %s\n", summaryOf(revealed))
			fmt.Fprintln(errOut, "hint: acc share FILE makes a page that can be given away; acc info --reveals FILE lists all")
		}
	default:
		fmt.Fprintln(errOut, "acc: it is NOT redacted: whoever has the page has names and addresses")
	}
}

// summaryOf says in one line what a capture gives away.
func summaryOf(r *redact.Revealed) string {
	var parts []string
	for _, c := range r.Classes {
		if c.Places > 0 {
			parts = append(parts, many(int(c.Values), c.Class+" value"))
		}
	}
	return strings.Join(parts, ", ")
}
