package main

// This file finds the captures in a merged file: all.acc#2 is the second one in all.acc.

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"github.com/acc-project/acc/analysis"
	"github.com/acc-project/acc/format"
)

// sourceName names a capture of a merged file.
func sourceName(file string, number int) string { return file + "#" + strconv.Itoa(number) }

// splitSource splits the name of a capture in a merged file; 0: it is none.
func splitSource(name string) (file string, number int) {
	i := strings.LastIndexByte(name, '#')
	if i < 1 {
		return name, 0
	}
	n, err := strconv.Atoi(name[i+1:])
	if err != nil || n < 1 {
		return name, 0
	}
	return name[:i], n
}

// openNumbered opens a file, or the merged file in which a capture is, and gives the number of that; 0: it was not
// asked for one.
func openNumbered(name string) (*os.File, int, error) {
	f, err := os.Open(name)
	if file, number := splitSource(name); errors.Is(err, fs.ErrNotExist) && number > 0 {
		if merged, err := os.Open(file); err == nil {
			return merged, number, nil
		}
	}
	return f, 0, err
}

// isMerged reports whether a file is a merged one.
func isMerged(f io.ReaderAt) bool {
	head := make([]byte, 16)
	n, _ := f.ReadAt(head, 0)
	return format.IsMerged(head[:n])
}

// sourceNames are the names of the captures in a merged file; of another file its own.
func sourceNames(name string) (names []string) {
	st, err := os.Stat(name)
	if name == "-" || err != nil || !st.Mode().IsRegular() { // opening a pipe waits
		return []string{name}
	}
	f, err := os.Open(name)
	if err != nil {
		return []string{name}
	}
	defer f.Close()
	if !isMerged(f) {
		return []string{name}
	}
	list, err := format.FindSources(f, st.Size())
	if err != nil {
		return []string{name}
	}
	for _, s := range list {
		names = append(names, sourceName(name, s.Number))
	}
	return names
}

// openSource makes an input that is a merged file the capture of a number in it.
func (in *input) openSource(f *os.File, number int) error {
	if !isMerged(f) {
		if number > 0 {
			file, _ := splitSource(in.name)
			return &hinted{fmt.Errorf("%s is not there, and %s is no merged file", in.name, file), "check the name"}
		}
		return nil
	}
	list, err := format.FindSources(f, in.bytes)
	if err != nil {
		return fmt.Errorf("%s: %w", in.name, err)
	}
	switch {
	case number == 0:
		return &usageError{fmt.Errorf("%s has %d captures, and this command reads one", fileName(in.name), len(list)),
			fmt.Sprintf("name it, like %s; acc info %s lists them", fileName(sourceName(in.name, 1)), fileName(in.name))}
	case number > len(list):
		file, _ := splitSource(in.name)
		return &hinted{fmt.Errorf("%s has %d captures, and no number %d", file, len(list), number),
			"acc info " + fileName(file) + " lists them"}
	}
	s := &list[number-1]
	if s.Bytes == 0 && s.Damage != nil {
		return &hinted{fmt.Errorf("%s: %w", in.name, s.Damage), "the other captures of the file can be read; " + copyAgain}
	}
	in.merged = s
	in.enter(io.NewSectionReader(f, s.Offset, s.Bytes))
	return nil
}

// mergedVerdict is what is wrong with the merged file at this capture, where nothing is wrong with the capture.
func (in *input) mergedVerdict() error {
	if in.merged == nil || in.merged.Damage == nil {
		return nil
	}
	return &hinted{fmt.Errorf("%s: %w", in.name, in.merged.Damage),
		"the capture itself was read to its end; if another one is missing, copy the merged file again"}
}

// Verdict is that of the capture, or else what is wrong with the merged file.
func (in *input) Verdict(err error, end *format.End, r *analysis.Result) error {
	if v := in.Capture.Verdict(err, end, r); v != nil {
		return v
	}
	return in.mergedVerdict()
}
