package cli

import (
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/varvelog/varve/metadata/topicconfig"
)

const exitCodesText = `Exit codes of varve:

  0    done. Also the code of a command that goes on until it is stopped: consume by
       Ctrl-C (without --max and --until-end) or when the reader of its output closes
       it, and serve by SIGINT or SIGTERM after every acknowledged record was flushed
       or is safe in the write-ahead log.
  1    failed. The last line on standard error says why, and what to do. Changes made
       before that stay made: commands that change several things say which.
       bucket verify ends with 1 when it found errors or could not read to the end,
       bucket probe when the store is not safe or its safety could not be found out,
       bucket cat when it met damage, bucket repair when index objects stay lost,
       bucket copy when the copy is not whole, bucket orphans when nothing is known,
       wal list and wal export when something cannot be read.
  2    wrong usage or configuration: an unknown flag, a value that is out of bounds,
       something that needs --yes. Nothing was done.
  3    produce: at least one record that was read is not known to be stored. The
       summary says how many were acknowledged.
  4    serve: below feature level 3, where one node writes: another node with the ingest
       role has taken over the bucket. Do not start this one again by itself: the two
       would depose each other without end. Run one of them, or start this one with
       --roles fetch; or raise the level ("varve cluster upgrade"), and run both. From
       level 3 on a node goes on when others take its journals.
  5    serve: starting it again does not help before something is changed: the store
       refuses the credentials, the bucket is missing or belongs to another cluster,
       objects are missing, damaged or of a newer version, the store cannot keep data
       safe, or the data folder is damaged or belongs to another cluster.
  130  interrupted (SIGINT or SIGTERM) before the work was done; produce: the records
       read until then were acknowledged. A second signal ends any command at once,
       with this code too.
`

const outputText = `Output of varve:

Results go to standard output and everything else to standard error: progress,
notes, questions, and the one line "varve: ..." that says why a command failed.

-o json is the output for programs, of every command that prints results:

  - results that go on without end, or may be long, are one object a line: consume,
    wal export, and cluster events;
  - a list, or a command that takes several names, is one array of objects, also
    for one name: topic, group, node, wal list;
  - a result about one thing is one object: cluster, produce, bench, bucket, version;
  - null stands for a value that is not known or does not apply, never 0 or "";
  - times are RFC 3339 in UTC, sizes are in bytes, durations in seconds;
  - ids of topics and clusters are as Kafka's tools write them, those of nodes'
    incarnations in hex;
  - later versions may add fields, and rename or remove none.

When a command that changes several things fails, it prints the array nevertheless:
"result" is the outcome for each thing, "error" the reason of a failure.

Commands show progress after two seconds if standard error is a terminal, and with
--progress also elsewhere.
`

// newHelpTopics returns the texts of "varve help" that are not about a command.
func newHelpTopics() []*cobra.Command {
	return []*cobra.Command{
		{Use: "exit-codes", Short: "Exit codes, for scripts", Long: strings.TrimSuffix(exitCodesText, "\n")},
		{Use: "output", Short: "Output and its JSON, for programs", Long: strings.TrimSuffix(outputText, "\n")},
		{Use: "times", Short: "Forms of dates and times that flags and fields take", Long: strings.TrimSuffix(timesText, "\n")},
		{Use: "topic-configs", Short: "Configuration of topics, with the effect of each key", Long: topicConfigsText()},
	}
}

// newHelp makes "varve help": cobra's own reports success for an unknown word.
func newHelp(root *cobra.Command) *cobra.Command {
	find := func(words []string) (*cobra.Command, error) {
		cmd := root
		for _, word := range words {
			i := slices.IndexFunc(cmd.Commands(), func(c *cobra.Command) bool { return c.Name() == word || c.HasAlias(word) })
			if i < 0 {
				return nil, unknownCommand(cmd, word)
			}
			cmd = cmd.Commands()[i]
		}
		return cmd, nil
	}
	return &cobra.Command{
		Use:   "help [command]",
		Short: "Help about any command",
		RunE: func(_ *cobra.Command, words []string) error {
			cmd, err := find(words)
			if err != nil {
				return err
			}
			cmd.InitDefaultHelpFlag()
			return cmd.Help()
		},
		ValidArgsFunction: func(_ *cobra.Command, words []string, prefix string) (names []string, _ cobra.ShellCompDirective) {
			if cmd, err := find(words); err == nil {
				for _, c := range cmd.Commands() {
					if strings.HasPrefix(c.Name(), prefix) && (c.IsAvailableCommand() || c.IsAdditionalHelpTopicCommand()) {
						names = append(names, c.Name()+"\t"+c.Short)
					}
				}
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
	}
}

func topicConfigsText() string {
	var text strings.Builder
	text.WriteString(`Configuration of topics, as topic create and topic alter take it with --config:

The broker takes, keeps and describes all keys that Kafka knows, so that tools written
for Kafka work; it refuses unknown keys and invalid values. An "applied" key has an
effect. An "ignored" key has none: it tunes something that varve does not have.

Keys about retention, compaction and compression act from feature level 2 of the cluster
on: see "varve cluster upgrade".

`)
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	for _, effect := range []topicconfig.Effect{topicconfig.Applied, topicconfig.Ignored} {
		fmt.Fprintf(w, "%s:\n", effect)
		for _, d := range topicconfig.Defs() {
			if d.Effect == effect {
				fmt.Fprintf(w, "  %s\t%s\t%s\n", d.Name, defaultText(d), d.Doc)
			}
		}
	}
	w.Flush()
	return strings.TrimSuffix(text.String(), "\n")
}

func defaultText(d topicconfig.Def) string {
	if d.Default == "" {
		return "(empty)"
	}
	return d.Default
}

// noteEffects prints a note for each configuration that has no effect.
func noteEffects(env *Env, configs map[string]*string) {
	for _, d := range topicconfig.Defs() { // in order of names
		if _, set := configs[d.Name]; set && d.Effect == topicconfig.Ignored {
			fmt.Fprintf(env.Stderr, "varve: note: %s has no effect: %s\n", d.Name, d.Doc)
		}
	}
}
