// Supply says what a binary of acc is made of, from what the Go toolchain wrote
// into it. Usage:
//
//	go run ./testdata/supply licenses BINARY   docs/LICENSES.md
//	go run ./testdata/supply sbom BINARY [VERSION]  a CycloneDX 1.6 bill of materials
//	go run ./testdata/supply texts BINARY      the licences themselves, which must go with the binary
package main

import (
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "supply:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 2 && (len(args) != 3 || args[0] != "sbom") {
		return errors.New("usage: supply licenses|texts BINARY, or supply sbom BINARY [VERSION]")
	}
	parts, info, err := read(args[1])
	if err != nil {
		return err
	}
	kept, err := inTree()
	if err != nil {
		return err
	}
	switch args[0] {
	case "licenses":
		os.Stdout.WriteString(licenses(parts, kept))
		return nil
	case "texts":
		return texts(os.Stdout, append(parts, kept...))
	case "sbom":
		if len(args) == 3 {
			info.Main.Version = args[2]
		}
		return sbom(args[1], info, append(parts, kept...))
	}
	return fmt.Errorf("unknown command %q", args[0])
}

// part is a module in the binary.
type part struct {
	Path, Version, Sum string
	License            string // SPDX
	Text               string // of the licence
	Direct             bool   // go.mod names it without "indirect"
}

// read lists the modules of a binary and finds their licences in the module cache.
func read(binary string) ([]part, *buildinfo.BuildInfo, error) {
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		return nil, nil, err
	}
	goMod, err := os.ReadFile("go.mod")
	if err != nil {
		return nil, nil, err
	}
	var parts []part
	for _, d := range info.Deps {
		out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", d.Path+"@"+d.Version).Output()
		if err != nil {
			return nil, nil, fmt.Errorf("find %s: %w", d.Path, err)
		}
		p := part{Path: d.Path, Version: d.Version, Sum: d.Sum, Direct: strings.Contains(string(goMod), d.Path+" "+d.Version+"\n")}
		if p.License, p.Text, err = license(strings.TrimSpace(string(out))); err != nil {
			return nil, nil, fmt.Errorf("%s: %w", d.Path, err)
		}
		parts = append(parts, p)
	}
	return parts, info, nil
}

// inTree lists what others made that is kept in the source and embedded into the binary.
func inTree() ([]part, error) {
	const dir = "analysis/htmlreport/page/uplot"
	version, err := os.ReadFile(filepath.Join(dir, "VERSION"))
	if err != nil {
		return nil, err
	}
	p := part{Path: "npm:uplot", Version: strings.TrimSpace(string(version))}
	if p.License, p.Text, err = license(dir); err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	return []part{p}, nil
}

// license tells the licence of a module by words that only it has, and gives its text.
func license(dir string) (spdx, text string, err error) {
	for _, name := range []string{"LICENSE", "License", "LICENSE.txt", "LICENSE.md", "COPYING"} {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			continue
		}
		if _, after, ok := strings.Cut(string(data), "SPDX-License-Identifier: "); ok {
			id, _, _ := strings.Cut(after, "\n")
			return strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(id), "*/")), string(data), nil
		}
		text := strings.ToLower(strings.Join(strings.Fields(string(data)), " "))
		var found []string
		for _, l := range []struct{ spdx, words string }{
			{"Apache-2.0", "Apache License Version 2.0, January 2004"},
			{"MPL-2.0", "Mozilla Public License Version 2.0"},
			{"BSD-3-Clause", "Neither the name of"},
			{"BSD-2-Clause", "Redistributions in binary form must reproduce"},
			{"MIT", "Permission is hereby granted, free of charge"},
			{"ISC", "Permission to use, copy, modify, and/or distribute"},
		} {
			if strings.Contains(text, strings.ToLower(l.words)) && !(l.spdx == "BSD-2-Clause" && strings.Contains(text, "neither the name of")) {
				found = append(found, l.spdx)
			}
		}
		if len(found) > 0 {
			return strings.Join(found, " AND "), string(data), nil
		}
		return "", "", fmt.Errorf("the licence in %s is not known", name)
	}
	return "", "", errors.New("no licence")
}

