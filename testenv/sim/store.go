package sim

import (
	"context"
	"errors"
	"hash/crc32"
	"slices"
	"strings"
	"time"

	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/segment"
)

// Faults are the probabilities, from 0 to 1, that a request to the store goes wrong.
// Reads never say that a key is missing when it is not.
type Faults struct {
	Lost      float64 // a create never arrives; its sender sees a time-out or a reset
	ReplyLost float64 // it is stored, and its sender sees an error
	Late      float64 // its sender sees an error, and it arrives long after
	Resent    float64 // something on the way sends it twice: it is stored, the answer is "exists"
	Refused   float64 // 503 or 409, at once, nothing stored
	Slow      float64 // it takes seconds, maybe longer than its sender waits
	Read      float64 // a read fails
	List      float64 // a listing lacks new objects, or fails
	Damage    float64 // a checkpoint or a merged segment is stored damaged
}

// Errors of requests that went wrong.
var (
	errTimeout = errors.New("no answer in time")
	errRefused = errors.New("503 slow down")

	errReadOnly = errors.New("a write takes time: use Process.Go")
)

// Store is a bucket in memory.
type Store struct {
	Faults Faults

	w       *World
	objects map[string]*object
	outage  bool
	refuses bool             // deletes
	rotten  map[string]bool  // keys of objects that changed since they were stored
	stored  func(key string) // called for every object, at that moment; may be nil

	// Stored is called for every object, at that moment; may be nil.
	Stored func(key string)

	// Removed is called for every object that is deleted, at that moment; may be nil.
	Removed func(key string)
}

type object struct {
	data  []byte
	at    time.Duration // when it was stored
	cache any           // the decoded bytes
}

// StoreFaults are the names by which World.Count counts the faults of a Store.
var StoreFaults = []string{
	"store: outage", "store: lost", "store: reply lost", "store: late", "store: resent", "store: refused",
	"store: slow", "store: slow read", "store: read", "store: list", "store: damage",
}

// NewStore is an empty bucket without faults.
func NewStore(w *World) *Store {
	return &Store{w: w, objects: map[string]*object{}, rotten: map[string]bool{}}
}

// Outage lets every request fail for d.
func (s *Store) Outage(d time.Duration) {
	if s.outage {
		return
	}
	s.outage = true
	s.fired("outage")
	s.w.After(d, "outage ends", func() { s.outage = false })
}

// Object returns the bytes at key, nil if there are none.
func (s *Store) Object(key string) []byte {
	if o := s.objects[key]; o != nil {
		return o.data
	}
	return nil
}

// Remove deletes the object at key.
func (s *Store) Remove(key string) {
	s.w.Trace("delete " + key)
	if s.objects[key] != nil && s.Removed != nil {
		s.Removed(key)
	}
	delete(s.objects, key)
}

