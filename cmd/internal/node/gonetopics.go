package node

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/varvelog/varve/metadata"
)

const (
	// goneEvery is how often topics that seem to be gone are looked after.
	goneEvery = time.Second
	// goneKept is how long an answer about such a topic is kept: the searches of
	// coordinators are minutes apart.
	goneKept = time.Hour
)

// goneTopics is the metadata as coordinators see it, which forget the offsets of topics that
// are gone. A topic is gone once the head of journal 0 was proved after the first question
// about it. Until then this node may lack its creation, or that it was restored.
type goneTopics struct {
	*metadata.State
	control   *control
	onLearned func() // a topic is known to be gone

	mu     sync.Mutex
	asked  map[goneTopic]time.Time // guarded by mu: the first question
	proved time.Time               // guarded by mu: when the last proof began
}

// goneTopic names a topic by its name or its id.
type goneTopic struct {
	name string
	id   [16]byte
}

func newGoneTopics(state *metadata.State, c *control, onLearned func()) *goneTopics {
	return &goneTopics{State: state, control: c, onLearned: onLearned, asked: map[goneTopic]time.Time{}}
}

// TopicGone implements coordinator.Topics.
func (g *goneTopics) TopicGone(name string, id [16]byte) bool {
	t := goneTopic{name, id}
	if id != [16]byte{} {
		t.name = ""
	}
	if !g.State.TopicGone(name, id) {
		g.forget(t)
		return false
	}
	return g.known(t)
}

// Deleting lists the topics that are known to be deleted and not purged.
func (g *goneTopics) Deleting() []*metadata.Topic {
	return slices.DeleteFunc(slices.Clone(g.State.Deleting()), func(t *metadata.Topic) bool { return !g.known(goneTopic{id: t.ID}) })
}

// known reports whether a topic that is not in the state is gone for good.
func (g *goneTopics) known(t goneTopic) bool {
	if g.control.Leads() {
		return true
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	since, asked := g.asked[t]
	if !asked {
		since = time.Now()
		g.asked[t] = since
	}
	return !g.proved.Before(since)
}

func (g *goneTopics) forget(t goneTopic) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.asked, t)
}

// look proves the head of journal 0 if a question waits for that.
func (g *goneTopics) look() {
	if !g.waits(time.Now()) {
		return
	}
	began := time.Now()
	if g.control.Prove(context.Background(), began) != nil { // it has a limit of its own
		return
	}
	g.mu.Lock()
	g.proved = began
	g.mu.Unlock()
	g.onLearned()
}

// waits reports whether there is a question after the last proof, and drops those of long ago.
func (g *goneTopics) waits(now time.Time) (waits bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for t, since := range g.asked {
		if now.Sub(since) > goneKept {
			delete(g.asked, t)
		}
		waits = waits || since.After(g.proved)
	}
	return waits
}
