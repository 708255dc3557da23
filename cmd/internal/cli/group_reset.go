package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

const groupResetLong = `Set the committed offsets of a group, from which its members will go on.

The command prints the plan and changes nothing; with --execute it carries the plan
out. The group must have no members then: stop its consumers first.

--to takes earliest, latest, an offset, a date or time (2024-05-01,
2024-05-01T12:00:00Z), how long ago (-2h, -7d), or current, which stands for the offsets
committed now. "varve help times" has all forms of times. --shift-by moves the committed
offsets, back with a negative number. Offsets before the first record or after the last
one become the nearest valid offset; NOTE then says so.

Files have one line for each partition: topic,partition,offset. This is the format
of kafka-consumer-groups, too. --to-file writes the plan to one, so that
"--to current --to-file" keeps a copy of the committed offsets; --from-file restores it.

Without --topic, all partitions for which the group has committed offsets are reset,
or those of the file.`

// resetFlags are the flags of `varve group reset-offsets`.
type resetFlags struct {
	to, fromFile, toFile string
	shift                int64
	topics               []string
	execute              bool
	output               string
}

func newGroupReset(env *Env, bootstrap *string) *cobra.Command {
	var f resetFlags
	cmd := &cobra.Command{
		Use:   "reset-offsets GROUP",
		Short: "Set the committed offsets of a group; shows the plan first",
		Long:  groupResetLong,
		Example: `  varve group reset-offsets billing --to earliest
  varve group reset-offsets billing --to 2024-05-01T12:00:00Z --topic events --execute
  varve group reset-offsets billing --to 1200 --topic events:3
  varve group reset-offsets billing --shift-by -100
  varve group reset-offsets billing --to current --to-file billing.csv
  varve group reset-offsets billing --from-file billing.csv --execute`,
		Args: args(cobra.ExactArgs(1), "one group name"),
		RunE: func(cmd *cobra.Command, names []string) error {
			r, err := f.reset(cmd.Flags().Changed("shift-by"))
			if err != nil {
				return err
			}
			r.group = names[0]
			client, err := connect(cmd.Context(), env, *bootstrap)
			if err != nil {
				return err
			}
			defer client.Close()
			return interrupted(cmd.Context(), r.run(cmd.Context(), env, client, &f))
		},
	}
	cmd.ValidArgsFunction = first(completeGroups(env, bootstrap), cobra.NoFileCompletions)
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringVar(&f.to, "to", "", "`where` the group goes on: earliest, latest, current, an offset, a date or time, or how long ago")
	flags.Int64Var(&f.shift, "shift-by", 0, "`number` of offsets to go forward (10) or back (-10) from the committed ones")
	flags.StringVar(&f.fromFile, "from-file", "", "`file` with topic,partition,offset lines to go on from")
	flags.StringArrayVar(&f.topics, "topic", nil, "only this topic, as `name[:partition,...]`, repeatable")
	flags.StringVar(&f.toFile, "to-file", "", "new `file` to write the plan to")
	complete(cmd, "to", completeStarts("earliest", "latest", "current", "-1h", "-1d"))
	complete(cmd, "topic", completeTopics(env, bootstrap))
	flags.BoolVar(&f.execute, "execute", false, "set the offsets, instead of only showing the plan")
	outputFlag(cmd, &f.output, "table", "json")
	return cmd
}

// offsetReset is a reset to carry out. Exactly one of at, current, shifted and
// the file gives the new offsets.
type offsetReset struct {
	group   string
	at      from
	current bool
	shifted bool
	shift   int64
	file    map[partitionReference]int64
	topics  []topicChoice // none: all that the group or the file has
}

