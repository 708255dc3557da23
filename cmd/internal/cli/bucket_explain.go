package cli

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/varvelog/varve/fetch/offline"
)

const explainLong = `Estimate a replay of a topic before it is run: the objects, GETs and bytes that
are read, and about the time and dollars. No node needs to run, and read access is
enough. Nothing but index pages is read.

A replay reads each extent of a partition with one GET, or one for each 8 MiB. So a
topic whose records are spread over many small objects takes many GETs, and fewer after
these are merged. Records that a node has in its memory or cache take none.

The time is that of --parallel GETs at once that take --latency each, or that of the
bytes at --bandwidth, whichever is longer. A client may be slower.`

// explainOptions are the flags of `bucket explain`.
type explainOptions struct {
	bucketFlags
	from, to   string
	partitions []int32
	latency    time.Duration
	bandwidth  int64
	parallel   int
}

func newBucketExplain(env *Env) *cobra.Command {
	o := explainOptions{bandwidth: 100_000_000}
	cmd := &cobra.Command{
		Use:   "explain TOPIC[/PARTITION]",
		Short: "Estimate a replay: objects, GETs, bytes, time, dollars",
		Long:  explainLong,
		Example: `  varve bucket explain events --bucket 's3://events/prod?region=eu-central-1'
  varve bucket explain events --from -30d --latency 50ms -o json
  varve bucket explain events/3 --from 120000 --to 130000`,
		Args: args(cobra.ExactArgs(1), "one topic, or topic/partition"),
	}
	flags := cmd.Flags()
	rangeFlags(cmd, &o.from, &o.to)
	flags.Int32SliceVar(&o.partitions, "partition", nil, "`number` of a partition, repeatable (default all)")
	flags.Lookup("partition").DefValue = ""
	flags.DurationVar(&o.latency, "latency", 30*time.Millisecond, "time that a GET takes")
	flags.Var(&sizeValue{to: &o.bandwidth, text: "100MB"}, "bandwidth", "bytes a second from the store")
	flags.IntVar(&o.parallel, "parallel", 16, "`number` of GETs at once")
	asked := pricesFlag(cmd, env)
	cmd.RunE = func(cmd *cobra.Command, names []string) error {
		p, err := asked()
		if err != nil {
			return err
		}
		if o.latency < 0 || o.bandwidth <= 0 || o.parallel < 1 {
			return usagef("--latency, --bandwidth and --parallel must be above 0")
		}
		r, err := parseRange(o.from, o.to, time.Now())
		if err != nil {
			return err
		}
		return o.look(cmd.Context(), env, func(b *offline.Bucket) error {
			e, err := explainReplay(cmd.Context(), b, &o, names[0], r)
			if err != nil {
				return err
			}
			e.estimate(&o, p)
			if o.output == "json" {
				return printJSON(env.Stdout, e)
			}
			return e.print(env.Stdout)
		})
	}
	o.add(cmd, "text", "json")
	return cmd
}

// replayExplained is the output of `bucket explain -o json`.
type replayExplained struct {
	Topic      string  `json:"topic"`
	Partitions int     `json:"partitions"`
	Offsets    int64   `json:"offsets"`
	Extents    int64   `json:"extents"`
	Objects    int64   `json:"objects"`
	GETs       int64   `json:"gets"`
	Bytes      int64   `json:"bytes"`
	Seconds    float64 `json:"seconds"` // about
	Dollars    float64 `json:"dollars"` // about
	Latency    float64 `json:"latency"` // seconds a GET, assumed
	Bandwidth  int64   `json:"bandwidth"`
	Parallel   int     `json:"parallel"`
	Prices     prices  `json:"prices"`
}

func explainReplay(ctx context.Context, b *offline.Bucket, o *explainOptions, name string, r readRange) (*replayExplained, error) {
	c, err := choose(b, name, o.partitions)
	if err != nil {
		return nil, err
	}
	var sum offline.Replay
	for _, k := range c.keys() {
		s, err := r.of(ctx, b, k)
		if err != nil {
			return nil, err
		}
		if err := b.Replay(ctx, &sum, k, s.next, s.end); err != nil {
			return nil, err
		}
	}
	return &replayExplained{
		Topic: c.topic.Name, Partitions: len(c.partitions), Offsets: sum.Offsets, Extents: sum.Extents,
		Objects: sum.Objects, GETs: sum.GETs, Bytes: sum.Bytes,
	}, nil
}

func (e *replayExplained) estimate(o *explainOptions, p prices) {
	e.Latency, e.Bandwidth, e.Parallel, e.Prices = o.latency.Seconds(), o.bandwidth, o.parallel, p
	turns := (e.GETs + int64(e.Parallel) - 1) / int64(e.Parallel)
	e.Seconds = max(float64(turns)*e.Latency, float64(e.Bytes)/float64(e.Bandwidth))
	e.Dollars = p.read(e.GETs, e.Bytes)
}

func (e *replayExplained) print(w io.Writer) error {
	perGiB := ""
	if e.Bytes > 0 {
		perGiB = fmt.Sprintf(", %s a GiB", humanize.Comma(int64(float64(e.GETs)*gib/float64(e.Bytes))))
	}
	_, err := fmt.Fprintf(w, `%s of topic %s, %s offsets
  %s in %s
  %s%s, %s
  about %s, at %d GETs at once of %s each, and %s a second
  about %s, at %s
`,
		plural(e.Partitions, "partition"), e.Topic, humanize.Comma(e.Offsets), plural(int(e.Extents), "extent"), plural(int(e.Objects), "object"),
		plural(int(e.GETs), "GET"), perGiB, humanize.IBytes(uint64(e.Bytes)),
		time.Duration(e.Seconds*float64(time.Second)).Round(10*time.Millisecond), e.Parallel, time.Duration(e.Latency*float64(time.Second)), humanize.Bytes(uint64(e.Bandwidth)),
		dollars(e.Dollars), &e.Prices)
	return err
}
