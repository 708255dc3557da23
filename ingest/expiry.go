package ingest

import (
	"time"

	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// expireEvery is how often a journal that is written to forgets old producers.
const expireEvery = 10 * time.Minute

// expirer lets idempotent producers be forgotten now and then.
type expirer struct {
	after time.Duration // their last batch
	last  time.Time     // when some were to be forgotten last
}

// due returns the command for it when it is time.
func (x *expirer) due(now time.Time) *expiry {
	if now.Sub(x.last) < expireEvery {
		return nil
	}
	x.last = now
	return &expiry{beforeMs: now.Add(-x.after).UnixMilli()}
}

// expiry is the command that forgets producers last used before a time.
type expiry struct {
	unawaited
	beforeMs int64
}

func (x *expiry) propose(add func(segment.Entry)) {
	add(partlog.ExpireProducers{BeforeMs: x.beforeMs}.Encode())
}
