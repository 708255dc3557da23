package follow

import (
	"time"

	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/segment"
)

// Topics are the topics as a node that only reads knows them. A topic that is not found
// may have been created since the last look, so journal 0 is looked at more often then.
type Topics struct {
	*metadata.State
	pace *journal.Pace
}

// Topics returns the topics of journal 0.
func (f *Followers) Topics() Topics { return Topics{f.opt.Meta, f.pace(0)} }

// Topic finds a topic by its name.
func (t Topics) Topic(name string) (*metadata.Topic, bool) {
	topic, ok := t.State.Topic(name)
	return topic, t.found(ok)
}

// TopicByID finds a topic by its id.
func (t Topics) TopicByID(id segment.ID) (*metadata.Topic, bool) {
	topic, ok := t.State.TopicByID(id)
	return topic, t.found(ok)
}

func (t Topics) found(ok bool) bool {
	if !ok {
		t.pace.Wanted(time.Now())
	}
	return ok
}
