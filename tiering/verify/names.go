package verify

import (
	"context"
	"errors"
	"fmt"

	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/segment"
)

const hintName = "no node reads it; delete it, and it is written again with the next own segment of the topic"

// names checks the objects that have the names of topics.
func (v *Verifier) names(ctx context.Context, cluster segment.ID, topics []segment.ID) error {
	if v.opt.Indexes {
		return nil
	}
	for _, topic := range topics {
		var b []byte
		key := segment.TopicNameKey(topic)
		err := v.try(ctx, func(ctx context.Context) (err error) {
			b, err = v.store.Get(ctx, key)
			return err
		})
		if errors.Is(err, objstore.ErrNotFound) {
			continue // deleted since with its topic
		}
		if err != nil {
			return fmt.Errorf("read %s of bucket %s: %w", key, v.store, err)
		}
		v.checkName(key, cluster, topic, b)
	}
	return nil
}

func (v *Verifier) checkName(key string, cluster, topic segment.ID, b []byte) {
	f := &Finding{Severity: Warning, Code: CodeCorrupt, Key: key, Hint: hintName}
	n, err := segment.DecodeTopicName(b)
	known := v.opt.Metadata.Name(topic)
	switch {
	case errors.Is(err, segment.ErrUnsupported):
		f.Code, f.Hint, f.What = CodeUnsupported, hintUpgrade, err.Error()
	case err != nil:
		f.What = err.Error()
	case n.Cluster != cluster || n.Topic != topic:
		f.Code, f.What = CodeMisplaced, fmt.Sprintf("it belongs to topic %s of cluster %s", n.Topic, n.Cluster.Base64())
	case known != "" && n.Name != known:
		f.What = fmt.Sprintf("it says %q, the name of the topic is %q", n.Name, known)
	default:
		return
	}
	v.findings.add(f)
}
