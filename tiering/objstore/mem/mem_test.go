package mem_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/objstore/mem"
	"github.com/varvelog/varve/tiering/objstore/storetest"
)

func TestStoreKeepsTheContract(t *testing.T) {
	storetest.Run(t, func(*testing.T) objstore.Store { return mem.New(nil, nil) })
}

// on returns a fault for the calls of one method.
func on(op objstore.Op, a mem.Action) func(mem.Call) mem.Action {
	return func(c mem.Call) mem.Action {
		if c.Op == op {
			return a
		}
		return mem.Action{}
	}
}

func TestFailBeforeHasNoEffect(t *testing.T) {
	errDown := errors.New("down")
	s := mem.New(nil, on(objstore.OpCreate, mem.FailBefore(errDown)))
	if err := s.Create(t.Context(), "a", objstore.Plain([]byte("x"))); !errors.Is(err, errDown) {
		t.Errorf("error %v", err)
	}
	if _, ok := s.GetNow("a"); ok {
		t.Error("stored")
	}
}

func TestAnswerLostAfterTheEffect(t *testing.T) {
	s := mem.New(nil, on(objstore.OpCreate, mem.ReplyLost()))
	for range 2 { // the second would have been refused, and the caller does not know
		err := s.Create(t.Context(), "a", objstore.Plain([]byte("x")))
		if err == nil || errors.Is(err, objstore.ErrExists) {
			t.Errorf("error %v", err)
		}
	}
	if got, ok := s.GetNow("a"); !ok || string(got) != "x" {
		t.Errorf("stored %q, %t", got, ok)
	}
}

func TestLateEffectsHappenWhenReleased(t *testing.T) {
	s := mem.New(nil, func(c mem.Call) mem.Action {
		if c.Op == objstore.OpDelete || c.Number == 1 {
			return mem.LandLate()
		}
		return mem.Action{}
	})
	if err := s.Create(t.Context(), "a", objstore.Plain([]byte("late"))); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("late Create: %v", err)
	}
	if err := s.Delete(t.Context(), "b"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("late Delete: %v", err)
	}
	s.PutNow("b", []byte("x"))
	if late := s.Late(); len(late) != 2 || late[0].Key != "a" || late[1].Key != "b" {
		t.Fatalf("late: %+v", late)
	}
	if err := s.Release(1); err != nil {
		t.Error(err)
	}
	if _, ok := s.GetNow("b"); ok {
		t.Error("b was not deleted")
	}
	if err := s.Create(t.Context(), "a", objstore.Plain([]byte("first"))); err != nil {
		t.Fatal(err)
	}
	if err := s.Release(0); !errors.Is(err, objstore.ErrExists) {
		t.Errorf("released over another object: %v", err)
	}
	if got, _ := s.GetNow("a"); string(got) != "first" || len(s.Late()) != 0 {
		t.Errorf("stored %q, late %+v", got, s.Late())
	}
}

