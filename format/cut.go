package format

// This file has what a header says of a cut, and the numbers of its events.

import "fmt"

// FeatureCut is the name, in Header.Incompat, of what a reader must know to read a cut.
const FeatureCut = "cut"

// MaxCuts is how often a capture can be cut out of a cut.
const MaxCuts = 32

// Cut says, in a header, of which capture this one is a part, and which part. Events keep the numbers that they have
// in the recording: the column seq has them.
type Cut struct {
	Files   []CutFile `msgpack:"files" json:"files"`       // what it was cut out of: one file, or those of one recording
	Tool    string    `msgpack:"tool" json:"tool"`         // "acc VERSION" that cut it
	FromNS  int64     `msgpack:"from_ns" json:"from_ns"`   // CLOCK_BOOTTIME: no event is earlier
	UntilNS int64     `msgpack:"until_ns" json:"until_ns"` // CLOCK_BOOTTIME: no event is later
	Begin   bool      `msgpack:"begin" json:"begin"`       // it begins where that begins
	End     bool      `msgpack:"end" json:"end"`           // it ends where that ends
	// condition that attempts and connections meet, "": all
	Filter string `msgpack:"filter" json:"filter"`
	// the connections that were named, as they were; empty: all
	Connections []string `msgpack:"connections" json:"connections"`

	// What the whole says of itself, not the part.

	StartNS int64  `msgpack:"start_ns" json:"start_ns"` // when its recording began, Unix time
	EndNS   int64  `msgpack:"end_ns" json:"end_ns"`     // when it ended, Unix time; 0: it has no END
	Events  uint64 `msgpack:"events" json:"events"`     // that it has
	Lost    uint64 `msgpack:"lost" json:"lost"`         // that it counts as lost
	Missed  uint64 `msgpack:"missed" json:"missed"`     // hits that the kernel did not run a probe for
	Reason  string `msgpack:"reason" json:"reason"`     // why its recording ended, "": it has no END
	Clean   bool   `msgpack:"clean" json:"clean"`       // its recording was closed cleanly
}

// CutFile is a capture that another one was cut out of.
type CutFile struct {
	ID     string `msgpack:"id" json:"id"`         // capture id
	SHA256 string `msgpack:"sha256" json:"sha256"` // of the file, hexadecimal
	Bytes  int64  `msgpack:"bytes" json:"bytes"`   // its length
	Head   string `msgpack:"head" json:"head"`     // chain of its last frame, hexadecimal
}

// Cut is the last cut that was made, nil of a whole capture.
func (h *Header) Cut() *Cut {
	if len(h.Cuts) == 0 {
		return nil
	}
	return &h.Cuts[len(h.Cuts)-1]
}

// BeginsLate reports whether the capture begins after its recording did.
func (h *Header) BeginsLate() bool {
	for i := range h.Cuts {
		if !h.Cuts[i].Begin {
			return true
		}
	}
	return false
}

// EndsEarly reports whether the recording went on behind the capture's end.
func (h *Header) EndsEarly() bool {
	for i := range h.Cuts {
		if !h.Cuts[i].End {
			return true
		}
	}
	return false
}

// Chosen reports whether a condition, or a list, chose what is in it.
func (c *Cut) Chosen() bool { return c.Filter != "" || len(c.Connections) > 0 }

// Began is "when recording began", for people: of a cut, what began with it need not have begun then.
func (h *Header) Began() string {
	if h.BeginsLate() {
		return "when the cut begins"
	}
	return "when recording began"
}

// Before is "before the recording", for people.
func (h *Header) Before() string {
	if h.BeginsLate() {
		return "before the cut"
	}
	return "before the recording"
}

// Ended is "when recording ended", for people.
func (h *Header) Ended() string {
	if h.EndsEarly() {
		return "when the cut ends"
	}
	return "when recording ended"
}

// seqField is the column with the numbers of a cut's events: the difference to the event before.
var seqField = FieldSpec{Name: "seq", Type: Uint, Key: keyPrev}

// appendNumbers appends the column of the events' numbers, which it overwrites.
func appendNumbers(b []byte, nums []int64) []byte {
	last := int64(0)
	for i, n := range nums {
		nums[i], last = n-last, n
	}
	return appendColumn(b, nums, statsOf(nums), nil)
}

// parseNumbers reads the column of the numbers of so many events, which ascend.
func parseNumbers(b []byte, nums []int64, rows int) ([]int64, []byte, error) {
	if cap(nums) < rows {
		nums = make([]int64, rows)
	}
	nums = nums[:rows]
	b, err := parseColumn(b, nums)
	if err != nil {
		return nums, nil, err
	}
	last := int64(0)
	for i, n := range nums {
		if n <= 0 || last+n < last {
			return nums, nil, fmt.Errorf("the numbers of events do not ascend")
		}
		last += n
		nums[i] = last
	}
	return nums, b, nil
}
