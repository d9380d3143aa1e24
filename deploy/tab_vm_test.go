package deploy

// This file types at the shells that the packages have completions for.

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// What a person sees who types a part of a line and TAB in bash, zsh and fish, after apt install: commands, and what
// this host has of ports, units, containers, pods and captures.
func TestVMTab(t *testing.T) {
	needSystemd(t)
	quiet := transcript{t, discard{}}
	if _, err := os.Stat("/usr/bin/acc"); err != nil {
		quiet.run("apt-get install -qq -y " + oneOf(t, "/in/newer/acc_*_amd64.deb"))
		defer quiet.run("apt-get purge -qq -y acc")
	}
	world(t, quiet)
	quiet.run("mkdir -p /tmp/tab/old && cd /tmp/tab && touch incident.acc notes.txt old/x.acc")
	quiet.run("echo \". /usr/share/bash-completion/bash_completion; PS1='$ '; bind 'set bell-style none'\" >/tmp/tab.bash")
	quiet.run("mkdir -p /tmp/zsh; echo \"autoload -Uz compinit; compinit -u; PS1='$ '\" >/tmp/zsh/.zshrc")
	quiet.run("mkdir -p /tmp/fish/fish; echo \"function fish_prompt; printf '$ '; end; function fish_greeting; end\" " +
		">/tmp/fish/fish/config.fish")
	out, err := os.Create("/out/tab.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	for shell, start := range map[string]string{
		"bash": "bash --rcfile /tmp/tab.bash -i",
		"zsh":  "env ZDOTDIR=/tmp/zsh zsh -i",
		"fish": "env XDG_CONFIG_HOME=/tmp/fish fish -i",
	} {
		for n, c := range []struct {
			line       string
			want, lack []string
		}{
			{"acc ", []string{"analyze", "record", "verify", "Check that a capture is intact"}, []string{"incident.acc"}},
			{"acc record --probe ", []string{"auto", "kprobe", "fentry"}, []string{"incident.acc"}},
			{"acc record --port ", []string{"7101", "7102", "7103"}, []string{"incident.acc"}},
			{"acc record --unit ", []string{"shop.service", "web.service"}, nil},
			{"acc record --pod ", []string{"shop/till-0"}, nil},
			{"acc record --container ", []string{podContainer[:12]}, nil},
			{"acc record --on ", []string{"fd-exhausted", "queue-overflow"}, nil},
			{"acc analyze --fail-on ", []string{"critical", "warning", "notice"}, nil},
			{"acc analyze ", []string{"incident.acc", "old/"}, []string{"notes.txt"}},
			{"acc analyze --connections -f queue", []string{"queue_wait", "queued_at"}, nil},
		} {
			tmux := fmt.Sprintf("tmux -f /dev/null -L %s%d ", shell, n)
			quiet.run("cd /tmp/tab && LANG=C.UTF-8 " + tmux + "new-session -d -x 120 -y 45 " + shellQuote(start))
			screen := func() string { return quiet.run(tmux + "capture-pane -p") }
			until(t, shell+"'s prompt", func() bool { return strings.Contains(screen(), "$") })
			quiet.run(tmux + "send-keys " + shellQuote(c.line) + " Tab Tab")
			text := ""
			until(t, fmt.Sprintf("%s: %s<TAB> with %q", shell, c.line, c.want), func() bool {
				text = screen()
				for _, w := range c.want {
					if !strings.Contains(text, w) {
						return false
					}
				}
				return true
			})
			for _, w := range c.lack {
				if strings.Contains(text, w) {
					t.Errorf("%s: %s<TAB>: %q is offered\n%s", shell, c.line, w, text)
				}
			}
			fmt.Fprintf(out, "%s: %s<TAB><TAB>\n%s\n\n", shell, c.line, strings.TrimRight(text, "\n"))
			quiet.run(tmux + "kill-server")
		}
	}
}

// shellQuote makes one word of a text for a shell.
func shellQuote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
