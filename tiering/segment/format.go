// Package segment owns the formats of the objects in the bucket, and their keys. These are
// segments, fences and fillers (journal objects), floors, merged segments, names of topics,
// holds, and the cluster object. FORMAT.md in this folder is the published byte map.
//
// It promises that the results of Build, MergedWriter and the Encode functions decode to
// the same values, and that every byte of an object is covered by a check. A
// decoder never panics and never allocates more than a small multiple of its
// input, whatever the input. "Unsupported" and "corrupt" are different errors.
//
// It does no I/O, except that a MergedWriter writes to its io.Writer. It never looks into
// records beyond the headers of their batches. It does not know which objects of a journal
// are valid: that depends on their order.
package segment

import (
	"hash/crc32"
)

// Version is the format version of all objects this program writes and reads.
const Version = 1

// Limits, checked before writing and after reading.
const (
	MaxObjectSize = 64 << 20 // bytes of a journal object
	MaxEntries    = 1 << 16  // of a journal object
	MaxPartitions = 1 << 16  // of a journal object
	MaxKeySize    = 1024     // bytes of an object key, the limit of S3
)

// Sizes in bytes. A journal object is
//
//	header (HeaderSize)
//	entries section
//	record batches of partition 1, 2 ... in the order of (topic, index)
//	footer: header again, place of the entries, partitions
//	trailer (TrailerSize): place of the footer
//
// without a gap between them.
const (
	HeaderSize  = 192
	TrailerSize = 32

	magic        = "VARV"
	prologueSize = 8 // magic, version, kind, reserved byte: of every object

	entriesFixedSize   = 4 // count
	entryFixedSize     = 8 // kind, reserved, payload length
	footerFixedSize    = HeaderSize + 32
	partitionFixedSize = 96
	sparseSize         = 8
	producerFixedSize  = 12
	producerBatchSize  = 32
	openTxnSize        = 20
	abortedTxnSize     = 24

	minObjectSize = HeaderSize + entriesFixedSize + footerFixedSize + TrailerSize
)

// sparseInterval is the least number of bytes of a partition between two sparse
// entries.
const sparseInterval = 64 << 10

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }
