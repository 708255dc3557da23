package wal

import (
	"errors"
	"fmt"
	"time"

	"github.com/varvelog/varve/tiering/segment"
)

// Options give the place of a log and its identity.
type Options struct {
	Dir         string     // folder of the journal's write-ahead files; made if missing
	Cluster     segment.ID // the cluster whose bucket the records go to
	Node        segment.ID // the data folder
	Incarnation segment.ID // the log: Open refuses a second log of that id in Dir
	Journal     uint32

	FS           FS               // zero: OS
	SegmentBytes int64            // size of a file, a multiple of 512; zero: 64 MiB, or half of MaxBytes if that is less
	LeastBytes   int64            // size of a file if there is no room for a longer one; zero: the size that the longest record needs
	MaxBytes     int64            // most bytes this incarnation's files may take; zero: no limit
	Now          func() time.Time // names folders set aside; zero: time.Now
}

const (
	defaultSegmentBytes = 64 << 20
	sectorSize          = 512
	// minFiles is the number of files that the log needs to go on: the current
	// one and the next one.
	minFiles = 2
)

// withDefaults replaces zero values and rejects contradictions.
func (o Options) withDefaults() (Options, error) {
	if o.FS == nil {
		o.FS = OS{}
	}
	if o.SegmentBytes == 0 {
		o.SegmentBytes = defaultSegmentBytes
		if o.MaxBytes > 0 {
			o.SegmentBytes = min(o.SegmentBytes, o.MaxBytes/minFiles/sectorSize*sectorSize)
		}
	}
	if o.LeastBytes == 0 {
		o.LeastBytes = min(o.SegmentBytes, (headerSize+MaxRecord+sectorSize-1)/sectorSize*sectorSize)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	switch {
	case o.Dir == "":
		return o, errors.New("write-ahead log: no folder given")
	case o.Cluster.IsZero() || o.Node.IsZero():
		return o, errors.New("write-ahead log: cluster id or node id is not set")
	case o.SegmentBytes < 2*headerSize || o.SegmentBytes%sectorSize != 0:
		return o, fmt.Errorf("write-ahead log: file size %d: give a multiple of %d, at least %d", o.SegmentBytes, sectorSize, 2*headerSize)
	case o.LeastBytes < 2*headerSize || o.LeastBytes%sectorSize != 0 || o.LeastBytes > o.SegmentBytes:
		return o, fmt.Errorf("write-ahead log: least file size %d: give a multiple of %d, at most %d", o.LeastBytes, sectorSize, o.SegmentBytes)
	case o.MaxBytes != 0 && o.MaxBytes < minFiles*o.SegmentBytes:
		return o, fmt.Errorf("write-ahead log: disk budget %d is less than %d files of %d bytes", o.MaxBytes, minFiles, o.SegmentBytes)
	}
	return o, nil
}

// reserve is the least space that a file must have while the log accepts
// records without a next file.
func (o Options) reserve() int64 { return min(1<<20, o.SegmentBytes/8) }

// maxRecord is the longest record, with padding, that every file can hold.
func (o Options) maxRecord() int {
	return int(min(MaxRecord, o.LeastBytes-headerSize))
}

// header returns the header of file number, whose first record is first.
func (o Options) header(number, first uint64) fileHeader {
	return fileHeader{
		Cluster: o.Cluster, Node: o.Node, Incarnation: o.Incarnation,
		Journal: o.Journal, Number: number, FirstLSN: first,
	}
}
