package merge

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// Ranges of a merged segment are read in one piece of up to readBytes, if no more than
// gapBytes between two of them are not needed.
const (
	readBytes = 8 * mib
	gapBytes  = 64 * kib
)

// source is a merged extent that a job reads.
type source struct {
	part *gathered
	at   int // which of the part's extents
	e    partlog.Extent
}

// pieces reads the merged extents of a job. Each segment is read from its beginning to its
// end, so partitions are not read one by one. A piece with a source that cannot be read is
// left out.
func (g *gatherer) pieces(ctx context.Context) error {
	var sources []source
	for i := range g.job.Pieces {
		x := &g.job.Pieces[i]
		topic, known := g.x.opt.Topic(x.Topic)
		if !known {
			continue
		}
		n := len(x.Extents)
		p := &gathered{
			Key: x.Key, topic: topic, start: x.Start, from: x.Extents[0].Base, to: x.Extents[n-1].Last + 1,
			data: x.Extents[0].Base, chunks: make([]chunk, n),
		}
		g.parts = append(g.parts, p)
		for at, e := range x.Extents {
			sources = append(sources, source{p, at, e})
			if e.Object.Own() {
				p.replaced = append(p.replaced, e)
			}
		}
	}
	slices.SortFunc(sources, func(a, b source) int {
		return cmp.Or(slices.Compare(a.e.Object.Object[:], b.e.Object.Object[:]), cmp.Compare(a.e.Position, b.e.Position))
	})
	for len(sources) > 0 {
		n := together(sources)
		if err := g.stretch(ctx, sources[:n]); err != nil {
			return err
		}
		sources = sources[n:]
	}
	g.parts = slices.DeleteFunc(g.parts, func(p *gathered) bool { return p.stopped })
	for _, p := range g.parts {
		p.chunks = slices.DeleteFunc(p.chunks, func(c chunk) bool { return c.length == 0 })
	}
	return nil
}

// together returns how many sources are read in one piece.
func together(sources []source) int {
	first := &sources[0].e
	for i := 1; i < len(sources); i++ {
		e, before := &sources[i].e, &sources[i-1].e
		if e.Object != first.Object || int64(e.Position)-end(before) > gapBytes || end(e)-int64(first.Position) > readBytes {
			return i
		}
	}
	return len(sources)
}

func end(e *partlog.Extent) int64 { return int64(e.Position) + int64(e.Length) }

// stretch reads the bytes of adjacent sources, and takes them.
func (g *gatherer) stretch(ctx context.Context, sources []source) error {
	first, last := &sources[0].e, &sources[len(sources)-1].e
	length := end(last) - int64(first.Position)
	b, err := g.x.part(ctx, first.Object, int64(first.Position), length)
	if err != nil && !errors.Is(err, errSource) {
		return err
	}
	again := false // damage may have happened on the way
	for i := range sources {
		s := &sources[i]
		if s.part.stopped {
			continue
		}
		sourceErr := err
		if err == nil {
			sourceErr = g.takeSource(ctx, s, b[s.e.Position-first.Position:][:s.e.Length])
		}
		if errors.Is(sourceErr, errSource) && err == nil && !again {
			again = true
			if b, err = g.x.part(ctx, first.Object, int64(first.Position), length); err != nil && !errors.Is(err, errSource) {
				return err
			}
			if sourceErr = err; err == nil {
				sourceErr = g.takeSource(ctx, s, b[s.e.Position-first.Position:][:s.e.Length])
			}
		}
		switch {
		case sourceErr == nil:
			g.x.sound(s.part.Key, &s.e)
		case errors.Is(sourceErr, errSource):
			s.part.stopped = true
			g.x.suspects.failed(s.part.Key, s.e.Base, g.x.opt.Clock.Now())
			g.x.opt.OnDamage(s.part.Key, s.e, sourceErr)
		default:
			return sourceErr
		}
	}
	g.read += length
	return g.x.opt.Pace(ctx, length)
}

func (g *gatherer) takeSource(ctx context.Context, s *source, b []byte) (err error) {
	s.part.chunks[s.at], err = g.take(ctx, s.part, &s.e, b, s.e.SourceMs)
	return err
}

// part reads a part of a merged segment.
func (x *Executor) part(ctx context.Context, name segment.Name, position, length int64) (b []byte, err error) {
	err = x.get(ctx, func() (err error) {
		b, err = objstore.ReadRange(ctx, x.opt.Store, name.Key(), position, length)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read %d bytes of %s: %w", length, name.Key(), err)
	}
	x.count.read(length)
	return b, nil
}
