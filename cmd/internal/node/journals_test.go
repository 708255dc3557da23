package node

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/varvelog/varve/cmd/internal/config"
	"github.com/varvelog/varve/cmd/internal/datadir"
	"github.com/varvelog/varve/cmd/internal/health"
	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/metadata/announce"
	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/objstore/mem"
	"github.com/varvelog/varve/tiering/restore"
	"github.com/varvelog/varve/tiering/segment"
)

// slow is a store that answers late: the first object after the fence of journal 1
// waits for release.
type slow struct {
	objstore.Store
	asked, release chan struct{}
}

func (s slow) Create(ctx context.Context, key string, body objstore.Body) error {
	if key == segment.JournalKey(1, afterFence) {
		select {
		case s.asked <- struct{}{}:
		default: // it is tried again
		}
		<-s.release
	}
	return s.Store.Create(ctx, key, body)
}

// window is that of the cluster. A fence settles as many seqs.
const (
	window     = 4
	afterFence = window + 1
)

// TestANodeThatIsTakenOverWhileItStartsEndsSayingSo: a journal without a leader opens no
// partitions, so the start must not wait for it.
func TestANodeThatIsTakenOverWhileItStartsEndsSayingSo(t *testing.T) {
	store := mem.New(time.Now, nil)
	createUnopened(t, store)
	late := slow{store, make(chan struct{}, 1), make(chan struct{})}
	first, closeFirst := newNode(t, late)
	defer closeFirst()
	ended := make(chan error, 1)
	go func() { ended <- first.lead(t.Context(), &first.closers) }()
	<-late.asked
	second, closeSecond := newNode(t, store)
	defer closeSecond()
	if err := second.lead(t.Context(), &second.closers); err != nil {
		t.Fatal(err)
	}
	close(late.release)
	if reason := <-first.failed; EndingOf(reason) != TakenOver {
		t.Errorf("journal 1 ends with %v", reason)
	}
	if err := <-ended; err != nil && EndingOf(err) != TakenOver { // nil: Run finds the reason later
		t.Error(err)
	}
}

type testNode struct {
	*node
	closers stack
}

// newNode is a node that has opened its folder and its bucket.
func newNode(t *testing.T, store objstore.Store) (n *testNode, closeAll func()) {
	log := slog.New(slog.DiscardHandler)
	dir, err := datadir.Open(t.TempDir(), segment.NewID)
	if err != nil {
		t.Fatal(err)
	}
	spec, err := announce.Parse("embedded")
	if err != nil {
		t.Fatal(err)
	}
	bus, err := announce.Open(spec, announce.Options{Cluster: segment.ID{1}, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	n = &testNode{node: &node{
		cfg: config.Serve{RetentionCheck: time.Minute}, dir: dir, store: store, pages: restore.NewPageReader(store), bus: bus, log: log, metrics: newMetrics(), board: health.NewBoard(log, time.Now),
		cluster: segment.Cluster{ID: segment.ID{1}, Window: window}, incarnation: segment.NewID(), meta: metadata.NewUpTo(metadata.LevelTiering),
		rivals: journal.NewRivals(), reports: metadata.NewReports(), journals: &journals{byID: map[uint32]*dataJournal{}}, failed: make(chan error, 1), afterLoss: endsWith,
	}}
	n.closers.push(dir.Close)
	n.closers.push(bus.Close)
	return n, func() { _ = n.closers.close() }
}

// createUnopened commits a topic whose partition no data journal knows.
func createUnopened(t *testing.T, store objstore.Store) {
	l := metadata.StartLeader(metadata.LeaderOptions{
		Store: store, State: metadata.NewUpTo(metadata.LevelTiering), Log: slog.New(slog.DiscardHandler), Committed: func(*journal.Object) {},
		Journal: journal.Config{
			Chain: journal.NewChain(segment.ID{1}, 0, window), Node: segment.NewID(), Incarnation: segment.NewID(),
			NewID: segment.NewID, NowMs: func() int64 { return 1 },
		},
	})
	defer l.Close()
	<-l.Ready()
	if res := l.CreateTopics(t.Context(), []metadata.NewTopic{{Name: "a", Partitions: 1, ReplicationFactor: 1}}, false); res[0].Err != nil {
		t.Fatal(res[0].Err)
	}
}
