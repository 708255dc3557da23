package main

import (
	"context"
	"strconv"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/varvelog/varve/testenv/clients/golang/driver"
)

func administer(ctx context.Context, spec driver.Spec) (func(driver.Op) (driver.Result, error), error) {
	return func(op driver.Op) (driver.Result, error) {
		// A transport answers from the metadata it has, which may be from before the last operation.
		transport := &kafka.Transport{ClientID: spec.Client}
		defer transport.CloseIdleConnections()
		admin := &kafka.Client{Addr: kafka.TCP(spec.Bootstrap), Transport: transport}
		if do, ok := operations[op.Op]; ok {
			return do(ctx, admin, op)
		}
		return driver.Result{Unsupported: true}, nil
	}, nil
}

type operation = func(context.Context, *kafka.Client, driver.Op) (driver.Result, error)

var operations = map[string]operation{
	"create-topic": func(ctx context.Context, admin *kafka.Client, op driver.Op) (r driver.Result, err error) {
		made, err := admin.CreateTopics(ctx, &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{{Topic: op.Topic,
			NumPartitions: int(op.Partitions), ReplicationFactor: -1,
			ConfigEntries: []kafka.ConfigEntry{{ConfigName: op.Name, ConfigValue: op.Value}}}}})
		if err == nil {
			err = made.Errors[op.Topic]
		}
		return r, err
	},
	"describe-topic": func(ctx context.Context, admin *kafka.Client, op driver.Op) (r driver.Result, err error) {
		found, err := admin.Metadata(ctx, &kafka.MetadataRequest{Topics: []string{op.Topic}})
		if err != nil {
			return r, err
		}
		r.Partitions = len(found.Topics[0].Partitions)
		return r, found.Topics[0].Error
	},
	"list-topics": func(ctx context.Context, admin *kafka.Client, op driver.Op) (r driver.Result, err error) {
		found, err := admin.Metadata(ctx, &kafka.MetadataRequest{})
		if err != nil {
			return r, err
		}
		for _, topic := range found.Topics {
			r.Names = append(r.Names, topic.Name)
		}
		return r, nil
	},
	"delete-topic": func(ctx context.Context, admin *kafka.Client, op driver.Op) (r driver.Result, err error) {
		deleted, err := admin.DeleteTopics(ctx, &kafka.DeleteTopicsRequest{Topics: []string{op.Topic}})
		if err == nil {
			err = deleted.Errors[op.Topic]
		}
		return r, err
	},
	"alter-config": func(ctx context.Context, admin *kafka.Client, op driver.Op) (r driver.Result, err error) {
		altered, err := admin.IncrementalAlterConfigs(ctx, &kafka.IncrementalAlterConfigsRequest{
			Resources: []kafka.IncrementalAlterConfigsRequestResource{{ResourceType: kafka.ResourceTypeTopic, ResourceName: op.Topic,
				Configs: []kafka.IncrementalAlterConfigsRequestConfig{{Name: op.Name, Value: op.Value, ConfigOperation: kafka.ConfigOperationSet}}}}})
		if err == nil {
			err = altered.Resources[0].Error
		}
		return r, err
	},
	"describe-config": func(ctx context.Context, admin *kafka.Client, op driver.Op) (r driver.Result, err error) {
		found, err := admin.DescribeConfigs(ctx, &kafka.DescribeConfigsRequest{Resources: []kafka.DescribeConfigRequestResource{
			{ResourceType: kafka.ResourceTypeTopic, ResourceName: op.Topic, ConfigNames: []string{op.Name}}}})
		if err != nil {
			return r, err
		}
		for _, entry := range found.Resources[0].ConfigEntries {
			r.Value = entry.ConfigValue
		}
		return r, found.Resources[0].Error
	},
	"create-partitions": func(ctx context.Context, admin *kafka.Client, op driver.Op) (r driver.Result, err error) {
		created, err := admin.CreatePartitions(ctx, &kafka.CreatePartitionsRequest{
			Topics: []kafka.TopicPartitionsConfig{{Name: op.Topic, Count: op.Partitions}}})
		if err == nil {
			err = created.Errors[op.Topic]
		}
		return r, err
	},
	"list-offsets":     listOffset,
	"fetch":            fetchOne,
	"list-groups":      listGroups,
	"describe-group":   describeGroup,
	"group-offsets":    groupOffsets,
	"set-group-offset": setGroupOffset,
	"delete-group": func(ctx context.Context, admin *kafka.Client, op driver.Op) (r driver.Result, err error) {
		deleted, err := admin.DeleteGroups(ctx, &kafka.DeleteGroupsRequest{GroupIDs: []string{op.Group}})
		if err == nil {
			err = deleted.Errors[op.Group]
		}
		return r, err
	},
}

