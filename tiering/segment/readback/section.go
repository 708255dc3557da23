package readback

import (
	"context"
	"encoding/binary"
	"hash/crc32"
)

const (
	sectionSize = 144
	blockSize   = 36
	epochSize   = 12
	abortedSize = 24
)

// section is a section with its lists still encoded.
type section struct {
	Partition
	blocks, epochs []byte
}

// partition reads the batches and the section of the next partition.
func (r *Reader) partition(ctx context.Context, o *Object, place []byte, verbatim func(base int64) bool) (*Partition, error) {
	w, be := &r.window, binary.BigEndian
	at, length := int64(be.Uint32(place[20:])), int(be.Uint32(place[24:]))
	if at <= w.at {
		return nil, wrong("a section at %d, the one before ends at %d", at, w.at)
	}
	b, err := w.ahead(at, length)
	if err != nil {
		return nil, err
	}
	b = append([]byte(nil), b...) // the window moves on
	s, err := parseSection(b, o.ID)
	switch {
	case err != nil:
		return nil, err
	case s.Topic != [16]byte(place) || s.Index != int32(be.Uint32(place[16:])):
		return nil, wrong("the section is of partition %x-%d", s.Topic, s.Index)
	case int64(s.Position) != w.at || int64(s.Position)+int64(s.Length) != at:
		return nil, wrong("the section says %d bytes at %d, they lie from %d to %d", s.Length, s.Position, w.at, at)
	}
	if err := r.batches(ctx, s, verbatim); err != nil {
		return nil, err
	}
	again, err := w.take(length)
	if err == nil && string(again) != string(b) {
		err = wrong("the section was read twice, with other bytes")
	}
	return &s.Partition, err
}

func parseSection(b []byte, object [16]byte) (*section, error) {
	be := binary.BigEndian
	if len(b) < sectionSize+4 || string(b[:8]) != "VARP\x00\x01\x00\x00" || crc32.Checksum(b[:len(b)-4], castagnoli) != be.Uint32(b[len(b)-4:]) {
		return nil, wrong("%d bytes are no section", len(b))
	}
	i64 := func(at int) int64 { return int64(be.Uint64(b[at:])) }
	s := &section{Partition: Partition{
		Topic: [16]byte(b[24:]), Index: int32(be.Uint32(b[40:])), Position: be.Uint32(b[44:]), Length: be.Uint32(b[48:]), CRC: be.Uint32(b[52:]),
		From: i64(56), To: i64(64), First: i64(72), Last: i64(80), Records: be.Uint64(b[88:]), MaxTimestamp: i64(96), SourceMs: i64(104),
		Batches: be.Uint32(b[112:]), IndexLength: uint32(len(b)),
	}}
	name := int(be.Uint16(b[142:]))
	blocks, epochs, aborted := uint64(be.Uint32(b[116:])), uint64(be.Uint32(b[120:])), uint64(be.Uint32(b[124:]))
	switch {
	case [16]byte(b[8:]) != object:
		return nil, wrong("the section is of object %x", b[8:24])
	case [14]byte(b[128:]) != [14]byte{}:
		return nil, wrong("reserved bytes of the section are not zero")
	case uint64(sectionSize+name+4)+blocks*blockSize+epochs*epochSize+aborted*abortedSize != uint64(len(b)):
		return nil, wrong("a section of %d bytes has %d blocks, %d leader epochs, %d aborted transactions", len(b), blocks, epochs, aborted)
	case s.From < 0 || s.First < s.From || s.Last < s.First || s.To <= s.Last:
		return nil, wrong("offsets %d to %d in the range from %d to %d", s.First, s.Last, s.From, s.To)
	}
	s.Name = string(b[sectionSize:][:name])
	s.blocks = b[sectionSize+name:][:blocks*blockSize]
	s.epochs = b[sectionSize+name+len(s.blocks):][:epochs*epochSize]
	return s, nil
}

// account adds up the batches of a partition.
type account struct {
	records     uint64
	batches     uint32
	first, last int64
	newest      int64 // of the blocks so far
	untimed     bool  // the time of a block is not known
	crc         uint32
	epoch       int32
	block       blockAccount
}

// blockAccount adds up the batches of a block.
type blockAccount struct {
	at, first, last, newest int64
	may, must               bool // its time need not be known; cannot be known
	crc                     uint32
	open                    bool
}

