package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/IBM/sarama"

	"github.com/varvelog/varve/testenv/clients/golang/driver"
)

func administer(_ context.Context, spec driver.Spec) (func(driver.Op) (driver.Result, error), error) {
	client, err := sarama.NewClient([]string{spec.Bootstrap}, newConfig(spec))
	if err != nil {
		return nil, err
	}
	admin, err := sarama.NewClusterAdminFromClient(client)
	if err != nil {
		return nil, err
	}
	return func(op driver.Op) (driver.Result, error) {
		if do, ok := topicOps[op.Op]; ok {
			return do(admin, op)
		}
		if do, ok := groupOps[op.Op]; ok {
			return do(admin, op)
		}
		return driver.Result{}, fmt.Errorf("no operation %q", op.Op)
	}, nil
}

type operation = func(sarama.ClusterAdmin, driver.Op) (driver.Result, error)

var topicOps = map[string]operation{
	"create-topic": func(admin sarama.ClusterAdmin, op driver.Op) (r driver.Result, err error) {
		return r, admin.CreateTopic(op.Topic, &sarama.TopicDetail{NumPartitions: op.Partitions, ReplicationFactor: -1,
			ConfigEntries: map[string]*string{op.Name: &op.Value}}, false)
	},
	"describe-topic": func(admin sarama.ClusterAdmin, op driver.Op) (r driver.Result, err error) {
		found, err := admin.DescribeTopics([]string{op.Topic})
		if err != nil {
			return r, err
		}
		r.Partitions = len(found[0].Partitions)
		if found[0].Err != sarama.ErrNoError {
			return r, found[0].Err
		}
		return r, nil
	},
	"list-topics": func(admin sarama.ClusterAdmin, op driver.Op) (r driver.Result, err error) {
		found, err := admin.ListTopics()
		r.Names = slices.Collect(maps.Keys(found))
		return r, err
	},
	"delete-topic": func(admin sarama.ClusterAdmin, op driver.Op) (r driver.Result, err error) {
		return r, admin.DeleteTopic(op.Topic)
	},
	"alter-config": func(admin sarama.ClusterAdmin, op driver.Op) (r driver.Result, err error) {
		return r, admin.IncrementalAlterConfig(sarama.TopicResource, op.Topic, map[string]sarama.IncrementalAlterConfigsEntry{
			op.Name: {Operation: sarama.IncrementalAlterConfigsOperationSet, Value: &op.Value}}, false)
	},
	"describe-config": func(admin sarama.ClusterAdmin, op driver.Op) (r driver.Result, err error) {
		found, err := admin.DescribeConfig(sarama.ConfigResource{Type: sarama.TopicResource, Name: op.Topic, ConfigNames: []string{op.Name}})
		for _, entry := range found {
			r.Value = entry.Value
		}
		return r, err
	},
	"create-partitions": func(admin sarama.ClusterAdmin, op driver.Op) (r driver.Result, err error) {
		return r, admin.CreatePartitions(op.Topic, op.Partitions, nil, false)
	},
	"delete-records": func(admin sarama.ClusterAdmin, op driver.Op) (r driver.Result, err error) {
		r.Offset = op.Offset // the library does not return the answer
		return r, admin.DeleteRecords(op.Topic, map[int32]int64{op.Partition: op.Offset})
	},
	"list-offsets": func(admin sarama.ClusterAdmin, op driver.Op) (r driver.Result, err error) {
		at, ok := map[string]int64{"earliest": sarama.OffsetOldest, "latest": sarama.OffsetNewest}[op.At]
		if !ok {
			if at, err = strconv.ParseInt(op.At, 10, 64); err != nil {
				return r, err
			}
		}
		found, err := admin.ListOffsets(map[string]map[int32]int64{op.Topic: {op.Partition: at}}, nil)
		if err != nil {
			return r, err
		}
		partition := found[op.Topic][op.Partition]
		r.Offset = partition.Offset
		if partition.Err != sarama.ErrNoError {
			return r, partition.Err
		}
		return r, nil
	},
}

var groupOps = map[string]operation{
	"list-groups": func(admin sarama.ClusterAdmin, op driver.Op) (r driver.Result, err error) {
		found, err := admin.ListConsumerGroups()
		r.Names = slices.Collect(maps.Keys(found))
		return r, err
	},
	"describe-group": describeGroup,
	"group-offsets": func(admin sarama.ClusterAdmin, op driver.Op) (r driver.Result, err error) {
		found, err := admin.ListConsumerGroupOffsets(op.Group, nil)
		if err != nil {
			return r, err
		}
		r.Offsets = map[string]int64{}
		for _, partitions := range found.Blocks {
			for partition, block := range partitions {
				r.Offsets[strconv.Itoa(int(partition))] = block.Offset
			}
		}
		if found.Err != sarama.ErrNoError {
			return r, found.Err
		}
		return r, nil
	},
	"set-group-offset": func(admin sarama.ClusterAdmin, op driver.Op) (r driver.Result, err error) {
		found, err := admin.AlterConsumerGroupOffsets(op.Group, map[string]map[int32]sarama.OffsetAndMetadata{
			op.Topic: {op.Partition: {Offset: op.Offset, LeaderEpoch: -1}}}, nil)
		if err != nil {
			return r, err
		}
		if code := found.Errors[op.Topic][op.Partition]; code != sarama.ErrNoError {
			return r, code
		}
		return r, nil
	},
	"delete-group": func(admin sarama.ClusterAdmin, op driver.Op) (r driver.Result, err error) {
		return r, admin.DeleteConsumerGroup(op.Group)
	},
}

func describeGroup(admin sarama.ClusterAdmin, op driver.Op) (r driver.Result, err error) {
	found, err := admin.DescribeConsumerGroups([]string{op.Group})
	if err != nil {
		return r, err
	}
	if found[0].Err != sarama.ErrNoError {
		return r, found[0].Err
	}
	r.State, r.Members = found[0].State, map[string]int{}
	for _, m := range found[0].Members {
		assigned, err := m.GetMemberAssignment()
		if err != nil {
			return r, err
		}
		if assigned != nil {
			r.Members[m.ClientId] += len(assigned.Topics[op.Group]) // the tests name a group as its topic
		}
	}
	return r, nil
}
