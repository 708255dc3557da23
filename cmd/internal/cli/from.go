package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

type fromKind int

const (
	fromInvalid fromKind = iota
	fromEarliest
	fromLatest
	fromOffset
	fromTime
)

// from is where to begin reading.
type from struct {
	kind   fromKind
	flag   string // that said so
	offset int64
	time   time.Time
}

// parseFrom reads what a flag says of where to begin: a word, an offset, a time,
// or a time before now.
func parseFrom(flag, text string, now time.Time) (from, error) {
	switch text {
	case "earliest":
		return from{kind: fromEarliest}, nil
	case "latest":
		return from{kind: fromLatest}, nil
	}
	if n, err := strconv.ParseInt(text, 10, 64); err == nil && n >= 0 {
		return from{kind: fromOffset, flag: flag, offset: n}, nil
	}
	if ago, ok := strings.CutPrefix(text, "-"); ok {
		if d, err := parseAge(ago); err == nil {
			return fromTimeAt(flag, text, now.Add(-d))
		}
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return fromTimeAt(flag, text, t)
		}
	}
	return from{}, usagef("--%s %q: write earliest, latest, an offset, a date (2024-05-01, in UTC), a time (2024-05-01T12:00:00Z), or how long ago (-2h, -7d)", flag, text)
}

// fromTimeAt refuses times before 1970: the protocol gives negative timestamps
// meanings of their own.
func fromTimeAt(flag, text string, t time.Time) (from, error) {
	if t.UnixMilli() < 0 {
		return from{}, usagef("--%s %q: no record is older than 1970", flag, text)
	}
	return from{kind: fromTime, flag: flag, time: t}, nil
}

// parseAge reads a duration that may also be in whole days (7d) or weeks (2w).
func parseAge(text string) (time.Duration, error) {
	for unit, length := range map[string]time.Duration{"d": 24 * time.Hour, "w": 7 * 24 * time.Hour} {
		if digits, ok := strings.CutSuffix(text, unit); ok {
			n, err := strconv.ParseUint(digits, 10, 16)
			return time.Duration(n) * length, err
		}
	}
	d, err := time.ParseDuration(text)
	if err == nil && d < 0 {
		err = errors.New("negative")
	}
	return d, err
}

// span is what is left to read of one partition.
type span struct {
	next int64 // offset of the next record wanted
	end  int64 // offset to stop before; -1 reads on for ever
}

func (s span) done() bool { return s.end >= 0 && s.next >= s.end }

// spans are the partitions read, by topic and partition.
type spans map[string]map[int32]*span

// resolve finds the offsets to begin at, and with untilEnd those to stop before,
// as they are now. partitions limits it to some; empty is all.
func resolve(ctx context.Context, client *kgo.Client, topics []string, partitions []int32, at from, untilEnd bool) (spans, error) {
	admin := kadm.NewClient(client)
	all := spans{}
	for _, topic := range topics {
		meta, err := lookUpTopic(ctx, client, topic, false)
		if err != nil {
			return nil, err
		}
		chosen := partitions
		if len(chosen) == 0 {
			chosen = meta.partitions
		}
		for _, p := range chosen {
			if !slices.Contains(meta.partitions, p) {
				return nil, usagef("--partition %d: topic %q has partitions 0 to %d", p, topic, len(meta.partitions)-1)
			}
		}
		if all[topic], err = resolveTopic(ctx, admin, topic, chosen, at, untilEnd); err != nil {
			return nil, fmt.Errorf("find offsets of topic %q: %w", topic, err)
		}
	}
	return all, nil
}

func resolveTopic(ctx context.Context, admin *kadm.Client, topic string, partitions []int32, at from, untilEnd bool) (map[int32]*span, error) {
	first, err := listed(admin.ListStartOffsets(ctx, topic))
	if err != nil {
		return nil, err
	}
	var byTime kadm.ListedOffsets
	if at.kind == fromTime {
		if byTime, err = listed(admin.ListOffsetsAfterMilli(ctx, at.time.UnixMilli(), topic)); err != nil {
			return nil, err
		}
	}
	// The ends come last: no beginning can then lie behind its end.
	last, err := listed(admin.ListEndOffsets(ctx, topic))
	if err != nil {
		return nil, err
	}
	found := map[int32]*span{}
	for _, p := range partitions {
		start, ok1 := first.Lookup(topic, p)
		end, ok2 := last.Lookup(topic, p)
		timed, ok3 := byTime.Lookup(topic, p)
		if !ok1 || !ok2 || at.kind == fromTime && !ok3 {
			return nil, fmt.Errorf("the broker gave no offsets of partition %d", p)
		}
		s := &span{end: -1}
		switch at.kind {
		case fromEarliest:
			s.next = start.Offset
		case fromLatest:
			s.next = end.Offset
		case fromTime:
			s.next = timed.Offset
		case fromOffset:
			if at.offset < start.Offset || at.offset > end.Offset {
				return nil, usagef("--%s %d: partition %d has offsets %d to %d; choose one of those, or a partition with --partition",
					at.flag, at.offset, p, start.Offset, end.Offset)
			}
			s.next = at.offset
		}
		if untilEnd {
			s.end = end.Offset
		}
		found[p] = s
	}
	return found, nil
}

// consumeFrom is what the client is told to read; partitions that are done are
// not in it.
func (all spans) consumeFrom() map[string]map[int32]kgo.Offset {
	offsets := map[string]map[int32]kgo.Offset{}
	for topic, byPartition := range all {
		for p, s := range byPartition {
			if s.done() {
				continue
			}
			if offsets[topic] == nil {
				offsets[topic] = map[int32]kgo.Offset{}
			}
			offsets[topic][p] = kgo.NewOffset().At(s.next)
		}
	}
	return offsets
}

// behind describes the partitions that are not at their end.
func (all spans) behind() string {
	var words []string
	for topic, byPartition := range all {
		for p, s := range byPartition {
			if !s.done() {
				words = append(words, fmt.Sprintf("%s/%d at %d of %d", topic, p, s.next, s.end))
			}
		}
	}
	slices.Sort(words)
	const most = 5
	if len(words) > most {
		words = append(words[:most], fmt.Sprintf("%d more", len(words)-most))
	}
	return strings.Join(words, ", ")
}
