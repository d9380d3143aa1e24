package replay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/acc-project/acc/format"
)

// told gives batches of one event at each of these boot times, and then an error.
type told struct {
	boots []int64
	err   error
}

func (t *told) Next() (*format.Batch, error) {
	if len(t.boots) == 0 {
		return nil, t.err
	}
	b := &format.Batch{Events: []format.Event{{BootNS: t.boots[0]}}}
	t.boots = t.boots[1:]
	return b, nil
}

func clockAt(realNS, maxErrNS int64, k format.Keeping) *format.Clocks {
	return format.NewClocks(format.Clock{RealNS: realNS, MaxErrNS: maxErrNS, Keeping: k})
}

func TestPlaySeveral(t *testing.T) {
	const base, synced, free = int64(1e18), format.KeepingSynced, format.KeepingFree
	cut := errors.New("cut")
	for _, c := range []struct {
		name    string
		sources []Source
		want    string // source:boot, then ~ and what is not known of the order
		ended   []error
	}{
		{"apart", []Source{
			{Reader: &told{[]int64{10, 50}, io.EOF}, Clocks: clockAt(base, 1, synced)},
			{Reader: &told{[]int64{5, 25}, io.EOF}, Clocks: clockAt(base+15, 2, synced)},
		}, "0:10 1:5 1:25 0:50", []error{io.EOF, io.EOF}},
		{"within both errors", []Source{
			{Reader: &told{[]int64{10, 13, 14}, io.EOF}, Clocks: clockAt(base, 1, synced)},
			{Reader: &told{[]int64{12}, io.EOF}, Clocks: clockAt(base, 1, synced)},
		}, "0:10 1:12~2ns 0:13~2ns 0:14~2ns", []error{io.EOF, io.EOF}},
		{"not synchronised", []Source{
			{Reader: &told{[]int64{10, 1e9}, io.EOF}, Clocks: clockAt(base, 1, synced)},
			{Reader: &told{[]int64{12}, io.EOF}, Clocks: clockAt(base, 0, free)},
		}, "0:10 1:12~-1ns 0:1000000000~-1ns", []error{io.EOF, io.EOF}},
		{"one boot: the clock since boot counts, whatever the wall clock says", []Source{
			{Reader: &told{[]int64{10, 30}, io.EOF}, Clocks: clockAt(base+1000, 0, free), Boot: "b"},
			{Reader: &told{[]int64{20, 40}, io.EOF}, Clocks: clockAt(base, 0, free), Boot: "b"},
		}, "0:10 1:20 0:30 1:40", []error{io.EOF, io.EOF}},
		{"years apart", []Source{
			{Reader: &told{[]int64{10}, io.EOF}, Clocks: clockAt(base, 1, synced)},
			{Reader: &told{[]int64{10}, io.EOF}, Clocks: clockAt(base/2, 1, synced)},
		}, "1:10 0:10", []error{io.EOF, io.EOF}},
		{"one is cut off", []Source{
			{Reader: &told{[]int64{10}, cut}, Clocks: clockAt(base, 1, synced)},
			{Reader: &told{[]int64{100, 200}, io.EOF}, Clocks: clockAt(base, 1, synced)},
			{Reader: &told{nil, cut}, Clocks: clockAt(base, 1, synced)},
		}, "0:10 1:100 1:200", []error{cut, io.EOF, cut}},
	} {
		var got []string
		batches := 0
		ended, err := PlaySeveral(context.Background(), c.sources, PlayOptions{},
			func(int, *format.Batch) error { batches++; return nil },
			func(m *Moment) error {
				s := fmt.Sprintf("%d:%d", m.Source, m.Event.BootNS)
				if m.Unknown != 0 {
					s += "~" + m.Unknown.String()
				}
				got = append(got, s)
				return nil
			})
		if s := strings.Join(got, " "); err != nil || s != c.want || !slices.Equal(ended, c.ended) || batches != len(got) {
			t.Errorf("%s: %s, %v, %v, %d batches; want %s, %v", c.name, s, ended, err, batches, c.want, c.ended)
		}
	}
}

// Pauses are those of the wall clock, and what event gives ends it.
func TestPlaySeveralPace(t *testing.T) {
	slept := time.Duration(0)
	o := PlayOptions{Speed: 1, Sleep: func(_ context.Context, d time.Duration) error { slept = d; return nil }}
	sources := []Source{
		{Reader: &told{[]int64{0}, io.EOF}, Clocks: clockAt(1e18, 1, format.KeepingSynced)},
		{Reader: &told{[]int64{1e9}, io.EOF}, Clocks: clockAt(1e18+59e9, 1, format.KeepingSynced)},
	}
	if _, err := PlaySeveral(context.Background(), sources, o, func(int, *format.Batch) error { return nil },
		func(*Moment) error { return nil }); err != nil || slept < 59*time.Second || slept > time.Minute {
		t.Errorf("%v, %v", slept, err)
	}
	stop := errors.New("stop")
	sources[0].Reader = &told{[]int64{1, 2}, io.EOF}
	if _, err := PlaySeveral(context.Background(), sources, PlayOptions{}, func(int, *format.Batch) error { return nil },
		func(*Moment) error { return stop }); !errors.Is(err, stop) {
		t.Error(err)
	}
}
