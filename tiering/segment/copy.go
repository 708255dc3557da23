package segment

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/varvelog/varve/tiering/wire"
)

// KindCopy marks a bucket as a copy of another one.
const KindCopy Kind = 11

// CopyState is how far the copying is.
type CopyState uint8

// The states.
const (
	CopyBegun  CopyState = 1 // objects are being copied: the bucket is not whole
	CopyDone   CopyState = 2 // all objects are there
	CopyOpened CopyState = 3 // a node writes to the bucket, which is no copy any more
)

// Copy is a mark in a bucket that is a copy. Copying again adds to a copy, and has the next
// number.
type Copy struct {
	State       CopyState
	Cluster     ID
	Object      ID     // of the run that copied, or the new incarnation of the cluster
	Incarnation ID     // of the cluster that was copied, zero for one that is no copy itself
	Number      uint64 // of the run, from 1; of an opened copy that of the last run
	TimeMs      int64  // writer's clock, Unix milliseconds
	Objects     uint64 // that the copy consists of, once it is done
	Bytes       uint64 // of these
	Source      string // the bucket that was copied, for people
}

// CopyPrefix is the common prefix of the keys of these marks.
const CopyPrefix = "copy/"

// CopyOpenedKey is the key of the mark of a copy to which nodes write.
const CopyOpenedKey = CopyPrefix + "opened"

// CopyBegunKey and CopyDoneKey are the keys of the marks of the n-th run.
func CopyBegunKey(n uint64) string { return fmt.Sprintf("%s%020d/begun", CopyPrefix, n) }

// CopyDoneKey is the key of the mark of the end of the n-th run.
func CopyDoneKey(n uint64) string { return fmt.Sprintf("%s%020d/done", CopyPrefix, n) }

// IsCopyKey reports whether a key may be that of a mark.
func IsCopyKey(key string) bool { return strings.HasPrefix(key, CopyPrefix) }

const (
	copyObject    = "mark of a copy"
	copyFixedSize = 96
	maxCopySource = 1024
)

// EncodeCopy returns the mark:
//
//	 0   8  magic "VARV", version, kind 11, zero
//	 8  16  cluster id
//	24  16  object id
//	40  16  incarnation
//	56   8  number
//	64   8  time, Unix milliseconds
//	72   8  objects
//	80   8  bytes
//	88   1  state
//	89   5  zero
//	94   2  length of the source
//	96      the source
//	     4  CRC-32C of the bytes before
func EncodeCopy(c Copy) ([]byte, error) {
	return encodeSmall(copyObject, KindCopy, copyFixedSize+len(c.Source)+4, &c, func(w *wire.Writer) {
		w.ID(c.Cluster)
		w.ID(c.Object)
		w.ID(c.Incarnation)
		w.U64(c.Number)
		w.I64(c.TimeMs)
		w.U64(c.Objects)
		w.U64(c.Bytes)
		w.U8(uint8(c.State))
		w.Zeros(5)
		w.String16(c.Source)
	})
}

// DecodeCopy decodes a whole mark.
func DecodeCopy(b []byte) (Copy, error) {
	var c Copy
	err := decodeSmall(copyObject, KindCopy, b, &c, func(r *wire.Reader) {
		c = Copy{Cluster: r.ID(), Object: r.ID(), Incarnation: r.ID(), Number: r.U64(), TimeMs: r.I64(), Objects: r.U64(), Bytes: r.U64()}
		c.State = CopyState(r.U8())
		r.Zeros(5)
		c.Source = r.String16()
	})
	if err != nil {
		return Copy{}, err
	}
	return c, nil
}

func (c *Copy) implausible() string {
	switch {
	case c.Cluster.IsZero() || c.Object.IsZero() || c.Number == 0:
		return "cluster, object or number is zero"
	case c.State < CopyBegun || c.State > CopyOpened:
		return fmt.Sprintf("state %d", c.State)
	case c.TimeMs < 0:
		return fmt.Sprintf("time %d", c.TimeMs)
	case len(c.Source) > maxCopySource || !utf8.ValidString(c.Source):
		return fmt.Sprintf("the source has %d bytes, at most %d, or is no text", len(c.Source), maxCopySource)
	}
	return ""
}
