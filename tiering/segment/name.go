package segment

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Name names an object that holds records of partitions. Names are small and can be
// compared with ==. Readers make a key of one only to ask the store or the cache.
type Name struct {
	Kind      Kind   // KindData or KindMerged
	Journal   uint32 // of a data object or a shared segment
	Seq       uint64 // of a data object
	Object    ID     // of a merged segment
	Topic     ID     // of an own segment, which holds one partition; zero in a shared one
	Partition int32  // of an own segment
	Base      int64  // of an own segment: the first offset that it covers
}

// DataObject is the name of the data object that a journal has at a seq.
func DataObject(journal uint32, seq uint64) Name {
	return Name{Kind: KindData, Journal: journal, Seq: seq}
}

// SharedSegment is the name of a merged segment of several partitions of a journal.
func SharedSegment(journal uint32, object ID) Name {
	return Name{Kind: KindMerged, Journal: journal, Object: object}
}

// OwnSegment is the name of a merged segment that holds one partition, from base on.
func OwnSegment(topic ID, partition int32, base int64, object ID) Name {
	return Name{Kind: KindMerged, Object: object, Topic: topic, Partition: partition, Base: base}
}

// Own reports whether the object is a merged segment of one partition.
func (n Name) Own() bool { return n.Kind == KindMerged && !n.Topic.IsZero() }

// Key returns the key of the object.
func (n Name) Key() string {
	switch {
	case n.Kind != KindMerged:
		return JournalKey(n.Journal, n.Seq)
	case n.Own():
		return fmt.Sprintf("%s%s/%d/%020d-%s", TopicsPrefix, n.Topic, n.Partition, n.Base, n.Object)
	}
	return fmt.Sprintf("%s%s", MergedPrefix(n.Journal), n.Object)
}

// Order is lower for an object that was written earlier in the same journal. Merged
// segments come before all others: their records are older.
func (n Name) Order() uint64 { return n.Seq }

// The first parts of the keys of merged segments.
const (
	TopicsPrefix = "topics/" // own segments, and the names of topics
	SharedPrefix = "merged/" // shared segments
)

// MergedPrefix is the common prefix of the keys of a journal's shared segments.
func MergedPrefix(journal uint32) string { return fmt.Sprintf("%s%d/", SharedPrefix, journal) }

// ParseMergedKey is the inverse of Name.Key for merged segments; false if key is not that
// of one.
func ParseMergedKey(key string) (Name, bool) {
	n, ok := parseShared(key)
	if !ok {
		n, ok = parseOwn(key)
	}
	return n, ok && n.Key() == key
}

func parseShared(key string) (Name, bool) {
	rest, ok := strings.CutPrefix(key, SharedPrefix)
	journal, object, both := strings.Cut(rest, "/")
	if !ok || !both {
		return Name{}, false
	}
	number, err := strconv.ParseUint(journal, 10, 32)
	if err != nil {
		return Name{}, false
	}
	id, err := ParseID(object)
	return SharedSegment(uint32(number), id), err == nil && !id.IsZero()
}

func parseOwn(key string) (Name, bool) {
	rest, ok := strings.CutPrefix(key, TopicsPrefix)
	parts := strings.Split(rest, "/")
	if !ok || len(parts) != 3 {
		return Name{}, false
	}
	base, object, _ := strings.Cut(parts[2], "-")
	topic, err := ParseID(parts[0])
	if err != nil || topic.IsZero() {
		return Name{}, false
	}
	index, err := strconv.ParseUint(parts[1], 10, 31)
	if err != nil {
		return Name{}, false
	}
	offset, err := strconv.ParseUint(base, 10, 63)
	if err != nil || offset == math.MaxInt64 {
		return Name{}, false
	}
	id, err := ParseID(object)
	return OwnSegment(topic, int32(index), int64(offset), id), err == nil && !id.IsZero()
}

// TopicNameKey returns the key of the object that has the name of a topic.
func TopicNameKey(topic ID) string { return fmt.Sprintf("%s%s/name", TopicsPrefix, topic) }

// ParseTopicNameKey is the inverse of TopicNameKey; false if key is not that of a name.
func ParseTopicNameKey(key string) (topic ID, ok bool) {
	rest, ok := strings.CutPrefix(key, TopicsPrefix)
	if !ok {
		return ID{}, false
	}
	name, _ := strings.CutSuffix(rest, "/name")
	topic, err := ParseID(name)
	return topic, err == nil && !topic.IsZero() && TopicNameKey(topic) == key
}
