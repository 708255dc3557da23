package cli

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/varvelog/varve/cmd/internal/kafka"
	"github.com/varvelog/varve/cmd/internal/status"
)

func newTopicUndelete(env *Env, bootstrap *string) *cobra.Command {
	var id, output string
	cmd := &cobra.Command{
		Use:   "undelete NAME",
		Short: "Restore a deleted topic",
		Long: `Restore a deleted topic with its records, configuration and id.

This is possible for 72 hours, or for as long as "varve serve --delete-grace" sets, and
while no other topic has the name. Offsets that consumer groups committed for the topic
were deleted with it, and do not come back.

If several deleted topics have the name, --id names one; "varve topic list --deleted"
shows them.`,
		Example: `  varve topic undelete events
  varve topic undelete events --id nA2wHWlyRKGFWEBLbcMWhQ`,
		Args: args(cobra.ExactArgs(1), "one topic name"),
		RunE: func(cmd *cobra.Command, names []string) error {
			if b, err := base64.RawURLEncoding.DecodeString(id); id != "" && (err != nil || len(b) != 16) {
				return usagef("--id %q: write the id as \"varve topic list --deleted\" shows it, 22 characters", id)
			}
			return withAdmin(cmd.Context(), env, *bootstrap, func(admin *kadm.Client) error {
				d, err := undelete(cmd.Context(), admin, names[0], id)
				return errors.Join(printDeeds(env.Stdout, output, "topic", []deed{d}), err)
			})
		},
	}
	cmd.ValidArgsFunction = cobra.NoFileCompletions
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringVar(&id, "id", "", "`id` of the deleted topic, if several have the name")
	outputFlag(cmd, &output, "text", "json")
	return cmd
}

// undelete restores a topic. Kafka has no request for it, so varve's brokers take one for
// a new topic that has the id of the deleted one.
func undelete(ctx context.Context, admin *kadm.Client, name, id string) (deed, error) {
	resp, err := admin.CreateTopic(ctx, -1, -1, map[string]*string{kafka.RestoreConfig: &id}, name)
	switch {
	case errors.Is(err, kerr.TopicAlreadyExists):
		err = fmt.Errorf("another topic has the name now, or one that differs in dots and underscores only; delete that one first (%w)", err)
	case err != nil:
		err = withMessage(err, resp.ErrMessage)
	default:
		return deed{Name: name, Result: "restored"}, nil
	}
	return failed(name, err), fmt.Errorf("restore topic %q: %w", name, err)
}

// listDeleted lists the deleted topics as the first node reports them that answers.
func listDeleted(ctx context.Context, env *Env, flag []string, output string) error {
	addresses, _, err := httpAddresses(env, flag)
	if err != nil {
		return err
	}
	var errs []error
	for _, address := range addresses {
		asking, cancel := context.WithTimeout(ctx, statusLimit)
		topics, err := status.AskDeleted(asking, address)
		cancel()
		if err == nil {
			return printDeleted(env.Stdout, output, topics)
		}
		errs = append(errs, err)
	}
	return interrupted(ctx, fmt.Errorf("list deleted topics: %w; name the HTTP address of a node with --http", errors.Join(errs...)))
}

func printDeleted(w io.Writer, output string, topics []status.DeletedTopic) error {
	if output == "json" {
		return printJSON(w, topics)
	}
	return printTable(w, func(w io.Writer) {
		fmt.Fprintln(w, "NAME\tID\tPARTITIONS\tDELETED\tRESTORABLE UNTIL")
		for _, t := range topics {
			fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\n", t.Name, t.ID, t.Partitions, t.DeletedAt.Format(time.RFC3339), t.PurgedAfter.Format(time.RFC3339))
		}
	})
}
