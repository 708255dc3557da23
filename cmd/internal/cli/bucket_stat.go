package cli

import (
	"context"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/varvelog/varve/fetch/offline"
	"github.com/varvelog/varve/tiering/segment"
)

const statLong = `Show the size of each topic in a bucket, the objects by kind, and the price of the
storage a month. No node needs to run, and read access is enough.

JOURNAL are bytes in objects of journals, as they were flushed: those are not merged
yet. SHARED are bytes in merged segments of many partitions, OWN those in merged
segments of one. Sizes of topics are those of the batches that consumers can read.

The objects are counted by listing the bucket: their sizes have everything in it, also
records that nothing reads any more. Versions that a store keeps behind the newest ones
are not in it. Objects wait for their deletion for some time after they are released.`

func newBucketStat(env *Env) *cobra.Command {
	var f bucketFlags
	cmd := &cobra.Command{
		Use:   "stat",
		Short: "Show sizes by topic and kind of object, and their price",
		Long:  statLong,
		Example: `  varve bucket stat --bucket file:///var/lib/varve/bucket
  varve bucket stat --bucket 's3://events/prod?region=eu-central-1' --prices storage=0.0245 -o json`,
		Args: args(cobra.NoArgs, "no arguments"),
	}
	asked := pricesFlag(cmd, env)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		p, err := asked()
		if err != nil {
			return err
		}
		return f.look(cmd.Context(), env, func(b *offline.Bucket) error {
			s, err := statOf(cmd.Context(), env, b, &f)
			if err != nil {
				return err
			}
			s.price(p)
			if f.output == "json" {
				return printJSON(env.Stdout, s)
			}
			return s.print(env.Stdout)
		})
	}
	f.add(cmd, "table", "json")
	return cmd
}

// bucketStat is the output of `bucket stat -o json`.
type bucketStat struct {
	Cluster  string      `json:"cluster"`
	Topics   []topicStat `json:"topics"`
	Stored   []kindStat  `json:"stored"` // all objects of the bucket
	Objects  int64       `json:"objects"`
	Bytes    int64       `json:"bytes"`
	Garbage  int64       `json:"garbage"`  // objects that wait for their deletion
	Replaced int64       `json:"replaced"` // merged segments that will be released next
	Retains  bool        `json:"retains"`  // the bucket keeps deleted objects as versions, which are not counted here
	Dollars  float64     `json:"dollars_month"`
	Prices   prices      `json:"prices"`
}

// topicStat is the account of a topic.
type topicStat struct {
	Name       string  `json:"name"`
	ID         string  `json:"id"`
	Deleting   bool    `json:"deleting"`
	Partitions int     `json:"partitions"`
	Bytes      int64   `json:"bytes"`
	Journal    int64   `json:"journal"` // bytes in objects of journals: not merged yet
	Shared     int64   `json:"shared"`  // bytes in merged segments of many partitions
	Own        int64   `json:"own"`     // bytes in merged segments of one partition
	Objects    int64   `json:"objects"` // that have records of it
	Dollars    float64 `json:"dollars_month"`
}

// kindStat is the account of one kind of objects.
type kindStat struct {
	Kind    offline.Kind `json:"kind"`
	Objects int64        `json:"objects"`
	Bytes   int64        `json:"bytes"`
	Dollars float64      `json:"dollars_month"`
}

func statOf(ctx context.Context, env *Env, b *offline.Bucket, f *bucketFlags) (*bucketStat, error) {
	s := &bucketStat{Cluster: b.Cluster.ID.Base64(), Topics: []topicStat{}}
	s.Garbage, s.Replaced = b.Garbage()
	if policy, err := b.Policy(ctx); err == nil {
		s.Retains = policy.Retains()
	}
	topics := listedTopics(b)
	all, err := summaries(ctx, env, b, "bucket stat", f.progress, allKeys(topics), false)
	if err != nil {
		return nil, err
	}
	for _, t := range topics {
		row := topicStat{Name: t.Name, ID: t.ID.Base64(), Deleting: t.Deleting, Partitions: len(t.Partitions)}
		var bytes offline.ByPlace
		objects := map[segment.Name]struct{}{}
		for _, p := range all[:len(t.Partitions)] {
			bytes = bytes.Plus(p.Bytes)
			for name := range p.Objects {
				objects[name] = struct{}{}
			}
		}
		all = all[len(t.Partitions):]
		row.Journal, row.Shared, row.Own, row.Bytes = bytes.Journal, bytes.Shared, bytes.Own, bytes.Sum()
		row.Objects = int64(len(objects))
		s.Topics = append(s.Topics, row)
	}
	var listed atomic.Int64
	stop := showProgress(env, "bucket stat", f.progress, func() progress {
		return progress{doing: "listing the bucket", unit: "objects", done: listed.Load()}
	})
	defer stop()
	stored, err := b.Stored(ctx, listed.Store)
	if err != nil {
		return nil, err
	}
	for _, k := range offline.Kinds {
		s.Stored = append(s.Stored, kindStat{Kind: k, Objects: stored[k].Objects, Bytes: stored[k].Bytes})
		s.Objects += stored[k].Objects
		s.Bytes += stored[k].Bytes
	}
	return s, nil
}

// price fills in the dollars.
func (s *bucketStat) price(p prices) {
	s.Prices, s.Dollars = p, p.month(s.Bytes)
	for i := range s.Topics {
		s.Topics[i].Dollars = p.month(s.Topics[i].Bytes)
	}
	for i := range s.Stored {
		s.Stored[i].Dollars = p.month(s.Stored[i].Bytes)
	}
}

func (s *bucketStat) print(w io.Writer) error {
	size := func(n int64) string { return humanize.IBytes(uint64(n)) }
	err := printTable(w, func(w io.Writer) {
		fmt.Fprintln(w, "TOPIC\tPARTITIONS\tSIZE\tJOURNAL\tSHARED\tOWN\tOBJECTS\tA MONTH")
		for _, t := range s.Topics {
			if t.Deleting {
				t.Name += " (being deleted)"
			}
			fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\t%s\t%s\t%s\n", t.Name, t.Partitions, size(t.Bytes), size(t.Journal), size(t.Shared), size(t.Own),
				humanize.Comma(t.Objects), dollars(t.Dollars))
		}
	})
	if err != nil {
		return err
	}
	fmt.Fprintln(w)
	err = printTable(w, func(w io.Writer) {
		fmt.Fprintln(w, "KIND\tOBJECTS\tSIZE\tA MONTH")
		for _, k := range s.Stored {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", k.Kind, humanize.Comma(k.Objects), size(k.Bytes), dollars(k.Dollars))
		}
		fmt.Fprintf(w, "all\t%s\t%s\t%s\n", humanize.Comma(s.Objects), size(s.Bytes), dollars(s.Dollars))
	})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "\n%s that wait for deletion, %s to be released\nat %s\n",
		plural(int(s.Garbage), "object"), plural(int(s.Replaced), "merged segment"), &s.Prices)
	if err == nil && s.Retains {
		_, err = fmt.Fprintln(w, "the bucket keeps versions: deleted objects stay in it and cost money, and are not counted here")
	}
	return err
}
