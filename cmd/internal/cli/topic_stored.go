package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/varvelog/varve/cmd/internal/status"
)

// storedBatch is how many topics a node is asked for at once: their names are in the URL.
const storedBatch = 50

// addStored adds how partitions are stored, as nodes report it over HTTP. A node that does
// not answer is an error only if the user named it; one of another cluster knows none of
// the topics' ids.
func addStored(ctx context.Context, env *Env, flag []string, topics []topicDescription) error {
	addresses, named, err := httpAddresses(env, flag)
	if err != nil {
		return err
	}
	var errs []error
	for _, address := range addresses {
		for rest := topics; len(rest) > 0; {
			batch := rest[:min(len(rest), storedBatch)]
			rest = rest[len(batch):]
			if err := askStored(ctx, address, batch); err != nil {
				errs = append(errs, err)
				break
			}
		}
	}
	if !named {
		return nil
	}
	return errors.Join(errs...)
}

func askStored(ctx context.Context, address string, topics []topicDescription) error {
	names := make([]string, len(topics))
	byID := map[string]*topicDescription{}
	for i := range topics {
		names[i], byID[topics[i].ID] = topics[i].Name, &topics[i]
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	stored, err := status.AskStored(ctx, address, names)
	if err != nil {
		return err
	}
	for _, s := range stored {
		t := byID[s.ID]
		for i := range s.Partitions {
			p := &s.Partitions[i]
			if t != nil && p.Partition >= 0 && int(p.Partition) < len(t.Partitions) {
				t.Partitions[p.Partition].Stored = p
			}
		}
	}
	return nil
}

// partitionTable prints the partitions. The columns about storage are left out if no node
// has reported any.
func (d *topicDescription) partitionTable(w io.Writer) {
	known := false
	for _, p := range d.Partitions {
		known = known || p.Stored != nil
	}
	fmt.Fprint(w, "PARTITION\tLEADER\tSTART\tEND\tSIZE")
	if known {
		fmt.Fprint(w, "\tUNMERGED\tSHARED\tOWN\tOBJECTS\tOLDEST\tNEWEST")
	}
	fmt.Fprintln(w)
	for _, p := range d.Partitions {
		fmt.Fprintf(w, "%d\t%d\t%d\t%d\t%s", p.Partition, p.Leader, p.Start, p.End, sizeText(p.Bytes))
		switch s := p.Stored; {
		case s != nil:
			fmt.Fprintf(w, "\t%s\t%s\t%s\t%s\t%s\t%s", sizeText(&s.Unmerged), sizeText(&s.Shared), sizeText(&s.Own),
				humanize.Comma(int64(s.Objects)), timeText(s.Oldest), timeText(s.Newest))
		case known:
			fmt.Fprint(w, "\t?\t?\t?\t?\t?\t?")
		}
		fmt.Fprintln(w)
	}
}

func timeText(t *time.Time) string {
	if t == nil {
		return "-"
	}
	return t.UTC().Format(time.RFC3339)
}
