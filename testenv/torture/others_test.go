package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/varvelog/varve/testenv/history"
)

func newHistory() *history.History {
	return history.New(partitions, func() time.Duration { return 0 })
}

// fadingOf returns the topic with ten records, each a second younger than the one
// before it. The last one is new.
func fadingOf(name string) (*fadingLog, time.Time) {
	now := time.Now()
	for _, l := range newFadingLogs() {
		if l.topic != name {
			continue
		}
		for offset := range int64(10) {
			l.note(&kgo.Record{Offset: offset, Value: fmt.Append(nil, offset), Timestamp: now.Add(time.Duration(offset-9) * time.Second)}, nil)
		}
		l.note(&kgo.Record{Offset: 10}, errors.New("not acknowledged"))
		return l, now
	}
	panic("no topic " + name)
}

func TestAStartMovesOnlyAsFarAsItMay(t *testing.T) {
	brief, now := fadingOf(briefTopic)
	bounded, _ := fadingOf(boundedTopic)
	trimmed, _ := fadingOf(trimmedTopic)
	trimmed.parts[0].asked = 7
	const most = 1 + boundedBytes/(fadingSize+fadingOverhead)
	for _, c := range []struct {
		log        *fadingLog
		start, end int64
		at         time.Time
		wrong      bool
	}{
		{brief, 5, 10, now, false}, {brief, 7, 10, now, true}, {brief, 7, 10, now.Add(2 * time.Second), false},
		{bounded, 10, 10 + most, now, false}, {bounded, 10, 9 + most, now, true}, {bounded, 0, 1, now, false},
		{trimmed, 7, 10, now, false}, {trimmed, 8, 10, now, true},
	} {
		if why := c.log.wrong(&c.log.parts[0], c.start, c.end, c.at); (why != "") != c.wrong {
			t.Errorf("%s from %d to %d after %v: %q", c.log.topic, c.start, c.end, c.at.Sub(now), why)
		}
	}
}

func TestNothingExpiresOnceItIsKept(t *testing.T) {
	for _, kept := range []bool{false, true} {
		h, since := newHistory(), time.Time{}
		l, now := fadingOf(briefTopic)
		if kept {
			since = now
			l.keepSince(since)
		}
		later := now.Add(time.Minute)
		if l.begins(h, "a look-up", 0, 0, 5, 10, since, later); h.Check().Total() != 0 {
			t.Errorf("kept %v: records that had expired before are missed", kept)
		}
		if l.begins(h, "a look-up", 0, 0, 10, 10, since, later); (h.Check().Counts[history.LostWrite] == 1) != kept {
			t.Errorf("kept %v: %+v", kept, h.Check())
		}
	}
}

// A partition that ends before its start was known to be is wrong, if that was known when its end
// was asked for.
func TestAnEndIsComparedWithTheStartOfBefore(t *testing.T) {
	for before, wrong := range map[int64]bool{5: false, 20: true} {
		h := newHistory()
		l, now := fadingOf(trimmedTopic)
		l.parts[0].start = 20 // records were deleted in the meantime
		l.begins(h, "a look-up", 0, before, 5, 10, time.Time{}, now)
		if got := h.Check().Counts[history.EndWentBack] == 1; got != wrong {
			t.Errorf("the start was %d when the end was asked for: %+v", before, h.Check())
		}
	}
}

// TestTheForeignReaderMustGetEverything takes all records of each topic, and the same with one
// left out or changed.
func TestTheForeignReaderMustGetEverything(t *testing.T) {
	for _, c := range []struct {
		name    string
		damage  func(offset int64, value *string) (left bool)
		anomaly map[string]history.Kind // by topic
	}{
		{"all", func(int64, *string) bool { return false }, nil},
		{"one left out", func(offset int64, _ *string) bool { return offset == 4 },
			map[string]history.Kind{slowTopic: history.Truncated, briefTopic: history.PollSkip, compactedTopic: history.Corrupt}},
		{"the last one left out", func(offset int64, _ *string) bool { return offset == 9 },
			map[string]history.Kind{slowTopic: history.Truncated, briefTopic: history.Truncated, compactedTopic: history.Truncated}},
		{"one changed", func(offset int64, value *string) bool {
			*value += strings.Repeat("x", max(0, int(offset-8)))
			return false
		},
			map[string]history.Kind{slowTopic: history.Corrupt, briefTopic: history.InconsistentOffset, compactedTopic: history.Corrupt}},
	} {
		for _, topic := range []string{slowTopic, briefTopic, compactedTopic} {
			h := newHistory()
			slow, keyed := newSlowLog(), newCompactedLog()
			brief, _ := fadingOf(briefTopic)
			for offset := range int64(10) {
				r := &kgo.Record{Offset: offset, Key: fmt.Append(nil, offset), Value: fmt.Append(nil, offset)}
				slow.note(r, nil)
				keyed.note(r, nil)
			}
			reading := map[string]reading{slowTopic: slow.read(h, "it"), compactedTopic: keyed.read(h, "it"),
				briefTopic: brief.read(h, "it", []foreignPartition{{0, 10}, {}})}[topic]
			for offset := range int64(10) {
				value := fmt.Sprint(offset)
				if !c.damage(offset, &value) {
					reading.take(0, offset, fmt.Append(nil, offset), []byte(value))
				}
			}
			reading.end()
			got := h.Check()
			if want := c.anomaly[topic]; want == "" && got.Total() > 0 || want != "" && got.Counts[want] == 0 {
				t.Errorf("%s, %s: want %q, got %+v", topic, c.name, want, got)
			}
		}
	}
}

