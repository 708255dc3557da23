package tieringmodel

import "fmt"

// The room of Segments.
const (
	maxEntries  = 24 // of the log
	maxJobs     = 5  // each with one object
	maxRecords  = 4  // of a partition
	maxUnderWay = 3  // entries
)

// kind is that of an entry, in the order in which an object's entries are
// applied (rule 19).
type kind = int8

const (
	intent kind = iota + 1
	deleteRecords
	result
	abandon
	release        // of a merged object
	releaseJournal // of journal objects
	swept
	records
	drop
	leave // the last Release of a dropped partition: it leaves the state
	fence
)

var kindNames = []string{"", "Intent", "DeleteRecords", "Result", "Abandon", "Release", "Release of journal objects", "Swept", "records", "Drop", "last Release", "fence"}

// entry is a kind of 4 bits, a and b of 4 bits, and a mask of 16. The highest
// bit says that it is in the same object as the entry before.
type entry uint32

const joined entry = 1 << 31

func newEntry(k kind, a, b int8, mask uint16) entry {
	return entry(k) | entry(a)<<4 | entry(b)<<8 | entry(mask)<<12
}

func (e entry) kind() kind   { return kind(e & 15) }
func (e entry) a() int8      { return int8(e >> 4 & 15) }
func (e entry) b() int8      { return int8(e >> 8 & 15) }
func (e entry) mask() uint16 { return uint16(e >> 12) }

func (e entry) String() string {
	s := kindNames[e.kind()]
	switch e.kind() {
	case intent, abandon:
		s += fmt.Sprintf(" of job %d", e.a())
	case deleteRecords:
		s += fmt.Sprintf(" of %c before %d", 'A'+e.a(), e.b())
	case result:
		s += fmt.Sprintf(" of job %d for %s", e.a(), []string{"none", "A", "B", "A and B"}[e.b()])
	case release, swept:
		s += fmt.Sprintf(" of object %d", e.a())
	case releaseJournal:
		s += " " + keys(e.mask())
	case drop, leave:
		s += fmt.Sprintf(" of %c", 'A'+e.a())
	}
	if e&joined != 0 {
		s = "in the same object, " + s
	}
	return s
}

// keys lists the bits of a mask.
func keys(mask uint16) string {
	s := ""
	for i := range 16 {
		if mask>>i&1 != 0 {
			s += fmt.Sprintf(" %d", i)
		}
	}
	return "at" + s
}

// job is fixed when its intent is made.
type job struct {
	first    bool    // of the journal; otherwise of merged segments, to an own one
	parts    int8    // bit per partition
	from, to [2]int8 // covered
	holds    [2]int8 // first offset that the output holds: records below the start were left out
	object   int8    // its own, unless an id is used twice
	damaged  uint16  // damaged sources that it went around
}

// bytes is the content of a merged object: that of job n-1, damaged if negative.
// 0 is no object.
type bytes = int8