// Keys lists the keys that begin with prefix, in order.
func (s *Store) Keys(prefix string) []string {
	var keys []string
	for key := range s.objects {
		if strings.HasPrefix(key, prefix) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

func (s *Store) fired(what string) { s.w.Count("store: " + what) }

// Put creates an object at once and without faults, if there is none at key. A create
// calls it when it arrives.
func (s *Store) Put(key string, data []byte) error {
	if s.objects[key] != nil {
		s.w.Trace("exists " + key)
		return objstore.ErrExists
	}
	if fragile(key) && s.w.Chance(s.Faults.Damage) {
		s.fired("damage")
		data = slices.Clone(data)
		data[s.w.Rand.Intn(len(data))] ^= 1 << s.w.Rand.Intn(8)
	}
	s.objects[key] = &object{data: slices.Clone(data), at: s.w.now}
	s.w.Trace("stored "+key, uint64(len(data)))
	if s.stored != nil {
		s.stored(key)
	}
	if s.Stored != nil {
		s.Stored(key)
	}
	return nil
}

// fragile reports whether the object at key is stored damaged now and then: a checkpoint
// or a merged segment, whose writers read them back.
func fragile(key string) bool {
	_, merged := segment.ParseMergedKey(key)
	return merged || strings.Contains(key, "/checkpoints/")
}

// fate is the fate of a create: whether and when it arrives, and when its sender gets
// which answer.
type fate struct {
	what    string
	arrives time.Duration // -1: never
	replies time.Duration
	err     error // answered instead of the truth
}

func (s *Store) fate() fate {
	w, f := s.w, &s.Faults
	quick := w.Between(2*time.Millisecond, 60*time.Millisecond)
	reply := quick + w.Between(time.Millisecond, 30*time.Millisecond)
	timeout := w.Between(20*time.Millisecond, 16*time.Second)
	if s.outage {
		if w.Chance(0.5) {
			return fate{what: "refused", arrives: -1, replies: quick, err: errRefused}
		}
		return fate{what: "lost", arrives: -1, replies: timeout, err: errTimeout}
	}
	x := w.Rand.Float64()
	for _, c := range []struct {
		p    float64
		fate fate
	}{
		{f.Lost, fate{"lost", -1, timeout, errTimeout}},
		{f.ReplyLost, fate{"reply lost", quick, timeout, errTimeout}},
		{f.Late, fate{"late", timeout + w.Between(0, 10*time.Minute), timeout, errTimeout}},
		{f.Resent, fate{"resent", quick, reply, objstore.ErrExists}},
		{f.Refused, fate{"refused", -1, quick, errRefused}},
		{f.Slow, fate{"slow", timeout, timeout + w.Between(0, 5*time.Second), nil}},
	} {
		if x < c.p {
			if w.t.Keep() {
				return c.fate
			}
			break
		}
		x -= c.p
	}
	return fate{arrives: quick, replies: reply}
}

// lingers is how long after a create has arrived and was answered its bytes may be read.
const lingers = time.Minute

// Create sends a create for p. done gets the outcome within limit. The bytes are read
// when it arrives, which may be long after that, and are released some time later.
func (s *Store) Create(p *Process, key string, body objstore.Body, limit time.Duration, done func(error)) {
	f := s.fate()
	if f.what != "" {
		s.fired(f.what)
	}
	if err := body.CheckSum(); err != nil {
		s.w.Fail("create %s: %w", key, err)
	}
	data, err := body.Whole()
	if err != nil {
		s.w.Fail("create %s: %w", key, err)
	}
	sum := crc32.ChecksumIEEE(data)
	unchanged := func() {
		if crc32.ChecksumIEEE(data) != sum || body.Source != nil && !p.Dead() && body.CheckSum() != nil {
			s.w.Fail("the bytes of %s changed while they were under way", key)
		}
	}
	var outcome error
	arrived := false
	if f.arrives >= 0 {
		s.w.After(f.arrives, "arrives", func() {
			unchanged()
			arrived, outcome = true, s.Put(key, data)
		})
	}
	p.After(min(f.replies, limit), "created", func() {
		switch {
		case f.err != nil:
			done(f.err)
		case !arrived || f.replies > limit:
			done(errTimeout)
		default:
			done(outcome)
		}
	})
	if body.Release != nil { // a process that died has no memory
		p.After(max(f.arrives, min(f.replies, limit))+s.w.Between(0, lingers), "released", func() {
			unchanged()
			body.Release()
		})
	}
}

// Read looks at a key for p at one moment between now and the answer, by look,
// which gets nil if there is nothing. done gets the error that it failed with.
func (s *Store) Read(p *Process, key string, limit time.Duration, look func(*Store, []byte), done func(error)) {
	quick := s.w.Between(time.Millisecond, 30*time.Millisecond)
	if s.outage || s.w.Chance(s.Faults.Read) {
		s.fired("read")
		p.After(min(limit, s.w.Between(quick, 11*time.Second)), "read failed", func() { done(errTimeout) })
		return
	}
	if s.w.Chance(s.Faults.Slow) {
		s.fired("slow read")
		quick = s.w.Between(quick, 12*time.Second)
	}
	if quick > limit {
		p.After(limit, "read timed out", func() { done(errTimeout) })
		return
	}
	var at time.Duration
	s.w.After(quick, "looks", func() { at = s.w.now; look(s, s.Object(key)) })
	p.After(quick+s.w.Between(0, 20*time.Millisecond), "read", func() {
		p.storeTime, p.answers = epoch.Add(at), p.answers+1
		done(nil)
	})
}

// Now is the store for code that only reads and waits for its answers: every request
// happens at once, and fails as often as others do. For code that writes there is
// Process.Go.
func (s *Store) Now() objstore.Store { return instant{s} }

type instant struct{ s *Store }

func (i instant) String() string { return "sim://" }

func (instant) Create(_ context.Context, _ string, body objstore.Body) error {
	body.Done()
	return errReadOnly
}

func (i instant) Get(_ context.Context, key string) ([]byte, error) {
	if i.s.outage || i.s.w.Chance(i.s.Faults.Read) {
		i.s.fired("read")
		return nil, errTimeout
	}
	b := i.s.Object(key)
	if b == nil {
		return nil, objstore.ErrNotFound
	}
	return slices.Clone(b), nil
}

func (i instant) GetRange(ctx context.Context, key string, offset int64, dst []byte) error {
	return rangeOf(i.Get(ctx, key))(offset, dst)
}

func (i instant) GetTail(ctx context.Context, key string, n int64) ([]byte, int64, error) {
	return tailOf(i.Get(ctx, key))(n)
}

func (i instant) List(_ context.Context, prefix, startAfter string, fn func(objstore.Info) error) error {
	stale := false
	if i.s.outage || i.s.w.Chance(i.s.Faults.List) {
		i.s.fired("list")
		if stale = i.s.w.Chance(0.5); !stale {
			return errTimeout
		}
	}
	for _, key := range i.s.Keys(prefix) {
		o := i.s.objects[key]
		if key <= startAfter || stale && i.s.w.now-o.at < 20*time.Second {
			continue
		}
		if err := fn(objstore.Info{Key: key, Size: int64(len(o.data)), Modified: epoch.Add(o.at)}); err != nil {
			return err
		}
	}
	return nil
}

func (instant) Delete(context.Context, string) error { return errReadOnly }
