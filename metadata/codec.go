package metadata

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/varvelog/varve/metadata/topicconfig"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
	"github.com/varvelog/varve/tiering/wire"
)

// Payloads, big-endian, each after the version byte. That is 1, or 2 with the fields in
// brackets, of which then one is not zero:
//
//	FeatureLevel    level u16 [ | at i64 (ms)]
//	NodeRegistered  node id[16] | broker id i32
//	JournalCreated  journal u32
//	TopicCreated    topic id[16] | name len u16, bytes | replication factor i16 | created i64 (ms)
//	                | configs: count u16, each: name len u16, bytes | value len u16, bytes; by name, none twice
//	                | partitions: count u32, each: journal u32 [ | epoch base i32]
//	TopicDeleted    topic id[16] [ | at i64 (ms)]
//	TopicPurged     topic id[16]
//	ProducerIDs     from i64 | count u32
//	PartitionsAdded topic id[16] | from u32 | partitions as of TopicCreated
//	TopicConfigured topic id[16] | configs as of TopicCreated
//	TopicRestored   topic id[16]

var errZeroID = errors.New("id is zero")

func (c FeatureLevel) encode(w *wire.Writer) {
	w.U16(c.Level)
	encodeTime(w, c.AtMs)
}

func (c FeatureLevel) check() error {
	switch {
	case c.Level == 0:
		return errors.New("feature level is zero")
	case c.Level < LevelTiering && c.AtMs != 0:
		return fmt.Errorf("feature level %d has a time", c.Level)
	}
	return checkTime(c.AtMs)
}

func decodeFeatureLevel(r *wire.Reader) (Change, error) { return FeatureLevel{Level: r.U16()}, nil }

func decodeTimedLevel(r *wire.Reader) (Change, error) {
	return FeatureLevel{Level: r.U16(), AtMs: r.I64()}, nil
}

// encodeTime writes the time of a payload of version 2.
func encodeTime(w *wire.Writer, atMs int64) {
	if atMs != 0 {
		w.I64(atMs)
	}
}

func checkTime(atMs int64) error {
	if atMs < 0 {
		return fmt.Errorf("time is %d ms", atMs)
	}
	return nil
}

func (c NodeRegistered) encode(w *wire.Writer) {
	w.ID(c.Node)
	w.I32(c.ID)
}

func (c NodeRegistered) check() error {
	if c.Node.IsZero() || c.ID < 1 {
		return fmt.Errorf("node %s with broker id %d", c.Node, c.ID)
	}
	return nil
}

func decodeNodeRegistered(r *wire.Reader) (Change, error) {
	return NodeRegistered{Node: r.ID(), ID: r.I32()}, nil
}

func (c JournalCreated) encode(w *wire.Writer) { w.U32(c.ID) }

func (c JournalCreated) check() error {
	if c.ID == 0 {
		return errors.New("data journal is 0, which is the metadata journal")
	}
	return nil
}

func decodeJournalCreated(r *wire.Reader) (Change, error) { return JournalCreated{r.U32()}, nil }

func (c TopicDeleted) encode(w *wire.Writer) {
	w.ID(c.ID)
	encodeTime(w, c.AtMs)
}

func (c TopicDeleted) check() error { return errors.Join(checkID(c.ID), checkTime(c.AtMs)) }

func decodeTopicDeleted(r *wire.Reader) (Change, error) { return TopicDeleted{ID: r.ID()}, nil }

func decodeTimedDeletion(r *wire.Reader) (Change, error) {
	return TopicDeleted{ID: r.ID(), AtMs: r.I64()}, nil
}

func (c TopicRestored) encode(w *wire.Writer) { w.ID(c.ID) }
func (c TopicRestored) check() error          { return checkID(c.ID) }

func decodeTopicRestored(r *wire.Reader) (Change, error) { return TopicRestored{r.ID()}, nil }

func (c TopicPurged) encode(w *wire.Writer) { w.ID(c.ID) }
func (c TopicPurged) check() error          { return checkID(c.ID) }

func decodeTopicPurged(r *wire.Reader) (Change, error) { return TopicPurged{r.ID()}, nil }

func checkID(id segment.ID) error {
	if id.IsZero() {
		return errZeroID
	}
	return nil
}

func (c ProducerIDs) encode(w *wire.Writer) {
	w.I64(c.From)
	w.U32(c.Count)
}

func (c ProducerIDs) check() error {
	if c.From < 1 || c.Count < 1 || c.Count > MaxProducerIDs || c.From > math.MaxInt64-int64(c.Count) {
		return fmt.Errorf("%d producer ids from %d", c.Count, c.From)
	}
	return nil
}

func decodeProducerIDs(r *wire.Reader) (Change, error) {
	return ProducerIDs{From: r.I64(), Count: r.U32()}, nil
}

func (c TopicCreated) encode(w *wire.Writer) {
	w.ID(c.ID)
	w.String16(c.Name)
	w.I16(c.ReplicationFactor)
	w.I64(c.CreatedMs)
	encodeConfigs(w, c.Configs)
	encodeJournals(w, c.Journals, c.Bases)
}

func encodeConfigs(w *wire.Writer, configs map[string]string) {
	w.U16(uint16(len(configs)))
	for _, name := range sortedNames(configs) {
		w.String16(name)
		w.String16(configs[name])
	}
}

func encodeJournals(w *wire.Writer, journals []uint32, bases []int32) {
	w.U32(uint32(len(journals)))
	for i, j := range journals {
		w.U32(j)
		if bases != nil {
			w.I32(bases[i])
		}
	}
}

