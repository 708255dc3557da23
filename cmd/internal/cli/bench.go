package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/varvelog/varve/cmd/internal/load"
)

const benchLong = `Put a Kafka cluster under load and print the throughput and latency it reaches.

The commands write to a topic, or read from one, that must exist: make one for the
purpose, since the records written to it stay. The throughput of a cluster depends on
the size of its clients' batches and on how many requests they have under way; the
defaults are those of a busy client.`

func newBench(env *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure throughput and latency of a cluster",
		Long:  benchLong,
		Example: `  varve topic create load --partitions 12
  varve bench produce load --acks all --duration 30s
  varve bench consume load
  varve bench latency load --rate 1000 -o json
  varve topic delete load`,
	}
	b := &bench{env: env}
	flags := cmd.PersistentFlags()
	bootstrapFlag(flags, &b.bootstrap)
	flags.BoolVar(&b.progress, "progress", false, "show progress also when standard error is no terminal")
	cmd.AddCommand(newBenchProduce(b), newBenchConsume(b), newBenchLatency(b))
	group(cmd)
	return cmd
}

// bench holds the flags that the commands under `varve bench` share.
type bench struct {
	env       *Env
	bootstrap string
	progress  bool
	output    string
}

func (b *bench) outputFlag(cmd *cobra.Command) {
	cmd.Flags().SortFlags = false
	outputFlag(cmd, &b.output, "table", "json")
}

// clientFlags are the flags of a producer.
type clientFlags struct {
	acks        string
	compression string
	batchBytes  int64
	linger      time.Duration
	size        int64
}

func (c *clientFlags) add(cmd *cobra.Command, linger time.Duration) {
	choice(cmd, &c.acks, "acks", "", "all", "when a record counts as written", "0", "1", "all")
	choice(cmd, &c.compression, "compression", "", "none", "compression of batches", "none", "gzip", "snappy", "lz4", "zstd")
	c.batchBytes, c.size = defaultBatchBytes, 200
	cmd.Flags().Var(&sizeValue{&c.size, "200"}, "record-size", "bytes of a record's value")
	cmd.Flags().Var(&sizeValue{&c.batchBytes, "1000012"}, "batch-bytes", "most bytes of a batch before compression")
	cmd.Flags().DurationVar(&c.linger, "linger", linger, "how long a batch waits for more records")
}

// inFlight is how many requests are under way at once without idempotence; with
// it, there are five.
const inFlight = 5

func (c *clientFlags) options() ([]kgo.Opt, error) {
	if c.size < 1 || c.size > c.batchBytes-batchOverhead {
		return nil, usagef("--record-size %d: write a size from 1 to --batch-bytes less %d", c.size, batchOverhead)
	}
	o := produceOptions{acks: c.acks, compression: c.compression, batchBytes: c.batchBytes, linger: c.linger, timeout: time.Minute, partition: -1}
	if err := o.check(); err != nil {
		return nil, err
	}
	opts := append(o.clientOptions(), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.RecordDeliveryTimeout(2*time.Minute))
	if c.acks != "all" {
		opts = append(opts, kgo.MaxProduceRequestsInflightPerBroker(inFlight))
	}
	return opts, nil
}

// producer connects a producer, and looks its topic up.
func (b *bench) producer(ctx context.Context, c *clientFlags, topic string) (*kgo.Client, []int32, error) {
	opts, err := c.options()
	if err != nil {
		return nil, nil, err
	}
	client, err := connect(ctx, b.env, b.bootstrap, opts...)
	if err != nil {
		return nil, nil, err
	}
	partitions, err := lookUpTopic(ctx, b.env, client, topic)
	if err != nil {
		client.Close()
		return nil, nil, interrupted(ctx, err)
	}
	return client, partitions, nil
}

func newBenchProduce(b *bench) *cobra.Command {
	var c clientFlags
	o := load.Produce{}
	cmd := &cobra.Command{
		Use:   "produce TOPIC",
		Short: "Write as fast as the cluster takes records",
		Example: `  varve bench produce load --acks 1 --record-size 1KiB
  varve bench produce load --batch-bytes 16KiB --linger 0s   # as a Java producer is set up by default
  varve bench produce load --records 1000000 --duration 0 -o json`,
		Args: args(cobra.ExactArgs(1), "one topic"),
		RunE: func(cmd *cobra.Command, topics []string) error {
			if o.Records < 0 || o.Duration < 0 || o.Records == 0 && o.Duration == 0 {
				return usagef("give --records or --duration a value above 0")
			}
			client, partitions, err := b.producer(cmd.Context(), &c, topics[0])
			if err != nil {
				return err
			}
			defer client.Close()
			o.Topic, o.Partitions, o.RecordBytes = topics[0], partitions, int(c.size)
			return b.measure(cmd.Context(), goal{records: o.Records, time: o.Duration}, func(p *load.Progress) (any, error) {
				return o.Run(cmd.Context(), client, p)
			})
		},
	}
	b.outputFlag(cmd)
	c.add(cmd, 5*time.Millisecond)
	cmd.Flags().Int64Var(&o.Records, "records", 0, "stop after this `number` of records")
	cmd.Flags().DurationVar(&o.Duration, "duration", 10*time.Second, "stop after this time; 0 for --records alone")
	cmd.Flags().Uint64Var(&o.Seed, "seed", 0, "seed of the records' content")
	return cmd
}

