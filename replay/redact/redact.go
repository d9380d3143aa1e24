package redact

// This file replaces the values of one capture.

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"regexp"
	"slices"
	"strconv"

	"github.com/acc-project/acc/format"
)

// The ways to replace addresses.
const (
	Prefix = "prefix" // encrypted: addresses of one subnet stay in one subnet
	Opaque = "opaque" // numbered, in the order in which they come
	Kinds  = "class"  // encrypted within their class: a private address stays a private one
)

// AddressModes are all of them.
var AddressModes = []string{Prefix, Opaque, Kinds}

// KeySize is the length of a key in bytes.
const KeySize = 32

// Bounds of the different values of a capture that are kept in memory: their number, and of those that are not short
// the bytes.
const (
	maxValues  = 4_000_000
	shortValue = 64
	maxLong    = 16 << 20
)

// Redactor replaces values: the same one by the same one. It is for one goroutine.
type Redactor struct {
	mode  string
	kept  []string
	names []byte // key of pseudonyms
	pfx   *prefixCipher
	ports [1 << 16]uint16

	addrs   map[netip.Addr]netip.Addr
	numbers [2]uint32 // opaque addresses given so far, of IPv4 and IPv6
	texts   map[text]string
	taken   map[string]text // pseudonyms, and what has them
	rules   []eventRule
}

// text is a name of a class.
type text struct{ class, value string }

// eventRule is what becomes of a field of events.
type eventRule struct {
	field *format.Field
	rule
}

// NewRedactor makes one of a key of [KeySize] bytes; kept are the classes and fields that stay.
func NewRedactor(key []byte, mode string, kept []string) (*Redactor, error) {
	if len(key) != KeySize {
		return nil, fmt.Errorf("the key has %d bytes, not %d", len(key), KeySize)
	}
	if !slices.Contains(AddressModes, mode) {
		return nil, fmt.Errorf("%q is no way to replace addresses", mode)
	}
	pfx, err := newPrefixCipher(append(subkey(key, "ipcrypt-pfx 1"), subkey(key, "ipcrypt-pfx 2")...)[16:48])
	if err != nil {
		return nil, err
	}
	x := &Redactor{mode: mode, kept: kept, names: subkey(key, "pseudonyms"), pfx: pfx, addrs: map[netip.Addr]netip.Addr{},
		texts: map[text]string{}, taken: map[string]text{}, rules: rulesOfEvents(kept)}
	x.shufflePorts([32]byte(subkey(key, "ports")))
	return x, nil
}

// rulesOfEvents are the fields of events that something is left of.
func rulesOfEvents(kept []string) (list []eventRule) {
	for i := range format.Fields {
		f := &format.Fields[i]
		if r, named := eventRules[f.Name]; named {
			list = append(list, eventRule{f, under(r, f.Name, kept)})
		}
	}
	return list
}

// subkey derives a key for one purpose.
func subkey(key []byte, purpose string) []byte {
	m := hmac.New(sha256.New, key)
	m.Write([]byte("acc redact " + purpose))
	return m.Sum(nil)
}

// Fingerprint names a key without giving it away.
func Fingerprint(key []byte) string { return hex.EncodeToString(subkey(key, "fingerprint")[:8]) }

// shufflePorts makes the table of ports: each has another one, and 0 stays.
func (x *Redactor) shufflePorts(seed [32]byte) {
	source := rand.NewChaCha8(seed)
	for i := range x.ports {
		x.ports[i] = uint16(i)
	}
	for i := len(x.ports) - 1; i > 1; i-- {
		j := 1 + int(source.Uint64()%uint64(i)) // never 0; the bias is 2^-48
		x.ports[i], x.ports[j] = x.ports[j], x.ports[i]
	}
}

// sum is the keyed hash of a value of a class.
func (x *Redactor) sum(class, value string) [sha256.Size]byte {
	m := hmac.New(sha256.New, x.names)
	m.Write([]byte(class + "\x00" + value))
	return [sha256.Size]byte(m.Sum(nil))
}

// words are what the pseudonyms of a class begin with.
var words = map[string]string{"process": "proc", "container": "ctr", "socket": "sock", "path": "exe"}

