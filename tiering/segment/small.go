package segment

import (
	"encoding/binary"
	"fmt"

	"github.com/varvelog/varve/tiering/wire"
)

// small is an object of a few fields. In front of them it has the prologue of every object,
// and behind them its CRC.
type small interface {
	// implausible returns why the fields cannot be those of an object; empty if they can.
	implausible() string
}

// encodeSmall returns the object: the prologue, the bytes of fields, and the CRC of both.
func encodeSmall(object string, kind Kind, size int, v small, fields func(w *wire.Writer)) ([]byte, error) {
	if reason := v.implausible(); reason != "" {
		return nil, fmt.Errorf("encode %s: %w", object, invalid("%s", reason))
	}
	w := wire.Writer{B: make([]byte, 0, size)}
	appendPrologue(&w, kind)
	fields(&w)
	w.U32(checksum(w.B))
	return w.B, w.Err()
}

// decodeSmall checks prologue and CRC of a whole object, and has fields read v from the bytes
// between them.
func decodeSmall(object string, kind Kind, b []byte, v small, fields func(r *wire.Reader)) error {
	got, err := prologue(object, 0, b)
	if err != nil {
		return err
	}
	end := len(b) - 4
	switch {
	case end < prologueSize:
		return corrupt(object, 0, "%d bytes, cut short", len(b))
	case checksum(b[:end]) != binary.BigEndian.Uint32(b[end:]):
		return corrupt(object, end, "CRC mismatch")
	case got != kind:
		return wrongKind(object, 0, got)
	case b[prologueSize-1] != 0:
		return corrupt(object, prologueSize-1, "reserved byte is not zero")
	}
	r := wire.NewReader(b[prologueSize:end])
	fields(r)
	if err := r.Close(); err != nil {
		return corrupt(object, prologueSize+r.Pos(), "%v", err)
	}
	if reason := v.implausible(); reason != "" {
		return corrupt(object, 0, "%s", reason)
	}
	return nil
}
