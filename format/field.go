package format

// This file has the table of fields: what each is called, means, and where it lies.

import (
	"net/netip"
	"slices"
	"unsafe"

	"github.com/vmihailenco/msgpack/v5"
)

// Type is how a field's values are written in a block and printed.
type Type string

// The types of a field.
const (
	Int    Type = "int"  // signed integer
	Uint   Type = "uint" // unsigned integer, modulo 2^64
	Bool   Type = "bool" // 0 or 1
	String Type = "str"  // text: bytes as the kernel has them, in a dictionary
	Addr   Type = "addr" // IP address: 4 or 16 bytes, none if empty, in a dictionary
)

// FieldSpec is the part of a field's description that a capture carries in its
// header, so that its columns can be decoded without this package.
type FieldSpec struct {
	_msgpack struct{} `msgpack:",as_array"` //lint:ignore U1000 msgpack reads its tag

	Name string `json:"name"` // of the field
	Type Type   `json:"type"` // of its values in a block: int, uint, bool, str or addr
	// On says which events have the field: those whose named fields have one of
	// these values. Empty: all events.
	On Condition `json:"on,omitempty"`
	// Key names the fields whose values pick the earlier event that a value is
	// the difference to: the last one in the block that has the field and the
	// same key; if there is none, or Key is empty, the last one that has the
	// field. Nil: no event, the value itself is written.
	Key []string `json:"key,omitempty"`
}

// Condition is the values that some fields of an event must have, by the fields' names. It is written in the order
// of the names, so that two writes of the same capture are equal byte for byte.
type Condition map[string][]int64

// EncodeMsgpack writes the map, smallest name first.
func (c Condition) EncodeMsgpack(e *msgpack.Encoder) error {
	return encodeByName(e, c, func(values []int64) error { return e.Encode(values) })
}

// Field is one property of an event: one column of a block, one JSON key, one
// word of the filter language.
type Field struct {
	FieldSpec
	Unit   string           // "ns", "" for plain numbers and words
	Doc    string           // what it means, one sentence
	InJSON string           // what it means in JSON, if Doc speaks of numbers that are words there
	Source string           // where the recorder has it from
	Names  map[int64]string // words for its numbers; nil if it has none
	Hex    bool             // printed in hexadecimal in text

	on    onSet
	key   keyKind
	label string   // of its JSON member
	words []string // Names by number

	members []string // the same as JSON has them, quoted
	at      uintptr  // offset in Event
	size    uintptr  // bytes; 0: not a member of Event but derived (errno)
	sign    bool
}

var (
	onTask     = Condition{"kind": {int64(Enter), int64(Return), int64(Listen), int64(Stop)}}
	onEnter    = Condition{"kind": {int64(Enter)}}
	onReturn   = Condition{"kind": {int64(Return)}}
	onAccepted = Condition{"kind": {int64(Return)}, "errno": {0}}
	onOutcome  = Condition{"kind": {int64(Return), int64(Queued), int64(Closed), int64(Drop), int64(State)}}
	onConn     = Condition{"kind": {int64(Return), int64(Queued), int64(Closed), int64(Drop), int64(State)},
		"errno": {0}}
	onState  = Condition{"kind": {int64(Closed), int64(State)}}
	onClosed = Condition{"kind": {int64(Closed)}}
	onQueue  = Condition{"kind": {int64(Queued), int64(Drop)}}
	onCause  = Condition{"kind": {int64(Queued), int64(Drop), int64(Stop)}}
	onQueued = Condition{"kind": {int64(Queued)}}

	keyPlain []string // nil
	keyPrev  = []string{}
	keyConn  = []string{"errno", "cookie"}
	keyPort  = []string{"lport"}
	keyCPU   = []string{"cpu"}
	keyProbe = []string{"cpu", "hook", "kind"}
	keyTask  = []string{"tid", "kind", "errno"}
)

var ev Event

