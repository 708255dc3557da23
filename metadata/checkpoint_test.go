package metadata

import (
	"bytes"
	"errors"
	"testing"

	"github.com/varvelog/varve/tiering/segment"
)

// richState has one of everything: nodes, journals, topics, a deleted one,
// producer ids.
func richState(t testing.TB) *State {
	s := New()
	c := NewController(s, Defaults{Partitions: 3, ReplicationFactor: 1})
	var entries []segment.Entry
	add := func(more []segment.Entry, err error) {
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, more...)
	}
	add(c.Bootstrap())
	more, _, err := c.RegisterNode(segment.ID{3})
	add(more, err)
	n := byte(0)
	more, results := c.CreateTopics(5, []NewTopic{
		{Name: "kept", Partitions: 2, ReplicationFactor: 3, Configs: map[string]string{"retention.ms": "7"}},
		{Name: "gone", Partitions: -1, ReplicationFactor: -1},
	}, false, func() segment.ID { n++; return segment.ID{9, n} })
	add(more, nil)
	more, errs := c.CreatePartitions([]NewPartitions{{Topic: "kept", Count: 5}}, false)
	add(more, errs[0])
	more, errs = c.AlterConfigs([]ConfigChange{{Topic: "kept", Ops: []ConfigOp{{OpSet, "segment.ms", "9"}}}}, false)
	add(more, errs[0])
	more, errs = c.DeleteTopics(6, []segment.ID{results[1].Topic.ID})
	add(more, errs[0])
	more, _, err = c.AllocateProducerIDs(1000)
	add(more, err)
	f := &segment.Footer{Header: segment.Header{Kind: segment.KindData, Seq: 8, Epoch: 2}}
	if err := s.Apply(f, entries); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestRestoredStateIsTheOneThatWasEncoded(t *testing.T) {
	s := richState(t)
	restored := New()
	if err := restored.Restore(s.Encode()); err != nil {
		t.Fatal(err)
	}
	if restored.hash() != s.hash() {
		t.Fatal("the hashes differ")
	}
	if topic, ok := restored.Topic("kept"); !ok || topic.Configs["retention.ms"] != "7" || topic.Configs["segment.ms"] != "9" || len(topic.Partitions) != 5 {
		t.Errorf("topic is %+v", topic)
	}
	if len(restored.Deleting()) != 1 || restored.Head() != 8 {
		t.Errorf("deleting %v at head %d", restored.Deleting(), restored.Head())
	}
	if err := restored.Restore(s.Encode()); err == nil {
		t.Error("restored over a state")
	}
	behind := New()
	if err := behind.Apply(&segment.Footer{Header: segment.Header{Kind: segment.KindFence, Seq: 1, Epoch: 1}}, nil); err != nil {
		t.Fatal(err)
	}
	if err := behind.Restore(s.Encode()); err != nil || behind.hash() != s.hash() {
		t.Errorf("a state that stands before the checkpoint does not move on to it: %v", err)
	}
}

func TestDamagedCheckpointIsRefused(t *testing.T) {
	good := richState(t).Encode()
	for i := range good {
		if err := New().Restore(good[:i]); !errors.Is(err, ErrCorrupt) {
			t.Errorf("cut to %d bytes: %v", i, err)
		}
	}
	newer := bytes.Clone(good)
	newer[0] = securityCheckpoint + 1
	if err := New().Restore(newer); !errors.Is(err, ErrTooOld) {
		t.Errorf("newer version: %v", err)
	}
}

func FuzzRestore(f *testing.F) {
	f.Add(richState(f).Encode())
	f.Add(threeNodes(f).Encode())
	f.Add(secureState(f).Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		s := NewUpTo(LevelSecurity)
		if s.Restore(b) == nil {
			again := NewUpTo(LevelSecurity)
			if err := again.Restore(s.Encode()); err != nil || again.hash() != s.hash() {
				t.Fatalf("the restored state does not restore: %v", err)
			}
		}
	})
}
