package metadata

import "sync"

// Reconciled knows how far the data journals have followed journal 0. The
// answers may be old ones from other nodes: they only ever grow.
type Reconciled interface {
	// Reconciled returns the seq of journal 0 up to which everything that
	// Placed requires of a data journal is committed in it. led reports whether
	// the journal has a leader now, from which more is to be expected.
	Reconciled(journal uint32) (seq uint64, led bool)
	// Watch sends on wake, without ever blocking, after an answer has changed.
	// wake must have room for one. cancel ends it.
	Watch(wake chan<- struct{}) (cancel func())
}

// Reports collects the reports of the leaders of data journals. It is safe for
// concurrent use.
type Reports struct {
	mu       sync.Mutex
	journals map[uint32]report
	watchers watchers
}

type report struct {
	seq uint64
	led bool
}

// NewReports returns Reports that know of no leader.
func NewReports() *Reports {
	return &Reports{journals: map[uint32]report{}}
}

// Leads notes that a journal has a leader, or has none any more.
func (r *Reports) Leads(journal uint32, leads bool) {
	r.change(journal, func(j *report) { j.led = leads })
}

// Report notes that the leader of a journal has followed journal 0 up to seq.
// Reports of leaders that were deposed count as well: the entries they depend
// on are committed.
func (r *Reports) Report(journal uint32, seq uint64) {
	r.change(journal, func(j *report) { j.seq = max(j.seq, seq) })
}

func (r *Reports) change(journal uint32, change func(*report)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	before := r.journals[journal]
	after := before
	if change(&after); after == before {
		return
	}
	r.journals[journal] = after
	r.watchers.wake()
}

// Reconciled implements Reconciled.
func (r *Reports) Reconciled(journal uint32) (seq uint64, led bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	j := r.journals[journal]
	return j.seq, j.led
}

// Watch implements Reconciled.
func (r *Reports) Watch(wake chan<- struct{}) (cancel func()) {
	return r.watchers.watch(wake)
}
