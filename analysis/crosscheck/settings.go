package crosscheck

import (
	"maps"
	"sort"

	"github.com/acc-project/acc/format"
)

// This file knows the kernel's settings in each network namespace over time.

// Bounds of the readings that are kept: of one namespace, and of all.
const (
	maxSettings    = 1000
	maxAllSettings = 20_000
	maxBytes       = 32 << 20
)

// Settings are the settings of network namespaces, by the readings that a capture
// holds. The zero value is ready.
type Settings struct {
	of   map[uint32][]settingsAt
	all  int
	room format.Room
}

// settingsAt are those of one reading.
type settingsAt struct {
	ns     int64
	values map[string]int64
}

// SettingChange is a setting that had another value than at the reading before.
type SettingChange struct {
	NetNS  uint32 `json:"netns"`   // inode number of the network namespace
	Name   string `json:"name"`    // as sysctl(8) spells it
	From   int64  `json:"from"`    // value at the reading before
	To     int64  `json:"to"`      // value from then on
	BootNS int64  `json:"boot_ns"` // time of the reading, at most some 100 ms after the change if it was watched
}

// Add takes a reading. Those of a namespace come in the order of time.
func (s *Settings) Add(c *format.Counters) {
	if c.Settings == nil {
		return
	}
	list := s.of[c.NetNS]
	if n := len(list); n > 0 && maps.Equal(list[n-1].values, c.Settings) || n >= maxSettings ||
		s.all >= maxAllSettings {
		return
	}
	if s.room.Max = maxBytes; !s.room.Takes(&c.Settings) {
		return
	}
	if s.of == nil {
		s.of = map[uint32][]settingsAt{}
	}
	s.of[c.NetNS] = append(list, settingsAt{c.BootNS, c.Settings})
	s.all++
}

// At gives a setting of a namespace at a time: the value of the last reading before,
// or of the first one. It is not known if there is no reading of it.
func (s *Settings) At(netns uint32, bootNS int64, name string) (value int64, known bool) {
	list := s.of[netns]
	if len(list) == 0 {
		return 0, false
	}
	i := sort.Search(len(list), func(i int) bool { return list[i].ns > bootNS })
	value, known = list[max(i-1, 0)].values[name]
	return value, known
}

// Ever reports whether a setting had the value at a reading.
func (s *Settings) Ever(netns uint32, name string, value int64) bool {
	for _, at := range s.of[netns] {
		if v, ok := at.values[name]; ok && v == value {
			return true
		}
	}
	return false
}

// changes lists what changed in a namespace.
func (s *Settings) changes(netns uint32) []SettingChange {
	list := []SettingChange{}
	for i, at := range s.of[netns] {
		for _, name := range format.SettingNames {
			if i == 0 {
				break
			}
			from, known := s.of[netns][i-1].values[name]
			if to, still := at.values[name]; known && still && from != to {
				list = append(list, SettingChange{netns, name, from, to, at.ns})
			}
		}
	}
	return list
}

// last are those of the last reading, none if there was none.
func (s *Settings) last(netns uint32) map[string]int64 {
	if list := s.of[netns]; len(list) > 0 {
		return list[len(list)-1].values
	}
	return map[string]int64{}
}
