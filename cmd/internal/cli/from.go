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

// from is where reading begins.
type from struct {
	kind   fromKind
	flag   string // that gave it
	offset int64
	time   time.Time
}

// looksLikeSeconds is a second of 2001: few partitions have so many records.
const looksLikeSeconds = 1_000_000_000

// parseFrom reads the value of a flag for where to begin: a word, an offset, a
// time, or a time before now.
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
	t, err := parseStart(text, now)
	switch {
	case errors.Is(err, errBeforeEpoch):
		return from{}, usagef("--%s %q: %w", flag, text, err)
	case err != nil:
		return from{}, usagef(`--%s %q: write earliest, latest, an offset, %s, @ and a number since 1970 (@1714557600), or how long ago (-2h, -7d, -1y); see "varve help times"`, flag, text, timeForms)
	}
	return from{kind: fromTime, flag: flag, time: t}, nil
}

// parseStart reads a time, or how long before now it was.
func parseStart(text string, now time.Time) (time.Time, error) {
	if number, ok := strings.CutPrefix(text, "@"); ok {
		return parseEpoch(number)
	}
	if ago, ok := strings.CutPrefix(text, "-"); ok {
		return parseAgo(ago, now)
	}
	return parseMoment(text)
}

// span is the part of one partition that is left to read.
type span struct {
	next int64 // offset of the next record wanted
	end  int64 // offset to stop before; -1 reads on forever

	nothingNewer bool // no record is as new as the wanted time, and next is the end
}

func (s span) done() bool { return s.end >= 0 && s.next >= s.end }

// spans are the partitions to read, by topic and partition.
type spans map[string]map[int32]*span

// resolve finds the offsets to begin at, and with untilEnd those to stop
// before, as they are now. If partitions is not empty, it limits the result to
// those.
func resolve(ctx context.Context, env *Env, client *kgo.Client, topics []string, partitions []int32, at from, untilEnd bool) (spans, error) {
	admin := kadm.NewClient(client)
	all := spans{}
	for _, topic := range topics {
		existing, err := lookUpTopic(ctx, env, client, topic)
		if err != nil {
			return nil, err
		}
		chosen := partitions
		if len(chosen) == 0 {
			chosen = existing
		}
		for _, p := range chosen {
			if !slices.Contains(existing, p) {
				return nil, usagef("--partition %d: topic %q has partitions 0 to %d", p, topic, len(existing)-1)
			}
		}
		err = again(ctx, env, func() (err error) {
			all[topic], err = resolveTopic(ctx, admin, topic, chosen, at, untilEnd)
			return err
		})
		if err != nil {
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
	// The ends are read last, so no beginning lies after its end.
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
			s.next, s.nothingNewer = timed.Offset, timed.Timestamp < 0 // for which kadm returns the end
		case fromOffset:
			if at.offset < start.Offset || at.offset > end.Offset {
				return nil, usagef("--%s %d: partition %d has offsets %d to %d; choose one of those, or a partition with --partition%s",
					at.flag, at.offset, p, start.Offset, end.Offset, timeMeant(at.offset))
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

// timeMeant returns a hint for the error about an offset that looks like a
// time.
func timeMeant(offset int64) string {
	if offset < looksLikeSeconds {
		return ""
	}
	return fmt.Sprintf(" (a time is written with @: @%d)", offset)
}

// consumeFrom returns the offsets at which the client begins, without
// partitions that are done.
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
