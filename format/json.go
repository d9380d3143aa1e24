package format

// This file writes events as JSON, and as lines for people.

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
	"unsafe"
)

// marks are the bits of [Event.Mark], the lowest first: their words, and what they say.
var marks = [...]struct{ word, doc string }{
	{"entry-lost", "its entry was lost"},
	{"previous-return-missed", "the return before it was missed"},
	{"no-socket-facts", "socket facts not seen"},
	{"armed", "an io_uring request that begins to wait (no failure)"},
	{"client-lost", "a connection was taken from the queue and lost"},
	{"began-before", "the attempt began before the recording"},
	{"no-descriptor", "no descriptor or not known"},
	{"denied", "refused by seccomp"},
	{"syn-cookie", "made from a SYN cookie"},
	{"fast-open", "TCP fast open"},
	{"deferred", "deferred until data came"},
	{"syn-queue-full", "the SYN queue was full"},
	{"address-cut", "the address buffer was too short"},
	{"address-differs", "the address in the program's buffer was not the peer's"},
	{"entry-left-out", "its entry was not recorded, by design: it is not known before the return whether it is selected"},
}

// MarkNames gives the words of an event's marks.
func MarkNames(m uint16) []string {
	var words []string
	for i := range marks {
		if m&(1<<i) != 0 {
			words = append(words, marks[i].word)
		}
	}
	return words
}

// markSum says of each bit what it means.
func markSum() string {
	var list []string
	for i, m := range marks {
		list = append(list, strconv.Itoa(1<<i)+" "+m.doc)
	}
	return strings.Join(list, ", ")
}

// markList is markSum by the words.
func markList() string {
	var list []string
	for _, m := range marks {
		list = append(list, m.word+": "+m.doc)
	}
	return strings.Join(list, "; ")
}

// AppendTime appends the wall clock time of a boot time, by the clock pair c, in
// RFC 3339 with nanoseconds, in UTC.
func AppendTime(dst []byte, bootNS int64, c Clock) []byte {
	t := c.Time(bootNS)
	year, month, day := t.Date()
	if year < 0 || year > 9999 { // the other form is the same within: mutate: ignore
		return t.AppendFormat(dst, "2006-01-02T15:04:05.000000000Z07:00")
	}
	hour, minute, second := t.Clock()
	dst = append(appendDigits(dst, year, 4), '-')
	dst = append(appendDigits(dst, int(month), 2), '-')
	dst = append(appendDigits(dst, day, 2), 'T')
	dst = append(appendDigits(dst, hour, 2), ':')
	dst = append(appendDigits(dst, minute, 2), ':')
	dst = append(appendDigits(dst, second, 2), '.')
	return append(appendDigits(dst, t.Nanosecond(), 9), 'Z')
}

// appendDigits appends n, which is not negative, with that many digits, at most nine.
func appendDigits(dst []byte, n, digits int) []byte {
	at := len(dst)
	dst = append(dst, "000000000"[:digits]...)
	i := at + digits
	for ; i-at > 1; i -= 2 {
		pair := n % 100 * 2
		n /= 100
		dst[i-2], dst[i-1] = pairs[pair], pairs[pair+1]
	}
	if i > at {
		dst[at] = byte('0' + n%10)
	}
	return dst
}

// printed are the fields that [AppendJSON] prints of the events of each class.
var printed = func() (list [numClasses][]*Field) {
	for class := range list {
		e := Event{Kind: Kind(class)}
		if rowClass(class) == classFailed {
			e.Kind, e.Ret = Return, -1
		}
		for i := range Fields {
			if Fields[i].Has(&e) {
				list[class] = append(list[class], &Fields[i])
			}
		}
	}
	return list
}()

