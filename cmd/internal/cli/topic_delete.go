package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

func newTopicDelete(env *Env, bootstrap *string) *cobra.Command {
	var output string
	var yes, asked bool
	cmd := &cobra.Command{
		Use:   "delete NAME...",
		Short: "Delete topics and all their records",
		Long: `Delete topics and all their records.

The name of a deleted topic can be used again at once. For 72 hours, or for as long as
"varve serve --delete-grace" sets, "varve topic undelete" can bring the topic back. Then
its records are deleted from the bucket. A cluster below feature level 2 keeps no deleted
topics: see "varve cluster upgrade".`,
		Example: `  varve topic delete events
  varve topic delete events clicks --yes`,
		Args: args(cobra.MinimumNArgs(1), "one or more topic names"),
		RunE: func(cmd *cobra.Command, names []string) error {
			names = unique(names)
			if err := consent(env, yes, "Delete "+list(names, "and")+" and all records in it, for good?"); err != nil {
				return err
			}
			return withAdmin(cmd.Context(), env, *bootstrap, func(admin *kadm.Client) error {
				deeds, err := deleteTopics(cmd.Context(), env, admin, names, asked)
				return errors.Join(printDeeds(env.Stdout, output, "topic", deeds), err)
			})
		},
	}
	cmd.ValidArgsFunction = completeTopics(env, bootstrap)
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	outputFlag(cmd, &output, "text", "json")
	progressFlag(cmd.Flags(), &asked)
	return cmd
}

// deleteBatch is how many topics one request deletes: they share its commits.
// The broker answers when every journal of the topics has released them.
const deleteBatch = 500

// deleteTopics deletes every topic that it can. The error names the others.
func deleteTopics(ctx context.Context, env *Env, admin *kadm.Client, names []string, asked bool) (deeds []deed, err error) {
	var left []string
	fail := func(name string, err error) {
		deeds = append(deeds, failed(name, err))
		left = append(left, fmt.Sprintf("%q: %s", name, explain(err)))
	}
	var done atomic.Int64
	defer showProgress(env, "topic delete", asked, func() progress {
		return progress{unit: "topics", done: done.Load(), total: int64(len(names))}
	})()
	for batch := range slices.Chunk(names, deleteBatch) {
		results, err := admin.DeleteTopics(ctx, batch...)
		for _, name := range batch {
			r, answered := results[name]
			switch {
			case err != nil:
				fail(name, fmt.Errorf("may still exist: %w", interrupted(ctx, err)))
			case !answered:
				fail(name, errors.New("may still exist: the broker did not answer for it"))
			case errors.Is(r.Err, kerr.UnknownTopicOrPartition):
				fail(name, errors.New("does not exist"))
			case r.Err != nil:
				fail(name, withMessage(r.Err, r.ErrMessage))
			default:
				deeds = append(deeds, deed{Name: name, Result: "deleted"})
			}
		}
		done.Add(int64(len(batch)))
	}
	if len(left) > 0 {
		return deeds, fmt.Errorf("delete topics: %s", strings.Join(left, "; "))
	}
	return deeds, nil
}
