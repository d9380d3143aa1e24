package main

// This file is acc report --markdown.

import (
	"bytes"
	"context"
	"fmt"
	"io"

	"github.com/acc-project/acc/analysis/report"
	"github.com/acc-project/acc/evidence"
	"github.com/acc-project/acc/format"
)

func runMarkdown(ctx context.Context, out, errOut io.Writer, in *input, sig evidence.SignatureFile,
	o reportOptions) error {
	var to *target
	if o.output != "" && o.output != "-" {
		if err := notItself(in, o.output); err != nil {
			return err
		}
		var err error
		if to, err = newTarget(out, o.output, o.force); err != nil {
			return err
		}
		defer to.discard()
		writing.Store(true)
		confineExport("")
	} else {
		confineReader()
	}
	r, err := in.report(ctx, errOut, sig, &o)
	var b bytes.Buffer
	if err == nil {
		err = r.markdown(&b)
	}
	if err == nil && to == nil {
		_, err = out.Write(b.Bytes())
	} else if err == nil {
		if _, err = to.Write(b.Bytes()); err == nil {
			err = to.commit()
		}
	}
	if err != nil {
		return err
	}
	if in.Header().Redacted == nil {
		fmt.Fprintln(errOut, "acc: the capture is not redacted: names and addresses are the original ones")
	}
	return r.verdict
}

// markdown writes the summary.
func (r *reported) markdown(w io.Writer) error {
	sum := r.sha256
	if sum == "" {
		sum = "of several files"
	}
	return report.Markdown(w, r.result, report.TextOptions{Width: 100, Zone: r.zone}, 0,
		fmt.Sprintf("capture     %s, %s\nsha256      %s\nchain head  %s\nsignature   %s\nmade by     acc %s",
			format.Quote(captureName(r.in.name)), report.Bytes(r.in.bytes), sum, r.head, r.signature, toolVersion()))
}
