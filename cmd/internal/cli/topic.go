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

func newTopic(env *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "topic",
		Short: "Create, list, describe, alter, delete and restore topics",
		Example: `  varve topic create events --partitions 12
  varve topic list
  varve topic describe events
  varve topic alter events --partitions 24 --dry-run`,
	}
	var bootstrap string
	bootstrapFlag(cmd.PersistentFlags(), &bootstrap)
	cmd.AddCommand(
		newTopicCreate(env, &bootstrap),
		newTopicList(env, &bootstrap),
		newTopicDescribe(env, &bootstrap),
		newTopicAlter(env, &bootstrap),
		newTopicDeleteRecords(env, &bootstrap),
		newTopicDelete(env, &bootstrap),
		newTopicUndelete(env, &bootstrap),
	)
	group(cmd)
	return cmd
}

// withAdmin runs fn with a client of a cluster that answers.
func withAdmin(ctx context.Context, env *Env, bootstrap string, fn func(*kadm.Client) error) error {
	client, err := connect(ctx, env, bootstrap)
	if err != nil {
		return err
	}
	defer client.Close()
	return interrupted(ctx, fn(kadm.NewClient(client)))
}

func newTopicCreate(env *Env, bootstrap *string) *cobra.Command {
	var partitions int32
	var pairs []string
	var output string
	var ifNotExists bool
	cmd := &cobra.Command{
		Use:   "create NAME",
		Short: "Create a topic",
		Long: `Create a topic.

The number of partitions can be raised later, never lowered; records with one key
stay in order as long as it does not change. "varve help topic-configs" lists the keys
that --config takes, and their effects.`,
		Example: `  varve topic create events --partitions 12
  varve topic create events --config max.message.bytes=4194304 --if-not-exists`,
		Args: args(cobra.ExactArgs(1), "one topic name"),
		RunE: func(cmd *cobra.Command, names []string) error {
			if cmd.Flags().Changed("partitions") && partitions < 1 {
				return usagef("--partitions %d: a topic has at least one", partitions)
			}
			configs, err := parseConfigs(pairs)
			if err != nil {
				return err
			}
			return withAdmin(cmd.Context(), env, *bootstrap, func(admin *kadm.Client) error {
				noteEffects(env, configs)
				d, err := createTopic(cmd.Context(), admin, names[0], partitions, configs, ifNotExists)
				return errors.Join(printDeeds(env.Stdout, output, "topic", []deed{d}), err)
			})
		},
	}
	cmd.Flags().Int32Var(&partitions, "partitions", -1, "`number` of partitions (default: that of the broker)")
	cmd.Flags().Lookup("partitions").DefValue = "0" // a value that the help leaves out
	cmd.Flags().StringArrayVar(&pairs, "config", nil, "topic configuration as `key=value`, repeatable")
	complete(cmd, "config", completeConfigs("="))
	cmd.ValidArgsFunction = cobra.NoFileCompletions
	cmd.Flags().BoolVar(&ifNotExists, "if-not-exists", false, "succeed when the topic exists already")
	outputFlag(cmd, &output, "text", "json")
	return cmd
}

func parseConfigs(pairs []string) (map[string]*string, error) {
	configs := map[string]*string{}
	for _, pair := range pairs {
		key, value, ok := strings.Cut(pair, "=")
		if !ok || key == "" {
			return nil, usagef("--config %q: write key=value", pair)
		}
		if _, twice := configs[key]; twice {
			return nil, usagef("--config %s is given twice", key)
		}
		configs[key] = &value
	}
	return configs, nil
}

// createTopic leaves the replication factor to the broker: the bucket keeps the
// copies.
func createTopic(ctx context.Context, admin *kadm.Client, name string, partitions int32, configs map[string]*string, ifNotExists bool) (deed, error) {
	resp, err := admin.CreateTopic(ctx, partitions, -1, configs, name)
	switch {
	case errors.Is(err, kerr.TopicAlreadyExists) && ifNotExists:
		return deed{Name: name, Result: "exists"}, nil
	case errors.Is(err, kerr.TopicAlreadyExists):
		err = fmt.Errorf("%w; add --if-not-exists to accept that, or change it with \"varve topic alter %s\"", err, name)
		return failed(name, err), fmt.Errorf("create topic %q: %w", name, err)
	case err != nil:
		err = withMessage(err, resp.ErrMessage)
		return failed(name, err), fmt.Errorf("create topic %q: %w", name, err)
	}
	return deed{Name: name, Result: "created"}, nil
}

func newTopicList(env *Env, bootstrap *string) *cobra.Command {
	var output string
	var deleted bool
	var addresses []string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List topics and their number of partitions",
		Long: `List topics and their number of partitions.

--deleted lists the deleted topics that "varve topic undelete" can restore. Nodes report
those over HTTP, at the address that --http names.`,
		Example: `  varve topic list
  varve topic list --deleted
  varve topic list -o json | jq -r '.[].name'`,
		Args: args(cobra.NoArgs, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if deleted {
				return listDeleted(cmd.Context(), env, addresses, output)
			}
			if len(addresses) > 0 {
				return usagef("--http is for --deleted")
			}
			return withAdmin(cmd.Context(), env, *bootstrap, func(admin *kadm.Client) error {
				topics, err := admin.ListTopics(cmd.Context())
				if err != nil {
					return fmt.Errorf("list topics: %w", err)
				}
				return printTopics(env.Stdout, output, topics.Sorted())
			})
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.BoolVar(&deleted, "deleted", false, "list the deleted topics that can be restored")
	httpFlag(flags, &addresses)
	outputFlag(cmd, &output, "table", "json")
	return cmd
}

func printTopics(w io.Writer, output string, topics []kadm.TopicDetail) error {
	type row struct {
		Name       string `json:"name"`
		ID         string `json:"id"`
		Partitions int    `json:"partitions"`
	}
	rows := []row{}
	for _, t := range topics {
		if t.Err != nil {
			return fmt.Errorf("list topics: %q: %w", t.Topic, t.Err)
		}
		rows = append(rows, row{t.Topic, uuid(t.ID), len(t.Partitions)})
	}
	if output == "json" {
		return printJSON(w, rows)
	}
	return printTable(w, func(tw io.Writer) {
		fmt.Fprintln(tw, "NAME\tPARTITIONS")
		for _, r := range rows {
			fmt.Fprintf(tw, "%s\t%d\n", r.Name, r.Partitions)
		}
	})
}