// pseudonym gives the pseudonym of a name; none stays none.
func (x *Redactor) pseudonym(class, value string) (string, error) {
	if value == "" {
		return "", nil
	}
	key := text{class, value}
	if p, ok := x.texts[key]; ok {
		return p, nil
	}
	if len(x.texts) >= maxValues {
		return "", fmt.Errorf("there are more than %d names", maxValues)
	}
	word := words[class]
	if word == "" {
		word = class
	}
	sum := x.sum(class, value)
	p := word + "-" + hex.EncodeToString(sum[:5]) // of 15 bytes for a thread, which is what the kernel has room for
	switch {
	case class == "socket" && value[0] == '@':
		p = "@" + p
	case class == "socket" && value[0] == '/', class == "path" && value[0] == '/', class == "cgroup" && value[0] == '/':
		p = "/" + p
	}
	if other, ok := x.taken[p]; ok && other != key {
		return "", errors.New("two names have one pseudonym: use another key")
	}
	x.texts[key], x.taken[p] = p, key
	return p, nil
}

// number gives another number of so many bits; 0 stays 0.
func (x *Redactor) number(class string, v uint64, bits int) uint64 {
	if v == 0 {
		return 0
	}
	sum := x.sum(class, strconv.FormatUint(v, 10))
	n := binary.BigEndian.Uint64(sum[:8]) >> (64 - bits)
	return max(n, 1)
}

// address gives another address for one.
func (x *Redactor) address(a netip.Addr) (netip.Addr, error) {
	if !a.IsValid() || stays(a.Unmap()) {
		return a, nil
	}
	if b, ok := x.addrs[a]; ok {
		return b, nil
	}
	if len(x.addrs) >= maxValues {
		return a, fmt.Errorf("there are more than %d addresses", maxValues)
	}
	plain := a.Unmap()
	b, ok := x.addrs[plain]
	if !ok {
		if x.mode == Opaque {
			b = x.numbered(plain)
		} else {
			b = x.crypt(plain, false)
		}
		x.addrs[plain] = b
	}
	if a.Is4In6() {
		b = netip.AddrFrom16(b.As16())
	}
	x.addrs[a] = b
	return b, nil
}

// numbered gives the next address of a range that nobody has: 240.0.0.0/4 and 100::/64 (RFC 6666).
func (x *Redactor) numbered(a netip.Addr) netip.Addr {
	if a.Is4() {
		x.numbers[0]++
		return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, 240<<24+x.numbers[0])))
	}
	x.numbers[1]++
	ip := [16]byte{0: 1}
	binary.BigEndian.PutUint32(ip[12:], x.numbers[1])
	return netip.AddrFrom16(ip)
}

// crypt encrypts or decrypts an address. What falls on one that stays, or in class mode into a class, goes on until it
// does not, so that no two addresses become one.
func (x *Redactor) crypt(a netip.Addr, decrypt bool) netip.Addr {
	keepBits := 0
	if x.mode == Kinds {
		keepBits = classBits(a)
	}
	for {
		a = x.pfx.crypt(a, keepBits, decrypt)
		if !stays(a) && (keepBits > 0 || x.mode != Kinds || classBits(a) == 0) {
			return a
		}
	}
}

var loopback4 = netip.MustParsePrefix("127.0.0.0/8")

// stays reports whether an address says nothing of a host or its network.
func stays(a netip.Addr) bool {
	return a.IsUnspecified() || loopback4.Contains(a) || a == netip.IPv6Loopback()
}

