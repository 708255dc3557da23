package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/varvelog/varve/cmd/internal/bucket"
	"github.com/varvelog/varve/fetch/offline"
	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/replica"
	"github.com/varvelog/varve/tiering/segment"
)

// bucketFlags are the flags of the commands that look into a bucket.
type bucketFlags struct {
	url, output string
	progress    bool
}

// add adds the flags. The first output is the default.
func (f *bucketFlags) add(cmd *cobra.Command, outputs ...string) {
	cmd.Flags().SortFlags = false
	cmd.Flags().StringVar(&f.url, "bucket", "", "bucket `url` (default $"+bucketEnv+")")
	complete(cmd, "bucket", completeStarts("file:///", "s3://", "minio://"))
	outputFlag(cmd, &f.output, outputs...)
	progressFlag(cmd.Flags(), &f.progress)
}

// store opens the store. Close it with bucket.Close.
func (f *bucketFlags) store(ctx context.Context, env *Env) (objstore.Store, error) {
	if f.url == "" {
		f.url = env.getenv(bucketEnv)
	}
	if f.url == "" {
		return nil, usagef("which bucket? Add --bucket URL, or set %s", bucketEnv)
	}
	store, err := bucket.Open(ctx, f.url, false)
	if errors.Is(err, bucket.ErrURL) {
		return nil, usageError{err}
	}
	return store, interrupted(ctx, err)
}

// look opens the bucket for reading without a node, and calls do. If the bucket shows that
// a journal lacks its end, do works with the rest. Then that is the error.
func (f *bucketFlags) look(ctx context.Context, env *Env, do func(*offline.Bucket) error) error {
	store, err := f.store(ctx, env)
	if err != nil {
		return err
	}
	defer bucket.Close(store)
	b, err := f.readStore(ctx, env, store)
	if err != nil {
		return err
	}
	defer b.Close()
	cut := b.ProveEnds(ctx)
	if cut != nil && !errors.Is(cut, offline.ErrCutOff) {
		return interrupted(ctx, cut)
	}
	if err := do(b); err != nil || cut == nil {
		return interrupted(ctx, err)
	}
	return fmt.Errorf("%w; records from there on cannot be read: \"varve bucket verify --bucket %s\" names the holes", cut, bucket.Redact(f.url))
}

func (f *bucketFlags) readStore(ctx context.Context, env *Env, store objstore.Store) (*offline.Bucket, error) {
	log := slog.New(slog.NewTextHandler(env.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	b, err := offline.Open(ctx, store, offline.Options{Log: log})
	return b, interrupted(ctx, explainBucket(f.url, err))
}

// explainBucket adds advice to the error of a bucket that cannot be read.
func explainBucket(url string, err error) error {
	switch {
	case errors.Is(err, replica.ErrUnfinished):
		return err
	case errors.Is(err, objstore.ErrNotFound):
		return fmt.Errorf("%w; the bucket holds no cluster, or not all of it: correct --bucket", err)
	case errors.Is(err, journal.ErrBroken), errors.Is(err, journal.ErrDamaged), errors.Is(err, segment.ErrCorrupt):
		return fmt.Errorf("%w; \"varve bucket verify --bucket %s\" describes the damage", err, bucket.Redact(url))
	case errors.Is(err, segment.ErrUnsupported):
		return fmt.Errorf("%w; use a newer varve", err)
	}
	return err
}

// chosen are partitions of a topic.
type chosen struct {
	topic      *metadata.Topic
	partitions []int32
}

func (c *chosen) keys() []partlog.Key {
	keys := make([]partlog.Key, len(c.partitions))
	for i, p := range c.partitions {
		keys[i] = partlog.Key{Topic: c.topic.ID, Index: p}
	}
	return keys
}

// choose finds the partitions that TOPIC or TOPIC/PARTITION names, and --partition. A
// topic that is being deleted counts as one: its records may still be there.
func choose(b *offline.Bucket, name string, only []int32) (*chosen, error) {
	name, partition, cut := strings.Cut(name, "/")
	if cut {
		n, err := strconv.ParseInt(partition, 10, 32)
		if err != nil || n < 0 || len(only) > 0 {
			return nil, usagef("%q: write the topic, or topic/partition, as in events/3", name+"/"+partition)
		}
		only = []int32{int32(n)}
	}
	t, ok := b.Topics.Topic(name)
	if !ok {
		i := slices.IndexFunc(b.Topics.Deleting(), func(t *metadata.Topic) bool { return t.Name == name })
		if i < 0 {
			return nil, usagef("topic %q is not in the bucket%s", name, nearest(b, name))
		}
		t = b.Topics.Deleting()[i]
	}
	c := &chosen{topic: t, partitions: slices.Clone(only)}
	slices.Sort(c.partitions)
	c.partitions = slices.Compact(c.partitions)
	for _, p := range c.partitions {
		if p < 0 || int(p) >= len(t.Partitions) {
			return nil, usagef("topic %q has partitions 0 to %d, not %d", name, len(t.Partitions)-1, p)
		}
	}
	if len(only) == 0 {
		for p := range t.Partitions {
			c.partitions = append(c.partitions, int32(p))
		}
	}
	return c, nil
}

// nearest is advice about a topic that is not there.
func nearest(b *offline.Bucket, name string) string {
	for _, t := range b.Topics.Topics() {
		if strings.EqualFold(t.Name, name) {
			return fmt.Sprintf("; did you mean %q?", t.Name)
		}
	}
	return "; \"varve bucket ls\" lists the topics"
}

// stamp is a time in a table; a dash stands for one that is not known.
func stamp(ms int64) string {
	if ms < 0 {
		return "-"
	}
	return time.UnixMilli(ms).UTC().Format(timeLayout)
}

// stampJSON is the same for programs.
func stampJSON(ms int64) *string {
	if ms < 0 {
		return nil
	}
	s := stamp(ms)
	return &s
}
