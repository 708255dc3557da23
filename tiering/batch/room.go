package batch

import (
	"context"

	"golang.org/x/sync/semaphore"
)

const (
	// lightMemory is the most memory of a light decoder. Light ones have a part of the
	// Room, so that they do not wait for decoders that take tens of MiB.
	lightMemory = 4 << 20
	// minLight is that part, at least.
	minLight = 16 << 20
	// turnBytes is how many bytes are decoded before other decoders have their turn.
	turnBytes = 8 << 20
)

// Room bounds the memory and the number of the decoders that work at once, and lets
// them take turns. A nil Room has no bounds.
type Room struct {
	decoders     *semaphore.Weighted
	heavy, light *semaphore.Weighted // memory
}

// NewRoom returns a Room of some bytes for some decoders. It has at least some 80 MiB:
// enough for one batch of any kind, and light ones next to it.
func NewRoom(bytes int64, decoders int) *Room {
	light := max(bytes/4, minLight)
	return &Room{
		decoders: semaphore.NewWeighted(int64(decoders)),
		heavy:    semaphore.NewWeighted(max(bytes-light, maxMemory+smallMemory)),
		light:    semaphore.NewWeighted(light),
	}
}

func (r *Room) memory(n int64) *semaphore.Weighted {
	if n <= lightMemory {
		return r.light
	}
	return r.heavy
}

// enter waits until a decoder that takes n bytes may work. Every wait ends: decoders at
// work wait only for their turn, and those whose turn it is do not wait at all.
func (r *Room) enter(ctx context.Context, n int64) error {
	if r == nil {
		return nil
	}
	if err := r.memory(n).Acquire(ctx, n); err != nil {
		return context.Cause(ctx)
	}
	if err := r.decoders.Acquire(ctx, 1); err != nil {
		r.memory(n).Release(n)
		return context.Cause(ctx)
	}
	return nil
}

// turn lets other decoders that wait go first. After an error the caller has no decoder to
// give back any more.
func (r *Room) turn(ctx context.Context) error {
	if r == nil {
		return nil
	}
	r.decoders.Release(1)
	if err := r.decoders.Acquire(ctx, 1); err != nil {
		return context.Cause(ctx)
	}
	return nil
}

// leave gives back n bytes, and the decoder unless its turn never came.
func (r *Room) leave(n int64, waits bool) {
	if r == nil {
		return
	}
	r.memory(n).Release(n)
	if !waits {
		r.decoders.Release(1)
	}
}
