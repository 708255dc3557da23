package sim

import (
	"slices"
	"time"
)

// Rot damages the object at key: a bit flips, the end is cut off, or all of it is lost. Of a
// journal object all bytes are lost, then, because processes that read the journal by its
// seqs go on to see it as it was. One that they need must not rot.
func (s *Store) Rot(key string) {
	o := s.objects[key]
	s.rotten[key] = true
	data := slices.Clone(o.data)
	switch s.w.Rand.Intn(3) {
	case 0:
		data[s.w.Rand.Intn(len(data))] ^= 1 << s.w.Rand.Intn(8)
	case 1:
		data = data[:s.w.Rand.Intn(len(data))]
	default:
		if o.cache == nil {
			delete(s.objects, key)
			return
		}
		data = []byte{}
	}
	s.objects[key] = &object{data: data, at: o.at, cache: o.cache}
}

// Rotten reports whether the object at key has rotted.
func (s *Store) Rotten(key string) bool { return s.rotten[key] }

// RefuseDeletes lets every delete fail for d.
func (s *Store) RefuseDeletes(d time.Duration) {
	if s.refuses {
		return
	}
	s.refuses = true
	s.w.After(d, "deletes work again", func() { s.refuses = false })
}
