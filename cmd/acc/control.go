package main

// This file has the socket by which acc ctl asks a recording: a line of JSON each way.

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/acc-project/acc/capture"
)

// controlFolder is where the sockets are.
var controlFolder = "/run/acc"

// controlTime is how long one who asks may take, and the recorder to answer.
const controlTime = 10 * time.Second

// controlRequest is what acc ctl asks.
type controlRequest struct {
	Command string `json:"command"` // status, mark, rotate, stop or dump
	Text    string `json:"text,omitempty"`
	// of a dump: what is kept of the time from so long ago until so long ago; 0: all, and until now
	FromNS  time.Duration `json:"from_ns,omitempty"`
	UntilNS time.Duration `json:"until_ns,omitempty"`
	UID     uint32        `json:"uid"` // who asks: the caller of sudo, if there is one
}

// controlAnswer is what the recording says.
type controlAnswer struct {
	Error  string       `json:"error,omitempty"`  // why it did not do it, "" if it did
	Status *statusReply `json:"status,omitempty"` // how it stands, for status
	Folder string       `json:"folder,omitempty"` // of the dump, for dump
}

// statusReply is how a recording stands.
type statusReply struct {
	Name      string `json:"name"`       // of the recording
	PID       int    `json:"pid"`        // of the recorder
	File      string `json:"file"`       // that is written, as -o named it; of several the newest
	ElapsedNS int64  `json:"elapsed_ns"` // since it began
	Events    uint64 `json:"events"`     // recorded
	Lost      uint64 `json:"lost"`       // as far as is known by now
	Bytes     int64  `json:"bytes"`      // written, in all files
}

var controlName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// controlPath is the socket of a recording.
func controlPath(name string) string { return filepath.Join(controlFolder, name+".sock") }

// controlServer answers acc ctl.
type controlServer struct {
	name      string
	listener  *net.UnixListener
	recording *capture.Control
	stop      func()
	file      func() string // that is written
	flight    *flightRecorder
}

// checkName refuses a --name that can't be one; "" is none.
func checkName(name string) error {
	if name == "" || controlName.MatchString(name) {
		return nil
	}
	return &usageError{fmt.Errorf("--name %q is no name: letters, digits, '.', '_' and '-', at most 64", name),
		"like --name web"}
}

// newControlServer opens the socket of a recording with a name; nobody but this user can connect.
func newControlServer(name string) (*controlServer, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	if err := os.Mkdir(controlFolder, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("make the folder of control sockets: %w", err)
	}
	path := controlPath(name)
	if conn, err := net.DialTimeout("unix", path, time.Second); err == nil {
		conn.Close()
		return nil, &hinted{fmt.Errorf("a recording with the name %s runs", name), "another --name; acc ctl status " + name}
	}
	if st, err := os.Lstat(path); err == nil && st.Mode()&fs.ModeSocket != 0 {
		_ = os.Remove(path) // of one that was killed
	}
	old := umask(0o177)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	umask(old)
	if err != nil {
		return nil, fmt.Errorf("open the control socket: %w", err)
	}
	return &controlServer{name: name, listener: l}, nil
}

// serve answers one after another until close is called.
func (s *controlServer) serve() {
	for {
		conn, err := s.listener.AcceptUnix()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			time.Sleep(100 * time.Millisecond)
			continue
		}
		_ = conn.SetDeadline(time.Now().Add(controlTime))
		answer := controlAnswer{}
		var req controlRequest
		line, err := bufio.NewReader(io.LimitReader(conn, 64<<10)).ReadBytes('\n')
		if err == nil {
			err = json.Unmarshal(line, &req)
		}
		if err == nil {
			err = s.do(&req, &answer)
		}
		if err != nil {
			answer.Error = err.Error()
		}
		_ = json.NewEncoder(conn).Encode(answer)
		conn.Close()
	}
}

func (s *controlServer) do(req *controlRequest, answer *controlAnswer) error {
	switch req.Command {
	case "status":
		st, err := s.recording.Status()
		if err != nil {
			return err
		}
		answer.Status = &statusReply{Name: s.name, PID: os.Getpid(), File: s.file(), ElapsedNS: int64(st.Elapsed),
			Events: st.Events, Lost: st.Lost, Bytes: st.Bytes}
		return nil
	case "mark":
		return s.recording.Mark(req.Text, req.UID)
	case "rotate":
		return s.recording.Rotate()
	case "dump":
		if s.flight == nil {
			return errors.New("this recording is no flight recorder: it was begun without --ring")
		}
		why := "acc ctl dump"
		if req.Text != "" {
			why += ": " + req.Text
		}
		folder, err := s.flight.begin(why, req.FromNS, req.UntilNS)
		answer.Folder = folder
		return err
	case "stop":
		s.stop()
		return nil
	}
	return fmt.Errorf("this acc does not know %q", req.Command)
}

// close ends it, and removes the socket.
func (s *controlServer) close() {
	if s != nil {
		s.listener.Close()
	}
}

// askRecording has a recording do something.
func askRecording(ctx context.Context, name string, req controlRequest) (answer controlAnswer, err error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", controlPath(name))
	if err != nil {
		return answer, &hinted{fmt.Errorf("no recording answers at %s: %w", controlPath(name), errors.Unwrap(err)),
			"acc record --name NAME begins one that does"}
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(2 * controlTime))
	if err := json.NewEncoder(conn).Encode(req); err != nil {
		return answer, fmt.Errorf("ask the recording: %w", err)
	}
	if err := json.NewDecoder(io.LimitReader(conn, 64<<10)).Decode(&answer); err != nil {
		return answer, fmt.Errorf("read the recording's answer: %w", err)
	}
	if answer.Error != "" {
		return answer, errors.New(answer.Error)
	}
	return answer, nil
}
