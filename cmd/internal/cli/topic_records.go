package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const deleteRecordsLong = `Delete the oldest records of a topic: all those before an offset, or before the
first record of a date or time. "varve help times" has all forms of times.

The command does not empty a partition in which no record is as new as that time,
except with --allow-empty. LAST DELETED is the time of the last record to delete.

The command prints the plan first; on a terminal it then asks. Offsets are never used
again: the next record of a partition gets the one it would have got.`

// deletion holds the flags of `varve topic delete-records`.
type deletion struct {
	before     string
	partitions []int32
	allowEmpty bool
	dryRun     bool
	yes        bool
	output     string
}

func newTopicDeleteRecords(env *Env, bootstrap *string) *cobra.Command {
	var d deletion
	cmd := &cobra.Command{
		Use:   "delete-records NAME",
		Short: "Delete the oldest records of a topic",
		Long:  deleteRecordsLong,
		Example: `  varve topic delete-records events --before -90d --dry-run
  varve topic delete-records events --before 2024-05-01 --yes
  varve topic delete-records events --partition 3 --before 120000`,
		Args: args(cobra.ExactArgs(1), "one topic name"),
		RunE: func(cmd *cobra.Command, names []string) error {
			if d.before == "" {
				return usagef("--before is missing: the first record to keep, as an offset, a date, a time, how long ago (-90d), or latest to keep none")
			}
			at, err := parseFrom("before", d.before, time.Now())
			if err != nil {
				return err
			}
			client, err := connect(cmd.Context(), env, *bootstrap)
			if err != nil {
				return err
			}
			defer client.Close()
			return interrupted(cmd.Context(), deleteRecords(cmd.Context(), env, client, names[0], &d, at))
		},
	}
	cmd.ValidArgsFunction = first(completeTopics(env, bootstrap), cobra.NoFileCompletions)
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringVar(&d.before, "before", "", "`where` the first record to keep is: an offset, a date or time, how long ago (-90d), or latest; see \"varve help times\"")
	flags.Int32SliceVar(&d.partitions, "partition", nil, "`number` of a partition, repeatable (default all)")
	flags.Lookup("partition").DefValue = ""
	complete(cmd, "before", completeStarts("latest", "-30d", "-1d"))
	flags.BoolVar(&d.allowEmpty, "allow-empty", false, "also empty partitions in which no record is as new as --before")
	flags.BoolVar(&d.dryRun, "dry-run", false, "show the plan only")
	flags.BoolVar(&d.yes, "yes", false, "do not ask")
	outputFlag(cmd, &d.output, "table", "json")
	return cmd
}

// truncation is the output of `topic delete-records -o json` for a partition.
type truncation struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Start     int64  `json:"start"`  // before
	Before    int64  `json:"before"` // the offsets below it are deleted
	End       int64  `json:"end"`
	// LastDeleted is the time of the last record to delete, if it is known.
	LastDeleted string `json:"last_deleted,omitempty"`
	Result      string `json:"result"` // "planned", "deleted" or "failed"
	Error       string `json:"error,omitempty"`

	last         time.Time // as LastDeleted
	lastErr      error     // reason for which it is not known
	nothingNewer bool      // no record is as new as the wanted time
}

func deleteRecords(ctx context.Context, env *Env, client *kgo.Client, topic string, d *deletion, at from) error {
	plan, err := planDeletion(ctx, env, client, topic, d, at)
	if err != nil {
		return err
	}
	if err := readLast(ctx, client, topic, plan); err != nil {
		return err
	}
	if err := checkTimes(d, at, plan); err != nil {
		return errors.Join(printTruncations(env.Stderr, "table", plan), err)
	}
	if d.dryRun {
		if err := printTruncations(env.Stdout, d.output, plan); err != nil {
			return err
		}
		fmt.Fprintln(env.Stderr, "varve: nothing was deleted (--dry-run)")
		return nil
	}
	if !d.yes && isTerminal(env.Stdin) {
		if err := printTruncations(env.Stderr, "table", plan); err != nil {
			return err
		}
	}
	var offsets int64
	for _, t := range plan {
		offsets += t.Before - t.Start
	}
	question := fmt.Sprintf("Delete the records at %s offsets of %s, for good?", humanize.Comma(offsets), topic)
	if err := consent(env, d.yes, question); err != nil {
		return err
	}
	err = carryOut(ctx, env, kadm.NewClient(client), topic, plan)
	return errors.Join(printTruncations(env.Stdout, d.output, plan), err)
}

// planDeletion finds where each partition will begin.
func planDeletion(ctx context.Context, env *Env, client *kgo.Client, topic string, d *deletion, at from) ([]truncation, error) {
	now, err := resolve(ctx, env, client, []string{topic}, d.partitions, from{kind: fromEarliest}, true)
	if err != nil {
		return nil, err
	}
	then, err := resolve(ctx, env, client, []string{topic}, d.partitions, at, true)
	if err != nil {
		return nil, err
	}
	plan := []truncation{}
	for p, s := range now[topic] {
		t := then[topic][p]
		plan = append(plan, truncation{Topic: topic, Partition: p, Start: s.next, Before: t.next, End: t.end, Result: "planned", nothingNewer: t.nothingNewer})
	}
	slices.SortFunc(plan, func(a, b truncation) int { return int(a.Partition) - int(b.Partition) })
	return plan, nil
}

// carryOut deletes as planned, and notes each result in the plan.
func carryOut(ctx context.Context, env *Env, admin *kadm.Client, topic string, plan []truncation) error {
	offsets := kadm.Offsets{}
	for _, t := range plan {
		offsets.AddOffset(topic, t.Partition, t.Before, -1)
	}
	var results kadm.DeleteRecordsResponses
	var err error // of the request; those of partitions stand in results
	_ = again(ctx, env, func() error {
		results, err = admin.DeleteRecords(ctx, offsets)
		return errors.Join(err, results.Error())
	})
	var errs []error
	for i := range plan {
		t := &plan[i]
		r, answered := results.Lookup(topic, t.Partition)
		switch {
		case answered && r.Err == nil:
			t.Result = "deleted"
			continue
		case answered:
			t.Error = explain(r.Err)
			errs = append(errs, fmt.Errorf("delete records of %s/%d: %w", topic, t.Partition, r.Err))
		case err == nil:
			t.Error = "the broker did not answer for it"
			errs = append(errs, fmt.Errorf("delete records of %s/%d: %s", topic, t.Partition, t.Error))
		default:
			t.Error = explain(err)
		}
		t.Result = "failed"
	}
	if err != nil {
		errs = append(errs, fmt.Errorf("delete records of topic %q: %w", topic, err))
	}
	return errors.Join(errs...)
}

func printTruncations(w io.Writer, output string, plan []truncation) error {
	if output == "json" {
		return printJSON(w, plan)
	}
	return printTable(w, func(w io.Writer) {
		fmt.Fprintln(w, "TOPIC\tPARTITION\tSTART\tBEFORE\tEND\tLAST DELETED\tRESULT")
		for _, t := range plan {
			fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%s\t%s\n", t.Topic, t.Partition, t.Start, t.Before, t.End, cmp.Or(t.LastDeleted, "-"), t.Result)
		}
	})
}
