package main

// This file names functions of programs by files with symbols (acc analyze --symbols).

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/acc-project/acc/capture/stacks"
	"github.com/acc-project/acc/format"
)

// maxSymbolFiles is how many files of a folder are looked at.
const maxSymbolFiles = 20_000

// symbols names functions by the files of a folder: those that have the build id of the program.
type symbols struct {
	dir   string
	files map[string]string // by build id; nil: they are not looked at yet
	more  bool              // there are more than are looked at

	named, asked int
	missing      []string // what no file was found for
}

// openSymbols takes the folder, or one file, that --symbols names; nil without one.
func (o *analyzeOptions) openSymbols() (*symbols, error) {
	if o.symbols == "" {
		return nil, nil
	}
	if _, err := os.Stat(o.symbols); err != nil {
		return nil, &hinted{fmt.Errorf("--symbols: %w", err), "name a folder of programs or debug files, like " +
			"/usr/lib/debug, or one such file"}
	}
	return &symbols{dir: o.symbols}, nil
}

// readable is what a confined reader goes on to read.
func (o *analyzeOptions) readable() []string {
	if o.symbols == "" {
		return nil
	}
	return []string{o.symbols}
}

// names is of [meanwhile.Names].
func (s *symbols) names(image *format.Image, offsets []uint64) []string {
	list := make([]string, len(offsets))
	s.asked += len(offsets)
	path := s.find(image.BuildID)
	if path == "" {
		why := "build id " + image.BuildID
		if image.BuildID == "" {
			why = "it has no build id"
		}
		s.missing = append(s.missing, fmt.Sprintf("%s (%s)", format.Quote(image.Path), format.Quote(why)))
		return list
	}
	f, err := os.Open(path)
	if err != nil {
		s.missing = append(s.missing, fmt.Sprintf("%s (%v)", format.Quote(image.Path), err))
		return list
	}
	defer f.Close()
	x, err := stacks.Open(f)
	if err != nil || x.BuildID != image.BuildID {
		return list
	}
	list = x.Names(offsets)
	for _, name := range list {
		if name != "" {
			s.named++
		}
	}
	return list
}

// find finds the file of a build id, as debuggers do, then among all files; "" if there is none.
func (s *symbols) find(id string) string {
	if len(id) < 4 {
		return ""
	}
	for _, dir := range []string{s.dir, filepath.Join(s.dir, ".build-id"), filepath.Join(s.dir, "usr/lib/debug/.build-id")} {
		path := filepath.Join(dir, id[:2], id[2:]+".debug")
		if st, err := os.Stat(path); err == nil && st.Mode().IsRegular() {
			return path
		}
	}
	if s.files == nil {
		s.look()
	}
	return s.files[id]
}

var errEnough = errors.New("enough")

// look notes the build ids of all files. Of several with one build id the one with more is kept.
func (s *symbols) look() {
	s.files = map[string]string{}
	sizes, n := map[string]int64{}, 0
	_ = filepath.WalkDir(s.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return nil
		}
		if n++; n > maxSymbolFiles {
			s.more = true
			return errEnough
		}
		f, err := os.Open(path)
		if err != nil {
			return nil
		}
		defer f.Close()
		st, err := f.Stat()
		if err != nil {
			return nil
		}
		if x, err := stacks.Open(f); err == nil && x.BuildID != "" && st.Size() > sizes[x.BuildID] {
			s.files[x.BuildID], sizes[x.BuildID] = path, st.Size()
		}
		return nil
	})
}

// say says on standard error what was named.
func (s *symbols) say(errOut io.Writer) {
	switch {
	case s.asked == 0:
		fmt.Fprintf(errOut, "acc: --symbols: the capture has no function without a name\n")
		return
	case s.more:
		fmt.Fprintf(errOut, "acc: --symbols: %s has more than %d files; name a smaller folder\n", format.Quote(s.dir),
			maxSymbolFiles)
	}
	fmt.Fprintf(errOut, "acc: --symbols: %d of %d places named\n", s.named, s.asked)
	slices.Sort(s.missing)
	for _, m := range s.missing[:min(len(s.missing), 5)] {
		fmt.Fprintf(errOut, "acc: --symbols: no file for %s\n", m)
	}
}
