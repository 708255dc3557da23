package segment

import (
	"encoding/binary"
	"fmt"

	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/wire"
)

const sectionObject = "section of a merged segment"

// appendSection writes the section of a partition:
//
//	  0   4  magic "VARP"
//	  4   2  version
//	  6   2  zero
//	  8  16  object id
//	 24  16  topic id
//	 40   4  index
//	 44   4  position of its batches
//	 48   4  length of its batches
//	 52   4  CRC-32C of its batches
//	 56   8  from: first covered offset
//	 64   8  to: one after the last covered offset
//	 72   8  first offset of the batches
//	 80   8  last offset of the batches
//	 88   8  records
//	 96   8  max timestamp
//	104   8  source built, Unix milliseconds
//	112   4  batches
//	116   4  blocks
//	120   4  leader epochs
//	124   4  aborted transactions
//	128  14  zero
//	142   2  length of the topic's name
//	144      the name, the blocks, leader epochs and aborted transactions
//	      4  CRC-32C of the bytes before
func appendSection(w *wire.Writer, p *MergedPartition) {
	start := len(w.B)
	w.Raw([]byte(sectionMagic))
	w.U16(Version)
	w.U16(0)
	w.ID(p.Object)
	w.ID(p.Topic)
	w.I32(p.Index)
	w.U32(p.Position)
	w.U32(p.Length)
	w.U32(p.CRC)
	w.I64(p.From)
	w.I64(p.To)
	w.I64(p.First)
	w.I64(p.Last)
	w.U64(p.Records)
	w.I64(p.MaxTimestamp)
	w.I64(p.SourceMs)
	w.U32(p.Batches)
	w.U32(uint32(len(p.Blocks)))
	w.U32(uint32(len(p.Epochs)))
	w.U32(uint32(len(p.AbortedTxns)))
	w.Zeros(14)
	w.String16(p.TopicName)
	appendSectionLists(w, p)
	w.U32(checksum(w.B[start:]))
}

// appendSectionLists writes the lists of a section one after the other. The items are
//
//	block (36):         position 4, length 4, CRC-32C 4, first offset 8, last offset 8, max timestamp 8
//	leader epoch (12):  epoch 4, start offset 8
//	aborted txn (24):   producer id 8, first offset 8, last offset 8
func appendSectionLists(w *wire.Writer, p *MergedPartition) {
	for _, b := range p.Blocks {
		w.U32(b.Position)
		w.U32(b.Length)
		w.U32(b.CRC)
		w.I64(b.First)
		w.I64(b.Last)
		w.I64(b.MaxTimestamp)
	}
	for _, e := range p.Epochs {
		w.I32(e.Epoch)
		w.I64(e.Start)
	}
	for _, t := range p.AbortedTxns {
		w.I64(t.ProducerID)
		w.I64(t.FirstOffset)
		w.I64(t.LastOffset)
	}
}

// sectionSize returns how many bytes appendSection writes.
func (p *MergedPartition) sectionSize() int {
	return sectionFixedSize + len(p.TopicName) + blockSize*len(p.Blocks) + epochStartSize*len(p.Epochs) + abortedTxnSize*len(p.AbortedTxns) + 4
}

// DecodeMergedPartition decodes the section of a partition, which section holds whole.
// Offsets in errors count from its start.
func DecodeMergedPartition(section []byte) (*MergedPartition, error) {
	end := len(section) - 4
	switch {
	case len(section) < prologueSize:
		return nil, corrupt(sectionObject, 0, "%d bytes, cut short", len(section))
	case string(section[:4]) != sectionMagic:
		return nil, corrupt(sectionObject, 0, "magic is %q, not %q", section[:4], sectionMagic)
	case binary.BigEndian.Uint16(section[4:]) != Version:
		return nil, unsupported(sectionObject, "version", binary.BigEndian.Uint16(section[4:]))
	case len(section) < minSectionSize || len(section) > MaxMergedSize:
		return nil, corrupt(sectionObject, 0, "%d bytes, must have from %d to %d", len(section), minSectionSize, MaxMergedSize)
	case checksum(section[:end]) != binary.BigEndian.Uint32(section[end:]):
		return nil, corrupt(sectionObject, end, "CRC mismatch")
	}
	r := wire.NewReader(section[6:end])
	p := readSection(r)
	if err := r.Close(); err != nil {
		return nil, corrupt(sectionObject, 6+r.Pos(), "%v", err)
	}
	p.IndexLength = uint32(len(section))
	if reason := p.implausible(); reason != "" {
		return nil, corrupt(sectionObject, 0, "%s: %s", p.name(), reason)
	}
	return p, nil
}