// texts writes the licence of each module and that of Go's own packages.
func texts(w io.Writer, parts []part) error {
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return fmt.Errorf("find Go: %w", err)
	}
	std, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(root)), "LICENSE"))
	if err != nil {
		return err
	}
	parts = append([]part{{Path: "Go's standard library", License: "BSD-3-Clause", Text: string(std)}}, parts...)
	for _, p := range parts {
		if _, err := fmt.Fprintf(w, "== %s %s: %s\n\n%s\n\n", p.Path, p.Version, p.License, strings.TrimSpace(p.Text)); err != nil {
			return err
		}
	}
	return nil
}

func licenses(parts, kept []part) string {
	var b strings.Builder
	b.WriteString("# Licences of what is in the binary\n\nWritten by `make licenses` from the binary's own list of modules; `TestLicenses` holds it against\n" +
		"`go.mod`. acc itself is Apache-2.0; its programs for the kernel are GPL-2.0-only OR BSD-2-Clause.\n\n" +
		"| module | version | licence | |\n|---|---|---|---|\n")
	for _, p := range parts {
		how := "by another one"
		if p.Direct {
			how = "named in go.mod"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", p.Path, p.Version, p.License, how)
	}
	for _, p := range kept {
		fmt.Fprintf(&b, "\nThe pages that `acc report` writes have %s %s (%s) in them; it is kept in `analysis/htmlreport/page/uplot`, and\n"+
			"`make uplot` compares it with what its makers publish.\n", strings.TrimPrefix(p.Path, "npm:"), p.Version, p.License)
	}
	return b.String()
}

func sbom(binary string, info *buildinfo.BuildInfo, parts []part) error {
	data, err := os.ReadFile(binary)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(data)
	type hash struct {
		Alg     string `json:"alg"`
		Content string `json:"content"`
	}
	type property struct {
		Name  string `json:"name"`
		Value string `json:"value"`
	}
	type component struct {
		Type     string           `json:"type"`
		Ref      string           `json:"bom-ref"`
		Name     string           `json:"name"`
		Version  string           `json:"version"`
		PURL     string           `json:"purl"`
		Licenses []map[string]any `json:"licenses"`
		Hashes   []hash           `json:"hashes,omitempty"`
		More     []property       `json:"properties,omitempty"`
	}
	one := func(kind, path, version, spdx string, hashes ...hash) component {
		ref := "pkg:golang/" + path + "@" + version
		if name, ok := strings.CutPrefix(path, "npm:"); ok {
			path, ref = name, "pkg:npm/"+name+"@"+version
		}
		return component{kind, ref, path, version, ref, []map[string]any{{"expression": spdx}}, hashes, nil}
	}
	main := one("application", info.Main.Path, info.Main.Version, "Apache-2.0", hash{"SHA-256", hex.EncodeToString(sum[:])})
	list := []component{one("library", "std", strings.TrimPrefix(info.GoVersion, "go"), "BSD-3-Clause")}
	for _, p := range parts {
		c := one("library", p.Path, p.Version, p.License)
		if p.Sum != "" {
			c.More = []property{{"go.sum", p.Sum}} // a hash over the module's files, not of an archive
		}
		list = append(list, c)
	}
	refs := []string{}
	for _, c := range list {
		refs = append(refs, c.Ref)
	}
	enc := json.NewEncoder(os.Stdout)
	enc.SetIndent("", "  ")
	return enc.Encode(map[string]any{
		"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1, "metadata": map[string]any{"component": main},
		"components": list, "dependencies": []map[string]any{{"ref": main.Ref, "dependsOn": refs}},
	})
}
