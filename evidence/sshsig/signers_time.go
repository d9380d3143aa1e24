package sshsig

// This file reads the times of such lists.

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// parseTime reads YYYYMMDD[HHMM[SS]][Z|UTC], in local time without Z, as
// parse_absolute_time of OpenSSH does: a day that its month does not have is one of the
// next month. Times up to 1970 are refused: newer versions of OpenSSH take those before
// 1970 for the far future. It gives seconds since 1970.
func parseTime(s string, zone *time.Location) (int64, error) {
	bad := fmt.Errorf("%q is not a time", s)
	digits, utc := s, false
	for _, suffix := range []string{"Z", "UTC"} {
		if n := len(s) - len(suffix); n > 0 && strings.EqualFold(s[n:], suffix) {
			digits, utc = s[:n], true
			break
		}
	}
	if n := len(digits); n != 8 && n != 12 && n != 14 {
		return 0, bad
	}
	fields := []struct{ size, from, to int }{{4, 0, 9999}, {2, 1, 12}, {2, 1, 31}, {2, 0, 23}, {2, 0, 59}, {2, 0, 61}}
	var v [6]int
	for i, f := range fields {
		if digits == "" {
			break
		}
		field := strings.TrimLeft(digits[:f.size], " ") // strptime passes over spaces
		n, err := strconv.ParseUint(field, 10, 16)
		if err != nil || int(n) < f.from || int(n) > f.to {
			return 0, bad
		}
		v[i], digits = int(n), digits[f.size:]
	}
	t := time.Date(v[0], time.Month(v[1]), v[2], v[3], v[4], v[5], 0, time.UTC)
	seconds := t.Unix()
	if !utc {
		seconds = standardTime(t, zone)
	}
	if seconds <= 0 {
		return 0, fmt.Errorf("%q is not a time after 1970", s)
	}
	return seconds, nil
}

// standardTime is what mktime of the GNU C library makes of a local time, which t has in
// UTC, if it is told that no summer time is in force, as OpenSSH does: in summer, the
// offset is that of the nearest time without it. It gives seconds since 1970.
func standardTime(t time.Time, zone *time.Location) int64 {
	const stride, most = 601200, 268435456 // seconds, of mktime.c
	local := time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), 0, zone)
	_, offset := local.Zone()
	if !local.IsDST() && local.Hour() == t.Hour() && local.Minute() == t.Minute() {
		return t.Unix() - int64(offset)
	}
	for delta := int64(stride); delta < most; delta += stride {
		for _, d := range []int64{-delta, delta} {
			near := time.Unix(local.Unix()+d, 0).In(zone)
			if !near.IsDST() {
				_, offset = near.Zone()
				return t.Unix() - int64(offset)
			}
		}
	}
	return t.Unix() - int64(offset)
}
