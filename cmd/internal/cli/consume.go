package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// consumeOptions are the flags of `varve consume`.
type consumeOptions struct {
	bootstrap    string
	from         string
	partitions   []int32
	max          int64
	untilEnd     bool
	output       string
	printKey     bool
	keySeparator string
}

const consumeLong = `Print records of topics, from the earliest on, and wait for more.

Records of one partition come in order; partitions are mixed. Ctrl-C ends the
command with code 0, or with 130 when --max or --until-end is given and not
reached. When the reader of the output has enough (head), it ends with code 0.

The raw output is each value and a line feed. -o json prints one object a line
with topic, partition, offset, timestamp, key, value and headers; bytes that are
not UTF-8 are in base64, marked by "value_encoding": "base64" beside them.`

func newConsume(env *Env) *cobra.Command {
	var o consumeOptions
	cmd := &cobra.Command{
		Use:   "consume TOPIC...",
		Short: "Print records of topics",
		Long:  consumeLong,
		Example: `  varve consume events --until-end > events.jsonl
  varve consume events --from 2024-05-01 --max 10 -o json
  varve consume events --from -2h --print-key
  varve consume events --partition 3 --from 120000`,
		Args: args(cobra.MinimumNArgs(1), "one or more topics"),
		RunE: func(cmd *cobra.Command, topics []string) error {
			if err := o.check(cmd); err != nil {
				return err
			}
			at, err := parseFrom("from", o.from, time.Now())
			if err != nil {
				return err
			}
			return consume(cmd.Context(), env, &o, unique(topics), at)
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	bootstrapFlag(flags, &o.bootstrap)
	flags.StringVar(&o.from, "from", "earliest", "`where` to begin: earliest, latest, an offset, a date or time, or how long ago (-2h)")
	flags.Int32SliceVar(&o.partitions, "partition", nil, "`number` of a partition to read, repeatable (default all)")
	flags.Lookup("partition").DefValue = ""
	flags.Int64Var(&o.max, "max", 0, "stop after this `number` of records (default no limit)")
	flags.BoolVar(&o.untilEnd, "until-end", false, "stop at the end that the topics have now")
	choice(cmd, &o.output, "output", "o", "raw", "output format", "raw", "json")
	flags.BoolVar(&o.printKey, "print-key", false, "print the key before the value (raw output)")
	flags.StringVar(&o.keySeparator, "key-separator", `\t`, `text between key and value; \t is a tab`)
	return cmd
}

func (o *consumeOptions) check(cmd *cobra.Command) error {
	changed := cmd.Flags().Changed
	switch {
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
	all, err := resolve(ctx, lookup, topics, o.partitions, at, o.untilEnd)
	lookup.Close()
	if err != nil {
		return interrupted(ctx, err)
	}
	offsets := all.consumeFrom()
	if len(offsets) == 0 {
		return nil
	}
	client, err := connect(ctx, env, o.bootstrap,
		kgo.ConsumePartitions(offsets),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.FetchMaxPartitionBytes(fetchPartitionBytes),
		kgo.KeepControlRecords(), // their offsets count towards the end
		kgo.KeepRetryableFetchErrors(),
	)
	if err != nil {
		return err
	}
	defer client.Close()
	p := &printer{spans: all, left: o.max, limited: o.max > 0, format: o.format(),
		out: bufio.NewWriterSize(env.Stdout, outputBuffer), patience: stallLimit}
	return p.run(ctx, client, o.untilEnd)
}

const (
	fetchPartitionBytes = 8 << 20 // asked of one partition at once
	outputBuffer        = 256 << 10

	// stallLimit is how long --until-end goes without a record it knows to be
	// there. It is longer than a fail-over.
	stallLimit = time.Minute
)

// printer writes the records of the spans, in the order the client has them.
type printer struct {
	spans   spans
	left    int64 // records that may still be printed, if limited
	limited bool
	format  format
	out     *bufio.Writer
	line    []byte // reused

	patience time.Duration // without a record that is known to be there
	trouble  error         // last retriable error of a fetch
}

// run prints until everything asked for is printed, ctx ends, or a partition
// cannot be read.
func (p *printer) run(ctx context.Context, client *kgo.Client, untilEnd bool) error {
	moved := time.Now()
	for {
		polling, cancel := context.WithTimeout(ctx, time.Second)
		fetches := client.PollFetches(polling)
		cancel()
		printed, done, err := p.print(fetches)
		// Whoever waits for these records must not wait for the next ones.
		if flushErr := p.out.Flush(); err == nil {
			err = flushErr
		}
		switch {
		case err != nil:
			return err
		case done:
			return nil
		case ctx.Err() != nil && !untilEnd && !p.limited:
			return nil
		case ctx.Err() != nil:
			return errInterrupted
		case printed:
			moved = time.Now()
		case untilEnd && time.Since(moved) > p.patience:
			return p.stalled(client)
		}
	}
}

func (p *printer) stalled(client *kgo.Client) error {
	trouble := p.trouble
	if trouble == nil {
		trouble = silence(client, "sends nothing")
	}
	return fmt.Errorf("no records for %v, but the end is not reached (%s): %w", p.patience, p.spans.behind(), trouble)
}

// print writes what was fetched. done tells that nothing more is wanted.
func (p *printer) print(fetches kgo.Fetches) (printed, done bool, err error) {
	fetches.EachPartition(func(f kgo.FetchTopicPartition) {
		if err != nil || done {
			return
		}
		s := p.spans[f.Topic][f.Partition]
		if s == nil { // an error of the client as a whole
			err = p.judge(f, 0)
			return
		}
		var n bool
		n, err = p.partition(f, s)
		printed = printed || n
		done = p.limited && p.left == 0
		if err == nil && !done {
			err = p.judge(f, s.next)
		}
	})
	return printed, done || p.spans.done(), err
}

// partition writes the records of one partition that belong to its span.
func (p *printer) partition(f kgo.FetchTopicPartition, s *span) (printed bool, err error) {
	for _, r := range f.Records {
		if r.Offset < s.next {
			continue
		}
		if s.done() || p.limited && p.left == 0 {
			break
		}
		s.next = r.Offset + 1
		printed = true
		if r.Attrs.IsControl() || s.end >= 0 && r.Offset >= s.end {
			continue
		}
		p.left--
		p.line = p.format(p.line[:0], r)
		if _, err := p.out.Write(p.line); err != nil {
			return printed, err
		}
	}
	return printed, nil
}

// judge decides about the error of a fetch from offset next: the client goes on
// after retriable ones by itself, all others end the command.
func (p *printer) judge(f kgo.FetchTopicPartition, next int64) error {
	switch err := f.Err; {
	case err == nil, errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return nil
	case errors.Is(err, kerr.OffsetOutOfRange):
		return fmt.Errorf("read %s/%d: the records from %d on are not there any more (retention?); begin again with a later --from: %w",
			f.Topic, f.Partition, next, err)
	case kerr.IsRetriable(err), kgo.IsRetryableBrokerErr(err):
		p.trouble = fmt.Errorf("%s/%d: %w", f.Topic, f.Partition, err)
		return nil
	default:
		return fmt.Errorf("read %s/%d: %w", f.Topic, f.Partition, err)
	}
}

func (all spans) done() bool {
	for _, byPartition := range all {
		for _, s := range byPartition {
			if !s.done() {
				return false
			}
		}
	}
	return true
}
