package redact

import (
	"encoding/hex"
	"net/netip"
	"testing"
)

// The vectors that draft-denis-ipcrypt publishes for ipcrypt-pfx (test_vectors.json of its repository).
var vectors = []struct{ key, plain, encrypted string }{
	{"0123456789abcdeffedcba98765432101032547698badcfeefcdab8967452301", "0.0.0.0", "151.82.155.134"},
	{"0123456789abcdeffedcba98765432101032547698badcfeefcdab8967452301", "255.255.255.255", "94.185.169.89"},
	{"0123456789abcdeffedcba98765432101032547698badcfeefcdab8967452301", "192.0.2.1", "100.115.72.131"},
	{"0123456789abcdeffedcba98765432101032547698badcfeefcdab8967452301", "2001:db8::1", "c180:5dd4:2587:3524:30ab:fa65:6ab6:f88"},
	{"2b7e151628aed2a6abf7158809cf4f3ca9f5ba40db214c3798f2e1c23456789a", "10.0.0.47", "19.214.210.244"},
	{"2b7e151628aed2a6abf7158809cf4f3ca9f5ba40db214c3798f2e1c23456789a", "10.0.0.129", "19.214.210.80"},
	{"2b7e151628aed2a6abf7158809cf4f3ca9f5ba40db214c3798f2e1c23456789a", "10.0.0.234", "19.214.210.30"},
	{"2b7e151628aed2a6abf7158809cf4f3ca9f5ba40db214c3798f2e1c23456789a", "172.16.5.193", "210.78.229.136"},
	{"2b7e151628aed2a6abf7158809cf4f3ca9f5ba40db214c3798f2e1c23456789a", "172.16.97.42", "210.78.179.241"},
	{"2b7e151628aed2a6abf7158809cf4f3ca9f5ba40db214c3798f2e1c23456789a", "172.16.248.177", "210.78.121.215"},
	{"2b7e151628aed2a6abf7158809cf4f3ca9f5ba40db214c3798f2e1c23456789a", "2001:db8::a5c9:4e2f:bb91:5a7d", "7cec:702c:1243:f70:1956:125:b9bd:1aba"},
	{"2b7e151628aed2a6abf7158809cf4f3ca9f5ba40db214c3798f2e1c23456789a", "2001:db8::7234:d8f1:3c6e:9a52", "7cec:702c:1243:f70:a3ef:c8e:95c1:cd0d"},
	{"2b7e151628aed2a6abf7158809cf4f3ca9f5ba40db214c3798f2e1c23456789a", "2001:db8::f1e0:937b:26d4:8c1a", "7cec:702c:1243:f70:443c:c8e:6a62:b64d"},
	{"2b7e151628aed2a6abf7158809cf4f3ca9f5ba40db214c3798f2e1c23456789a", "2001:db8:3a5c:0:e7d1:4b9f:2c8a:f673", "7cec:702c:3503:bef:e616:96bd:be33:a9b9"},
	{"2b7e151628aed2a6abf7158809cf4f3ca9f5ba40db214c3798f2e1c23456789a", "2001:db8:9f27:0:b4e2:7a3d:5f91:c8e6", "7cec:702c:a504:b74e:194a:3d90:b047:2d1a"},
	{"2b7e151628aed2a6abf7158809cf4f3ca9f5ba40db214c3798f2e1c23456789a", "2001:db8:d8b4:0:193c:a5e7:8b2f:46d1", "7cec:702c:f840:aa67:1b8:e84f:ac9d:77fb"},
}

func TestVectors(t *testing.T) {
	for _, v := range vectors {
		key, err := hex.DecodeString(v.key)
		if err != nil {
			t.Fatal(err)
		}
		c, err := newPrefixCipher(key)
		if err != nil {
			t.Fatal(err)
		}
		plain, want := netip.MustParseAddr(v.plain), netip.MustParseAddr(v.encrypted)
		if got := c.crypt(plain, 0, false); got != want {
			t.Errorf("%s becomes %s, the draft has %s", plain, got, want)
		}
		if got := c.crypt(want, 0, true); got != plain {
			t.Errorf("%s is %s, the draft has %s", want, got, plain)
		}
		if plain.Is4() { // mapped into IPv6 it stays mapped, and the same
			if got := c.crypt(netip.AddrFrom16(plain.As16()), 0, false); got != netip.AddrFrom16(want.As16()) {
				t.Errorf("mapped %s becomes %s", plain, got)
			}
		}
	}
}

func TestKeysOfWrongForm(t *testing.T) {
	for _, n := range []int{0, 16, 31, 33} {
		if _, err := newPrefixCipher(make([]byte, n)); err == nil {
			t.Errorf("a key of %d bytes is taken", n)
		}
	}
	if _, err := newPrefixCipher(make([]byte, 32)); err == nil {
		t.Error("a key of equal halves is taken")
	}
}
