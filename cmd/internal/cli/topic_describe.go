package cli

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/cmd/internal/status"
)

// topicDescription is the output of `topic describe -o json` for a topic.
type topicDescription struct {
	Name       string                 `json:"name"`
	ID         string                 `json:"id"`
	Bytes      *int64                 `json:"bytes"` // of all partitions; null if not known
	Partitions []partitionDescription `json:"partitions"`
	Configs    []configDescription    `json:"configs"` // those that differ from the default, or all
}

type partitionDescription struct {
	Partition int32  `json:"partition"`
	Leader    int32  `json:"leader"`
	Start     int64  `json:"start"` // offset of the first record
	End       int64  `json:"end"`   // offset the next record gets
	Bytes     *int64 `json:"bytes"` // as the broker counts them; null if not known

	Stored *status.StoredPartition `json:"stored"` // null if no node reported it
}

type configDescription struct {
	Name   string `json:"name"`
	Value  string `json:"value"`
	Source string `json:"source"`
}

func newTopicDescribe(env *Env, bootstrap *string) *cobra.Command {
	var output string
	var addresses []string
	var allConfigs bool
	cmd := &cobra.Command{
		Use:   "describe NAME...",
		Short: "Show partitions, leaders, offsets, sizes and configuration",
		Long: `Show the partitions of topics, with their leaders, offsets and sizes, and the
configuration that differs from the default.

START is the offset of the first record, END the one that the next record gets. SIZE
is as the broker reports it; a question mark stands for a size that it does not report.

How the records are stored is known from varve's nodes over HTTP, at the addresses that
--http names: the bytes that are not merged yet, those in merged objects that partitions
share and in those of the partition alone, the number of merged objects, and about the
times of the first and the newest record.`,
		Example: `  varve topic describe events
  varve topic describe events --all-configs
  varve topic describe events -o json`,
		Args: args(cobra.MinimumNArgs(1), "one or more topic names"),
		RunE: func(cmd *cobra.Command, names []string) error {
			client, err := connect(cmd.Context(), env, *bootstrap)
			if err != nil {
				return err
			}
			defer client.Close()
			described, err := describeTopics(cmd.Context(), env, client, unique(names), allConfigs)
			if err != nil {
				return interrupted(cmd.Context(), err)
			}
			if err := addStored(cmd.Context(), env, addresses, described); err != nil {
				return interrupted(cmd.Context(), err)
			}
			if output == "json" {
				return printJSON(env.Stdout, described)
			}
			return printDescriptions(env.Stdout, described)
		},
	}
	cmd.ValidArgsFunction = completeTopics(env, bootstrap)
	cmd.Flags().BoolVar(&allConfigs, "all-configs", false, "also show configuration that has its default value")
	httpFlag(cmd.Flags(), &addresses)
	outputFlag(cmd, &output, "table", "json")
	return cmd
}

