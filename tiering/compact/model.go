package compact

import "crypto/sha256"

// Model is the plain rule of log compaction, to hold a result against: a Go map of the last
// offsets, and nothing that makes it small or fast. It shares no code with Map and Pass, so
// that a fault in one of them does not destroy records.
type Model struct {
	Range
	End    int64  // of the part in the map
	Secret Secret // another one than that of the Map
	last   map[[sha256.Size]byte]int64
}

// modelKeySize is about how many bytes a key takes in a Model.
const modelKeySize = 80

// Note takes a record of the part of the log that is not clean, by its key, which is nil
// if it has none.
func (m *Model) Note(offset int64, key []byte) {
	if key == nil || offset < m.From || offset >= m.End {
		return
	}
	if m.last == nil {
		m.last = map[[sha256.Size]byte]int64{}
	}
	m.last[m.name(key)] = offset
}

// Stays reports whether a record is one of those that the result must have.
func (m *Model) Stays(offset int64, key []byte, tombstone bool) bool {
	if key == nil || offset >= m.End {
		return true
	}
	last, noted := m.last[m.name(key)]
	superseded := noted && offset < last
	expired := tombstone && offset < m.TombstonesBelow
	return !superseded && !expired
}

func (m *Model) name(key []byte) [sha256.Size]byte {
	return sha256.Sum256(append(append(make([]byte, 0, len(key)+len(m.Secret)), key...), m.Secret[:]...))
}
