// Package mem is a bucket in memory, for simulations and tests.
//
// It owns the objects, the faults that a test injects into calls, and the count of
// calls. It promises to be at least as strict as S3: it copies every byte both ways,
// checks every known CRC, and lists in key order. It remembers the slices passed to
// Create until it releases them, so that a change before that is found. It is
// deterministic: it starts no goroutine and reads no clock; the caller gives the time.
// It never blocks unless a fault says so.
//
// A single-threaded simulation uses the ...Now methods, which touch the objects
// at once and are neither counted nor faulted, and delivers the answers itself.
package mem

import (
	"context"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/varvelog/varve/tiering/objstore"
)

// Store is a bucket in memory. All methods may be called concurrently.
type Store struct {
	now   func() time.Time
	fault func(Call) Action

	mu struct {
		sync.Mutex
		objects map[string]object
		calls   map[objstore.Op]int
		late    []late
		lent    map[int]lent // by the number of the Create
		lending int          // Creates so far
		changed error        // found at a release
		at      time.Time    // of the newest answer to a read
		answers uint64       // to reads
	}
}

type object struct {
	data     []byte
	modified time.Time
}

// lent is a body that a caller passed to Create and must not change.
type lent struct {
	key  string
	body objstore.Body
	sum  uint32
}

func (l lent) check() error {
	if sumOf(l.body) != l.sum {
		return fmt.Errorf("object %q: its %d bytes were changed before they were released", l.key, l.body.Size())
	}
	return nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// sumOf returns the CRC-32C of the bytes of a body, or of those before an error.
func sumOf(body objstore.Body) uint32 {
	sum := crc32.New(castagnoli)
	_, _ = io.Copy(sum, body.Reader())
	return sum.Sum32()
}

// New returns an empty store. now gives the modification times; nil stands for
// the zero time. fault is asked about every call before it has any effect; nil
// injects nothing. It is called without a lock held and may use the store's
// ...Now methods.
func New(now func() time.Time, fault func(Call) Action) *Store {
	if now == nil {
		now = func() time.Time { return time.Time{} }
	}
	if fault == nil {
		fault = func(Call) Action { return Action{} }
	}
	s := &Store{now: now, fault: fault}
	s.mu.objects = map[string]object{}
	s.mu.calls = map[objstore.Op]int{}
	s.mu.lent = map[int]lent{}
	return s
}

// Create implements objstore.Store.
func (s *Store) Create(ctx context.Context, key string, body objstore.Body) error {
	number := s.lend(key, body)
	held := false
	defer func() {
		if !held {
			s.giveBack(number)
		}
	}()
	if err := objstore.CheckCreate(key, body); err != nil {
		return err
	}
	call, action := s.begin(objstore.OpCreate, key)
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("create object %q: %w", key, err)
	}
	if err := body.CheckSum(); err != nil {
		return fmt.Errorf("create object %q: %w", key, err)
	}
	data, err := body.Whole()
	if err != nil {
		return fmt.Errorf("create object %q: %w", key, err)
	}
	switch action.Effect {
	case Apply:
		err = s.CreateNow(key, data)
	case Overwrite:
		s.PutNow(key, data)
	case Later:
		held = true
		s.holdBack(late{call: call, body: body, lent: number})
		err = errTimeout
	case Skip:
		err = errRefused
	}
	if action.Claim {
		err = nil
	}
	return action.answer(ctx, "create", key, err)
}

// Get implements objstore.Store.
func (s *Store) Get(ctx context.Context, key string) ([]byte, error) {
	data, err := s.read(ctx, objstore.OpGet, key)
	if err != nil {
		return nil, err
	}
	return data, nil
}

// GetRange implements objstore.Store.
func (s *Store) GetRange(ctx context.Context, key string, offset int64, dst []byte) error {
	length := int64(len(dst))
	if err := objstore.CheckRange(key, offset, length); err != nil {
		return err
	}
	data, err := s.read(ctx, objstore.OpGetRange, key)
	if err != nil {
		return err
	}
	if offset+length > int64(len(data)) {
		return fmt.Errorf("get object %q: %d bytes from offset %d of %d: %w",
			key, length, offset, len(data), objstore.ErrRange)
	}
	copy(dst, data[offset:])
	return nil
}

// GetTail implements objstore.Store.
func (s *Store) GetTail(ctx context.Context, key string, n int64) ([]byte, int64, error) {
	if err := objstore.CheckRange(key, 0, n); err != nil {
		return nil, 0, err
	}
	data, err := s.read(ctx, objstore.OpGetTail, key)
	if err != nil {
		return nil, 0, err
	}
	size := int64(len(data))
	return slices.Clone(data[size-min(n, size):]), size, nil
}

