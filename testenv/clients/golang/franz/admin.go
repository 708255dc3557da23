package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/varvelog/varve/testenv/clients/golang/driver"
)

// metadataAge is how long the client answers from metadata that it has already:
// the shortest time it allows. Deleting a topic may take less.
const metadataAge = 10 * time.Millisecond

type operation = func(context.Context, *kadm.Client, driver.Op) (driver.Result, error)

var topicOps = map[string]operation{
	"create-topic": func(ctx context.Context, admin *kadm.Client, op driver.Op) (r driver.Result, err error) {
		_, err = admin.CreateTopic(ctx, op.Partitions, -1, map[string]*string{op.Name: &op.Value}, op.Topic)
		return r, err
	},
	"describe-topic": func(ctx context.Context, admin *kadm.Client, op driver.Op) (r driver.Result, err error) {
		topics, err := admin.ListTopics(ctx, op.Topic)
		if err == nil {
			err = topics.Error()
		}
		r.Partitions = len(topics[op.Topic].Partitions)
		return r, err
	},
	"list-topics": func(ctx context.Context, admin *kadm.Client, op driver.Op) (r driver.Result, err error) {
		time.Sleep(2 * metadataAge)
		topics, err := admin.ListTopics(ctx)
		r.Names = topics.Names()
		return r, err
	},
	"delete-topic": func(ctx context.Context, admin *kadm.Client, op driver.Op) (r driver.Result, err error) {
		_, err = admin.DeleteTopic(ctx, op.Topic)
		return r, err
	},
	"alter-config": func(ctx context.Context, admin *kadm.Client, op driver.Op) (r driver.Result, err error) {
		altered, err := admin.AlterTopicConfigs(ctx, []kadm.AlterConfig{{Op: kadm.SetConfig, Name: op.Name, Value: &op.Value}}, op.Topic)
		if err == nil {
			err = altered[0].Err
		}
		return r, err
	},
	"describe-config": func(ctx context.Context, admin *kadm.Client, op driver.Op) (r driver.Result, err error) {
		configs, err := admin.DescribeTopicConfigs(ctx, op.Topic)
		if err == nil {
			err = configs[0].Err
		}
		if err != nil {
			return r, err
		}
		for _, config := range configs[0].Configs {
			if config.Key == op.Name {
				r.Value = config.MaybeValue()
			}
		}
		return r, nil
	},
	"create-partitions": func(ctx context.Context, admin *kadm.Client, op driver.Op) (r driver.Result, err error) {
		created, err := admin.UpdatePartitions(ctx, int(op.Partitions), op.Topic)
		if err == nil {
			err = created.Error()
		}
		return r, err
	},
	"delete-records": func(ctx context.Context, admin *kadm.Client, op driver.Op) (r driver.Result, err error) {
		var before kadm.Offsets
		before.AddOffset(op.Topic, op.Partition, op.Offset, -1)
		deleted, err := admin.DeleteRecords(ctx, before)
		if err != nil {
			return r, err
		}
		partition := deleted[op.Topic][op.Partition]
		r.Offset = partition.LowWatermark
		return r, partition.Err
	},
	"list-offsets": listOffset,
}

func listOffset(ctx context.Context, admin *kadm.Client, op driver.Op) (r driver.Result, err error) {
	var offsets kadm.ListedOffsets
	switch op.At {
	case "earliest":
		offsets, err = admin.ListStartOffsets(ctx, op.Topic)
	case "latest":
		offsets, err = admin.ListEndOffsets(ctx, op.Topic)
	default:
		var at int64
		if at, err = strconv.ParseInt(op.At, 10, 64); err == nil {
			offsets, err = admin.ListOffsetsAfterMilli(ctx, at, op.Topic)
		}
	}
	if err != nil {
		return r, err
	}
	found, ok := offsets.Lookup(op.Topic, op.Partition)
	if !ok {
		return r, fmt.Errorf("no answer for %s/%d", op.Topic, op.Partition)
	}
	r.Offset = found.Offset
	return r, found.Err
}

var groupOps = map[string]operation{
	"list-groups": func(ctx context.Context, admin *kadm.Client, op driver.Op) (r driver.Result, err error) {
		groups, err := admin.ListGroups(ctx)
		r.Names = groups.Groups()
		return r, err
	},
	"describe-group": func(ctx context.Context, admin *kadm.Client, op driver.Op) (r driver.Result, err error) {
		groups, err := admin.DescribeGroups(ctx, op.Group)
		if err == nil {
			err = groups.Error()
		}
		if err != nil {
			return r, err
		}
		group := groups[op.Group]
		r.State, r.Members = group.State, map[string]int{}
		for _, member := range group.Members {
			if assigned, ok := member.Assigned.AsConsumer(); ok {
				for _, topic := range assigned.Topics {
					r.Members[member.ClientID] += len(topic.Partitions)
				}
			}
		}
		return r, nil
	},
	"group-offsets": func(ctx context.Context, admin *kadm.Client, op driver.Op) (r driver.Result, err error) {
		offsets, err := admin.FetchOffsets(ctx, op.Group)
		if err == nil {
			err = offsets.Error()
		}
		r.Offsets = map[string]int64{}
		offsets.Each(func(o kadm.OffsetResponse) { r.Offsets[strconv.Itoa(int(o.Partition))] = o.At })
		return r, err
	},
	"set-group-offset": func(ctx context.Context, admin *kadm.Client, op driver.Op) (r driver.Result, err error) {
		var offsets kadm.Offsets
		offsets.AddOffset(op.Topic, op.Partition, op.Offset, -1)
		committed, err := admin.CommitOffsets(ctx, op.Group, offsets)
		if err == nil {
			err = committed.Error()
		}
		return r, err
	},
	"delete-group": func(ctx context.Context, admin *kadm.Client, op driver.Op) (r driver.Result, err error) {
		_, err = admin.DeleteGroup(ctx, op.Group)
		return r, err
	},
}
