package kafka

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestWaitForMemoryEndsInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(4<<20, 1<<20)
		holder, waiter := charge{from: b}, charge{from: b}
		if err := holder.takeSmall(t.Context(), b.sizes.small); err != nil {
			t.Fatal(err)
		}
		if err := waiter.takeSmall(t.Context(), 1); !errors.Is(err, errNoMemory) {
			t.Errorf("error is %v", err)
		}
		gone, cancel := context.WithCancelCause(t.Context())
		cause := errors.New("client is gone")
		time.AfterFunc(time.Second, func() { cancel(cause) })
		if err := waiter.takeSmall(gone, 1); !errors.Is(err, cause) {
			t.Errorf("error is %v", err)
		}
		time.AfterFunc(time.Second, holder.release)
		if err := waiter.takeSmall(t.Context(), 1); err != nil {
			t.Error(err)
		}
		waiter.release()
		if !b.small.TryAcquire(b.sizes.small) {
			t.Error("memory was not given back")
		}
	})
}