// readSection reads a section from its zero bytes on.
func readSection(r *wire.Reader) *MergedPartition {
	r.Zeros(2)
	p := &MergedPartition{Object: r.ID()}
	p.Topic, p.Index = r.ID(), r.I32()
	p.Position, p.Length, p.CRC = r.U32(), r.U32(), r.U32()
	p.From, p.To = r.I64(), r.I64()
	p.First, p.Last = r.I64(), r.I64()
	p.Records, p.MaxTimestamp, p.SourceMs = r.U64(), r.I64(), r.I64()
	p.Batches = r.U32()
	blocks, epochs, aborted := r.U32(), r.U32(), r.U32()
	r.Zeros(14)
	p.TopicName = r.String16()
	p.Blocks = readList(r, blocks, blockSize, readBlock)
	p.Epochs = readList(r, epochs, epochStartSize, readEpochStart)
	p.AbortedTxns = readList(r, aborted, abortedTxnSize, readAbortedTxn)
	return p
}

func readBlock(r *wire.Reader) Block {
	return Block{Position: r.U32(), Length: r.U32(), CRC: r.U32(), First: r.I64(), Last: r.I64(), MaxTimestamp: r.I64()}
}

func readEpochStart(r *wire.Reader) batch.EpochStart {
	return batch.EpochStart{Epoch: r.I32(), Start: r.I64()}
}

// implausible returns why no section can be like this, or "".
func (p *MergedPartition) implausible() string {
	if reason := p.MergedPart.implausible(); reason != "" {
		return reason
	}
	switch {
	case p.Object.IsZero():
		return "object id is zero"
	case p.Position < MergedHeaderSize || uint64(p.Position)+uint64(p.Length)+uint64(p.IndexLength) > MaxMergedSize:
		return fmt.Sprintf("%d bytes at %d and a section of %d", p.Length, p.Position, p.IndexLength)
	case p.First < p.From || p.Last < p.First || p.Last >= p.To:
		return fmt.Sprintf("offsets %d to %d in the range from %d to %d", p.First, p.Last, p.From, p.To)
	case p.Batches == 0 || uint64(p.Batches)*batch.HeaderSize > uint64(p.Length):
		return fmt.Sprintf("%d batches in %d bytes", p.Batches, p.Length)
	case p.Records > uint64(p.Last-p.First)+1 || uint64(p.Batches) > uint64(p.Last-p.First)+1:
		return fmt.Sprintf("%d batches of %d records at offsets %d to %d", p.Batches, p.Records, p.First, p.Last)
	}
	if reason := p.implausibleBlocks(); reason != "" {
		return reason
	}
	return p.implausibleEpochs()
}

// implausibleBlocks checks that the blocks follow each other without a gap of bytes.
func (p *MergedPartition) implausibleBlocks() string {
	position, last := uint64(p.Position), p.First-1
	for i, b := range p.Blocks {
		if uint64(b.Position) != position || b.Length < batch.HeaderSize || b.First <= last || b.Last < b.First || b.MaxTimestamp < -1 {
			return fmt.Sprintf("block %d of %d bytes at %d with offsets %d to %d follows offset %d", i, b.Length, b.Position, b.First, b.Last, last)
		}
		position, last = position+uint64(b.Length), b.Last
	}
	switch {
	case len(p.Blocks) == 0 || p.Blocks[0].First != p.First || last != p.Last || position != uint64(p.Position)+uint64(p.Length):
		return fmt.Sprintf("%d blocks are not those of the partition", len(p.Blocks))
	case newestOf(p.Blocks) != p.MaxTimestamp:
		return fmt.Sprintf("max timestamp is %d, that of the blocks %d", p.MaxTimestamp, newestOf(p.Blocks))
	}
	return ""
}

// newestOf returns the max timestamp of a partition: it is known if that of each block is.
func newestOf(blocks []Block) int64 {
	newest := int64(-1)
	for _, b := range blocks {
		if b.MaxTimestamp < 0 {
			return -1
		}
		newest = max(newest, b.MaxTimestamp)
	}
	return newest
}

func (p *MergedPartition) implausibleEpochs() string {
	last := batch.EpochStart{Epoch: -1, Start: p.First - 1}
	for i, e := range p.Epochs {
		if e.Epoch <= last.Epoch || e.Start <= last.Start || e.Start > p.Last || i == 0 && e.Start != p.First {
			return fmt.Sprintf("leader epoch %d starts at offset %d, after epoch %d at %d", e.Epoch, e.Start, last.Epoch, last.Start)
		}
		last = e
	}
	if len(p.Epochs) == 0 {
		return "no leader epoch"
	}
	return ""
}