// AppendJSON appends e as one JSON object without a newline: seq, ts (see
// [AppendTimeJSON]), and the members of [Fields] that apply to the event. Fields with
// words give the word, errno is null on success. Names are text: bytes that are
// not UTF-8 become U+FFFD, and whatever is not printable is escaped.
func AppendJSON(dst []byte, e *Event, c Clock) []byte {
	dst = appendDecimal(append(dst, `{"seq":`...), e.Seq)
	dst = AppendTimeJSON(append(dst, `,"ts":`...), e.BootNS, c)
	if e.Kind >= NumKinds {
		return append(dst, '}')
	}
	for _, f := range printed[classOf(e)] { // the ret of a failed return is stored as errno
		dst = append(dst, f.label...)
		if f.members != nil { // words
			if v := f.Int(e); v >= 0 && v < int64(len(f.members)) {
				dst = append(dst, f.members[v]...)
				continue
			}
		}
		dst = f.appendJSON(dst, e)
	}
	return append(dst, '}')
}

// JSONType is what [AppendJSON] gives of the field: "integer", "boolean", "string",
// "string or null" or "array of strings".
func (f *Field) JSONType() string {
	switch {
	case f.size == 0: // errno
		return "string or null"
	case f.at == markAt:
		return "array of strings"
	case f.Names != nil, f.Type == String, f.Type == Addr:
		return "string"
	case f.Type == Bool:
		return "boolean"
	}
	return "integer"
}

// JSONDoc is what the field means in JSON.
func (f *Field) JSONDoc() string { return cmp.Or(f.InJSON, f.Doc) }

// JSONWords are the words that the field's string, or the strings of its array, can be, in
// the order of the numbers that they stand for; nil: any. A number that has no word is
// a string of its digits.
func (f *Field) JSONWords() (words []string) {
	if f.size != 0 && f.at == markAt {
		return MarkNames(1<<len(marks) - 1)
	}
	for _, n := range slices.Sorted(maps.Keys(f.Names)) {
		if n != 0 || f.size != 0 { // of no error, errno is null
			words = append(words, f.Names[n])
		}
	}
	return words
}

// JSONOn says which events have the field: their kinds, an accepted return of those of which
// a failed return has it not.
func (f *Field) JSONOn() (kinds []string) {
	for k := Enter; k < NumKinds; k++ {
		e := Event{Kind: k}
		if !f.Has(&e) {
			continue
		}
		word := k.String()
		if e.Ret = -1; k == Return && !f.Has(&e) {
			word = "accepted return"
		}
		kinds = append(kinds, word)
	}
	return kinds
}

// Has reports whether an event has the field, as [AppendJSON] prints it.
func (f *Field) Has(e *Event) bool {
	return f.applies(e) || f.at == retAt && e.Kind == Return
}

// Text is the field's value for people: words where it has them, names with what
// is not printable escaped.
func (f *Field) Text(e *Event) string {
	switch f.Type {
	case String:
		return Quote(*(*string)(unsafe.Add(unsafe.Pointer(e), f.at)))
	case Addr:
		return strings.TrimSpace(string(appendAddr(nil, *(*netip.Addr)(unsafe.Add(unsafe.Pointer(e), f.at)), ' ')))
	}
	s := string(f.appendJSON(nil, e))
	if f.Hex {
		s = "0x" + strconv.FormatInt(f.Int(e), 16)
	}
	if f.Unit != "" && s != "null" {
		s += " " + f.Unit
	}
	return strings.Trim(s, `"`)
}

// applies reports whether an event has the field.
func (f *Field) applies(e *Event) bool { return onMasks[f.on]&(1<<classOf(e)) != 0 }

const (
	retAt  = unsafe.Offsetof(ev.Ret)
	markAt = unsafe.Offsetof(ev.Mark)

	bytesInAt, bytesOutAt = unsafe.Offsetof(ev.BytesIn), unsafe.Offsetof(ev.BytesOut)
)

func (f *Field) appendJSON(dst []byte, e *Event) []byte {
	switch f.Type {
	case String:
		return AppendJSONString(dst, *(*string)(unsafe.Add(unsafe.Pointer(e), f.at)))
	case Addr:
		return appendAddr(append(dst, '"'), *(*netip.Addr)(unsafe.Add(unsafe.Pointer(e), f.at)), '"')
	}
	v := f.Int(e)
	switch {
	case f.at == bytesInAt && f.size != 0: // without the FIN
		in, _ := e.StreamBytes()
		v = int64(in)
	case f.at == bytesOutAt && f.size != 0:
		_, out := e.StreamBytes()
		v = int64(out)
	}
	switch {
	case f.size == 0 && v == 0: // errno
		return append(dst, "null"...)
	case f.at == markAt && f.size != 0:
		dst = append(dst, '[')
		for i, w := range MarkNames(e.Mark) {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(append(append(dst, '"'), w...), '"')
		}
		return append(dst, ']')
	case f.Names != nil:
		return append(append(append(dst, '"'), f.word(v)...), '"')
	case f.Type == Bool:
		return strconv.AppendBool(dst, v != 0)
	case f.Type == Uint:
		return appendDecimal(dst, uint64(v))
	}
	return appendSigned(dst, v)
}

