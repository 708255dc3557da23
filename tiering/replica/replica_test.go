package replica_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/objstore/mem"
	"github.com/varvelog/varve/tiering/replica"
	"github.com/varvelog/varve/tiering/segment"
)

func mark(state segment.CopyState, n uint64, run byte) segment.Copy {
	return segment.Copy{State: state, Cluster: segment.ID{1}, Object: segment.ID{2, run}, Number: n, TimeMs: 3, Source: "file:///a"}
}

func TestABucketIsWholeIfItsLastRunIsDone(t *testing.T) {
	store := mem.New(time.Now, nil)
	look := func(wantErr error, wantNumber uint64, isCopy bool) {
		t.Helper()
		s, err := replica.Read(t.Context(), store)
		if !errors.Is(err, wantErr) || s.Begun.Number != wantNumber || s.IsCopy() != isCopy {
			t.Errorf("%+v, %v", s, err)
		}
	}
	write := func(c segment.Copy) {
		t.Helper()
		if err := replica.Write(t.Context(), store, c); err != nil {
			t.Fatal(err)
		}
	}
	look(nil, 0, false)
	if store.Calls(objstore.OpGet)+store.Calls(objstore.OpList) != 1 {
		t.Error("a bucket that is no copy costs more than one request")
	}
	write(mark(segment.CopyBegun, 1, 1))
	look(replica.ErrUnfinished, 1, true)
	write(mark(segment.CopyBegun, 2, 2)) // the first was interrupted
	write(mark(segment.CopyDone, 2, 2))
	look(nil, 2, true)
	write(mark(segment.CopyBegun, 3, 3))
	look(replica.ErrUnfinished, 3, true)
	write(mark(segment.CopyDone, 3, 3))
	if err := replica.Write(t.Context(), store, mark(segment.CopyBegun, 3, 4)); !errors.Is(err, objstore.ErrExists) {
		t.Errorf("another run with the same number: %v", err)
	}
	write(mark(segment.CopyOpened, 3, 9))
	look(nil, 3, false)
	s, _ := replica.Read(t.Context(), store)
	if s.Incarnation() != (segment.ID{2, 9}) {
		t.Errorf("incarnation %v", s.Incarnation())
	}
	store.PutNow(segment.CopyDoneKey(3), []byte("rotten"))
	look(segment.ErrCorrupt, 3, true)
}

// A listing may lack the newest marks.
func TestALaggingListingHidesNoRun(t *testing.T) {
	store := mem.New(time.Now, nil)
	for n := uint64(1); n <= 3; n++ {
		for _, state := range []segment.CopyState{segment.CopyBegun, segment.CopyDone} {
			if n == 3 && state == segment.CopyDone {
				break
			}
			if err := replica.Write(t.Context(), store, mark(state, n, byte(n))); err != nil {
				t.Fatal(err)
			}
		}
	}
	if s, err := replica.Read(t.Context(), hidden{store}); !errors.Is(err, replica.ErrUnfinished) || s.Begun.Number != 3 {
		t.Errorf("%+v, %v", s, err)
	}
}

// hidden is a store whose listings lack everything.
type hidden struct{ *mem.Store }

func (hidden) List(context.Context, string, string, func(objstore.Info) error) error { return nil }
