package history

import "sync"

// Kinds that a consumer group adds.
const (
	// Skipped: an offset was committed, or everything was, and a record before it
	// had been processed by no member.
	Skipped Kind = "skipped"
	// CommitWentBack: a committed offset was told that is below one which was
	// acknowledged, or told, before the question was asked.
	CommitWentBack Kind = "commit-went-back"
)

// Group is what the members of one consumer group and those who look at it told of
// the partitions 0 to n-1 of one topic: each record is processed at least once, and
// committed offsets never go back. Its methods may be called concurrently.
type Group struct {
	history *History // gets the anomalies

	mu    sync.Mutex
	parts []groupPartition
	stats GroupResult
}

// groupPartition is one partition as the group has it.
type groupPartition struct {
	end       int64          // after the last record that was acknowledged to its producer
	next      int64          // all before it is processed
	beyond    map[int64]bool // processed, after next
	committed int64
}

// GroupResult counts what happened.
type GroupResult struct {
	Records   int64 `json:"records"`   // acknowledged to their producers
	Processed int64 `json:"processed"` // by members, one record by several or again too
	Commits   int64 `json:"commits"`   // offsets acknowledged
	LookUps   int64 `json:"look_ups"`  // committed offsets told
}

// NewGroup begins with an empty topic.
func (h *History) NewGroup(partitions int) *Group {
	g := &Group{history: h, parts: make([]groupPartition, partitions)}
	for i := range g.parts {
		g.parts[i].beyond = map[int64]bool{}
	}
	return g
}

// Sent says that a record was acknowledged to its producer.
func (g *Group) Sent(partition int32, offset int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.stats.Records++
	p := &g.parts[partition]
	p.end = max(p.end, offset+1)
}

// Processed says that a member has processed a record. It must be told before the
// member commits it.
func (g *Group) Processed(partition int32, offset int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.stats.Processed++
	p := &g.parts[partition]
	if offset < p.next {
		return
	}
	p.beyond[offset] = true
	for p.beyond[p.next] {
		delete(p.beyond, p.next)
		p.next++
	}
}

// Committed says that a commit was acknowledged. Members begin where the one before
// has committed, so that all before it must have been processed.
func (g *Group) Committed(who string, partition int32, offset int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.stats.Commits++
	p := &g.parts[partition]
	if offset > p.next {
		g.history.Note(Skipped, "%s has committed offset %d of partition %d, offset %d was not processed by anybody", who, offset, partition, p.next)
	}
	p.committed = max(p.committed, offset)
}

// GroupQuestion is a look-up of committed offsets that is under way.
type GroupQuestion struct {
	group *Group
	least []int64
}

// Ask begins a look-up: its answers must not be older than this moment.
func (g *Group) Ask() *GroupQuestion {
	g.mu.Lock()
	defer g.mu.Unlock()
	q := &GroupQuestion{group: g, least: make([]int64, len(g.parts))}
	for i := range g.parts {
		q.least[i] = g.parts[i].committed
	}
	return q
}

// Offset says that an offset was told, 0 if none is committed.
func (q *GroupQuestion) Offset(who string, partition int32, offset int64) {
	g := q.group
	g.mu.Lock()
	defer g.mu.Unlock()
	g.stats.LookUps++
	if offset < q.least[partition] {
		g.history.Note(CommitWentBack, "%s is told that %d is committed of partition %d, it was %d when it asked", who, offset, partition, q.least[partition])
	}
	p := &g.parts[partition]
	p.committed = max(p.committed, offset)
}

// Commits is how many offsets were acknowledged as committed so far.
func (g *Group) Commits() int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.stats.Commits
}

// Left is how many acknowledged records are not processed, or not committed, yet.
func (g *Group) Left() (unprocessed, uncommitted int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i := range g.parts {
		p := &g.parts[i]
		unprocessed += max(0, p.end-p.next)
		uncommitted += max(0, p.end-p.committed)
	}
	return unprocessed, uncommitted
}

// Check notes what was never processed, and returns what happened in all.
func (g *Group) Check() GroupResult {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i := range g.parts {
		if p := &g.parts[i]; p.next < p.end {
			g.history.Note(Skipped, "offset %d of partition %d, which ends at %d, was not processed by anybody", p.next, i, p.end)
		}
	}
	return g.stats
}
