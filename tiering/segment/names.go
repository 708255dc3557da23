package segment

import (
	"fmt"
	"strconv"
	"strings"
)

// ClusterKey is the key of the cluster object. All keys are relative to the
// store's prefix.
const ClusterKey = "cluster"

// ProbePrefix is where programs test the store, below it and a slash. Objects there are of
// a test under way, or left by one that was cut short.
const ProbePrefix = "probe"

// JournalKey returns the key of the journal object at a seq. Seqs have 20
// digits, so that keys sort as seqs do.
func JournalKey(journal uint32, seq uint64) string {
	// As "journals/%d/%020d", but without fmt: readers need a key for each extent.
	var room [48]byte
	key := append(strconv.AppendUint(append(room[:0], "journals/"...), uint64(journal), 10), '/')
	start := len(key)
	key = key[:start+20]
	for i := len(key) - 1; i >= start; i-- {
		key[i] = '0' + byte(seq%10)
		seq /= 10
	}
	return string(key)
}

// JournalPrefix is the common prefix of the keys of a journal's objects.
func JournalPrefix(journal uint32) string {
	return fmt.Sprintf("journals/%d/", journal)
}

// JournalOf returns the journal that the key of any of its objects names; false if key is
// not below a journal's prefix.
func JournalOf(key string) (journal uint32, ok bool) {
	rest, ok := strings.CutPrefix(key, "journals/")
	if !ok {
		return 0, false
	}
	id, _, _ := strings.Cut(rest, "/")
	n, err := strconv.ParseUint(id, 10, 32)
	journal = uint32(n)
	return journal, err == nil && strings.HasPrefix(key, JournalPrefix(journal))
}

// ParseJournalKey is the inverse of JournalKey; false if key is not one of the
// journal's.
func ParseJournalKey(journal uint32, key string) (seq uint64, ok bool) {
	digits, ok := strings.CutPrefix(key, JournalPrefix(journal))
	if !ok {
		return 0, false
	}
	seq, err := strconv.ParseUint(digits, 10, 64)
	return seq, err == nil && JournalKey(journal, seq) == key
}

// FloorKey returns the key of a journal's n-th floor object.
func FloorKey(journal uint32, n uint64) string {
	return fmt.Sprintf("journals/%d/floors/%020d", journal, n)
}

// FloorPrefix is the common prefix of the keys of a journal's floor objects.
func FloorPrefix(journal uint32) string {
	return fmt.Sprintf("journals/%d/floors/", journal)
}

// ParseFloorKey is the inverse of FloorKey; false if key is not a floor of the
// journal.
func ParseFloorKey(journal uint32, key string) (n uint64, ok bool) {
	digits, ok := strings.CutPrefix(key, FloorPrefix(journal))
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	if err != nil || FloorKey(journal, n) != key {
		return 0, false
	}
	return n, true
}

// CheckpointKey returns the key of the checkpoint of a journal up to and
// including the valid object that at names.
func CheckpointKey(journal uint32, at Ref) string {
	return fmt.Sprintf("%s%020d-%s", CheckpointPrefix(journal), at.Seq, at.Object)
}

// CheckpointPrefix is the common prefix of the keys of a journal's checkpoints.
func CheckpointPrefix(journal uint32) string {
	return fmt.Sprintf("journals/%d/checkpoints/", journal)
}

// ParseCheckpointKey is the inverse of CheckpointKey; false if key is not a
// checkpoint of the journal.
func ParseCheckpointKey(journal uint32, key string) (at Ref, ok bool) {
	name, ok := strings.CutPrefix(key, CheckpointPrefix(journal))
	if !ok {
		return Ref{}, false
	}
	digits, id, _ := strings.Cut(name, "-")
	seq, err := strconv.ParseUint(digits, 10, 64)
	if err != nil {
		return Ref{}, false
	}
	if at.Object, err = ParseID(id); err != nil {
		return Ref{}, false
	}
	at.Seq = seq
	return at, CheckpointKey(journal, at) == key
}

// IndexName names an index object of a journal, or its copy.
type IndexName struct {
	Journal uint32
	Seq     uint64 // of the checkpoint that it was written for; 0 in the old form of keys
	Object  ID
	Copy    bool // the second one of the same bytes; the old form has none
}

// Key returns the key of the index object. Those of the old form have no seq.
func (n IndexName) Key() string {
	switch {
	case n.Seq == 0:
		return IndexPrefix(n.Journal) + n.Object.String()
	case n.Copy:
		return fmt.Sprintf("%s%020d-%s%s", IndexPrefix(n.Journal), n.Seq, n.Object, copySuffix)
	}
	return fmt.Sprintf("%s%020d-%s", IndexPrefix(n.Journal), n.Seq, n.Object)
}

// Copies returns the names under which the index object is stored: two, or one in the old
// form.
func (n IndexName) Copies() []IndexName {
	first, second := n, n
	first.Copy, second.Copy = false, true
	if n.Seq == 0 {
		return []IndexName{first}
	}
	return []IndexName{first, second}
}

// copySuffix ends the key of the copy of an index object.
const copySuffix = ".copy"

// IndexPrefix is the common prefix of the keys of a journal's index objects.
func IndexPrefix(journal uint32) string {
	return fmt.Sprintf("journals/%d/index/", journal)
}

// ParseIndexKey is the inverse of IndexName.Key, for both forms; false if key is not an
// index object of the journal.
func ParseIndexKey(journal uint32, key string) (IndexName, bool) {
	name, ok := strings.CutPrefix(key, IndexPrefix(journal))
	if !ok {
		return IndexName{}, false
	}
	n := IndexName{Journal: journal}
	name, n.Copy = strings.CutSuffix(name, copySuffix)
	if digits, id, ok := strings.Cut(name, "-"); ok {
		seq, err := strconv.ParseUint(digits, 10, 64)
		if err != nil {
			return IndexName{}, false
		}
		n.Seq, name = seq, id
	}
	var err error
	n.Object, err = ParseID(name)
	return n, err == nil && n.Key() == key
}
