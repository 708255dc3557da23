package merge

import (
	"context"
	"errors"
	"fmt"

	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// commit makes the outputs of a job from the spool, and puts them in place of their sources.
func (x *Executor) commit(ctx context.Context, g *gatherer) (done bool, err error) {
	c := &committing{x: x, id: x.opt.NewID()}
	outputs := arrange(g.parts, g.job.Own, g.sharedBytes(), x.cfg.ObjectBytes)
	for _, p := range g.parts {
		if len(p.chunks) == 0 && len(p.damage) > 0 {
			c.results = append(c.results, p.result(p.from, p.data, nil))
		}
	}
	if len(outputs)+len(c.results) == 0 {
		return false, nil
	}
	outputs = outputs[:min(len(outputs), partlog.MaxIntentObjects)]
	// tiering/journal/PROTOCOL.md, rule 16: the state knows of every object before its first byte is sent.
	if err := c.carry(ctx, []segment.Entry{c.intent(outputs)}); err != nil {
		return false, fmt.Errorf("commit intent: %w", err)
	}
	x.count.intents.Add(1)
	c.log("intent committed", "objects", len(outputs))
	if err := c.make(ctx, g, outputs); err != nil {
		return false, c.abandon(ctx, err)
	}
	if g.job.Level == compaction {
		c.results = []partlog.ResultPart{c.joined(g.parts[0])}
	}
	if err := c.finish(ctx); err != nil {
		return false, c.abandon(ctx, err)
	}
	x.matched(outputs)
	return true, nil
}

// intent names the outputs.
func (c *committing) intent(outputs []output) segment.Entry {
	intent := partlog.Intent{Job: c.id}
	for i := range outputs {
		o := &outputs[i]
		o.name = segment.SharedSegment(c.x.opt.Journal, c.x.opt.NewID())
		if p := &o.parts[0]; o.own {
			o.name = segment.OwnSegment(p.Topic, p.Index, p.from, o.name.Object)
		}
		intent.Objects = append(intent.Objects, o.name)
	}
	if len(outputs) == 0 { // all sources are damaged: an intent has at least one id
		intent.Objects = append(intent.Objects, segment.SharedSegment(c.x.opt.Journal, c.x.opt.NewID()))
	}
	return intent.Encode()
}

// carry commits entries that the state would take. Entries that contradict it would end
// the journal for all nodes.
func (c *committing) carry(ctx context.Context, entries []segment.Entry) error {
	if err := c.x.opt.State.Try(entries); err != nil {
		return err
	}
	return c.x.opt.Carry(ctx, entries)
}

// committing is the part of a job from its intent on.
type committing struct {
	x       *Executor
	id      segment.ID           // of the job
	results []partlog.ResultPart // not committed yet
}

// finish commits the results. The last one ends the intent.
func (c *committing) finish(ctx context.Context) error {
	var entries []segment.Entry
	size := 0
	for len(c.results) > 0 {
		n := rising(c.results)
		r := partlog.Result{Job: c.id, Last: n == len(c.results), Parts: c.results[:n]}
		c.results = c.results[n:]
		e := r.Encode()
		if size += len(e.Payload); size > carryBytes && len(entries) > 0 {
			if err := c.carryResults(ctx, entries); err != nil {
				return err
			}
			entries, size = nil, len(e.Payload)
		}
		entries = append(entries, e)
	}
	return c.carryResults(ctx, entries)
}

func (c *committing) carryResults(ctx context.Context, entries []segment.Entry) error {
	if err := c.carry(ctx, entries); err != nil {
		return fmt.Errorf("commit results: %w", err)
	}
	c.x.count.results.Add(int64(len(entries)))
	c.log("results committed", "entries", len(entries))
	return nil
}

// carryBytes bounds the results that are carried in one object.
const carryBytes = 4 << 20

// rising returns how many results go into one entry: their keys rise.
func rising(results []partlog.ResultPart) int {
	n := 1
	for n < len(results) && n < partlog.MaxResultPartitions && results[n-1].Compare(results[n].Key) < 0 {
		n++
	}
	return n
}

// abandon ends the intent of a job that failed, unless the leadership has ended, which
// does that too.
func (c *committing) abandon(ctx context.Context, err error) error {
	if ctx.Err() != nil || errors.Is(err, journal.ErrEnded) {
		return err
	}
	if failed := c.carry(ctx, []segment.Entry{partlog.Abandon{Job: c.id}.Encode()}); failed != nil {
		return errors.Join(err, fmt.Errorf("abandon the job: %w", failed))
	}
	c.x.count.abandons.Add(1)
	c.log("abandoned", "err", err)
	return err
}

// log logs a step of the job.
func (c *committing) log(step string, attrs ...any) {
	c.x.opt.Log.Debug("tiering: "+step, append([]any{"journal", c.x.opt.Journal, "job", c.id.String()}, attrs...)...)
}

// result puts extents in place of a partition's sources from an offset up to another.
func (p *gathered) result(from, to int64, extents []partlog.Extent) partlog.ResultPart {
	r := partlog.ResultPart{Key: p.Key, From: from, To: to, Extents: extents}
	if from == p.data || len(extents) == 0 { // the first one
		r.From, r.Source = p.from, p.source
		r.Extents = append(append([]partlog.Extent(nil), p.damage...), extents...)
	}
	for _, e := range p.replaced {
		if e.Base >= r.From && e.Last < to {
			r.Replaced = append(r.Replaced, e)
		}
	}
	return r
}
