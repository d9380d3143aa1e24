package main

// This file finds the captures of a folder.

import (
	"fmt"
	"os"
	"path/filepath"
)

// expandFolders puts the captures of a folder (*.acc, in the order of their names) in its place, and those of a merged
// file in its place.
func expandFolders(names []string) (list []string) {
	for _, name := range names {
		files := capturesIn(name)
		if name == "-" || len(files) == 0 {
			files = []string{name}
		}
		if n := len(files) - 1; n > 0 && isEmpty(files[n]) { // opened ahead by a recorder that was killed, or runs
			fmt.Fprintf(os.Stderr, "acc: %s is left out: nothing was written to it yet\n", fileName(files[n]))
			files = files[:n]
		}
		for _, file := range files {
			list = append(list, sourceNames(file)...)
		}
	}
	return list
}

func isEmpty(name string) bool {
	st, err := os.Stat(name)
	return err == nil && st.Mode().IsRegular() && st.Size() == 0
}

// capturesIn are the captures of a folder, none if it is none.
func capturesIn(name string) []string {
	if st, err := os.Stat(name); err != nil || !st.IsDir() {
		return nil
	}
	files, _ := filepath.Glob(filepath.Join(globQuote(name), "*.acc")) // fails for a bad pattern only
	return files
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
