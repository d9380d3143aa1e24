package main

import (
	"testing"

	"github.com/spf13/pflag"
)

// Each value that a flag takes and each argument has a completion of its own: what none
// is registered for is completed by any file.
func TestCompletion(t *testing.T) {
	for _, c := range newRootCommand().Commands() {
		if c.Runnable() && c.Name() != "version" && c.Name() != "doctor" && c.ValidArgsFunction == nil {
			t.Errorf("acc %s: no completion of its arguments", c.Name())
		}
		c.Flags().VisitAll(func(f *pflag.Flag) {
			if f.Value.Type() == "bool" {
				return
			}
			if by, ok := c.GetFlagCompletionFunc(f.Name); !ok || by == nil {
				t.Errorf("acc %s --%s: no completion of its value", c.Name(), f.Name)
			}
			if name, _ := pflag.UnquoteUsage(f); name == f.Value.Type() {
				t.Errorf("acc %s --%s: its help has no name for its value, in backquotes", c.Name(), f.Name)
			}
		})
	}
}

// Each command stands in a group.
func TestHelpGroups(t *testing.T) {
	root := newRootCommand()
	root.InitDefaultHelpCmd()
	for _, c := range root.Commands() {
		if c.GroupID == "" && c.Name() != "help" {
			t.Errorf("acc %s is in no group of acc --help", c.Name())
		}
	}
}
