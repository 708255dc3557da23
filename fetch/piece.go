package fetch

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"slices"
	"sort"

	"github.com/varvelog/varve/fetch/cache"
	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// sparseGap is about how far a batch may lie behind the sparse entry it is found
// by, in bytes.
const sparseGap = 64 << 10

// piece is the records of a partition in one object, as they are walked: open,
// then next, and body or skip, for each batch.
type piece struct {
	reader  *Reader
	journal journal
	key     partlog.Key
	ref     partlog.Ref
	from    int64 // the first offset wanted
	ahead   int64 // bytes to read in one go, if a step needs less; positive
	object  string
	replay  bool // read it apart from what others read of the object

	opened  bool
	openErr error
	suspect bool  // something of it is known to be damaged, or was
	look    bool  // a verdict's time is over, and this one looks
	again   bool  // it was read again because of damage
	waited  bool  // for a region that was not in memory
	size    int64 // of the object, if it is read in blocks
	span    cache.Span
	spans   int   // how many there have been
	sound   int64 // the bytes of the span from pos to here were checked before
	pos     int64 // of the next batch in the object
	offset  int64 // its base offset
}

// open reads and checks the object's footer, finds the batch to start with, and
// reads ahead. Further calls return what the first one did.
func (p *piece) open(ctx context.Context) error {
	if p.opened {
		return p.openErr
	}
	p.opened = true
	if p.look, p.openErr = p.reader.verdicts.blocked(p.place(), max(p.from, p.ref.Base)); p.openErr != nil {
		return p.openErr
	}
	if p.look {
		p.forget()
	}
	p.suspect = p.reader.verdicts.known(p.place())
	err := p.load(ctx)
	if isDamage(err) && !errors.Is(err, errMissing) {
		p.suspect = true
		err = p.load(ctx) // the damage may have happened on the way
	}
	if isDamage(err) {
		p.found(p.ref.Base, p.ref.Last, err, !errors.Is(err, errMissing))
	}
	p.openErr = err
	return err
}

func (p *piece) place() place { return place{object: p.object, position: p.ref.Position} }

// found notes that offsets of the piece cannot be read. An object that is missing may
// have been deleted, so that is certain only once it is looked up again.
func (p *piece) found(first, last int64, err error, certain bool) {
	p.suspect = true
	p.reader.verdicts.found(p.place(), Damage{Object: p.object, Key: p.key, First: first, Last: last, Err: err}, certain)
}

func (p *piece) load(ctx context.Context) error {
	whole := p.whole()
	if whole == nil && p.apart() {
		err := p.loadRegion(ctx)
		if !errors.Is(err, ErrStorage) || errors.Is(err, errMissing) {
			return err
		}
		// Damaged somewhere: batch by batch, what is sound of it is served.
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
	if !ok || !sameRecords(part, p.ref) {
		return damaged(p.object, "its footer does not fit what the journal's state has of %v", p.key)
	}
	p.size = object.Size
	p.pos, p.offset = seek(part.Sparse, int64(part.Position), part.BaseOffset, p.from)
	if int64(len(bytes)) == object.Size {
		p.use(cache.Whole(whole))
		return nil
	}
	return p.hold(ctx, min(p.ahead, p.end()-p.pos))
}

func (p *piece) whole() *cache.Block {
	if p.journal.Tail == nil {
		return nil
	}
	b, _ := p.journal.Tail.Object(p.ref.Seq)
	return b
}

// checkFooter accepts the footer of the object that belongs at the piece's key,
// whatever else asks for that key.
func (p *piece) checkFooter(f *segment.Footer) error {
	h, key := &f.Header, p.object
	switch {
	case h.Cluster != p.reader.cfg.Cluster:
		return damaged(key, "it is of cluster %v", h.Cluster)
	case h.Journal != p.journal.id:
		return damaged(key, "it is of journal %d", h.Journal)
	case h.Seq != p.ref.Seq:
		return damaged(key, "it is of seq %d", h.Seq)
	case h.Kind != segment.KindData:
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

func sameRecords(p *segment.Partition, r partlog.Ref) bool {
	return p.Position == uint64(r.Position) && p.Length == uint64(r.Length) && p.CRC == r.CRC &&
		p.BaseOffset == r.Base && p.LastOffset == r.Last &&
		p.LeaderEpoch == r.Epoch && p.MaxTimestamp == r.MaxTimestamp
}

// seek returns position and base offset of the last batch in a sparse index that
// starts at offset or before it. The index counts from the first batch, which has
// this position and base.
func seek(sparse []segment.SparseEntry, position, base, offset int64) (pos, start int64) {
	i := sort.Search(len(sparse), func(i int) bool { return base+int64(sparse[i].RelOffset) > offset })
	if i == 0 {
		return position, base
	}
	e := sparse[i-1]
	return position + int64(e.RelPosition), base + int64(e.RelOffset)
}

// end is the position after the last batch.
func (p *piece) end() int64 { return int64(p.ref.Position) + int64(p.ref.Length) }

// hold makes the span hold n bytes from pos on, which lie before end.
func (p *piece) hold(ctx context.Context, n int64) error {
	if p.span.Holds(p.pos, n) {
		return nil
	}
	n = max(n, min(p.ahead, p.end()-p.pos))
	span, err := p.reader.cfg.Cache.Read(ctx, p.object, p.size, p.pos, n)
	if err != nil {
		return readError(err)
	}
	p.use(span)
	return nil
}

// use makes span the one that is walked.
func (p *piece) use(span cache.Span) {
	p.span, p.sound = span, 0
	p.spans++
}

// next returns the header of the batch at pos, checked for its place in the log;
// false after the last one. The rest of the batch has not been read.
func (p *piece) next(ctx context.Context) (batch.Header, bool, error) {
	if p.pos == p.end() {
		if p.offset != p.ref.Last+1 {
			return batch.Header{}, false, p.corrupt(p.ref.Last, "its batches end at offset %d, not %d", p.offset-1, p.ref.Last)
		}
		return batch.Header{}, false, nil
	}
	for left := p.end() - p.pos; ; {
		if err := p.hold(ctx, min(left, batch.HeaderSize)); err != nil {
			return batch.Header{}, false, p.lost(err)
		}
		h, err := batch.Parse(p.span.Slice(p.pos, min(left, batch.HeaderSize)))
		err = misplaced(h, err, p.ref, p.offset, left)
		if err == nil {
			return h, true, nil
		}
		if !p.readAgain() {
			return batch.Header{}, false, p.corrupt(p.ref.Last, "%w", err)
		}
	}
}

// body makes the span hold the batch at pos, whose header is h, with its CRC
// checked, if nobody has checked the same bytes before.
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
			return p.corrupt(h.LastOffset(), "the batch with offset %d fails its CRC", h.BaseOffset)
		}
		if again, ok, err := p.next(ctx); err != nil || !ok || again != h {
			if err == nil {
				err = p.corrupt(p.ref.Last, "the batch with offset %d is another one when it is read again", h.BaseOffset)
			}
			return err
		}
	}
	if p.suspect {
		p.reader.verdicts.sound(p.place(), h.BaseOffset)
	}
	return nil
}

