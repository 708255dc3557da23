package history

// Question is a look-up of start or end offsets that is under way.
type Question struct {
	history     *History
	starts, end []int64 // by partition: known when the look-up began
}

// Ask begins a look-up: its answers must not be older than this moment.
func (h *History) Ask() *Question {
	h.mu.Lock()
	defer h.mu.Unlock()
	q := &Question{history: h}
	for i := range h.mu.logs {
		q.starts = append(q.starts, h.mu.logs[i].start)
		q.end = append(q.end, h.mu.logs[i].committed)
	}
	return q
}

// Start notes that the partition was listed to start at offset.
func (q *Question) Start(client string, partition int32, offset int64) {
	h := q.history
	h.mu.Lock()
	defer h.mu.Unlock()
	log := &h.mu.logs[partition]
	if offset < q.starts[partition] {
		h.noteLocked(StartWentBack, "%s lists %d as the start of partition %d, which was %d before", client, offset, partition, q.starts[partition])
	}
	log.start = max(log.start, offset)
}

// End notes that the partition was listed to end at offset. The end is
// committed: it may not be below any offset that was read, listed or
// acknowledged with acks=all before the look-up began.
func (q *Question) End(client string, partition int32, offset int64) {
	h := q.history
	h.mu.Lock()
	defer h.mu.Unlock()
	log := &h.mu.logs[partition]
	if offset < q.end[partition] {
		h.noteLocked(EndWentBack, "%s lists %d as the end of partition %d, which was at least %d when it was asked",
			client, offset, partition, q.end[partition])
	}
	log.committed = max(log.committed, offset)
}
