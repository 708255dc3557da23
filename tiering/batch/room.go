package batch

import (
	"context"

	"golang.org/x/sync/semaphore"
)

const (
	// lightMemory is up to what a decoder takes memory of the part for light ones, so
	// that it does not wait for those that take tens of MiB.
	lightMemory = 4 << 20
	// minLight is that part, at least.
	minLight = 16 << 20
	// turnBytes is how much is decoded before others have their turn.
	turnBytes = 8 << 20
)

// Room bounds the memory and the number of the decoders that work at once, and lets
// them take turns. A nil Room bounds nothing.
type Room struct {
	decoders     *semaphore.Weighted
	heavy, light *semaphore.Weighted // memory
}

// NewRoom returns a Room of some bytes, but for at least one batch of any kind and
// light ones next to it (some 80 MiB), for some decoders.
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

// enter waits until a decoder may work that takes n bytes. Those that work wait for
// nothing but their turn, and those whose turn it is for nothing, so that a wait ends.
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

// turn lets those go first that wait for a decoder. With an error there is none to
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
