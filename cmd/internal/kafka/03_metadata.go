package kafka

import (
	"context"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/cmd/internal/kafka/listener"
	"github.com/varvelog/varve/metadata"
)

// Metadata, key 3.
//
//	v0     an empty list of topics asks for all; from v1 null does, empty for none
//	v1     rack, controller, internal topics
//	v2     cluster id (KIP-78)
//	v4     allow_auto_topic_creation; before, it counts as true
//	v5     offline replicas (KIP-112)
//	v7     leader epoch (KIP-320)
//	v8     authorized operations (KIP-430), of the cluster up to v10
//	v9     flexible
//	v10    topic ids (KIP-516)
//	v12    topics may be asked for by id alone
//	v13    top-level error code (KIP-1102)
func init() {
	register(listener.API{
		Key: kmsg.Metadata, Min: 0, Max: 13, Bulky: true,
		Shape: shape{
			listOf(sizeOf[kmsg.MetadataRequestTopic](), num(16).From(10), str()),
			num(1).From(4), num(1).From(8).To(10), num(1).From(8),
		},
	}, func(s *services) listener.Handler { return s.topics.beginMetadata })
}

const metadataAutoCreate = 4 // the first version that can forbid it

// noTopicID is the id of an entry that asks by name.
var noTopicID [16]byte

// autoCreateWait limits how long an answer waits for topics to be created.
const autoCreateWait = 15 * time.Second

func (s *topicService) beginMetadata(ctx context.Context, r *listener.Request) {
	req := r.Body.(*kmsg.MetadataRequest)
	if req.Topics == nil || r.Version == 0 && len(req.Topics) == 0 {
		s.asLeader(ctx, r, func() {
			s.awaitLeaders(r.Waits(), s.gate.allTopics(r.Client, toDescribe)...)
			s.replyMetadata(r, s.allTopics(r))
		})
		return
	}
	for i := range req.Topics {
		if req.Topics[i].TopicID != noTopicID {
			req.Topics[i].Topic = nil // Java sends an empty name with the id
		}
	}
	wanted := distinct(req.Topics, func(t kmsg.MetadataRequestTopic) any { return metadataKey(t) })
	missing := s.creatable(r, req, wanted)
	if len(missing) == 0 {
		s.asLeader(ctx, r, func() {
			s.awaitLeaders(r.Waits(), s.knownOf(r, wanted)...)
			s.replyMetadata(r, s.someTopics(r, wanted, nil))
		})
		return
	}
	r.Go(func() {
		ctx, cancel := context.WithTimeout(ctx, autoCreateWait)
		defer cancel()
		s.replyMetadata(r, s.someTopics(r, wanted, s.create(ctx, r.Client, missing)))
	})
}

// knownOf lists the topics of a request that this node knows.
func (s *topicService) knownOf(r *listener.Request, wanted []kmsg.MetadataRequestTopic) (topics []*metadata.Topic) {
	for _, w := range wanted {
		ref := topicRef{id: w.TopicID, byID: true}
		if w.Topic != nil {
			ref = byName(*w.Topic)
		}
		if t, err := s.gate.known(r.Client, toDescribe, ref); err == nil {
			topics = append(topics, t)
		}
	}
	return topics
}

// metadataKey is equal for entries of a request that name the same topic.
func metadataKey(t kmsg.MetadataRequestTopic) any {
	if t.Topic != nil {
		return *t.Topic
	}
	return t.TopicID
}

// distinct drops elements whose key was seen before: repeated names must not
// make an answer larger than the cluster.
func distinct[T any](in []T, key func(T) any) []T {
	seen := make(map[any]struct{}, len(in))
	out := make([]T, 0, len(in))
	for _, t := range in {
		k := key(t)
		if _, twice := seen[k]; !twice {
			seen[k] = struct{}{}
			out = append(out, t)
		}
	}
	return out
}

// maxAutoCreate limits the topics that one request may create by asking for
// them.
const maxAutoCreate = 100

// creatable names the missing topics that the request may create.
func (s *topicService) creatable(r *listener.Request, req *kmsg.MetadataRequest, wanted []kmsg.MetadataRequestTopic) []metadata.NewTopic {
	if !s.autoCreate || r.Version >= metadataAutoCreate && !req.AllowAutoTopicCreation {
		return nil
	}
	var missing []metadata.NewTopic
	for _, t := range wanted {
		if t.Topic == nil || len(missing) == maxAutoCreate {
			continue
		}
		_, err := s.gate.topic(r, toDescribe, byName(*t.Topic))
		if unknownTopic(err) && s.gate.newTopic(r.Client, *t.Topic) == nil {
			missing = append(missing, metadata.NewTopic{Name: *t.Topic, Partitions: -1, ReplicationFactor: -1})
		}
	}
	return missing
}

// create creates topics for a client and returns each result, by name.
func (s *topicService) create(ctx context.Context, by *listener.Client, missing []metadata.NewTopic) map[string]metadata.CreateResult {
	if !s.forward.Leads() {
		return s.createElsewhere(ctx, by, missing)
	}
	made := make(map[string]metadata.CreateResult, len(missing))
	for i, result := range s.admin.CreateTopics(ctx, missing, false) {
		made[missing[i].Name] = result
	}
	return made
}

