package segment

import (
	"fmt"

	"github.com/varvelog/varve/tiering/wire"
)

// TopicName says which name a topic has. It stands next to the topic's own segments, whose
// keys have the id alone. It follows from the topic, so that all writers store the same
// bytes.
type TopicName struct {
	Cluster ID
	Topic   ID
	Name    string
}

const (
	topicNameObject    = "topic-name object"
	topicNameFixedSize = 48
	topicNameReserved  = 6
)

// EncodeTopicName returns the topic-name object:
//
//	 0   8  magic "VARV", version, kind 9, zero
//	 8  16  cluster id
//	24  16  topic id
//	40   6  zero
//	46   2  length of the name
//	48      the name
//	     4  CRC-32C of the bytes before
func EncodeTopicName(n TopicName) ([]byte, error) {
	return encodeSmall(topicNameObject, KindTopicName, topicNameFixedSize+len(n.Name)+4, &n, func(w *wire.Writer) {
		w.ID(n.Cluster)
		w.ID(n.Topic)
		w.Zeros(topicNameReserved)
		w.String16(n.Name)
	})
}

// DecodeTopicName decodes a whole topic-name object.
func DecodeTopicName(b []byte) (TopicName, error) {
	var n TopicName
	err := decodeSmall(topicNameObject, KindTopicName, b, &n, func(r *wire.Reader) {
		n = TopicName{Cluster: r.ID(), Topic: r.ID()}
		r.Zeros(topicNameReserved)
		n.Name = r.String16()
	})
	if err != nil {
		return TopicName{}, err
	}
	return n, nil
}

func (n *TopicName) implausible() string {
	switch {
	case n.Cluster.IsZero() || n.Topic.IsZero():
		return "cluster or topic id is zero"
	case n.Name == "" || len(n.Name) > MaxTopicName:
		return fmt.Sprintf("name of the topic has %d bytes, must have from 1 to %d", len(n.Name), MaxTopicName)
	}
	return ""
}