// Fields is the one table of what an event holds, in the order of a block's
// columns. A field that another one's On or Key names stands before it.
var Fields = prepare([]Field{
	{FieldSpec: FieldSpec{Name: "kind", Type: Uint, On: nil, Key: keyPlain}, Names: kindNames,
		Doc: "what happened: enter and return of an attempt to accept; queued, closed, drop, state of a TCP " +
			"connection; listen and stop of a listener", Source: "which probe was hit", at: unsafe.Offsetof(ev.Kind),
		size: 1},
	{FieldSpec: FieldSpec{Name: "errno", Type: Uint, On: onOutcome, Key: keyPlain}, Names: errnoNames,
		Doc: "error number of a failed return, 0 on success and on events that are no return; 512 is ERESTARTSYS: " +
			"interrupted by a signal",
		InJSON: "name of the error of a failed return, null on success and on events that are no return; " +
			"ERESTARTSYS: interrupted by a signal", Source: "return value"},
	{FieldSpec: FieldSpec{Name: "cpu", Type: Uint, On: nil, Key: keyPlain},
		Doc: "CPU that the event was taken on", Source: "bpf_get_smp_processor_id", at: unsafe.Offsetof(ev.CPU),
		size: 4},
	{FieldSpec: FieldSpec{Name: "hook", Type: Uint, On: nil, Key: keyPlain}, Names: hookNames,
		Doc: "kernel function that the event was taken at", Source: "which probe was hit", at: unsafe.Offsetof(ev.Hook),
		size: 1},
	{FieldSpec: FieldSpec{Name: "cpu_seq", Type: Uint, On: nil, Key: keyProbe},
		Doc: "hits of this hook and kind on this CPU so far; a gap is a loss", Source: "counter in the kernel",
		at: unsafe.Offsetof(ev.CPUSeq), size: 8},
	{FieldSpec: FieldSpec{Name: "tid", Type: Uint, On: onTask, Key: keyCPU},
		Doc: "thread id, initial pid namespace", Source: "bpf_get_current_pid_tgid", at: unsafe.Offsetof(ev.TID),
		size: 4},
	{FieldSpec: FieldSpec{Name: "boot_ns", Type: Int, On: nil, Key: keyPrev}, Unit: "ns",
		Doc: "time of the event, CLOCK_BOOTTIME", Source: "bpf_ktime_get_boot_ns", at: unsafe.Offsetof(ev.BootNS),
		size: 8, sign: true},
	{FieldSpec: FieldSpec{Name: "mark", Type: Uint, On: nil, Key: keyPlain},
		Doc:    "what is to be known beside the values, a sum: " + markSum(),
		InJSON: "what is to be known beside the values: " + markList(), Source: "state of the attempt in the kernel",
		at: unsafe.Offsetof(ev.Mark), size: 2},
	{FieldSpec: FieldSpec{Name: "via", Type: Uint, On: onTask, Key: keyTask}, Names: viaNames,
		Doc: "by which way the kernel was asked", Source: "system call number, or the hook",
		at: unsafe.Offsetof(ev.Via), size: 1},
	{FieldSpec: FieldSpec{Name: "uring", Type: Uint, On: onReturn, Key: keyTask}, Names: uringNames,
		Doc: "kind of an io_uring request, a sum: 1 multishot, 2 direct (ret is a slot of the ring's table), 4 " +
			"registered (sockfd is the number of a registered file)",
		InJSON: "kind of an io_uring request; direct: ret is a slot of the ring's table; registered: sockfd is the " +
			"number of a registered file; empty for others", Source: "io_accept.file_slot, iou_flags, io_kiocb.flags",
		at: unsafe.Offsetof(ev.Uring), size: 1},
	{FieldSpec: FieldSpec{Name: "user_data", Type: Uint, On: onReturn, Key: keyTask},
		Doc: "what the program named the io_uring request", Source: "io_kiocb.cqe.user_data",
		at: unsafe.Offsetof(ev.UserData), size: 8},
	{FieldSpec: FieldSpec{Name: "uring_end", Type: Uint, On: onReturn, Key: keyTask}, Names: uringEndNames,
		Doc: "why a multishot request of io_uring does not go on after this event: 1 the completion queue is " +
			"full, 2 it failed, 3 cancelled, 4 the ring was closed, 5 its thread has ended; 0: it does, or is not " +
			"multishot",
		InJSON: "why a multishot request of io_uring does not go on after this event; empty: it does, or is not " +
			"multishot",
		Source: "return value of io_accept, io_uring_complete, io_ring_ctx.refs, task_struct.flags",
		at:     unsafe.Offsetof(ev.UringEnd), size: 1},
	{FieldSpec: FieldSpec{Name: "pid", Type: Uint, On: onTask, Key: keyTask},
		Doc:    "process (thread group) id, initial pid namespace; of a request of io_uring, of who asked for it",
		Source: "bpf_get_current_pid_tgid", at: unsafe.Offsetof(ev.PID), size: 4},
	{FieldSpec: FieldSpec{Name: "uid", Type: Uint, On: onTask, Key: keyTask},
		Doc: "real user id, initial user namespace", Source: "bpf_get_current_uid_gid", at: unsafe.Offsetof(ev.UID),
		size: 4},
	{FieldSpec: FieldSpec{Name: "comm", Type: String, On: onTask, Key: keyTask},
		Doc:    "name of the thread; of the process, if the thread is a worker of io_uring",
		Source: "bpf_get_current_comm, task_struct.group_leader.comm", at: unsafe.Offsetof(ev.Comm), size: 16},
	{FieldSpec: FieldSpec{Name: "proc", Type: Uint, On: onTask, Key: keyTask},
		Doc: "number of the process record, 0 if there is none", Source: "recorder", at: unsafe.Offsetof(ev.Proc),
		size: 4},
	{FieldSpec: FieldSpec{Name: "cgroup", Type: Uint, On: onTask, Key: keyTask},
		Doc: "cgroup v2 id", Source: "bpf_get_current_cgroup_id", at: unsafe.Offsetof(ev.Cgroup), size: 8},
	{FieldSpec: FieldSpec{Name: "netns", Type: Uint, On: nil, Key: keyTask},
		Doc: "inode number of the network namespace: of the socket, whatever task accepts from it; of the task where " +
			"there is no socket, and of attempts in captures without task_netns",
		Source: "sock.skc_net, task_struct.nsproxy.net_ns.ns.inum", at: unsafe.Offsetof(ev.NetNS), size: 4},
	{FieldSpec: FieldSpec{Name: "task_netns", Type: Uint, On: onTask, Key: keyTask},
		Doc:    "inode number of the task's network namespace, if that is another one than the socket's; else 0",
		Source: "task_struct.nsproxy.net_ns.ns.inum", at: unsafe.Offsetof(ev.TaskNetNS), size: 4},
	{FieldSpec: FieldSpec{Name: "sockfd", Type: Int, On: onTask, Key: keyTask},
		Doc: "listening descriptor that the program passed, or number of a registered file (uring registered); -1 if " +
			"it is not known", Source: "__sys_accept4 argument 1, io_kiocb.cqe.fd", at: unsafe.Offsetof(ev.SockFD),
		size: 4, sign: true},
	{FieldSpec: FieldSpec{Name: "flags", Type: Uint, On: onTask, Key: keyTask}, Hex: true,
		Doc: "accept4 flags", Source: "__sys_accept4 argument 4, io_accept.flags", at: unsafe.Offsetof(ev.Flags),
		size: 4},
	{FieldSpec: FieldSpec{Name: "addr", Type: Bool, On: onEnter, Key: keyTask},
		Doc: "whether the program passed an address buffer", Source: "__sys_accept4 argument 2",
		at: unsafe.Offsetof(ev.HasAddr), size: 1},
	{FieldSpec: FieldSpec{Name: "addrlen", Type: Bool, On: onEnter, Key: keyTask},
		Doc: "whether the program passed a buffer length", Source: "__sys_accept4 argument 3",
		at: unsafe.Offsetof(ev.HasAddrLen), size: 1},
	{FieldSpec: FieldSpec{Name: "addrlen_in", Type: Int, On: onEnter, Key: keyTask},
		Doc: "length of the address buffer that the program passed, 0 without", Source: "the program's memory",
		at: unsafe.Offsetof(ev.AddrLenIn), size: 4, sign: true},
	{FieldSpec: FieldSpec{Name: "ret", Type: Int, On: onAccepted, Key: keyTask},
		Doc:    "new descriptor (with uring direct: slot), or the negative errno (which is not stored twice)",
		Source: "return value", at: unsafe.Offsetof(ev.Ret), size: 4, sign: true},
	{FieldSpec: FieldSpec{Name: "listener", Type: Uint, On: nil, Key: keyTask},
		Doc: "inode number of the listening socket, as /proc/PID/fd shows it", Source: "file.f_inode.i_ino",
		at: unsafe.Offsetof(ev.Listener), size: 8},
	{FieldSpec: FieldSpec{Name: "backlog", Type: Uint, On: nil, Key: keyTask},
		Doc:    "length of the listener's accept queue; of queued, without the connection itself",
		Source: "sock.sk_ack_backlog; of UNIX sockets sk_receive_queue.qlen", at: unsafe.Offsetof(ev.Backlog), size: 4},
	{FieldSpec: FieldSpec{Name: "backlog_max", Type: Uint, On: nil, Key: keyTask},
		Doc: "its limit; the queue is full when backlog is greater; of closed, the limit of its listener when it was " +
			"made", Source: "sock.sk_max_ack_backlog", at: unsafe.Offsetof(ev.BacklogMax), size: 4},
	{FieldSpec: FieldSpec{Name: "family", Type: Uint, On: nil, Key: keyTask}, Names: familyNames,
		Doc: "address family", Source: "sock.skc_family", at: unsafe.Offsetof(ev.Family), size: 2},
	{FieldSpec: FieldSpec{Name: "type", Type: Uint, On: nil, Key: keyTask}, Names: typeNames,
		Doc: "socket type", Source: "sock.sk_type", at: unsafe.Offsetof(ev.Type), size: 1},
	{FieldSpec: FieldSpec{Name: "proto", Type: Uint, On: nil, Key: keyTask}, Names: protoNames,
		Doc: "protocol", Source: "sock.sk_protocol", at: unsafe.Offsetof(ev.Proto), size: 2},
	{FieldSpec: FieldSpec{Name: "state", Type: Uint, On: nil, Key: keyTask}, Names: stateNames,
		Doc: "state of the socket; closed on an accepted one: the peer had gone already", Source: "sock.skc_state",
		at: unsafe.Offsetof(ev.State), size: 1},
	{FieldSpec: FieldSpec{Name: "laddr", Type: Addr, On: nil, Key: keyTask},
		Doc: "local address: of the connection, else of the listener", Source: "sock.skc_rcv_saddr, skc_v6_rcv_saddr",
		at: unsafe.Offsetof(ev.LAddr), size: unsafe.Sizeof(ev.LAddr)},
	{FieldSpec: FieldSpec{Name: "lport", Type: Uint, On: nil, Key: keyTask},
		Doc: "local port", Source: "inet_sock.inet_sport", at: unsafe.Offsetof(ev.LPort), size: 2},
	{FieldSpec: FieldSpec{Name: "lname", Type: String, On: nil, Key: keyTask},
		Doc: "local name where there is no IP address: path of a UNIX socket, @ and an abstract name, " +
			"cid:port of vsock",
		Source: "unix_sock.addr, vsock_sock.local_addr", at: unsafe.Offsetof(ev.LName), size: 16},
	{FieldSpec: FieldSpec{Name: "cookie", Type: Uint, On: onConn, Key: keyPrev},
		Doc:    "socket cookie: the same in all events of a connection, 0 if the kernel had given none",
		Source: "sock.skc_cookie", at: unsafe.Offsetof(ev.Cookie), size: 8},
	{FieldSpec: FieldSpec{Name: "raddr", Type: Addr, On: onOutcome, Key: keyConn},
		Doc: "peer's address", Source: "sock.skc_daddr, skc_v6_daddr", at: unsafe.Offsetof(ev.RAddr),
		size: unsafe.Sizeof(ev.RAddr)},
	{FieldSpec: FieldSpec{Name: "rport", Type: Uint, On: onOutcome, Key: keyConn},
		Doc: "peer's port", Source: "sock.skc_dport", at: unsafe.Offsetof(ev.RPort), size: 2},
	{FieldSpec: FieldSpec{Name: "inode", Type: Uint, On: onOutcome, Key: keyTask},
		Doc: "inode number of the accepted socket, 0 before that", Source: "file.f_inode.i_ino",
		at: unsafe.Offsetof(ev.Inode), size: 8},
	{FieldSpec: FieldSpec{Name: "rname", Type: String, On: onAccepted, Key: keyPrev},
		Doc: "peer's cid:port of vsock", Source: "vsock_sock.remote_addr", at: unsafe.Offsetof(ev.RName), size: 16},
	{FieldSpec: FieldSpec{Name: "peer_pid", Type: Uint, On: onAccepted, Key: keyTask},
		Doc: "process that connected to a UNIX socket, initial pid namespace", Source: "sock.sk_peer_pid",
		at: unsafe.Offsetof(ev.PeerPID), size: 4},
	{FieldSpec: FieldSpec{Name: "peer_uid", Type: Uint, On: onAccepted, Key: keyTask},
		Doc: "its effective user id, initial user namespace", Source: "sock.sk_peer_cred.uid",
		at: unsafe.Offsetof(ev.PeerUID), size: 4},
	{FieldSpec: FieldSpec{Name: "addrlen_out", Type: Int, On: onAccepted, Key: keyTask},
		Doc:    "length of the peer address returned to the program, 0 if it did not ask",
		Source: "the program's memory at the return", at: unsafe.Offsetof(ev.AddrLenOut), size: 4, sign: true},
	{FieldSpec: FieldSpec{Name: "told_family", Type: Uint, On: onAccepted, Key: keyTask}, Names: familyNames,
		Doc:    "family of the peer address returned to the program, if it is not the peer's",
		InJSON: "family of the peer address returned to the program, if it is not the peer's, else empty",
		Source: "the program's memory at the return", at: unsafe.Offsetof(ev.ToldFamily), size: 2},
	{FieldSpec: FieldSpec{Name: "told_addr", Type: Addr, On: onAccepted, Key: keyTask},
		Doc:    "peer address returned to the program, if it is not the peer's",
		Source: "the program's memory at the return", at: unsafe.Offsetof(ev.ToldAddr),
		size: unsafe.Sizeof(ev.ToldAddr)},
	{FieldSpec: FieldSpec{Name: "told_port", Type: Uint, On: onAccepted, Key: keyTask},
		Doc:    "port of the peer address returned to the program, if it is not the peer's",
		Source: "the program's memory at the return", at: unsafe.Offsetof(ev.ToldPort), size: 2},
	{FieldSpec: FieldSpec{Name: "old_state", Type: Uint, On: onState, Key: keyPort}, Names: stateNames,
		Doc: "state of the connection before", Source: "argument of inet_sock_set_state, sock.skc_state",
		at: unsafe.Offsetof(ev.OldState), size: 1},
	{FieldSpec: FieldSpec{Name: "sock_err", Type: Uint, On: onClosed, Key: keyPort}, Names: errnoNames,
		Doc:    "error that the socket was left with",
		InJSON: "name of the error that the socket was left with, empty if there is none", Source: "sock.sk_err",
		at: unsafe.Offsetof(ev.SockErr), size: 2},
	{FieldSpec: FieldSpec{Name: "shutdown", Type: Uint, On: onClosed, Key: keyPort},
		Doc: "directions that were shut down, a sum: 1 receiving, 2 sending; 4 the peer's FIN had come, 8 ours was " +
			"acknowledged; 16 what the program read is known: 32 it left bytes unread, 64 it read no byte; " +
			"128 bytes that it wrote were not acknowledged",
		Source: "sock.sk_shutdown, skc_flags, tcp_sock.snd_una, write_seq, rcv_nxt, copied_seq",
		at:     unsafe.Offsetof(ev.Shutdown), size: 1},
	{FieldSpec: FieldSpec{Name: "syn_queue", Type: Uint, On: onQueue, Key: keyPort},
		Doc: "requests in the listener's SYN queue", Source: "inet_connection_sock.icsk_accept_queue.qlen",
		at: unsafe.Offsetof(ev.SynQueue), size: 4},
	{FieldSpec: FieldSpec{Name: "cause", Type: Uint, On: onCause, Key: keyTask}, Names: causeNames,
		Doc:    "why a connection was queued or dropped, or a listener stopped: " + causeList(),
		InJSON: "why a connection was queued or dropped, or a listener stopped; empty if it is not known",
		Source: "the packet, the listener, settings of its network namespace, the system call",
		at:     unsafe.Offsetof(ev.Cause), size: 1},
	{FieldSpec: FieldSpec{Name: "handshake_us", Type: Uint, On: onQueued, Key: keyPort}, Unit: "µs",
		Doc:    "from the first SYN-ACK to here, 0 if it is not known",
		Source: "tcp_request_sock.snt_synack; of a SYN-ACK sent once, tcp_sock.srtt_us",
		at:     unsafe.Offsetof(ev.HandshakeUS), size: 4},
	{FieldSpec: FieldSpec{Name: "bytes_in", Type: Uint, On: onClosed, Key: keyPort}, Unit: "B",
		Doc: "bytes received in sequence; a FIN counts as one (shutdown has 4)",
		InJSON: "bytes that the client sent and the kernel received in sequence: those of the connection, without " +
			"the FIN that the kernel and the file count", Source: "tcp_sock.bytes_received",
		at: unsafe.Offsetof(ev.BytesIn), size: 8},
	{FieldSpec: FieldSpec{Name: "bytes_out", Type: Uint, On: onClosed, Key: keyPort}, Unit: "B",
		Doc:    "bytes sent and acknowledged; a FIN counts as one (shutdown has 8)",
		InJSON: "bytes that the server sent and the client acknowledged: those of the connection, without the FIN",
		Source: "tcp_sock.bytes_acked", at: unsafe.Offsetof(ev.BytesOut), size: 8},
	{FieldSpec: FieldSpec{Name: "segs_in", Type: Uint, On: onClosed, Key: keyPort},
		Doc: "segments received", Source: "tcp_sock.segs_in", at: unsafe.Offsetof(ev.SegsIn), size: 4},
	{FieldSpec: FieldSpec{Name: "segs_out", Type: Uint, On: onClosed, Key: keyPort},
		Doc: "segments sent", Source: "tcp_sock.segs_out", at: unsafe.Offsetof(ev.SegsOut), size: 4},
	{FieldSpec: FieldSpec{Name: "retransmits", Type: Uint, On: onClosed, Key: keyPort},
		Doc: "segments sent again", Source: "tcp_sock.total_retrans", at: unsafe.Offsetof(ev.Retransmits), size: 4},
	{FieldSpec: FieldSpec{Name: "srtt_us", Type: Uint, On: onClosed, Key: keyPort}, Unit: "µs",
		Doc: "smoothed round trip time, 0 not measured", Source: "tcp_sock.srtt_us", at: unsafe.Offsetof(ev.SRTTUS),
		size: 4},
	{FieldSpec: FieldSpec{Name: "min_rtt_us", Type: Uint, On: onClosed, Key: keyPort}, Unit: "µs",
		Doc: "least round trip time of the kernel's window, 0 not measured", Source: "tcp_sock.rtt_min",
		at: unsafe.Offsetof(ev.MinRTTUS), size: 4},
	{FieldSpec: FieldSpec{Name: "closing_us", Type: Uint, On: onClosed, Key: keyPort}, Unit: "µs",
		Doc:    "from the server's close, or shutdown for sending, to here; 0: it did neither before, or when is not known",
		Source: "arguments of inet_sock_set_state", at: unsafe.Offsetof(ev.ClosingUS), size: 8},
	{FieldSpec: FieldSpec{Name: "fin_us", Type: Uint, On: onClosed, Key: keyPort}, Unit: "µs",
		Doc:    "from the client's FIN to here, where it closed first; 0: it did not, or when is not known",
		Source: "tcp_fin", at: unsafe.Offsetof(ev.FinUS), size: 8},
})

