package merge

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/segment"
	"github.com/varvelog/varve/tiering/segment/readback"
)

// written is an output before it is in the store.
type written struct {
	image
	merged  segment.Merged
	builtMs int64
}

// write lays out the bytes of an output, whose batches stay in the spool.
func (x *Executor) write(o *output, job segment.ID, from *spool) (*written, error) {
	w := &written{image: image{spool: from, next: inMemory}, builtMs: x.opt.Clock.Now().UnixMilli()}
	return w, x.fill(w, o, job)
}

func (x *Executor) fill(w *written, o *output, job segment.ID) error {
	m, err := segment.NewMergedWriter(w, segment.MergedHeader{
		Name: o.name, Journal: x.opt.Journal, Cluster: x.opt.Cluster, Job: job,
		Node: x.opt.Node, Incarnation: x.opt.Incarnation, BuiltMs: w.builtMs,
	})
	if err != nil {
		return err
	}
	var room []byte
	for i := range o.parts {
		p := &o.parts[i]
		if err := m.Begin(segment.MergedPart{Topic: p.Topic, Index: p.Index, TopicName: p.topic.Name, From: p.from, To: p.to, SourceMs: p.sourceMs}); err != nil {
			return err
		}
		for j := range p.chunks {
			if room, err = w.spool.read(&p.chunks[j], room); err != nil {
				return err
			}
			w.next = p.chunks[j].position
			if err := appendBatches(m, room, p.chunks[j].wrongTimes); err != nil {
				return err
			}
			w.next = inMemory
		}
		if _, err := m.End(); err != nil {
			return err
		}
	}
	w.merged, err = m.Close()
	return err
}

// appendBatches writes the batches that lie back to back in b. Blocks have the greatest
// timestamp of their records; where that of a batch may be another one, it is looked for.
func appendBatches(m *segment.MergedWriter, b []byte, wrongTimes bool) error {
	return batch.Walk(b, func(pos int, h batch.Header) error {
		whole := b[pos : pos+h.Size()]
		if h.UpTo() != math.MaxInt64 && !wrongTimes {
			return m.Append(whole, nil)
		}
		newest := batch.Header{MaxTimestamp: -1}
		err := batch.Records(whole, batch.MaxStoredRecord, func(r batch.Record) bool {
			newest.MaxTimestamp = max(newest.MaxTimestamp, r.Timestamp)
			return true
		})
		if err != nil {
			newest.MaxTimestamp = readback.Unknown
		}
		return m.Append(whole, &newest)
	})
}

// uploads are how often an output is sent before the job gives up.
const uploads = 5

// upload stores an output. A second sending has the same bytes, so it does not matter which
// one lands (tiering/journal/PROTOCOL.md, rule 18).
func (x *Executor) upload(ctx context.Context, o *output, w *written) error {
	pause := time.Second
	for n := 1; ; n++ {
		err := x.create(ctx, o.name.Key(), w)
		if err == nil || errors.Is(err, objstore.ErrExists) {
			return nil // it is read back
		}
		if n == uploads || ctx.Err() != nil {
			return fmt.Errorf("upload %s: %w", o.name.Key(), err)
		}
		if err := x.opt.Clock.Sleep(ctx, pause); err != nil {
			return err
		}
		pause *= 2
	}
}

func (x *Executor) create(ctx context.Context, key string, w *written) error {
	w.spool.hold()
	x.count.writes.Add(1)
	x.count.writtenBytes.Add(w.merged.Size)
	source := x.steady(ctx, w)
	err := x.opt.Store.Create(ctx, key, objstore.Body{
		Source: source, Length: w.merged.Size, CRC: w.merged.CRC32C, CRCKnown: true,
		Release: func() { _ = w.spool.release() }, // the next start removes a file that stays
	})
	return errors.Join(err, source.settle())
}

// name stores the name of a topic, once, next to its own segments.
func (x *Executor) name(ctx context.Context, o *output) error {
	p := &o.parts[0]
	if !o.name.Own() || x.named[p.Topic] {
		return nil
	}
	b, err := segment.EncodeTopicName(segment.TopicName{Cluster: x.opt.Cluster, Topic: p.Topic, Name: p.topic.Name})
	if err != nil {
		return err
	}
	key := segment.TopicNameKey(p.Topic)
	if err := x.opt.Store.Create(ctx, key, objstore.Plain(b)); err != nil && !errors.Is(err, objstore.ErrExists) {
		return fmt.Errorf("store %s: %w", key, err)
	}
	x.named[p.Topic] = true
	return nil
}
