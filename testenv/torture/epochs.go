package main

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/testenv/history"
)

// epochWentBack: a node, or the log, has a lower leader epoch than before.
const epochWentBack history.Kind = "epoch-went-back"

const (
	epochsTurn  = 100 * time.Millisecond
	epochsLimit = 2 * time.Second // of one question
)

// watchEpochs asks one node for the leader epochs of the log until ctx ends. Within one life
// the node must never answer with a lower one than before.
func watchEpochs(ctx context.Context, h *history.History, n *node, answered func()) error {
	client, err := newClient(n.kafka, kgo.RequestRetries(0))
	if err != nil {
		return err
	}
	defer client.Close()
	var seen [partitions]int32
	for pid := 0; ctx.Err() == nil; sleep(ctx, epochsTurn) {
		if now := n.pid(); now != pid {
			pid, seen = now, [partitions]int32{}
		}
		request := kmsg.NewPtrMetadataRequest()
		asked := kmsg.NewMetadataRequestTopic()
		asked.Topic = kmsg.StringPtr(topic)
		request.Topics = append(request.Topics, asked)
		turn, cancel := context.WithTimeout(ctx, epochsLimit)
		answer, err := client.SeedBrokers()[0].Request(turn, request)
		cancel()
		if err != nil || n.pid() != pid {
			continue
		}
		answered()
		for _, t := range answer.(*kmsg.MetadataResponse).Topics {
			for _, p := range t.Partitions {
				if p.Partition >= partitions || p.LeaderEpoch < 0 {
					continue
				}
				if p.LeaderEpoch < seen[p.Partition] {
					h.Note(epochWentBack, "%s says epoch %d of partition %d, after %d", n.name, p.LeaderEpoch, p.Partition, seen[p.Partition])
				}
				seen[p.Partition] = max(seen[p.Partition], p.LeaderEpoch)
			}
		}
	}
	return nil
}

// pid returns the process id of the present life, 0 before the first.
func (n *node) pid() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.mu.process == nil {
		return 0
	}
	return n.mu.process.Pid()
}
