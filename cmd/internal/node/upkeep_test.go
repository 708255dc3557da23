package node

import (
	"testing"
	"time"

	"github.com/varvelog/varve/cmd/internal/config"
	"github.com/varvelog/varve/metadata/topicconfig"
)

func TestProducersAreAskedToWaitASecondAtMost(t *testing.T) {
	for _, tc := range []struct {
		debt int64
		want time.Duration
	}{{0, 0}, {100, 0}, {110, 100 * time.Millisecond}, {150, 500 * time.Millisecond}, {200, time.Second}, {1 << 50, time.Second}} {
		if got := throttleTime(tc.debt, 100); got.Round(time.Millisecond) != tc.want {
			t.Errorf("%d bytes above a bound of 100: %v, want %v", tc.debt, got, tc.want)
		}
	}
}

func TestTheRateOfTieringGrowsWithTheJournal(t *testing.T) {
	for _, tc := range []struct {
		setting config.Rate
		written int64
		want    int64
	}{
		{config.Rate{Auto: true}, 0, idleRate}, {config.Rate{Auto: true}, 1 << 20, idleRate}, {config.Rate{Auto: true}, 100 << 20, busyShare * 100 << 20},
		{config.Rate{Bytes: 7}, 1 << 20, 7}, {config.Rate{}, 1 << 20, 0},
	} {
		if got := tieringRate(tc.setting, tc.written); got != tc.want {
			t.Errorf("%+v with %d bytes a second: %d, want %d", tc.setting, tc.written, got, tc.want)
		}
	}
}

// TestTopicsOfOneClassAreKeptForAboutAsLong: within a factor of four.
func TestTopicsOfOneClassAreKeptForAboutAsLong(t *testing.T) {
	class := func(configs map[string]string) string {
		v, err := topicconfig.Of(configs)
		if err != nil {
			t.Fatal(err)
		}
		return retentionClass(&v)
	}
	const hour = "3600000"
	kept := map[string]string{
		"":                         class(nil),
		"an hour":                  class(map[string]string{"retention.ms": hour}),
		"two hours":                class(map[string]string{"retention.ms": "7200000"}),
		"four hours":               class(map[string]string{"retention.ms": "14400000"}),
		"a week":                   class(map[string]string{"retention.ms": "604800000"}),
		"bytes":                    class(map[string]string{"retention.bytes": "1000"}),
		"compacted":                class(map[string]string{"cleanup.policy": "compact"}),
		"compacted and an hour":    class(map[string]string{"cleanup.policy": "compact,delete", "retention.ms": hour}),
		"ten thousand years":       class(map[string]string{"retention.ms": "315360000000000"}),
		"ten times as many years":  class(map[string]string{"retention.ms": "3153600000000000"}),
		"an hour, or so many MiBs": class(map[string]string{"retention.ms": hour, "retention.bytes": "1000"}),
	}
	for _, same := range [][2]string{
		{"two hours", "four hours"}, {"ten thousand years", "ten times as many years"},
		{"compacted", "compacted and an hour"}, {"an hour", "an hour, or so many MiBs"},
	} {
		if kept[same[0]] != kept[same[1]] {
			t.Errorf("%q and %q are of different classes", same[0], same[1])
		}
	}
	classes := map[string]bool{}
	for _, name := range []string{"", "an hour", "two hours", "a week", "bytes", "compacted", "ten thousand years"} {
		classes[kept[name]] = true
	}
	if len(classes) != 7 {
		t.Errorf("%d classes of 7: %v", len(classes), kept)
	}
}