// batches reads the batches of a section, and holds it against them.
func (r *Reader) batches(ctx context.Context, s *section, verbatim func(base int64) bool) error {
	w := &r.window
	a := account{first: -1, last: s.From - 1, newest: -1, epoch: -1}
	for end := w.at + int64(s.Length); w.at < end; {
		at := w.at
		head, err := w.hold(int(min(batchHeaderSize, end-at)))
		if err != nil {
			return err
		}
		size, err := batchSize(head)
		if err == nil && int64(size) > end-at {
			err = wrong("a batch of %d bytes at %d, the section follows at %d", size, at, end)
		}
		if err != nil {
			return err
		}
		b, err := w.take(size)
		if err != nil {
			return err
		}
		h, err := parseBatch(b)
		if err != nil {
			return err
		}
		read := r.batch
		if verbatim(h.base) {
			read = r.verbatim
		}
		sum, newest, err := read(ctx, b, &h)
		if err != nil {
			return err
		}
		s.Sum.Add(sum)
		if err := a.add(s, b, &h, at, newest); err != nil {
			return err
		}
	}
	return a.fits(s)
}

// add takes the batch h at a position. newest is that of its records.
func (a *account) add(s *section, b []byte, h *batchHeader, at, newest int64) error {
	if h.base <= a.last || h.last() >= s.To {
		return wrong("a batch has offsets %d to %d after %d, in the range from %d to %d", h.base, h.last(), a.last, s.From, s.To)
	}
	if a.batches == 0 {
		a.first = h.base
	}
	a.batches++
	a.records += uint64(h.records)
	a.last = h.last()
	a.crc = crc32.Update(a.crc, castagnoli, b)
	if h.epoch != a.epoch {
		be := binary.BigEndian
		if h.epoch < a.epoch || len(s.epochs) == 0 || int32(be.Uint32(s.epochs)) != h.epoch || int64(be.Uint64(s.epochs[4:])) != h.base {
			return wrong("leader epoch %d begins at offset %d, after %d; the section does not say so", h.epoch, h.base, a.epoch)
		}
		a.epoch, s.epochs = h.epoch, s.epochs[epochSize:]
	}
	if !a.block.open {
		a.block = blockAccount{at: at, first: h.base, newest: -1, open: true}
	}
	k := &a.block
	k.last, k.crc = h.last(), crc32.Update(k.crc, castagnoli, b)
	if h.records > 0 {
		k.newest = max(k.newest, h.most)
		k.may = k.may || newest == Unknown || !h.timed()
		k.must = k.must || newest == Unknown && !h.timed()
	}
	if newest != Unknown {
		k.newest = max(k.newest, newest)
	}
	return a.close(s, at+int64(len(b)))
}

// close ends the block if it ends at a position.
func (a *account) close(s *section, end int64) error {
	k := &a.block
	if len(s.blocks) == 0 {
		return wrong("batches after the last block")
	}
	be, b := binary.BigEndian, s.blocks
	at, length := int64(be.Uint32(b)), int64(be.Uint32(b[4:]))
	switch {
	case at != k.at || end > at+length:
		return wrong("a block of %d bytes at %d, its batches lie from %d to %d", length, at, k.at, end)
	case end < at+length:
		return nil
	}
	first, last, newest := int64(be.Uint64(b[12:])), int64(be.Uint64(b[20:])), int64(be.Uint64(b[28:]))
	timed := newest == k.newest && !k.must || newest == -1 && k.may
	if first != k.first || last != k.last || !timed || be.Uint32(b[8:]) != k.crc {
		return wrong("a block has offsets %d to %d, max timestamp %d; its batches have %d to %d, %d, or another CRC", first, last, newest, k.first, k.last, k.newest)
	}
	k.open, s.blocks = false, b[blockSize:]
	a.newest, a.untimed = max(a.newest, newest), a.untimed || newest < 0
	return nil
}

// fits compares a whole section with its batches.
func (a *account) fits(s *section) error {
	if a.block.open || len(s.blocks) > 0 || len(s.epochs) > 0 {
		return wrong("blocks or leader epochs without batches")
	}
	if a.untimed {
		a.newest = -1
	}
	if a.records != s.Records || a.batches != s.Batches || a.first != s.First || a.last != s.Last || a.newest != s.MaxTimestamp || a.crc != s.CRC {
		return wrong("%d batches of %d records with offsets %d to %d, max timestamp %d; the section says %d of %d with %d to %d, %d, or another CRC",
			a.batches, a.records, a.first, a.last, a.newest, s.Batches, s.Records, s.First, s.Last, s.MaxTimestamp)
	}
	return nil
}
