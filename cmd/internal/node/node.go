// Package node wires a varve process together: it opens the data folder and the
// bucket, follows or leads the journals, and fronts them for Kafka clients.
//
// It owns the wiring and the order in which things start and stop, and nothing
// else: every decision is made in the packages it wires. It promises that a
// process which returns from Run has ended everything it started. Every record
// it acknowledged is then in the bucket or in its write-ahead log. An error
// says what to do. It never exits the process.
package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/varvelog/varve/cmd/internal/bucket"
	"github.com/varvelog/varve/cmd/internal/config"
	"github.com/varvelog/varve/cmd/internal/datadir"
	"github.com/varvelog/varve/cmd/internal/health"
	"github.com/varvelog/varve/cmd/internal/kafka"
	"github.com/varvelog/varve/fetch/follow"
	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/metadata/announce"
	"github.com/varvelog/varve/metadata/cluster"
	"github.com/varvelog/varve/metadata/events"
	"github.com/varvelog/varve/tiering/buffer"
	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/restore"
	"github.com/varvelog/varve/tiering/segment"
)

// flushLimit is how long a stopping node waits for the bucket to accept the
// acknowledged records. The rest stay in the write-ahead log.
const flushLimit = 30 * time.Second

// freeMemory is the most bytes that the node keeps for further use, rather than to leave
// them to the garbage collector: about as many as it fills in a second. After a pause, half
// of them go each trimEvery.
const (
	freeMemory = 64 << 20
	trimEvery  = 10 * time.Second
)

// node is the state that the parts of a process share. Fields are set in the
// order of Run's steps and not changed afterwards.
type node struct {
	cfg         config.Serve
	log         *slog.Logger
	metrics     *metrics
	board       *health.Board
	watch       *bucket.Watch
	dir         *datadir.Dir
	store       objstore.Store
	pages       *restore.PageReader // of the store, for all but readers
	removed     *restore.Removed    // index pages that are gone
	policy      objstore.Policy     // of the bucket, as of the start
	cluster     segment.Cluster
	incarnation segment.ID
	bus         *announce.NATS
	meta        *metadata.State
	topics      kafka.Topics // meta as clients see it
	journals    *journals
	rivals      *journal.Rivals
	steering    steering
	leaders     leaders // of journals, as far as this node knows
	leaderless  leaderless
	request     request // nil: this node takes part in no cluster of several nodes
	control     *control
	afterLoss   afterLoss
	facts       memberFacts   // nil: the node takes part in no cluster of several nodes
	events      *events.Log   // of the cluster
	member      *member       // it takes part in clusters only
	alone       bool          // this node takes part in no cluster, whatever the feature level
	opened      chan struct{} // of a member of a cluster: closed when clients are answered
	reports     *metadata.Reports
	retention   retention
	controller  *metadata.Leader  // nil on a node that only reads
	followers   *follow.Followers // of a node that only reads
	admin       metadata.Admin    // of clients
	id          atomic.Int32      // broker id; 0: none yet
	sockets     *sockets
	listeners   []clientListener // at least one
	pool        *buffer.Pool     // of all parts
	started     time.Time
	failed      chan error // capacity 1: a part has ended on its own
}

// Run runs a node until ctx ends, which is not an error, or until it cannot go
// on. It begins again, as another start, when the cluster was raised to the level at which
// several nodes may lead.
func Run(ctx context.Context, cfg config.Serve, _, stderr io.Writer) error {
	log := newLogger(cfg, stderr)
	var open sockets
	defer open.close(httpFlag)
	defer open.close(listenFlag)
	for {
		err := run(ctx, cfg, log, &open)
		if !errors.Is(err, errLevelRaised) {
			return err
		}
		log.Info("starting again, as a member of a cluster", "feature_level", metadata.LevelCluster)
	}
}

