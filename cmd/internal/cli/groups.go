package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

// States of a group that has no members.
const (
	groupEmpty = "Empty"
	groupDead  = "Dead" // no group has this name
)

func newGroups(env *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "group",
		Short: "List, describe, reset and delete consumer groups",
		Example: `  varve group list
  varve group describe billing
  varve group reset-offsets billing --to 2024-05-01
  varve group reset-offsets billing --to 2024-05-01 --execute`,
	}
	var bootstrap string
	bootstrapFlag(cmd.PersistentFlags(), &bootstrap)
	cmd.AddCommand(
		newGroupList(env, &bootstrap),
		newGroupDescribe(env, &bootstrap),
		newGroupReset(env, &bootstrap),
		newGroupDelete(env, &bootstrap),
	)
	group(cmd)
	return cmd
}

// groupRow is the output of `group list -o json` for a group.
type groupRow struct {
	Group        string `json:"group"`
	State        string `json:"state"`
	ProtocolType string `json:"protocol_type"` // "consumer", "connect" or a client's own; "" with offsets alone
	Coordinator  int32  `json:"coordinator"`   // broker id
}

func newGroupList(env *Env, bootstrap *string) *cobra.Command {
	var output string
	var states []string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List groups and their states",
		Long: `List groups and their states.

A group is Stable while its members read, PreparingRebalance or CompletingRebalance
while it assigns partitions to members again, and Empty when it has committed offsets
and no members.`,
		Example: `  varve group list
  varve group list --state Empty -o json | jq -r '.[].group'`,
		Args: args(cobra.NoArgs, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withAdmin(cmd.Context(), env, *bootstrap, func(admin *kadm.Client) error {
				rows, err := listGroups(cmd.Context(), admin, states)
				if err != nil {
					return fmt.Errorf("list groups: %w", err)
				}
				return printGroups(env.Stdout, output, rows)
			})
		},
	}
	cmd.Flags().StringSliceVar(&states, "state", nil, "only groups in this `state`, repeatable (default all)")
	complete(cmd, "state", cobra.FixedCompletions([]string{groupEmpty, "Stable", "PreparingRebalance", "CompletingRebalance"}, cobra.ShellCompDirectiveNoFileComp))
	outputFlag(cmd, &output, "table", "json")
	return cmd
}

// listGroups compares the states itself: brokers that do not know the filter
// list every group.
func listGroups(ctx context.Context, admin *kadm.Client, states []string) ([]groupRow, error) {
	listed, err := admin.ListGroups(ctx)
	if err != nil {
		return nil, err
	}
	rows := []groupRow{}
	for _, g := range listed.Sorted() {
		wanted := len(states) == 0
		for _, s := range states {
			wanted = wanted || strings.EqualFold(s, g.State)
		}
		if wanted {
			rows = append(rows, groupRow{g.Group, g.State, g.ProtocolType, g.Coordinator})
		}
	}
	return rows, nil
}

func printGroups(w io.Writer, output string, rows []groupRow) error {
	if output == "json" {
		return printJSON(w, rows)
	}
	return printTable(w, func(w io.Writer) {
		fmt.Fprintln(w, "GROUP\tSTATE\tTYPE\tCOORDINATOR")
		for _, r := range rows {
			fmt.Fprintf(w, "%s\t%s\t%s\t%d\n", r.Group, dash(r.State), dash(r.ProtocolType), r.Coordinator)
		}
	})
}

func newGroupDelete(env *Env, bootstrap *string) *cobra.Command {
	var output string
	var yes bool
	cmd := &cobra.Command{
		Use:   "delete GROUP...",
		Short: "Delete groups and their committed offsets",
		Long: `Delete groups and their committed offsets.

A group can be deleted when it has no members. Consumers that join a group of this
name later begin where their own configuration says (auto.offset.reset).`,
		Example: `  varve group delete billing
  varve group delete test-1 test-2 --yes`,
		Args: args(cobra.MinimumNArgs(1), "one or more group names"),
		RunE: func(cmd *cobra.Command, names []string) error {
			names = unique(names)
			if err := consent(env, yes, "Delete the committed offsets of "+list(names, "and")+", for good?"); err != nil {
				return err
			}
			return withAdmin(cmd.Context(), env, *bootstrap, func(admin *kadm.Client) error {
				deeds, err := deleteGroups(cmd.Context(), admin, names)
				return errors.Join(printDeeds(env.Stdout, output, "group", deeds), err)
			})
		},
	}
	cmd.ValidArgsFunction = completeGroups(env, bootstrap)
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	outputFlag(cmd, &output, "text", "json")
	return cmd
}

func deleteGroups(ctx context.Context, admin *kadm.Client, names []string) (deeds []deed, err error) {
	results, err := admin.DeleteGroups(ctx, names...)
	var left []string
	for _, name := range names {
		r, answered := results[name]
		var why error
		switch {
		case answered && r.Err == nil:
			deeds = append(deeds, deed{Name: name, Result: "deleted"})
			continue
		case answered && errors.Is(r.Err, kerr.GroupIDNotFound):
			why = errors.New("does not exist")
		case answered && errors.Is(r.Err, kerr.NonEmptyGroup):
			why = errors.New("has members; stop them, or wait until their sessions have timed out")
		case answered:
			why = withMessage(r.Err, r.ErrMessage)
		case err != nil:
			why = err
		default:
			why = errors.New("may still exist: the broker did not answer for it")
		}
		deeds = append(deeds, failed(name, why))
		left = append(left, fmt.Sprintf("%q: %s", name, explain(why)))
	}
	if len(left) > 0 {
		return deeds, fmt.Errorf("delete groups: %s", strings.Join(left, "; "))
	}
	return deeds, nil
}
