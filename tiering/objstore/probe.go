package objstore

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// ErrUnsafe: the store broke a promise that varve's data depends on. No data may be
// kept there. Any other error of a probe leaves the question open.
var ErrUnsafe = errors.New("varve cannot keep data safe on this store")

const (
	probeLarge = 8 << 20

	// A test that ended undecided (ErrConflict, no answer, a busy store) is made
	// again this often, with another key: a request of the first may land late.
	probeAttempts = 5
	probePause    = 100 * time.Millisecond
	// Bytes that were damaged on the way are read this often.
	probeReads = 5
)

// Step is a part of the probe: Done of Total keys have passed it.
type Step struct {
	Name        string
	Done, Total int
}

// Probe tests varve's assumptions about a store. Creating an object fails when there is
// one, also when many writers try at once. A new object can be read and listed at once,
// and a missing one reads as missing. It makes small objects below prefix, under a random
// name, and removes them, as far as it can, and those that earlier probes left behind. It
// reports each step to progress, which may be nil, on the caller's goroutine.
//
// The error wraps ErrUnsafe when the store failed a test. A pass proves nothing about a
// store under failures; a failure is final.
func Probe(ctx context.Context, store Store, prefix string, e Effort, progress func(Step)) error {
	if progress == nil {
		progress = func(Step) {}
	}
	p := newProber(store, prefix, e)
	err := p.run(ctx, []probeStep{
		{"a missing object reads as missing", 1, p.missing},
		{"an object can be created once", p.size.twice, p.createTwice},
		{"racing creators have one winner", p.size.races, p.race},
		{"a deleted object can be created again", p.size.recreated, p.recreate},
		{"many objects are deleted at once", 1, p.deleteAll},
		{"a large object is read as it was written", 1, p.large},
		{"new objects are listed in order", 1, p.list},
	}, progress)
	p.tidy(ctx, prefix)
	return err
}

// CreateTwice is the part of Probe that is cheap enough for every start: one
// missing object must read as missing, and be created once but not twice. It removes the
// objects that earlier probes left behind, too.
func CreateTwice(ctx context.Context, store Store, prefix string) error {
	p := newProber(store, prefix, once)
	err := p.run(ctx, []probeStep{{"an object can be created once", p.size.twice, p.createTwice}}, func(Step) {})
	p.tidy(ctx, prefix)
	return err
}

// CreateOne creates one small object below prefix, and returns its key, which no other
// object has. The caller removes the object; one that stays is removed by a later probe.
func CreateOne(ctx context.Context, store Store, prefix string) (key string, err error) {
	key = prefix + "/" + rand.Text() + "/0/00/0"
	return key, store.Create(ctx, key, Plain([]byte("varve")))
}

type probeStep struct {
	name string
	keys int
	test func(ctx context.Context, key string) error
}

// prober notes the objects that it created, to remove these and no others.
type prober struct {
	store  Store
	prefix string
	size   probeSize
	racing chan struct{} // full while as many races as may be are under way

	mu struct {
		sync.Mutex
		created map[string]bool
	}
}

func newProber(store Store, prefix string, e Effort) *prober {
	p := &prober{store: store, prefix: prefix + "/" + rand.Text(), size: probeSizes[e]}
	p.racing = make(chan struct{}, p.size.racing)
	p.mu.created = map[string]bool{}
	return p
}

func (p *prober) run(ctx context.Context, steps []probeStep, progress func(Step)) error {
	for i, step := range steps {
		progress(Step{step.name, 0, step.keys})
		done := p.start(ctx, step, fmt.Sprintf("%s/%d", p.prefix, i))
		var first error
		for k := range step.keys {
			err := <-done
			if first == nil {
				first = err
			}
			progress(Step{step.name, k + 1, step.keys})
		}
		if first != nil {
			return fmt.Errorf("probe %s: %q: %w", p.store, step.name, advise(first))
		}
	}
	return nil
}

// start makes the tests of a step, a few at a time: most of their time is waiting.
// The channel gets the outcome of each.
func (p *prober) start(ctx context.Context, step probeStep, prefix string) <-chan error {
	done := make(chan error, step.keys)
	slots := make(chan struct{}, p.size.parallel)
	for k := range step.keys {
		go func() { // ends before its outcome is received, and run receives all
			slots <- struct{}{}
			err := p.attempt(ctx, step, fmt.Sprintf("%s/%02d", prefix, k))
			<-slots
			done <- err
		}()
	}
	return done
}

// attempt makes a test until it is decided.
func (p *prober) attempt(ctx context.Context, step probeStep, key string) error {
	var err error
	for n := range probeAttempts {
		if n > 0 && pause(ctx) != nil {
			break
		}
		err = step.test(ctx, fmt.Sprintf("%s/%d", key, n))
		if err == nil || errors.Is(err, ErrUnsafe) || errors.Is(err, ErrDenied) || errors.Is(err, ErrNoBucket) {
			break
		}
	}
	return err
}

func pause(ctx context.Context) error {
	select {
	case <-time.After(probePause):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// advise adds a remedy to errors that have nothing to do with safety.
func advise(err error) error {
	switch {
	case errors.Is(err, ErrUnsafe):
		return err
	case errors.Is(err, ErrNoBucket):
		return fmt.Errorf("create the bucket first: %w", err)
	case errors.Is(err, ErrDenied):
		return fmt.Errorf("the credentials must allow to list the bucket and to get, put and delete its objects; "+
			"without the right to list, S3 answers \"denied\" for a missing object: %w", err)
	}
	return err
}

// unsafe is a failed test: the deed of the store, and its meaning.
func unsafe(format string, args ...any) error {
	return fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), ErrUnsafe)
}