func (c TopicCreated) check() error {
	if err := errors.Join(checkID(c.ID), CheckName(c.Name), checkConfigs(c.Configs), checkBases(c.Bases, len(c.Journals))); err != nil {
		return err
	}
	if c.ReplicationFactor < 1 || c.ReplicationFactor > MaxReplicationFactor {
		return fmt.Errorf("%w: %d, want 1 to %d", ErrInvalidReplication, c.ReplicationFactor, MaxReplicationFactor)
	}
	return checkPartitions(len(c.Journals), MaxPartitions)
}

// checkBases checks the epoch bases of n partitions.
func checkBases(bases []int32, n int) error {
	switch {
	case bases == nil:
		return nil
	case len(bases) != n:
		return fmt.Errorf("%d epoch bases for %d partitions", len(bases), n)
	case slices.Max(append([]int32{0}, bases...)) == 0:
		return errors.New("all epoch bases are zero, or below")
	}
	for _, b := range bases {
		if b < 0 || b > partlog.MaxEpochBase {
			return fmt.Errorf("epoch base %d", b)
		}
	}
	return nil
}

func checkPartitions(n, most int) error {
	if n < 1 || n > most {
		return fmt.Errorf("%w: %d, want 1 to %d", ErrInvalidPartitions, n, most)
	}
	return nil
}

// checkConfigs limits the configs of an entry. It does not check the meaning of
// values: a later version may know more of them.
func checkConfigs(configs map[string]string) error {
	if len(configs) > maxConfigs {
		return fmt.Errorf("%w: %d of them, the limit is %d", ErrInvalidConfig, len(configs), maxConfigs)
	}
	for name, value := range configs {
		if name == "" || len(name) > maxConfigNameLen || len(value) > topicconfig.MaxValueLen {
			return fmt.Errorf("%w: name of %d bytes with a value of %d", ErrInvalidConfig, len(name), len(value))
		}
	}
	return nil
}

func decodeTopicCreated(r *wire.Reader) (Change, error) { return decodeTopic(r, payloadVersion) }
func decodeBasedTopic(r *wire.Reader) (Change, error)   { return decodeTopic(r, basedVersion) }

func decodeTopic(r *wire.Reader, version uint8) (Change, error) {
	c := TopicCreated{ID: r.ID(), Name: r.String16(), ReplicationFactor: r.I16(), CreatedMs: r.I64()}
	var err error
	if c.Configs, err = decodeConfigs(r); err != nil {
		return nil, err
	}
	c.Journals, c.Bases, err = decodeJournals(r, version)
	return c, err
}

func decodeJournals(r *wire.Reader, version uint8) (journals []uint32, bases []int32, err error) {
	n := r.Count(r.U32(), 4*int(version))
	if n > MaxPartitions {
		return nil, nil, fmt.Errorf("%w: %d, want 1 to %d", ErrInvalidPartitions, n, MaxPartitions)
	}
	journals = make([]uint32, n)
	if version == basedVersion {
		bases = make([]int32, n)
	}
	for i := range journals {
		if journals[i] = r.U32(); bases != nil {
			bases[i] = r.I32()
		}
	}
	return journals, bases, nil
}

func (c PartitionsAdded) encode(w *wire.Writer) {
	w.ID(c.ID)
	w.U32(c.From)
	encodeJournals(w, c.Journals, c.Bases)
}

func (c PartitionsAdded) check() error {
	if c.From < 1 || c.From >= MaxPartitions {
		return fmt.Errorf("%w: partitions added to %d", ErrInvalidPartitions, c.From)
	}
	return errors.Join(checkID(c.ID), checkPartitions(len(c.Journals), MaxPartitions-int(c.From)), checkBases(c.Bases, len(c.Journals)))
}

func decodePartitionsAdded(r *wire.Reader) (Change, error) { return decodeAdded(r, payloadVersion) }
func decodeBasedPartitions(r *wire.Reader) (Change, error) { return decodeAdded(r, basedVersion) }

func decodeAdded(r *wire.Reader, version uint8) (Change, error) {
	c := PartitionsAdded{ID: r.ID(), From: r.U32()}
	var err error
	c.Journals, c.Bases, err = decodeJournals(r, version)
	return c, err
}

func (c TopicConfigured) encode(w *wire.Writer) {
	w.ID(c.ID)
	encodeConfigs(w, c.Configs)
}

func (c TopicConfigured) check() error { return errors.Join(checkID(c.ID), checkConfigs(c.Configs)) }

func decodeTopicConfigured(r *wire.Reader) (Change, error) {
	c := TopicConfigured{ID: r.ID()}
	var err error
	c.Configs, err = decodeConfigs(r)
	return c, err
}

func decodeConfigs(r *wire.Reader) (map[string]string, error) {
	n := r.Count(uint32(r.U16()), 4)
	if n > maxConfigs {
		return nil, fmt.Errorf("%w: %d of them, the limit is %d", ErrInvalidConfig, n, maxConfigs)
	}
	if n == 0 {
		return nil, nil
	}
	configs := make(map[string]string, n)
	last := ""
	for range n {
		name, value := r.String16(), r.String16()
		// One order only, so that equal topics are equal bytes.
		if r.Err() == nil && name <= last {
			return nil, fmt.Errorf("%w: %.100q stands after %.100q", ErrInvalidConfig, name, last)
		}
		configs[name], last = value, name
	}
	return configs, nil
}