func listOffset(ctx context.Context, admin *kafka.Client, op driver.Op) (r driver.Result, err error) {
	at := kafka.FirstOffsetOf(int(op.Partition))
	switch op.At {
	case "earliest":
	case "latest":
		at = kafka.LastOffsetOf(int(op.Partition))
	default:
		milli, err := strconv.ParseInt(op.At, 10, 64)
		if err != nil {
			return r, err
		}
		at = kafka.TimeOffsetOf(int(op.Partition), time.UnixMilli(milli))
	}
	found, err := admin.ListOffsets(ctx, &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{op.Topic: {at}}})
	if err != nil {
		return r, err
	}
	partition := found.Topics[op.Topic][0]
	switch op.At {
	case "earliest":
		r.Offset = partition.FirstOffset
	case "latest":
		r.Offset = partition.LastOffset
	default:
		for offset := range partition.Offsets {
			r.Offset = offset
		}
	}
	return r, partition.Error
}

// fetchOne reads by the library's lowest means, whose requests name session -1.
func fetchOne(ctx context.Context, admin *kafka.Client, op driver.Op) (r driver.Result, err error) {
	found, err := admin.Fetch(ctx, &kafka.FetchRequest{Topic: op.Topic, Partition: int(op.Partition), Offset: op.Offset,
		MinBytes: 1, MaxBytes: 1 << 20, MaxWait: time.Second})
	if err == nil {
		err = found.Error
	}
	if err != nil {
		return r, err
	}
	for { // the batch may begin before the offset
		record, err := found.Records.ReadRecord()
		if err != nil || record.Offset >= op.Offset {
			if err == nil {
				r.Offset = record.Offset
			}
			return r, err
		}
	}
}

func listGroups(ctx context.Context, admin *kafka.Client, _ driver.Op) (r driver.Result, err error) {
	found, err := admin.ListGroups(ctx, &kafka.ListGroupsRequest{})
	if err != nil {
		return r, err
	}
	for _, group := range found.Groups {
		r.Names = append(r.Names, group.GroupID)
	}
	return r, found.Error
}

func describeGroup(ctx context.Context, admin *kafka.Client, op driver.Op) (r driver.Result, err error) {
	found, err := admin.DescribeGroups(ctx, &kafka.DescribeGroupsRequest{GroupIDs: []string{op.Group}})
	if err != nil {
		return r, err
	}
	r.State, r.Members = found.Groups[0].GroupState, map[string]int{}
	for _, m := range found.Groups[0].Members {
		for _, topic := range m.MemberAssignments.Topics {
			r.Members[m.ClientID] += len(topic.Partitions)
		}
	}
	return r, found.Groups[0].Error
}

func groupOffsets(ctx context.Context, admin *kafka.Client, op driver.Op) (r driver.Result, err error) {
	var partitions []int
	for partition := range int(op.Partitions) {
		partitions = append(partitions, partition)
	}
	found, err := admin.OffsetFetch(ctx, &kafka.OffsetFetchRequest{GroupID: op.Group, Topics: map[string][]int{op.Topic: partitions}})
	if err != nil {
		return r, err
	}
	r.Offsets = map[string]int64{}
	for _, partition := range found.Topics[op.Topic] {
		if partition.Error != nil {
			return r, partition.Error
		}
		r.Offsets[strconv.Itoa(partition.Partition)] = partition.CommittedOffset
	}
	return r, found.Error
}

func setGroupOffset(ctx context.Context, admin *kafka.Client, op driver.Op) (r driver.Result, err error) {
	committed, err := admin.OffsetCommit(ctx, &kafka.OffsetCommitRequest{GroupID: op.Group, GenerationID: -1,
		Topics: map[string][]kafka.OffsetCommit{op.Topic: {{Partition: int(op.Partition), Offset: op.Offset}}}})
	if err == nil {
		err = committed.Topics[op.Topic][0].Error
	}
	return r, err
}
