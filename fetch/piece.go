package fetch

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"

	"github.com/varvelog/varve/fetch/cache"
	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// sparseGap is about how many bytes a batch may lie behind the sparse entry that leads to
// it.
const sparseGap = 64 << 10

// piece is an extent of a partition as it is walked: open, then next, and body or
// skip, for each batch, and close at the end.
type piece struct {
	reader  *Reader
	journal journal
	key     partlog.Key
	extent  *extent
	rest    []extent // blocks that follow, if the piece had to be split
	object  string   // key of the extent's object
	from    int64    // the first offset wanted
	last    int64    // of the extent
	ahead   int64    // bytes to read in one go, if a step needs less; positive
	replay  bool     // read it apart from the blocks that other readers share

	opened  bool
	openErr error
	suspect bool  // some of its bytes are or were known to be damaged
	look    bool  // a verdict's time is over, and this piece looks
	again   bool  // it was read again because of damage
	waited  bool  // a region was not in memory
	size    int64 // of the object, if it is read in blocks
	walk    batch.Walker
	span    cache.Span // with references
	spans   int        // how many it has had
	sound   int64      // the bytes of the span from the next batch to here were checked before
}

// rangeOf is where the bytes of an extent lie, in the object at a key.
func rangeOf(object string, e *partlog.Extent) cache.Range {
	return cache.Range{Object: object, Pos: int64(e.Position), Len: int64(e.Length)}
}

// placeOf is the place of the verdicts about an extent.
func placeOf(object string, e *partlog.Extent) place {
	return place{object: object, position: e.Position}
}

// newPiece returns a piece that starts with the batch that holds offset from. The
// extent must not be changed afterwards.
func (r *Reader) newPiece(j journal, k partlog.Key, e *extent, from int64) *piece {
	return &piece{
		reader: r, journal: j, key: k, extent: e, object: e.Object.Key(),
		from: from, last: e.Last, ahead: 1, walk: batch.NewWalker(e.place()),
	}
}

// open reads and checks the object's footer, finds the batch to start with, and reads
// ahead. Later calls return the result of the first one.
func (p *piece) open(ctx context.Context) error {
	if p.opened {
		return p.openErr
	}
	p.opened = true
	if p.extent.Length == 0 { // a gap
		return nil
	}
	if p.splits() && p.reader.verdicts.within(p.bytesAt()) {
		p.openErr = p.split(ctx)
		return p.openErr
	}
	p.openErr = p.enter(ctx)
	return p.openErr
}

// enter begins to read the extent.
func (p *piece) enter(ctx context.Context) (err error) {
	if p.look, err = p.reader.verdicts.blocked(p.place(), max(p.from, p.extent.Base)); err != nil {
		return err
	}
	if p.look {
		p.forget()
	}
	p.suspect = p.reader.verdicts.known(p.place())
	err = p.load(ctx)
	if isDamage(err) && !errors.Is(err, errMissing) {
		p.suspect = true
		err = p.load(ctx) // the damage may have happened on the way
	}
	if isDamage(err) && !errors.Is(err, errMissing) && p.splits() {
		return p.split(ctx) // some of its blocks may be sound
	}
	return p.noted(p.extent.Base, p.extent.Last, err)
}

// splits reports whether the extent is read as a whole, and could be read by blocks.
func (p *piece) splits() bool { return p.extent.Gaps() && p.extent.IndexLength > 0 }

// split goes on with the blocks of the extent, because some of it is damaged.
func (p *piece) split(ctx context.Context) error {
	whole := &p.extent.Extent
	s, err := p.reader.section(ctx, p.key, whole)
	if err != nil {
		return err
	}
	p.rest = blocksOf(nil, whole, s, p.from, len(s.Blocks))
	return p.advance(ctx)
}

// advance goes on with the next block of an extent that was split.
func (p *piece) advance(ctx context.Context) error {
	p.close()
	p.extent, p.rest = &p.rest[0], p.rest[1:]
	p.walk = batch.NewWalker(p.extent.place())
	if p.extent.Length == 0 {
		return nil
	}
	return p.enter(ctx)
}

func (p *piece) place() place { return placeOf(p.object, &p.extent.Extent) }

func (p *piece) bytesAt() cache.Range { return rangeOf(p.object, &p.extent.Extent) }

