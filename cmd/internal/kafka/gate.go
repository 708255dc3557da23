package kafka

import (
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/tiering/segment"
)

// gate is the one way by which handlers find topics.
type gate struct{ topics Topics }

// topic finds a topic by id or name, as the version of the request says.
func (g *gate) topic(name string, id [16]byte, byID bool) (*metadata.Topic, error) {
	if byID {
		if t, ok := g.topics.TopicByID(segment.ID(id)); ok {
			return t, nil
		}
		return nil, coded(kerr.UnknownTopicID, "no topic has the id %s", segment.ID(id).Base64())
	}
	if t, ok := g.topics.Topic(name); ok {
		return t, nil
	}
	return nil, coded(kerr.UnknownTopicOrPartition, "there is no topic %q", name)
}