// checked reports whether the batch at pos, which the span holds, has the CRC that
// its header names.
func (p *piece) checked(h batch.Header) bool {
	size := int64(h.Size())
	if p.pos+size <= p.sound {
		return true
	}
	if p.sound = p.span.SoundTo(p.pos); p.pos+size <= p.sound {
		return true
	}
	var parts [2][]byte // few batches cross blocks, fewer cover one
	if !batch.CheckCRCParts(p.span.Append(parts[:0], p.pos, size), h) {
		return false
	}
	p.span.Mark(p.pos, size)
	return true
}

// bytes returns the batch at pos, whose header is h, after body.
func (p *piece) bytes(h batch.Header) []byte { return p.span.Slice(p.pos, int64(h.Size())) }

// skip steps over the batch at pos.
func (p *piece) skip(h batch.Header) {
	p.pos += int64(h.Size())
	p.offset = h.LastOffset() + 1
}

// readAgain drops what the cache has of the piece, because it is damaged: that may
// have happened on the way. It is false if the piece was read again before, or what
// is wrong with it is known already.
func (p *piece) readAgain() bool {
	if p.again || p.size == 0 || p.blocked() != nil {
		return false
	}
	p.again = true
	p.forget()
	p.span = cache.Span{}
	return true
}

// blocked is the error of a verdict about the batch at pos, unless this one looks.
func (p *piece) blocked() (err error) {
	if !p.look {
		p.look, err = p.reader.verdicts.blocked(p.place(), p.offset)
	}
	return err
}

func (p *piece) forget() {
	pos, n := int64(p.ref.Position), int64(p.ref.Length)
	p.reader.cfg.Cache.Forget(p.object, pos, n)
	p.reader.cfg.Cache.ForgetRegion(p.object, pos, n)
}

// corrupt says what is wrong with the object from the batch at pos to an offset. What
// the cache has of it is kept as long as that is taken for granted.
func (p *piece) corrupt(last int64, format string, args ...any) error {
	if err := p.blocked(); err != nil {
		return err
	}
	p.forget()
	err := damaged(p.object, "at byte %d: "+format, append([]any{p.pos}, args...)...)
	p.found(min(p.offset, last), last, err, true)
	return err
}

// lost is an error of reading on in the piece.
func (p *piece) lost(err error) error {
	if isDamage(err) {
		p.found(p.offset, p.ref.Last, err, !errors.Is(err, errMissing))
	}
	return err
}