// classes are the networks that are no company's own.
var classes = []netip.Prefix{
	netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("172.16.0.0/12"), netip.MustParsePrefix("192.168.0.0/16"),
	netip.MustParsePrefix("169.254.0.0/16"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("fc00::/7"),
	netip.MustParsePrefix("fe80::/10"),
}

// classBits is the length of the class that an address is of, 0: of none.
func classBits(a netip.Addr) int {
	for _, p := range classes {
		if p.Contains(a) {
			return p.Bits()
		}
	}
	return 0
}

// Event gives an event of what the rules leave of e.
func (x *Redactor) Event(e *format.Event) (out format.Event, err error) {
	for i := range x.rules {
		f, how := x.rules[i].field, x.rules[i].how
		switch {
		case how == keep:
			f.SetInt(&out, f.Int(e))
			f.SetStr(&out, f.Str(e))
			f.SetAddr(&out, f.Addr(e))
		case how == name:
			s, err := x.pseudonym(x.rules[i].class, f.Str(e))
			if err != nil {
				return out, err
			}
			f.SetStr(&out, s)
		case how == address:
			a, err := x.address(f.Addr(e))
			if err != nil {
				return out, err
			}
			f.SetAddr(&out, a)
		case how == port:
			f.SetInt(&out, int64(x.ports[uint16(f.Int(e))]))
		case how == user:
			f.SetInt(&out, int64(x.number("user", uint64(f.Int(e)), 31)))
		case how == hash:
			f.SetInt(&out, int64(x.number(x.rules[i].class, uint64(f.Int(e)), 64)))
		}
	}
	return out, nil
}

// Record replaces what a record has, in place; v points to it.
func (x *Redactor) Record(v any) error {
	return walkRecord(reflect.ValueOf(v).Elem(), x.kept, x.member)
}

var (
	version = regexp.MustCompile(`^\d+(\.\d+)*`)
	numbers = regexp.MustCompile(`^[-\d\s]*$`)
)

// member replaces one member of a record.
func (x *Redactor) member(key string, r rule, v reflect.Value) error {
	switch r.how {
	case keep:
		if v.Kind() == reflect.Map {
			keepKnown(v)
		}
	case name:
		s, err := x.pseudonym(r.class, v.String())
		if err != nil {
			return err
		}
		v.SetString(s)
	case address:
		if v.String() == "" {
			return nil
		}
		a, err := netip.ParseAddr(v.String())
		if err != nil {
			return fmt.Errorf("%q is not an address", v.String())
		}
		if a, err = x.address(a.WithZone("")); err != nil {
			return err
		}
		v.SetString(a.String())
	case port:
		v.SetUint(uint64(x.ports[uint16(v.Uint())]))
	case user:
		v.SetUint(x.number("user", v.Uint(), 31))
	case uuid:
		if v.String() != "" {
			sum := x.sum("uuid", v.String())
			sum[6], sum[8] = sum[6]&15|0x80, sum[8]&63|0x80 // version 8: of its own making
			h := hex.EncodeToString(sum[:16])
			v.SetString(h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:])
		}
	case release:
		v.SetString(version.FindString(v.String()))
	case numeric:
		if !numbers.MatchString(v.String()) {
			v.SetString("")
		}
	case ours:
		ownTexts(key, v)
	default:
		v.SetZero()
	}
	return nil
}

// keepKnown leaves the counters and settings that acc reads.
func keepKnown(v reflect.Value) {
	own := reflect.MakeMap(v.Type())
	for _, k := range v.MapKeys() {
		if slices.Contains(format.CounterNames, k.String()) || slices.Contains(format.SettingNames, k.String()) {
			own.SetMapIndex(k, v.MapIndex(k))
		}
	}
	if !v.IsNil() {
		v.Set(own)
	}
}

// Removed stands where a text was.
const Removed = "redacted"

// ownTexts replaces texts that are none of acc's own.
func ownTexts(key string, v reflect.Value) {
	own := func(s string) string {
		if s == "" || slices.Contains(ourTexts[key], s) {
			return s
		}
		return Removed
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(own(v.String()))
	case reflect.Slice:
		list := []string{}
		for i := range v.Len() {
			list = append(list, own(v.Index(i).String()))
		}
		if !v.IsNil() {
			v.Set(reflect.ValueOf(list))
		}
	}
}

// Plain turns addresses of a text back. It is for texts that were written about a redacted capture.
func (x *Redactor) Plain(a netip.Addr) (netip.Addr, bool) {
	if x.mode == Opaque || stays(a.Unmap()) {
		return a, false
	}
	return x.crypt(a.Unmap(), true), true
}

// Known are the pseudonyms and addresses that were given, with what has them.
func (x *Redactor) Known() map[string]string {
	known := make(map[string]string, len(x.taken)+len(x.addrs))
	for p, of := range x.taken {
		known[p] = of.value
	}
	for a, b := range x.addrs {
		known[b.Unmap().String()] = a.Unmap().String()
	}
	return known
}

// Learn goes through a capture, so that Known has all of it.
func (x *Redactor) Learn(src io.Reader) error {
	r, err := format.NewReader(src, format.ReaderOptions{Parts: true})
	if err != nil {
		return err
	}
	h := *r.Header()
	if err := x.Record(&h); err != nil {
		return err
	}
	for {
		b, err := r.Next()
		if errors.Is(err, io.EOF) || errors.Is(err, format.ErrTruncated) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := eachRecord(b, x.Record); err != nil {
			return err
		}
		for events := range b.Parts() {
			for i := range events {
				if _, err := x.Event(&events[i]); err != nil {
					return err
				}
			}
		}
	}
}
