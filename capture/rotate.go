package capture

import (
	"io"
	"time"

	"github.com/acc-project/acc/format"
)

// Rotate says when a recording goes on in another file. Each file is a capture by itself, with what listened at
// its beginning and an account of its own; no event is in two of them or in none.
type Rotate struct {
	Bytes int64         // when the file has about so many; 0: not for that
	Every time.Duration // when it is so old; 0: not for that

	// Next opens the next file, and is not called by the recording goroutine. With an error the recording goes on
	// in the file that it has, and Next is called again a minute later.
	Next func() (io.Writer, error)
	// Ended takes a file that is no longer written, with its END; a nil one says that nothing was written to it. It
	// is not called by the recording goroutine, and Record waits for it. It is not called for the last file.
	Ended   func(w io.Writer, end *format.End)
	Owner   int  // user to whom Next gives the files, 0: nobody
	Links   bool // files get further names in folders that are made
	Foreign bool // the folder is such that root needs its privileges to make files in it

	// Failed takes the error of Next, and others that keep the recording in its file. It must not wait.
	Failed func(error)
}

// Rotate has the recording go on in another file now.
func (c *Control) Rotate() (err error) {
	asked := c.ask(func(s *session) { err = s.askRotation() })
	if asked != nil {
		return asked
	}
	return err
}
