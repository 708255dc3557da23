package merge

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// Objects of the journal are read ahead, so many and so many bytes of ranges at once; one if
// the job does not hurry.
const (
	aheadObjects = 8
	aheadBytes   = 16 * mib
)

// journal reads ranges of the journal, object by object, until the job is full.
func (g *gatherer) journal(ctx context.Context) error {
	c := newCursors(&g.x.opt, len(g.job.Ranges))
	for i := range g.job.Ranges {
		x := &g.job.Ranges[i]
		topic, known := g.x.opt.Topic(x.Topic)
		if !known {
			continue
		}
		p := &gathered{Key: x.Key, topic: topic, start: x.Start, source: x.Deleted}
		g.parts = append(g.parts, p)
		if err := c.add(ctx, p, max(x.Start, x.From), x.Stable); err != nil {
			return err
		}
	}
	loads := g.x.newLoads(ctx)
	defer loads.end()
	next, err := g.ahead(ctx, c, loads)
	for err == nil && len(next) > 0 {
		now := next
		if next, err = g.ahead(ctx, c, loads); err != nil {
			return err
		}
		for _, l := range now {
			if err := g.ranges(ctx, l); err != nil {
				return err
			}
		}
	}
	return err
}

// ahead begins to read the next objects.
func (g *gatherer) ahead(ctx context.Context, c *cursors, loads *loads) (next []*load, err error) {
	most := 1
	if g.x.opt.Hurry() {
		most = aheadObjects
	}
	for bytes := int64(0); len(next) < most && bytes < aheadBytes; {
		if g.full() {
			break
		}
		r, ok, err := c.pop(ctx)
		if err != nil || !ok {
			return next, err
		}
		g.read += r.bytes
		bytes += r.bytes
		next = append(next, loads.begin(r))
	}
	return next, nil
}

// ranges takes the ranges of one object, once they are read.
func (g *gatherer) ranges(ctx context.Context, l *load) error {
	object, err := l.wait()
	defer func() { object.release() }()
	if err != nil && !errors.Is(err, errSource) {
		return err
	}
	again := false // damage may have happened on the way
	for i, p := range l.parts {
		rangeErr := err
		if rangeErr == nil {
			rangeErr = g.takeRange(ctx, l, i, object)
		}
		if errors.Is(rangeErr, errSource) && err == nil && !again && object.fromStore {
			again = true
			object.release()
			if object, err = g.x.object(ctx, l.seq); err != nil && !errors.Is(err, errSource) {
				return err
			}
			if rangeErr = err; err == nil {
				rangeErr = g.takeRange(ctx, l, i, object)
			}
		}
		switch {
		case rangeErr == nil:
			g.x.sound(p.Key, &l.of[i])
		case errors.Is(rangeErr, errSource):
			g.missing(l, i, rangeErr)
		default:
			return rangeErr
		}
	}
	return g.x.opt.Pace(ctx, l.bytes)
}

// takeRange takes the range of the i-th partition. That of a partition which waits for an
// earlier source is only looked at.
func (g *gatherer) takeRange(ctx context.Context, l *load, i int, o object) error {
	p, e := l.parts[i], &l.of[i]
	end := uint64(e.Position) + uint64(e.Length)
	if end > uint64(len(o.bytes)) {
		return fmt.Errorf("%w: %s has %d bytes, its records end at %d", errSource, e.Object.Key(), len(o.bytes), end)
	}
	b := o.bytes[e.Position:end]
	if p.stopped {
		return g.check(e, b)
	}
	c, err := g.take(ctx, p, e, b, o.builtMs)
	if err != nil {
		return err
	}
	if c.length > 0 {
		p.chunks = append(p.chunks, c)
	}
	p.covers(e)
	return nil
}

// covers notes that the next range of the journal is in the job.
func (p *gathered) covers(e *partlog.Extent) {
	if p.from == p.to {
		p.from, p.data = e.Base, e.Base
	}
	p.to, p.source = e.Last+1, p.source+int64(e.Length)
}

// missing follows a range that cannot be read. The partition waits for it, unless it has
// waited for long: then the range stays as it is, at the begin of a job's part.
func (g *gatherer) missing(l *load, i int, err error) {
	p, e, now := l.parts[i], &l.of[i], g.x.opt.Clock.Now()
	givenUp := g.x.suspects.failed(p.Key, e.Base, now)
	g.x.opt.OnDamage(p.Key, *e, err)
	switch {
	case p.stopped:
	case givenUp && len(p.chunks) == 0:
		p.covers(e)
		p.damage, p.data = append(p.damage, *e), e.Last+1
		g.x.count.damaged.Add(1)
	default:
		p.stopped = true
		if !givenUp {
			g.x.suspects.hold(p.Key, now)
		}
	}
}

// object is a journal object in memory.
type object struct {
	bytes     []byte
	builtMs   int64
	fromStore bool
	free      func()
}

func (o *object) release() {
	if o.free != nil {
		o.free()
	}
	o.free = nil
}

// object reads an object of the journal, from the memory of its leader if that has it.
func (x *Executor) object(ctx context.Context, seq uint64) (o object, err error) {
	name := segment.DataObject(x.opt.Journal, seq)
	if b, release, ok := x.opt.Memory(name); ok {
		o = object{bytes: b, free: release}
	} else {
		err := x.get(ctx, func() (err error) {
			o.bytes, err = x.opt.Store.Get(ctx, name.Key())
			return err
		})
		if err != nil {
			return o, fmt.Errorf("read %s: %w", name.Key(), err)
		}
		o.fromStore = true
		x.count.read(int64(len(o.bytes)))
	}
	h, err := segment.DecodeHeader(o.bytes)
	if err == nil && (h.Kind != segment.KindData || h.Cluster != x.opt.Cluster || h.Journal != x.opt.Journal || h.Seq != seq) {
		err = fmt.Errorf("it is object %d of journal %d, of kind %d", h.Seq, h.Journal, h.Kind)
	}
	if err != nil {
		o.release()
		return object{}, fmt.Errorf("%w: header of %s: %w", errSource, name.Key(), err)
	}
	o.builtMs = h.BuiltMs
	return o, nil
}

// missingPause is how long after a missing object it is asked for again.
const missingPause = time.Second
