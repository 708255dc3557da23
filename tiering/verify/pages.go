package verify

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"

	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/lost"
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

// indexObject is an index object as it was found: the fault of each copy. Nil is a sound
// one, objstore.ErrNotFound one that is missing.
type indexObject struct{ copies map[bool]error }

// noteIndex notes a copy of an index object.
func (w *walk) noteIndex(name segment.IndexName, err error) {
	second := name.Copy
	name.Copy = false
	if w.index[name] == nil {
		w.index[name] = &indexObject{copies: map[bool]error{}}
	}
	w.index[name].copies[second] = err
}

// missPages reads the index objects that checkpoints name and that were not listed.
func (w *walk) missPages(ctx context.Context) error {
	for name := range w.indexObjects() {
		for _, one := range name.Copies() {
			if found := w.index[name]; found != nil {
				if _, read := found.copies[one.Copy]; read {
					continue
				}
			}
			b, err := w.get(ctx, one.Key())
			switch {
			case errors.Is(err, objstore.ErrNotFound):
				w.noteIndex(one, errNamedMissing)
			case err != nil:
				return fmt.Errorf("read %s: %w", one.Key(), err)
			default:
				w.noteIndex(one, w.checkBlob(one.Key(), b))
			}
		}
	}
	return nil
}

// errNamedMissing is an index object that is named, and not there.
var errNamedMissing = fmt.Errorf("missing: an index object that checkpoints name: %w", objstore.ErrNotFound)

// judgeIndex reports index objects that are lost: an error if both copies are, a warning
// if one is, or if no checkpoint names the object.
func (w *walk) judgeIndex(ctx context.Context) error {
	if err := w.passRemoved(ctx); err != nil {
		return err
	}
	for _, name := range slices.SortedFunc(maps.Keys(w.index), compareIndexes) {
		found := w.index[name]
		named, hint := len(w.pages[name.Object]) > 0, hintIndex
		if !named {
			named, hint = len(w.producers[name.Object]) > 0, hintProducers
		}
		if slices.ContainsFunc(w.pages[name.Object], func(p *partlog.Page) bool { return p.Merged }) {
			hint = hintRestore // the journal does not have these extents any more
		}
		copies := name.Copies()
		bad := slices.DeleteFunc(slices.Clone(copies), func(one segment.IndexName) bool {
			err, read := found.copies[one.Copy]
			return !read || err == nil
		})
		for i, one := range bad {
			f := blobFinding(Error, w.journal, one.Key(), hint, found.copies[one.Copy])
			switch {
			case f.Code == CodeUnsupported:
				w.affectPages(f, name.Object)
			case !named:
				f.Severity, f.Hint = Warning, hintUnnamed
			case len(bad) < len(copies):
				f.Severity, f.Code, f.Hint = Warning, CodeCopy, hintRepair
				f.What = "one of two copies: " + f.What
			case i > 0:
				continue // one finding for both
			default:
				w.affectPages(f, name.Object)
			}
			w.findings.add(f)
		}
	}
	return nil
}

// passRemoved forgets index objects that leaders may have removed since the checkpoints were
// read: the floor has moved (tiering/journal/PROTOCOL.md, rule 23).
func (w *walk) passRemoved(ctx context.Context) error {
	var missing []segment.IndexName
	for name, found := range w.index {
		for _, err := range found.copies {
			if errors.Is(err, objstore.ErrNotFound) {
				missing = append(missing, name)
				break
			}
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return w.verifier.try(ctx, func(ctx context.Context) error {
		removed, err := journal.NotKept(ctx, w.verifier.store, journal.NewChain(w.chain.Cluster, w.journal, int(w.chain.Window)), restore.Names, missing)
		if lost.Unreadable(err) {
			return nil // a floor that has a finding
		}
		for _, name := range removed {
			delete(w.index, name)
		}
		return err
	})
}

func compareIndexes(a, b segment.IndexName) int {
	return cmp.Or(cmp.Compare(a.Seq, b.Seq), compareIDs(a.Object, b.Object))
}

// indexObjects yields those that checkpoints name, in their order.
func (w *walk) indexObjects() iter.Seq[segment.IndexName] {
	names := map[segment.IndexName]bool{}
	for _, pages := range w.pages {
		names[pages[0].IndexName] = true
	}
	for _, pages := range w.producers {
		names[pages[0].IndexName] = true
	}
	return slices.Values(slices.SortedFunc(maps.Keys(names), compareIndexes))
}

// readProducers reads pages of producers that a checkpoint names, from the second copy of
// an index object if need be. An object is read once for all of its pages, which follow
// each other.
func (w *walk) readProducers(ctx context.Context) partlog.ReadPages {
	return func(pages []*partlog.ProducerPage) iter.Seq2[[]byte, error] {
		return func(yield func([]byte, error) bool) {
			for len(pages) > 0 {
				n := slices.IndexFunc(pages, func(p *partlog.ProducerPage) bool { return p.Object != pages[0].Object })
				if n < 0 {
					n = len(pages)
				}
				found, err := w.cutProducers(ctx, pages[:n])
				if err != nil {
					yield(nil, err)
					return
				}
				for _, b := range found {
					if !yield(b, nil) {
						return
					}
				}
				pages = pages[n:]
			}
		}
	}
}

// cutProducers reads the pages of one index object.
func (w *walk) cutProducers(ctx context.Context, pages []*partlog.ProducerPage) (found [][]byte, err error) {
	for _, name := range pages[0].IndexName.Copies() {
		var object []byte
		if object, err = w.get(ctx, name.Key()); err == nil {
			found, err = restore.Cut(object, pages)
		}
		if err == nil || !lost.Unreadable(err) {
			break
		}
	}
	return found, err
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

// comparePages compares the pages that a checkpoint names with the state of the walk, as
// far as that has the extents in memory.
func (w *walk) comparePages(ctx context.Context, state *partlog.State) error {
	for _, pages := range state.Pages() {
		for _, p := range pages {
			if err := w.comparePage(ctx, p); err != nil {
				return err
			}
		}
	}
	return nil
}

// errPages: the pages of a checkpoint have other extents than the objects result in.
var errPages = errors.New("the checkpoint's index pages differ from those that the objects result in")

func (w *walk) comparePage(ctx context.Context, p *partlog.Page) error {
	extents, paged, view, ok := w.state.Find(p.Key, p.Base, maxPageExtents)
	if !ok || paged != nil || p.Base < view.Start {
		return nil // its first records are deleted, or the walk has the page, too
	}
	n := slices.IndexFunc(extents, func(e partlog.Extent) bool { return e.Last >= p.Last }) + 1
	plain := !p.Merged && n > 0 && !slices.ContainsFunc(extents[:n], func(e partlog.Extent) bool { return e.Object.Kind == segment.KindMerged })
	if plain && extents[0].Base == p.Base {
		if _, err := partlog.EncodePage(p, extents[:n]); err != nil {
			return fmt.Errorf("%w: %w", errPages, err)
		}
		return nil
	}
	found, err := w.readPage(ctx, p)
	if err != nil {
		return err
	}
	for _, e := range found.From(p.Base, maxPageExtents) {
		now, paged, _, _ := w.state.Find(p.Key, e.Base, 1)
		if paged == nil && (len(now) == 0 || now[0] != e) && (p.Merged || len(now) == 0 || now[0].Object.Kind == e.Object.Kind) {
			return fmt.Errorf("%w: offsets %d to %d of %s", errPages, e.Base, e.Last, p.ObjectKey())
		}
	}
	return nil
}

// maxPageExtents is more than a page can have.
const maxPageExtents = 1024