// prepare works out what is needed of each field for every event.
func prepare(fields []Field) []Field {
	for i := range fields {
		f := &fields[i]
		mask, _ := maskOf(f.On)
		if !slices.Contains(onMasks, mask) {
			onMasks = append(onMasks, mask)
		}
		f.on, _ = onOf(f.On)
		f.key, _ = keyOf(f.Key)
		f.label = `,"` + f.Name + `":`
		for v, word := range f.Names {
			if v >= 0 && v < 1<<10 { // what is not kept here is looked up: mutate: ignore
				for int64(len(f.words)) <= v {
					f.words = append(f.words, "")
				}
				f.words[v] = word
			}
		}
		f.members = f.quoted()
	}
	return fields
}

// quoted gives what JSON has of the first numbers of a field with words.
func (f *Field) quoted() (list []string) {
	if f.at == markAt && f.size != 0 {
		return nil // an array
	}
	for v := range f.words {
		list = append(list, `"`+f.word(int64(v))+`"`)
	}
	if f.size == 0 && len(list) > 0 { // errno
		list[0] = "null"
	}
	return list
}

// word is a number's word, or the number in decimal if it has none.
func (f *Field) word(v int64) string {
	if v >= 0 && v < int64(len(f.words)) && (f.words[v] != "" || v == 0) {
		return f.words[v]
	}
	return name(f.Names, v)
}