// reset checks the flags.
func (f *resetFlags) reset(shifted bool) (*offsetReset, error) {
	r := &offsetReset{shifted: shifted, shift: f.shift}
	ways := 0
	for _, given := range []bool{f.to != "", shifted, f.fromFile != ""} {
		if given {
			ways++
		}
	}
	if ways != 1 {
		return nil, usagef("where to? Give one of --to, --shift-by and --from-file")
	}
	var err error
	if r.topics, err = parseTopics(f.topics); err != nil {
		return nil, err
	}
	switch {
	case f.to == "current":
		r.current = true
	case f.to != "":
		r.at, err = parseFrom("to", f.to, time.Now())
	case f.fromFile != "":
		r.file, err = readOffsets(f.fromFile)
	}
	return r, err
}

// resetRow is the output of `group reset-offsets -o json` for a partition.
type resetRow struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Committed *int64 `json:"committed"` // before; null without a commit
	New       int64  `json:"new"`
	Lag       int64  `json:"lag"`    // after
	Result    string `json:"result"` // "planned", "committed" or "failed"
	Note      string `json:"note,omitempty"`
}

func (r *offsetReset) run(ctx context.Context, env *Env, client *kgo.Client, f *resetFlags) error {
	admin := kadm.NewClient(client)
	members, err := r.members(ctx, env, admin)
	if err != nil {
		return err
	}
	if f.execute && members != nil {
		return members
	}
	plan, err := r.plan(ctx, env, client)
	if err != nil {
		return err
	}
	if f.toFile != "" {
		if err := writeOffsets(f.toFile, plan); err != nil {
			return err
		}
	}
	if !f.execute {
		if err := printResets(env.Stdout, f.output, plan); err != nil {
			return err
		}
		fmt.Fprintln(env.Stderr, "varve: this is the plan; nothing was changed (--execute carries it out)")
		if members != nil {
			fmt.Fprintf(env.Stderr, "varve: %v\n", members)
		}
		return nil
	}
	err = r.commit(ctx, env, admin, plan)
	return errors.Join(printResets(env.Stdout, f.output, plan), err)
}

// members returns why the offsets cannot be set now, or nil if the group has no
// members or does not exist: committing creates it.
func (r *offsetReset) members(ctx context.Context, env *Env, admin *kadm.Client) (reason, err error) {
	g, err := groupState(ctx, env, admin, r.group)
	switch {
	case errors.Is(err, errUnknownGroup):
		return nil, nil
	case err != nil:
		return nil, err
	case g.State == groupEmpty:
		return nil, nil
	}
	return fmt.Errorf("group %q is %s with %s, which would overwrite its offsets: stop its consumers, or wait until their sessions have timed out, and run it again",
		r.group, g.State, plural(len(g.Members), "member")), nil
}

