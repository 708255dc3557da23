package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/varvelog/varve/ingest/wal"
)

const walDeleteLong = `Delete write-ahead logs that were set aside, with all their records, for good.
Export them first ("varve wal export"): records that the journal does not have exist
nowhere else. Logs that a node still moves to the bucket cannot be deleted. This may run
next to the node.`

func newWALDelete(env *Env, dir *string) *cobra.Command {
	var yes bool
	var output string
	cmd := &cobra.Command{
		Use:   "delete INCARNATION...",
		Short: "Delete write-ahead logs that were set aside",
		Long:  walDeleteLong,
		Example: `  varve wal delete 6f9619ff8b86d011b42d00cf4fc964ff --data-dir /var/lib/varve
  varve wal delete 6f9619ff8b86d011b42d00cf4fc964ff --yes`,
		Args: args(cobra.MinimumNArgs(1), "one or more incarnations, as \"varve wal list\" shows them"),
		RunE: func(cmd *cobra.Command, ids []string) error {
			logs, err := chooseAside(cmd.Context(), dataDir(env, *dir), unique(ids))
			if err != nil {
				return err
			}
			if err := consent(env, yes, "Delete "+describeAside(logs)+" for good?"); err != nil {
				return err
			}
			deeds, err := deleteAside(logs)
			return errors.Join(printDeeds(env.Stdout, output, "incarnation", deeds), err)
		},
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	outputFlag(cmd, &output, "text", "json")
	return cmd
}

// chooseAside returns all named logs, if every one of them is set aside, and
// otherwise an error.
func chooseAside(ctx context.Context, dir string, ids []string) ([]*walLog, error) {
	all, err := readWALs(ctx, dir)
	if ctx.Err() != nil {
		return nil, errInterrupted
	}
	if err != nil && len(all) == 0 {
		return nil, err
	}
	var chosen []*walLog
	for _, id := range ids {
		was := len(chosen)
		for _, l := range all {
			switch {
			case l.Incarnation != id:
			case l.State != walAside:
				return nil, fmt.Errorf("write-ahead log %s is not set aside: a node moves its records to the bucket; nothing was deleted", id)
			default:
				chosen = append(chosen, l)
			}
		}
		if len(chosen) == was {
			return nil, fmt.Errorf("no write-ahead log %s; \"varve wal list\" shows those that exist; nothing was deleted", id)
		}
	}
	return chosen, nil
}

// describeAside describes the logs that are about to be deleted.
func describeAside(logs []*walLog) string {
	var texts []string
	for _, l := range logs {
		records, exported := "unknown number of records", "never exported"
		if l.Records != nil {
			records = plural(int(*l.Records), "record")
		}
		if l.Exported != nil {
			exported = "exported"
		}
		texts = append(texts, fmt.Sprintf("log %s of journal %d (%s, %s)", l.Incarnation, l.Journal, records, exported))
	}
	return strings.Join(texts, ", ")
}

func deleteAside(logs []*walLog) (deeds []deed, err error) {
	var errs []error
	for _, l := range logs {
		if err := wal.RemoveAside(l.opt, l.info); err != nil {
			deeds, errs = append(deeds, failed(l.Incarnation, err)), append(errs, err)
			continue
		}
		deeds = append(deeds, deed{Name: l.Incarnation, Result: "deleted"})
	}
	return deeds, errors.Join(errs...)
}
