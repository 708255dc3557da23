package replicate

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"

	"github.com/varvelog/varve/fetch/offline"
	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/restore"
	"github.com/varvelog/varve/tiering/segment"
)

// This file decides which objects a copy consists of.

// object is one of the plan.
type object struct {
	key      string
	size     int64 // about; 0 if it is not known
	sum      [sha256.Size]byte
	optional bool // nothing names it: it may be gone
}

// check returns why the bytes of an object are not sound.
func (o *object) check(b []byte) error {
	_, merged := segment.ParseMergedKey(o.key)
	switch {
	case merged:
		if sum := sha256.Sum256(b); sum != o.sum {
			return fmt.Errorf("%w: SHA-256 %x, the state says %x", segment.ErrCorrupt, sum, o.sum)
		}
		return nil
	case strings.Contains(o.key, "/checkpoints/"):
		_, err := segment.DecodeBlob(segment.KindCheckpoint, b)
		return err
	case strings.Contains(o.key, "/index/"):
		_, err := segment.DecodeBlob(segment.KindIndex, b)
		return err
	case strings.Contains(o.key, "/floors/"):
		_, err := segment.DecodeFloor(b)
		return err
	case strings.HasPrefix(o.key, segment.TopicsPrefix):
		return nil
	}
	_, err := segment.Decode(b)
	return err
}

// plan is all objects of a copy, and those of them that the target lacks.
type plan struct {
	objects, bytes int64
	missing        []object // without the cluster object, which is copied last
	first          bool     // the target lacks that, too
	heads          map[uint32]uint64
}

func (p *plan) result(number uint64) *Result {
	r := &Result{Number: number, Objects: p.objects + 1, Bytes: p.bytes, Heads: p.heads} // with the cluster object
	r.Copied = int64(len(p.missing)) + p.cluster()
	for _, o := range p.missing {
		r.Written += o.size
	}
	return r
}

// cluster is how many cluster objects are to be copied.
func (p *plan) cluster() int64 {
	if p.first {
		return 1
	}
	return 0
}

// add adds an object.
func (p *plan) add(o object, there bool) {
	p.objects++
	p.bytes += o.size
	if !there {
		p.missing = append(p.missing, o)
	}
}

