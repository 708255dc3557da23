package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync/atomic"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/varvelog/varve/fetch/offline"
	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

const lsLong = `List the contents of a bucket: its topics, the partitions of a topic, or the extents
of a partition. No node needs to run, and read access is enough.

An extent is a piece of a partition: its offsets, and the place of their batches in an
object. Many partitions share an object, so the objects of topics add up to more than
there are. Sizes are those of the batches as they are stored.

START is the offset of the first record, END the one that the next record gets. NEWEST
is the greatest timestamp of the records, OLDEST that of the first one. Of an extent,
NEWEST is the greatest timestamp in it.`

func newBucketLs(env *Env) *cobra.Command {
	var f bucketFlags
	cmd := &cobra.Command{
		Use:     "ls [TOPIC[/PARTITION]]",
		Aliases: []string{"list"},
		Short:   "List topics, partitions and extents",
		Long:    lsLong,
		Example: `  varve bucket ls --bucket file:///var/lib/varve/bucket
  varve bucket ls events --bucket 's3://events/prod?region=eu-central-1'
  varve bucket ls events/3 -o json`,
		Args: args(cobra.MaximumNArgs(1), "one topic, or topic/partition"),
		RunE: func(cmd *cobra.Command, names []string) error {
			return f.look(cmd.Context(), env, func(b *offline.Bucket) error {
				l := listing{bucket: b, env: env, flags: &f}
				if len(names) == 0 {
					return l.topics(cmd.Context())
				}
				c, err := choose(b, names[0], nil)
				if err != nil {
					return err
				}
				if strings.Contains(names[0], "/") {
					return l.extents(cmd.Context(), c)
				}
				return l.partitions(cmd.Context(), c)
			})
		},
	}
	f.add(cmd, "table", "json")
	return cmd
}

// listing prints lists of topics, partitions and extents.
type listing struct {
	bucket *offline.Bucket
	env    *Env
	flags  *bucketFlags
}

// summaries gives the accounts of partitions, and shows progress.
func summaries(ctx context.Context, env *Env, b *offline.Bucket, name string, asked bool, keys []partlog.Key, times bool) ([]offline.Summary, error) {
	var done atomic.Int64
	stop := showProgress(env, name, asked, func() progress {
		return progress{unit: "partitions", done: done.Load(), total: int64(len(keys))}
	})
	defer stop()
	return b.Summaries(ctx, keys, times, func() { done.Add(1) })
}

// topicListing is an element of the output of `bucket ls -o json`.
type topicListing struct {
	Name       string  `json:"name"`
	ID         string  `json:"id"`
	Deleting   bool    `json:"deleting"`
	Partitions int     `json:"partitions"`
	Offsets    int64   `json:"offsets"` // of all partitions, from start to end
	Extents    int64   `json:"extents"`
	Objects    int64   `json:"objects"` // in which these lie
	Bytes      int64   `json:"bytes"`
	Newest     *string `json:"newest"`

	newestMs int64
}

// listedTopics are all topics, those that are being deleted last.
func listedTopics(b *offline.Bucket) []*metadata.Topic {
	return append(append([]*metadata.Topic(nil), b.Topics.Topics()...), b.Topics.Deleting()...)
}

// allKeys are the partitions of topics, in their order.
func allKeys(topics []*metadata.Topic) (keys []partlog.Key) {
	for _, t := range topics {
		for p := range t.Partitions {
			keys = append(keys, partlog.Key{Topic: t.ID, Index: int32(p)})
		}
	}
	return keys
}

