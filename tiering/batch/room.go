package batch

import (
	"context"

	"golang.org/x/sync/semaphore"
)

// Room bounds the memory and the number of the decoders that work at once. A nil
// Room bounds nothing.
type Room struct {
	decoders *semaphore.Weighted
	memory   *semaphore.Weighted
}

// NewRoom returns a Room of some bytes, but for at least one batch of any kind (some
// 64 MiB), for some decoders.
func NewRoom(bytes int64, decoders int) *Room {
	return &Room{decoders: semaphore.NewWeighted(int64(decoders)), memory: semaphore.NewWeighted(max(bytes, maxMemory+smallMemory))}
}

// enter waits until a decoder may work that takes n bytes. Those that work wait for
// nothing, so that a wait ends.
func (r *Room) enter(ctx context.Context, n int64) error {
	if r == nil {
		return nil
	}
	if err := r.decoders.Acquire(ctx, 1); err != nil {
		return context.Cause(ctx)
	}
	if err := r.memory.Acquire(ctx, n); err != nil {
		r.decoders.Release(1)
		return context.Cause(ctx)
	}
	return nil
}

func (r *Room) leave(n int64) {
	if r != nil {
		r.memory.Release(n)
		r.decoders.Release(1)
	}
}
