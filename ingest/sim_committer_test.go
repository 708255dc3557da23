package ingest

import (
	"errors"
	"fmt"
	"time"

	"github.com/varvelog/varve/metadata/coordinator"
)

// committer is a client that keeps numbers with the coordinator, each greater than
// the one before, and reads them back.
type committer struct {
	c       *cluster
	key     string
	node    int
	value   int // the last one sent
	acked   int // the greatest one acknowledged
	waiting int // requests
	final   bool
}

func (c *cluster) beginCommitters() {
	if c.shape.Committers == 0 {
		return
	}
	c.place(simCoordinator)
	c.own = 1
	for i := range c.shape.Committers {
		m := &committer{c: c, key: fmt.Sprintf("c%d", i), node: c.Rand.Intn(c.shape.Nodes)}
		c.committers = append(c.committers, m)
		c.After(c.Between(0, time.Second), "commit", m.act)
	}
}

func (m *committer) idle() bool { return m.final && m.waiting == 0 }

// act sends one commit or read. When it is quiet, one last read is answered before
// the client has done.
func (m *committer) act() {
	c := m.c
	if m.idle() {
		return
	}
	n := c.folders[m.node].proc
	if c.only != nil {
		n = c.only.proc
	}
	if n != nil && n.shard != nil && m.waiting < 3 {
		if c.quiet || c.Chance(0.2) {
			m.read(n.shard)
		} else {
			m.commit(n.shard)
		}
	}
	if n == nil || c.Chance(0.02) {
		m.node = c.Rand.Intn(len(c.folders))
	}
	c.After(c.Between(c.shape.Pace/8, c.shape.Pace), "commit", m.act)
}

// sent has a request wait for its answer, or for the client's patience to end.
func (m *committer) sent() (answered func() bool) {
	m.waiting++
	open := true
	answered = func() bool {
		was := open
		if open = false; was {
			m.waiting--
		}
		return was
	}
	m.c.After(m.c.Between(2*time.Second, 20*time.Second), "client time-out", func() { answered() })
	return answered
}

func (m *committer) failed(err error) {
	if errors.Is(err, coordinator.ErrNotCoordinator) {
		m.node = m.c.Rand.Intn(len(m.c.folders))
	}
}

func (m *committer) commit(s *simShard) {
	c, answered := m.c, m.sent()
	m.value++
	value, pad := m.value, c.Rand.Intn(8000)
	s.n.p.Do(func() {
		s.push(func() {
			s.core.Do(func(out coordinator.Out, err error) {
				if err != nil {
					c.Count("commit refused")
					answered()
					m.failed(err)
					return
				}
				s.machine.Set(out, m.key, value, pad, func(err error) { m.committed(s, value, err, answered) })
			})
		})
	})
}

func (m *committer) read(s *simShard) {
	c, answered := m.c, m.sent()
	least := c.truth.shard.committed(m.key) // be it acknowledged or not
	m.c.Logf("%s reads, at least %d", m.key, least)
	s.n.p.Do(func() {
		s.read(func(_ coordinator.Out, err error) {
			got := s.machine.Get(m.key)
			switch {
			case err != nil:
				m.failed(err)
			case got < least:
				c.Fail("%s gives %d for %s, %d was committed before", s.n.p.Name, got, m.key, least)
			default:
				c.Count("coordinator read")
				m.final = c.quiet && c.only == s.n.f
			}
			answered()
		})
	})
}
