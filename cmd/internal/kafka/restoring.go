package kafka

import (
	"fmt"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/tiering/segment"
)

// RestoreConfig is the config with which CreateTopics brings a deleted topic back, in
// place of a new one: Kafka has no request for that. Its value is the id of the topic, as
// Kafka's tools write it, or empty if one deleted topic has the name. No topic keeps it.
const RestoreConfig = "varve.undelete"

// restores reports whether a request for a topic asks for a deleted one.
func restores(in *kmsg.CreateTopicsRequestTopic) (id string, is bool) {
	for _, c := range in.Configs {
		if c.Name == RestoreConfig && c.Value != nil {
			return *c.Value, true
		}
	}
	return "", false
}

// toRestore finds the deleted topic that a request asks for. It comes back as it was, so
// the request may ask for nothing else.
func (s *topicService) toRestore(in *kmsg.CreateTopicsRequestTopic, id string) (segment.ID, error) {
	if len(in.Configs) > 1 || in.NumPartitions != -1 || in.ReplicationFactor != -1 || len(in.ReplicaAssignment) > 0 {
		return segment.ID{}, coded(kerr.InvalidRequest, "a topic comes back as it was: with %s, give no partitions, replicas or configs", RestoreConfig)
	}
	named := s.gate.deleted(in.Topic)
	var found []*metadata.Topic
	for _, t := range named {
		if id == "" || t.ID.Base64() == id {
			found = append(found, t)
		}
	}
	switch {
	case len(found) == 1:
		return found[0].ID, nil
	case len(named) == 0:
		return segment.ID{}, coded(kerr.UnknownTopicOrPartition, "no topic %q is deleted and can be restored", in.Topic)
	case len(found) == 0:
		return segment.ID{}, coded(kerr.UnknownTopicID, "no deleted topic %q has the id %.50s; there is %s", in.Topic, id, listDeleted(named))
	}
	return segment.ID{}, coded(kerr.InvalidRequest, "%d deleted topics have the name %q, give the id of one: %s", len(named), in.Topic, listDeleted(named))
}

// fillRestored answers for a topic that was asked back. It may be deleted again already.
func (s *topicService) fillRestored(out *kmsg.CreateTopicsResponseTopic, id segment.ID, err error, version int16) {
	if err != nil {
		s.failCreate(out, err)
		return
	}
	if t, ok := s.gate.restored(id); ok {
		s.fillCreated(out, metadata.CreateResult{Topic: t}, version)
	}
}

// maxListed is how many topics a message lists.
const maxListed = 10

// listDeleted names topics in a message.
func listDeleted(topics []*metadata.Topic) string {
	var texts []string
	for _, t := range topics[:min(len(topics), maxListed)] {
		texts = append(texts, fmt.Sprintf("%s (deleted at %s)", t.ID.Base64(), time.UnixMilli(t.DeletedMs).UTC().Format(time.RFC3339)))
	}
	if more := len(topics) - len(texts); more > 0 {
		texts = append(texts, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(texts, ", ")
}
