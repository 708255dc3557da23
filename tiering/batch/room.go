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
	size     int64
}

// MinRoom is the least memory of a Room: what one batch may take.
const MinRoom = maxMemory + smallMemory

// NewRoom returns a Room of some bytes, at least MinRoom, for some decoders.
func NewRoom(bytes int64, decoders int) *Room {
	bytes = max(bytes, MinRoom)
	return &Room{decoders: semaphore.NewWeighted(int64(decoders)), memory: semaphore.NewWeighted(bytes), size: bytes}
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

// Size is how many bytes there is room for.
func (r *Room) Size() int64 { return r.size }
