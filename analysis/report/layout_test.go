package report

import (
	"fmt"
	"strings"
	"testing"
)

// Columns give way in their order, and no line is wider than the screen.
func TestLayout(t *testing.T) {
	columns := []column{
		{
			head:  "listener",
			yield: 1,
			least: 12,
		},
		{head: "by", yield: 3, least: 8},
		{head: "accepted"},
		{head: "executable", yield: 5, least: 10, front: true},
		{yield: 9},
	}
	rows := [][]string{
		{"0.0.0.0:80", "nginx (2)", "61", "/usr/sbin/nginx", "▁▂▃▄"},
		{"[2001:db8::4711]:8443", "アプリケーション", "1,204", "/opt/application/bin/server", "█"},
	}
	for _, x := range []struct {
		width int
		want  string
	}{
		{120, `
listener               by                accepted  executable
0.0.0.0:80             nginx (2)         61        /usr/sbin/nginx              ▁▂▃▄
[2001:db8::4711]:8443  アプリケーション  1,204     /opt/application/bin/server  █`},
		{78, `
listener               by                accepted  executable
0.0.0.0:80             nginx (2)         61        /usr/sbin/nginx
[2001:db8::4711]:8443  アプリケーション  1,204     /opt/application/bin/server`},
		{60, `
listener               by               accepted  executable
0.0.0.0:80             nginx (2)        61        …bin/nginx
[2001:db8::4711]:8443  アプリケーショ…  1,204     …in/server`},
	} {
		t.Run(fmt.Sprint(x.width), func(t *testing.T) {
			lines := layout(x.width, columns, rows)
			if got := "\n" + strings.Join(lines, "\n"); got != x.want {
				t.Errorf("got%s\nwant%s", got, x.want)
			}
			for _, l := range lines {
				if cells(l) > x.width {
					t.Errorf("%d cells: %s", cells(l), l)
				}
			}
		})
	}
}

// A text goes on under its beginning.
func TestParagraphs(t *testing.T) {
	got := Paragraphs(
		40,
		[][]string{
			{"file", "intact"},
			{"cross-check", "the kernel counted the same number of connections"},
			{"", "  as many"},
		},
	)
	if want := "file         intact\ncross-check  the kernel counted the same\n             number of connections\n               as many\n"; got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

// A number and its unit stay on one line, whichever way a text is broken.
func TestNumbersKeepTheirUnits(t *testing.T) {
	const text = "it waited 3.21 s, then 12 ms, 40 % of 1.00 KiB (in 7 places) and 5 s"
	for width := 20; width < 70; width++ {
		folded := string(AppendFolded(nil, []byte(text), width, 2))
		for _, broken := range []string{folded, strings.Join(wrap(text, width), "\n")} {
			for _, pair := range []string{"3.21 s,", "12 ms,", "40 %", "1.00 KiB", "5 s"} {
				if !strings.Contains(broken, pair) {
					t.Errorf("at %d: %q is broken in %q", width, pair, broken)
				}
			}
			if strings.Join(strings.Fields(broken), " ") != text {
				t.Errorf("at %d: %q", width, broken)
			}
		}
	}
}
