package fetch

import (
	"sync"

	"github.com/varvelog/varve/fetch/cache"
	"github.com/varvelog/varve/tiering/buffer"
)

// holding is the memory of the records in one Response. A client may take its answer
// slowly, and records may be few bytes of a large piece of memory. So the answer holds
// either memory that its records nearly fill, or borrowed memory, or copies.
type holding struct {
	reader   *Reader
	share    *share
	results  []*Result    // that were added since the last settle
	parts    []cache.Part // of these, in their order
	lenders  []lender     // of these
	settled  []cache.Part
	borrowed []any // memory
	copies   []*buffer.Buffer
}

// lender is a piece of memory, and how many bytes of it are in the answer.
type lender struct {
	memory      any
	size, bytes int64
	copied      []byte // room for the copy of these bytes, if they must be copied
}

// add makes parts, with their references, the records of a result.
func (h *holding) add(result *Result, parts []cache.Part) {
	if len(parts) == 0 {
		return
	}
	h.results = append(h.results, result)
	h.parts = append(h.parts, parts...)
	result.Records = make([][]byte, len(parts))
	for i, p := range parts {
		result.Records[i] = p.Bytes
		l := h.lenderOf(p.Block)
		l.bytes += int64(len(p.Bytes))
	}
}

// lenderOf finds the memory of a block. An answer has few, and its neighbours often
// share one.
func (h *holding) lenderOf(b *cache.Block) *lender {
	memory, size := b.Memory()
	for i := len(h.lenders) - 1; i >= 0; i-- {
		if h.lenders[i].memory == memory {
			return &h.lenders[i]
		}
	}
	h.lenders = append(h.lenders, lender{memory: memory, size: size})
	return &h.lenders[len(h.lenders)-1]
}

// settle borrows the memory of the records that were added since the last settle, and
// copies those for which it may not. It follows the last add.
func (h *holding) settle() {
	copies := false
	for i := range h.lenders {
		l := &h.lenders[i]
		switch {
		case l.bytes >= l.size-l.size/nearlyAll:
		case h.reader.loans.take(l.memory, l.size):
			h.borrowed = append(h.borrowed, l.memory)
		default:
			b := h.reader.cfg.Pool.Get(int(l.bytes))
			h.copies = append(h.copies, b)
			l.copied, copies = b.Bytes()[:0], true
		}
	}
	if copies {
		h.copy()
	}
	if h.settled == nil {
		h.settled, h.parts = h.parts, nil
	}
	h.settled = append(h.settled, h.parts...)
	h.results, h.parts, h.lenders = nil, nil, nil
}

// nearlyAll: records that leave out less than this part of their memory fill it.
const nearlyAll = 8

func (h *holding) copy() {
	kept, n := h.parts[:0], 0
	for _, result := range h.results {
		for i := range result.Records {
			p := h.parts[n]
			n++
			l := h.lenderOf(p.Block)
			if l.copied == nil {
				kept = append(kept, p)
				continue
			}
			start := len(l.copied)
			l.copied = append(l.copied, p.Bytes...)
			result.Records[i] = l.copied[start:len(l.copied):len(l.copied)]
			p.Block.Release()
		}
	}
	clear(h.parts[len(kept):])
	h.parts = kept
}

// release gives all memory back.
func (h *holding) release() {
	for _, p := range h.settled {
		p.Block.Release()
	}
	for _, memory := range h.borrowed {
		h.reader.loans.end(memory)
	}
	for _, b := range h.copies {
		b.Release()
	}
	h.share.release()
}

// loans bounds the memory that answers borrow: whole pieces of it, which count once,
// however many answers borrow them. It is safe for concurrent use.
type loans struct {
	limit int64

	mu    sync.Mutex
	bytes int64
	of    map[any]*loan
}

type loan struct {
	size    int64
	holders int
}

func newLoans(limit int64) *loans { return &loans{limit: limit, of: map[any]*loan{}} }

// take borrows memory, if there is room for it. Then end must follow.
func (ls *loans) take(memory any, size int64) bool {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	l := ls.of[memory]
	if l == nil {
		if ls.bytes+size > ls.limit {
			return false
		}
		l = &loan{size: size}
		ls.of[memory] = l
		ls.bytes += size
	}
	l.holders++
	return true
}

func (ls *loans) end(memory any) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	l := ls.of[memory]
	if l.holders--; l.holders == 0 {
		ls.bytes -= l.size
		delete(ls.of, memory)
	}
}
