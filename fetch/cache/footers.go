package cache

import (
	"context"
	"fmt"
	"unsafe"

	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/segment"
)

// tailSize is how many bytes of an object's end the first GET asks for. They hold the
// footers of most objects, and all of a small object.
const tailSize = 256 << 10

// typicalFooter is the memory that a footer of a few partitions takes, in bytes.
const typicalFooter = 2 << 10

// Object is an object whose footer was read and checked. It must not be changed.
type Object struct {
	Key    string
	Size   int64 // bytes
	Footer *segment.Footer
}

// Footer returns the journal object at key with its footer, which check has accepted;
// the errors of check are returned as they are. All callers must accept the same footers
// for a key. whole is the object if it is in memory already. If it is nil, the footer is
// read once for all callers. When ctx ends, Footer returns its error, and the load goes
// on for the other callers.
func (c *Cache) Footer(ctx context.Context, key string, whole []byte, check func(*segment.Footer) error) (*Object, error) {
	if o, ok := cached[*Object](c, key); ok {
		return o, nil
	}
	o, err := indexOf(ctx, c, key, func(ctx context.Context) (*Object, error) {
		if whole != nil {
			o, _, err := decodeFooter(key, whole, int64(len(whole)), check)
			return o, err
		}
		return c.loadFooter(ctx, key, check)
	}, whole != nil)
	if err != nil && whole == nil {
		return nil, fmt.Errorf("read footer of %q: %w", key, err)
	}
	return o, err
}

// loadFooter reads a footer. A small object comes with it, and is kept.
func (c *Cache) loadFooter(ctx context.Context, key string, check func(*segment.Footer) error) (*Object, error) {
	o, tail, err := c.getFooter(ctx, key, check)
	if err == nil && int64(len(tail)) == o.Size && o.Size <= c.blockSize {
		c.keep(blockID{key, 0}, tail)
	}
	return o, err
}

func (c *Cache) getFooter(ctx context.Context, key string, check func(*segment.Footer) error) (*Object, []byte, error) {
	want := int64(tailSize)
	for range 2 {
		tail, size, err := c.store.GetTail(ctx, key, want)
		if err != nil {
			return nil, nil, err
		}
		if int64(len(tail)) != min(want, size) {
			return nil, nil, fmt.Errorf("store returned %d bytes, not %d: %w", len(tail), min(want, size), objstore.ErrRange)
		}
		o, need, err := decodeFooter(key, tail, size, check)
		if err != nil || need == 0 {
			return o, tail, err
		}
		want = need
	}
	return nil, nil, fmt.Errorf("footer of %d bytes: %w", want, segment.ErrCorrupt)
}

func decodeFooter(key string, tail []byte, size int64, check func(*segment.Footer) error) (o *Object, need int64, err error) {
	f, need, err := segment.DecodeFooterTail(tail, size)
	if err != nil || need > 0 {
		return nil, need, err
	}
	if err := check(f); err != nil {
		return nil, 0, err
	}
	return &Object{Key: key, Size: size, Footer: f}, 0, nil
}

// memory estimates the bytes that the object takes.
func (o *Object) memory() int64 {
	n := int64(unsafe.Sizeof(*o)) + int64(len(o.Key)) + int64(unsafe.Sizeof(*o.Footer))
	for i := range o.Footer.Partitions {
		p := &o.Footer.Partitions[i]
		n += int64(unsafe.Sizeof(*p)) +
			int64(len(p.Sparse))*int64(unsafe.Sizeof(segment.SparseEntry{})) +
			int64(len(p.OpenTxns))*int64(unsafe.Sizeof(segment.OpenTxn{})) +
			int64(len(p.AbortedTxns))*int64(unsafe.Sizeof(segment.AbortedTxn{}))
		for _, producer := range p.Producers {
			n += int64(unsafe.Sizeof(producer)) +
				int64(len(producer.Batches))*int64(unsafe.Sizeof(segment.ProducerBatch{}))
		}
	}
	return n
}
