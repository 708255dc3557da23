package readback

import (
	"context"
	"io"
)

// choice leaves records out of a Sum.
type choice struct {
	stays     func(offset int64, key []byte, tombstone bool) bool // nil: all of them
	key       []byte
	null      bool // the key
	tombstone bool // the value is null
}

// keyWriter returns where the bytes of a key go: into the hash, and to the choice if there
// is one.
func (r *Reader) keyWriter() io.Writer {
	if r.choice.stays == nil {
		return &r.hash
	}
	r.choice.key = r.choice.key[:0]
	return (*keyWriter)(r)
}

type keyWriter Reader

// Write implements io.Writer.
func (w *keyWriter) Write(b []byte) (int, error) {
	w.choice.key = append(w.choice.key, b...)
	return w.hash.Write(b)
}

func (c *choice) takes(offset int64) bool {
	switch {
	case c.stays == nil:
		return true
	case c.null:
		return c.stays(offset, nil, c.tombstone)
	case c.key == nil:
		c.key = []byte{} // an empty key is a key
	}
	return c.stays(offset, c.key, c.tombstone)
}

// Chosen is Batch for the records for which stays returns true, as far as the batch can be
// decoded. The key is nil if it is null, and valid during the call.
func (r *Reader) Chosen(ctx context.Context, b []byte, stays func(offset int64, key []byte, tombstone bool) bool) (Sum, error) {
	h, err := parseOne(b)
	if err != nil {
		return Sum{}, err
	}
	r.choice.stays = stays
	defer func() { r.choice.stays = nil }()
	sum, _, err := r.batch(ctx, b, &h)
	return sum, err
}