// createElsewhere has the controller create topics. This node knows them afterwards, or the
// client asks again.
func (s *topicService) createElsewhere(ctx context.Context, by *listener.Client, missing []metadata.NewTopic) map[string]metadata.CreateResult {
	req := kmsg.NewPtrCreateTopicsRequest()
	req.SetVersion(createTopicsDetails)
	req.TimeoutMillis = int32(autoCreateWait.Milliseconds())
	for _, t := range missing {
		n := kmsg.NewCreateTopicsRequestTopic()
		n.Topic, n.NumPartitions, n.ReplicationFactor = t.Name, t.Partitions, t.ReplicationFactor
		req.Topics = append(req.Topics, n)
	}
	made := map[string]metadata.CreateResult{}
	resp, err := s.forward.ask(ctx, by, req)
	if err != nil {
		return made
	}
	for _, t := range resp.(*kmsg.CreateTopicsResponse).Topics {
		if t.ErrorCode == kerr.InvalidTopicException.Code {
			made[t.Topic] = metadata.CreateResult{Err: metadata.ErrInvalidName}
		}
	}
	return made
}

func (s *topicService) allTopics(r *listener.Request) []kmsg.MetadataResponseTopic {
	topics := s.gate.allTopics(r.Client, toDescribe)
	out := make([]kmsg.MetadataResponseTopic, 0, len(topics))
	for _, t := range topics {
		out = append(out, s.describeTopic(r.Client, t))
	}
	return out
}

func (s *topicService) someTopics(r *listener.Request, wanted []kmsg.MetadataRequestTopic, made map[string]metadata.CreateResult) []kmsg.MetadataResponseTopic {
	out := make([]kmsg.MetadataResponseTopic, 0, len(wanted))
	for _, w := range wanted {
		var name string
		if w.Topic != nil {
			name = *w.Topic
		}
		result, created := made[name]
		t, err := s.gate.topic(r, toDescribe, topicRef{name, w.TopicID, w.Topic == nil})
		switch {
		case err == nil:
			out = append(out, s.describeTopic(r.Client, t))
		case errors.Is(err, errUnproved):
			out = append(out, missingTopic(w, kerr.LeaderNotAvailable.Code)) // clients ask again for that
		case !unknownTopic(err) || w.Topic == nil:
			out = append(out, missingTopic(w, s.codeFor(err, onAdmin, "Metadata")))
		case created && result.Err == nil:
			out = append(out, s.describeTopic(r.Client, result.Topic))
		case created:
			out = append(out, missingTopic(w, autoCreateCode(result.Err)))
		case metadata.CheckName(name) != nil:
			out = append(out, missingTopic(w, kerr.InvalidTopicException.Code))
		default:
			out = append(out, missingTopic(w, kerr.UnknownTopicOrPartition.Code))
		}
	}
	return out
}

// autoCreateCode returns the code for a topic that could not be created. Except
// for a bad name, another attempt may succeed, also at another broker.
func autoCreateCode(err error) int16 {
	if code, _ := codeOf(err, onAdmin); code == kerr.InvalidTopicException.Code {
		return code
	}
	return kerr.UnknownTopicOrPartition.Code
}

func missingTopic(w kmsg.MetadataRequestTopic, code int16) kmsg.MetadataResponseTopic {
	out := kmsg.NewMetadataResponseTopic()
	out.Topic, out.TopicID, out.ErrorCode = w.Topic, w.TopicID, code
	return out
}

func (s *topicService) describeTopic(by *listener.Client, t *metadata.Topic) kmsg.MetadataResponseTopic {
	out := kmsg.NewMetadataResponseTopic()
	out.Topic, out.TopicID, out.IsInternal = kmsg.StringPtr(t.Name), t.ID, t.Internal()
	out.Partitions = make([]kmsg.MetadataResponseTopicPartition, len(t.Partitions))
	for i := range t.Partitions {
		p := &out.Partitions[i]
		p.Default()
		p.Partition = int32(i)
		place := s.placement(t, int32(i))
		p.Leader, p.LeaderEpoch = place.Leader, place.Epoch
		p.Replicas = s.replicas(by, t, place)
		p.ISR = p.Replicas
		if place.Leader < 0 {
			p.ErrorCode = kerr.LeaderNotAvailable.Code
		}
	}
	return out
}

// replyMetadata answers with topics. Names are not nullable before v12, where
// clients cannot ask by id alone either.
func (s *topicService) replyMetadata(r *listener.Request, topics []kmsg.MetadataResponseTopic) {
	req := r.Body.(*kmsg.MetadataRequest)
	resp := kmsg.NewPtrMetadataResponse()
	resp.AuthorizedOperations = notAsked
	if req.IncludeClusterAuthorizedOperations {
		resp.AuthorizedOperations = s.gate.operationsOnCluster(r.Client)
	}
	resp.ClusterID = kmsg.StringPtr(s.clusterID)
	resp.ControllerID = s.controller()
	for _, b := range s.endpoints(r.Client) {
		out := kmsg.NewMetadataResponseBroker()
		out.NodeID, out.Host, out.Port, out.Rack = b.id, b.Host, b.Port, b.rack
		resp.Brokers = append(resp.Brokers, out)
	}
	resp.Topics = topics
	var code firstCode
	for i := range topics {
		topics[i].AuthorizedOperations = notAsked
		if req.IncludeTopicAuthorizedOperations && topics[i].ErrorCode == 0 {
			topics[i].AuthorizedOperations = s.gate.operationsOnTopic(r.Client, *topics[i].Topic)
		}
		code.note(topics[i].ErrorCode)
	}
	r.Reply(resp, int16(code))
}
