// Package cluster reads and creates the root object of a bucket.
//
// It owns the decision which node creates a cluster, and when the store is tested. It
// promises that a bucket gets one cluster whatever number of nodes start on it, and that
// no node writes to a store that fails the probe. A node that only reads writes nothing,
// nor does one whose data folder belongs to another cluster. A bucket that is an unfinished
// copy of another one is opened by no node. One that is a finished copy becomes a new
// incarnation of the cluster with the first node that writes. The package never tries
// again: its caller does.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/replica"
	"github.com/varvelog/varve/tiering/segment"
)

const (
	// window is P of the journal protocol for new clusters.
	window = 4
	// reads is how often a damaged cluster object is read before it
	// counts as damaged.
	reads = 3
)

// ErrNone: there is no cluster in the bucket, and this node does not create one.
var ErrNone = errors.New("it holds no cluster yet")

// Folder is the part of a data folder that Load needs.
type Folder interface {
	// MayBind returns why the folder cannot belong to a cluster, or nil. The
	// zero id stands for a cluster that is not created yet.
	MayBind(cluster segment.ID) error
}

// Load reads the bucket's root object. A node that writes creates it if
// there is none, after the store has passed the probe. If there is one, it
// tests the store with one create-twice. A node that only reads writes nothing,
// nor does one whose data folder belongs to another cluster.
//
// Data folders belong to the id that is returned: that of the cluster, or, in a copy that
// nodes write to, that of its incarnation. So no node goes on in a copy with the folder of
// the bucket that was copied, or the other way round.
func Load(ctx context.Context, store objstore.Store, dir Folder, writes bool, log *slog.Logger) (c segment.Cluster, folder segment.ID, err error) {
	c, err = readObject(ctx, store)
	missing := errors.Is(err, objstore.ErrNotFound)
	if err != nil && !missing {
		return c, folder, err
	}
	marks, err := replica.Read(ctx, store)
	if err == nil && missing && marks.Begun.Number > 0 {
		err = fmt.Errorf("%w: it has no cluster object", replica.ErrUnfinished)
	}
	if err != nil {
		return c, folder, fmt.Errorf("bucket %s: %w", store, err)
	}
	folder = c.ID
	opens := marks.IsCopy() && writes
	switch {
	case opens:
		folder = segment.NewID()
	case !marks.IsCopy() && !marks.Incarnation().IsZero():
		folder = marks.Incarnation()
	}
	if err := dir.MayBind(folder); err != nil {
		return c, folder, fmt.Errorf("bucket %s: %w", store, err)
	}
	switch {
	case !missing && writes:
		err = testStore(ctx, store)
		if err == nil && opens {
			err = open(ctx, store, c, &marks, folder, log)
		}
		return c, folder, err
	case !missing:
		return c, folder, nil
	case !writes:
		return c, folder, fmt.Errorf("bucket %s: %w; start a node with the ingest role on it first", store, ErrNone)
	}
	c, err = create(ctx, store, log)
	return c, c.ID, err
}

// open makes a copy a new incarnation of its cluster.
func open(ctx context.Context, store objstore.Store, c segment.Cluster, marks *replica.Status, incarnation segment.ID, log *slog.Logger) error {
	mark := segment.Copy{
		State: segment.CopyOpened, Cluster: c.ID, Object: incarnation, Incarnation: marks.Begun.Incarnation, Number: marks.Begun.Number,
		TimeMs: time.Now().UnixMilli(), Source: marks.Begun.Source,
	}
	if err := replica.Write(ctx, store, mark); err != nil {
		return fmt.Errorf("open the copy in bucket %s: %w", store, err)
	}
	now, err := replica.Read(ctx, store) // a run may have begun since
	if err == nil && now.Begun.Number != marks.Begun.Number {
		err = fmt.Errorf("%w: run %d began at the same moment", replica.ErrUnfinished, now.Begun.Number)
	}
	if err != nil {
		return fmt.Errorf("open the copy in bucket %s: %w", store, err)
	}
	log.Warn("this bucket is a copy, and becomes a cluster of its own: nothing can be copied into it any more",
		"source", marks.Begun.Source, "incarnation", incarnation.String())
	return nil
}

