package merge

import (
	"errors"

	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/partlog"
)

// maxGrown is by how many bytes the batches of an extent may grow when they are written
// again. A batch of a few bytes may have many, and the spool must stay small.
const maxGrown = 32 * mib

// begin begins with the batches of an extent. They may grow by so many bytes that an object
// takes them as they become. A job as a whole grows by no more than it may read.
func (g *gatherer) begin(e *partlog.Extent) {
	g.left = g.x.cfg.JobBytes/g.x.scale - g.grown
	if g.job.Level != compaction { // which divides extents among objects
		g.left = min(g.left, maxGrown, g.x.cfg.ObjectBytes-int64(e.Length))
	}
}

// grows reports whether a batch of the extent may be written again with these bytes, and
// counts them.
func (g *gatherer) grows(from, to []byte) bool {
	more := int64(len(to) - len(from))
	if more > max(0, g.left) {
		return false
	}
	g.left -= more
	g.grown += max(0, more)
	return true
}

// rewrites reports whether a batch of a source is compressed in another way than its topic's
// configuration asks for, so that it may be written again. While merging lags none is.
func (g *gatherer) rewrites(p *gathered, b []byte) bool {
	if !p.topic.Recompress || g.x.opt.CopyOnly() {
		return false
	}
	other := false
	_ = batch.Walk(b, func(_ int, h batch.Header) error { // it was checked
		other = other || h.Compression() != p.topic.Codec
		return nil
	})
	return other
}

// recompressed returns a batch as the topic's configuration asks for it, or as it is if it
// would grow too much. The bytes are valid until the next call.
func (g *gatherer) recompressed(p *gathered, b []byte, h *batch.Header) ([]byte, error) {
	t := &p.topic
	if t.Codec == h.Compression() {
		return b, nil
	}
	out, _, err := batch.Rewrite(g.room[:0], b, t.rewriting(t.Codec, nil))
	switch {
	case errors.Is(err, batch.ErrVerbatim):
		return b, nil
	case err != nil:
		return nil, err
	}
	g.room = out
	if !g.grows(b, out) {
		return b, nil
	}
	g.x.count.recompressedFrom.Add(int64(len(b)))
	g.x.count.recompressedTo.Add(int64(len(out)))
	return out, nil
}

// rewriting is how a batch of a codec is written again, if the topic does not ask for
// another codec.
func (t *Topic) rewriting(codec batch.Codec, keep func(batch.Record) bool) batch.Rewriting {
	r := batch.Rewriting{Codec: codec, Level: usualLevel(codec), Keep: keep, MaxRecord: batch.MaxStoredRecord}
	if t.Recompress {
		r.Codec, r.Level = t.Codec, t.Level
	}
	return r
}

// usualLevel is the level of a codec that clients have where nothing else is configured.
func usualLevel(codec batch.Codec) int {
	switch codec {
	case batch.Gzip:
		return -1
	case batch.LZ4:
		return 1
	case batch.Zstd:
		return 3
	}
	return 0
}
