package sim

import (
	"context"
	"testing"

	"github.com/varvelog/varve/tiering/objstore"
)

// TestDecodedObjectsAreReadWithoutFaults holds each kind of read: a long list of entries
// takes a range of its object.
func TestDecodedObjectsAreReadWithoutFaults(t *testing.T) {
	s := &Store{objects: map[string]*object{"k": {data: []byte("object")}}, outage: true}
	ctx, store := context.Background(), perfect{instant{s}}
	reads := map[string]func() ([]byte, error){
		"ject": func() ([]byte, error) { return objstore.ReadRange(ctx, store, "k", 2, 4) },
		"ct": func() ([]byte, error) {
			b, _, err := store.GetTail(ctx, "k", 2)
			return b, err
		},
		"object": func() ([]byte, error) { return store.Get(ctx, "k") },
	}
	for want, read := range reads {
		if got, err := read(); err != nil || string(got) != want {
			t.Errorf("read %q, error %v, want %q", got, err, want)
		}
	}
	if _, err := objstore.ReadRange(ctx, store, "other", 0, 1); err != objstore.ErrNotFound {
		t.Errorf("an absent object: error %v", err)
	}
}
