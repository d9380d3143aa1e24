package conntrack

import (
	"testing"

	"github.com/acc-project/acc/format"
)

// Who ended a connection that was left with an error depends on what the server had shut down: one that closed
// answers what still comes with an RST, and has ECONNRESET itself.
func TestEndOfShutDown(t *testing.T) {
	for _, x := range []struct {
		state, shutdown uint8
		want            End
	}{
		{format.StateFinWait1, 3, EndByServer},
		{format.StateFinWait2, 3, EndByServer},
		{format.StateFinWait2, 3 + 8 + 16, EndByServer},
		{format.StateFinWait2, 2, EndResetByClient}, // shutdown(SHUT_WR): the server still reads
		{format.StateFinWait1, 2, EndResetByClient},
		{format.StateEstablished, 1, EndResetByClient},
		{format.StateCloseWait, 3, EndWriteRefused},
	} {
		e := format.Event{Kind: format.Closed, Inode: 7, OldState: x.state, SockErr: errnoReset, Shutdown: x.shutdown}
		if got := EndOf(&e); got != x.want {
			t.Errorf("%s, shut down %d: %s, want %s", format.StateName(x.state), x.shutdown, got, x.want)
		}
	}
}
