package main

// This file finds the captures of a folder.

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// expandFolders puts the captures of a folder (*.acc, in the order of their names) in its place, and those of a merged
// file in its place.
func expandFolders(names []string) (list []string) {
	for _, name := range names {
		files := capturesIn(name)
		if name == "-" || len(files) == 0 {
			files = []string{name}
		}
		for i, file := range files {
			if why := notYet(files, i); why != "" {
				fmt.Fprintf(os.Stderr, "acc: %s is left out: %s\n", fileName(file), why)
				continue
			}
			list = append(list, sourceNames(file)...)
		}
	}
	return list
}

// notYet says why file i of a folder is none to read; "" if it is one. A recorder opens its next file ahead: if it was
// killed, or still runs, the last of its files is empty.
func notYet(files []string, i int) string {
	st, err := os.Stat(files[i])
	switch {
	case len(files) == 1 || err != nil || st.IsDir(): // named as it is, or with an error that says more
	case !st.Mode().IsRegular(): // a pipe would be waited for
		return "it is not a regular file"
	case st.Size() == 0 && (i+1 == len(files) || series(files[i]) != series(files[i+1])):
		return "nothing was written to it yet"
	}
	return ""
}

// series is what the names of one recording's files begin with: their folder and host.
func series(name string) string {
	for range 2 { // acc-HOST-TIME-NUMBER.acc
		name = name[:max(strings.LastIndexByte(name, '-'), 0)]
	}
	return name
}

// capturesIn are the captures of a folder, none if it is none. One without captures has those of its folders, such as
// one of each host.
func capturesIn(name string) []string {
	if st, err := os.Stat(name); err != nil || !st.IsDir() {
		return nil
	}
	for _, pattern := range []string{"*.acc", filepath.Join("*", "*.acc")} {
		files, _ := filepath.Glob(filepath.Join(globQuote(name), pattern)) // fails for a bad pattern only
		if len(files) > 0 {
			return files
		}
	}
	return nil
}

// globQuote makes a name mean itself in a pattern.
func globQuote(name string) string {
	var b []byte
	for i := range len(name) {
		if c := name[i]; c == '*' || c == '?' || c == '[' || c == '\\' && filepath.Separator != '\\' {
			b = append(b, '\\')
		}
		b = append(b, name[i])
	}
	return string(b)
}

// refuseFolder is the error of reading a folder as a capture.
func refuseFolder(f *os.File) error {
	switch st, err := f.Stat(); {
	case err != nil || !st.IsDir():
		return nil
	case len(capturesIn(f.Name())) == 0:
		return &hinted{fmt.Errorf("%s is a folder without a capture (*.acc)", fileName(f.Name())),
			"name a capture, or a folder in which captures are"}
	}
	return &hinted{fmt.Errorf("%s is a folder, and this command reads one capture", fileName(f.Name())),
		"acc info FOLDER lists the captures in it; name one of them"}
}
