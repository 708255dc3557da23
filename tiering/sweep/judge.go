package sweep

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/varvelog/varve/tiering/lost"
	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// readAtOnce is how many objects are read to be judged for one Release, and headersAtOnce how
// many of them next to each other.
const (
	readAtOnce    = 256
	headersAtOnce = 16
)

// judge finds the valid data objects of a journal. Those that this process has applied are
// known; of older ones the headers are read, in the order of their seqs.
type judge struct {
	next  partlog.Judged // as far as objects were read
	known partlog.Runs   // of those
	ahead []header       // of objects from next on, read already; empty between two calls of runs
}

// header is the answer of the store about the header of an object.
type header struct {
	b   []byte
	err error
}

// runs finds the valid data objects from the mark of the journal on, as far as they are
// known. from is the seq from which on applied has all of them. more reports that there
// are more to read.
func (j *judge) runs(ctx context.Context, opt *Options, v *view, from uint64, applied partlog.Runs) (more bool, err error) {
	if j.next.Seq < v.judged.Seq || j.next.Seq == 0 {
		j.next, j.known = v.judged, nil
		j.next.Seq = max(j.next.Seq, 1)
	}
	end := min(from, v.lowest)
	defer func() { j.ahead = nil }()
	for n := 0; j.next.Seq < end; n++ {
		if n == readAtOnce {
			more = true
			break
		}
		if len(j.ahead) == 0 {
			j.readAhead(ctx, opt, int(min(headersAtOnce, end-j.next.Seq)))
		}
		ok, err := j.read(opt, v)
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

// readAhead reads the headers of the next n objects, next to each other unless
// Options.Sequential: after a take-over there may be thousands, and merges wait for a Release.
func (j *judge) readAhead(ctx context.Context, opt *Options, n int) {
	j.ahead = make([]header, n)
	var under sync.WaitGroup
	for i := range j.ahead {
		key := segment.JournalKey(opt.Journal, j.next.Seq+uint64(i))
		read := func() {
			j.ahead[i].b, j.ahead[i].err = objstore.ReadRange(ctx, opt.Store, key, 0, segment.HeaderSize)
		}
		if opt.Sequential {
			read()
		} else {
			under.Go(read)
		}
	}
	under.Wait()
}

// read judges the next object. It is false if the object cannot be judged: it is missing or
// damaged, and no extent says that it is a data object.
func (j *judge) read(opt *Options, v *view) (bool, error) {
	seq := j.next.Seq
	_, data := v.kept[seq]
	key := segment.JournalKey(opt.Journal, seq)
	var h segment.Header
	err := j.ahead[0].err
	if err == nil {
		h, err = segment.DecodeHeader(j.ahead[0].b)
	}
	j.ahead = j.ahead[1:]
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
