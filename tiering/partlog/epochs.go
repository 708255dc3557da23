package partlog

import (
	"slices"
	"sort"
)

// epochStart is the first offset that was written in a leader epoch. Epochs that
// wrote nothing have none. In a history both fields only grow.
type epochStart struct {
	epoch int32
	start int64
}

// epochsFrom is what is left of a history once the log begins at start, which is
// not before it did, and ends at end. It is that of Kafka's
// LeaderEpochFileCache.truncateFromStart, but that a log without records has none.
func epochsFrom(history []epochStart, start, end int64) []epochStart {
	if start == end {
		return nil
	}
	next := sort.Search(len(history), func(i int) bool { return history[i].start > start })
	left := slices.Clone(history[next-1:])
	left[0].start = start
	return left
}

// epochEnd searches a history, where current is the epoch in force and end the
// partition's end offset: if current has written nothing yet, it starts there.
// The rules are those of Kafka's LeaderEpochFileCache.endOffsetFor.
func epochEnd(history []epochStart, current int32, end int64, epoch int32) (int32, int64) {
	switch {
	case epoch < 0 || epoch > current:
		return -1, -1
	case epoch == current:
		return current, end
	}
	next := sort.Search(len(history), func(i int) bool { return history[i].epoch > epoch })
	nextStart := end
	if next < len(history) {
		nextStart = history[next].start
	}
	if next == 0 {
		return epoch, nextStart
	}
	return history[next-1].epoch, nextStart
}

// epochAt is the epoch in which the offset was written, which is not before the
// first start; 0 if the history is empty.
func epochAt(history []epochStart, offset int64) int32 {
	next := sort.Search(len(history), func(i int) bool { return history[i].start > offset })
	if next == 0 {
		return 0
	}
	return history[next-1].epoch
}