func TestNeverAnswerEndsWithTheContext(t *testing.T) {
	s := mem.New(nil, func(mem.Call) mem.Action { return mem.NeverAnswer() })
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := s.Create(ctx, "a", objstore.Plain(nil)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
	if _, ok := s.GetNow("a"); ok {
		t.Error("stored")
	}
}

func TestDamagedReads(t *testing.T) {
	data := []byte{0, 0, 0, 0}
	for _, c := range []struct {
		name   string
		action mem.Action
		want   string
		err    error
	}{
		{"truncated", mem.Truncated(2), "\x00\x00", nil},
		{"truncated beyond the end", mem.Truncated(9), "\x00\x00\x00\x00", nil},
		{"bit flipped", mem.BitFlipped(17), "\x00\x00\x02\x00", nil},
		{"bit beyond the end flipped", mem.BitFlipped(32), "\x01\x00\x00\x00", nil},
		{"missing", mem.Missing(), "", objstore.ErrNotFound},
	} {
		s := mem.New(nil, on(objstore.OpGet, c.action))
		s.PutNow("a", data)
		got, err := s.Get(t.Context(), "a")
		if string(got) != c.want || !errors.Is(err, c.err) {
			t.Errorf("%s: %x, %v", c.name, got, err)
		}
		if stored, _ := s.GetNow("a"); string(stored) != string(data) {
			t.Errorf("%s: the object itself is %x", c.name, stored)
		}
	}
	s := mem.New(nil, on(objstore.OpGetTail, mem.Truncated(2)))
	s.PutNow("a", data)
	if tail, size, err := s.GetTail(t.Context(), "a", 3); len(tail) != 2 || size != 2 || err != nil {
		t.Errorf("tail of a truncated object: %x of %d, %v", tail, size, err)
	}
}

func TestASliceThatIsChangedAfterCreateIsFound(t *testing.T) {
	s := mem.New(nil, on(objstore.OpCreate, mem.FailBefore(errors.New("down"))))
	data := []byte("mine, and then the store's")
	if err := s.Create(t.Context(), "a", objstore.Plain(data)); err == nil {
		t.Fatal("no error")
	}
	if err := s.CheckUnmodified(); err != nil {
		t.Error(err)
	}
	data[3]++ // although Create failed: it may still be on its way
	if err := s.CheckUnmodified(); err == nil {
		t.Error("no error")
	}
}

func TestALateCreateReadsItsBytesAndThenReleasesThem(t *testing.T) {
	s := mem.New(nil, on(objstore.OpCreate, mem.LandLate()))
	releases := 0
	body := objstore.Body{Bytes: []byte("late")}
	body.Release = func() { releases++; clear(body.Bytes) }
	if err := s.Create(t.Context(), "a", body); err == nil || releases != 0 {
		t.Fatalf("error %v, released %d times", err, releases)
	}
	if err := s.Release(0); err != nil {
		t.Error(err)
	}
	if got, _ := s.GetNow("a"); string(got) != "late" || releases != 1 {
		t.Errorf("stored %q, released %d times", got, releases)
	}
	if err := s.CheckUnmodified(); err != nil {
		t.Errorf("changed after the release: %v", err)
	}
}

func TestASliceThatIsChangedBeforeItsReleaseIsFound(t *testing.T) {
	s := mem.New(nil, on(objstore.OpCreate, mem.LandLate()))
	body := objstore.Body{Bytes: []byte("late"), Release: func() {}}
	s.Create(t.Context(), "a", body)
	body.Bytes[0]++
	s.Release(0)
	body.Bytes[0]--
	if err := s.CheckUnmodified(); err == nil {
		t.Error("no error")
	}
}

func TestAWrongKnownChecksumIsFound(t *testing.T) {
	s := mem.New(nil, nil)
	body := objstore.Plain([]byte("data"))
	body.CRC, body.CRCKnown = body.Sum()+1, true
	if err := s.Create(t.Context(), "a", body); err == nil {
		t.Error("no error")
	}
	if _, ok := s.GetNow("a"); ok {
		t.Error("stored")
	}
}

func TestTheStoredBytesAreACopy(t *testing.T) {
	s := mem.New(nil, nil)
	created, put := []byte("created"), []byte("put")
	if err := s.Create(t.Context(), "created", objstore.Plain(created)); err != nil {
		t.Fatal(err)
	}
	s.PutNow("put", put)
	clear(created)
	clear(put)
	for _, key := range []string{"created", "put"} {
		if got, _ := s.GetNow(key); string(got) != key {
			t.Errorf("%s: stored %q", key, got)
		}
	}
}

func TestCallsAreCountedAndTimeIsTheCallers(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	var seen []mem.Call
	s := mem.New(func() time.Time { return now }, func(c mem.Call) mem.Action {
		seen = append(seen, c)
		return mem.Action{}
	})
	s.Create(t.Context(), "a", objstore.Plain(nil))
	now = now.Add(time.Hour)
	s.Create(t.Context(), "b", objstore.Plain(nil))
	s.Create(t.Context(), "b", objstore.Plain(nil))
	infos := s.ListNow("")
	if len(infos) != 2 || !infos[1].Modified.Equal(now) || infos[1].Modified.Sub(infos[0].Modified) != time.Hour {
		t.Errorf("listed %+v", infos)
	}
	if n := s.Calls(objstore.OpCreate); n != 3 || s.Calls(objstore.OpGet) != 0 {
		t.Errorf("%d creates", n)
	}
	if len(seen) != 3 || seen[2] != (mem.Call{Op: objstore.OpCreate, Key: "b", Number: 3}) {
		t.Errorf("asked about %+v", seen)
	}
}

func TestEveryMethodTakesFaults(t *testing.T) {
	errDown := errors.New("down")
	s := mem.New(nil, func(mem.Call) mem.Action { return mem.FailBefore(errDown) })
	s.PutNow("a", []byte("x"))
	ctx := t.Context()
	_, get := s.Get(ctx, "a")
	getRange := s.GetRange(ctx, "a", 0, make([]byte, 1))
	_, _, getTail := s.GetTail(ctx, "a", 1)
	list := s.List(ctx, "", "", func(objstore.Info) error { return nil })
	for i, err := range []error{s.Create(ctx, "b", objstore.Plain(nil)), get, getRange, getTail, list, s.Delete(ctx, "a")} {
		if !errors.Is(err, errDown) {
			t.Errorf("%s: %v", objstore.Ops[i], err)
		}
	}
	if left := s.ListNow(""); len(left) != 1 {
		t.Errorf("left %+v", left)
	}
}
