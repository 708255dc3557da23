package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/varvelog/varve/cmd/internal/kafka"
)

func newNode(env *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "node",
		Short: "List, drain and remove the nodes of a cluster",
		Example: `  varve node list
  varve node drain 2
  varve node undrain 2
  varve node remove 2`,
	}
	var bootstrap string
	bootstrapFlag(cmd.PersistentFlags(), &bootstrap)
	cmd.AddCommand(
		newNodeList(env, &bootstrap),
		newNodeDrain(env, &bootstrap),
		newNodeUndrain(env, &bootstrap),
		newNodeRemove(env, &bootstrap),
	)
	group(cmd)
	return cmd
}

// withClient runs fn with a client of a cluster that answers.
func withClient(ctx context.Context, env *Env, bootstrap string, fn func(*kgo.Client) error) error {
	client, err := connect(ctx, env, bootstrap)
	if err != nil {
		return err
	}
	defer client.Close()
	return interrupted(ctx, fn(client))
}

const nodeListLong = `List the nodes of a cluster and the journals that they lead.

STATE is serving, leaving (until its next start), drained, or registered: it has not
started since the cluster can have several nodes. "refused", "replaced" or "silent"
behind it is the evidence for which the cluster does not count on the node: no process
listens at its address, another one does, or it does not answer.

LEADS are the data journals that the node leads, TO LEAD those that it is to lead. The
two differ while journals move. Removed nodes are not listed.`

func newNodeList(env *Env, bootstrap *string) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List nodes, their states and journals",
		Long:  nodeListLong,
		Example: `  varve node list
  varve node list -o json | jq '.[] | select(.fenced != "no")'`,
		Args: args(cobra.NoArgs, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withClient(cmd.Context(), env, *bootstrap, func(client *kgo.Client) error {
				nodes, several, err := readNodes(cmd.Context(), client)
				if err != nil {
					return err
				}
				if !several {
					fmt.Fprintln(env.Stderr, "varve: the feature level of this cluster knows one node that writes, and no states; see \"varve cluster upgrade\"")
				}
				return printNodes(env.Stdout, output, nodes)
			})
		},
	}
	outputFlag(cmd, &output, "table", "json")
	return cmd
}

func printNodes(w io.Writer, output string, nodes []brokerNode) error {
	if output == "json" {
		if nodes == nil {
			nodes = []brokerNode{}
		}
		return printJSON(w, nodes)
	}
	return printTable(w, func(w io.Writer) {
		fmt.Fprintln(w, "NODE\tSTATE\tCONTROLLER\tROLES\tRACK\tKAFKA\tLEADS\tTO LEAD\tLEVELS")
		for _, n := range nodes {
			controller := "-"
			if n.Controller {
				controller = "yes"
			}
			fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", n.ID, n.shownState(), controller, dash(strings.Join(n.Roles, ",")), dash(n.Rack),
				dash(n.Kafka), dash(ranges(n.Leads)), dash(ranges(n.Assigned)), dash(n.Levels))
		}
	})
}

// shownState is the state of a node with the evidence against it.
func (n *brokerNode) shownState() string {
	if n.Fenced == "" || n.Fenced == "no" {
		return dash(n.State)
	}
	return n.State + ", " + n.Fenced
}

// nodeID reads the argument that names a node.
func nodeID(word string) (int32, error) {
	id, err := strconv.ParseInt(word, 10, 32)
	if err != nil || id < 1 {
		return 0, usagef("%q is no node: give its number, as \"varve node list\" shows it", word)
	}
	return int32(id), nil
}

func newNodeUndrain(env *Env, bootstrap *string) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "undrain NODE",
		Short: "Let a drained node serve again",
		Long: `Let a drained node serve again.

It gets its share of journals within a minute. A node that serves already stays as it is.`,
		Example: `  varve node undrain 2`,
		Args:    args(cobra.ExactArgs(1), "the number of one node"),
		RunE: func(cmd *cobra.Command, names []string) error {
			id, err := nodeID(names[0])
			if err != nil {
				return err
			}
			return withClient(cmd.Context(), env, *bootstrap, func(client *kgo.Client) error {
				err := again(cmd.Context(), env, func() error {
					return alterBroker(cmd.Context(), client, names[0], kafka.StateConfig, "serving", false)
				})
				d, err := nodeDeed(id, "undrained", err)
				return errors.Join(printNodeDeeds(env.Stdout, output, d), err)
			})
		},
	}
	cmd.ValidArgsFunction = first(completeNodes(env, bootstrap), cobra.NoFileCompletions)
	outputFlag(cmd, &output, "text", "json")
	return cmd
}

