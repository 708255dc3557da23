package ingest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"time"

	"github.com/varvelog/varve/tiering/expire"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
	"github.com/varvelog/varve/tiering/upkeep"
)

// expires returns how long a topic keeps its records: forever, for a time, or so many bytes.
func (c *cluster) expires(t topicAt, id segment.ID) expire.Policy {
	p := expire.Policy{RetentionMs: -1, RetentionBytes: -1}
	if !c.shape.Upkeep.Expire || t.keeps || id[0] != simTopics {
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

// simExpiry is an entry that moves a start, by a process.
type simExpiry struct {
	incarnation segment.ID
	key         partlog.Key
	before      int64
}

// policies are how long a topic keeps its records by the metadata at a seq, and now.
func (c *cluster) policies(id segment.ID, since uint64) []expire.Policy {
	return []expire.Policy{c.expires(c.metadata.topic(id, since), id), c.expires(c.metadata.topic(id, uint64(len(c.metadata))), id)}
}

// dropStep drops partitions.
func (u *simUpkeep) dropStep() upkeep.Run { return expire.NewDropper(u.expiry()).Run }

func (u *simUpkeep) expiry() expire.Options {
	n, c := u.n, u.n.f.c
	return expire.Options{
		State: n.state, Carry: u.carryWanted, Now: u.Now, Clocks: u.clocks, Page: u.page, Every: c.shape.Upkeep.Pause,
		Policy: func(id segment.ID) (expire.Policy, bool) {
			t := n.view.topic(id)
			return c.expires(t, id), t.exists() && !t.deleted
		},
		Gone:   func(id segment.ID) bool { return !n.view.topic(id).exists() },
		Begins: func() time.Time { return time.Time{} },
		Log:    slog.New(slog.DiscardHandler),
	}
}

// expireStep moves starts.
func (u *simUpkeep) expireStep() upkeep.Run {
	n, c := u.n, u.n.f.c
	if !c.shape.Upkeep.Expire {
		return quiet
	}
	opt := u.expiry()
	opt.Carry = func(ctx context.Context, entries []segment.Entry, wanted func(segment.Entry) bool) error {
		for _, e := range entries {
			if del, err := partlog.DecodeDeleteRecords(e.Payload); err == nil {
				c.truth.planned[simExpiry{n.incarnation, del.Key, del.Before}] = u.began
			}
		}
		return u.carryWanted(ctx, entries, wanted)
	}
	x := expire.New(opt)
	return func(ctx context.Context) (bool, error) {
		u.began = uint64(len(c.metadata))
		before, _ := x.Moved()
		again, err := x.Run(ctx)
		if after, _ := x.Moved(); after > before {
			c.Count("records expired")
		}
		return again, err
	}
}

// asked notes that a client asks for records to be deleted.
func (t *truth) asked(k partlog.Key, before int64) {
	if before == AllCommitted {
		before = math.MaxInt64
	}
	t.wanted[k] = max(t.wanted[k], before)
}

// mayDelete fails the world if no client has asked for a deletion, and the partition's topic
// has kept its records longer than that since the expiry was planned. Clocks may be off by
// as much as is allowed.
func (t *truth) mayDelete(who string, x simExpiry) {
	if x.before <= t.wanted[x.key] {
		return
	}
	var errs []error
	for _, p := range t.policies(x.key.Topic, t.planned[x]) {
		err := t.keeps(x, p)
		if err == nil {
			return
		}
		errs = append(errs, err)
	}
	t.w.Fail("%s: records before offset %d of %v are deleted: %w", who, x.before, x.key, errors.Join(errs...))
}

// keeps returns an error if a policy keeps records that expire.
func (t *truth) keeps(x simExpiry, p expire.Policy) error {
	kept, bytes := false, int64(0)
	for _, b := range t.log[x.key] {
		if b.base >= x.before {
			bytes += int64(len(b.a.data))
		} else if young := t.w.Now().UnixMilli() - b.a.header.MaxTimestamp; young < p.RetentionMs-simClocks.Milliseconds() {
			kept = true
		}
	}
	switch {
	case p.RetentionMs < 0 && p.RetentionBytes < 0:
		return errors.New("all are kept")
	case p.RetentionBytes < 0 && kept:
		return errors.New("too early")
	case p.RetentionMs < 0 && bytes < p.RetentionBytes:
		return fmt.Errorf("%d bytes are left, and %d kept", bytes, p.RetentionBytes)
	}
	return nil
}

// simClocks is how far a clock that is believed may be off, and answers may be late.
const simClocks = 6 * time.Minute
