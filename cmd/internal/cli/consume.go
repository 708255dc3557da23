package cli

import (
	"bufio"
	"context"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"
)

// consumeOptions are the flags of `varve consume`.
type consumeOptions struct {
	bootstrap    string
	group        string
	session      time.Duration
	from         string
	partitions   []int32
	max          int64
	untilEnd     bool
	output       string
	printKey     bool
	keySeparator string
	progress     bool
	skipBad      bool
}

const consumeLong = `Print records of topics, from the earliest on, and wait for more.

Records of one partition come in order; partitions are mixed. Ctrl-C ends the command
with code 0, or with 130 when --max or --until-end is given and not reached. When the
reader of the output closes it (head), the command ends with code 0.

With --group it is a member of a consumer group: it reads the partitions that the group
assigns to it, from the group's committed offsets, and commits its own once the output
is written. --from then counts only where the group has no committed offset. When it
ends, it commits the records that it printed, and its partitions go to the other
members. After a crash some records may be printed again, and none is left out; its
partitions go to the others when --session-timeout is over.

A batch whose records cannot be decoded, because its client wrote it so, ends the
command with an error that names its offsets. With --skip-undecodable it is reported
on standard error, and the command goes on after it.

The raw output is each value and a line feed. -o json prints one object a line
with topic, partition, offset, timestamp, key, value and headers; bytes that are
not UTF-8 are in base64, marked by "value_encoding": "base64" in the same object.`

func newConsume(env *Env) *cobra.Command {
	var o consumeOptions
	cmd := &cobra.Command{
		Use:   "consume TOPIC...",
		Short: "Print records of topics",
		Long:  consumeLong,
		Example: `  varve consume events --until-end > events.jsonl
  varve consume events --from 2024-05-01 --max 10 -o json
  varve consume events --from -2h --print-key
  varve consume events --partition 3 --from 120000
  varve consume events --group billing -o json`,
		Args: args(cobra.MinimumNArgs(1), "one or more topics"),
		RunE: func(cmd *cobra.Command, topics []string) error {
			if err := o.check(cmd); err != nil {
				return err
			}
			at, err := parseFrom("from", o.from, time.Now())
			if err != nil {
				return err
			}
			if o.group != "" {
				return consumeGroup(cmd.Context(), env, &o, unique(topics), at)
			}
			return consume(cmd.Context(), env, &o, unique(topics), at)
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	bootstrapFlag(flags, &o.bootstrap)
	flags.StringVar(&o.from, "from", "earliest", "`where` to begin: earliest, latest, an offset, a date or time, or how long ago (-2h); see \"varve help times\"")
	flags.StringVar(&o.group, "group", "", "read as a member of this consumer `group`, and commit the records that are printed")
	flags.DurationVar(&o.session, "session-timeout", 45*time.Second, "how long the group keeps partitions for this member when it is killed (--group)")
	flags.Int32SliceVar(&o.partitions, "partition", nil, "`number` of a partition to read, repeatable (default all)")
	flags.Lookup("partition").DefValue = ""
	flags.Int64Var(&o.max, "max", 0, "stop after this `number` of records (default no limit)")
	flags.BoolVar(&o.untilEnd, "until-end", false, "stop at the topics' end as it is now")
	outputFlag(cmd, &o.output, "raw", "json")
	flags.BoolVar(&o.printKey, "print-key", false, "print the key before the value (raw output)")
	flags.StringVar(&o.keySeparator, "key-separator", `\t`, `text between key and value; \t is a tab`)
	flags.BoolVar(&o.skipBad, "skip-undecodable", false, "skip batches whose records cannot be decoded, and report them on standard error")
	progressFlag(flags, &o.progress)
	cmd.ValidArgsFunction = completeTopics(env, &o.bootstrap)
	complete(cmd, "group", completeGroups(env, &o.bootstrap))
	complete(cmd, "from", completeStarts("earliest", "latest", "-1h", "-1d"))
	return cmd
}

func (o *consumeOptions) check(cmd *cobra.Command) error {
	changed := cmd.Flags().Changed
	switch {
	case changed("group") && o.group == "":
		return usagef("--group needs a name")
	case changed("session-timeout") && o.group == "":
		return usagef("--session-timeout needs --group")
	case o.session < time.Second || o.session > time.Hour:
		return usagef("--session-timeout %v: write a duration from 1s to 1h", o.session)
	case o.group != "" && len(o.partitions) > 0:
		return usagef("--group and --partition exclude each other: the group gives partitions to its members")
	case changed("max") && o.max < 1:
		return usagef("--max %d: write a number from 1", o.max)
	case o.output == "json" && (o.printKey || changed("key-separator")):
		return usagef("--print-key and --key-separator are for raw output; JSON has the key in it")
	case changed("key-separator") && !o.printKey:
		return usagef("--key-separator needs --print-key")
	}
	return nil
}

func (o *consumeOptions) format() format {
	if o.output == "json" {
		return jsonFormat
	}
	return rawFormat(o.printKey, separator(o.keySeparator))
}

func unique(words []string) []string {
	words = slices.Clone(words)
	slices.Sort(words)
	return slices.Compact(words)
}

func consume(ctx context.Context, env *Env, o *consumeOptions, topics []string, at from) error {
	lookup, err := connect(ctx, env, o.bootstrap)
	if err != nil {
		return err
	}
	all, err := resolve(ctx, env, lookup, topics, o.partitions, at, o.untilEnd)
	lookup.Close()
	if err != nil {
		return interrupted(ctx, err)
	}
	offsets := all.consumeFrom()
	if len(offsets) == 0 {
		return nil
	}
	client, err := connect(ctx, env, o.bootstrap, append(readerOptions(), kgo.ConsumePartitions(offsets))...)
	if err != nil {
		return err
	}
	defer client.Close()
	p := o.printer(env, all)
	return p.run(ctx, client, o.untilEnd)
}

// readerOptions are the options of a client that reads, alone or as a member of
// a group.
func readerOptions() []kgo.Opt {
	return []kgo.Opt{
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.FetchMaxPartitionBytes(fetchPartitionBytes),
		kgo.KeepControlRecords(), // their offsets count towards the end
		kgo.KeepRetryableFetchErrors(),
	}
}

// printer makes the printer that the flags ask for.
func (o *consumeOptions) printer(env *Env, all spans) *printer {
	p := &printer{spans: all, left: o.max, limited: o.max > 0, format: o.format(),
		out: bufio.NewWriterSize(env.Stdout, outputBuffer), patience: stallLimit,
		stuck: stuck{skip: o.skipBad, connect: func(ctx context.Context) (*kgo.Client, error) { return connect(ctx, env, o.bootstrap) }}}
	p.meter = newMeter(env, "consume", o.progress, func() progress { return p.shown })
	p.meter.show = o.progress || p.meter.terminal && !isTerminal(env.Stdout)
	p.shown.unit = "records"
	if o.untilEnd {
		p.shown.total = all.offsets()
	}
	if o.max > 0 && (p.shown.total == 0 || o.max < p.shown.total) {
		p.shown.total = o.max
	}
	return p
}