// nodeDeed is the outcome for a node, and the error of the command.
func nodeDeed(id int32, result string, err error) (deed, error) {
	name := strconv.Itoa(int(id))
	if err != nil {
		return failed(name, err), fmt.Errorf("node %d: %w", id, err)
	}
	return deed{Name: name, Result: result}, nil
}

// printNodeDeeds prints the outcomes for nodes. As text, it leaves failures to the error that
// ends the command.
func printNodeDeeds(w io.Writer, output string, deeds ...deed) error {
	if output == "json" {
		return printJSON(w, deeds)
	}
	for _, d := range deeds {
		if d.Result == "failed" {
			continue
		}
		if _, err := fmt.Fprintf(w, "%s node %s\n", d.Result, d.Name); err != nil {
			return err
		}
	}
	return nil
}

const nodeRemoveLong = `Remove nodes from the cluster for good.

A node that answers must be drained first ("varve node drain"), and end its work. One that
is gone is removed when its journals have moved. Its process, if there is one, ends when it
reads that. Its data folder never joins again: records acknowledged with acks=1 that are
only there must be exported before ("varve wal list" in that folder shows them).`

func newNodeRemove(env *Env, bootstrap *string) *cobra.Command {
	var output string
	var yes bool
	cmd := &cobra.Command{
		Use:   "remove NODE...",
		Short: "Remove nodes for good",
		Long:  nodeRemoveLong,
		Example: `  varve node remove 2
  varve node remove 2 3 --yes`,
		Args: args(cobra.MinimumNArgs(1), "the numbers of one or more nodes"),
		RunE: func(cmd *cobra.Command, names []string) error {
			names = unique(names)
			var ids []int32
			for _, name := range names {
				id, err := nodeID(name)
				if err != nil {
					return err
				}
				ids = append(ids, id)
			}
			question := "Remove node " + list(names, "and") + " for good? Its data folder never joins again."
			if len(ids) > 1 {
				question = "Remove nodes " + list(names, "and") + " for good? Their data folders never join again."
			}
			if err := agree(env, yes, question, "nothing was removed", "to remove for good"); err != nil {
				return err
			}
			return withClient(cmd.Context(), env, *bootstrap, func(client *kgo.Client) error {
				return removeNodes(cmd.Context(), env, client, ids, output)
			})
		},
	}
	cmd.ValidArgsFunction = completeNodes(env, bootstrap)
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	outputFlag(cmd, &output, "text", "json")
	return cmd
}

// removeNodes removes every node that it can. The error names the others.
func removeNodes(ctx context.Context, env *Env, client *kgo.Client, ids []int32, output string) error {
	var deeds []deed
	var left []string
	for _, id := range ids {
		tries := 0
		err := again(ctx, env, func() error {
			tries++
			err := removeBroker(ctx, client, id)
			if tries > 1 && notRegistered(err) {
				return nil // by a try whose answer was lost
			}
			return err
		})
		d, err := nodeDeed(id, "removed", err)
		if deeds = append(deeds, d); err != nil {
			left = append(left, explain(err))
		}
	}
	err := printNodeDeeds(env.Stdout, output, deeds...)
	if len(left) > 0 {
		err = errors.Join(err, fmt.Errorf("remove nodes: %s", strings.Join(left, "; ")))
	}
	return err
}

// completeNodes offers the numbers of nodes.
func completeNodes(env *Env, bootstrap *string) cobra.CompletionFunc {
	return completeNames(env, bootstrap, func(ctx context.Context, client *kgo.Client) (names []string, err error) {
		nodes, _, err := readNodes(ctx, client)
		for _, n := range nodes {
			names = append(names, strconv.Itoa(int(n.ID)))
		}
		return names, err
	})
}
