package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/varvelog/varve/fetch/offline"
)

const catLong = `Print records straight from the bucket. No node needs to run, and read access is
enough. The output is that of varve consume: see "varve consume --help".

Records of one partition come in order; partitions are mixed. Those are printed that
were in the bucket when the command began; records that a node has acknowledged with
acks=1 may be in its write-ahead log only. --to stops before an offset, or before the
first record that is as new as a time.

A batch whose records cannot be decoded, because its client wrote it so, ends the
command, or is reported and skipped with --skip-undecodable. Damage ends it too, after
the sound records before it.`

// catOptions are the flags of `varve bucket cat`.
type catOptions struct {
	bucketFlags
	from, to   string
	partitions []int32
	parallel   int
	print      consumeOptions // of which the flags about the output are used
}

func newBucketCat(env *Env) *cobra.Command {
	var o catOptions
	cmd := &cobra.Command{
		Use:   "cat TOPIC[/PARTITION]",
		Short: "Print records straight from the bucket",
		Long:  catLong,
		Example: `  varve bucket cat events --bucket file:///var/lib/varve/bucket > events.jsonl
  varve bucket cat events --from 2024-05-01 --to 2024-05-02 -o json
  varve bucket cat events/3 --from 120000 --max 10 --print-key`,
		Args: args(cobra.ExactArgs(1), "one topic, or topic/partition"),
		RunE: func(cmd *cobra.Command, names []string) error {
			o.print.output, o.print.session = o.output, time.Second
			if err := o.print.check(cmd); err != nil {
				return err
			}
			if o.parallel < 1 || o.parallel > 64 {
				return usagef("--parallel %d: write a number from 1 to 64", o.parallel)
			}
			r, err := parseRange(o.from, o.to, time.Now())
			if err != nil {
				return err
			}
			return o.look(cmd.Context(), env, func(b *offline.Bucket) error { return cat(cmd.Context(), env, b, &o, names[0], r) })
		},
	}
	flags := cmd.Flags()
	rangeFlags(cmd, &o.from, &o.to)
	flags.Int32SliceVar(&o.partitions, "partition", nil, "`number` of a partition to read, repeatable (default all)")
	flags.Lookup("partition").DefValue = ""
	flags.Int64Var(&o.print.max, "max", 0, "stop after this `number` of records (default no limit)")
	flags.IntVar(&o.parallel, "parallel", 4, "`number` of partitions to read at once; each takes about 32 MiB")
	flags.BoolVar(&o.print.printKey, "print-key", false, "print the key before the value (raw output)")
	flags.StringVar(&o.print.keySeparator, "key-separator", `\t`, `text between key and value; \t is a tab`)
	flags.BoolVar(&o.print.skipBad, "skip-undecodable", false, "skip batches whose records cannot be decoded, and report them on standard error")
	o.add(cmd, "raw", "json")
	return cmd
}

func cat(ctx context.Context, env *Env, b *offline.Bucket, o *catOptions, name string, r readRange) error {
	c, err := choose(b, name, o.partitions)
	if err != nil {
		return err
	}
	parts := make([]span, len(c.partitions))
	all := spans{name: map[int32]*span{}}
	for i, k := range c.keys() {
		if parts[i], err = r.of(ctx, b, k); err != nil {
			return err
		}
		all[name][k.Index] = &parts[i]
	}
	p := catPrinter{bucket: b, opt: o, env: env, format: o.print.format(), topic: c.topic.Name, pieces: make(chan catPiece)}
	p.shown.unit, p.shown.total = "records", all.offsets()
	if o.print.max > 0 {
		p.shown.total = min(p.shown.total, o.print.max)
	}
	return p.run(ctx, c.keys(), parts)
}