func (l *listing) topics(ctx context.Context) error {
	topics := listedTopics(l.bucket)
	all, err := summaries(ctx, l.env, l.bucket, "bucket ls", l.flags.progress, allKeys(topics), false)
	if err != nil {
		return err
	}
	rows := []topicListing{}
	for _, t := range topics {
		row := topicListing{Name: t.Name, ID: t.ID.Base64(), Deleting: t.Deleting, Partitions: len(t.Partitions), newestMs: -1}
		objects := map[segment.Name]struct{}{}
		for _, s := range all[:len(t.Partitions)] {
			row.Offsets += s.End - s.Start
			row.Extents += s.Extents
			row.Bytes += s.Bytes.Sum()
			row.newestMs = max(row.newestMs, s.NewestMs)
			for name := range s.Objects {
				objects[name] = struct{}{}
			}
		}
		all = all[len(t.Partitions):]
		row.Objects, row.Newest = int64(len(objects)), stampJSON(row.newestMs)
		rows = append(rows, row)
	}
	if l.flags.output == "json" {
		return printJSON(l.env.Stdout, rows)
	}
	return printTable(l.env.Stdout, func(w io.Writer) {
		fmt.Fprintln(w, "TOPIC\tPARTITIONS\tOFFSETS\tEXTENTS\tOBJECTS\tSIZE\tNEWEST")
		for _, r := range rows {
			if r.Deleting {
				r.Name += " (being deleted)"
			}
			fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\t%s\t%s\n", r.Name, r.Partitions, humanize.Comma(r.Offsets), humanize.Comma(r.Extents),
				humanize.Comma(r.Objects), humanize.IBytes(uint64(r.Bytes)), stamp(r.newestMs))
		}
	})
}

// partitionListing is an element of the output of `bucket ls TOPIC -o json`.
type partitionListing struct {
	Partition int32   `json:"partition"`
	Journal   uint32  `json:"journal"`
	Start     int64   `json:"start"`
	End       int64   `json:"end"`
	Extents   int64   `json:"extents"`
	Objects   int64   `json:"objects"`
	Bytes     int64   `json:"bytes"`
	Oldest    *string `json:"oldest"`
	Newest    *string `json:"newest"`
}

func (l *listing) partitions(ctx context.Context, c *chosen) error {
	all, err := summaries(ctx, l.env, l.bucket, "bucket ls", l.flags.progress, c.keys(), true)
	if err != nil {
		return err
	}
	if l.flags.output == "json" {
		rows := []partitionListing{}
		for _, s := range all {
			rows = append(rows, partitionListing{
				Partition: s.Key.Index, Journal: s.Journal, Start: s.Start, End: s.End, Extents: s.Extents,
				Objects: int64(len(s.Objects)), Bytes: s.Bytes.Sum(), Oldest: stampJSON(s.OldestMs), Newest: stampJSON(s.NewestMs),
			})
		}
		return printJSON(l.env.Stdout, rows)
	}
	return printTable(l.env.Stdout, func(w io.Writer) {
		fmt.Fprintln(w, "PARTITION\tJOURNAL\tSTART\tEND\tEXTENTS\tOBJECTS\tSIZE\tOLDEST\tNEWEST")
		for _, s := range all {
			fmt.Fprintf(w, "%d\t%d\t%d\t%d\t%d\t%d\t%s\t%s\t%s\n", s.Key.Index, s.Journal, s.Start, s.End, s.Extents, len(s.Objects),
				humanize.IBytes(uint64(s.Bytes.Sum())), stamp(s.OldestMs), stamp(s.NewestMs))
		}
	})
}

// extentListing is an element of the output of `bucket ls TOPIC/PARTITION -o json`.
type extentListing struct {
	First    int64   `json:"first"` // offset
	Last     int64   `json:"last"`
	Object   string  `json:"object"`   // key, relative to the bucket's prefix
	Position int64   `json:"position"` // of the batches in the object, bytes
	Length   int64   `json:"length"`   // of the batches, bytes
	Newest   *string `json:"newest"`

	newestMs int64
}

func (l *listing) extents(ctx context.Context, c *chosen) error {
	rows := []extentListing{}
	for e, err := range l.bucket.Reader.Extents(ctx, c.keys()[0], 0) {
		if err != nil {
			return err
		}
		rows = append(rows, extentListing{
			First: e.Base, Last: e.Last, Object: e.Object.Key(), Position: int64(e.Position), Length: int64(e.Length),
			Newest: stampJSON(e.MaxTimestamp), newestMs: e.MaxTimestamp,
		})
	}
	if l.flags.output == "json" {
		return printJSON(l.env.Stdout, rows)
	}
	return printTable(l.env.Stdout, func(w io.Writer) {
		fmt.Fprintln(w, "FIRST\tLAST\tOBJECT\tPOSITION\tSIZE\tNEWEST")
		for _, r := range rows {
			fmt.Fprintf(w, "%d\t%d\t%s\t%d\t%s\t%s\n", r.First, r.Last, r.Object, r.Position, humanize.IBytes(uint64(r.Length)), stamp(r.newestMs))
		}
	})
}
