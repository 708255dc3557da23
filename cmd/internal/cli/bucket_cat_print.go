package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"github.com/varvelog/varve/fetch/offline"
	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/partlog"
)

// catBytes is about how much output a partition makes ready at once.
const catBytes = 256 << 10

// errEnoughPrinted ends the reading when enough was printed.
var errEnoughPrinted = errors.New("enough was printed")

// catPrinter prints the records of partitions, several of which are read at once.
type catPrinter struct {
	bucket *offline.Bucket
	opt    *catOptions
	env    *Env
	format format
	topic  string
	pieces chan catPiece
	shown  progress
	done   atomic.Int64 // records
	bytes  atomic.Int64
}

// catPiece is output of one partition.
type catPiece struct {
	text []byte
	ends []int  // of the records in text
	note string // about records that were skipped after text
}

// run prints the parts of the partitions.
func (p *catPrinter) run(ctx context.Context, keys []partlog.Key, parts []span) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	work, working := errgroup.WithContext(ctx)
	work.SetLimit(p.opt.parallel + 1)
	work.Go(func() error {
		for i, k := range keys {
			if parts[i].next < parts[i].end {
				work.Go(func() error { return p.partition(working, k, parts[i]) })
			}
		}
		return nil
	})
	read := make(chan error, 1)
	go func() {
		read <- work.Wait()
		close(p.pieces)
	}()
	err := p.write()
	cancel()
	for range p.pieces { // so that no partition waits
	}
	if readErr := <-read; err == nil {
		return readErr
	}
	if errors.Is(err, errEnoughPrinted) {
		return nil
	}
	return err
}

// write writes the pieces as they come.
func (p *catPrinter) write() error {
	out := bufio.NewWriterSize(p.env.Stdout, outputBuffer)
	meter := newMeter(p.env, "bucket cat", p.opt.progress, func() progress {
		shown := p.shown
		shown.done, shown.bytes = p.done.Load(), p.bytes.Load()
		return shown
	})
	meter.show = p.opt.progress || meter.terminal && !isTerminal(p.env.Stdout)
	defer meter.erase()
	left := p.opt.print.max
	for piece := range p.pieces {
		text, n := piece.text, len(piece.ends)
		if p.opt.print.max > 0 && int64(n) >= left {
			n = int(left)
			text = text[:piece.ends[n-1]]
		}
		if _, err := out.Write(text); err != nil {
			return err
		}
		p.done.Add(int64(n))
		p.bytes.Add(int64(len(text)))
		if left -= int64(n); p.opt.print.max > 0 && left == 0 {
			return errors.Join(out.Flush(), errEnoughPrinted)
		}
		if piece.note != "" {
			meter.note("%s", piece.note)
		}
		meter.tick(time.Now())
	}
	return out.Flush()
}

// partition makes the output of one partition.
func (p *catPrinter) partition(ctx context.Context, k partlog.Key, s span) error {
	c := catPartition{catPrinter: p, span: s, record: kgo.Record{Topic: p.topic, Partition: k.Index}}
	err := p.bucket.Read(ctx, k, s.next, s.end, func(h batch.Header, b []byte) error { return c.batch(ctx, h, b) })
	if sendErr := c.send(ctx, ""); err == nil {
		return sendErr
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fmt.Errorf("%s/%d: %w", p.topic, k.Index, err)
}

// catPartition is the output of a partition that is not sent yet.
type catPartition struct {
	*catPrinter
	span
	record  kgo.Record // used again
	headers []kgo.RecordHeader
	piece   catPiece
}

// batch adds the records of a batch.
func (c *catPartition) batch(ctx context.Context, h batch.Header, b []byte) error {
	if h.Control() {
		return nil
	}
	sound := len(c.piece.ends)
	err := batch.Records(b, maxRecordSize, func(r batch.Record) bool {
		if r.Offset >= c.next && r.Offset < c.end {
			c.add(r)
		}
		return true
	})
	if err != nil {
		if sound > 0 {
			c.piece.text = c.piece.text[:c.piece.ends[sound-1]]
		} else {
			c.piece.text = nil
		}
		c.piece.ends = c.piece.ends[:sound]
		bad := undecodable{topic: c.topic, partition: c.record.Partition, first: max(h.BaseOffset, c.next), last: min(h.LastOffset(), c.end-1), err: err}
		if !c.opt.print.skipBad {
			return refuse(&bad)
		}
		return c.send(ctx, "skipped: "+bad.Error())
	}
	if len(c.piece.text) < catBytes {
		return nil
	}
	return c.send(ctx, "")
}

func (c *catPartition) add(r batch.Record) {
	c.record.Offset, c.record.Timestamp, c.record.Key, c.record.Value = r.Offset, time.UnixMilli(r.Timestamp), r.Key, r.Value
	c.headers = c.headers[:0]
	for key, value := range r.Headers.All() {
		c.headers = append(c.headers, kgo.RecordHeader{Key: string(key), Value: value})
	}
	c.record.Headers = c.headers
	c.piece.text = c.format(c.piece.text, &c.record)
	c.piece.ends = append(c.piece.ends, len(c.piece.text))
}

// send hands the output to the writer.
func (c *catPartition) send(ctx context.Context, note string) error {
	piece := c.piece
	piece.note = note
	if len(piece.ends) == 0 && note == "" {
		return nil
	}
	c.piece = catPiece{text: make([]byte, 0, cap(piece.text)), ends: make([]int, 0, cap(piece.ends))}
	select {
	case c.pieces <- piece:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
