package fetch

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/varvelog/varve/fetch/cache"
	"github.com/varvelog/varve/tiering/partlog"
)

const (
	// firstVerdict and lastVerdict bound how long a verdict is in force before the next
	// reader may look again. The time doubles with each look.
	firstVerdict = 2 * time.Second
	lastVerdict  = time.Minute
	// lookLimit is how long other readers wait for the one that looks.
	lookLimit = 2 * time.Second
	// verdictIdle is the time after which a verdict without a reader is forgotten.
	verdictIdle = 30 * time.Minute
	// maxVerdicts bounds the verdicts. A new one replaces the one whose last reader came
	// longest ago.
	maxVerdicts = 1024
)

// Damage is stored records that must be there, but cannot be read.
type Damage struct {
	Object      string // key
	Key         partlog.Key
	First, Last int64 // offsets
	Err         error
}

// place is where damage is: an extent in its object, or a page in its index object.
type place struct {
	object   string
	position uint32
}

// verdict is a Damage that was found. Until its time is over, readers get its error
// without a request to the store.
type verdict struct {
	Damage
	until   time.Time
	pause   time.Duration
	looking bool // a reader looks, since its time was over
	asked   time.Time
}

// verdicts remembers the damage in the bucket. It is safe for concurrent use.
type verdicts struct {
	now        func() time.Time
	onDamaged  func(Damage)        // a verdict is in force, or was renewed
	onRestored func(object string) // no verdict about an object is left
	n          atomic.Int64        // of all verdicts, so that readers of a sound bucket take no lock
	errors     atomic.Int64        // reads that ended with damage

	mu      sync.Mutex
	byPlace map[place][]*verdict
}

func newVerdicts(cfg *Config) *verdicts {
	v := &verdicts{now: cfg.Now, onDamaged: cfg.OnDamaged, onRestored: cfg.OnRestored, byPlace: map[place][]*verdict{}}
	if v.now == nil {
		v.now = time.Now
	}
	if v.onDamaged == nil {
		v.onDamaged = func(Damage) {}
	}
	if v.onRestored == nil {
		v.onRestored = func(string) {}
	}
	return v
}

// known reports whether there is a verdict about a place, in force or not.
func (v *verdicts) known(at place) bool {
	if v.n.Load() == 0 {
		return false
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	return len(v.byPlace[at]) > 0
}

// within reports whether there is a verdict about a place in a range, in force or not.
func (v *verdicts) within(at cache.Range) bool {
	if v.n.Load() == 0 {
		return false
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	for p := range v.byPlace {
		if pos := int64(p.position); p.object == at.Object && pos >= at.Pos && pos < at.Pos+at.Len {
			return true
		}
	}
	return false
}

// blocked returns the error of a verdict in force about an offset, nil if there is none.
// When the time of a verdict is over, one caller looks for all.
func (v *verdicts) blocked(at place, offset int64) (look bool, err error) {
	if v.n.Load() == 0 {
		return false, nil
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	now := v.now()
	for _, d := range v.byPlace[at] {
		if offset < d.First || offset > d.Last {
			continue
		}
		d.asked = now
		if now.Before(d.until) {
			v.errors.Add(1)
			return false, knownError{d.Err}
		}
		d.until, d.looking = now.Add(lookLimit), true
		return true, nil
	}
	return false, nil
}

// lookOn lets the reader that looks at a place look once more.
func (v *verdicts) lookOn(at place) {
	if v.n.Load() == 0 {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, x := range v.byPlace[at] {
		if x.looking {
			x.until = v.now()
		}
	}
}

// found notes damage. A verdict about it is in force then.
func (v *verdicts) found(at place, d Damage) {
	v.errors.Add(1)
	v.mu.Lock()
	now := v.now()
	of := v.byPlace[at]
	i := slices.IndexFunc(of, func(x *verdict) bool { return x.First == d.First && x.Last == d.Last })
	var over []string
	if i < 0 {
		over = v.makeRoomLocked(now)
		of = append(v.byPlace[at], &verdict{Damage: d})
		v.byPlace[at] = of
		v.n.Add(1)
		i = len(of) - 1
	}
	x := of[i]
	x.asked, x.Err = now, d.Err
	if x.looking || !now.Before(x.until) {
		x.pause = min(max(firstVerdict, 2*x.pause), lastVerdict)
		x.until, x.looking = now.Add(x.pause), false
	}
	v.mu.Unlock()
	v.onDamaged(d)
	v.notifyRestored(over)
}

// sound notes that the batch with an offset was read after all.
func (v *verdicts) sound(at place, offset int64) {
	v.mu.Lock()
	var over []string
	of := v.byPlace[at]
	if i := slices.IndexFunc(of, func(x *verdict) bool { return x.First <= offset && offset <= x.Last }); i >= 0 {
		over = v.removeLocked(at, of[i])
	}
	v.mu.Unlock()
	v.notifyRestored(over)
}

// forget drops the verdicts about an object.
func (v *verdicts) forget(object string) {
	v.mu.Lock()
	var over []string
	for at, of := range v.byPlace {
		if at.object != object {
			continue
		}
		for _, x := range slices.Clone(of) {
			over = append(over, v.removeLocked(at, x)...)
		}
	}
	v.mu.Unlock()
	v.notifyRestored(over)
}

func (v *verdicts) notifyRestored(objects []string) {
	for _, object := range objects {
		v.onRestored(object)
	}
}

// removeLocked forgets a verdict. It returns the object if it was the last verdict about
// that object.
func (v *verdicts) removeLocked(at place, x *verdict) (over []string) {
	v.n.Add(-1)
	left := slices.DeleteFunc(v.byPlace[at], func(other *verdict) bool { return other == x })
	if v.byPlace[at] = left; len(left) == 0 {
		delete(v.byPlace, at)
	}
	for other := range v.byPlace {
		if other.object == at.object {
			return nil
		}
	}
	return []string{at.object}
}

// makeRoomLocked forgets the verdicts that no reader asks for any more. If there is no
// room then, it forgets the one that was asked for longest ago.
func (v *verdicts) makeRoomLocked(now time.Time) (over []string) {
	type placed struct {
		at place
		*verdict
	}
	var oldest placed
	var idle []placed
	for at, of := range v.byPlace {
		for _, x := range of {
			switch {
			case now.Sub(x.asked) >= verdictIdle:
				idle = append(idle, placed{at, x})
			case oldest.verdict == nil || x.asked.Before(oldest.asked):
				oldest = placed{at, x}
			}
		}
	}
	if len(idle) == 0 && v.n.Load() >= maxVerdicts {
		idle = append(idle, oldest)
	}
	for _, x := range idle {
		over = append(over, v.removeLocked(x.at, x.verdict)...)
	}
	return over
}

// sweep forgets the verdicts that no reader asks for any more.
func (v *verdicts) sweep() {
	v.mu.Lock()
	over := v.makeRoomLocked(v.now())
	v.mu.Unlock()
	v.notifyRestored(over)
}

// DamagedReads returns how many reads ended at damaged or missing records.
func (r *Reader) DamagedReads() int64 { return r.verdicts.errors.Load() }

// Damaged returns how many stretches of records are known to be damaged.
func (r *Reader) Damaged() int {
	r.verdicts.sweep()
	return int(r.verdicts.n.Load())
}

// isDamage reports whether err is about damaged or missing objects.
func isDamage(err error) bool { return errors.Is(err, ErrStorage) }
