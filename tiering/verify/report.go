package verify

import (
	"fmt"
	"slices"

	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// Severity is how bad a finding is.
type Severity string

// The severities. Only errors make a bucket unsound.
const (
	Error   Severity = "error"   // data is lost, damaged or unreadable
	Warning Severity = "warning" // out of the ordinary, and no record is lost by it
	Info    Severity = "info"    // worth knowing
)

// Code is the class of a finding, for programs.
type Code string

// The classes.
const (
	CodeCluster     Code = "cluster"     // the cluster object is missing or damaged
	CodeFloor       Code = "floor"       // the floors contradict each other, or a checkpoint is missing
	CodeMissing     Code = "missing"     // a committed object does not exist
	CodeCorrupt     Code = "corrupt"     // bytes differ from those that were stored
	CodeUnsupported Code = "unsupported" // a format or content for which this program is too old
	CodeUnread      Code = "unread"      // the store did not return the object
	CodeMisplaced   Code = "misplaced"   // an object of another cluster, journal or seq
	CodeChain       Code = "chain"       // an object cannot follow those before it
	CodeContent     Code = "content"     // records as a client sent them, which no consumer can decode
	CodeBatch       Code = "batch"       // a record batch is damaged or contradicts the footer
	CodeOffsets     Code = "offsets"     // offsets are left out or used twice
	CodeEpoch       Code = "epoch"       // leader epochs are not those of the journal
	CodeProducers   Code = "producers"   // producer state does not fit the batches
	CodeState       Code = "state"       // an object cannot be applied
	CodeBeyond      Code = "beyond"      // objects beyond the head
	CodeUnknownKey  Code = "unknown-key" // an object that varve did not write
	CodeUnnamed     Code = "unnamed"     // a journal that the metadata does not know
	CodeCopy        Code = "copy"        // one of the two copies of an index object is lost
	CodeReleased    Code = "released"    // an object is there though it was deleted
	CodeOrphan      Code = "orphan"      // a merged segment that no journal knows
)

// Finding is one fault or oddity.
type Finding struct {
	Severity Severity `json:"severity"`
	Code     Code     `json:"code"`
	Journal  *uint32  `json:"journal,omitempty"` // nil: not of a journal
	Key      string   `json:"key,omitempty"`     // of the object, relative to the bucket's prefix
	Offset   *int64   `json:"offset,omitempty"`  // in the object, bytes; nil: all of it
	What     string   `json:"what"`
	Affects  []Range  `json:"affects,omitempty"` // affected records, as far as known
	Hint     string   `json:"hint,omitempty"`

	records bool // about records only: nodes go on reading the journal
}

// finding returns a finding about a key of a journal.
func finding(s Severity, c Code, journal uint32, key, hint, format string, args ...any) *Finding {
	return &Finding{Severity: s, Code: c, Journal: &journal, Key: key, What: fmt.Sprintf(format, args...), Hint: hint}
}

// Range is a range of a partition's offsets.
type Range struct {
	Topic     string `json:"topic"` // its name, or its id if the metadata does not know it
	Partition int32  `json:"partition"`
	First     int64  `json:"first"`
	Last      int64  `json:"last"` // inclusive

	id segment.ID
}

// String returns the range in the form that people read.
func (r Range) String() string {
	return fmt.Sprintf("%s-%d offsets %d to %d", r.Topic, r.Partition, r.First, r.Last)
}

func offsets(k partlog.Key, first, last int64) Range {
	return Range{id: k.Topic, Partition: k.Index, First: first, Last: last}
}

// Journal is the walk's account of a journal.
type Journal struct {
	Journal    uint32 `json:"journal"`
	Floor      uint64 `json:"floor"` // 0: none was ever set
	Head       uint64 `json:"head"`  // last seq before the first gap that is not damage
	Epoch      uint32 `json:"epoch"`
	Data       int64  `json:"data"` // objects by kind; voids are not counted by kind
	Fences     int64  `json:"fences"`
	Fillers    int64  `json:"fillers"`
	Voids      int64  `json:"voids"`
	Bytes      int64  `json:"bytes"` // read
	Partitions int    `json:"partitions"`
	Records    int64  `json:"records"` // in objects of the journal

	Merged      int64 `json:"merged"` // segments that its state names
	MergedBytes int64 `json:"merged_bytes"`
	Garbage     int64 `json:"garbage"` // objects that wait for their deletion
}

// Report is the result of a walk.
type Report struct {
	Cluster  string    `json:"cluster,omitempty"` // id as Kafka writes it; empty: unknown
	Journals []Journal `json:"journals"`
	Findings []Finding `json:"findings"`
	Omitted  int       `json:"omitted"` // findings counted below, but too many to keep
	Errors   int       `json:"errors"`
	Warnings int       `json:"warnings"`
	Infos    int       `json:"infos"`
}

// maxFindings limits the findings that are kept; all are counted.
const maxFindings = 10_000

// findings gathers findings while more may still be learned about them.
type findings struct {
	list    []*Finding
	omitted int
	counts  map[Severity]int
}

func (fs *findings) add(list ...*Finding) {
	if fs.counts == nil {
		fs.counts = map[Severity]int{}
	}
	for _, f := range list {
		fs.counts[f.Severity]++
		if len(fs.list) == maxFindings {
			fs.omitted++
			continue
		}
		fs.list = append(fs.list, f)
	}
}

// remove removes the findings that drop selects and returns how many there
// were.
func (fs *findings) remove(drop func(*Finding) bool) int {
	before := len(fs.list)
	fs.list = slices.DeleteFunc(fs.list, func(f *Finding) bool {
		if !drop(f) {
			return false
		}
		fs.counts[f.Severity]--
		return true
	})
	return before - len(fs.list)
}

// deleted turns findings that are only about deleted records into warnings.
// starts has the offsets where partitions begin.
func (fs *findings) deleted(starts map[partlog.Key]int64) {
	for _, f := range fs.list {
		kept := func(r Range) bool { return r.Last >= starts[partlog.Key{Topic: r.id, Index: r.Partition}] }
		if f.records && f.Severity == Error && len(f.Affects) > 0 && !slices.ContainsFunc(f.Affects, kept) {
			fs.counts[Error]--
			fs.counts[Warning]++
			f.Severity = Warning
			f.Hint = "these records were deleted: no consumer reads them"
		}
	}
}

// move adds all of from, which is empty afterwards.
func (fs *findings) move(from *findings) {
	fs.add(from.list...)
	fs.omitted += from.omitted
	for s, n := range from.counts {
		for _, f := range from.list {
			if f.Severity == s {
				n--
			}
		}
		fs.counts[s] += n
	}
	*from = findings{}
}

// into writes the findings into r, with the names of topics.
func (fs *findings) into(r *Report, name func(segment.ID) string) {
	r.Findings = make([]Finding, len(fs.list))
	for i, f := range fs.list {
		f.Affects = slices.Compact(f.Affects) // several faults of an object may affect the same records
		for j := range f.Affects {
			a := &f.Affects[j]
			if a.Topic = name(a.id); a.Topic == "" {
				a.Topic = a.id.Base64()
			}
		}
		r.Findings[i] = *f
	}
	r.Omitted = fs.omitted
	r.Errors, r.Warnings, r.Infos = fs.counts[Error], fs.counts[Warning], fs.counts[Info]
}