// plan finds the new offset of every chosen partition.
func (r *offsetReset) plan(ctx context.Context, env *Env, client *kgo.Client) ([]resetRow, error) {
	admin := kadm.NewClient(client)
	var committed kadm.OffsetResponses
	err := again(ctx, env, func() (err error) {
		committed, err = committedOffsets(ctx, admin, r.group)
		return errors.Join(err, committed.Error())
	})
	if err != nil {
		return nil, err
	}
	chosen, err := r.choose(ctx, env, client, committed)
	if err != nil {
		return nil, err
	}
	plan := []resetRow{}
	for _, topic := range chosen {
		var start, at map[int32]*span
		err := again(ctx, env, func() (err error) {
			start, err = resolveTopic(ctx, admin, topic.name, topic.partitions, from{kind: fromEarliest}, true)
			at = start
			if err == nil && r.at.kind == fromTime {
				at, err = resolveTopic(ctx, admin, topic.name, topic.partitions, r.at, true)
			}
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("find offsets of topic %q: %w", topic.name, err)
		}
		for _, p := range topic.partitions {
			row := resetRow{Topic: topic.name, Partition: p, Result: "planned"}
			if c, ok := committed.Lookup(topic.name, p); ok && c.At >= 0 {
				row.Committed = &c.At
			}
			if !r.aim(&row, at[p].next) {
				fmt.Fprintf(env.Stderr, "varve: %s/%d is left out: the group has no committed offset there\n", topic.name, p)
				continue
			}
			r.bound(&row, start[p].next, start[p].end)
			plan = append(plan, row)
		}
	}
	return plan, nil
}

// aim sets the wanted offset; found is the offset of the wanted time. It
// reports whether there is one.
func (r *offsetReset) aim(row *resetRow, found int64) bool {
	switch {
	case r.file != nil:
		row.New = r.file[partitionReference{row.Topic, row.Partition}]
	case r.at.kind == fromEarliest:
		row.New = 0 // bounded by the start
	case r.at.kind == fromLatest:
		row.New = math.MaxInt64 // bounded by the end
	case r.at.kind == fromOffset:
		row.New = r.at.offset
	case r.at.kind == fromTime:
		row.New = found
	case row.Committed == nil:
		return false
	case r.current:
		row.New = *row.Committed
	case r.shifted:
		row.New = shifted(*row.Committed, r.shift)
	}
	return true
}

// shifted returns the sum, or the largest number that exists: offsets are not
// negative.
func shifted(offset, by int64) int64 {
	if by > math.MaxInt64-offset {
		return math.MaxInt64
	}
	return offset + by
}

// bound keeps the offset within the partition, and notes it if the user gave a
// number.
func (r *offsetReset) bound(row *resetRow, start, end int64) {
	asked := row.New
	row.New = min(max(asked, start), end)
	row.Lag = end - row.New
	if row.New != asked && r.at.kind != fromEarliest && r.at.kind != fromLatest {
		row.Note = fmt.Sprintf("%d is not in the partition, which has %d to %d", asked, start, end)
	}
}

// commit sets the offsets as planned, and notes each result in the plan.
func (r *offsetReset) commit(ctx context.Context, env *Env, admin *kadm.Client, plan []resetRow) error {
	offsets := kadm.Offsets{}
	for _, row := range plan {
		offsets.AddOffset(row.Topic, row.Partition, row.New, -1)
	}
	var results kadm.OffsetResponses
	var err error // of the request; those of partitions stand in results
	_ = again(ctx, env, func() error {
		results, err = admin.CommitOffsets(ctx, r.group, offsets)
		return errors.Join(err, results.Error())
	})
	var first error
	bad := 0
	for i := range plan {
		row := &plan[i]
		why := err
		if res, ok := results.Lookup(row.Topic, row.Partition); ok {
			why = res.Err
		} else if why == nil {
			why = errors.New("the broker did not answer for it")
		}
		if why == nil {
			row.Result = "committed"
			continue
		}
		if errors.Is(why, kerr.UnknownMemberID) || errors.Is(why, kerr.RebalanceInProgress) || errors.Is(why, kerr.IllegalGeneration) {
			why = fmt.Errorf("the group has members now; stop its consumers and run it again: %w", why)
		}
		row.Result, row.Note = "failed", explain(why)
		if bad++; first == nil {
			first = fmt.Errorf("%s/%d: %w", row.Topic, row.Partition, why)
		}
	}
	if first != nil {
		return fmt.Errorf("%d of %d offsets of group %q were not committed: %w", bad, len(plan), r.group, first)
	}
	return nil
}

func printResets(w io.Writer, output string, plan []resetRow) error {
	slices.SortFunc(plan, func(a, b resetRow) int {
		return compareRefs(partitionReference{a.Topic, a.Partition}, partitionReference{b.Topic, b.Partition})
	})
	if output == "json" {
		return printJSON(w, plan)
	}
	return printTable(w, func(w io.Writer) {
		fmt.Fprintln(w, "TOPIC\tPARTITION\tCOMMITTED\tNEW\tLAG\tRESULT\tNOTE")
		for _, r := range plan {
			fmt.Fprintf(w, "%s\t%d\t%s\t%d\t%d\t%s\t%s\n", r.Topic, r.Partition, offsetText(r.Committed), r.New, r.Lag, r.Result, dash(r.Note))
		}
	})
}