func describeTopics(ctx context.Context, env *Env, client *kgo.Client, names []string, allConfigs bool) ([]topicDescription, error) {
	admin := kadm.NewClient(client)
	described := []topicDescription{}
	for _, name := range names {
		if _, err := lookUpTopic(ctx, env, client, name); err != nil {
			return nil, err
		}
		var d topicDescription
		err := again(ctx, env, func() (err error) {
			d, err = describeTopic(ctx, admin, name, allConfigs)
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("describe topic %q: %w", name, err)
		}
		described = append(described, d)
	}
	return described, nil
}

func describeTopic(ctx context.Context, admin *kadm.Client, name string, allConfigs bool) (topicDescription, error) {
	var none topicDescription
	topics, err := admin.ListTopicsWithInternal(ctx, name)
	if err != nil {
		return none, err
	}
	if err := topics.Error(); err != nil {
		return none, err
	}
	start, err := listed(admin.ListStartOffsets(ctx, name))
	if err != nil {
		return none, err
	}
	end, err := listed(admin.ListEndOffsets(ctx, name))
	if err != nil {
		return none, err
	}
	sizes := partitionSizes(ctx, admin, topics[name])
	d := topicDescription{Name: name, ID: uuid(topics[name].ID), Configs: []configDescription{}}
	for _, p := range topics[name].Partitions.Sorted() {
		s, sok := start.Lookup(name, p.Partition)
		e, eok := end.Lookup(name, p.Partition)
		if !sok || !eok {
			return none, fmt.Errorf("no offsets of partition %d", p.Partition)
		}
		d.Partitions = append(d.Partitions, partitionDescription{Partition: p.Partition, Leader: p.Leader, Start: s.Offset, End: e.Offset, Bytes: sizes[p.Partition]})
	}
	d.Bytes = d.size()
	configs, err := topicConfigs(ctx, admin, name)
	if err != nil {
		return none, err
	}
	for _, c := range configs {
		if allConfigs || c.Source != kmsg.ConfigSourceDefaultConfig {
			d.Configs = append(d.Configs, configDescription{c.Key, configValue(c), c.Source.String()})
		}
	}
	return d, nil
}

// size adds the partitions up; nil if one size is not known.
func (d *topicDescription) size() *int64 {
	var sum int64
	for _, p := range d.Partitions {
		if p.Bytes == nil {
			return nil
		}
		sum += *p.Bytes
	}
	return &sum
}

// partitionSizes asks for the sizes of a topic's partitions. It leaves out
// those that the broker does not report, now or at all: the rest of a
// description does not depend on sizes.
func partitionSizes(ctx context.Context, admin *kadm.Client, t kadm.TopicDetail) map[int32]*int64 {
	sizes := map[int32]*int64{}
	asked := kadm.TopicsSet{}
	asked.Add(t.Topic, t.Partitions.Numbers()...)
	all, _ := admin.DescribeAllLogDirs(ctx, asked)
	all.Each(func(dir kadm.DescribedLogDir) {
		if dir.Err != nil {
			return
		}
		for _, p := range dir.Topics[t.Topic] {
			// Every node that serves a partition counts the same objects.
			if known := sizes[p.Partition]; known == nil || *known < p.Size {
				sizes[p.Partition] = &p.Size
			}
		}
	})
	return sizes
}

// topicConfigs are all configurations of a topic.
func topicConfigs(ctx context.Context, admin *kadm.Client, name string) ([]kadm.Config, error) {
	described, err := admin.DescribeTopicConfigs(ctx, name)
	if err != nil {
		return nil, err
	}
	for _, r := range described {
		if r.Err != nil {
			return nil, withMessage(r.Err, r.ErrMessage)
		}
		if r.Name == name {
			return r.Configs, nil
		}
	}
	return nil, errors.New("the broker did not return its configuration")
}

// configValue returns a configuration's value for display.
func configValue(c kadm.Config) string {
	if c.Sensitive {
		return "(secret)"
	}
	return c.MaybeValue()
}

// listed turns an error of one partition into an error of the whole list: half
// of the offsets are no answer.
func listed(offsets kadm.ListedOffsets, err error) (kadm.ListedOffsets, error) {
	if err == nil {
		err = offsets.Error()
	}
	return offsets, err
}

// uuid writes a topic id as Kafka's tools do.
func uuid(id kadm.TopicID) string { return base64.RawURLEncoding.EncodeToString(id[:]) }

func printDescriptions(w io.Writer, topics []topicDescription) error {
	for i, t := range topics {
		if i > 0 {
			fmt.Fprintln(w)
		}
		if _, err := fmt.Fprintf(w, "topic %s, id %s, partitions %d, size %s\n\n", t.Name, t.ID, len(t.Partitions), sizeText(t.Bytes)); err != nil {
			return err
		}
		if err := printTable(w, t.partitionTable); err != nil {
			return err
		}
		if len(t.Configs) == 0 {
			continue
		}
		fmt.Fprintln(w)
		err := printTable(w, func(tw io.Writer) {
			fmt.Fprintln(tw, "CONFIG\tVALUE\tSOURCE")
			for _, c := range t.Configs {
				fmt.Fprintf(tw, "%s\t%s\t%s\n", c.Name, cell(c.Value), c.Source)
			}
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// sizeText is a number of bytes for people.
func sizeText(n *int64) string {
	if n == nil || *n < 0 {
		return "?"
	}
	return humanize.IBytes(uint64(*n))
}
