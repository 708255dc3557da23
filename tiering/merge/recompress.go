package merge

import (
	"errors"

	"github.com/varvelog/varve/tiering/batch"
)

// maxGrown is how many bytes of an extent may be written again into more bytes than they
// were: an extent must fit into an object.
const maxGrown = 32 * mib

// recompressed returns a batch as the topic's configuration asks for it. so is how many
// bytes of the extent are written. The bytes are valid until the next call.
func (g *gatherer) recompressed(p *gathered, b []byte, h *batch.Header, so int64) ([]byte, error) {
	t := &p.topic
	if !t.Recompress || t.Codec == h.Compression() || g.x.opt.CopyOnly() {
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
	if len(out) > len(b) && so > maxGrown {
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