// FieldByName finds a field of [Fields].
func FieldByName(name string) (*Field, bool) {
	for i := range Fields {
		if Fields[i].Name == name {
			return &Fields[i], true
		}
	}
	return nil, false
}

// specs is what a header says of Fields.
func specs() []FieldSpec {
	s := make([]FieldSpec, len(Fields))
	for i, f := range Fields {
		s[i] = f.FieldSpec
	}
	return s
}

// Int is the field's value in an integer, 0 for text and addresses.
func (f *Field) Int(e *Event) int64 {
	if f.size == 0 {
		return int64(e.Errno())
	}
	return load(unsafe.Pointer(e), f)
}

// Str is the field's text as the kernel has it, "" for what is no text.
func (f *Field) Str(e *Event) string {
	if f.Type != String {
		return ""
	}
	return *(*string)(unsafe.Add(unsafe.Pointer(e), f.at))
}

// Addr is the field's address, invalid for what is none.
func (f *Field) Addr(e *Event) netip.Addr {
	if f.Type != Addr {
		return netip.Addr{}
	}
	return *(*netip.Addr)(unsafe.Add(unsafe.Pointer(e), f.at))
}

// SetInt gives an event the field's value of [Field.Int]. Of errno, which follows from ret, it does nothing.
func (f *Field) SetInt(e *Event, v int64) {
	p := unsafe.Add(unsafe.Pointer(e), f.at)
	switch {
	case f.Type == String || f.Type == Addr:
	case f.size == 1:
		*(*uint8)(p) = uint8(v)
	case f.size == 2:
		*(*uint16)(p) = uint16(v)
	case f.size == 4:
		*(*uint32)(p) = uint32(v)
	case f.size == 8:
		*(*int64)(p) = v
	}
}

// SetStr gives an event the field's text.
func (f *Field) SetStr(e *Event, s string) {
	if f.Type == String {
		*(*string)(unsafe.Add(unsafe.Pointer(e), f.at)) = s
	}
}

// SetAddr gives an event the field's address.
func (f *Field) SetAddr(e *Event, a netip.Addr) {
	if f.Type == Addr {
		*(*netip.Addr)(unsafe.Add(unsafe.Pointer(e), f.at)) = a
	}
}

// Word is a number's word, or the number in decimal if it has none.
func (f *Field) Word(v int64) string { return f.word(v) }

// load reads a field of the event at p, widened to 64 bits.
func load(p unsafe.Pointer, f *Field) int64 {
	p = unsafe.Add(p, f.at)
	switch f.size {
	case 1:
		return int64(*(*uint8)(p))
	case 2:
		return int64(*(*uint16)(p))
	case 4:
		if f.sign {
			return int64(*(*int32)(p))
		}
		return int64(*(*uint32)(p))
	case 8:
		return *(*int64)(p)
	}
	return 0
}
