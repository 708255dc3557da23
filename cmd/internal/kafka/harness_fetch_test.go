package kafka

import (
	"context"
	"time"

	"github.com/varvelog/varve/fetch"
	"github.com/varvelog/varve/tiering/batch"
)

func (c *cluster) Fetch(ctx context.Context, req fetch.Request) ([]fetch.Result, func()) {
	c.unreleased.Add(1)
	release := func() { c.unreleased.Add(-1) }
	deadline := time.NewTimer(req.MaxWait)
	defer deadline.Stop()
	for {
		c.mu.Lock()
		out, size := c.readLocked(req)
		changed := c.changed
		c.mu.Unlock()
		if size >= int(req.MinBytes) {
			return out, release
		}
		select {
		case <-changed:
		case <-deadline.C:
			return out, release
		case <-ctx.Done():
			return out, release
		}
	}
}

// standingSlots is the most partitions of a Standing that readLocked looks for.
const standingSlots = 200

// readLocked reads all partitions, also all of a Standing.
func (c *cluster) readLocked(req fetch.Request) ([]fetch.Result, int) {
	parts, slots := req.Partitions, make([]int32, len(req.Partitions))
	for slot := int32(0); slot < standingSlots && req.Standing != nil; slot++ {
		if p, ok := req.Standing.At(slot); ok {
			parts, slots = append(parts, p), append(slots, slot)
		}
	}
	out := make([]fetch.Result, len(parts))
	size := 0
	for i, p := range parts {
		log := c.logs[p.Key]
		out[i].Slot = slots[i]
		out[i].HighWatermark, out[i].LogStart, out[i].Epoch = log.end, log.start, c.place.Load().Epoch
		if p.Offset > log.end || p.Offset < log.start {
			out[i].Err = fetch.ErrOutOfRange
			continue
		}
		if c.unread != nil {
			out[i].Err, size = c.unread, max(size, int(req.MinBytes))
			continue
		}
		if req.Elsewhere != nil {
			tail := p.Offset == log.end
			c.mu.Unlock() // it looks for the topic
			out[i].Elsewhere = req.Elsewhere(p.Key, p.Offset, tail)
			c.mu.Lock()
			if out[i].Elsewhere != 0 {
				size = max(size, int(req.MinBytes))
				continue
			}
		}
		for _, b := range log.batches {
			h, _ := batch.Parse(b)
			if h.LastOffset() >= p.Offset && (size == 0 || size+len(b) <= int(req.MaxBytes)) {
				out[i].Records = append(out[i].Records, b)
				size += len(b)
			}
		}
	}
	return out, size
}
