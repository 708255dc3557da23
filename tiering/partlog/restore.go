package partlog

import (
	"cmp"
	"errors"
	"fmt"
	"iter"
	"math"

	"github.com/varvelog/varve/tiering/segment"
	"github.com/varvelog/varve/tiering/wire"
)

// ReadPages yields the bytes of the pages, in their order, or an error in place of those
// that cannot be had; nothing follows it.
type ReadPages func(pages []*ProducerPage) iter.Seq2[[]byte, error]

// Decode returns the state that Encode wrote for a journal; Apply goes on from it. read
// is called if the checkpoint names pages of producers. Errors are segment.ErrCorrupt and
// segment.ErrUnsupported, and those of read. Decode allocates no more than a small multiple
// of the payload and of the pages.
func Decode(journal uint32, payload []byte, read ReadPages) (*State, error) {
	d, err := decode(journal, payload)
	if err != nil {
		return nil, err
	}
	if err := d.producerPages(read); err != nil {
		return nil, err
	}
	return d.s, nil
}

// Check returns why Decode would fail, or nil, and keeps nothing of the pages in memory.
func Check(journal uint32, payload []byte, read ReadPages) error {
	d, err := decode(journal, payload)
	if err != nil {
		return err
	}
	d.only = true
	return d.producerPages(read)
}

// DecodeReplayed is Decode for a checkpoint whose pages of producers are lost. replayed is
// the state after the same object, by a walk through the journal; it gives the producers,
// and must not be used any more.
func DecodeReplayed(journal uint32, payload []byte, replayed *State) (*State, error) {
	d, err := decode(journal, payload)
	if err != nil {
		return nil, err
	}
	s := d.s
	if s.head != replayed.head || len(s.parts) != len(replayed.parts) {
		return nil, contradiction("the journal was read to seq %d, the checkpoint is at %d", replayed.head, s.head)
	}
	s.producerPages = nil
	for k, p := range s.parts {
		r := replayed.parts[k]
		if r == nil || r.end != p.end || r.refs.hash != p.refs.hash {
			return nil, contradiction("partition %s-%d of the checkpoint differs from the journal's", k.Topic, k.Index)
		}
		p.producers = r.producers
	}
	return s, nil
}

// decode returns a decoder whose state lacks the producers that are in pages.
func decode(journal uint32, payload []byte) (*decoder, error) {
	d, err := newDecoder(journal, payload)
	if err != nil {
		return nil, err
	}
	if err = d.state(); err == nil {
		err = d.r.Close()
	}
	if err != nil {
		return nil, d.corrupt(err)
	}
	return d, nil
}

func newDecoder(journal uint32, payload []byte) (*decoder, error) {
	r := wire.NewReader(payload)
	version := r.U16()
	if r.Err() == nil && (version < 1 || version > checkpointVersion) {
		return nil, fmt.Errorf("%w: state of a data journal is of version %d, this program reads 1 to %d", segment.ErrUnsupported, version, checkpointVersion)
	}
	return &decoder{r: r, s: New(journal), version: version}, nil
}

func (d *decoder) corrupt(err error) error {
	return &segment.CorruptError{Object: "state of a data journal", Offset: int64(d.r.Pos()), Reason: err.Error()}
}

// decoder reads a checkpoint. Its errors are reasons, without a place.
type decoder struct {
	r       *wire.Reader
	s       *State
	version uint16
	only    bool // pages of producers are only checked
	objects []*indexObject
	named   int // how many of objects the partitions have named so far

	merged      []*mergedObject
	mergedNamed int // how many of merged the partitions have named so far
	ownUsed     map[*mergedObject]bool
}

// first: in version 1 no records are deleted. paged: there may be pages of producers.
// tiered: extents may be merged.
func (d *decoder) first() bool  { return d.version == 1 }
func (d *decoder) paged() bool  { return d.version >= checkpointUntiered }
func (d *decoder) tiered() bool { return d.version >= checkpointVersion }

