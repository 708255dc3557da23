package verify

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/restore"
	"github.com/varvelog/varve/tiering/segment"
)

// This file is about index pages: those that the checkpoints name must exist,
// and match the journal's objects.

// namePages gathers the pages named by checkpoints from which a node would
// start. A state that cannot be decoded is found when it is compared.
func (w *walk) namePages() {
	w.pages, w.producers = map[segment.ID][]*partlog.Page{}, map[segment.ID][]*partlog.ProducerPage{}
	if w.journal == 0 {
		return
	}
	seen := map[partlog.Page]bool{}
	for _, c := range w.checkpoints {
		named, producers, err := partlog.DecodeNames(w.journal, c.State)
		if err != nil {
			continue
		}
		for _, p := range producers {
			if !slices.ContainsFunc(w.producers[p.Object], func(o *partlog.ProducerPage) bool { return *o == *p }) {
				w.producers[p.Object] = append(w.producers[p.Object], p)
			}
		}
		for object, pages := range named {
			for _, p := range pages {
				if !seen[*p] {
					seen[*p] = true
					w.pages[object] = append(w.pages[object], p)
				}
			}
		}
	}
}

// missPages looks for pages that checkpoints name and that were not listed.
func (w *walk) missPages(ctx context.Context) error {
	for _, object := range slices.CompactFunc(slices.SortedFunc(w.indexObjects(), compareIDs), func(a, b segment.ID) bool { return a == b }) {
		key := segment.IndexKey(w.journal, object)
		if slices.Contains(w.stored.blobs, key) {
			continue // read and checked
		}
		b, err := w.get(ctx, key)
		if errors.Is(err, objstore.ErrNotFound) {
			hint := hintIndex
			if len(w.pages[object]) == 0 {
				hint = hintProducers
			}
			f := finding(Error, CodeMissing, w.journal, key, hint, "missing: an index page that checkpoints name")
			w.affectPages(f, object)
			w.findings.add(f)
			continue
		}
		if err != nil {
			return fmt.Errorf("read %s: %w", key, err)
		}
		w.blob(key, b)
	}
	return nil
}

// indexObjects yields those that checkpoints name, some twice.
func (w *walk) indexObjects() iter.Seq[segment.ID] {
	return func(yield func(segment.ID) bool) {
		for object := range w.pages {
			if !yield(object) {
				return
			}
		}
		for object := range w.producers {
			if !yield(object) {
				return
			}
		}
	}
}

// readProducers reads pages of producers that a checkpoint names. An object is read once
// for all of its pages, which follow each other.
func (w *walk) readProducers(ctx context.Context) partlog.ReadPages {
	return func(pages []*partlog.ProducerPage) iter.Seq2[[]byte, error] {
		return func(yield func([]byte, error) bool) {
			var object []byte
			for i, p := range pages {
				var err error
				if i == 0 || p.Object != pages[i-1].Object {
					object, err = w.get(ctx, p.ObjectKey())
				}
				var page [][]byte
				if err == nil {
					page, err = restore.Cut(object, pages[i:i+1])
				}
				if err != nil {
					yield(nil, err)
					return
				}
				if !yield(page[0], nil) {
					return
				}
			}
		}
	}
}

// checkProducers returns why the bytes of an index object do not have the pages, or nil if
// they do.
func checkProducers(object []byte, pages []*partlog.ProducerPage) error {
	found, err := restore.Cut(object, pages)
	for i := range found {
		err = errors.Join(err, partlog.CheckProducerPage(pages[i], found[i]))
	}
	return err
}

func compareIDs(a, b segment.ID) int { return bytes.Compare(a[:], b[:]) }

// affectPages adds to a finding about an index object the records that its
// pages lead to.
func (w *walk) affectPages(f *Finding, object segment.ID) {
	for _, p := range w.pages[object] {
		f.Affects = append(f.Affects, offsets(p.Key, p.Base, p.Last))
	}
	slices.SortFunc(f.Affects, func(a, b Range) int {
		return cmp.Or(compareIDs(a.id, b.id), cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.First, b.First))
	})
}

// comparePages compares the pages that a checkpoint names with the state of the
// walk, which has all extents.
func (w *walk) comparePages(state *partlog.State) error {
	for _, pages := range state.Pages() {
		for _, p := range pages {
			extents, _, view, ok := w.state.Find(p.Key, p.Base, maxPageExtents)
			if !ok || p.Base < view.Start {
				continue // its first records are deleted
			}
			n := slices.IndexFunc(extents, func(e partlog.Extent) bool { return e.Last >= p.Last }) + 1
			if _, err := partlog.EncodePage(p, extents[:n]); err != nil {
				return fmt.Errorf("the checkpoint's index pages differ from those that the objects result in: %w", err)
			}
		}
	}
	return nil
}

// maxPageExtents is more than a page can have.
const maxPageExtents = 1024
