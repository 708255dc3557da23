package sweep

import (
	"context"
	"fmt"
	"slices"

	"github.com/varvelog/varve/tiering/lost"
	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// readAtOnce is how many objects are read to be judged for one Release.
const readAtOnce = 256

// judge finds the valid data objects of a journal. Those that this process has applied are
// known; of older ones the headers are read, in the order of their seqs.
type judge struct {
	next  partlog.Judged // as far as objects were read
	known partlog.Runs   // of those
}

// runs finds the valid data objects from the mark of the journal on, as far as they are
// known. from is the seq from which on applied has all of them. more reports that there
// are more to read.
func (j *judge) runs(ctx context.Context, opt *Options, v *view, from uint64, applied partlog.Runs) (more bool, err error) {
	if j.next.Seq < v.judged.Seq || j.next.Seq == 0 {
		j.next, j.known = v.judged, nil
		j.next.Seq = max(j.next.Seq, 1)
	}
	for n := 0; j.next.Seq < min(from, v.lowest); n++ {
		if n == readAtOnce {
			more = true
			break
		}
		ok, err := j.read(ctx, opt, v)
		if err != nil {
			return false, err
		}
		if !ok {
			break
		}
	}
	if v.runs = j.left(v); j.next.Seq >= from {
		v.runs = append(v.runs, applied...)
	}
	return more, nil
}

// left returns the runs that were read and are not judged yet.
func (j *judge) left(v *view) (out partlog.Runs) {
	for _, r := range j.known {
		if r.Last >= v.judged.Seq {
			out = append(out, r)
		}
	}
	j.known = out
	return slices.Clone(out)
}

// read judges the next object. It is false if the object cannot be judged: it is missing or
// damaged, and no extent says that it is a data object.
func (j *judge) read(ctx context.Context, opt *Options, v *view) (bool, error) {
	seq := j.next.Seq
	_, data := v.kept[seq]
	key := segment.JournalKey(opt.Journal, seq)
	b, err := objstore.ReadRange(ctx, opt.Store, key, 0, segment.HeaderSize)
	var h segment.Header
	if err == nil {
		h, err = segment.DecodeHeader(b)
	}
	switch {
	case err == nil && (h.Cluster != opt.Cluster || h.Journal != opt.Journal || h.Seq != seq):
		opt.Log.Warn("an object belongs under another key: it and those above it are not released", "object", key)
		return false, nil
	case err == nil:
		j.take(&h)
		return true, nil
	case data:
		j.next.Seq++ // a damaged extent names it, or has named it: view.seqs releases it then
		return true, nil
	case lost.Unreadable(err):
		opt.Log.Warn("an object cannot be judged: it and those above it are not released", "object", key, "error", err)
		return false, nil
	}
	return false, fmt.Errorf("read the header of %s: %w", key, err)
}

// take judges an object by its header. Below the head of a journal every object of the
// epoch in force is valid, and those of older epochs are void.
func (j *judge) take(h *segment.Header) {
	j.next.Seq++
	switch {
	case h.Epoch > j.next.Epoch: // a fence
		j.next.Epoch = h.Epoch
	case h.Epoch == j.next.Epoch && h.Kind == segment.KindData:
		j.known = j.known.With(h)
	}
}
