package ingest

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/varvelog/varve/testenv/sim"
	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/lost"
	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// archive is the state of the journal at its end, as a fresh reader would have it. It
// fails the world when a record of that state cannot be read from the bucket.
type archive struct {
	t     *truth
	store *sim.Store
	state *partlog.State
	read  map[partlog.Extent]bool // extents that were read and found right

	offsets   map[partlog.Extent][]int64 // the records of extents of compacted topics
	compacted func(segment.ID) bool
	name      func(segment.ID) string
	deletes   bool // the leaders delete, and not the world by itself
	expires   bool // records expire
	noGrace   bool
	rotted    bool
	deletions map[partlog.Key]uint64 // seq of the last object that deletes records
}

func newArchive(t *truth, s *sim.Store) *archive {
	a := &archive{t: t, store: s, state: partlog.New(simJournal), read: map[partlog.Extent]bool{}, deletions: map[partlog.Key]uint64{}, offsets: map[partlog.Extent][]int64{}}
	s.Removed, s.Stored = a.removed, a.stored
	return a
}

// applied follows the journal, and reads all extents that are new below M.
func (a *archive) applied(who string, o *segment.Object) {
	a.clipped(o)
	if err := a.state.Apply(o.Footer, o.Entries); err != nil {
		a.t.w.Fail("%s: seq %d does not fit the state before it: %w", who, o.Footer.Header.Seq, err)
		return
	}
	changed := false
	for _, e := range o.Entries {
		switch e.Kind {
		case partlog.EntryResult:
			changed = true
			a.t.w.Count("result applied")
		case partlog.EntryAbandon:
			a.t.w.Count("job abandoned")
		case partlog.EntryCleaned:
			a.t.w.Count("partition cleaned")
		case partlog.EntrySwept:
			if x, err := partlog.DecodeSwept(e.Payload); err == nil && x.Second {
				a.t.w.Count("second deletion")
			}
		case partlog.EntryRelease:
			a.t.w.Count("release applied")
			a.left()
		}
	}
	if changed || o.Footer.Header.Kind == segment.KindFence {
		named := map[segment.Name]bool{}
		a.state.Survey(func(s *partlog.Survey) {
			for i := range s.Segments {
				named[s.Segments[i].Object] = true
				a.check(who, s, &s.Segments[i])
			}
			if a.compacted(s.Topic) && !s.View.Dropped {
				a.checkCompacted(who, s)
			}
		})
		a.checkApart(who, named)
	}
}

// left counts dropped partitions whose objects are released.
func (a *archive) left() {
	for k, there := range a.t.dropped {
		if _, ok := a.state.Lookup(k); there && !ok {
			a.t.w.Count("dropped partition left the state")
			a.t.dropped[k] = false
		}
	}
}

// checkApart: no object that an extent names may be deleted, or may be released.
func (a *archive) checkApart(who string, named map[segment.Name]bool) {
	for _, x := range a.state.Garbage() {
		if named[x.Name] {
			a.t.w.Fail("%s: %s is garbage, and an extent names it", who, x.Name.Key())
		}
	}
	for _, x := range a.state.Unreleased() {
		if named[x.Name] {
			a.t.w.Fail("%s: %s waits for its release, and an extent names it", who, x.Name.Key())
		}
	}
}

// check reads an extent.
func (a *archive) check(who string, s *partlog.Survey, e *partlog.Extent) {
	if e.Object.Kind != segment.KindMerged || a.read[*e] || e.Last < s.View.Start || a.store.Rotten(e.Object.Key()) {
		return
	}
	a.read[*e] = true
	b := a.store.Object(e.Object.Key())
	if end := int64(e.Position) + int64(e.Length); int64(len(b)) < end || len(b) != int(e.Size) {
		a.t.w.Fail("%s: offsets %d to %d of %v are in %s, which has %d bytes of %d", who, e.Base, e.Last, s.Key, e.Object.Key(), len(b), e.Size)
		return
	}
	at := int(e.Position) + int(e.Length)
	if p, err := segment.DecodeMergedPartition(b[at : at+int(e.IndexLength)]); err != nil || p.TopicName != a.name(s.Topic) {
		a.t.w.Fail("%s: the section of %v in %s is of %+v: %v", who, s.Key, e.Object.Key(), p, err)
		return
	}
	if a.compacted(s.Topic) {
		return
	}
	a.t.same(who, s.Key, b[e.Position:e.Position+e.Length], e.Base, e.Last, s.View.Start)
}

// same compares batches with those that were acknowledged, from one offset to another.
func (t *truth) same(who string, k partlog.Key, b []byte, from, to, start int64) {
	var want []placed
	for _, p := range t.log[k] {
		if last := p.base + int64(p.a.header.LastOffsetDelta); last >= max(from, start) && p.base <= to {
			want = append(want, p)
		}
	}
	err := batch.Walk(b, func(pos int, h batch.Header) error {
		if h.LastOffset() < max(from, start) || h.BaseOffset > to {
			return nil
		}
		if len(want) == 0 || want[0].base != h.BaseOffset || content(b[pos:pos+h.Size()]) != content(want[0].a.data) {
			t.w.Fail("%s: offset %d of %v has other records than were acknowledged there", who, h.BaseOffset, k)
			return errors.New("wrong records")
		}
		want = want[1:]
		return nil
	})
	if t.w.Err() == nil && (err != nil || len(want) > 0) {
		t.w.Fail("%s: offsets %d to %d of %v lack %d batches: %v", who, from, to, k, len(want), err)
	}
}

