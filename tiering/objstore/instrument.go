package objstore

import (
	"context"
	"errors"
	"slices"
	"time"
)

// Op names a method of Store, as a metrics label.
type Op string

// The methods of Store.
const (
	OpCreate   Op = "create"
	OpGet      Op = "get"
	OpGetRange Op = "get_range"
	OpGetTail  Op = "get_tail"
	OpList     Op = "list"
	OpDelete   Op = "delete"

	OpDeleteBatch Op = "delete_batch" // of Batcher
)

// Ops are all of them.
var Ops = []Op{OpCreate, OpGet, OpGetRange, OpGetTail, OpList, OpDelete, OpDeleteBatch}

// Observer is called after every finished call, with the bytes of object data sent
// (Create: whatever the outcome) or received, how long it took, and the store's error
// unchanged. Of a batch it gets the first error. A List that the caller's function ended early has none. It is called on
// the caller's goroutine and must neither block nor panic.
type Observer func(op Op, bytes int64, took time.Duration, err error)

// Instrument returns a Store that passes its calls to store, and reports them to
// observe. A List counts as one call, however many pages it reads, and its duration
// includes the time in fn.
func Instrument(store Store, observe Observer) Store {
	return &instrumented{store: store, observe: observe}
}

type instrumented struct {
	store   Store
	observe Observer
}

func (s *instrumented) Create(ctx context.Context, key string, body Body) error {
	start := time.Now()
	err := s.store.Create(ctx, key, body)
	s.observe(OpCreate, body.Size(), time.Since(start), err)
	return err
}

func (s *instrumented) Get(ctx context.Context, key string) ([]byte, error) {
	start := time.Now()
	data, err := s.store.Get(ctx, key)
	s.observe(OpGet, int64(len(data)), time.Since(start), err)
	return data, err
}

func (s *instrumented) GetRange(ctx context.Context, key string, offset int64, dst []byte) error {
	start := time.Now()
	err := s.store.GetRange(ctx, key, offset, dst)
	received := int64(0)
	if err == nil {
		received = int64(len(dst))
	}
	s.observe(OpGetRange, received, time.Since(start), err)
	return err
}

func (s *instrumented) GetTail(ctx context.Context, key string, n int64) ([]byte, int64, error) {
	start := time.Now()
	tail, size, err := s.store.GetTail(ctx, key, n)
	s.observe(OpGetTail, int64(len(tail)), time.Since(start), err)
	return tail, size, err
}

func (s *instrumented) List(ctx context.Context, prefix, startAfter string, fn func(Info) error) error {
	start := time.Now()
	var ended bool // by fn: such an error says nothing about the store
	err := s.store.List(ctx, prefix, startAfter, func(i Info) error {
		err := fn(i)
		ended = err != nil
		return err
	})
	failure := err
	if ended {
		failure = nil
	}
	s.observe(OpList, 0, time.Since(start), failure)
	return err
}

func (s *instrumented) Delete(ctx context.Context, key string) error {
	start := time.Now()
	err := s.store.Delete(ctx, key)
	s.observe(OpDelete, 0, time.Since(start), err)
	return err
}

// DeleteBatch implements Batcher. It reports no request that a store does not take.
func (s *instrumented) DeleteBatch(ctx context.Context, keys []string) ([]error, error) {
	batcher, ok := s.store.(Batcher)
	if !ok {
		return nil, errors.ErrUnsupported
	}
	start := time.Now()
	outcomes, err := batcher.DeleteBatch(ctx, keys)
	if errors.Is(err, errors.ErrUnsupported) {
		return nil, err
	}
	failure := err
	if i := slices.IndexFunc(outcomes, func(err error) bool { return err != nil }); i >= 0 {
		failure = outcomes[i]
	}
	s.observe(OpDeleteBatch, 0, time.Since(start), failure)
	return outcomes, err
}

// StoreTime implements Clock.
func (s *instrumented) StoreTime() (time.Time, uint64) {
	if clock, ok := s.store.(Clock); ok {
		return clock.StoreTime()
	}
	return time.Time{}, 0
}

// NewestModified implements Dated.
func (s *instrumented) NewestModified() time.Time {
	if dated, ok := s.store.(Dated); ok {
		return dated.NewestModified()
	}
	return time.Time{}
}

// Policy implements Policies. Its requests are not reported.
func (s *instrumented) Policy(ctx context.Context) (Policy, error) { return ReadPolicy(ctx, s.store) }

func (s *instrumented) String() string { return s.store.String() }
