// Mutate measures whether tests notice changes of the code: it makes small
// changes to a package, one at a time, runs its tests with each, and says how many
// made them fail, and which did not. All changes are compiled into one test binary;
// the environment variable ACC_MUTANT chooses one. Usage:
//
//	go run ./testdata/mutate [-n COUNT] [-seed N] [-least PERCENT] [-list] DIR [TEST ARG...]
//
// Without -n all mutants are tried. Lines with "mutate: ignore" are left alone;
// what stands behind it should say why.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

func main() {
	log := func(err error) {
		fmt.Fprintln(os.Stderr, "mutate:", err)
		os.Exit(1)
	}
	count := flag.Int("n", 0, "try so many, chosen at random; 0: all")
	seed := flag.Uint64("seed", 1, "of the choice")
	least := flag.Float64("least", 0, "fail below so many percent killed")
	list := flag.Bool("list", false, "list the mutants and try none")
	only := flag.Int("only", 0, "try this one and show what the tests say")
	timeout := flag.Duration("timeout", 2*time.Minute, "of one run")
	flag.Parse()
	if flag.NArg() < 1 {
		log(errors.New("name the folder of a package"))
	}
	tmp, err := os.MkdirTemp("", "mutate")
	if err != nil {
		log(err)
	}
	defer os.RemoveAll(tmp)
	muts, bin, err := prepare(flag.Arg(0), tmp, *list)
	if err != nil {
		log(err)
	}
	if *list {
		for _, m := range muts {
			fmt.Println(m)
		}
		return
	}
	run := func(n int) (string, bool) {
		ctx, cancel := context.WithTimeout(context.Background(), *timeout)
		defer cancel()
		cmd := exec.CommandContext(ctx, bin, append([]string{"-test.failfast", "-test.short"}, flag.Args()[1:]...)...)
		cmd.Dir = flag.Arg(0)
		cmd.Env = append(os.Environ(), fmt.Sprint("ACC_MUTANT=", n), "GOMEMLIMIT=2GiB", "ACC_FIGURES=", "ACC_TORTURE=")
		out, err := cmd.CombinedOutput()
		return string(out), err == nil
	}
	if out, ok := run(0); !ok {
		log(fmt.Errorf("the tests fail without a mutant:\n%.3000s", out))
	}
	if *only > 0 {
		out, ok := run(*only)
		fmt.Printf("%s\nsurvives: %v\n%.5000s", muts[*only-1], ok, out)
		return
	}
	order := rand.New(rand.NewPCG(*seed, 1)).Perm(len(muts))
	if *count > 0 && *count < len(order) {
		order = order[:*count]
	}
	killed := 0
	for i, at := range order {
		if _, survives := run(at + 1); survives {
			fmt.Println("survives:", muts[at])
		} else {
			killed++
		}
		if (i+1)%50 == 0 {
			fmt.Printf("%d of %d tried, %d killed\n", i+1, len(order), killed)
		}
	}
	share := 100 * float64(killed) / float64(len(order))
	text := fmt.Sprintf("%d of %d mutants tried (seed %d), %d killed: %.1f %%", len(order), len(muts), *seed, killed, share)
	fmt.Println(text)
	if name := os.Getenv("ACC_FIGURES"); name != "" {
		verdict := "pass"
		if share < *least {
			verdict = "FAIL"
		}
		f, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
		if err != nil {
			log(err)
		}
		fmt.Fprintf(f, "host\tE1 mutants of %s\t-\t%s\t%s\n", filepath.Base(flag.Arg(0)), verdict, text)
		f.Close()
	}
	if share < *least {
		log(fmt.Errorf("less than %.0f %% are killed", *least))
	}
}

// prepare writes the mutated files to tmp and compiles the tests with them.
func prepare(dir, tmp string, listOnly bool) (muts []string, bin string, err error) {
	pkg, err := load(dir)
	if err != nil {
		return nil, "", err
	}
	overlay := map[string]string{}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, "", err
	}
	for _, f := range pkg.files {
		text := pkg.mutate(f, &muts)
		name := filepath.Join(tmp, f.name)
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			return nil, "", err
		}
		overlay[filepath.Join(abs, f.name)] = name
	}
	if listOnly {
		return muts, "", nil
	}
	helper := filepath.Join(tmp, "zz_mutant.go")
	if err := os.WriteFile(helper, []byte(fmt.Sprintf(helperText, pkg.types.Name())), 0o600); err != nil {
		return nil, "", err
	}
	overlay[filepath.Join(abs, "zz_mutant.go")] = helper
	text, err := json.Marshal(map[string]any{"Replace": overlay})
	if err != nil {
		return nil, "", err
	}
	plan := filepath.Join(tmp, "overlay.json")
	if err := os.WriteFile(plan, text, 0o600); err != nil {
		return nil, "", err
	}
	bin = filepath.Join(tmp, "test")
	out, err := exec.Command("go", "test", "-c", "-vet=off", "-overlay", plan, "-o", bin, "./"+strings.TrimPrefix(dir, "./")).CombinedOutput()
	if err != nil {
		return nil, "", fmt.Errorf("compile mutants: %w\n%.3000s", err, out)
	}
	return muts, bin, nil
}

const helperText = `package %s

import (
	"os"
	"strconv"
)

var mutantNow = func() int { n, _ := strconv.Atoi(os.Getenv("ACC_MUTANT")); return n }()

func mutant_(n int) bool { return mutantNow == n }

func pick_[T any](n int, a, b T) T {
	if mutantNow == n {
		return b
	}
	return a
}
`