func run(ctx context.Context, cfg config.Serve, log *slog.Logger, open *sockets) (err error) {
	n := &node{
		cfg: cfg, log: log, sockets: open, metrics: newMetrics(), board: health.NewBoard(log, time.Now),
		pool: buffer.NewPool(freeMemory), incarnation: segment.NewID(), meta: metadata.NewUpTo(uint16(cfg.FeatureLevel)), rivals: journal.NewRivals(), reports: metadata.NewReports(), started: time.Now().UTC(), failed: make(chan error, 1), afterLoss: endsWith,
	}
	n.metrics.health(n.board)
	n.metrics.pool(n.pool)
	n.fitConnections(openFiles())
	guard := n.fitMemory(availableMemory(os.DirFS("/")))
	n.watch = n.newWatch()
	var closers stack
	defer func() {
		if ctx.Err() != nil && errors.Is(err, context.Canceled) {
			err = nil // asked to stop while starting
		}
		err = errors.Join(err, closers.close())
	}()

	closers.push(every(trimEvery, n.pool.Trim))
	closers.push(every(idleEvery, new(idling).look))
	closers.push(every(guardEvery, guard.look))
	if n.dir, err = datadir.Open(cfg.DataDir, segment.NewID); err != nil {
		return err
	}
	closers.push(n.closeDir)
	n.events = n.newEvents()
	if err := n.listen(&closers); err != nil {
		return err
	}
	httpListener, err := n.sockets.listen(cfg.HTTP, httpFlag, 0)
	if err != nil {
		return err
	}
	closers.push(n.serveHTTP(httpListener))
	if err := n.openBucket(ctx, &closers); err != nil {
		return err
	}
	if err := n.openBus(&closers); err != nil {
		return err
	}
	closers.push(n.keepWitness(witnessEvery))
	if err := n.startJournals(ctx, &closers); err != nil {
		return err
	}
	closers.push(n.chronicle())
	reader, err := n.newReader(&closers)
	if err != nil {
		return err
	}
	n.control = n.newControl()
	groups := n.startGroups(reader, &closers)
	return n.serveKafka(ctx, n.kafkaBackend(reader, groups, &closers))
}

// serveKafka serves clients until ctx ends or a part of the node fails. A member of a cluster
// answers other nodes first, and hands its journals over at the end.
func (n *node) serveKafka(ctx context.Context, backend kafka.Backend) error {
	server, err := kafka.New(n.kafkaConfig(), backend)
	if err != nil {
		return err
	}
	n.metrics.requestMemory(server.Memory)
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(serving, n.endpoints()...) }()
	if err := n.enter(ctx); err != nil {
		stop()
		return errors.Join(err, <-ended)
	}
	n.board.Serves()
	n.log.Info("ready", "kafka", n.bound(), "http", n.cfg.HTTP, "bucket", n.store.String(),
		"cluster", n.cluster.ID.Base64(), "node", n.id.Load())
	select {
	case err = <-n.failed:
		stop()
		return errors.Join(err, <-ended)
	case err = <-ended:
		return err
	case <-ctx.Done():
	}
	n.log.Info("shutting down")
	if n.opened != nil {
		n.member.leave()
	}
	n.board.Busy("shutting down")
	stop()
	n.sockets.close(listenFlag) // other nodes and clients are refused at once
	return <-ended
}

// enter joins the cluster, if there is one, and has clients answered.
func (n *node) enter(ctx context.Context) error {
	if n.opened == nil {
		return nil
	}
	if err := n.member.start(ctx); err != nil {
		return err
	}
	if err := n.member.join(ctx); err != nil {
		return err
	}
	close(n.opened)
	return nil
}

// openBucket opens the store and the cluster in it.
func (n *node) openBucket(ctx context.Context, closers *stack) error {
	n.board.Busy("opening the bucket")
	var store objstore.Store
	err := n.patiently(ctx, "opening the bucket", func() (err error) {
		store, err = bucket.Open(ctx, n.cfg.Bucket, n.cfg.CreateBucket && n.writes() && n.dir.Unbound())
		if !errors.Is(err, objstore.ErrNoBucket) {
			return err
		}
		if foreign := n.dir.MayBind(segment.ID{}); foreign != nil {
			return fmt.Errorf("bucket %s does not exist: %w", bucket.Redact(n.cfg.Bucket), foreign)
		}
		if n.writes() {
			err = fmt.Errorf("%w, or add --create-bucket", err)
		}
		return err
	})
	if err != nil {
		return err
	}
	closers.push(func() error { bucket.Close(store); return nil })
	n.store = objstore.Instrument(store, func(op objstore.Op, bytes int64, took time.Duration, err error) {
		n.metrics.storeRequest(op, bytes, took, err)
		n.watch.Observe(op, took, err)
	})
	n.pages = restore.NewPageReader(n.store)
	closers.push(n.watch.Start())
	if err := n.checkPolicy(ctx); err != nil {
		return err
	}
	var folder segment.ID
	err = n.patiently(ctx, "opening the cluster", func() (err error) {
		n.cluster, folder, err = cluster.Load(ctx, n.store, n.dir, n.writes(), n.log)
		return err
	})
	if err != nil {
		return err
	}
	n.removed = restore.NewRemoved(n.store, func(id uint32) journal.Chain { return journal.NewChain(n.cluster.ID, id, int(n.cluster.Window)) })
	return n.dir.Bind(folder)
}

