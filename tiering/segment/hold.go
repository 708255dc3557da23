package segment

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/varvelog/varve/tiering/wire"
)

// KindHold pauses the deletion of objects.
const KindHold Kind = 10

// Hold says that no object may be deleted for some time, because a backup reads the
// bucket. It takes effect before the next round of deletions.
type Hold struct {
	Cluster   ID
	Object    ID    // its key has it
	CreatedMs int64 // creator's clock, Unix milliseconds
	UntilMs   int64 // when it ends by itself, Unix milliseconds
	Reason    string
}

// HoldPrefix is the common prefix of the keys of holds.
const HoldPrefix = "holds/"

// MaxReason is the longest reason of a hold, in bytes.
const MaxReason = 1024

// HoldKey returns the key of a hold.
func HoldKey(object ID) string { return HoldPrefix + object.String() }

// ParseHoldKey is the inverse of HoldKey; false if key is not that of a hold.
func ParseHoldKey(key string) (object ID, ok bool) {
	name, ok := strings.CutPrefix(key, HoldPrefix)
	if !ok {
		return ID{}, false
	}
	object, err := ParseID(name)
	return object, err == nil && HoldKey(object) == key
}

const (
	holdObject    = "hold object"
	holdFixedSize = 64
	holdReserved  = 6
)

// EncodeHold returns the hold object:
//
//	 0   8  magic "VARV", version, kind 10, zero
//	 8  16  cluster id
//	24  16  object id
//	40   8  created, Unix milliseconds
//	48   8  until, Unix milliseconds
//	56   6  zero
//	62   2  length of the reason
//	64      the reason
//	     4  CRC-32C of the bytes before
func EncodeHold(h Hold) ([]byte, error) {
	return encodeSmall(holdObject, KindHold, holdFixedSize+len(h.Reason)+4, &h, func(w *wire.Writer) {
		w.ID(h.Cluster)
		w.ID(h.Object)
		w.I64(h.CreatedMs)
		w.I64(h.UntilMs)
		w.Zeros(holdReserved)
		w.String16(h.Reason)
	})
}

// DecodeHold decodes a whole hold object.
func DecodeHold(b []byte) (Hold, error) {
	var h Hold
	err := decodeSmall(holdObject, KindHold, b, &h, func(r *wire.Reader) {
		h = Hold{Cluster: r.ID(), Object: r.ID(), CreatedMs: r.I64(), UntilMs: r.I64()}
		r.Zeros(holdReserved)
		h.Reason = r.String16()
	})
	if err != nil {
		return Hold{}, err
	}
	return h, nil
}

func (h *Hold) implausible() string {
	switch {
	case h.Cluster.IsZero() || h.Object.IsZero():
		return "cluster or object is zero"
	case h.CreatedMs < 0 || h.UntilMs < h.CreatedMs:
		return fmt.Sprintf("it lasts from %d to %d", h.CreatedMs, h.UntilMs)
	case len(h.Reason) > MaxReason || !utf8.ValidString(h.Reason):
		return fmt.Sprintf("the reason has %d bytes, at most %d, or is no text", len(h.Reason), MaxReason)
	}
	return ""
}
