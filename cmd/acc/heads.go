package main

// This file reads the chain heads that verify is given.

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/acc-project/acc/evidence"
	"github.com/acc-project/acc/evidence/checkpoints"
)

// headsOf reads the heads of --head and --checkpoints, and says what does not count.
func headsOf(errOut io.Writer, args []string, name string) (*evidence.Kept, error) {
	k := &evidence.Kept{}
	for _, a := range args {
		w := evidence.Head{Frame: -1, Hex: strings.ToLower(a)}
		if frame, head, ok := strings.Cut(a, ":"); ok {
			n, err := strconv.ParseUint(frame, 10, 32)
			if err != nil {
				return nil, &usageError{fmt.Errorf("--head %q: the frame is not a number", a), "like --head 12:HEX"}
			}
			w.Frame, w.Hex = int64(n), strings.ToLower(head)
		}
		if b, err := hex.DecodeString(w.Hex); err != nil || len(b) != 32 {
			return nil, &usageError{fmt.Errorf("--head %q is not 64 hexadecimal digits", a),
				"acc verify prints the head of a capture"}
		}
		k.Heads = append(k.Heads, w)
	}
	if name == "" {
		return k, nil
	}
	in := io.Reader(os.Stdin)
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	log, err := checkpoints.Read(in)
	if errors.Is(err, checkpoints.ErrExport) {
		return nil, &hinted{fmt.Errorf("read %s: %w", inputName(name), err), "journalctl -t acc -o json"}
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", inputName(name), err)
	}
	k.Log = log
	if log.Others > 0 {
		fmt.Fprintf(errOut, "acc: %s: lines that contain a checkpoint and do not count, since the log does not say "+
			"that acc wrote them: %d, the first is line %d\n",
			fileName(inputName(name)), log.Others, log.First)
	}
	if log.Cut > 0 {
		fmt.Fprintf(errOut, "acc: %s: lines that are too long to be looked at: %d\n", fileName(inputName(name)),
			log.Cut)
	}
	if len(log.Lines) == 0 {
		err := fmt.Errorf("read %s: no line of a checkpoint by acc is in it", inputName(name))
		if log.Others > 0 {
			return nil, &hinted{err, "journalctl -t acc -o json says who wrote what"}
		}
		return nil, err
	}
	return k, nil
}
