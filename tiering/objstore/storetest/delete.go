package storetest

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/varvelog/varve/tiering/objstore"
)

func deleteRemoves(t *testing.T, s objstore.Store) {
	create(t, s, "a/b", []byte("x"))
	create(t, s, "a/c", []byte("y"))
	for _, key := range []string{"a/b", "a/b", "never/there", "a"} {
		if err := s.Delete(t.Context(), key); err != nil {
			t.Errorf("Delete %s: %v", key, err)
		}
	}
	_, err := s.Get(t.Context(), "a/b")
	wantErr(t, "Get of a deleted object", err, objstore.ErrNotFound)
	if got := list(t, s, "", ""); !slices.Equal(got, []string{"a/c"}) {
		t.Errorf("left: %q", got)
	}
}

func deleteAll(t *testing.T, s objstore.Store) {
	for _, key := range []string{"a/b", "a/c", "a/d"} {
		create(t, s, key, []byte("x"))
	}
	keys := []string{"a/b", "never/there", "a/c", "a", "a/b"}
	for i, err := range objstore.DeleteAll(t.Context(), s, keys) {
		if err != nil {
			t.Errorf("%s: %v", keys[i], err)
		}
	}
	for _, key := range keys {
		_, err := s.Get(t.Context(), key)
		wantErr(t, "Get of the deleted "+key, err, objstore.ErrNotFound)
	}
	if got := list(t, s, "", ""); !slices.Equal(got, []string{"a/d"}) {
		t.Errorf("left: %q", got)
	}
	if outcomes := objstore.DeleteAll(t.Context(), s, nil); len(outcomes) != 0 {
		t.Errorf("%d outcomes for no key", len(outcomes))
	}
	if outcomes := objstore.DeleteAll(t.Context(), s, []string{"a/e", "a//b"}); len(outcomes) != 2 || outcomes[1] == nil {
		t.Errorf("an invalid key: %v", outcomes)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for i, err := range objstore.DeleteAll(ended, s, []string{"a/d", "a/e"}) {
		if err == nil {
			t.Errorf("key %d with an ended context: no error", i)
		}
	}
}

func createAfterDelete(t *testing.T, s objstore.Store) {
	for i, remove := range []func(key string) error{
		func(key string) error { return s.Delete(t.Context(), key) },
		func(key string) error { return objstore.DeleteAll(t.Context(), s, []string{key})[0] },
	} {
		create(t, s, "a/b", []byte("old"))
		if err := remove("a/b"); err != nil {
			t.Fatal(err)
		}
		_, err := s.Get(t.Context(), "a/b")
		wantErr(t, "Get after Delete", err, objstore.ErrNotFound)
		create(t, s, "a/b", fmt.Appendf(nil, "new %d", i))
		if got := get(t, s, "a/b"); string(got) != fmt.Sprintf("new %d", i) {
			t.Errorf("got %q", got)
		}
		if err := remove("a/b"); err != nil {
			t.Fatal(err)
		}
	}
}