func appendAddr(dst []byte, a netip.Addr, end byte) []byte {
	if a.IsValid() {
		dst = a.AppendTo(dst)
	}
	return append(dst, end)
}

// AppendJSONString appends s as a JSON string that is safe on a terminal too.
func AppendJSONString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	for i := 0; i < len(s); {
		c := s[i]
		if c >= 0x20 && c < 0x7f {
			if c == '"' || c == '\\' {
				dst = append(dst, '\\')
			}
			dst = append(dst, c)
			i++
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		i += size
		if strconv.IsPrint(r) {
			dst = utf8.AppendRune(dst, r)
			continue
		}
		dst = appendEscape(dst, r)
	}
	return append(dst, '"')
}

// appendEscape appends \uXXXX, or two of them for a rune above U+FFFF.
func appendEscape(dst []byte, r rune) []byte {
	const hex = "0123456789abcdef"
	one := func(u rune) {
		dst = append(dst, '\\', 'u', hex[u>>12&15], hex[u>>8&15], hex[u>>4&15], hex[u&15])
	}
	if r > 0xffff {
		r -= 0x10000
		one(0xd800 + r>>10)
		one(0xdc00 + r&0x3ff)
		return dst
	}
	one(r)
	return dst
}

// Quote makes a name from a capture safe to print: control and other unprintable
// characters, bytes that are not UTF-8, and backslashes are written as Go
// escapes; everything else stays as it is.
func Quote(s string) string {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < 0x20 || c >= 0x7f || c == '\\' {
			return string(appendQuoted(nil, s))
		}
	}
	return s
}

func appendQuoted(dst []byte, s string) []byte {
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == '"', r == '\'':
			dst = append(dst, byte(r))
		case r == utf8.RuneError && size == 1:
			dst = append(dst, '\\', 'x', "0123456789abcdef"[s[i]>>4], "0123456789abcdef"[s[i]&15])
		default:
			q := strconv.AppendQuoteRune(nil, r)
			dst = append(dst, q[1:len(q)-1]...)
		}
		i += size
	}
	return dst
}

// timeLayout is the time of day in text lines; the date is said once by whoever prints them.
const timeLayout = "15:04:05.000000000"

