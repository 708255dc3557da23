package group

import "sync/atomic"

// Memory limits the bytes that the members of groups hold in the process, over
// all machines that share it: their metadata and assignments, and ids given
// out. A nil Memory sets no limit.
type Memory struct {
	limit int64
	used  atomic.Int64
}

// NewMemory returns a Memory with a limit in bytes.
func NewMemory(bytes int64) *Memory { return &Memory{limit: bytes} }

// Used returns how many bytes are held.
func (m *Memory) Used() int64 { return m.used.Load() }

func (m *Memory) fits(n int64) bool { return m == nil || m.used.Load()+n <= m.limit }

func (m *Memory) add(n int64) {
	if m != nil {
		m.used.Add(n)
	}
}

// The approximate bytes held by a member or a pending id in addition to its
// texts.
const (
	memberBytes  = 1024
	pendingBytes = 256
)

// bytes returns the bytes held by a member.
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

// roomFor returns why a member cannot come with its data, nil if it can. Data
// too large for one group could never be written; data too large for the shared
// limit may fit later.
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

// maxGroup is how many times the limit of one append the members of a group may
// hold: they bring metadata for more than one protocol, of which one is
// written.
const maxGroup = 2
