package history

import "sync"

// Kinds for consumer groups.
const (
	// Skipped: an offset was committed, or the check came, and no member had
	// processed a record before it.
	Skipped Kind = "skipped"
	// CommitWentBack: a look-up returned a committed offset below one that was
	// acknowledged, or returned, before the look-up began.
	CommitWentBack Kind = "commit-went-back"
)

// Group holds the reports, by the members of one consumer group and by observers,
// about the partitions 0 to n-1 of one topic. Each record must be processed at
// least once, and committed offsets must never go back. Its methods may be
// called concurrently.
type Group struct {
	history *History // gets the anomalies

	mu    sync.Mutex
	parts []groupPartition
	stats GroupResult
}

// groupPartition is one partition as the group sees it.
type groupPartition struct {
	end       int64          // after the last record that was acknowledged to its producer
	next      int64          // all before it are processed
	beyond    map[int64]bool // processed, after next
	committed int64
}

// GroupResult counts the events.
type GroupResult struct {
	Records   int64 `json:"records"`   // acknowledged to their producers
	Processed int64 `json:"processed"` // by members, a record counts each time
	Commits   int64 `json:"commits"`   // offsets acknowledged
	LookUps   int64 `json:"look_ups"`  // committed offsets returned
}

// NewGroup begins with an empty topic.
func (h *History) NewGroup(partitions int) *Group {
	g := &Group{history: h, parts: make([]groupPartition, partitions)}
	for i := range g.parts {
		g.parts[i].beyond = map[int64]bool{}
	}
	return g
}

// Sent notes that a record was acknowledged to its producer.
func (g *Group) Sent(partition int32, offset int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.stats.Records++
	p := &g.parts[partition]
	p.end = max(p.end, offset+1)
}

// Processed notes that a member has processed a record. It must be called
// before the member commits the record.
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

// Committed notes that a commit was acknowledged. A member begins at the commit
// of the one before it, so all records before it must have been processed.
func (g *Group) Committed(client string, partition int32, offset int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.stats.Commits++
	p := &g.parts[partition]
	if offset > p.next {
		g.history.Note(Skipped, "%s has committed offset %d of partition %d, offset %d was not processed by any member", client, offset, partition, p.next)
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

// Offset notes that the look-up returned an offset, 0 if none is committed.
func (q *GroupQuestion) Offset(client string, partition int32, offset int64) {
	g := q.group
	g.mu.Lock()
	defer g.mu.Unlock()
	g.stats.LookUps++
	if offset < q.least[partition] {
		g.history.Note(CommitWentBack, "%s gets %d as the committed offset of partition %d, it was %d when the look-up began", client, offset, partition, q.least[partition])
	}
	p := &g.parts[partition]
	p.committed = max(p.committed, offset)
}

// Commits returns how many offsets were acknowledged as committed so far.
func (g *Group) Commits() int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.stats.Commits
}

// CommittedTo returns the highest offset of the partition that was acknowledged or returned as
// committed.
func (g *Group) CommittedTo(partition int32) int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.parts[partition].committed
}

// Left returns how many acknowledged records are not processed, or not
// committed, yet.
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

// Check notes records that were never processed, and returns the counts.
func (g *Group) Check() GroupResult {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i := range g.parts {
		if p := &g.parts[i]; p.next < p.end {
			g.history.Note(Skipped, "offset %d of partition %d, which ends at %d, was not processed by any member", p.next, i, p.end)
		}
	}
	return g.stats
}
