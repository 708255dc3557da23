package ingest

import (
	"context"
	"log/slog"
	"math"
	"time"

	"github.com/varvelog/varve/tiering/expire"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
	"github.com/varvelog/varve/tiering/upkeep"
)

// expires returns how long a topic keeps its records: forever, for a time, or so many bytes.
func (c *cluster) expires(id segment.ID) expire.Policy {
	p := expire.Policy{RetentionMs: -1, RetentionBytes: -1}
	if !c.shape.Upkeep.Expire || id[0] != simTopics {
		return p
	}
	switch id[1] % 3 {
	case 1:
		p.RetentionMs = simRetention.Milliseconds()
	case 2:
		p.RetentionBytes = simRetained
	}
	return p
}

const (
	simRetention = 12 * time.Minute
	simRetained  = 2000 // bytes
)

// expireStep moves starts.
func (u *simUpkeep) expireStep() []upkeep.Step {
	n, c := u.n, u.n.f.c
	if !c.shape.Upkeep.Expire {
		return nil
	}
	x := expire.New(expire.Options{
		State: n.state, Carry: u.carryWanted, Now: u.Now, Clocks: u.clocks(), Page: u.page, Every: c.shape.Upkeep.Pause,
		Policy: func(id segment.ID) (expire.Policy, bool) { _, ok := c.topicOf(id); return c.expires(id), ok },
		Gone:   func(segment.ID) bool { return false },
		Begins: func() time.Time { return time.Time{} },
		Log:    slog.New(slog.DiscardHandler),
	})
	return []upkeep.Step{{Name: "expire", Run: func(ctx context.Context) (bool, error) {
		before, _ := x.Moved()
		again, err := x.Run(ctx)
		if after, _ := x.Moved(); after > before {
			c.Count("records expired")
		}
		return again, err
	}}}
}

// asked notes that a client asks for records to be deleted.
func (t *truth) asked(k partlog.Key, before int64) {
	if before == AllCommitted {
		before = math.MaxInt64
	}
	t.wanted[k] = max(t.wanted[k], before)
}

// mayDelete fails the world if no client has asked for a deletion, and the partition's topic
// keeps its records longer than that. Clocks may be off by as much as is allowed.
func (t *truth) mayDelete(who string, k partlog.Key, before int64) {
	if before <= t.wanted[k] {
		return
	}
	p := t.policy(k.Topic)
	kept, bytes := false, int64(0)
	for _, x := range t.log[k] {
		if x.base >= before {
			bytes += int64(len(x.a.data))
		} else if young := t.w.Now().UnixMilli() - x.a.header.MaxTimestamp; young < p.RetentionMs-simClocks.Milliseconds() {
			kept = true
		}
	}
	switch {
	case p.RetentionMs < 0 && p.RetentionBytes < 0:
		t.w.Fail("%s: records before offset %d of %v are deleted, which keeps all", who, before, k)
	case p.RetentionBytes < 0 && kept:
		t.w.Fail("%s: records before offset %d of %v expire too early", who, before, k)
	case p.RetentionMs < 0 && bytes < p.RetentionBytes:
		t.w.Fail("%s: %d bytes are left of %v, which keeps %d", who, bytes, k, p.RetentionBytes)
	}
}

// simClocks is how far a clock that is believed may be off, and answers may be late.
const simClocks = 6 * time.Minute
