package ingest

import (
	"time"

	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// expireEvery is how often a journal that is written to forgets old producers.
const expireEvery = 10 * time.Minute

// expiry is the command that forgets producers last used before a time.
type expiry struct {
	unawaited
	beforeMs int64
}

// expireProducers lets the next object say now and then which producers to forget.
func (c *core) expireProducers() {
	now := c.now()
	if now.Sub(c.expired) < expireEvery {
		return
	}
	c.expired = now
	c.commands.ride(&expiry{beforeMs: now.Add(-c.expiry).UnixMilli()})
}

func (x *expiry) propose(add func(segment.Entry)) {
	add(partlog.ExpireProducers{BeforeMs: x.beforeMs}.Encode())
}
