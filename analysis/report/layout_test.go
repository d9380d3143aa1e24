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
