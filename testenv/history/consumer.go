package history

// Consumer is one client that reads. Unlike other methods here, those of one
// Consumer may not be called concurrently.
type Consumer struct {
	name    string
	history *History
	next    []int64 // by partition; -1: reads nothing of it
	read    int64
}

// NewConsumer adds a consumer, which reads nothing yet.
func (h *History) NewConsumer(name string) *Consumer {
	c := &Consumer{name: name, history: h, next: make([]int64, len(h.mu.logs))}
	for i := range c.next {
		c.next[i] = -1
	}
	return c
}

// Seek notes that the next offset the consumer wants of the partition is
// offset.
func (c *Consumer) Seek(partition int32, offset int64) { c.next[partition] = offset }

// Next returns the offset that the consumer expects next.
func (c *Consumer) Next(partition int32) int64 { return c.next[partition] }

// Count returns how many records were read.
func (c *Consumer) Count() int64 { return c.read }

// Read notes that the consumer got a record. It must be called in the order in
// which the records came.
func (c *Consumer) Read(partition int32, offset int64, key, text []byte) {
	h := c.history
	h.mu.Lock()
	defer h.mu.Unlock()
	c.read++
	h.mu.reads++
	if int(partition) >= len(h.mu.logs) || c.next[partition] < 0 {
		h.noteLocked(Phantom, "%s was given partition %d, offset %d, which it had not asked for", c.name, partition, offset)
		return
	}
	switch want := c.next[partition]; {
	case offset > want:
		h.noteLocked(PollSkip, "%s was given partition %d, offset %d, after %d", c.name, partition, offset, want-1)
	case offset < want:
		h.noteLocked(NonmonotonicPoll, "%s was given partition %d, offset %d, after %d", c.name, partition, offset, want-1)
	}
	c.next[partition] = offset + 1
	v, err := parse(key, text)
	if err != nil {
		h.noteLocked(Corrupt, "%s was given partition %d, offset %d: %v", c.name, partition, offset, err)
		return
	}
	c.readLocked(partition, offset, v)
}

func (c *Consumer) readLocked(partition int32, offset int64, v Value) {
	h := c.history
	log := &h.mu.logs[partition]
	switch known := log.at(offset); known {
	case v:
	case 0:
		if offset < 0 || offset > int64(len(log.values))+maxGap {
			h.noteLocked(Phantom, "%s was given %v at partition %d, offset %d, which cannot be", c.name, v, partition, offset)
			return
		}
		log.put(offset, v)
		h.firstReadLocked(partition, offset, v, c.name)
	default:
		h.noteLocked(InconsistentOffset, "%s was given %s, at partition %d, offset %d, where before %s was read",
			c.name, h.describeLocked(v), partition, offset, h.describeLocked(known))
	}
}

// firstReadLocked checks that the value may be in the log at all.
func (h *History) firstReadLocked(partition int32, offset int64, v Value, by string) {
	_, s := h.findLocked(v)
	switch {
	case s == nil:
		h.noteLocked(Phantom, "%s got %v at partition %d, offset %d: no producer has sent it", by, v, partition, offset)
	case s.partition != partition:
		h.noteLocked(Phantom, "%s was given %s at partition %d, offset %d", by, h.describeLocked(v), partition, offset)
	}
}

// Complete notes that the consumer has read everything from the beginning up to
// end, the present end of the log.
func (c *Consumer) Complete(partition int32, end int64) {
	h := c.history
	h.mu.Lock()
	defer h.mu.Unlock()
	log := &h.mu.logs[partition]
	if known := max(log.committed, int64(len(log.values))); c.next[partition] < known || end < known {
		h.noteLocked(Truncated, "%s has read partition %d to %d, its end is said to be %d; it was at least %d before",
			c.name, partition, c.next[partition], end, known)
	}
}

func (l *partitionLog) at(offset int64) Value {
	if offset < 0 || offset >= int64(len(l.values)) {
		return 0
	}
	return l.values[offset]
}

// maxGap limits the memory that an absurd offset can take.
const maxGap = 1 << 24

func (l *partitionLog) put(offset int64, v Value) {
	for int64(len(l.values)) <= offset {
		l.values = append(l.values, 0)
	}
	l.values[offset] = v
	l.committed = max(l.committed, offset+1)
}
