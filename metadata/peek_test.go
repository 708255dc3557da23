package metadata

import (
	"crypto/sha256"

	"github.com/varvelog/varve/tiering/segment"
	"github.com/varvelog/varve/tiering/wire"
)

// hash is the same for two states exactly if they are.
func (s *State) hash() [32]byte { return sha256.Sum256(s.Encode()) }

// node returns the broker id of a data folder.
func (s *State) node(node segment.ID) (id int32, ok bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	n, ok := s.img.nodes[node]
	if !ok {
		return 0, false
	}
	return n.ID, true
}

// has reports whether a topic exists or can be restored.
func (s *State) has(id segment.ID) bool {
	_, ok := s.TopicOrDeleted(id)
	return ok
}

func (s *State) nodes() []Node {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.img.nodeList()
}

// unchecked is the payload of a change that Encode would not write.
func unchecked(c Change) []byte {
	w := &wire.Writer{}
	w.U8(c.version())
	c.encode(w)
	return w.B
}