// AppendText appends e as one line for a person, without a newline: time of day
// in the zone, CPU, thread, and what happened. Nothing in it can steer a terminal.
func AppendText(dst []byte, e *Event, c Clock, zone *time.Location) []byte {
	dst = c.AppendMoment(dst, e.BootNS, zone, timeLayout)
	if e.Seq != 0 {
		dst = strconv.AppendUint(append(dst, "  #"...), e.Seq, 10)
		for n := uint64(10_000); n > e.Seq && n > 1; n /= 10 { // as wide as most
			dst = append(dst, ' ')
		}
	}
	dst = append(dst, "  cpu"...)
	dst = strconv.AppendUint(dst, uint64(e.CPU), 10)
	dst = append(dst, "  "...)
	if e.Kind != Enter && e.Kind != Return && e.Kind != Listen && e.Kind != Stop {
		return appendMarks(appendLife(dst, e), e)
	}
	dst = append(dst, Quote(e.Comm)...)
	dst = append(dst, '[')
	dst = strconv.AppendUint(dst, uint64(e.PID), 10)
	if e.TID != e.PID {
		dst = append(dst, '/')
		dst = strconv.AppendUint(dst, uint64(e.TID), 10)
	}
	dst = append(dst, "]  "...)
	switch e.Kind {
	case Listen:
		dst = append(dst, "listen"...)
		if e.Hook == HookInetListen {
			dst = append(dst, " again"...)
		}
		return appendMarks(appendSocket(dst, e), e)
	case Stop:
		dst = append(append(append(dst, "stop: the listener "...), e.Cause.StopWords("")...), ' ')
		return appendMarks(appendSocket(dst, e), e)
	case Enter:
		dst = append(dst, "enter   "...)
	default:
		dst = append(dst, "return  "...)
	}
	dst = append(dst, e.Via.String()...)
	dst = AppendSockFD(dst, e.Via, e.Uring, e.SockFD)
	switch {
	case e.Armed():
		dst = append(dst, " waits"...)
	case e.Failed():
		dst = append(append(dst, " = "...), ErrnoName(e.Errno())...)
	case e.Accepted() && e.Mark&MarkNoFD != 0:
		dst = append(dst, " = a socket"...)
	case e.Accepted() && e.Uring&UringDirect != 0:
		dst = strconv.AppendInt(append(dst, " = slot "...), int64(e.Ret), 10)
	case e.Accepted():
		dst = strconv.AppendInt(append(dst, " = "...), int64(e.Ret), 10)
	}
	if e.Via == ViaIOUring {
		dst = append(dst, "  request "...)
		dst = strconv.AppendUint(dst, e.UserData, 10)
		if kind := e.Uring &^ UringRegistered; kind != 0 {
			dst = append(append(dst, ' '), name(uringNames, int64(kind))...)
		}
	}
	dst = appendSocket(dst, e)
	if e.TaskNetNS != 0 && e.Via != ViaKernel {
		dst = append(append(append(dst, "  "...), e.verb()...), " from another network namespace ("...)
		dst = append(strconv.AppendUint(dst, uint64(e.TaskNetNS), 10), ')')
	}
	if e.UringEnd != UringGoesOn {
		dst = append(append(append(dst, "  the multishot accept ended ("...), e.UringEnd.Words()...), ')')
	}
	return appendMarks(dst, e)
}

// verb is what a task did.
func (e *Event) verb() string {
	switch {
	case e.Accepted():
		return "accepted"
	case e.Via == ViaIOUring:
		return "asked"
	}
	return "called"
}

// AppendSockFD appends what a program named the listener by, with a space before it:
// a descriptor, or the number of a file that is registered with a ring. Nothing, where
// there is none, or where it is not known of a request.
func AppendSockFD(dst []byte, via Via, uring uint8, fd int32) []byte {
	switch {
	case uring&UringRegistered != 0 && fd < 0:
		return append(dst, " registered file"...)
	case uring&UringRegistered != 0:
		return strconv.AppendInt(append(dst, " registered file "...), int64(fd), 10)
	case fd >= 0 || via != ViaIOUring && via != ViaKernel:
		return strconv.AppendInt(append(dst, " fd "...), int64(fd), 10)
	}
	return dst
}

func appendMarks(dst []byte, e *Event) []byte {
	marks := e.Mark
	if e.Cause != 0 { // which says it
		marks &^= MarkSynCookie | MarkFastOpen | MarkDeferred | MarkSynQueue
	}
	for _, w := range MarkNames(marks) {
		dst = append(append(append(dst, " ["...), w...), ']')
	}
	return dst
}

// appendSocket appends the socket's part of a text line.
func appendSocket(dst []byte, e *Event) []byte {
	if e.Accepted() || e.Mark&MarkClientLost != 0 {
		if r := e.Peer(); r != "" {
			dst = append(append(dst, "  from "...), r...)
		}
		if l := e.Bound(); l != "" {
			dst = append(append(dst, " to "...), l...)
		} else if e.Family != 0 {
			dst = append(append(dst, "  "...), e.Family.String()...)
		}
		if e.State == StateClosed {
			dst = append(dst, " (already closed)"...)
		}
	} else if l := e.Bound(); l != "" {
		dst = append(append(dst, "  on "...), l...)
	} else if e.Family != 0 {
		dst = append(append(dst, "  on "...), e.Family.String()...)
	}
	if e.Listener != 0 {
		dst = strconv.AppendUint(append(dst, "  queue "...), uint64(e.Backlog), 10)
		dst = strconv.AppendUint(append(dst, '/'), uint64(e.BacklogMax), 10)
	}
	return dst
}