func TestLinesOfTheForeignReaderAreRead(t *testing.T) {
	slow := newSlowLog()
	h := newHistory()
	slow.note(&kgo.Record{Offset: 3, Value: []byte{0xff, 0}}, nil)
	left := slow.read(h, "it")
	lines := `{"topic": "slow", "partition": 0, "offset": 3, "key": null, "value": "/wA=", "value_encoding": "base64"}`
	if err := readLines(strings.NewReader(lines), map[string]reading{slowTopic: left}); err != nil || left.count != 0 {
		t.Errorf("%d left, %v", left.count, err)
	}
	if err := readLines(strings.NewReader(lines[:40]), map[string]reading{slowTopic: left}); err == nil {
		t.Error("half a line was read")
	}
	if err := readLines(strings.NewReader(lines), nil); err == nil {
		t.Error("an unknown topic was read")
	}
	listed := map[string][]foreignPartition{}
	if err := readTopics(strings.NewReader(`{"name": "a", "partitions": [{"partition": 0, "start": 4, "end": 9}]}`), listed); err != nil || listed["a"][0].Start != 4 || listed["a"][0].End != 9 {
		t.Errorf("%v, %v", listed, err)
	}
}

const leaderLog = `level=DEBUG msg="tiering: released" journal=1 objects=2 ranges=0 partitions=0
level=DEBUG msg="tiering: deleted" journal=1 objects=2 ranges=0
level=DEBUG msg="tiering: deleted" journal=1 objects=0 ranges=3
level=DEBUG msg="tiering: swept" journal=1
level=DEBUG msg="tiering: intent committed" journal=2 job=1
level=INFO msg="something else" journal=1
level=DEBUG msg="tiering: released" journal=1 obj`

func TestStepsOfTieringAreCounted(t *testing.T) {
	file := filepath.Join(t.TempDir(), "leader.log")
	if err := os.WriteFile(file, []byte(leaderLog), 0o600); err != nil {
		t.Fatal(err)
	}
	w := newTidying(file)
	if err := w.died(); err != nil {
		t.Fatal(err)
	}
	all, err := w.counts()
	if err != nil || all["released"] != 1 || all["swept"] != 1 || all["journal objects deleted"] != 1 || all["deaths after: swept"] != 1 || all["deaths after: released"] != 0 {
		t.Errorf("%v, %v", all, err)
	}
	for step, want := range map[string]bool{"released": true, "swept": false, "intent committed": true, "else": false} {
		if w.wanted(step) != want {
			t.Errorf("a death after %q is wanted: %v", step, !want)
		}
	}
	more, err := os.OpenFile(file, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := more.WriteString("ects=1 ranges=0\n"); err != nil {
		t.Fatal(err)
	}
	if err := more.Close(); err != nil {
		t.Fatal(err)
	}
	if all, err = w.counts(); err != nil || all["released"] != 2 || all["swept"] != 1 {
		t.Errorf("once the last line is whole: %v, %v", all, err)
	}
}

func TestARoundLacksWorkThatWasNeverDone(t *testing.T) {
	w := newTidying(filepath.Join(t.TempDir(), "leader.log"))
	if err := os.WriteFile(w.log, []byte(leaderLog), 0o600); err != nil {
		t.Fatal(err)
	}
	w.mu.before[removedPages], w.mu.now[metric{"leader", removedPages}], w.mu.now[metric{"follower", removedPages}] = 3, 1, 2
	r := &round{cluster: &cluster{tidying: w}, passing: &passing{}, fading: newFadingLogs()}
	r.duration = time.Minute
	r.rereads.behind[1].Add(1)
	done, err := r.done()
	if err != nil || done[removedPages] != 6 || w.pagesRemoved() != 6 {
		t.Errorf("%v, %v", done, err)
	}
	lacking := r.lacking(done)
	for what, want := range map[string]bool{
		"released": false, "deaths after: swept": true, `varve_expiries_total{journal="1"}`: true, removedPages: false,
		"reads of the whole log after index pages were removed, at the leader":   true,
		"reads of the whole log after index pages were removed, at the follower": false,
	} {
		if slices.Contains(lacking, what) != want {
			t.Errorf("%s lacks: %v; there lack %v", what, !want, lacking)
		}
	}
	for duration, want := range map[time.Duration]bool{time.Minute: false, 5 * time.Minute: true} {
		if r.duration = duration; slices.Contains(r.lacking(done), foundPages) != want {
			t.Errorf("a round of %v lacks %v", duration, r.lacking(done))
		}
	}
	if r.duration = 59 * time.Second; len(r.lacking(done)) > 0 {
		t.Errorf("a shorter round lacks %v", r.lacking(done))
	}
}

func TestAnUnknownTopicIsAnAnswer(t *testing.T) {
	for _, answer := range []error{nil, kerr.TopicAlreadyExists, fmt.Errorf("delete: %w", kerr.UnknownTopicOrPartition)} {
		asked := 0
		err := try(t.Context(), func(context.Context) error {
			if asked++; asked < 3 {
				return []error{kerr.NotController, errors.New("connection refused")}[asked-1]
			}
			return answer
		})
		if !errors.Is(err, answer) || asked != 3 {
			t.Errorf("asked %d times for %v, got %v", asked, answer, err)
		}
	}
}
