package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/varvelog/varve/cmd/internal/bucket"
	"github.com/varvelog/varve/fetch/offline"
	"github.com/varvelog/varve/tiering/hold"
	"github.com/varvelog/varve/tiering/objstore"
)

const orphansLong = `List merged segments that no journal knows, and delete them with --delete.

A node names a segment in its journal before it uploads it. It deletes those that it
names no more, and once again a day later. So there are none, unless an upload arrived
even later, or objects were copied into the bucket. They cost storage, and nothing else.

The bucket is listed first, then the heads of all journals are proved, and only then is
judged. If a journal or an index page cannot be read, nothing is listed or deleted. The
same holds if the bucket shows that a journal lacks its end. An object that is younger than
a day is left alone, and so is everything while there is a hold. Objects that are not
merged segments are never touched.

A segment stays if its records may be nowhere else: the journal's own objects for these
offsets are missing, no journal has the partition, or the segment cannot be read. The column
NEEDED says why. If you know better, delete such an object by hand.`

func newBucketOrphans(env *Env) *cobra.Command {
	var f bucketFlags
	var deletes bool
	cmd := &cobra.Command{
		Use:   "orphans",
		Short: "List merged segments that no journal knows, or delete them",
		Long:  orphansLong,
		Example: `  varve bucket orphans --bucket file:///var/lib/varve/bucket
  varve bucket orphans --bucket 's3://events/prod?region=eu-central-1' --delete -o json`,
		Args: args(cobra.NoArgs, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			store, err := f.store(cmd.Context(), env)
			if err != nil {
				return err
			}
			defer bucket.Close(store)
			b, err := f.readStore(cmd.Context(), env, store)
			if err != nil {
				return err
			}
			defer b.Close()
			return interrupted(cmd.Context(), orphans(cmd.Context(), env, &f, store, b, deletes))
		},
	}
	cmd.Flags().BoolVar(&deletes, "delete", false, "delete them")
	f.add(cmd, "table", "json")
	return cmd
}

// orphanRow is an element of the output of `bucket orphans -o json`.
type orphanRow struct {
	Key      string `json:"key"`
	Bytes    int64  `json:"bytes"`
	Modified string `json:"modified"`
	Needed   string `json:"needed,omitempty"` // why it is not deleted
	Deleted  bool   `json:"deleted"`
	Error    string `json:"error,omitempty"`
}

func orphans(ctx context.Context, env *Env, f *bucketFlags, store objstore.Store, b *offline.Bucket, deletes bool) error {
	var listed atomic.Int64
	stop := showProgress(env, "bucket orphans", f.progress, func() progress {
		return progress{doing: "listing the bucket", unit: "objects", done: listed.Load()}
	})
	found, err := b.Orphans(ctx, time.Now(), listed.Store)
	stop()
	if err != nil {
		return fmt.Errorf("nothing is judged: %w", err)
	}
	rows := make([]orphanRow, len(found))
	for i, o := range found {
		rows[i] = orphanRow{Key: o.Key, Bytes: o.Size, Modified: o.Modified.UTC().Format(timeLayout), Needed: strings.Join(strings.Fields(o.Needed), " ")}
	}
	if deletes {
		err = deleteOrphans(ctx, store, b, rows)
	}
	return errors.Join(err, printOrphans(env.Stdout, f.output, rows, deletes))
}

// deleteOrphans deletes them, unless there is a hold.
func deleteOrphans(ctx context.Context, store objstore.Store, b *offline.Bucket, rows []orphanRow) error {
	held, err := hold.Active(ctx, store, b.Cluster.ID, time.Now())
	if err != nil {
		return fmt.Errorf("nothing was deleted: %w", err)
	}
	if len(held) > 0 {
		return fmt.Errorf(`nothing was deleted: hold %s pauses deletions ("varve bucket hold list")`, held[0].Object)
	}
	var keys []string
	var of []*orphanRow
	for i := range rows {
		if rows[i].Needed == "" {
			keys, of = append(keys, rows[i].Key), append(of, &rows[i])
		}
	}
	var errs []error
	for i, err := range objstore.DeleteAll(ctx, store, keys) {
		if of[i].Deleted = err == nil; err != nil {
			of[i].Error = oneLine(err)
			errs = append(errs, fmt.Errorf("delete %s: %w", keys[i], err))
		}
	}
	return errors.Join(errs...)
}

func printOrphans(w io.Writer, output string, rows []orphanRow, deletes bool) error {
	if output == "json" {
		return printJSON(w, rows)
	}
	var bytes int64
	var n int
	err := printTable(w, func(w io.Writer) {
		fmt.Fprintln(w, "OBJECT\tSIZE\tMODIFIED\tNEEDED")
		for _, r := range rows {
			if r.Needed == "" {
				n, bytes = n+1, bytes+r.Bytes
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", r.Key, humanize.IBytes(uint64(r.Bytes)), r.Modified, cmp.Or(r.Needed, "no"))
		}
	})
	if err != nil || n == 0 || deletes {
		return err
	}
	_, err = fmt.Fprintf(w, "\n%s, %s; --delete deletes them\n", plural(n, "object"), humanize.IBytes(uint64(bytes)))
	return err
}