// removed: an object is deleted at this moment.
func (a *archive) removed(key string) {
	if a.deletes {
		a.checkRemoved(key)
	}
	if name, ok := segment.ParseMergedKey(key); ok {
		a.removedSegment(name)
	} else if strings.HasPrefix(key, segment.IndexPrefix(simJournal)) {
		a.t.w.Count("page removed")
	}
	a.state.Survey(func(s *partlog.Survey) {
		for i := range s.Segments {
			if e := &s.Segments[i]; e.Object.Key() == key && e.Last >= s.View.Start {
				a.t.w.Fail("%s is deleted, and has offsets %d to %d of %v", key, e.Base, e.Last, s.Key)
			}
		}
	})
}

// removedSegment counts deletions of merged segments.
func (a *archive) removedSegment(name segment.Name) {
	a.t.w.Count("merged segment deleted")
	if a.noGrace {
		a.t.w.Count("deleted without a grace")
	}
	for _, x := range a.state.Garbage() {
		if x.Name.Object == name.Object && x.Deleted {
			a.t.w.Count("merged segment deleted twice")
		}
	}
}

// checkKnown: the state knows every merged object that is in the bucket.
func (a *archive) checkKnown() {
	known := map[segment.Name]bool{}
	a.state.Survey(func(s *partlog.Survey) {
		for i := range s.Segments {
			known[s.Segments[i].Object] = true
		}
	})
	for _, x := range a.state.Garbage() {
		known[x.Name] = true
	}
	for _, x := range a.state.Unreleased() {
		known[x.Name] = true
	}
	for _, x := range a.state.Intents() {
		for _, o := range x.Objects {
			known[o.Name] = true
		}
	}
	for _, key := range append(a.store.Keys(segment.SharedPrefix), a.store.Keys(segment.TopicsPrefix)...) {
		if topic, ok := segment.ParseTopicNameKey(key); ok {
			if n, err := segment.DecodeTopicName(a.store.Object(key)); err != nil || n.Name != a.name(topic) {
				a.t.w.Fail("%s has %+v: %v", key, n, err)
			}
			continue
		}
		name, ok := segment.ParseMergedKey(key)
		if !ok || !known[name] {
			a.t.w.Fail("%s is in the bucket, and no state knows it", key)
		}
	}
}

// read reads a record as clients do: of an extent, by the state of the consumer. A
// missing object is looked up again at a newly proved head.
func (f *consumer) read(r *sim.Routine) {
	c := f.c
	var keys []partlog.Key
	f.state.Partitions(func(k partlog.Key, v partlog.View) {
		if v.End > v.Start {
			keys = append(keys, k)
		}
	})
	if len(keys) == 0 {
		return
	}
	k := keys[c.Rand.Intn(len(keys))]
	v, _ := f.state.Lookup(k)
	offset := v.Start + c.Rand.Int63n(v.End-v.Start)
	var before segment.Name
	behind := 0
	for {
		e, ok, err := f.find(r, k, offset)
		if errors.Is(err, partlog.ErrBehind) && behind < 20 {
			c.Count("page was gone for a follower that is behind the floor")
			if behind++; !f.proved(r) {
				return
			}
			continue
		}
		if v, _ := f.state.Lookup(k); !ok || err != nil || v.Dropped {
			if lost.Is(err) && !r.Dead() && c.shape.Upkeep.Rots != rotsCheckpoint {
				c.Fail("%s: offset %d of %v is in a page that is lost: %w", f.name, offset, k, err)
			}
			return
		}
		if e.Object == before {
			c.Fail("%s: offset %d of %v is in %s at a proved head, and that is not there", f.name, offset, k, before.Key())
			return
		}
		b := make([]byte, e.Length)
		err = r.GetRange(background, e.Object.Key(), int64(e.Position), b)
		switch rotten := c.store.Rotten(e.Object.Key()); { // it may have rotted since the read began
		case rotten && (errors.Is(err, objstore.ErrNotFound) || errors.Is(err, objstore.ErrRange) || err == nil && !intact(b, &e)):
			c.Count("damage reported")
			return
		case err == nil:
			if v, ok := f.state.Lookup(k); ok {
				if c.compacted(k.Topic) {
					c.truth.found(f.name, k, b)
				} else {
					c.truth.same(f.name, k, b, offset, offset, v.Start)
				}
				c.Count(map[bool]string{true: "read a merged record", false: "read a record of the journal"}[e.Object.Kind == segment.KindMerged])
			}
			return
		case !errors.Is(err, objstore.ErrNotFound):
			return
		}
		c.Count("object was gone")
		if f.stood > c.shape.Upkeep.Grace {
			c.Count("object was gone for a follower that stood still")
		}
		before = e.Object
		if !f.proved(r) {
			return
		}
	}
}

// proved proves the head; false if that is not possible now.
func (f *consumer) proved(r *sim.Routine) bool {
	var err error
	dead := r.Wait(func(answered func()) {
		f.owner.Do(func() { f.owner.Prove(func(e error) { err = e; answered() }) })
	})
	return dead == nil && err == nil
}

// find looks an offset up; false if the state does not have it.
func (f *consumer) find(r *sim.Routine, k partlog.Key, offset int64) (e partlog.Extent, ok bool, err error) {
	extents, page, _, _ := f.state.Find(k, offset, 1)
	if page != nil {
		in, err := readPage(context.Background(), r, page)
		if err != nil {
			return e, false, err
		}
		f.c.Count("looked up in a page")
		if f.c.store.Object(page.ObjectKey()) == nil {
			f.c.Count("looked up in a page that was removed")
		}
		extents = in.From(offset, 1)
	}
	if len(extents) == 0 {
		return e, false, nil
	}
	return extents[0], true, nil
}

// readOften reads records, one after the other.
func (f *consumer) readOften() {
	c := f.c
	f.p.After(c.Between(100*time.Millisecond, 5*time.Second), "read a record", func() {
		f.p.Run(c.store, f.read, f.readOften)
	})
}