// Read reads the root object of a bucket that is whole. The error is objstore.ErrNotFound
// if there is none, and replica.ErrUnfinished if the bucket is a copy that is not finished.
func Read(ctx context.Context, store objstore.Store) (segment.Cluster, error) {
	c, err := readObject(ctx, store)
	if err != nil && !errors.Is(err, objstore.ErrNotFound) {
		return c, err
	}
	if _, markErr := replica.Read(ctx, store); markErr != nil {
		return c, fmt.Errorf("bucket %s: %w", store, markErr)
	}
	return c, err
}

// readObject returns objstore.ErrNotFound if there is none.
func readObject(ctx context.Context, store objstore.Store) (segment.Cluster, error) {
	var c segment.Cluster
	for n := 0; ; n++ {
		b, err := store.Get(ctx, segment.ClusterKey)
		if err != nil {
			return segment.Cluster{}, fmt.Errorf("read cluster object of bucket %s: %w", store, err)
		}
		c, err = segment.DecodeCluster(b)
		if err == nil {
			break
		}
		// The bytes may have been damaged in transit.
		if !errors.Is(err, segment.ErrCorrupt) || n == reads-1 {
			return segment.Cluster{}, fmt.Errorf("cluster object of bucket %s: %w", store, err)
		}
	}
	if c.Format > metadata.SupportedLevel {
		return segment.Cluster{}, fmt.Errorf("bucket %s has feature level %d, this program knows %d: upgrade it: %w",
			store, c.Format, metadata.SupportedLevel, segment.ErrUnsupported)
	}
	return c, nil
}

func testStore(ctx context.Context, store objstore.Store) error {
	if err := objstore.CreateTwice(ctx, store, segment.ProbePrefix); err != nil {
		return fmt.Errorf("test bucket %s: %w", store, err)
	}
	return nil
}

// progressEvery is the time between two lines about a probe that is slow.
const progressEvery = time.Second

// probe tests the store, and logs how far it is.
func probe(ctx context.Context, store objstore.Store, log *slog.Logger) error {
	log.Info("new bucket: testing whether the store can keep data safe, with some 610 requests", "bucket", store.String())
	began := time.Now()
	logged := began
	err := objstore.Probe(ctx, store, segment.ProbePrefix, objstore.Quick, func(s objstore.Step) {
		level := slog.LevelDebug
		if now := time.Now(); now.Sub(logged) >= progressEvery {
			level, logged = slog.LevelInfo, now
		}
		log.Log(ctx, level, "testing the store", "step", s.Name, "done", s.Done, "total", s.Total)
	})
	if err == nil {
		log.Info("the store passed the test", "took", time.Since(began).Round(time.Millisecond))
	}
	return err
}

// create probes the store and writes the root object. The first writer
// wins. All others adopt its object, even if an earlier attempt of this very
// call wrote it.
func create(ctx context.Context, store objstore.Store, log *slog.Logger) (segment.Cluster, error) {
	if err := probe(ctx, store, log); err != nil {
		return segment.Cluster{}, fmt.Errorf("test bucket %s: %w", store, err)
	}
	c := segment.Cluster{ID: segment.NewID(), Format: metadata.SupportedLevel, Window: window, CreatedMs: time.Now().UnixMilli()}
	b, err := segment.EncodeCluster(c)
	if err != nil {
		return segment.Cluster{}, err
	}
	createErr := store.Create(ctx, segment.ClusterKey, objstore.Plain(b))
	got, err := readObject(ctx, store)
	if err != nil {
		return segment.Cluster{}, errors.Join(createErr, err)
	}
	log.Info("cluster created", "cluster", got.ID.Base64(), "bucket", store.String())
	return got, nil
}
