package cli

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// topicDescription is what `topic describe` tells of a topic.
type topicDescription struct {
	Name       string                 `json:"name"`
	ID         string                 `json:"id"`
	Partitions []partitionDescription `json:"partitions"`
	Configs    []configDescription    `json:"configs"` // only those that differ from the default
}

type partitionDescription struct {
	Partition int32 `json:"partition"`
	Leader    int32 `json:"leader"`
	Start     int64 `json:"start"` // offset of the first record
	End       int64 `json:"end"`   // offset the next record gets
}

type configDescription struct {
	Name   string `json:"name"`
	Value  string `json:"value"`
	Source string `json:"source"`
}

func newTopicDescribe(env *Env, bootstrap *string) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "describe NAME...",
		Short: "Show partitions, leaders, offsets, and configuration that differs from the default",
		Example: `  varve topic describe events
  varve topic describe events -o json`,
		Args: args(cobra.MinimumNArgs(1), "one or more topic names"),
		RunE: func(cmd *cobra.Command, names []string) error {
			client, err := connect(cmd.Context(), env, *bootstrap)
			if err != nil {
				return err
			}
			defer client.Close()
			described, err := describeTopics(cmd.Context(), client, names)
			if err != nil {
				return interrupted(cmd.Context(), err)
			}
			if output == "json" {
				return printJSON(env.Stdout, described)
			}
			return printDescriptions(env.Stdout, described)
		},
	}
	choice(cmd, &output, "output", "o", "table", "output format", "table", "json")
	return cmd
}

func describeTopics(ctx context.Context, client *kgo.Client, names []string) ([]topicDescription, error) {
	admin := kadm.NewClient(client)
	described := []topicDescription{}
	for _, name := range names {
		if _, err := lookUpTopic(ctx, client, name, false); err != nil {
			return nil, err
		}
		d, err := describeTopic(ctx, admin, name)
		if err != nil {
			return nil, fmt.Errorf("describe topic %q: %w", name, err)
		}
		described = append(described, d)
	}
	return described, nil
}

func describeTopic(ctx context.Context, admin *kadm.Client, name string) (topicDescription, error) {
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
	d := topicDescription{Name: name, ID: uuid(topics[name].ID), Configs: []configDescription{}}
	for _, p := range topics[name].Partitions.Sorted() {
		s, sok := start.Lookup(name, p.Partition)
		e, eok := end.Lookup(name, p.Partition)
		if !sok || !eok {
			return none, fmt.Errorf("no offsets of partition %d", p.Partition)
		}
		d.Partitions = append(d.Partitions, partitionDescription{p.Partition, p.Leader, s.Offset, e.Offset})
	}
	configs, err := admin.DescribeTopicConfigs(ctx, name)
	if err != nil {
		return none, err
	}
	for _, r := range configs {
		if r.Err != nil {
			return none, withMessage(r.Err, r.ErrMessage)
		}
		d.Configs = append(d.Configs, changedConfigs(r.Configs)...)
	}
	return d, nil
}

// listed makes an error of one partition an error of the whole list: half of the
// offsets are not the answer.
func listed(offsets kadm.ListedOffsets, err error) (kadm.ListedOffsets, error) {
	if err == nil {
		err = offsets.Error()
	}
	return offsets, err
}

func changedConfigs(configs []kadm.Config) []configDescription {
	var changed []configDescription
	for _, c := range configs {
		if c.Source == kmsg.ConfigSourceDefaultConfig {
			continue
		}
		value := c.MaybeValue()
		if c.Sensitive {
			value = "(secret)"
		}
		changed = append(changed, configDescription{c.Key, value, c.Source.String()})
	}
	return changed
}

// uuid writes a topic id as Kafka's tools do.
func uuid(id kadm.TopicID) string { return base64.RawURLEncoding.EncodeToString(id[:]) }

func printDescriptions(w io.Writer, topics []topicDescription) error {
	return printTable(w, func(tw io.Writer) {
		for i, t := range topics {
			if i > 0 {
				fmt.Fprintln(tw)
			}
			fmt.Fprintf(tw, "topic %s, id %s, partitions %d\n", t.Name, t.ID, len(t.Partitions))
			fmt.Fprintln(tw, "PARTITION\tLEADER\tSTART\tEND")
			for _, p := range t.Partitions {
				fmt.Fprintf(tw, "%d\t%d\t%d\t%d\n", p.Partition, p.Leader, p.Start, p.End)
			}
			if len(t.Configs) > 0 {
				fmt.Fprintln(tw, "CONFIG\tVALUE\tSOURCE")
			}
			for _, c := range t.Configs {
				fmt.Fprintf(tw, "%s\t%s\t%s\n", c.Name, c.Value, c.Source)
			}
		}
	})
}