func newBenchConsume(b *bench) *cobra.Command {
	o := load.Consume{}
	var partitionBytes int64 = 1 << 20
	cmd := &cobra.Command{
		Use:   "consume TOPIC",
		Short: "Read everything a topic has, once or again and again",
		Example: `  varve bench consume load
  varve bench consume load --duration 30s --partition-bytes 8MiB`,
		Args: args(cobra.ExactArgs(1), "one topic"),
		RunE: func(cmd *cobra.Command, topics []string) error {
			o.Topic = topics[0]
			if partitionBytes < 1 || partitionBytes > maxBatchBytes {
				return usagef("--partition-bytes %d: write a size from 1 to 64MiB", partitionBytes)
			}
			return b.consume(cmd.Context(), o, int32(partitionBytes))
		},
	}
	b.outputFlag(cmd)
	cmd.Flags().DurationVar(&o.Duration, "duration", 0, "read again and again for this time")
	cmd.Flags().Var(&sizeValue{&partitionBytes, "1MiB"}, "partition-bytes", "largest size of one partition in one answer")
	return cmd
}

func (b *bench) consume(ctx context.Context, o load.Consume, partitionBytes int32) error {
	dial := func(opts ...kgo.Opt) (*kgo.Client, error) {
		opts = append(opts, kgo.FetchMaxPartitionBytes(partitionBytes), kgo.FetchMaxBytes(max(partitionBytes, 50<<20)),
			kgo.BrokerMaxReadBytes(256<<20))
		return connect(ctx, b.env, b.bootstrap, opts...)
	}
	client, err := dial()
	if err != nil {
		return err
	}
	all, err := b.extent(ctx, client, o.Topic)
	client.Close()
	if err != nil {
		return interrupted(ctx, err)
	}
	var records int64
	o.Start, o.End = map[int32]int64{}, map[int32]int64{}
	for p, s := range all[o.Topic] {
		o.Start[p], o.End[p] = s.next, s.end
		records += s.end - s.next
	}
	g := goal{records: records, time: o.Duration}
	if o.Duration > 0 {
		g.records = 0
	}
	return b.measure(ctx, g, func(p *load.Progress) (any, error) { return o.Run(ctx, dial, p) })
}

// extent returns the offsets at which the topic's partitions begin and end.
func (b *bench) extent(ctx context.Context, client *kgo.Client, topic string) (spans, error) {
	return resolve(ctx, b.env, client, []string{topic}, nil, from{kind: fromEarliest}, true)
}

func newBenchLatency(b *bench) *cobra.Command {
	var c clientFlags
	o := load.Latency{Patience: time.Minute}
	cmd := &cobra.Command{
		Use:   "latency TOPIC",
		Short: "Write at a steady pace, read at once, and take the time",
		Long: `Write records at a steady pace, read them at the same time, and print how long they
took until they were acknowledged, and until they were read.

Each record's time counts from when it was due by the pace, not from when it could
be sent: a cluster that stalls makes all records late that are due during the stall.
No other client may write to the topic at the same time.`,
		Example: `  varve bench latency load --rate 5000 --duration 1m
  varve bench latency load --acks 1 --record-size 1KiB`,
		Args: args(cobra.ExactArgs(1), "one topic"),
		RunE: func(cmd *cobra.Command, topics []string) error {
			if o.Rate <= 0 || o.Rate > 1e6 || o.Duration <= 0 || o.Warmup < 0 {
				return usagef("--rate must be above 0 and at most 1000000, --duration above 0, --warmup not below 0")
			}
			if c.size < load.MinTimed {
				return usagef("--record-size %d: a record that carries its time takes %d bytes at least", c.size, load.MinTimed)
			}
			o.Topic, o.RecordBytes = topics[0], int(c.size)
			return b.latency(cmd.Context(), o, &c)
		},
	}
	b.outputFlag(cmd)
	c.add(cmd, 0)
	cmd.Flags().Float64Var(&o.Rate, "rate", 1000, "records a second")
	cmd.Flags().DurationVar(&o.Duration, "duration", 10*time.Second, "how long to write, after the warm-up")
	cmd.Flags().DurationVar(&o.Warmup, "warmup", time.Second, "how long to write before anything counts")
	cmd.Flags().Uint64Var(&o.Seed, "seed", 0, "seed of the records' content")
	return cmd
}

func (b *bench) latency(ctx context.Context, o load.Latency, c *clientFlags) error {
	o.Duration += o.Warmup
	producer, partitions, err := b.producer(ctx, c, o.Topic)
	if err != nil {
		return err
	}
	defer producer.Close()
	o.Partitions = partitions
	all, err := b.extent(ctx, producer, o.Topic)
	if err != nil {
		return interrupted(ctx, err)
	}
	from := map[int32]kgo.Offset{}
	for p, s := range all[o.Topic] {
		from[p] = kgo.NewOffset().At(s.end)
	}
	consumer, err := connect(ctx, b.env, b.bootstrap,
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{o.Topic: from}), kgo.FetchMinBytes(1))
	if err != nil {
		return err
	}
	defer consumer.Close()
	return b.measure(ctx, goal{time: o.Duration}, func(p *load.Progress) (any, error) {
		return o.Run(ctx, producer, consumer, p)
	})
}
