package cli

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

const (
	dataDirEnv     = "VARVE_DATA_DIR"
	defaultDataDir = "./varve-data"
)

const walLong = `Look at the write-ahead logs in a node's data folder.

Each start of a node writes a log of its own for every journal it leads; its name is
the incarnation. The next start moves the records of older logs to the bucket and
removes the logs. A log whose records may not be appended any more, because another
node has led the journal since or because the log is damaged, is set aside: it stays in
<data-dir>/wal/<journal>/aside until "varve wal delete" deletes it. Its records were
acknowledged with acks=1 or not at all, and some may be in the bucket. A node that leads
the journal counts those that are not, and reports them as a trouble until they are
exported or deleted.

These commands may run next to the node.`

func newWAL(env *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "wal",
		Short: "List, export and delete write-ahead logs of a data folder",
		Long:  walLong,
		Example: `  varve wal list --data-dir /var/lib/varve
  varve wal export --data-dir /var/lib/varve --out lost.jsonl`,
	}
	var dir string
	dataDirFlag(cmd.PersistentFlags(), &dir)
	complete(cmd, "data-dir", completeFolders)
	cmd.AddCommand(newWALList(env, &dir), newWALExport(env, &dir), newWALDelete(env, &dir))
	group(cmd)
	return cmd
}

func dataDirFlag(flags *pflag.FlagSet, to *string) {
	flags.StringVar(to, "data-dir", "", "data `folder` of a node (default $"+dataDirEnv+" or "+defaultDataDir+")")
}

func dataDir(env *Env, flag string) string {
	switch {
	case flag != "":
		return flag
	case env.getenv(dataDirEnv) != "":
		return env.getenv(dataDirEnv)
	}
	return defaultDataDir
}

const walListLong = `List the write-ahead logs of a data folder that may hold records.

STATE is "aside" for a log set aside (REASON says why), "waiting" for one that the
next start of the node moves to the bucket, and "in use" for the newest log of a
journal while a node runs on the folder; the command does not read that one. BATCHES
and RECORDS count those that can be read, whether or not the bucket has them as well.
MISSING is how many records of a log set aside the journal does not have, as counted by
a node that leads it, five minutes after the log was set aside. EXPORTED is when they
were exported. DAMAGE describes the part that cannot be read. A question mark stands
for a value that is not known.

The code is 1 when a log cannot be read at all.`

func newWALList(env *Env, dir *string) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List write-ahead logs that may hold records",
		Long:  walListLong,
		Example: `  varve wal list --data-dir /var/lib/varve
  varve wal list -o json`,
		Args: args(cobra.NoArgs, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return listWAL(cmd.Context(), env, dataDir(env, *dir), output)
		},
	}
	outputFlag(cmd, &output, "table", "json")
	return cmd
}

// listWAL prints the logs that could be read, also after an error.
func listWAL(ctx context.Context, env *Env, dir, output string) error {
	logs, err := readWALs(ctx, dir)
	if ctx.Err() != nil {
		return errInterrupted
	}
	if err != nil && len(logs) == 0 {
		return err
	}
	var printErr error
	if output == "json" {
		printErr = printJSON(env.Stdout, logs)
	} else {
		printErr = printTable(env.Stdout, func(w io.Writer) { printWALs(w, logs) })
	}
	if err == nil {
		err = printErr
	}
	return err
}

func printWALs(w io.Writer, logs []*walLog) {
	fmt.Fprintln(w, "JOURNAL\tSTATE\tSET ASIDE\tINCARNATION\tBATCHES\tRECORDS\tMISSING\tEXPORTED\tSIZE\tREASON\tDAMAGE")
	for _, l := range logs {
		at, size, missing, exported := "-", "?", "-", "-"
		if l.Time != nil {
			at, missing = l.Time.Format(walTime), "?"
		}
		if l.Missing != nil {
			missing = strconv.FormatInt(*l.Missing, 10)
		}
		if l.Exported != nil {
			exported = l.Exported.Format(walTime)
		}
		if l.Bytes != nil {
			size = humanize.IBytes(*l.Bytes)
		}
		fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", l.Journal, l.State, at, l.Incarnation,
			number(l.Batches), number(l.Records), missing, exported, size, cell(l.Reason), cell(l.Damage))
	}
}

// walTime is the layout of times in lists.
const walTime = "2006-01-02T15:04:05Z07:00"

func number(n *uint64) string {
	if n == nil {
		return "?"
	}
	return strconv.FormatUint(*n, 10)
}

// cell is text that stays within its column.
func cell(text string) string {
	if text == "" {
		return "-"
	}
	return strings.Join(strings.Fields(text), " ")
}