// noted notes that offsets of the piece cannot be read, if err is damage, and returns the
// error for readers. A missing object is not noted: it may have been deleted.
func (p *piece) noted(first, last int64, err error) error {
	p.suspect = p.suspect || isDamage(err) && !errors.Is(err, errMissing)
	return p.reader.noted(p.place(), p.key, first, last, err)
}

func (p *piece) load(ctx context.Context) error {
	whole := p.whole()
	if whole != nil {
		defer whole.Release()
	} else if p.apart() {
		err := p.loadRegion(ctx)
		if !errors.Is(err, ErrStorage) || errors.Is(err, errMissing) || p.extent.Gaps() {
			return err
		}
		// Damaged somewhere: the sound batches are served one by one.
	}
	var bytes []byte
	if whole != nil {
		bytes = whole.Bytes()
	}
	object, err := p.reader.cfg.Cache.Footer(ctx, p.object, bytes, p.checkFooter)
	if err != nil {
		return readError(err)
	}
	part, ok := findPartition(object.Footer, p.key)
	if !ok || !p.extent.Fits(part) {
		return damaged(p.object, "its footer does not fit the extent that the journal's state has of %v", p.key)
	}
	p.size = object.Size
	p.walk.MoveTo(seek(part.Sparse, &p.extent.Extent, p.from))
	if int64(len(bytes)) == object.Size {
		p.use(cache.Whole(whole).Retain())
		return nil
	}
	return p.hold(ctx, min(p.ahead, p.walk.Left()))
}

// whole returns the object from the leader's memory, with a reference, or nil.
func (p *piece) whole() *cache.Block {
	if p.journal.Tail == nil {
		return nil
	}
	b, _ := p.journal.Tail.Object(p.extent.Object)
	return b
}

// checkFooter accepts the footer of the object that belongs at the piece's key,
// whichever piece asks for that key.
func (p *piece) checkFooter(f *segment.Footer) error {
	h, want, key := &f.Header, p.extent.Object, p.object
	switch {
	case h.Cluster != p.reader.cfg.Cluster:
		return damaged(key, "it is of cluster %v", h.Cluster)
	case h.Journal != want.Journal:
		return damaged(key, "it is of journal %d", h.Journal)
	case h.Seq != want.Seq:
		return damaged(key, "it is of seq %d", h.Seq)
	case h.Kind != want.Kind:
		return damaged(key, "it is of kind %d, which holds no records", h.Kind)
	}
	return nil
}

func findPartition(f *segment.Footer, k partlog.Key) (*segment.Partition, bool) {
	i, ok := slices.BinarySearchFunc(f.Partitions, k, func(p segment.Partition, k partlog.Key) int {
		if c := bytes.Compare(p.Topic[:], k.Topic[:]); c != 0 {
			return c
		}
		return cmp.Compare(p.Index, k.Index)
	})
	if !ok {
		return nil, false
	}
	return &f.Partitions[i], true
}

// seek returns position and base offset of the last batch in a sparse index of an
// extent that starts at offset or before it.
func seek(sparse []segment.SparseEntry, e *partlog.Extent, offset int64) (position, base int64) {
	position, base = int64(e.Position), e.Base
	i := sort.Search(len(sparse), func(i int) bool { return base+int64(sparse[i].RelOffset) > offset })
	if i == 0 {
		return position, base
	}
	entry := sparse[i-1]
	return position + int64(entry.RelPosition), base + int64(entry.RelOffset)
}

// hold makes the span hold n bytes from the next batch on. n must not be more than is
// left.
func (p *piece) hold(ctx context.Context, n int64) error {
	pos := p.walk.Position()
	if p.span.Holds(pos, n) {
		return nil
	}
	n = max(n, min(p.ahead, p.walk.Left()))
	span, err := p.reader.cfg.Cache.Read(ctx, cache.Range{Object: p.object, Pos: pos, Len: n}, p.size)
	if err != nil {
		return readError(err)
	}
	p.use(span)
	return nil
}

// use makes span, whose references become the piece's, the one that the piece walks.
func (p *piece) use(span cache.Span) {
	p.close()
	p.span, p.sound = span, 0
	p.spans++
}

