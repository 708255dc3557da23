package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/varvelog/varve/cmd/internal/kafka"
)

// drainPoll is the time between two looks at the journals of a node that is drained.
const drainPoll = 500 * time.Millisecond

const nodeDrainLong = `Move all journals of a node to others, and let it get none.

The command waits until the node leads nothing, and is not the controller. Clients go on:
each journal is handed over once its records are in the bucket. A journal that cannot be
handed over within 30 seconds stays where it is, and is tried again. --no-wait only asks
for it.

A node stays drained, also when it starts again, until "varve node undrain". It serves
reads while it runs. The last node that serves and writes cannot be drained.

If the wait is interrupted or --timeout is over, the node is drained further, by itself.`

// drain holds the arguments of `varve node drain`.
type drain struct {
	id      int32
	noWait  bool
	timeout time.Duration
	asked   bool // for progress
}

func newNodeDrain(env *Env, bootstrap *string) *cobra.Command {
	var d drain
	var output string
	cmd := &cobra.Command{
		Use:   "drain NODE",
		Short: "Move all journals of a node to others",
		Long:  nodeDrainLong,
		Example: `  varve node drain 2
  varve node drain 2 --no-wait`,
		Args: args(cobra.ExactArgs(1), "the number of one node"),
		RunE: func(cmd *cobra.Command, names []string) (err error) {
			if d.id, err = nodeID(names[0]); err != nil {
				return err
			}
			if d.timeout < time.Second {
				return usagef("--timeout %v: give a time from 1s", d.timeout)
			}
			return withClient(cmd.Context(), env, *bootstrap, func(client *kgo.Client) error {
				result, err := d.run(cmd.Context(), env, client)
				done, err := nodeDeed(d.id, result, err)
				return errors.Join(printNodeDeeds(env.Stdout, output, done), err)
			})
		},
	}
	cmd.ValidArgsFunction = first(completeNodes(env, bootstrap), cobra.NoFileCompletions)
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.BoolVar(&d.noWait, "no-wait", false, "do not wait until the node leads nothing")
	flags.DurationVar(&d.timeout, "timeout", 10*time.Minute, "`time` to wait")
	outputFlag(cmd, &output, "text", "json")
	progressFlag(flags, &d.asked)
	return cmd
}

// run drains the node. The result is "drained", or "draining" if that is not awaited.
func (d *drain) run(ctx context.Context, env *Env, client *kgo.Client) (result string, err error) {
	err = again(ctx, env, func() error {
		return alterBroker(ctx, client, strconv.Itoa(int(d.id)), kafka.StateConfig, "drained", false)
	})
	if err != nil {
		return "", err
	}
	left, err := d.left(ctx, env, client)
	switch {
	case err != nil:
		return "", err
	case len(left) == 0:
		return "drained", nil
	case d.noWait:
		return "draining", nil
	}
	return "drained", d.wait(ctx, env, client, left)
}

// wait returns nil once the node leads nothing.
func (d *drain) wait(ctx context.Context, env *Env, client *kgo.Client, left []uint32) (err error) {
	total := int64(len(left))
	var done atomic.Int64
	defer showProgress(env, "node drain", d.asked, func() progress {
		return progress{unit: "journals", done: done.Load(), total: total}
	})()
	for began := time.Now(); len(left) > 0; {
		if time.Since(began) > d.timeout {
			return fmt.Errorf("still has %s after %v, and is drained further; \"varve cluster status\" shows what is wrong", journalsLeft(left), d.timeout)
		}
		select {
		case <-ctx.Done():
			return errInterrupted
		case <-time.After(drainPoll):
		}
		if left, err = d.left(ctx, env, client); err != nil {
			return err
		}
		done.Store(max(0, total-int64(len(left))))
	}
	return nil
}

// left lists the journals that the node still has.
func (d *drain) left(ctx context.Context, env *Env, client *kgo.Client) (left []uint32, err error) {
	var nodes []brokerNode
	err = again(ctx, env, func() (err error) {
		nodes, _, err = readNodes(ctx, client)
		return err
	})
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(nodes, func(n brokerNode) bool { return n.ID == d.id })
	switch {
	case i < 0:
		return nil, errors.New("was removed while it was drained")
	case nodes[i].State != "drained":
		return nil, fmt.Errorf("is %s again: another command has ended the drain", nodes[i].State)
	}
	return nodes[i].left(), nil
}

// journalsLeft names journals in words.
func journalsLeft(left []uint32) string {
	if left[0] != 0 {
		return plural(len(left), "journal") + " (" + ranges(left) + ")"
	}
	if len(left) == 1 {
		return "the metadata journal"
	}
	return "the metadata journal and " + plural(len(left)-1, "journal") + " (" + ranges(left[1:]) + ")"
}
