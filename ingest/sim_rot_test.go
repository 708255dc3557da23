package ingest

import (
	"context"
	"hash/crc32"
	"strings"

	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// rotKind is a kind of object that rots. In one run all that rot are of one kind.
type rotKind int

const (
	rotsPage       rotKind = iota // one of the two copies of an index object
	rotsCheckpoint                // of the newest floor, once
	rotsSource                    // a journal object below the floor that is not merged yet, once
	rotsMerged                    // a merged segment
)

// rot lets an object rot that is needed, and that may be without a loss of others.
func (c *cluster) rot() {
	a, name, key := c.truth.archive, "", ""
	switch c.shape.Upkeep.Rots {
	case rotsPage:
		name, key = "page", c.anyCopy()
	case rotsCheckpoint:
		if floor, ok := c.truth.Newest(); ok && !a.rotted {
			name, key = "checkpoint of the newest floor", floor.Checkpoint
		}
	case rotsSource:
		if !a.rotted {
			name, key = "source", a.anySource()
		}
	case rotsMerged:
		name, key = "merged segment", a.anySegment()
	}
	if key == "" || c.store.Object(key) == nil {
		return
	}
	a.rotted = true
	c.Count("rot: " + name)
	c.Logf("%s rots", key)
	c.store.Rot(key)
}

const copySuffix = ".copy"

// anyCopy is the key of one copy of an index object whose other copy is good.
func (c *cluster) anyCopy() string {
	keys := c.store.Keys(segment.IndexPrefix(simJournal))
	if len(keys) == 0 {
		return ""
	}
	key := keys[c.Rand.Intn(len(keys))]
	other, isCopy := strings.CutSuffix(key, copySuffix)
	if !isCopy {
		other += copySuffix
	}
	if c.store.Object(other) == nil || c.store.Rotten(other) {
		return ""
	}
	return key
}

// anySource is the key of a journal object below the floor that an extent names.
func (a *archive) anySource() string {
	var keys []string
	a.state.Survey(func(s *partlog.Survey) {
		extents, _, _, _ := a.state.Find(s.Key, max(s.View.Start, s.Merged), 20)
		for i := range extents {
			if e := &extents[i]; e.Object.Kind != segment.KindMerged && e.Object.Seq < a.t.Floor && !s.View.Dropped {
				keys = append(keys, e.Object.Key())
			}
		}
	})
	return a.any(keys)
}

// anySegment is the key of a merged segment that an extent names.
func (a *archive) anySegment() string {
	var keys []string
	a.state.Survey(func(s *partlog.Survey) {
		for i := range s.Segments {
			if e := &s.Segments[i]; e.Object.Kind == segment.KindMerged {
				keys = append(keys, e.Object.Key())
			}
		}
	})
	return a.any(keys)
}

func (a *archive) any(keys []string) string {
	if len(keys) == 0 {
		return ""
	}
	return keys[a.t.w.Rand.Intn(len(keys))]
}

// intact reports whether a reader finds no damage in the bytes of an extent.
func intact(b []byte, e *partlog.Extent) bool {
	return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) == e.CRC
}

// readAll reads every offset of a state as a new node would: by pages, of which one copy is
// enough, and by the extents. Only bytes that have rotted are missing.
func (a *archive) readAll(state *partlog.State) {
	ctx, store := context.Background(), a.store.Now()
	state.Partitions(func(k partlog.Key, v partlog.View) {
		for offset := v.Start; offset < v.End && !v.Dropped && a.t.w.Err() == nil; {
			extents, page, _, _ := state.Find(k, offset, 1)
			if page != nil {
				in, err := readPage(ctx, store, page)
				if err != nil {
					a.t.w.Fail("offset %d of %v is in a page: %w", offset, k, err)
					return
				}
				a.t.w.Count("every offset served from a page")
				extents = in.From(offset, 1)
			}
			if len(extents) == 0 || extents[0].Base > offset && !extents[0].Gaps() {
				a.t.w.Fail("no extent has offset %d of %v, which has %d to %d", offset, k, v.Start, v.End)
				return
			}
			e := &extents[0]
			b := make([]byte, e.Length)
			err := store.GetRange(ctx, e.Object.Key(), int64(e.Position), b)
			switch good := err == nil && intact(b, e); {
			case !good && !a.store.Rotten(e.Object.Key()):
				a.t.w.Fail("offset %d of %v is in %s, and cannot be read there: %v", offset, k, e.Object.Key(), err)
			case !good:
			case a.compacted(k.Topic):
				a.t.found("reader of all", k, b)
			default:
				a.t.same("reader of all", k, b, offset, e.Last, v.Start)
			}
			offset = e.Last + 1
		}
	})
}

// stored: a merged segment is stored at this moment.
func (a *archive) stored(key string) {
	name, ok := segment.ParseMergedKey(key)
	if !ok {
		return
	}
	for _, x := range a.state.Garbage() {
		switch {
		case x.Name.Object != name.Object:
		case x.Deleted:
			a.t.w.Count("output arrives after it was deleted")
		case x.Ended:
			a.t.w.Count("output arrives after its intent has ended")
		}
	}
}

// clipped counts outputs that Apply leaves out, at the Results of an object that is applied
// next.
func (a *archive) clipped(o *segment.Object) {
	for _, e := range o.Entries {
		switch e.Kind {
		case partlog.EntryDeleteRecords:
			if del, err := partlog.DecodeDeleteRecords(e.Payload); err == nil {
				a.deletions[del.Key] = o.Footer.Header.Seq
			}
		case partlog.EntryResult:
			r, err := partlog.DecodeResult(simJournal, e.Payload)
			if err != nil {
				continue
			}
			for i := range r.Parts {
				a.clippedPart(o.Footer.Header.Seq, &r.Parts[i])
			}
		}
	}
}

func (a *archive) clippedPart(seq uint64, p *partlog.ResultPart) {
	v, ok := a.state.Lookup(p.Key)
	start := max(v.Start, a.t.begins[p.Key])
	for i := range p.Extents {
		x := &p.Extents[i]
		if !ok || v.Dropped || x.Last < start {
			a.t.w.Count("result clipped")
		}
		if x.Object.Kind != segment.KindMerged {
			a.t.w.Count("damage gone around")
		}
	}
	if at := a.deletions[p.Key]; at > 0 && seq-at < simWindow && start > p.From {
		a.t.w.Count("records deleted while a result was under way")
	}
}
