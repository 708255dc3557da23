package listener

import (
	"slices"
	"time"
)

// Reserve is how many connections there may be beyond the limits. They are for the other nodes
// of the cluster: clients that take all others must not keep those out.
const Reserve = 128

// beyond returns the limit that one more connection of an address would exceed, or nil. The
// caller holds mu.
func (s *Server) beyond(ip string) error {
	switch {
	case s.guarded.within >= s.config.MaxConnections:
		return errTooMany
	case s.guarded.perIP[ip] >= s.config.MaxConnectionsPerIP:
		return errTooManyIP
	}
	return nil
}

// hasReserve reports whether there is room for one more connection beyond the limits. The oldest
// one that has proved nothing makes room. The caller holds mu.
func (s *Server) hasReserve() bool {
	if len(s.guarded.reserve) < Reserve {
		return true
	}
	i := slices.IndexFunc(s.guarded.reserve, (*conn).unproved)
	if i < 0 {
		return false
	}
	s.guarded.reserve[i].fail(s.guarded.reserve[i].beyond)
	s.guarded.reserve = slices.Delete(s.guarded.reserve, i, i+1)
	return true
}

// count counts a connection that is let in. The caller holds mu.
func (s *Server) count(c *conn) {
	s.guarded.open[c] = struct{}{}
	if c.security.authenticates() {
		c.authenticates = c.failIf(authenticationTime, func() bool { return c.client().unknown() }, errNotInTime)
	}
	if c.beyond == nil {
		s.guarded.within++
		s.guarded.perIP[c.ip]++
		return
	}
	s.guarded.reserve = append(s.guarded.reserve, c)
	c.proves = c.failIf(s.config.FrameGrace, c.unproved, c.beyond)
}

// failIf ends the connection after a time, if something is still the case then.
func (c *conn) failIf(after time.Duration, still func() bool, reason error) *time.Timer {
	return time.AfterFunc(after, func() {
		if still() {
			c.fail(reason)
		}
	})
}

// uncount forgets a connection that has ended. The caller holds mu.
func (s *Server) uncount(c *conn) {
	delete(s.guarded.open, c)
	if c.authenticates != nil {
		c.authenticates.Stop()
	}
	if c.beyond != nil {
		c.proves.Stop()
		s.guarded.reserve = slices.DeleteFunc(s.guarded.reserve, func(x *conn) bool { return x == c })
		return
	}
	s.guarded.within--
	if s.guarded.perIP[c.ip]--; s.guarded.perIP[c.ip] == 0 {
		delete(s.guarded.perIP, c.ip)
	}
}

// unproved reports whether the connection has not proved that it is of a node.
func (c *conn) unproved() bool { return c.client().Peer == Peer{} }

// mayAsk returns why the connection must not send a request of a key. One beyond the limits
// proves itself first.
func (c *conn) mayAsk(a *api) error {
	if c.beyond != nil && !a.Private && c.unproved() {
		return c.beyond
	}
	return nil
}