// create stores data, and remembers it if that succeeded.
func (p *prober) create(ctx context.Context, key string, data []byte) error {
	err := p.store.Create(ctx, key, Plain(data))
	if err == nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.mu.created[key] = true
	}
	return err
}

// createNew creates an object that must be new, and reads it back at once.
func (p *prober) createNew(ctx context.Context, key string, data []byte) error {
	err := p.create(ctx, key, data)
	if errors.Is(err, ErrExists) {
		return unsafe("the store says that an object exists which was never created")
	}
	if err != nil {
		return fmt.Errorf("create a new object: %w", err)
	}
	return p.expect(ctx, key, data)
}

// expect reads an object whose Create has succeeded.
func (p *prober) expect(ctx context.Context, key string, want []byte) error {
	return p.agrees(ctx, key, want, "reading", func() ([]byte, error) {
		got, err := p.store.Get(ctx, key)
		if errors.Is(err, ErrNotFound) {
			return nil, unsafe("an object that was created reads as missing")
		}
		return got, err
	})
}

// agrees reads until want comes back. Bytes that no writer offered were damaged on the
// way. Checksums find such damage everywhere else; here a second read comes before the
// store is blamed. Bytes of another writer are stored like that.
func (p *prober) agrees(ctx context.Context, key string, want []byte, what string, read func() ([]byte, error)) error {
	for n := 1; ; n++ {
		got, err := read()
		switch {
		case errors.Is(err, ErrUnsafe):
			return err
		case err != nil:
			return fmt.Errorf("%s: %w", what, err)
		case bytes.Equal(got, want):
			return nil
		case n == probeReads || written(key, got):
			return unsafe("%s returns %d bytes that are not the %d bytes created", what, len(got), len(want))
		}
		if err := pause(ctx); err != nil {
			return err
		}
	}
}

// written reports whether a writer of the probe may have written b at key.
func written(key string, b []byte) bool {
	for w := range maxWriters {
		if bytes.Equal(b, probeData(key, w)) {
			return true
		}
	}
	return false
}

// missing tests that every kind of read reports a missing object as missing.
func (p *prober) missing(ctx context.Context, key string) error {
	_, getErr := p.store.Get(ctx, key)
	rangeErr := p.store.GetRange(ctx, key, 0, make([]byte, 1))
	_, _, tailErr := p.store.GetTail(ctx, key, 1)
	for _, err := range []error{getErr, rangeErr, tailErr} {
		if err == nil {
			return unsafe("an object that was never created can be read")
		}
		if !errors.Is(err, ErrNotFound) {
			return fmt.Errorf("reading a missing object must say that it is missing: %w", err)
		}
	}
	return nil
}

func (p *prober) createTwice(ctx context.Context, key string) error {
	if err := p.missing(ctx, key); err != nil {
		return err
	}
	first := probeData(key, 1)
	if err := p.createNew(ctx, key, first); err != nil {
		return err
	}
	for i := range p.size.seconds {
		if err := p.refused(ctx, key, probeData(key, 2+i)); err != nil {
			return err
		}
	}
	return p.expect(ctx, key, first)
}

// refused creates an object over one that is there.
func (p *prober) refused(ctx context.Context, key string, data []byte) error {
	switch err := p.create(ctx, key, data); {
	case err == nil:
		return unsafe("this store ignores If-None-Match: a second create of the same object succeeded")
	case !errors.Is(err, ErrExists):
		return fmt.Errorf("create an object that exists: want a plain refusal: %w", err)
	}
	return nil
}

// large tests a body of the size of a full segment, and reading parts of it.
func (p *prober) large(ctx context.Context, key string) error {
	data := make([]byte, probeLarge)
	if _, err := rand.Read(data); err != nil {
		return err
	}
	if err := p.createNew(ctx, key, data); err != nil {
		return err
	}
	const offset, length = probeLarge/2 - 1, 1 << 20
	err := p.agrees(ctx, key, data[offset:offset+length], "reading a part of an object", func() ([]byte, error) {
		return ReadRange(ctx, p.store, key, offset, length)
	})
	if err != nil {
		return err
	}
	return p.agrees(ctx, key, data[probeLarge-length:], "reading the end of an object", func() ([]byte, error) {
		tail, size, err := p.store.GetTail(ctx, key, length)
		if err == nil && size != probeLarge {
			err = unsafe("reading the end of an object of %d bytes says that it has %d", probeLarge, size)
		}
		return tail, err
	})
}

// list tests that new objects are listed at once. varve decides nothing from a
// listing, but finds its way by it.
func (p *prober) list(ctx context.Context, key string) error {
	var want, got []string
	for _, i := range []int{2, 0, 1} {
		k := fmt.Sprintf("%s/%d", key, i)
		if err := p.createNew(ctx, k, probeData(k, i)); err != nil {
			return err
		}
		want = append(want, k)
	}
	slices.Sort(want)
	err := p.store.List(ctx, key+"/", "", func(info Info) error {
		got = append(got, info.Key)
		return nil
	})
	if err != nil {
		return fmt.Errorf("list objects: %w", err)
	}
	if !slices.Equal(got, want) {
		return fmt.Errorf("listing returns %q, created were %q", got, want)
	}
	return nil
}

// probeData are small bytes that no other writer of any key has.
func probeData(key string, writer int) []byte {
	return fmt.Appendf(nil, "varve probe of %s by writer %d, may be deleted\n", key, writer)
}
