package s3http

import (
	"context"
	"errors"
	"fmt"

	"github.com/varvelog/varve/tiering/objstore"
)

// Delete implements objstore.Store.
func (s *Store) Delete(ctx context.Context, key string) error {
	if err := objstore.CheckKey(key); err != nil {
		return err
	}
	err := s.client.Remove(ctx, s.prefix+key)
	if err != nil && !errors.Is(s.classify(err), objstore.ErrNotFound) {
		return s.explain("delete", key, err)
	}
	return nil
}

// DeleteBatch implements objstore.Batcher. A store that has refused one batch as a request
// it does not take is not asked again.
func (s *Store) DeleteBatch(ctx context.Context, keys []string) ([]error, error) {
	if err := objstore.CheckBatch(keys); err != nil {
		return nil, err
	}
	if s.unbatched.Load() {
		return nil, errors.ErrUnsupported
	}
	names := make([]string, len(keys))
	for i, key := range keys {
		names[i] = s.prefix + key
	}
	removals, err := s.client.RemoveAll(ctx, names)
	if err != nil && unsupported(s.client.Answer(err)) {
		s.unbatched.Store(true)
		return nil, fmt.Errorf("%w: %w", errors.ErrUnsupported, err)
	}
	if err != nil {
		return nil, fmt.Errorf("delete %d objects in %s: %w", len(keys), s.url, s.classify(err))
	}
	outcomes := outcomesOf(names, removals)
	for i, err := range outcomes {
		if err != nil {
			outcomes[i] = fmt.Errorf("delete object %q in %s: %w", keys[i], s.url, err)
		}
	}
	return outcomes, nil
}

var errUnnamed = errors.New("the answer does not name it")

// outcomesOf returns the outcome for each of the names. A name without an answer is not
// deleted as far as anything is known, and an error outweighs a success.
func outcomesOf(names []string, removals []Removal) []error {
	said := make(map[string]error, len(removals))
	for _, r := range removals {
		if err := removed(r); err != nil {
			said[r.Name] = err
		} else if _, ok := said[r.Name]; !ok {
			said[r.Name] = nil
		}
	}
	outcomes := make([]error, len(names))
	for i, name := range names {
		err, ok := said[name]
		if !ok {
			err = errUnnamed
		}
		outcomes[i] = err
	}
	return outcomes
}

func removed(r Removal) error {
	switch r.Code {
	case "", noSuchKey:
		return nil
	case accessDenied:
		return fmt.Errorf("%w: %s", objstore.ErrDenied, r.Message)
	}
	return fmt.Errorf("%s: %s", r.Code, r.Message)
}
