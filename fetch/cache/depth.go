package cache

const (
	// minDepth is how many bytes replays read at once, unless a single GET is larger. It
	// keeps a near store busy, without more delay for readers that wait for their first
	// bytes.
	minDepth  = 4 * MaxGet
	depthStep = MaxGet
)

// depth is how many bytes replays may read at once. As much must be on its way as readers
// take in the time of a GET; so a store that answers late needs more. It is pure.
type depth struct {
	bytes int64
	full  bool // a GET had to wait for it since the last one landed
}

// landed fits the depth to a GET that landed. It grows while a reader waits for bytes and
// the depth is all that holds back more. It shrinks while the store has a queue, because
// more GETs would only wait there. limit is the most it may have.
func (d *depth) landed(waited, queued bool, limit int64) {
	switch {
	case queued:
		d.bytes -= depthStep
	case waited && d.full:
		d.bytes += depthStep
	}
	d.bytes, d.full = max(minDepth, min(d.bytes, limit)), false
}
