package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"
)

// produceOptions are the flags of `varve produce`.
type produceOptions struct {
	bootstrap      string
	keySeparator   string
	keyField       string
	timestampField string
	partition      int32
	acks           string
	compression    string
	createTopic    bool
	batchBytes     int64
	linger         time.Duration
	timeout        time.Duration
	output         string
	progress       bool
}

const produceLong = `Write each line of the files, or of standard input, to a topic as one record.

A line ends at \n, which is not part of the record; every other byte is stored as
it is, a \r before the \n too. Only a byte order mark at the beginning of an input is
left out. An empty line is a record with an empty value.

With --key-separator the text before the first separator is the key. With
--key-field or --timestamp-field each line has to be a JSON object, and the field
gives the record's key or timestamp while the value stays the whole line. With any
of these, blank lines are skipped, and counted in the summary. A line that cannot be
used ends the command with an error that gives its number; the lines before it are
written.

The topic has to exist, so that a mistyped name creates no topic: --create-topic
creates it with the broker's defaults if it does not.

With --acks all, the default, the producer is idempotent: retries neither
duplicate nor reorder records. Ctrl-C stops reading, waits until the records read so
far are acknowledged, and ends with code 130; a second one ends at once. When a record
is not acknowledged, nothing after it is sent, and the code is 3.

A summary goes to standard error, or with -o json to standard output.`