// read returns a copy of the object with the injected damage.
func (s *Store) read(ctx context.Context, op objstore.Op, key string) ([]byte, error) {
	if err := objstore.CheckKey(key); err != nil {
		return nil, err
	}
	_, action := s.begin(op, key)
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("get object %q: %w", key, err)
	}
	var err error
	data, ok := s.GetNow(key)
	switch {
	case action.Effect == Skip:
		err = errRefused
	case action.Effect == Later:
		err = errTimeout
	case !ok:
		err = objstore.ErrNotFound
	}
	if action.Effect == Apply && !action.Hang {
		s.mu.Lock()
		s.mu.at, s.mu.answers = s.now(), s.mu.answers+1
		s.mu.Unlock()
	}
	if err := action.answer(ctx, "get", key, err); err != nil {
		return nil, err
	}
	if action.Damage != nil {
		data = action.Damage(data)
	}
	return data, nil
}

// List implements objstore.Store. It lists the objects of the moment when it was called.
func (s *Store) List(ctx context.Context, prefix, startAfter string, fn func(objstore.Info) error) error {
	_, action := s.begin(objstore.OpList, prefix)
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("list objects %q: %w", prefix, err)
	}
	var err error
	switch action.Effect {
	case Skip:
		err = errRefused
	case Later:
		err = errTimeout
	}
	if err := action.answer(ctx, "list", prefix, err); err != nil {
		return err
	}
	for _, info := range s.ListNow(prefix) {
		if info.Key <= startAfter {
			continue
		}
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("list objects %q: %w", prefix, err)
		}
		if err := fn(info); err != nil {
			return err
		}
	}
	return nil
}

// Delete implements objstore.Store.
func (s *Store) Delete(ctx context.Context, key string) error {
	if err := objstore.CheckKey(key); err != nil {
		return err
	}
	call, action := s.begin(objstore.OpDelete, key)
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("delete object %q: %w", key, err)
	}
	var err error
	switch action.Effect {
	case Apply, Overwrite:
		s.DeleteNow(key)
	case Later:
		s.holdBack(late{call: call})
		err = errTimeout
	case Skip:
		err = errRefused
	}
	if action.Claim {
		err = nil
	}
	return action.answer(ctx, "delete", key, err)
}

// StoreTime implements objstore.Clock.
func (s *Store) StoreTime() (at time.Time, answers uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.at, s.mu.answers
}

// String implements objstore.Store.
func (s *Store) String() string { return "mem:" }

// CreateNow stores a copy of data at key, or returns ErrExists.
func (s *Store) CreateNow(key string, data []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.mu.objects[key]; ok {
		return objstore.ErrExists
	}
	s.mu.objects[key] = object{data: clone(data), modified: s.now()}
	return nil
}

// PutNow stores a copy of data at key, over anything that is there.
func (s *Store) PutNow(key string, data []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.objects[key] = object{data: clone(data), modified: s.now()}
}

// GetNow returns a copy of the object, and whether there is one.
func (s *Store) GetNow(key string) ([]byte, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o, ok := s.mu.objects[key]
	if !ok {
		return nil, false
	}
	return clone(o.data), true
}

// DeleteNow removes the object, and reports whether there was one.
func (s *Store) DeleteNow(key string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.mu.objects[key]
	delete(s.mu.objects, key)
	return ok
}

// ListNow returns all objects whose key starts with prefix, in key order.
func (s *Store) ListNow(prefix string) []objstore.Info {
	s.mu.Lock()
	defer s.mu.Unlock()
	var infos []objstore.Info
	for key, o := range s.mu.objects {
		if strings.HasPrefix(key, prefix) {
			infos = append(infos, objstore.Info{Key: key, Size: int64(len(o.data)), Modified: o.modified})
		}
	}
	slices.SortFunc(infos, func(a, b objstore.Info) int { return strings.Compare(a.Key, b.Key) })
	return infos
}

// Calls returns how many calls of op were made, failed ones included.
func (s *Store) Calls(op objstore.Op) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.calls[op]
}

// CheckUnmodified returns an error if a caller has changed a slice that it passed to
// Create before the store released it. No driver forgives that: the transport may still
// be sending it. A body without a Release must never change again.
func (s *Store) CheckUnmodified() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.mu.lent {
		if err := l.check(); err != nil {
			return err
		}
	}
	return s.mu.changed
}

// lend remembers the body that a caller passed to Create, and returns its number.
func (s *Store) lend(key string, body objstore.Body) int {
	l := lent{key: key, body: body, sum: sumOf(body)}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.lending++
	s.mu.lent[s.mu.lending] = l
	return s.mu.lending
}

// giveBack releases the body of that number.
func (s *Store) giveBack(number int) {
	s.mu.Lock()
	l := s.mu.lent[number]
	if l.body.Release == nil {
		s.mu.Unlock()
		return
	}
	delete(s.mu.lent, number)
	if err := l.check(); err != nil {
		s.mu.changed = err
	}
	s.mu.Unlock()
	l.body.Done()
}

// begin counts a call and asks for the fault.
func (s *Store) begin(op objstore.Op, key string) (Call, Action) {
	s.mu.Lock()
	s.mu.calls[op]++
	call := Call{Op: op, Key: key, Number: s.mu.calls[op]}
	s.mu.Unlock()
	return call, s.fault(call)
}

// clone copies data; the copy is never nil, so that an empty object differs
// from none.
func clone(data []byte) []byte { return append(make([]byte, 0, len(data)), data...) }
