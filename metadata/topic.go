package metadata

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/varvelog/varve/metadata/topicconfig"
	"github.com/varvelog/varve/tiering/segment"
)

// Limits of a topic. MaxPartitions is also the limit of one CreateTopics
// request, as in Kafka's ReplicationControlManager.
const (
	MaxNameLen           = 249
	MaxPartitions        = 10_000
	MaxReplicationFactor = 3
	maxConfigs           = 128
	maxConfigNameLen     = 128
)

// Topic is a topic as the journal describes it. It is immutable: a change makes
// a new one. Callers must not write to its map or slice.
type Topic struct {
	Name              string
	ID                segment.ID
	Partitions        []Partition        // by index
	Configs           map[string]string  // only those set for the topic itself
	Values            topicconfig.Values // the values by Configs and the defaults
	ReplicationFactor int16              // as requested; only shown, because the bucket replicates
	Deleting          bool               // deleted, but not purged
	CreatedMs         int64              // controller's clock, Unix milliseconds
	DeletedMs         int64              // likewise; 0 if it is not deleted, or was before LevelTiering
}

// Partition is the place of a partition's records.
type Partition struct {
	Journal   uint32 // a data journal, from 1
	EpochBase int32  // for the Open entry there: Kafka's leader epoch is above it
}

// CheckName returns an error that wraps ErrInvalidName if Kafka would not
// accept name for a topic (its Topic.validate). Names become part of object
// keys, so this check also keeps keys within their prefix.
func CheckName(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("%w: it is empty", ErrInvalidName)
	case name == "." || name == "..":
		return fmt.Errorf("%w: it is %q", ErrInvalidName, name)
	case len(name) > MaxNameLen:
		return fmt.Errorf("%w: it has %d characters, the limit is %d", ErrInvalidName, len(name), MaxNameLen)
	}
	for i := range len(name) {
		if !isNameByte(name[i]) {
			return fmt.Errorf("%w: %q has a character other than a-z, A-Z, 0-9, '.', '_' and '-'", ErrInvalidName, name)
		}
	}
	return nil
}

func isNameByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '_' || c == '-'
}

// fold maps names of which Kafka allows only one at a time to one key: in its
// metric names '.' and '_' are the same.
func fold(name string) string { return strings.ReplaceAll(name, ".", "_") }

// topic builds the immutable value that an entry describes.
func (e TopicCreated) topic() (*Topic, error) {
	t := &Topic{Name: e.Name, ID: e.ID, ReplicationFactor: e.ReplicationFactor, CreatedMs: e.CreatedMs}
	return t.withPartitions(e.Journals, e.Bases).withConfigs(e.Configs)
}

// withPartitions returns t with more partitions, in these journals. bases may be nil.
func (t *Topic) withPartitions(journals []uint32, bases []int32) *Topic {
	more := *t
	more.Partitions = slices.Grow(slices.Clone(t.Partitions), len(journals))
	for i, j := range journals {
		p := Partition{Journal: j}
		if bases != nil {
			p.EpochBase = bases[i]
		}
		more.Partitions = append(more.Partitions, p)
	}
	return &more
}

// withConfigs returns t with these configs in place of its own.
func (t *Topic) withConfigs(configs map[string]string) (*Topic, error) {
	values, err := topicconfig.Of(configs)
	if err != nil {
		return nil, fmt.Errorf("read configs of topic %q: %w", t.Name, err)
	}
	other := *t
	other.Configs, other.Values = maps.Clone(configs), values
	return &other, nil
}

// created returns the entry that makes t.
func (t *Topic) created() TopicCreated {
	journals := make([]uint32, len(t.Partitions))
	var bases []int32
	for i, p := range t.Partitions {
		journals[i] = p.Journal
		if p.EpochBase != 0 && bases == nil {
			bases = make([]int32, len(t.Partitions))
		}
		if bases != nil {
			bases[i] = p.EpochBase
		}
	}
	return TopicCreated{
		ID: t.ID, Name: t.Name, ReplicationFactor: t.ReplicationFactor,
		CreatedMs: t.CreatedMs, Configs: t.Configs, Journals: journals, Bases: bases,
	}
}

func compareNames(a, b *Topic) int {
	return cmp.Or(strings.Compare(a.Name, b.Name), bytes.Compare(a.ID[:], b.ID[:]))
}

func sortedNames(configs map[string]string) []string { return slices.Sorted(maps.Keys(configs)) }
