package rebuild

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/segment"
)

// RestoreCopy stores a copy of an index object again that is missing or damaged, from the
// other copy. An error means that the copy is not known to be whole.
func RestoreCopy(ctx context.Context, store objstore.Store, lost segment.IndexName) error {
	other := lost
	other.Copy = !lost.Copy
	good, err := store.Get(ctx, other.Key())
	if err == nil {
		err = isIndex(good, lost)
	}
	if err != nil {
		return fmt.Errorf("the other copy, %s, is of no use: %w", other.Key(), err)
	}
	for range getTries { // damage may be that of one read
		found, err := store.Get(ctx, lost.Key())
		switch {
		case err == nil && bytes.Equal(found, good):
			return nil
		case err == nil && isIndex(found, lost) == nil:
			return fmt.Errorf("%s and %s are both whole, and differ", lost.Key(), other.Key())
		case errors.Is(err, objstore.ErrNotFound):
			return createCopy(ctx, store, lost.Key(), good)
		case err != nil:
			return fmt.Errorf("read %s: %w", lost.Key(), err)
		}
	}
	if err := store.Delete(ctx, lost.Key()); err != nil {
		return fmt.Errorf("delete the damaged %s: %w", lost.Key(), err)
	}
	return createCopy(ctx, store, lost.Key(), good)
}

// isIndex returns why b is not the index object of a name, or nil.
func isIndex(b []byte, name segment.IndexName) error {
	blob, err := segment.DecodeBlob(segment.KindIndex, b)
	if err == nil && (blob.Object != name.Object || blob.Journal != name.Journal) {
		err = fmt.Errorf("%w: it is index object %s of journal %d", segment.ErrCorrupt, blob.Object, blob.Journal)
	}
	return err
}

func createCopy(ctx context.Context, store objstore.Store, key string, b []byte) error {
	createErr := store.Create(ctx, key, objstore.Plain(b))
	got, err := store.Get(ctx, key)
	switch {
	case err != nil:
		return errors.Join(createErr, fmt.Errorf("read %s back: %w", key, err))
	case !bytes.Equal(got, b):
		return errors.Join(createErr, fmt.Errorf("%w: %s reads back otherwise than it was written", segment.ErrCorrupt, key))
	}
	return nil
}
