package listener

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// tested is a budget of 16 MiB for frames of up to 4 MiB.
func tested() *budget { return newBudget(16<<20, 4<<20, 16<<10) }

func TestWaitForMemoryEndsInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := tested()
		holder, waiter := charge{account: b.open(&Client{}, nil)}, charge{account: b.open(&Client{}, nil)}
		all := b.parts[decoded].size
		if err := holder.takeDecoded(t.Context(), all); err != nil {
			t.Fatal(err)
		}
		if err := waiter.takeDecoded(t.Context(), all); !errors.Is(err, errNoMemory) {
			t.Errorf("error is %v", err)
		}
		gone, cancel := context.WithCancelCause(t.Context())
		cause := errors.New("client is gone")
		time.AfterFunc(time.Second, func() { cancel(cause) })
		if err := waiter.takeDecoded(gone, all); !errors.Is(err, cause) {
			t.Errorf("error is %v", err)
		}
		time.AfterFunc(time.Second, holder.release)
		if err := waiter.takeDecoded(t.Context(), all); err != nil {
			t.Error(err)
		}
		waiter.release()
		b.expectUnused(t)
	})
}

// expectUnused fails unless all memory was given back.
func (b *budget) expectUnused(t testing.TB) {
	t.Helper()
	if name := b.used(); name != "" {
		t.Errorf("%s memory was not given back", name)
	}
}

// used names a part of which some is taken.
func (b *budget) used() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	for p := range b.parts {
		if b.parts[p].free != b.parts[p].size || len(b.parts[p].waiting) > 0 {
			return partNames[p]
		}
	}
	return ""
}
