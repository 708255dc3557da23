package segment

import (
	"fmt"

	"github.com/varvelog/varve/tiering/batch"
)

// A merged segment holds batches of one or more partitions, sorted by partition:
//
//	header (MergedHeaderSize)
//	for each partition in the order of (topic, index):
//	    its batches back to back
//	    its section: what a reader of the partition needs to know
//	directory: the places of the sections
//	trailer (MergedTrailerSize): place of the directory
//
// without a gap between them. A reader that knows a partition's position and length from
// elsewhere gets the section by one ranged read; it needs neither directory nor trailer.
const (
	MergedHeaderSize  = 144
	MergedTrailerSize = 40
	MaxMergedSize     = 128 << 20 // bytes of a merged segment
	MaxTopicName      = 249       // bytes of the name of a topic

	sectionMagic     = "VARP"
	sectionFixedSize = 144
	blockSize        = 36
	epochStartSize   = 12

	directoryFixedSize = 24
	sectionPlaceSize   = 28

	minSectionSize = sectionFixedSize + 1 + blockSize + epochStartSize + 4
	minMergedSize  = MergedHeaderSize + batch.HeaderSize + minSectionSize + directoryFixedSize + sectionPlaceSize + MergedTrailerSize
)

// blockBytes is how many bytes of batches a writer puts into a block. A larger batch has
// one of its own.
const blockBytes = 1 << 20

// MergedHeader describes a merged segment. It stands at the start of the object.
type MergedHeader struct {
	Name        Name   // its Object is the id of the object
	Journal     uint32 // the one that has the segment in its state
	Cluster     ID
	Job         ID // the job that wrote it
	Node        ID // the data folder of the writer
	Incarnation ID // the start of the writer's process
	BuiltMs     int64
}

// MergedPart is the part of a partition in a merged segment as the caller of a writer describes it.
type MergedPart struct {
	Topic       ID
	Index       int32
	TopicName   string
	From, To    int64 // the half-open range of offsets that it answers for
	SourceMs    int64 // when the newest of its sources from a journal was built, Unix milliseconds
	AbortedTxns []AbortedTxn
}

// MergedPartition is the section of a partition: its part, and the account of its batches.
type MergedPartition struct {
	MergedPart
	Object       ID
	Position     uint32 // of the first batch, from the start of the object
	Length       uint32 // bytes of all batches, which lie back to back
	IndexLength  uint32 // bytes of the section, which follows the batches
	CRC          uint32 // CRC-32C of the batches
	First, Last  int64  // first offset of the first batch, last offset of the last one
	Records      uint64
	Batches      uint32
	MaxTimestamp int64 // Unix milliseconds, -1 if it is not known, or no record has one
	Blocks       []Block
	Epochs       []batch.EpochStart // with the first offset of their batches in the segment
}

// Block is a run of whole batches that a reader gets at once.
type Block struct {
	Position     uint32 // from the start of the object
	Length       uint32
	CRC          uint32 // CRC-32C of the batches
	First, Last  int64  // first offset of the first batch, last offset of the last one
	MaxTimestamp int64  // of its own records, Unix milliseconds, -1 if it is not known, or none has one
}

// SectionPlace is the place of the section of a partition.
type SectionPlace struct {
	Topic            ID
	Index            int32
	Position, Length uint32
}

// MergedDirectory is the index of a merged segment, in the order of (topic, index).
type MergedDirectory struct {
	Object   ID
	Sections []SectionPlace
}

// Check compares b, the bytes of the block, with its length and CRC.
func (b *Block) Check(data []byte) error {
	if reason := (Section{Length: uint64(b.Length), CRC: b.CRC}).mismatch(data); reason != "" {
		return corrupt("block of a merged segment", int(b.Position), "%s", reason)
	}
	return nil
}

func (p *MergedPart) compare(q *MergedPart) int {
	return comparePartitions(p.Topic, p.Index, q.Topic, q.Index)
}

func (p *MergedPart) name() string { return fmt.Sprintf("partition %s-%d", p.Topic, p.Index) }

// implausible returns why no part can be like this, or "".
func (p *MergedPart) implausible() string {
	switch {
	case p.Topic.IsZero():
		return "topic id is zero"
	case p.Index < 0:
		return fmt.Sprintf("index %d", p.Index)
	case p.TopicName == "" || len(p.TopicName) > MaxTopicName:
		return fmt.Sprintf("name of the topic has %d bytes, must have from 1 to %d", len(p.TopicName), MaxTopicName)
	case p.From < 0 || p.To <= p.From:
		return fmt.Sprintf("covered range from %d to %d", p.From, p.To)
	}
	last := int64(-1)
	for _, t := range p.AbortedTxns {
		if t.ProducerID < 0 || t.FirstOffset < 0 || t.FirstOffset > t.LastOffset || t.LastOffset <= last ||
			t.FirstOffset >= p.To || t.LastOffset < p.From {
			return fmt.Sprintf("aborted transaction of producer %d from %d to %d", t.ProducerID, t.FirstOffset, t.LastOffset)
		}
		last = t.LastOffset
	}
	return ""
}