// decodedHead has the counts of the head of a checkpoint.
type decodedHead struct {
	objects, parts, producerPages uint32
	tiering                       tieringCounts
}

func (d *decoder) head() (h decodedHead, err error) {
	r, s := d.r, d.s
	r.Zeros(2)
	journal := r.U32()
	s.head, s.epoch = r.U64(), r.U32()
	s.applied.from = s.head + 1
	h.objects, h.parts = r.U32(), r.U32()
	if d.paged() {
		h.producerPages = r.U32()
	}
	switch {
	case d.tiered():
		h.tiering = d.tieringHead()
	case d.paged():
		r.Zeros(4)
	}
	switch {
	case r.Err() != nil:
		return h, r.Err()
	case journal != s.journal:
		return h, fmt.Errorf("it is of journal %d, not of %d", journal, s.journal)
	case d.version == checkpointUntiered && h.producerPages == 0:
		return h, errors.New("no pages of producers, which this version is for")
	case s.epoch > maxEpoch || (s.head == 0) != (s.epoch == 0) || s.head == 0 && h.parts > 0:
		return h, fmt.Errorf("head %d of epoch %d with %d partitions", s.head, s.epoch, h.parts)
	}
	return h, nil
}

func (d *decoder) state() error {
	r := d.r
	h, err := d.head()
	if err == nil {
		err = d.indexObjects(h.objects)
	}
	if err == nil {
		err = d.producerPageRefs(h.producerPages)
	}
	if err != nil {
		return err
	}
	size := partFixedSize
	switch {
	case d.first():
		size = partFixedSizeV1
	case d.tiered():
		size = partFixedSizeV4
		if err := d.tiering(h.tiering); err != nil {
			return err
		}
	}
	if err := d.parts(r.Count(h.parts, size)); err != nil {
		return err
	}
	if d.named != len(d.objects) || d.mergedNamed != len(d.merged) {
		return fmt.Errorf("%d index objects and %d merged ones, %d and %d are named", len(d.objects), len(d.merged), d.named, d.mergedNamed)
	}
	return r.Err()
}

// indexObjects reads n index objects.
func (d *decoder) indexObjects(n uint32) error {
	size := indexObjectSize
	if d.tiered() {
		size = indexObjectSizeV4
	}
	d.objects = make([]*indexObject, d.r.Count(n, size))
	for i := range d.objects {
		o := &indexObject{id: d.r.ID(), size: d.r.U32()}
		if d.tiered() {
			o.seq = d.r.U64()
		}
		if o.id.IsZero() || o.size > MaxIndexPayload || o.seq > d.s.head {
			return fmt.Errorf("index object %v with %d bytes, of seq %d", o.id, o.size, o.seq)
		}
		d.objects[i] = o
	}
	return nil
}

func (d *decoder) parts(n int) error {
	d.s.parts = make(map[Key]*part, n)
	var before Key
	for i := range n {
		k := readKey(d.r)
		if d.r.Err() == nil && (!k.valid() || i > 0 && before.Compare(k) >= 0) {
			return fmt.Errorf("partition %s-%d after %s-%d", k.Topic, k.Index, before.Topic, before.Index)
		}
		p, err := d.part()
		if err != nil {
			return fmt.Errorf("partition %s-%d: %w", k.Topic, k.Index, err)
		}
		d.s.parts[k] = p
		before = k
	}
	return nil
}

