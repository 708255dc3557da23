package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/varvelog/varve/cmd/internal/status"
)

// eventsPoll is the time between two looks for new events.
const eventsPoll = time.Second

const clusterEventsLong = `Show the last changes of a cluster of several nodes.

These are starts and states of nodes, nodes that the cluster does not count on any more,
journals that were assigned to another node, and nodes that lead a journal, with the time
since the assignment. A node keeps about a thousand of them in memory since its start, by
its own clock, and writes each to its log.

Nodes report them over HTTP: the first one of --http that answers. --follow waits for
more, until Ctrl-C.`

func newClusterEvents(env *Env) *cobra.Command {
	var output string
	var addresses []string
	var follow bool
	cmd := &cobra.Command{
		Use:   "events",
		Short: "Show the last changes of a cluster",
		Long:  clusterEventsLong,
		Example: `  varve cluster events
  varve cluster events --follow --http logs-2:9080
  varve cluster events -o json | jq 'select(.kind == "led")'`,
		Args: args(cobra.NoArgs, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			addresses, _, err := httpAddresses(env, addresses)
			if err != nil {
				return err
			}
			return showEvents(cmd.Context(), env, addresses, follow, output)
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.BoolVarP(&follow, "follow", "f", false, "wait for more")
	httpFlag(flags, &addresses)
	outputFlag(cmd, &output, "text", "json")
	return cmd
}

func showEvents(ctx context.Context, env *Env, addresses []string, follow bool, output string) error {
	address, all, err := firstEvents(ctx, addresses)
	if err != nil {
		return interrupted(ctx, err)
	}
	last, away := uint64(0), false
	for {
		for _, e := range all {
			if err := printEvent(env.Stdout, output, e); err != nil {
				return err
			}
			last = e.Number
		}
		if !follow {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil // it goes on until it is stopped
		case <-time.After(eventsPoll):
		}
		all, err = askEvents(ctx, address, last)
		if err != nil && !away && ctx.Err() == nil {
			fmt.Fprintf(env.Stderr, "varve: the node at %s does not answer, trying again: %s\n", address, oneLine(err))
		}
		away = err != nil
	}
}

func askEvents(ctx context.Context, address string, after uint64) ([]status.Event, error) {
	ctx, cancel := context.WithTimeout(ctx, statusLimit)
	defer cancel()
	return status.AskEvents(ctx, address, after)
}

// firstEvents asks nodes until one answers.
func firstEvents(ctx context.Context, addresses []string) (address string, all []status.Event, err error) {
	var errs []error
	for _, address := range addresses {
		all, err := askEvents(ctx, address, 0)
		if err == nil {
			return address, all, nil
		}
		errs = append(errs, err)
	}
	return "", nil, fmt.Errorf("read events: %w; name the HTTP address of a node with --http", errors.Join(errs...))
}

func printEvent(w io.Writer, output string, e status.Event) error {
	if output == "json" {
		return json.NewEncoder(w).Encode(e)
	}
	_, err := fmt.Fprintf(w, "%s  %s\n", e.At.Format("2006-01-02T15:04:05.000Z"), e)
	return err
}
