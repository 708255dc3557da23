package partlog

import (
	"slices"
	"sort"
)

// epochStart is the first offset that was written in a leader epoch. Epochs that wrote
// no records have none. In a history both fields only grow.
type epochStart struct {
	epoch int32
	start int64
}

// epochsFrom returns the rest of a history once the log begins at start, which is not
// before its old start, and ends at end. It follows Kafka's
// LeaderEpochFileCache.truncateFromStart, but a log without records has no epochs.
func epochsFrom(history []epochStart, start, end int64) []epochStart {
	if start == end {
		return nil
	}
	next := sort.Search(len(history), func(i int) bool { return history[i].start > start })
	left := slices.Clone(history[next-1:])
	left[0].start = start
	return left
}

// epochEnd searches a history. current is the epoch in force, and end the partition's end
// offset, where current starts if it has written no records yet.
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

// epochAt returns the epoch in which the offset was written, 0 if the history is empty.
// The offset must not be before the first start.
func epochAt(history []epochStart, offset int64) int32 {
	next := sort.Search(len(history), func(i int) bool { return history[i].start > offset })
	if next == 0 {
		return 0
	}
	return history[next-1].epoch
}