func (d *decoder) part() (*part, error) {
	r := d.r
	p := &part{epochBase: r.I32(), start: r.I64()}
	p.refs.start = p.start
	if !d.first() {
		p.refs.start = r.I64()
	}
	p.bytes = r.I64()
	copy(p.refs.hash[:], r.Raw(len(p.refs.hash)))
	sealed, dropped := r.U8(), r.U8()
	r.Zeros(2)
	p.sealed, p.dropped, p.sealedEpoch = sealed != 0, dropped != 0, r.I32()
	epochs, pages, chunks, producers := r.U32(), r.U32(), r.U32(), r.U32()
	r.Zeros(4)
	var mergedChunks uint32
	if d.tiered() {
		mergedChunks = d.partTiered(p)
	}
	if err := r.Err(); err != nil {
		return nil, err
	}
	if reason := d.implausible(p, sealed, dropped); reason != "" {
		return nil, errors.New(reason)
	}
	if err := d.epochs(p, epochs); err != nil {
		return nil, err
	}
	if err := d.pages(&p.refs, pages); err != nil {
		return nil, err
	}
	if err := d.chunks(p, chunks); err != nil {
		return nil, err
	}
	if err := d.producers(&p.producers, producers); err != nil {
		return nil, err
	}
	if err := d.mergedChunks(p, mergedChunks); err != nil {
		return nil, err
	}
	p.end = p.refs.base(p.refs.len())
	if reason := cmp.Or(p.contradicts(d.first()), p.contradictsMerged()); reason != "" {
		return nil, errors.New(reason)
	}
	return p, nil
}

// implausible returns why the fixed part of a partition cannot be right, or nothing.
func (d *decoder) implausible(p *part, sealed, dropped uint8) string {
	switch {
	case p.start < 0 || p.start > maxOffset || p.bytes < 0 || p.refs.start < 0 || p.refs.start > max(p.start, p.merged):
		return fmt.Sprintf("%d bytes from offset %d on, refs from %d on", p.bytes, p.start, p.refs.start)
	case p.epochBase < 0 || p.epochBase > maxEpoch:
		return fmt.Sprintf("epoch base %d", p.epochBase)
	case sealed > 1 || dropped > 1 || p.dropped && !(p.sealed && d.tiered()) || !p.sealed && p.sealedEpoch != 0,
		p.sealed && (p.sealedEpoch <= p.epochBase || p.sealedEpoch > int32(d.s.epoch)+p.epochBase):
		return fmt.Sprintf("sealed is %d, in leader epoch %d", sealed, p.sealedEpoch)
	}
	return ""
}

// epochs reads n leader epochs of a partition.
func (d *decoder) epochs(p *part, n uint32) error {
	p.epochs = make([]epochStart, d.r.Count(n, epochStartSize))
	before := epochStart{epoch: p.epochBase, start: p.start - 1}
	for i := range p.epochs {
		e := epochStart{epoch: d.r.I32(), start: d.r.I64()}
		switch {
		case e.epoch <= before.epoch || e.epoch > d.s.leaderEpochLocked(p),
			e.start <= before.start || i == 0 && e.start != p.start:
			return fmt.Errorf("leader epoch %d starts at offset %d, after %d at %d", e.epoch, e.start, before.epoch, before.start)
		}
		p.epochs[i], before = e, e
	}
	return d.r.Err()
}

// pages reads n pages.
func (d *decoder) pages(l *refList, n uint32) error {
	r := d.r
	l.pages = make([]pagedChunk, 0, r.Count(n, pagedChunkSize))
	for range cap(l.pages) {
		number := r.U32()
		c := pagedChunk{position: r.U32(), length: r.U32(), crc: r.U32()}
		c.last, c.max = r.I64(), r.I64()
		c.peak = max(upTo(c.max, c.max < 0), l.peak(len(l.pages)))
		object, err := d.object(number)
		if err != nil {
			return err
		}
		c.object = object
		refs, base := c.refs(), l.base(len(l.pages))
		switch {
		case refs == 0 || uint64(c.position)+uint64(c.length) > uint64(object.size):
			return fmt.Errorf("page of %d bytes at %d in %d bytes", c.length, c.position, object.size)
		case c.last < base || c.last > maxOffset || c.last-base < int64(refs)-1 || c.max < -1:
			return fmt.Errorf("page of %d refs from offset %d to %d, max timestamp %d", refs, base, c.last, c.max)
		}
		l.pages = append(l.pages, c)
	}
	return r.Err()
}

