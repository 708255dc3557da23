package metadata

import (
	"fmt"
	"testing"
	"time"

	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/objstore/mem"
	"github.com/varvelog/varve/tiering/segment"
)

// TestAFollowerOfJournal0SkipsWhenTheFloorHasPassedIt: it stood still for long, and does not
// end. Readers of its state see the newest topics, and are woken.
func TestAFollowerOfJournal0SkipsWhenTheFloorHasPassedIt(t *testing.T) {
	store := mem.New(time.Now, nil)
	skipped := make(chan journal.Chain, 1)
	follower := followerOf(store, New(), func(o *LeaderOptions) {
		o.Pace = journal.NewPace(func() time.Duration { return time.Hour })
		o.OnSkipped = func(at journal.Chain) { skipped <- at }
	})
	t.Cleanup(follower.Close)
	<-follower.AtHead()
	l := startController(t, store, journal.CheckpointPolicy{Every: 2, Most: 3, Behind: 1})
	t.Cleanup(l.Close)
	topics := 0
	for _, moved := store.GetNow(segment.FloorKey(0, 2)); !moved; _, moved = store.GetNow(segment.FloorKey(0, 2)) {
		if r := l.CreateTopics(t.Context(), []NewTopic{{Name: fmt.Sprintf("t%d", topics), Partitions: -1, ReplicationFactor: -1}}, false); r[0].Err != nil {
			t.Fatal(r[0].Err)
		}
		topics++
	}
	store.DeleteNow(segment.JournalKey(0, 1)) // one that it needs
	woken := make(chan struct{}, 1)
	defer follower.opt.State.Watch(woken)()
	if err := follower.Prove(t.Context()); err != nil {
		t.Fatal(err)
	}
	at := <-skipped
	if n := len(follower.opt.State.Topics()); n != topics || len(woken) == 0 || at.Leader != l.opt.Journal.Node {
		t.Errorf("it has %d of %d topics, its readers are woken %v, it skipped to %+v", n, topics, len(woken) > 0, at)
	}
	lead(t, follower)
	if r := follower.CreateTopics(t.Context(), []NewTopic{{Name: "last", Partitions: -1, ReplicationFactor: -1}}, false); r[0].Err != nil {
		t.Error(r[0].Err)
	}
}
