package redact

// This file is ipcrypt-pfx: encryption of IP addresses that keeps which of them have a prefix in common.

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"net/netip"
)

// prefixCipher encrypts addresses as ipcrypt-pfx does (draft-denis-ipcrypt): each bit is flipped or not by
// what two AES of the bits before it say. An IPv4 address, mapped into IPv6 or not, stays one.
type prefixCipher struct{ a, b cipher.Block }

// newPrefixCipher takes a key of 32 bytes whose halves differ.
func newPrefixCipher(key []byte) (*prefixCipher, error) {
	if len(key) != 32 {
		return nil, errors.New("the key of ipcrypt-pfx has 32 bytes")
	}
	if bytes.Equal(key[:16], key[16:]) {
		return nil, errors.New("the halves of the key are equal")
	}
	a, err := aes.NewCipher(key[:16])
	if err != nil {
		return nil, err
	}
	b, err := aes.NewCipher(key[16:])
	return &prefixCipher{a, b}, err
}

// crypt encrypts, or decrypts, the bits of an address behind the first keep ones.
func (c *prefixCipher) crypt(addr netip.Addr, keep int, decrypt bool) netip.Addr {
	ip, from := addr.As16(), 0
	var padded [16]byte // a one, and behind it the bits of the prefix
	padded[15] = 1
	if addr.Is4() || addr.Is4In6() {
		from = 96
		padded = [16]byte{3: 1, 14: 0xff, 15: 0xff}
	}
	out := ip
	var x, y [16]byte
	for bit := from; bit < 128; bit++ {
		at, mask := bit/8, byte(0x80)>>(bit%8)
		plain := ip[at]&mask != 0
		if bit-from >= keep {
			c.a.Encrypt(x[:], padded[:])
			c.b.Encrypt(y[:], padded[:])
			if (x[15]^y[15])&1 != 0 {
				out[at] ^= mask
				if decrypt {
					plain = !plain
				}
			}
		}
		carry := byte(0)
		if plain {
			carry = 1
		}
		for i := 15; i >= 0; i-- {
			padded[i], carry = padded[i]<<1|carry, padded[i]>>7
		}
	}
	if addr.Is4() {
		return netip.AddrFrom16(out).Unmap()
	}
	return netip.AddrFrom16(out)
}
