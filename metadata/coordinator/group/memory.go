package group

import "sync/atomic"

// Memory bounds what the members of groups make the process hold, over all machines
// that share it: their metadata and assignments, and ids given out. A nil Memory
// bounds nothing.
type Memory struct {
	limit int64
	used  atomic.Int64
}

// NewMemory returns a Memory of some bytes.
func NewMemory(bytes int64) *Memory { return &Memory{limit: bytes} }

// Used is how many bytes are held.
func (m *Memory) Used() int64 { return m.used.Load() }

func (m *Memory) fits(n int64) bool { return m == nil || m.used.Load()+n <= m.limit }

func (m *Memory) add(n int64) {
	if m != nil {
		m.used.Add(n)
	}
}

// What is held of a member or a pending id besides its texts, about, in bytes.
const (
	memberBytes  = 1024
	pendingBytes = 256
)

// bytes is what is held of a member.
func (who *member) bytes() int64 {
	n := memberBytes + len(who.id) + len(text(who.instance)) + len(who.clientID) + len(who.assignment)
	return int64(n) + protocolBytes(who.protocols)
}

func protocolBytes(protocols []Protocol) (n int64) {
	for _, p := range protocols {
		n += int64(len(p.Name) + len(p.Metadata))
	}
	return n
}

// roomFor is why a member cannot come with what it brings, nil if it can. What is too
// much for one group could never be written; what is too much for all may fit later.
func (m *Machine) roomFor(g *live, r *JoinRequest) error {
	n := memberBytes + protocolBytes(r.Protocols)
	if who := g.byID[r.Member]; who != nil {
		n -= memberBytes + protocolBytes(who.protocols)
	}
	switch {
	case n <= 0:
		return nil
	case g.bytes+n > maxGroup*int64(m.config.MaxAppend):
		return ErrGroupFull
	case !m.config.Memory.fits(n):
		return ErrNoMemory
	}
	return nil
}

// maxGroup is how many times what one append takes the members of a group may hold:
// they bring metadata for more than one protocol, of which one is written.
const maxGroup = 2