func (n *node) openBus(closers *stack) error {
	spec, err := announce.Parse(natsValue(n.cfg.NATS))
	if err != nil {
		return err
	}
	c := &n.cfg.NATS
	n.bus, err = announce.Open(spec, announce.Options{
		Cluster: n.cluster.ID, Log: n.log, RouteListen: c.Cluster, Routes: c.Routes, Credentials: c.Credentials, CA: c.CA,
	})
	if err != nil {
		return err
	}
	closers.push(n.bus.Close)
	n.metrics.bus(n.bus)
	if url := n.bus.URL(); url != "" {
		n.log.Info("announcements", "nats", url)
	}
	return nil
}

func natsValue(c config.NATS) string {
	switch {
	case !c.Embedded:
		return strings.Join(c.Servers, ",")
	case c.Listen != "":
		return "embedded://" + c.Listen
	}
	return "embedded"
}

// writes reports whether this node may write to the bucket.
func (n *node) writes() bool { return n.cfg.HasRole(config.RoleIngest) }

// journalConfig returns how this node follows or leads a journal: from its
// newest checkpoint, which it also returns, or from its beginning, with none.
func (n *node) journalConfig(ctx context.Context, id uint32) (journal.Config, *journal.Checkpoint, error) {
	cfg := journal.Config{
		Chain:   journal.NewChain(n.cluster.ID, id, int(n.cluster.Window)),
		Witness: n.dir.Witness(id), Node: n.dir.Node(), Incarnation: n.incarnation,
		NewID: segment.NewID, NowMs: func() int64 { return time.Now().UnixMilli() },
		Ends: func() bool { return n.meta.Level() >= metadata.LevelCluster },
	}
	var c *journal.Checkpoint
	err := n.patiently(ctx, fmt.Sprintf("looking for a checkpoint of journal %d", id), func() (err error) {
		c, err = journal.LoadCheckpoint(ctx, n.store, cfg.Chain, restore.Names)
		return err
	})
	if c == nil || err != nil {
		return cfg, nil, err
	}
	cfg.Chain, cfg.History = c.Chain, c.History
	n.rivals.Applied(id, c.Chain.Epoch)
	n.log.Debug("starting from a checkpoint", "journal", id, "seq", c.Chain.Last.Seq)
	return cfg, c, nil
}

// metaConfig is journalConfig of the metadata journal, its state restored.
func (n *node) metaConfig(ctx context.Context) (journal.Config, error) {
	cfg, c, err := n.journalConfig(ctx, 0)
	if c == nil || err != nil {
		return cfg, explain(err)
	}
	return cfg, n.meta.Restore(c.State)
}

// dataStart is the state from which a data journal is led.
type dataStart struct {
	cfg      journal.Config
	state    *partlog.State
	attached []byte // to the checkpoint
}

// dataConfig is journalConfig of a data journal, and its state.
func (n *node) dataConfig(ctx context.Context, id uint32) (dataStart, error) {
	cfg, c, err := n.journalConfig(ctx, id)
	if c == nil || err != nil {
		return dataStart{cfg: cfg, state: partlog.New(id)}, explain(err)
	}
	state, err := n.restore(ctx, c)
	return dataStart{cfg: cfg, state: state, attached: c.Attached}, explain(err)
}

// restore reads the state of a checkpoint of a data journal.
func (n *node) restore(ctx context.Context, c *journal.Checkpoint) (state *partlog.State, err error) {
	id := c.Chain.Journal
	base := journal.NewChain(n.cluster.ID, id, int(n.cluster.Window))
	err = n.patiently(ctx, fmt.Sprintf("reading the state of journal %d", id), func() (err error) {
		state, err = restore.State(ctx, n.store, base, c, func(err error) { restore.LogLost(n.log, id, err) })
		return err
	})
	return state, err
}

// fail ends the node for err.
func (n *node) fail(err error) {
	select {
	case n.failed <- err:
	default:
	}
}

func newLogger(cfg config.Serve, w io.Writer) *slog.Logger {
	options := &slog.HandlerOptions{Level: cfg.LogLevel}
	if cfg.LogFormat == config.LogJSON {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}

// stack holds functions that close things, the last opened first.
type stack []func() error

func (s *stack) push(f func() error) { *s = append(*s, f) }

func (s *stack) close() error {
	var errs []error
	for i := len(*s) - 1; i >= 0; i-- {
		errs = append(errs, (*s)[i]())
	}
	return errors.Join(errs...)
}

// quietly wraps a close of a thing that may be closed already.
func quietly(f func() error) func() error {
	return func() error {
		_ = f() // a listener that its server has closed returns an error
		return nil
	}
}
