package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/varvelog/varve/cmd/internal/kafka"
	"github.com/varvelog/varve/metadata"
)

const clusterJournalsLong = `Show the number of data journals, or raise it.

Each journal is led by one node, so a cluster shares its writes among as many nodes as it
has journals: twice the number of nodes is a good number. New partitions go to the journals
that have the fewest; those that exist stay where they are. The number is never lowered.

A journal with little traffic costs PUTs of its own, an idle one costs nothing.`

// grown is the output of `cluster journals -o json`.
type grown struct {
	Result string `json:"result"` // "raised", "checked" with --dry-run, or "unchanged"
	From   uint32 `json:"from"`
	To     uint32 `json:"to"`
}

func newClusterJournals(env *Env) *cobra.Command {
	var bootstrap, output string
	var dryRun, yes bool
	cmd := &cobra.Command{
		Use:   "journals [NUMBER]",
		Short: "Show or raise the number of data journals",
		Long:  clusterJournalsLong,
		Example: `  varve cluster journals
  varve cluster journals 6 --dry-run
  varve cluster journals 6 --yes`,
		Args: args(cobra.MaximumNArgs(1), "a number of journals, or nothing"),
		RunE: func(cmd *cobra.Command, words []string) error {
			to := uint64(0)
			if len(words) > 0 {
				var err error
				if to, err = strconv.ParseUint(words[0], 10, 32); err != nil || to < 1 || to > metadata.MaxJournals {
					return usagef("%q: give a number of journals from 1 to %d", words[0], metadata.MaxJournals)
				}
			} else if dryRun || yes {
				return usagef("give the number of journals to raise to")
			}
			return withClient(cmd.Context(), env, bootstrap, func(client *kgo.Client) error {
				g, err := growJournals(cmd.Context(), env, client, uint32(to), dryRun, yes)
				if err != nil {
					return err
				}
				return g.print(env.Stdout, output)
			})
		},
	}
	cmd.ValidArgsFunction = cobra.NoFileCompletions
	flags := cmd.Flags()
	flags.SortFlags = false
	bootstrapFlag(flags, &bootstrap)
	flags.BoolVar(&dryRun, "dry-run", false, "let the broker check, show what would change, and change nothing")
	flags.BoolVar(&yes, "yes", false, "do not ask")
	outputFlag(cmd, &output, "text", "json")
	return cmd
}

// growJournals raises the number of journals. With 0 it only reads it.
func growJournals(ctx context.Context, env *Env, client *kgo.Client, to uint32, dryRun, yes bool) (g grown, err error) {
	now, err := readJournals(ctx, client)
	if err != nil {
		return g, err
	}
	if to == 0 || to == now {
		return grown{"unchanged", now, now}, nil
	}
	if to < now {
		return g, fmt.Errorf("the cluster has %d journals, and their number is never lowered; nothing was changed", now)
	}
	grow := func(dry bool) error {
		err := again(ctx, env, func() error {
			return alterBroker(ctx, client, "", kafka.JournalsConfig, strconv.FormatUint(uint64(to), 10), dry)
		})
		if err != nil {
			err = fmt.Errorf("raise the number of journals to %d: %w", to, err)
		}
		return err
	}
	if err := grow(true); err != nil || dryRun {
		return grown{"checked", now, to}, err
	}
	question := fmt.Sprintf("Raise the number of journals from %d to %d? It is never lowered again.", now, to)
	if err := agree(env, yes, question, "nothing was changed", "to raise it"); err != nil {
		return g, err
	}
	return grown{"raised", now, to}, grow(false)
}

// readJournals reads the number of data journals.
func readJournals(ctx context.Context, client *kgo.Client) (uint32, error) {
	whole, err := brokerConfigs(askAny(ctx, client, describeBrokers([]string{kafka.JournalsConfig}, "")))
	if err != nil {
		return 0, fmt.Errorf("read the number of journals: %w", err)
	}
	text, ok := whole[""][kafka.JournalsConfig]
	if !ok {
		if _, err := readLevels(ctx, client); err != nil {
			return 0, err
		}
		return 0, errors.New("the feature level of this cluster does not let it have more journals; \"varve cluster upgrade\" raises it")
	}
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		return 0, fmt.Errorf("the broker reports %q journals", text)
	}
	return uint32(n), nil
}

func (g grown) print(w io.Writer, output string) error {
	if output == "json" {
		return printJSON(w, g)
	}
	text := map[string]string{
		"unchanged": "the cluster has %[2]d journals",
		"checked":   "the number of journals can be raised from %d to %d; nothing was changed (--dry-run)",
		"raised":    "raised the number of journals from %d to %d",
	}[g.Result]
	_, err := fmt.Fprintf(w, text+"\n", g.From, g.To)
	return err
}
