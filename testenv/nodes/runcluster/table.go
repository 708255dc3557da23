package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/varvelog/varve/testenv/nodes"
)

// lastExits are exit codes after which a node must not be started again as it is.
var lastExits = []int{2, 4, 5}

// clear moves a terminal to its first line, and empties it.
const clear = "\x1b[H\x1b[2J"

// look shows the nodes and starts those again that have died, until ctx ends.
func (c *cluster) look(ctx context.Context) error {
	died := map[*nodes.Node]time.Time{}
	ticker := time.NewTicker(c.refresh)
	defer ticker.Stop()
	for {
		c.show(c.table(ctx))
		select {
		case <-ctx.Done():
			return nil
		case <-c.minio.Done():
			return errors.New("MinIO has ended by itself")
		case <-ticker.C:
		}
		for _, n := range c.set.Nodes {
			if n.Running() {
				delete(died, n)
				continue
			}
			if _, ok := died[n]; !ok {
				died[n] = time.Now()
			}
			if n.Process() != nil && time.Since(died[n]) >= c.startAgain && !slices.Contains(lastExits, exitCode(n)) {
				if err := n.Start(); err != nil {
					return err
				}
			}
		}
	}
}

// exitCode returns the exit code of a node that has ended, -1 if a signal ended it.
func exitCode(n *nodes.Node) int {
	var exit *exec.ExitError
	switch err := n.Process().Wait(); {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.ExitCode()
	}
	return -1
}

// show writes the table, on a terminal in place of the last one.
func (c *cluster) show(table string) {
	switch {
	case c.terminal:
		fmt.Fprint(c.out, clear, table, "\nrunning for ", time.Since(c.began).Round(time.Second), "; Ctrl-C ends all\n")
	case table != c.shown:
		fmt.Fprintln(c.out, table)
	}
	c.shown = table
}

// table asks all nodes at once. A node that does not answer in time shows that.
func (c *cluster) table(ctx context.Context) string {
	rows := make([]string, len(c.set.Nodes))
	var asked sync.WaitGroup
	for i, n := range c.set.Nodes {
		asked.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, c.refresh)
			defer cancel()
			rows[i] = row(ctx, n)
		})
	}
	asked.Wait()
	var text strings.Builder
	fmt.Fprintf(&text, "clients connect to %s\n", strings.Join(c.set.Seeds(), ","))
	fmt.Fprintf(&text, "bucket minio://%s/varve?secure=false, NATS %s, logs and data in %s\n\n", c.minio.Address(), c.bus.URL(), c.dir)
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NODE\tPID\tBROKER\tCLIENTS\tHTTP\tSTATE\tLEADS JOURNALS")
	for _, r := range rows {
		fmt.Fprintln(w, r)
	}
	_ = w.Flush() // into memory
	return text.String()
}

// row shows one node.
func row(ctx context.Context, n *nodes.Node) string {
	pid, broker, state, leads := "-", "-", "", ""
	switch {
	case n.Process() == nil:
		state = "not started"
	case !n.Running():
		state = fmt.Sprintf("ended with exit code %d", exitCode(n))
	default:
		pid = fmt.Sprint(n.Pid())
		status, err := n.Status(ctx)
		if err != nil {
			state = "does not answer"
			break
		}
		state = status.State
		if status.ID != nil {
			broker = fmt.Sprint(*status.ID)
		}
		for _, journal := range status.Leads() {
			leads += fmt.Sprintf(" %d", journal)
		}
	}
	return strings.Join([]string{n.Name, pid, broker, n.Kafka, n.HTTP, state, strings.TrimSpace(leads)}, "\t")
}
