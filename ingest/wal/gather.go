package wal

const (
	// stageBytes is the space for bytes copied before a write: small enough to
	// stay in a core's cache.
	stageBytes = 256 << 10
	// copyBelow is the batch size from which a batch is written from where it is.
	// Below it, copying a batch next to its neighbours is cheaper than another
	// piece in the system call. Batches of 200 bytes are 4 to 5 times as fast
	// copied. From 1 to 8 KiB both are even, and batches of 16 KiB are 1.5 times as
	// fast uncopied (ext4 page cache).
	copyBelow = 8 << 10
	// writeBytes is how much is gathered before a write.
	writeBytes = 1 << 20
	// writePieces is the most pieces of a write, Linux's IOV_MAX. A record adds
	// at most two.
	writePieces = 1024
)

// gather collects records for one write. The zero value is not ready: use
// newGather.
type gather struct {
	stage  []byte   // headers, paddings and small batches
	open   int      // start, in stage, of the piece that is not in pieces yet
	pieces [][]byte // in file order
	size   int      // bytes of all pieces, with the open one
}

func newGather() gather {
	return gather{stage: make([]byte, 0, stageBytes), pieces: make([][]byte, 0, writePieces)}
}

// fits reports whether there is space for another record with a batch of n
// bytes.
func (g *gather) fits(n int) bool {
	stage := recordHeaderSize + recordAlign
	if n < copyBelow {
		stage += n
	}
	return g.size < writeBytes && len(g.stage)+stage <= cap(g.stage) && len(g.pieces)+3 <= writePieces
}

// add appends a record.
func (g *gather) add(seed uint32, r *Record, synced uint64) {
	g.stage = appendRecordHeader(g.stage, seed, r, synced)
	if len(r.Batch) < copyBelow {
		g.stage = append(g.stage, r.Batch...)
	} else {
		g.cut()
		g.pieces = append(g.pieces, r.Batch)
	}
	size := recordSize(len(r.Batch))
	for range size - recordHeaderSize - len(r.Batch) {
		g.stage = append(g.stage, 0)
	}
	g.size += size
}

// cut ends the open piece.
func (g *gather) cut() {
	if g.open < len(g.stage) {
		g.pieces = append(g.pieces, g.stage[g.open:])
		g.open = len(g.stage)
	}
}

// take returns the gathered pieces; they are valid until the next add.
func (g *gather) take() (pieces [][]byte, size int) {
	g.cut()
	return g.pieces, g.size
}

// reset releases everything taken.
func (g *gather) reset() {
	clear(g.pieces)
	g.stage, g.open, g.pieces, g.size = g.stage[:0], 0, g.pieces[:0], 0
}