func newProduce(env *Env) *cobra.Command {
	var o produceOptions
	cmd := &cobra.Command{
		Use:   "produce TOPIC [FILE...]",
		Short: "Write lines to a topic",
		Long:  produceLong,
		Example: `  varve produce events log.jsonl --key-field user --timestamp-field time
  tail -F access.log | varve produce access --compression zstd
  printf 'a:1\nb:2\n' | varve produce pairs --key-separator :`,
		Args: args(cobra.MinimumNArgs(1), "a topic, then files"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.check(); err != nil {
				return err
			}
			inputs, err := sources(args[1:], env.Stdin)
			if err != nil {
				return err
			}
			return produce(cmd.Context(), env, &o, args[0], inputs)
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	bootstrapFlag(flags, &o.bootstrap)
	flags.StringVar(&o.keySeparator, "key-separator", "", `text between key and value of a line; \t is a tab`)
	flags.StringVar(&o.keyField, "key-field", "", "JSON `field` whose value is the key")
	flags.StringVar(&o.timestampField, "timestamp-field", "", "JSON `field` whose value is the timestamp, in a form of \"varve help times\"")
	flags.Int32Var(&o.partition, "partition", -1, "`number` of the partition to write to (default by the key's hash, as Java producers do)")
	flags.Lookup("partition").DefValue = "0" // a value that the help leaves out
	choice(cmd, &o.acks, "acks", "", "all", "when a record counts as written", "0", "1", "all")
	choice(cmd, &o.compression, "compression", "", "none", "compression of batches", "none", "gzip", "snappy", "lz4", "zstd")
	flags.BoolVar(&o.createTopic, "create-topic", false, "create the topic when it does not exist")
	o.batchBytes = defaultBatchBytes
	flags.Var(&sizeValue{&o.batchBytes, "1000012"}, "batch-bytes", "most bytes of a batch before compression, hence of a line")
	flags.DurationVar(&o.linger, "linger", 10*time.Millisecond, "how long a batch waits for more lines")
	flags.DurationVar(&o.timeout, "delivery-timeout", 2*time.Minute, "how long to wait for the next acknowledgement")
	outputFlag(cmd, &o.output, "text", "json")
	progressFlag(flags, &o.progress)
	cmd.ValidArgsFunction = first(completeTopics(env, &o.bootstrap), func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return nil, cobra.ShellCompDirectiveDefault // files
	})
	return cmd
}

const (
	// defaultBatchBytes is the limit of Java producers and Kafka topics.
	defaultBatchBytes = 1_000_012
	minBatchBytes     = 1 << 10
	maxBatchBytes     = 64 << 20

	// batchOverhead covers the bytes that a batch of one record adds to key and
	// value: batch header, length prefixes and varints.
	batchOverhead = 128

	maxBuffered     = 64 << 20 // bytes read and not acknowledged yet
	bufferedRecords = 200_000  // records likewise

	// produceTimeout is the time that the broker has for one request; some
	// stores keep a writer waiting for half a minute.
	produceTimeout = 30 * time.Second
)

func (o *produceOptions) check() error {
	switch {
	case o.keySeparator != "" && o.keyField != "":
		return usagef("--key-separator and --key-field both give the key; use only one")
	case o.keySeparator != "" && o.timestampField != "":
		return usagef("--key-separator is for plain lines, --timestamp-field for JSON lines; use --key-field for the key")
	case o.partition < -1:
		return usagef("--partition %d: partitions are numbered from 0", o.partition)
	case o.batchBytes < minBatchBytes || o.batchBytes > maxBatchBytes:
		return usagef("--batch-bytes %d: write a size from 1KiB to 64MiB", o.batchBytes)
	case o.linger < 0 || o.linger > time.Minute:
		return usagef("--linger %v: write a duration from 0s to 1m", o.linger)
	case o.timeout < time.Second:
		return usagef("--delivery-timeout %v: write a duration from 1s", o.timeout)
	}
	return nil
}

// clientOptions turns the flags into those of the Kafka client.
func (o *produceOptions) clientOptions() []kgo.Opt {
	codecs := map[string]kgo.CompressionCodec{
		"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
		"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	}
	opts := []kgo.Opt{
		kgo.ProducerBatchCompression(codecs[o.compression]),
		kgo.ProducerBatchMaxBytes(int32(o.batchBytes)),
		kgo.ProducerLinger(o.linger),
		kgo.MaxBufferedRecords(bufferedRecords),
		kgo.MaxBufferedBytes(maxBuffered),
		kgo.ProduceRequestTimeout(produceTimeout),
		// A record that is given up ends the command, so no record follows that
		// could overtake or repeat it.
		kgo.AllowIdempotentProduceCancellation(),
	}
	switch o.acks {
	case "0":
		opts = append(opts, kgo.RequiredAcks(kgo.NoAck()), kgo.DisableIdempotentWrite())
	case "1":
		opts = append(opts, kgo.RequiredAcks(kgo.LeaderAck()), kgo.DisableIdempotentWrite())
	}
	if o.partition >= 0 {
		opts = append(opts, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	}
	return opts
}

// fill sets a record from a line.
func (o *produceOptions) fill(r *kgo.Record, line []byte) error {
	r.Value = line
	r.Partition = max(o.partition, 0)
	switch {
	case o.keySeparator != "":
		key, value, ok := bytes.Cut(line, []byte(separator(o.keySeparator)))
		if !ok {
			return fmt.Errorf("no key separator %q", separator(o.keySeparator))
		}
		r.Key, r.Value = key, value
	case o.keyField != "" || o.timestampField != "":
		return o.fillFromJSON(r, line)
	}
	return nil
}

func (o *produceOptions) fillFromJSON(r *kgo.Record, line []byte) error {
	values, err := topLevel(line, o.keyField, o.timestampField)
	if err != nil {
		return err
	}
	if o.keyField != "" {
		if r.Key, err = keyOf(values[0], o.keyField); err != nil {
			return err
		}
	}
	if o.timestampField != "" {
		if r.Timestamp, err = timestampOf(values[1], o.timestampField); err != nil {
			return err
		}
	}
	return nil
}

// produce writes every line of the sources, waits for the acknowledgements and
// prints the summary, also after an error.
func produce(ctx context.Context, env *Env, o *produceOptions, topic string, inputs []source) error {
	client, err := connect(ctx, env, o.bootstrap, o.clientOptions()...)
	if err != nil {
		return err
	}
	defer client.Close()
	partitions, err := o.lookUp(ctx, env, client, topic)
	if err != nil {
		return interrupted(ctx, err)
	}
	if int(o.partition) >= len(partitions) {
		return usagef("--partition %d: topic %q has partitions 0 to %d", o.partition, topic, len(partitions)-1)
	}
	if slices.ContainsFunc(inputs, func(src source) bool { return src.name == standardInput }) && isTerminal(env.Stdin) {
		fmt.Fprintln(env.Stderr, "varve: each line you type becomes a record; Ctrl-D ends the input")
	}
	s := newSender(client, topic, inputSize(inputs))
	w := &watcher{sender: s, patience: o.timeout, meter: newMeter(env, "produce", o.progress, s.progress)}
	w.start(ctx)
	readErr := o.sendAll(ctx, s, inputs)
	s.flush()
	w.stop()
	s.giveUp(nil) // nothing is under way any more; this only frees the context
	return s.report(env, o, readErr)
}

// lookUp returns the topic's partitions, and creates the topic if the flag says
// so.
func (o *produceOptions) lookUp(ctx context.Context, env *Env, client *kgo.Client, topic string) ([]int32, error) {
	partitions, err := lookUpTopic(ctx, env, client, topic)
	switch {
	case !errors.Is(err, errUnknownTopic):
		return partitions, err
	case !o.createTopic:
		return nil, fmt.Errorf("%w, or add --create-topic", err)
	}
	if partitions, err = makeTopic(ctx, env, client, topic); err == nil {
		fmt.Fprintf(env.Stderr, "varve: created topic %q with %s\n", topic, plural(len(partitions), "partition"))
	}
	return partitions, err
}

// skips reports whether a line is blank and is to be skipped. If the whole line
// is the value, none is.
func (o *produceOptions) skips(line []byte) bool {
	switch {
	case o.keySeparator != "":
		return len(bytes.TrimSpace(line)) == 0 && !bytes.Contains(line, []byte(separator(o.keySeparator)))
	case o.keyField != "" || o.timestampField != "":
		return len(bytes.TrimSpace(line)) == 0
	}
	return false
}

// sendAll reads until the end, the first line that is no record, the first
// record that fails, or the end of ctx.
func (o *produceOptions) sendAll(ctx context.Context, s *sender, inputs []source) error {
	limit := int(o.batchBytes) - batchOverhead
	for _, src := range inputs {
		src.read = &s.read
		err := eachLine(ctx, src, limit, func(number int64, line []byte) error {
			if o.skips(line) {
				s.skipped++
				return nil
			}
			if number == 1 && o.keyField+o.timestampField == "" {
				s.carriage = s.carriage || bytes.HasSuffix(line, []byte("\r"))
				s.utf16 = s.utf16 || bytes.HasPrefix(line, []byte("\xff\xfe")) || bytes.HasPrefix(line, []byte("\xfe\xff"))
			}
			r := s.record()
			if err := o.fill(r, line); err != nil {
				return err
			}
			return s.send(r, src.name, number)
		})
		if errors.Is(err, errLineTooLong) {
			return fmt.Errorf("%w: more than %d bytes; raise --batch-bytes, and the topic's max.message.bytes if it is lower", err, limit)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
