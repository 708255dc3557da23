package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/varvelog/varve/cmd/internal/bucket"
	"github.com/varvelog/varve/fetch/offline"
	"github.com/varvelog/varve/fetch/replicate"
	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/replica"
	"github.com/varvelog/varve/tiering/segment"
)

const copyLong = `Copy a bucket into another one, while nodes write to the first. Run it again to add the
objects that came since: only those are copied.

A hold pauses deletions at the source; then the heads of all journals are proved, and all
objects are copied that the log consists of there. So the copy is the log of one moment.
If the bucket, or an earlier copy, shows that a journal lacks its end or has a hole, nothing
is copied.
Each object is checked on the way, merged segments by their SHA-256. The target is marked
as not whole until all is there: no node and no command takes it for a log before. If the
command is interrupted, run it again.

The copy is a backup: nodes that only read, and all commands, can use it. When a node
with the ingest role is started on it, it becomes a cluster of its own. That takes a
data folder that is new, because write-ahead logs and witnesses of the first cluster do not
belong to it. From then on nothing can be copied into it. Its cluster id, topics, offsets
and groups are those of the source, so its clients must not be mixed with those of the
source. Records that the source took after the copy are not in it.

Read access to the source is enough. Without write access there is no hold, and a copy
that meets a deletion proves the heads again.`

func newBucketCopy(env *Env) *cobra.Command {
	var f bucketFlags
	var to string
	var create, dry bool
	cmd := &cobra.Command{
		Use:   "copy --to URL",
		Short: "Copy a bucket into another one, and add to the copy later",
		Long:  copyLong,
		Example: `  varve bucket copy --bucket 's3://events/prod?region=eu-central-1' --to file:///backup/events --create-bucket
  varve bucket copy --to 's3://backup/prod?region=eu-west-1' --dry-run -o json`,
		Args: args(cobra.NoArgs, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if to == "" {
				return usagef("where to? Add --to URL")
			}
			return interrupted(cmd.Context(), copyBucket(cmd.Context(), env, &f, to, create, dry))
		},
	}
	cmd.Flags().StringVar(&to, "to", "", "bucket `url` of the copy, empty or a copy already")
	complete(cmd, "to", completeStarts("file:///", "s3://", "minio://"))
	cmd.Flags().BoolVar(&create, "create-bucket", false, "create the bucket of the copy when it does not exist")
	cmd.Flags().BoolVar(&dry, "dry-run", false, "count the objects to be copied, and write nothing")
	f.add(cmd, "text", "json")
	return cmd
}

// copyResult is the output of `bucket copy -o json`.
type copyResult struct {
	Source  string            `json:"source"`
	Target  string            `json:"target"`
	Number  uint64            `json:"number"` // of the run, from 1
	Objects int64             `json:"objects"`
	Bytes   int64             `json:"bytes"`
	Copied  int64             `json:"copied"`  // objects, by this run
	Written int64             `json:"written"` // bytes
	Heads   map[uint32]uint64 `json:"heads"`   // seq by journal
	DryRun  bool              `json:"dry_run"`
	Seconds float64           `json:"seconds"`
}

func copyBucket(ctx context.Context, env *Env, f *bucketFlags, to string, create, dry bool) error {
	source, err := f.store(ctx, env)
	if err != nil {
		return err
	}
	defer bucket.Close(source)
	b, err := f.readStore(ctx, env, source)
	if err != nil {
		return err
	}
	defer b.Close()
	target, err := bucket.Open(ctx, to, create && !dry)
	if errors.Is(err, bucket.ErrURL) {
		return usageError{err}
	}
	if dry && create && errors.Is(err, objstore.ErrNoBucket) {
		return fmt.Errorf("%w; --dry-run creates none, and everything would be copied", err)
	}
	if err != nil {
		return orCreate(err)
	}
	defer bucket.Close(target)
	began := time.Now()
	c := replicate.New(replicate.Options{
		Source: source, Target: target, Bucket: b, DryRun: dry, Now: time.Now,
		Log: slog.New(slog.NewTextHandler(env.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	stop := showProgress(env, "bucket copy", f.progress, func() progress {
		p := c.Progress()
		return progress{doing: p.Doing, unit: "objects", done: p.Objects, total: p.TotalObjects, bytes: p.Bytes, totalBytes: p.TotalBytes}
	})
	r, err := c.Run(ctx)
	stop()
	if err != nil {
		return explainCopy(f.url, err)
	}
	result := copyResult{
		Source: bucket.Redact(f.url), Target: bucket.Redact(to), Number: r.Number, Objects: r.Objects, Bytes: r.Bytes,
		Copied: r.Copied, Written: r.Written, Heads: r.Heads, DryRun: dry, Seconds: time.Since(began).Seconds(),
	}
	if f.output == "json" {
		return printJSON(env.Stdout, result)
	}
	return result.print(env.Stdout)
}

// explainCopy adds advice to the error of a copy.
func explainCopy(url string, err error) error {
	switch {
	case errors.Is(err, offline.ErrCutOff):
		return fmt.Errorf("%w; restore the missing objects first: \"varve bucket verify --bucket %s\" names holes. The target stays as it is", err, bucket.Redact(url))
	case errors.Is(err, replica.ErrOpened):
		return fmt.Errorf("%w; copy into another bucket or prefix", err)
	case errors.Is(err, replicate.ErrTarget):
		return fmt.Errorf("%w; give an empty bucket or prefix with --to", err)
	case errors.Is(err, segment.ErrCorrupt):
		return fmt.Errorf("%w; \"varve bucket verify --bucket %s\" describes the damage; the copy is not whole until it is mended", err, bucket.Redact(url))
	}
	return err
}

func (r *copyResult) print(w io.Writer) error {
	if r.DryRun {
		_, err := fmt.Fprintf(w, "to copy: %s of %s, %s\n", humanize.Comma(r.Copied), plural(int(r.Objects), "object"), humanize.IBytes(uint64(r.Written)))
		return err
	}
	_, err := fmt.Fprintf(w, "copied %s of %s, %s, in %.1f s; the copy in %s is whole\n",
		humanize.Comma(r.Copied), plural(int(r.Objects), "object"), humanize.IBytes(uint64(r.Written)), r.Seconds, r.Target)
	return err
}
