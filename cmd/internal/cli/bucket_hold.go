package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/varvelog/varve/cmd/internal/bucket"
	"github.com/varvelog/varve/metadata/cluster"
	"github.com/varvelog/varve/tiering/hold"
	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/segment"
)

const holdLong = `Pause the deletion of objects in a bucket for some time, so that a backup gets all that
it reads. Nodes go on with everything else: clients notice nothing, and the deletions
are made up for afterwards.

A hold is an object in the bucket, so no node needs to run, and write access is needed.
It takes effect at once: a round of deletions that begins later finds it. It ends by
itself, or with "varve bucket hold release". While there are several, nothing is deleted
until the last one has ended. Nodes keep a hold for 5 minutes longer than its end, in
case clocks differ.

Take the hold first, then the listing. varve bucket copy takes a hold of its own.`

// holdBounds are the shortest and the longest hold.
const (
	shortestHold = time.Minute
	longestHold  = 90 * 24 * time.Hour
)

func newBucketHold(env *Env) *cobra.Command {
	var f bucketFlags
	var lasts time.Duration
	var reason string
	cmd := &cobra.Command{
		Use:   "hold",
		Short: "Pause the deletion of objects for a backup",
		Long:  holdLong,
		Example: `  varve bucket hold --for 6h --reason "nightly backup"
  varve bucket hold list -o json
  varve bucket hold release 6a2f0c9e8b7d4c51a90e3f7712345678`,
		Args: args(cobra.NoArgs, "no arguments, or one of its commands"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if lasts < shortestHold || lasts > longestHold {
				return usagef("--for %v: write a duration from %v to %v", lasts, shortestHold, longestHold)
			}
			if len(reason) > segment.MaxReason {
				return usagef("--reason has %d bytes, at most %d", len(reason), segment.MaxReason)
			}
			return f.withCluster(cmd.Context(), env, func(store objstore.Store, c segment.Cluster) error {
				now := time.Now()
				h := segment.Hold{Cluster: c.ID, Object: segment.NewID(), CreatedMs: now.UnixMilli(), UntilMs: now.Add(lasts).UnixMilli(), Reason: reason}
				if err := hold.Place(cmd.Context(), store, h); err != nil {
					return err
				}
				row := holdRow(hold.Held{Hold: h}, now)
				if f.output == "json" {
					return printJSON(env.Stdout, row)
				}
				_, err := fmt.Fprintf(env.Stdout, "deletions are paused until %s by hold %s\n", *row.Until, row.ID)
				return err
			})
		},
	}
	cmd.Flags().DurationVar(&lasts, "for", time.Hour, "how long the hold lasts")
	cmd.Flags().StringVar(&reason, "reason", "", "`text` that list shows")
	f.add(cmd, "text", "json")
	cmd.AddCommand(newHoldList(env), newHoldRelease(env))
	return cmd
}

func newHoldList(env *Env) *cobra.Command {
	var f bucketFlags
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List holds",
		Example: `  varve bucket hold list
  varve bucket hold list -o json`,
		Args: args(cobra.NoArgs, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.withCluster(cmd.Context(), env, func(store objstore.Store, c segment.Cluster) error {
				found, err := hold.List(cmd.Context(), store, c.ID)
				if err != nil {
					return err
				}
				rows := []heldRow{}
				for _, h := range found {
					rows = append(rows, holdRow(h, time.Now()))
				}
				if f.output == "json" {
					return printJSON(env.Stdout, rows)
				}
				return printHolds(env.Stdout, rows)
			})
		},
	}
	f.add(cmd, "table", "json")
	return cmd
}

func newHoldRelease(env *Env) *cobra.Command {
	var f bucketFlags
	cmd := &cobra.Command{
		Use:   "release ID...",
		Short: "End holds, so that deletions go on",
		Example: `  varve bucket hold release 6a2f0c9e8b7d4c51a90e3f7712345678
  varve bucket hold list -o json | jq -r '.[].id' | xargs varve bucket hold release`,
		Args: args(cobra.MinimumNArgs(1), "one or more ids of holds"),
		RunE: func(cmd *cobra.Command, names []string) error {
			var ids []segment.ID
			for _, name := range unique(names) {
				id, err := segment.ParseID(name)
				if err != nil {
					return usagef(`%q is not the id of a hold; "varve bucket hold list" shows them`, name)
				}
				ids = append(ids, id)
			}
			return f.withCluster(cmd.Context(), env, func(store objstore.Store, _ segment.Cluster) error {
				return releaseHolds(cmd.Context(), env, store, f.output, ids)
			})
		},
	}
	f.add(cmd, "text", "json")
	return cmd
}

func releaseHolds(ctx context.Context, env *Env, store objstore.Store, output string, ids []segment.ID) error {
	deeds := []deed{}
	var errs []error
	for _, id := range ids {
		d := deed{Name: id.String(), Result: "deleted"}
		if err := hold.Release(ctx, store, id); err != nil {
			d = failed(id.String(), err)
			errs = append(errs, err)
		}
		deeds = append(deeds, d)
	}
	return errors.Join(errors.Join(errs...), printDeeds(env.Stdout, output, "hold", deeds))
}

// withCluster opens the bucket and reads its cluster object.
func (f *bucketFlags) withCluster(ctx context.Context, env *Env, do func(objstore.Store, segment.Cluster) error) error {
	store, err := f.store(ctx, env)
	if err != nil {
		return err
	}
	defer bucket.Close(store)
	c, err := cluster.Read(ctx, store)
	if err != nil {
		return interrupted(ctx, explainBucket(f.url, err))
	}
	return interrupted(ctx, do(store, c))
}

// heldRow is a hold in the output of `bucket hold -o json`.
type heldRow struct {
	ID      string  `json:"id"`
	Active  bool    `json:"active"`
	Created *string `json:"created"`
	Until   *string `json:"until"` // null if the hold cannot be read: then it has no end
	Reason  string  `json:"reason"`
	Error   string  `json:"error,omitempty"`
}

func holdRow(h hold.Held, now time.Time) heldRow {
	if h.Err != nil {
		return heldRow{ID: h.Object.String(), Active: true, Error: oneLine(h.Err)}
	}
	return heldRow{ID: h.Object.String(), Active: !hold.Ended(h.Hold, now), Created: stampJSON(h.CreatedMs), Until: stampJSON(h.UntilMs), Reason: h.Reason}
}

func printHolds(w io.Writer, rows []heldRow) error {
	return printTable(w, func(w io.Writer) {
		fmt.Fprintln(w, "HOLD\tSTATE\tCREATED\tUNTIL\tREASON")
		for _, r := range rows {
			state, created, until, reason := "ended", "-", "-", r.Reason
			if r.Active {
				state = "active"
			}
			if r.Created != nil {
				created, until = *r.Created, *r.Until
			}
			if r.Error != "" {
				reason = "cannot be read, so it has no end: " + r.Error
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", r.ID, state, created, until, cell(reason))
		}
	})
}
