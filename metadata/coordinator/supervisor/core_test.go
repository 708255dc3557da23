package supervisor

import (
	"reflect"
	"testing"

	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

var topicA, topicB = segment.ID{0xa}, segment.ID{0xb}

// tenure is one in journal 1.
func tenure(topic segment.ID, partition, epoch int32) Tenure {
	return Tenure{Key: partlog.Key{Topic: topic, Index: partition}, Journal: 1, Epoch: epoch}
}

// view has partitions in journal 1 with the epochs given; zero is not open.
func view(topic segment.ID, epochs ...int32) View {
	v := View{Topic: topic}
	for _, e := range epochs {
		v.Partitions = append(v.Partitions, Partition{Journal: 1, Led: true, Open: e > 0, Epoch: e})
	}
	return v
}

func (v View) deleting(ids ...byte) View {
	for _, id := range ids {
		v.Deleting = append(v.Deleting, [16]byte{id})
	}
	return v
}

func expect(t *testing.T, got, want Todo) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%+v, want\n%+v", got, want)
	}
}

func TestAPartitionThatOpensLateIsLookedAtAgain(t *testing.T) {
	c := NewCore()
	expect(t, c.Look(View{}), Todo{})
	expect(t, c.Look(view(topicA, 5, 0)), Todo{Start: []Tenure{tenure(topicA, 0, 5)}, Again: true})
	expect(t, c.Look(view(topicA, 5, 5)), Todo{Start: []Tenure{tenure(topicA, 1, 5)}})
	expect(t, c.Look(view(topicA, 5, 5)), Todo{})
}

func TestPartitionsOfJournalsLedElsewhereAreNotWaitedFor(t *testing.T) {
	v := view(topicA, 5)
	v.Partitions = append(v.Partitions, Partition{Journal: 2})
	expect(t, NewCore().Look(v), Todo{Start: []Tenure{tenure(topicA, 0, 5)}})
}

func TestADeletedTopicEndsItsCoordinators(t *testing.T) {
	c := NewCore()
	c.Look(view(topicA, 5, 5))
	expect(t, c.Look(View{}), Todo{Stop: []Tenure{tenure(topicA, 0, 5), tenure(topicA, 1, 5)}})
}

func TestATopicThatIsCreatedAgainGetsOtherCoordinators(t *testing.T) {
	c := NewCore()
	c.Look(view(topicA, 5))
	expect(t, c.Look(view(topicB, 5)), Todo{Stop: []Tenure{tenure(topicA, 0, 5)}, Start: []Tenure{tenure(topicB, 0, 5)}})
}

// TestACoordinatorEndsWithItsLeadershipAndItsOpenEntry: journals lead in epochs, and
// the open entry of a partition may be in another journal.
func TestACoordinatorEndsWithItsLeadershipAndItsOpenEntry(t *testing.T) {
	moved := View{Topic: topicA, Partitions: []Partition{{Journal: 2, Led: true, Open: true, Epoch: 5}}}
	in2 := tenure(topicA, 0, 5)
	in2.Journal = 2
	for name, tc := range map[string]struct {
		then View
		want Todo
	}{
		"sealed":          {view(topicA, 0), Todo{Stop: []Tenure{tenure(topicA, 0, 5)}, Again: true}},
		"not led":         {View{Topic: topicA, Partitions: []Partition{{Journal: 1}}}, Todo{Stop: []Tenure{tenure(topicA, 0, 5)}}},
		"led again":       {view(topicA, 6), Todo{Stop: []Tenure{tenure(topicA, 0, 5)}, Start: []Tenure{tenure(topicA, 0, 6)}}},
		"another journal": {moved, Todo{Stop: []Tenure{tenure(topicA, 0, 5)}, Start: []Tenure{in2}}},
	} {
		t.Run(name, func(t *testing.T) {
			c := NewCore()
			c.Look(view(topicA, 5))
			expect(t, c.Look(tc.then), tc.want)
		})
	}
}

func TestACoordinatorThatCouldNotBeStartedIsStartedLater(t *testing.T) {
	c := NewCore()
	c.Look(view(topicA, 5, 5))
	c.Failed(tenure(topicA, 1, 5))
	c.Failed(tenure(topicA, 0, 4)) // of the past
	expect(t, c.Look(view(topicA, 5, 5)), Todo{Start: []Tenure{tenure(topicA, 1, 5)}})
	c.Failed(tenure(topicA, 1, 5))
	expect(t, c.Look(View{}), Todo{Stop: []Tenure{tenure(topicA, 0, 5)}})
}

func TestDeletionsAreReportedOnceToEachCoordinator(t *testing.T) {
	c := NewCore()
	first, second := tenure(topicA, 0, 5), tenure(topicA, 1, 5)
	expect(t, c.Look(view(topicA, 5, 0).deleting(1)),
		Todo{Start: []Tenure{first}, Report: []Report{{first, [][16]byte{{1}}}}, Again: true})
	expect(t, c.Look(view(topicA, 5, 5).deleting(1, 2)),
		Todo{Start: []Tenure{second}, Report: []Report{{first, [][16]byte{{2}}}, {second, [][16]byte{{1}, {2}}}}})
	expect(t, c.Look(view(topicA, 5, 5).deleting(2)), Todo{})
	expect(t, c.Look(view(topicA, 5, 5)), Todo{})
}

func TestSnapshotsOfGoneTopicsAreForgotten(t *testing.T) {
	v := view(topicB, 5)
	gone := Snapshot{Journal: 1, Key: partlog.Key{Topic: topicA, Index: 3}, Gone: true}
	v.Snapshots = []Snapshot{{Journal: 1, Key: partlog.Key{Topic: topicB}}, gone}
	expect(t, NewCore().Look(v), Todo{Forget: []Snapshot{gone}, Start: []Tenure{tenure(topicB, 0, 5)}})
}

func TestNothingStartsOnceItIsClosed(t *testing.T) {
	c := NewCore()
	c.Look(view(topicA, 5, 0))
	if got := c.Close(); !reflect.DeepEqual(got, []Tenure{tenure(topicA, 0, 5)}) {
		t.Errorf("close stops %v", got)
	}
	expect(t, c.Look(view(topicA, 5, 5).deleting(1)), Todo{})
}
