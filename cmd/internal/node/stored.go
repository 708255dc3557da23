package node

import (
	"context"
	"net/http"
	"time"

	"github.com/varvelog/varve/cmd/internal/status"
	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/tiering/partlog"
)

// storedTopics is the answer to GET /topics. Nothing is known before the node serves
// clients.
func (n *node) storedTopics(r *http.Request) []status.StoredTopic {
	topics := []status.StoredTopic{}
	if n.board.State() != "" {
		return topics
	}
	for _, name := range r.URL.Query()["name"] {
		if t, ok := n.meta.Topic(name); ok {
			topics = append(topics, n.storedTopic(r.Context(), t))
		}
	}
	return topics
}

func (n *node) storedTopic(ctx context.Context, t *metadata.Topic) status.StoredTopic {
	stored := status.StoredTopic{Name: t.Name, ID: t.ID.Base64(), Partitions: []status.StoredPartition{}}
	for i, p := range t.Partitions {
		j := n.journals.get(p.Journal)
		if j == nil {
			continue
		}
		k := partlog.Key{Topic: t.ID, Index: int32(i)}
		if s, ok := j.state.SurveyOf(k); ok {
			part := storedPartition(&s)
			part.Journal = p.Journal
			part.Oldest, part.Newest = n.oldest(ctx, j.state, &s), newest(j.state, &s)
			stored.Partitions = append(stored.Partitions, part)
		}
	}
	return stored
}

// storedPartition adds the extents of a partition up. Only those in own segments lie in
// pages.
func storedPartition(s *partlog.Survey) status.StoredPartition {
	p := status.StoredPartition{Partition: s.Key.Index, Unmerged: s.JournalBytes, Own: s.View.MergedBytes}
	for i := range s.Segments {
		switch e := &s.Segments[i]; {
		case !e.Gaps(): // a damaged range of a journal object
		case e.Object.Own():
			p.Objects++
		default:
			p.Objects++
			p.Shared += int64(e.Length)
		}
	}
	for _, page := range s.Pages {
		p.Objects += page.Len()
	}
	p.Own -= p.Shared
	return p
}

// oldest is about the time of a partition's first record: the newest of its first extent.
func (n *node) oldest(ctx context.Context, state *partlog.State, s *partlog.Survey) *time.Time {
	extents, page, view, _ := state.FindFrom(s.Key, s.View.Start, 1)
	if page != nil {
		if read, err := n.readPage(ctx, page); err == nil {
			extents = read.From(view.Start, 1)
		}
	}
	if len(extents) == 0 {
		return nil
	}
	return stamp(extents[0].MaxTimestamp)
}

// newest is the greatest timestamp of a partition.
func newest(state *partlog.State, s *partlog.Survey) *time.Time {
	e, page, ok := state.FindNewest(s.Key, s.View.Start, s.View.End)
	switch {
	case page != nil:
		return stamp(page.MaxTimestamp)
	case ok:
		return stamp(e.MaxTimestamp)
	}
	return nil
}

func stamp(ms int64) *time.Time {
	if ms < 0 {
		return nil
	}
	t := time.UnixMilli(ms).UTC()
	return &t
}
