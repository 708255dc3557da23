package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

func newTopic(env *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "topic",
		Short: "Create, list, describe and delete topics",
		Example: `  varve topic create events --partitions 12
  varve topic list
  varve topic describe events`,
	}
	var bootstrap string
	bootstrapFlag(cmd.PersistentFlags(), &bootstrap)
	cmd.AddCommand(
		newTopicCreate(env, &bootstrap),
		newTopicList(env, &bootstrap),
		newTopicDescribe(env, &bootstrap),
		newTopicDelete(env, &bootstrap),
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
	var ifNotExists bool
	cmd := &cobra.Command{
		Use:   "create NAME",
		Short: "Create a topic",
		Example: `  varve topic create events --partitions 12
  varve topic create events --config retention.ms=31536000000 --if-not-exists`,
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
				return createTopic(cmd.Context(), env, admin, names[0], partitions, configs, ifNotExists)
			})
		},
	}
	cmd.Flags().Int32Var(&partitions, "partitions", -1, "`number` of partitions (default as the broker is set up)")
	cmd.Flags().Lookup("partitions").DefValue = "0" // which the help leaves out
	cmd.Flags().StringArrayVar(&pairs, "config", nil, "topic configuration as `key=value`, repeatable")
	cmd.Flags().BoolVar(&ifNotExists, "if-not-exists", false, "succeed when the topic exists already")
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
func createTopic(ctx context.Context, env *Env, admin *kadm.Client, name string, partitions int32, configs map[string]*string, ifNotExists bool) error {
	resp, err := admin.CreateTopic(ctx, partitions, -1, configs, name)
	switch {
	case errors.Is(err, kerr.TopicAlreadyExists) && ifNotExists:
		_, err = fmt.Fprintf(env.Stdout, "topic %q exists\n", name)
		return err
	case err != nil:
		return fmt.Errorf("create topic %q: %w", name, withMessage(err, resp.ErrMessage))
	}
	_, err = fmt.Fprintf(env.Stdout, "created topic %q\n", name)
	return err
}

// withMessage puts what the broker said in words before the error code.
func withMessage(err error, message string) error {
	if message == "" || strings.Contains(err.Error(), message) {
		return err
	}
	return fmt.Errorf("%s (%w)", strings.TrimSuffix(message, "."), err)
}

func newTopicList(env *Env, bootstrap *string) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List topics and their number of partitions",
		Args:  args(cobra.NoArgs, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withAdmin(cmd.Context(), env, *bootstrap, func(admin *kadm.Client) error {
				topics, err := admin.ListTopics(cmd.Context())
				if err != nil {
					return fmt.Errorf("list topics: %w", err)
				}
				return printTopics(env.Stdout, output, topics.Sorted())
			})
		},
	}
	choice(cmd, &output, "output", "o", "table", "output format", "table", "json")
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

func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

func printTable(w io.Writer, rows func(io.Writer)) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	rows(tw)
	return tw.Flush()
}

func newTopicDelete(env *Env, bootstrap *string) *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:   "delete NAME...",
		Short: "Delete topics and all their records",
		Example: `  varve topic delete events
  varve topic delete events clicks --yes`,
		Args: args(cobra.MinimumNArgs(1), "one or more topic names"),
		RunE: func(cmd *cobra.Command, names []string) error {
			if !yes {
				if !isTerminal(env.Stdin) {
					return usagef("deleting topics for good needs --yes when nobody can be asked")
				}
				if err := confirm(env.Stdin, env.Stderr, names); err != nil {
					return err
				}
			}
			return withAdmin(cmd.Context(), env, *bootstrap, func(admin *kadm.Client) error {
				return deleteTopics(cmd.Context(), env, admin, names)
			})
		},
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return cmd
}

// isTerminal tells whether someone may be sitting at the other end.
func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

func confirm(in io.Reader, out io.Writer, names []string) error {
	fmt.Fprintf(out, "Delete %s and all records in it, for good? Type yes: ", list(names, "and"))
	answer, err := bufio.NewReader(in).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read the answer: %w", err)
	}
	if strings.TrimSpace(answer) != "yes" {
		return errors.New("nothing was deleted: the answer was not yes")
	}
	return nil
}

func deleteTopics(ctx context.Context, env *Env, admin *kadm.Client, names []string) error {
	results, err := admin.DeleteTopics(ctx, names...)
	if err != nil {
		return fmt.Errorf("delete topics: %w", err)
	}
	var failed []string
	for _, name := range names {
		r, ok := results[name]
		switch {
		case !ok:
			failed = append(failed, fmt.Sprintf("%q: the broker did not answer for it", name))
		case errors.Is(r.Err, kerr.UnknownTopicOrPartition):
			failed = append(failed, fmt.Sprintf("%q does not exist", name))
		case r.Err != nil:
			failed = append(failed, fmt.Sprintf("%q: %v", name, withMessage(r.Err, r.ErrMessage)))
		default:
			if _, err := fmt.Fprintf(env.Stdout, "deleted topic %q\n", name); err != nil {
				return err
			}
		}
	}
	if len(failed) > 0 {
		return fmt.Errorf("delete topics: %s", strings.Join(failed, "; "))
	}
	return nil
}
