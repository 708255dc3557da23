package merge

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math"
	"sync/atomic"
	"time"

	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/segment"
	"github.com/varvelog/varve/tiering/segment/readback"
)

// written is an output as it lies on disk.
type written struct {
	file    File
	merged  segment.Merged
	builtMs int64
	holders atomic.Int64 // the job, and uploads that may still read the file
}

// write writes an output to disk.
func (x *Executor) write(o *output, job segment.ID, from *spool) (w *written, err error) {
	w = &written{builtMs: x.opt.Clock.Now().UnixMilli()}
	w.holders.Store(1)
	if w.file, err = x.opt.Disk.Create("output-" + o.name.Object.String()); err != nil {
		return nil, err
	}
	if err := x.fill(w, o, job, from); err != nil {
		return nil, errors.Join(err, w.file.Remove())
	}
	return w, nil
}

func (x *Executor) fill(w *written, o *output, job segment.ID, from *spool) error {
	disk := bufio.NewWriterSize(w.file, 1<<20)
	m, err := segment.NewMergedWriter(disk, segment.MergedHeader{
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
			if room, err = from.read(&p.chunks[j], room); err != nil {
				return err
			}
			if err := appendBatches(m, room, p.chunks[j].wrongTimes); err != nil {
				return err
			}
		}
		if _, err := m.End(); err != nil {
			return err
		}
	}
	if w.merged, err = m.Close(); err != nil {
		return err
	}
	return disk.Flush()
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

// release ends the use of one holder. The last one removes the file; if that fails, the
// next start does it.
func (w *written) release() {
	if w.holders.Add(-1) == 0 {
		_ = w.file.Remove()
	}
}

// uploads are how often an output is sent before the job gives up.
const uploads = 5

// upload stores an output. A second sending has the same bytes, so it does not matter which
// one lands (tiering/journal/PROTOCOL.md, rule 18).
func (x *Executor) upload(ctx context.Context, o *output, w *written) error {
	if o.name.Own() {
		if err := x.name(ctx, &o.parts[0]); err != nil {
			return err
		}
	}
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
	w.holders.Add(1)
	x.count.writes.Add(1)
	x.count.writtenBytes.Add(w.merged.Size)
	source := x.steady(ctx, w.file)
	err := x.opt.Store.Create(ctx, key, objstore.Body{
		Source: source, Length: w.merged.Size, CRC: w.merged.CRC32C, CRCKnown: true, Release: w.release,
	})
	return errors.Join(err, source.settle())
}

// name stores the name of a topic, once, next to its own segments.
func (x *Executor) name(ctx context.Context, p *outputPart) error {
	if x.named[p.Topic] {
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
