package ingest

// waiter is an answer that waits until everything up to an LSN is safe.
type waiter struct {
	until   uint64
	results []Result
	done    func([]Result)
}

// waiters is a queue of waiters. They are added in the order of appends, so
// their LSNs do not go down. The exceptions are a few that waited for a proof
// first and are answered with those before them. So only the front needs to be
// checked.
type waiters struct{ queue []waiter }

func (q *waiters) add(w waiter) { q.queue = append(q.queue, w) }

// release answers those whose LSN is at or below safe, and returns their number.
func (q *waiters) release(safe uint64) (n int) {
	for n < len(q.queue) && q.queue[n].until <= safe {
		w := &q.queue[n]
		w.done(w.results)
		*w = waiter{}
		n++
	}
	q.queue = q.queue[n:]
	return n
}

// fail answers all with err, but for batches that had an error of their own.
func (q *waiters) fail(err error) {
	for _, w := range q.queue {
		for i := range w.results {
			if w.results[i].Err == nil {
				w.results[i].Err = err
			}
		}
		w.done(w.results)
	}
	q.queue = nil
}
