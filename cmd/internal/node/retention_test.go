package node

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/varvelog/varve/cmd/internal/config"
	"github.com/varvelog/varve/cmd/internal/health"
	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/tiering/clocks"
	"github.com/varvelog/varve/tiering/objstore/mem"
	"github.com/varvelog/varve/tiering/segment"
)

// retaining is a node that knows these changes of the metadata.
func retaining(t *testing.T, log *slog.Logger, changes ...metadata.Change) *node {
	t.Helper()
	n := &node{meta: metadata.New(), log: log, board: health.NewBoard(slog.New(slog.DiscardHandler), time.Now), cfg: config.Serve{DeleteGrace: time.Hour}}
	var entries []segment.Entry
	for _, c := range changes {
		e, err := metadata.Encode(c)
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, e)
	}
	f := &segment.Footer{Header: segment.Header{Kind: segment.KindData, Seq: 1, Epoch: 1}}
	if err := n.meta.Apply(f, entries); err != nil {
		t.Fatal(err)
	}
	return n
}

func configured(id byte, name string, configs map[string]string) metadata.TopicCreated {
	return metadata.TopicCreated{ID: segment.ID{id}, Name: name, ReplicationFactor: 1, Configs: configs, Journals: []uint32{1}}
}

func TestRetentionThatBeginsToActIsAnnouncedOnce(t *testing.T) {
	var lines bytes.Buffer
	at := time.UnixMilli(1_700_000_000_000)
	n := retaining(t, slog.New(slog.NewTextHandler(&lines, nil)), metadata.FeatureLevel{Level: 1}, metadata.JournalCreated{ID: 1},
		configured(1, "kept", nil), configured(2, "week", map[string]string{"retention.ms": "604800000"}),
		configured(3, "unused", map[string]string{"retention.ms": "7", "retention.bytes": "7", "cleanup.policy": "compact"}),
		metadata.FeatureLevel{Level: metadata.LevelTiering, AtMs: at.UnixMilli()})
	n.warnOfRetention(at.Add(time.Hour))
	n.warnOfRetention(at.Add(time.Hour))
	if text := lines.String(); strings.Count(text, "\n") != 1 || !strings.Contains(text, `topics="unused, week"`) || !strings.Contains(text, "from=2023-11-15T22:13:20Z") {
		t.Errorf("logged %s", text)
	}
	if begins := n.retentionBegins(); !begins.Equal(at.Add(24 * time.Hour)) {
		t.Errorf("begins at %v", begins)
	}
	if _, ok := n.retained(segment.ID{3}); ok {
		t.Error("records expire without the cleanup policy delete")
	}
	if p, ok := n.retained(segment.ID{2}); !ok || p.RetentionMs != 604800000 || p.RetentionBytes != -1 {
		t.Errorf("policy %+v, %v", p, ok)
	}
}

func TestRetentionActsAtOnceInANewCluster(t *testing.T) {
	var lines bytes.Buffer
	n := retaining(t, slog.New(slog.NewTextHandler(&lines, nil)), metadata.FeatureLevel{Level: metadata.LevelTiering}, metadata.JournalCreated{ID: 1},
		configured(2, "week", map[string]string{"retention.ms": "604800000"}))
	if n.warnOfRetention(time.Now()); lines.Len() > 0 || !n.retentionBegins().IsZero() {
		t.Errorf("begins at %v, logged %s", n.retentionBegins(), lines.String())
	}
}

func TestDeletedTopicsAreMergedUntilTheyArePurged(t *testing.T) {
	n := retaining(t, slog.New(slog.DiscardHandler), metadata.FeatureLevel{Level: metadata.LevelTiering}, metadata.JournalCreated{ID: 1},
		configured(1, "there", nil), configured(2, "deleted", nil), configured(3, "purged", nil),
		metadata.TopicDeleted{ID: segment.ID{2}, AtMs: 5}, metadata.TopicDeleted{ID: segment.ID{3}, AtMs: 5}, metadata.TopicPurged{ID: segment.ID{3}})
	there, ok := n.mergedTopic(segment.ID{1})
	deleted, also := n.mergedTopic(segment.ID{2})
	if _, still := n.mergedTopic(segment.ID{3}); !ok || !also || still || there.Class == deleted.Class || n.purged(segment.ID{2}) || !n.purged(segment.ID{3}) {
		t.Errorf("merged: %+v %v, %+v %v, the purged one %v", there, ok, deleted, also, still)
	}
}

// TestDeletedTopicsWaitForAConfirmedTime: a clock that is a year ahead ends no grace.
func TestDeletedTopicsWaitForAConfirmedTime(t *testing.T) {
	now := time.Now()
	n := retaining(t, slog.New(slog.DiscardHandler), metadata.FeatureLevel{Level: metadata.LevelTiering}, metadata.JournalCreated{ID: 1},
		configured(1, "gone", nil), metadata.TopicDeleted{ID: segment.ID{1}, AtMs: now.Add(-2 * time.Hour).UnixMilli()})
	store := mem.New(func() time.Time { return now.Add(-365 * 24 * time.Hour) }, nil)
	store.PutNow(segment.ClusterKey, []byte{1})
	proofs, looks := 0, 0
	n.retention.onTrusted = func(context.Context) { looks++ }
	watch := func() {
		n.retention.clocks = clocks.New(clocks.Options{
			Store: store, Now: time.Now, Uptime: func() time.Duration { return time.Minute }, OnJudged: n.onClocks,
			Prove: func(context.Context) error { proofs++; return nil },
			Read:  func(ctx context.Context) error { _, err := store.Get(ctx, segment.ClusterKey); return err },
		})
		n.watchRetention(t.Context())
	}
	if watch(); n.retention.trusted.Load() != 0 || n.board.Lasts(health.Clock) == 0 || proofs != 1 {
		t.Errorf("confirmed %d ms with %d proofs, troubles %v", n.retention.trusted.Load(), proofs, n.board.Troubles())
	}
	store = mem.New(time.Now, nil)
	store.PutNow(segment.ClusterKey, []byte{1})
	if watch(); n.retention.trusted.Load() < now.UnixMilli() || len(n.board.Troubles()) != 0 {
		t.Errorf("confirmed %d ms, troubles %v", n.retention.trusted.Load(), n.board.Troubles())
	}
	if watch(); proofs != 2 || looks != 1 {
		t.Errorf("%d proofs and %d looks, though nothing can be due", proofs, looks)
	}
}