// object returns an index object. Objects are numbered in the order in which pages name
// them.
func (d *decoder) object(number uint32) (*indexObject, error) {
	if err := d.r.Err(); err != nil {
		return nil, err
	}
	if uint64(number) >= uint64(len(d.objects)) || int64(number) > int64(d.named) {
		return nil, fmt.Errorf("page in index object %d of %d, %d are named before", number, len(d.objects), d.named)
	}
	if int(number) == d.named {
		d.named++
	}
	return d.objects[number], nil
}

// refs returns how many refs the chunk has, 0 if its length cannot be right.
func (c *pagedChunk) refs() int {
	n := (int64(c.length) - pageFixedSize) / refSize
	if n < 1 || n > chunkRefs || int64(c.length) != int64(pageSize(int(n))) {
		return 0
	}
	return int(n)
}

// chunks reads n chunks of refs.
func (d *decoder) chunks(p *part, n uint32) error {
	r, l := d.r, &p.refs
	l.chunks = make([]refChunk, 0, r.Count(n, refChunkFixedSize+refSize))
	var before ref
	for range cap(l.chunks) {
		count := r.U32()
		if r.Err() == nil && (count == 0 || count > chunkRefs) {
			return fmt.Errorf("chunk of %d refs", count)
		}
		i := l.len()
		refs, err := readRefs(r, r.Count(count, refSize), l.base(i), before)
		if err != nil {
			return err
		}
		if r.Err() != nil {
			break
		}
		c := refChunk{summary: summary{max: math.MinInt64}, refs: refs}
		for _, ref := range refs {
			kept := max(ref.Base, p.start) // the history does not have the epochs of deleted records
			if ref.Seq > d.s.head || ref.Last >= kept && (epochAt(p.epochs, kept) != ref.Epoch || epochAt(p.epochs, ref.Last) != ref.Epoch) {
				return fmt.Errorf("seq %d with offsets %d to %d in leader epoch %d", ref.Seq, ref.Base, ref.Last, ref.Epoch)
			}
			c.max, c.vague = max(c.max, ref.MaxTimestamp), c.vague || ref.vague()
			c.bytes += int64(ref.Length)
			before = ref
		}
		c.last, c.peak = before.Last, max(upTo(c.max, c.vague), l.peak(i))
		l.chunks = append(l.chunks, c)
	}
	return r.Err()
}

// contradicts returns how the refs and the rest of a partition differ, or nothing. whole
// means that no record was ever deleted.
func (p *part) contradicts(whole bool) string {
	least, exact := int64(0), whole // bytes
	for i := range p.refs.pages {
		least, exact = least+int64(p.refs.pages[i].refs()), false
	}
	for i := range p.refs.chunks {
		least += p.refs.chunks[i].bytes
	}
	empty, low := p.refs.len() == 0, max(p.start, p.merged)
	switch {
	case p.bytes < least || exact && p.bytes != least:
		return fmt.Sprintf("%d bytes, its refs have %d", p.bytes, least)
	case (p.bytes == 0) != (p.refs.hash == [32]byte{}):
		return "hash of the refs does not fit their number"
	case empty && p.refs.start != low || !empty && p.refs.summary(0).last < low:
		return fmt.Sprintf("refs from offset %d on, log from offset %d to %d", p.refs.start, p.start, p.end)
	case (p.start == p.end) != (len(p.epochs) == 0) || len(p.epochs) > 0 && p.epochs[len(p.epochs)-1].start >= p.end:
		return fmt.Sprintf("%d leader epochs, log from offset %d to %d", len(p.epochs), p.start, p.end)
	}
	return ""
}

// producers reads n idempotent producers.
func (d *decoder) producers(t *Producers, n uint32) error {
	for q, err := range readProducers(d.r, n) {
		if err != nil {
			return err
		}
		t.use(q.id, q.usedMs).window = q.window
		t.batches += cap(q.batches)
	}
	return d.r.Err()
}