// plan proves the heads, and decides. The floors are read before that: each was planned by
// an entry of its journal, which the copy must have. A floor that came later may even lie
// above the head of the copy.
func (c *Copier) plan(ctx context.Context) (*plan, error) {
	c.doing("proving the heads", 0, 0)
	journals := append([]uint32{0}, c.opt.Bucket.Topics.Journals()...)
	floors := make([]floorsOf, len(journals))
	for i, id := range journals {
		var err error
		if floors[i], err = c.floors(ctx, id); err != nil {
			return nil, err
		}
	}
	if err := c.opt.Bucket.ProveWhole(ctx); err != nil {
		return nil, err
	}
	p := &plan{heads: map[uint32]uint64{}}
	target := map[string]struct{}{}
	c.doing("listing the target", 0, 0)
	err := c.opt.Target.List(ctx, "", "", func(i objstore.Info) error {
		target[i.Key] = struct{}{}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list the target: %w", err)
	}
	there := func(key string) bool { _, ok := target[key]; return ok }
	c.doing("listing the source", 0, 0)
	for i, id := range journals {
		if err := c.planJournal(ctx, p, id, floors[i], there); err != nil {
			return nil, err
		}
	}
	if err := p.checkTarget(target); err != nil {
		return nil, err
	}
	err = c.opt.Source.List(ctx, segment.TopicsPrefix, "", func(i objstore.Info) error {
		if _, ok := segment.ParseTopicNameKey(i.Key); ok {
			p.add(object{key: i.Key, size: i.Size}, there(i.Key))
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list the source: %w", err)
	}
	var bytes int64
	for _, o := range p.missing {
		bytes += o.size
	}
	p.first = !there(segment.ClusterKey)
	c.doing("copying", c.copied.Load()+int64(len(p.missing))+p.cluster(), c.written.Load()+bytes)
	return p, nil
}

// checkTarget holds the heads against the keys of the target: a source that ends before its
// own copy has lost its end.
func (p *plan) checkTarget(target map[string]struct{}) error {
	for key := range target {
		for id, head := range p.heads {
			if seq, ok := segment.ParseJournalKey(id, key); ok && seq > head {
				return fmt.Errorf("%w: journal %d of the source ends at seq %d, and the copy has %s", offline.ErrCutOff, id, head, key)
			}
		}
	}
	return nil
}

// planJournal plans the objects of a journal up to its head, and the merged segments that
// its state names.
func (c *Copier) planJournal(ctx context.Context, p *plan, id uint32, floors floorsOf, there func(string) bool) error {
	head, err := c.planMerged(ctx, p, id, there)
	if err != nil {
		return err
	}
	p.heads[id] = head
	if state := c.opt.Bucket.State(id); state != nil {
		first, err := restore.FirstNeeded(ctx, c.opt.Source, state)
		if err != nil {
			return err
		}
		floors.base = min(floors.base, first)
	}
	next := floors.base
	err = c.opt.Source.List(ctx, segment.JournalPrefix(id), "", func(i objstore.Info) error {
		o := object{key: i.Key, size: i.Size}
		seq, isSeq := segment.ParseJournalKey(id, i.Key)
		at, isCheckpoint := segment.ParseCheckpointKey(id, i.Key)
		n, isFloor := segment.ParseFloorKey(id, i.Key)
		name, isIndex := segment.ParseIndexKey(id, i.Key)
		switch {
		case isSeq && seq > head, isCheckpoint && at.Seq > head, isFloor && n > floors.n, isIndex && name.Seq > head:
			return nil // later than the copy
		case isSeq:
			for ; next >= floors.base && next < seq; next++ { // a listing may lack objects
				p.add(object{key: segment.JournalKey(id, next)}, there(segment.JournalKey(id, next)))
			}
			next = max(next, seq+1)
			o.optional = seq < floors.base
		case isCheckpoint, isIndex:
			o.optional = !floors.named[i.Key]
			delete(floors.named, i.Key)
		case !isFloor:
			return nil // no object of varve's
		}
		p.add(o, there(i.Key))
		return nil
	})
	if err != nil {
		return fmt.Errorf("list journal %d of the source: %w", id, err)
	}
	for ; next <= head; next++ {
		p.add(object{key: segment.JournalKey(id, next)}, there(segment.JournalKey(id, next)))
	}
	for key := range floors.named { // not listed
		p.add(object{key: key}, there(key))
	}
	return nil
}

// planMerged plans the merged segments of a journal's state, and returns its head. Both
// are of one moment.
func (c *Copier) planMerged(ctx context.Context, p *plan, id uint32, there func(string) bool) (uint64, error) {
	if id == 0 {
		return c.opt.Bucket.Topics.Head(), nil
	}
	for range tries {
		state := c.opt.Bucket.State(id)
		if state == nil {
			return 0, fmt.Errorf("journal %d is not read", id)
		}
		head := state.Head()
		seen := map[segment.Name]object{}
		err := c.opt.Bucket.Segments(ctx, id, func(e *partlog.Extent) {
			seen[e.Object] = object{key: e.Object.Key(), size: int64(e.Size), sum: e.SHA256}
		})
		if err != nil {
			return 0, err
		}
		if state.Head() != head || c.opt.Bucket.State(id) != state {
			continue
		}
		for _, o := range seen {
			p.add(o, there(o.key))
		}
		return head, nil
	}
	return 0, fmt.Errorf("the state of journal %d does not stand still", id)
}

// floorsOf are the floors of a journal that a copy has.
type floorsOf struct {
	n    uint64 // number of the last one
	base uint64 // all objects from there on must be there
	// named are the keys of the checkpoints of the last two, and of the index objects, with
	// their copies, that these name.
	named map[string]bool
}

// floors reads the floors of a journal.
func (c *Copier) floors(ctx context.Context, id uint32) (f floorsOf, err error) {
	f.named = map[string]bool{}
	var last []segment.Floor
	for {
		b, err := c.opt.Source.Get(ctx, segment.FloorKey(id, f.n+1))
		if errors.Is(err, objstore.ErrNotFound) {
			break
		}
		var floor segment.Floor
		if err == nil {
			floor, err = segment.DecodeFloor(b)
		}
		if err != nil {
			return f, fmt.Errorf("floor %d of journal %d: %w", f.n+1, id, err)
		}
		f.n++
		last = append(last, floor)
		last = last[max(0, len(last)-2):]
	}
	f.base = 1
	if len(last) == 2 {
		f.base = last[0].Floor
	}
	chain := journal.NewChain(c.cluster, id, int(c.opt.Bucket.Cluster.Window))
	for _, floor := range last {
		f.named[floor.Checkpoint] = true
		b, err := c.opt.Source.Get(ctx, floor.Checkpoint)
		var checkpoint *journal.Checkpoint
		if err == nil {
			checkpoint, err = journal.OpenCheckpoint(chain, floor.Checkpoint, b)
		}
		if err == nil && id != 0 {
			err = nameIndexes(id, checkpoint.State, f.named)
		}
		if errors.Is(err, objstore.ErrNotFound) {
			return f, fmt.Errorf("%w: %s: the floor has moved", errGone, floor.Checkpoint)
		}
		if err != nil {
			return f, fmt.Errorf("checkpoint of floor %d of journal %d: %w", floor.N, id, err)
		}
	}
	return f, nil
}

// nameIndexes adds the keys of the index objects that a state names.
func nameIndexes(id uint32, state []byte, named map[string]bool) error {
	pages, producers, err := partlog.DecodeNames(id, state)
	if err != nil {
		return err
	}
	for _, of := range pages {
		for _, name := range of[0].Copies() {
			named[name.Key()] = true
		}
	}
	for _, p := range producers {
		for _, name := range p.Copies() {
			named[name.Key()] = true
		}
	}
	return nil
}