// close lets go of the memory that the piece walks. A piece that was opened must be closed.
func (p *piece) close() {
	p.span.Release()
	p.span = cache.Span{}
}

// next returns the header of the next batch, checked for its place in the log; false
// after the last one. The rest of the batch has not been read.
func (p *piece) next(ctx context.Context) (batch.Header, bool, error) {
	for p.walk.Left() == 0 && len(p.rest) > 0 {
		if err := p.advance(ctx); err != nil {
			return batch.Header{}, false, err
		}
	}
	if p.walk.Left() == 0 {
		if err := p.walk.End(); err != nil {
			return batch.Header{}, false, p.corrupt(p.extent.Last, err)
		}
		return batch.Header{}, false, nil
	}
	for n := min(p.walk.Left(), batch.HeaderSize); ; {
		if err := p.hold(ctx, n); err != nil {
			return batch.Header{}, false, p.lost(err)
		}
		h, err := p.walk.Next(p.span.Slice(p.walk.Position(), n))
		if err == nil {
			return h, true, nil
		}
		if !p.readAgain() {
			return batch.Header{}, false, p.corrupt(p.extent.Last, err)
		}
	}
}

// body makes the span hold the next batch, whose header is h, with its CRC checked,
// unless the same bytes were checked before.
func (p *piece) body(ctx context.Context, h batch.Header) error {
	size := int64(h.Size())
	for {
		if err := p.hold(ctx, size); err != nil {
			return p.lost(err)
		}
		if p.checked(h) {
			break
		}
		if !p.readAgain() {
			return p.corrupt(h.LastOffset(), p.walk.Failed(&h, batch.FaultCRC))
		}
		if again, ok, err := p.next(ctx); err != nil || !ok || again != h {
			if err == nil {
				err = p.corrupt(p.extent.Last, fmt.Errorf("at byte %d: the batch with offset %d is another one when it is read again", p.walk.Position(), h.BaseOffset))
			}
			return err
		}
	}
	if p.suspect {
		p.reader.verdicts.sound(p.place(), h.BaseOffset)
	}
	return nil
}

// checked reports whether the next batch, which the span holds, has the CRC that its
// header names.
func (p *piece) checked(h batch.Header) bool {
	pos, size := p.walk.Position(), int64(h.Size())
	if pos+size <= p.sound {
		return true
	}
	if p.sound = p.span.SoundTo(pos); pos+size <= p.sound {
		return true
	}
	var parts [2][]byte // few batches cross blocks, fewer cover one
	if !batch.CheckCRCParts(p.span.Append(parts[:0], pos, size), h) {
		return false
	}
	p.span.Mark(pos, size)
	return true
}

// bytes returns the next batch, whose header is h, after body.
func (p *piece) bytes(h batch.Header) []byte {
	return p.span.Slice(p.walk.Position(), int64(h.Size()))
}

// skip steps over the next batch.
func (p *piece) skip(h batch.Header) { p.walk.Skip(&h) }

// readAgain drops the damaged bytes of the piece from the cache: the damage may have
// happened on the way. It is false if the piece was read again before, or its damage is
// known already.
func (p *piece) readAgain() bool {
	if p.again || p.size == 0 || p.blocked() != nil {
		return false
	}
	p.again = true
	p.forget()
	p.close()
	return true
}

// blocked is the error of a verdict about the next batch, unless this piece looks.
func (p *piece) blocked() (err error) {
	if !p.look {
		p.look, err = p.reader.verdicts.blocked(p.place(), p.walk.Offset())
	}
	return err
}

func (p *piece) forget() {
	at := p.bytesAt()
	p.reader.cfg.Cache.Forget(at)
	p.reader.cfg.Cache.ForgetRegion(at)
}

// corrupt notes that the records from the next batch to an offset are damaged, and
// returns the error for readers. While an earlier verdict about them is in force, it
// returns that one's error, and the cache keeps the bytes.
func (p *piece) corrupt(last int64, cause error) error {
	if err := p.blocked(); err != nil {
		return err
	}
	p.forget()
	return p.noted(min(p.walk.Offset(), last), last, damaged(p.object, "%w", cause))
}

// lost notes an error of reading on in the piece, and returns the one for readers.
func (p *piece) lost(err error) error { return p.noted(p.walk.Offset(), p.extent.Last, err) }
