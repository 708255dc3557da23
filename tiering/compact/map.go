package compact

import (
	"crypto/sha256"
	"encoding/binary"
)

// Secret makes hashes of keys that clients cannot foresee, so that no client can choose
// two keys with one hash.
type Secret [32]byte

// hash is the hash of a key: half of a SHA-256, which begins with the secret. Two of
// 2^40 keys have the same one with a probability below 2^-48.
type hash [16]byte

func (s *Secret) hash(scratch, key []byte) (h hash, used []byte) {
	scratch = append(append(scratch[:0], s[:]...), key...)
	sum := sha256.Sum256(scratch)
	copy(h[:], sum[:])
	return h, scratch
}

// slot is a place of a Map. One with offset 0 is free: offsets are stored plus one.
type slot struct {
	key    hash
	offset int64 // of the last record with the key, plus one
}

// slotSize is the memory of a slot, in bytes.
const slotSize = 24

// SlotsOf returns how many bytes of the memory for a pass its Map gets: the rest is for
// the Model that its result is held against.
func SlotsOf(memory int64) int64 { return memory * slotSize / (slotSize + modelKeySize) }

// Map has the offset of the last record of each key. It takes all of its memory when it is
// made, and none later.
type Map struct {
	secret  Secret
	slots   []slot
	keys    int
	most    int // keys that it takes
	scratch []byte
}

// NewMap returns an empty map of at most bytes, which holds at least one key. secret must
// be random.
func NewMap(bytes int64, secret Secret) *Map {
	n := max(bytes/slotSize, 2)
	return &Map{secret: secret, slots: make([]slot, n), most: int(n - n/4 - 1)}
}

// Put notes that a record with the key stands at an offset, which must not be negative. Of
// several offsets the greatest counts. It is false if the map is full: then nothing is
// noted.
func (m *Map) Put(key []byte, offset int64) bool {
	s, h := m.find(key)
	if s.offset == 0 {
		if m.keys == m.most {
			return false
		}
		m.keys++
		s.key = h
	}
	s.offset = max(s.offset, offset+1)
	return true
}

// Newest returns the greatest offset that was noted for a key; false if there is none.
func (m *Map) Newest(key []byte) (offset int64, ok bool) {
	s, _ := m.find(key)
	return s.offset - 1, s.offset > 0
}

// Len is the number of keys.
func (m *Map) Len() int { return m.keys }

// Reset forgets all keys, for the map to be used again with another secret.
func (m *Map) Reset(secret Secret) {
	clear(m.slots)
	m.secret, m.keys = secret, 0
}

// find returns the slot of a key, or the free one where it would go. There is always a
// free one.
func (m *Map) find(key []byte) (*slot, hash) {
	h, used := m.secret.hash(m.scratch, key)
	m.scratch = used
	for at := binary.LittleEndian.Uint64(h[:]) % uint64(len(m.slots)); ; at++ {
		s := &m.slots[at%uint64(len(m.slots))]
		if s.offset == 0 || s.key == h {
			return s, h
		}
	}
}
