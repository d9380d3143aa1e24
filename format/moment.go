package format

// This file writes times.

import (
	"strconv"
	"time"
)

// Known reports whether the pair places events in time. That of a capture whose
// header is lost does not, until a clock pair comes.
func (c Clock) Known() bool { return c.RealNS != 0 }

// AppendMoment appends when a boot time was by the pair: in the zone, by the layout of
// package time; or if the pair is not known, how long after the host's start that
// was, as boot+12.345678s.
func (c Clock) AppendMoment(dst []byte, bootNS int64, zone *time.Location, layout string) []byte {
	if !c.Known() {
		return AppendBoot(dst, bootNS)
	}
	return c.Time(bootNS).In(zone).AppendFormat(dst, layout)
}

// AppendBoot appends a boot time for a person, as boot+12.345678s.
func AppendBoot(dst []byte, bootNS int64) []byte {
	sign := byte('+')
	us := uint64(bootNS) / 1000
	if bootNS < 0 { // no recorder's
		sign, us = '-', -uint64(bootNS)/1000
	}
	dst = strconv.AppendUint(append(append(dst, "boot"...), sign), us/1e6, 10)
	return append(appendDigits(append(dst, '.'), int(us%1e6), 6), 's')
}

// AppendTimeJSON appends the wall clock time of a boot time as a JSON string, see
// [AppendTime]; null if the pair is not known.
func AppendTimeJSON(dst []byte, bootNS int64, c Clock) []byte {
	if !c.Known() {
		return append(dst, "null"...)
	}
	return append(AppendTime(append(dst, '"'), bootNS, c), '"')
}
