package group

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/varvelog/varve/metadata/coordinator"
)

func TestCommitRules(t *testing.T) {
	w := newWorld(t, nil)
	members := w.form(2)
	member := Identity{Group: "g", Member: members[0].Member, Generation: 1}
	for _, test := range []struct {
		name string
		who  Identity
		want error
	}{
		{"member", member, nil},
		{"simple consumer of no group", Identity{Group: "simple", Generation: -1}, nil},
		{"simple consumer again", Identity{Group: "simple", Generation: -1}, nil},
		{"without a group id", Identity{Generation: -1}, nil},
		{"simple consumer of a group with members", Identity{Group: "g", Generation: -1}, ErrUnknownMember},
		{"unknown member", Identity{Group: "g", Member: "who", Generation: 1}, ErrUnknownMember},
		{"old generation", Identity{Group: "g", Member: members[0].Member, Generation: 0}, ErrIllegalGeneration},
		{"no generation", Identity{Group: "g", Member: members[0].Member, Generation: -1}, ErrIllegalGeneration},
		{"member of no group", Identity{Group: "none", Member: "who", Generation: 1}, ErrNotFound},
		{"member of an empty group", Identity{Group: "simple", Member: "who", Generation: 1}, ErrUnknownMember},
		{"unknown instance", Identity{Group: "g", Member: members[0].Member, Instance: ptr("i"), Generation: 1}, ErrUnknownMember},
	} {
		c := w.commitOffset(test.who, 7).get(t)
		if !errors.Is(c.all, test.want) || test.want == nil && (len(c.each) != 1 || c.each[0] != nil) {
			t.Errorf("%s: %+v, want %v", test.name, c, test.want)
		}
	}
	rejoin := w.join(request(func(r *JoinRequest) { r.Member = members[0].Member }))
	if c := w.commitOffset(member, 8).get(t); c.all != nil {
		t.Errorf("before the next generation: %+v", c)
	}
	w.join(request(func(r *JoinRequest) { r.Member = members[1].Member }))
	member.Generation = rejoin.get(t).Generation
	if c := w.commitOffset(member, 9).get(t); !errors.Is(c.all, ErrRebalance) {
		t.Errorf("before the assignment: %+v", c)
	}
	if got := w.committed("g"); got != 8 {
		t.Errorf("committed is %d", got)
	}
	if got := w.committed("none"); got != -1 {
		t.Errorf("committed in an unknown group is %d", got)
	}
}

func TestCommitKeepsTheSession(t *testing.T) {
	w := newWorld(t, nil)
	members := w.form(1)
	for i := range 5 {
		w.pass(8 * time.Second)
		if c := w.commitOffset(Identity{Group: "g", Member: members[0].Member, Generation: 1}, int64(i)).get(t); c.all != nil {
			t.Fatal(c.all)
		}
	}
}

func TestCommitIsAnsweredWhenItIsCommitted(t *testing.T) {
	w := newWorld(t, nil)
	w.auto = false
	simple := Identity{Group: "g", Generation: -1}
	first, second := w.commitOffset(simple, 1), w.commitOffset(simple, 2)
	read := &call[int64]{}
	w.m.Committed("g", nil, func(got []Committed, err error) { read.answer(got[0].Offset.Offset) })
	if got := len(w.m.List()); got != 0 {
		t.Errorf("%d groups before the commit", got)
	}
	w.commit()
	if c := first.get(t); c.all != nil {
		t.Error(c.all)
	}
	second.waits(t)
	read.waits(t) // it sees what was committed before it was asked
	w.doubt(0)
	if c := second.get(t); !errors.Is(c.all, coordinator.ErrUnavailable) {
		t.Error(c.all)
	}
	if got := read.get(t); got != 1 {
		t.Errorf("read %d, the offset known to be committed is 1", got)
	}
	w.commit() // after all
	if got := w.committed("g"); got != 2 {
		t.Errorf("committed is %d", got)
	}
	if len(w.m.live) != 0 {
		t.Error("the group is alive with nothing under way")
	}
}

func TestMetadataAndSizeOfCommitsAreBounded(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.MaxMetadata, c.MaxAppend = 4, 500 })
	r := CommitRequest{Identity: Identity{Group: "g", Generation: -1}}
	for i, metadata := range []string{"1234", "12345", "\U0001F600\U0001F600", "\U0001F600\U0001F600x"} {
		r.Offsets = append(r.Offsets, Commit{Topic: "t", Partition: int32(i), Metadata: metadata, Keep: -1})
	}
	c := &call[commitResult]{}
	ask := func() commitResult {
		c = &call[commitResult]{}
		w.m.Commit(w, r, func(each []error, all error) { c.answer(commitResult{each, all}) })
		w.turn()
		return c.get(t)
	}
	got := ask()
	for i, want := range []error{nil, ErrMetadataTooLarge, nil, ErrMetadataTooLarge} {
		if got.all != nil || !errors.Is(got.each[i], want) {
			t.Errorf("commit %d: %v, %v", i, got.each[i], got.all)
		}
	}
	if n := len(w.m.kept["g"].offsets); n != 2 {
		t.Errorf("%d offsets committed", n)
	}
	r.Offsets = r.Offsets[1:2]
	if got := ask(); got.all != nil || len(w.log) != 2 {
		t.Errorf("nothing to commit: %+v, %d records", got, len(w.log))
	}
	r.Offsets = nil
	for i := range int32(20) {
		r.Offsets = append(r.Offsets, Commit{Topic: "topic", Partition: i, Keep: -1})
	}
	if got := ask(); !errors.Is(got.all, coordinator.ErrTooLarge) {
		t.Errorf("too many: %+v", got)
	}
}

func (w *world) deleteOffsets(group string, which ...TopicPartition) commitResult {
	c := &call[commitResult]{}
	w.m.DeleteOffsets(w, group, which, func(each []error, all error) { c.answer(commitResult{each, all}) })
	w.turn()
	return c.get(w.t)
}

func TestDeleteOffsets(t *testing.T) {
	w := newWorld(t, nil)
	members := w.form(1)
	w.commitOffset(Identity{Group: "g", Member: members[0].Member, Generation: 1}, 5)
	if got := w.deleteOffsets("g", TopicPartition{"events", 1}, TopicPartition{"others", 0}); got.all != nil || !errors.Is(got.each[0], ErrSubscribed) || got.each[1] != nil {
		t.Errorf("group with members: %+v", got)
	}
	w.m.Leave(w, "g", []Leaver{{Member: members[0].Member}})
	w.turn()
	if got := w.deleteOffsets("g", TopicPartition{"events", 1}, TopicPartition{"events", 2}); got.all != nil || got.each[0] != nil || got.each[1] != nil {
		t.Errorf("empty group: %+v", got)
	}
	if got := w.committed("g"); got != -1 {
		t.Errorf("committed is %d", got)
	}
	if got := w.deleteOffsets("none"); !errors.Is(got.all, ErrNotFound) {
		t.Errorf("unknown group: %+v", got)
	}
	if got := w.deleteOffsets(""); !errors.Is(got.all, ErrInvalidGroup) {
		t.Errorf("no group: %+v", got)
	}
	w.join(request(func(r *JoinRequest) { r.Group, r.ProtocolType, r.NeedsID = "connect", "connect", false }))
	if got := w.deleteOffsets("connect", TopicPartition{"events", 1}); !errors.Is(got.all, ErrNotEmpty) {
		t.Errorf("group of another type: %+v", got)
	}
}

func (w *world) delete(group string) error {
	c := &call[error]{}
	w.m.Delete(w, group, c.answer)
	w.turn()
	return c.get(w.t)
}

func TestDelete(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.MaxAppend = 1000 })
	members := w.form(1)
	if err := w.delete("g"); !errors.Is(err, ErrNotEmpty) {
		t.Errorf("group with members: %v", err)
	}
	who := Identity{Group: "g", Member: members[0].Member, Generation: 1}
	for i := range int32(100) {
		w.m.Commit(w, CommitRequest{Identity: who, Offsets: []Commit{{Topic: "events", Partition: i, Keep: -1}}}, func([]error, error) {})
		w.turn()
	}
	w.m.Leave(w, "g", []Leaver{{Member: members[0].Member}})
	w.auto = false
	w.commitOffset(Identity{Group: "g", Generation: -1}, 1) // under way
	c := &call[error]{}
	w.m.Delete(w, "g", c.answer)
	for len(w.queue) > 1 {
		w.commit()
		c.waits(t)
	}
	w.commit()
	if err := c.get(t); err != nil {
		t.Error(err)
	}
	if len(w.m.kept) != 0 || len(w.m.live) != 0 {
		t.Errorf("left: %+v", w.m.kept)
	}
	if err := w.delete("g"); !errors.Is(err, ErrNotFound) {
		t.Errorf("deleted group: %v", err)
	}
}

func TestRetention(t *testing.T) {
	const day = 24 * time.Hour
	w := newWorld(t, nil)
	members := w.form(1)
	who := Identity{Group: "g", Member: members[0].Member, Generation: 1}
	w.m.Commit(w, CommitRequest{Identity: who, Offsets: []Commit{
		{Topic: "events", Partition: 1, Keep: -1}, {Topic: "left", Partition: 0, Keep: -1}, {Topic: "left", Partition: 1, Keep: day},
	}}, func([]error, error) {})
	w.turn()
	w.commitOffset(Identity{Group: "simple", Generation: -1}, 1)
	stay := func(d time.Duration) {
		for end := w.now.Add(d); w.now.Before(end); w.pass(8 * time.Second) {
			if err := w.heartbeat(members[0]); err != nil {
				t.Fatal(err)
			}
		}
	}
	left := func() string {
		out := ""
		for _, id := range []string{"g", "simple"} {
			for _, c := range w.m.committed(id, nil) {
				out += fmt.Sprintf("%s:%s-%d ", id, c.Topic, c.Partition)
			}
		}
		return out
	}
	for _, step := range []struct {
		stay time.Duration
		want string
	}{
		{day - time.Hour, "g:events-1 g:left-0 g:left-1 simple:events-1 "},
		{2 * time.Hour, "g:events-1 g:left-0 simple:events-1 "},
		{6*day - 2*time.Hour, "g:events-1 g:left-0 simple:events-1 "},
		{2 * time.Hour, "g:events-1 "},
		{7 * day, "g:events-1 "},
	} {
		stay(step.stay)
		if got := left(); got != step.want {
			t.Errorf("after another %v: %q, want %q", step.stay, got, step.want)
		}
	}
	w.pass(7 * day)
	w.move(0, 0)
	if got := left(); got != "g:events-1 " {
		t.Errorf("not empty for as long as offsets are kept: %q", got)
	}
	w.pass(time.Hour)
	if len(w.m.kept) != 0 || len(w.m.live) != 0 {
		t.Errorf("left: %q, kept %v", left(), w.m.kept)
	}
}

func TestOffsetsOfDeletedTopicsGo(t *testing.T) {
	deleted := false
	w := newWorld(t, nil)
	w.gone = func(topic string, _ [16]byte) bool { return deleted && topic == "events" }
	w.commitOffset(Identity{Group: "g", Generation: -1}, 1)
	w.pass(time.Hour)
	deleted = true
	w.pass(w.config.ExpireEvery)
	if w.committed("g") != 1 {
		t.Error("gone at first sight")
	}
	deleted = false
	w.pass(w.config.ExpireEvery)
	deleted = true
	w.pass(w.config.ExpireEvery)
	if w.committed("g") != 1 {
		t.Error("gone though the topic existed in between")
	}
	w.auto = false
	w.commitOffset(Identity{Group: "g", Generation: -1}, 2) // under way during the look
	w.pass(w.config.ExpireEvery)
	w.auto = true
	w.turn()
	if w.committed("g") != 2 {
		t.Error("gone while a commit was under way")
	}
	w.pass(2 * w.config.ExpireEvery)
	if w.committed("g") != -1 || len(w.m.kept) != 0 {
		t.Error("still there")
	}
}

func TestOffsetsGoWithTheirTopic(t *testing.T) {
	w := newWorld(t, nil)
	old, young := [16]byte{1}, [16]byte{2}
	commit := func(group string, id [16]byte, p int32) {
		w.m.Commit(w, CommitRequest{Identity: Identity{Group: group, Generation: -1}, Offsets: []Commit{{Topic: "events", TopicID: id, Partition: p, Keep: -1}}},
			func([]error, error) {})
		w.turn()
	}
	commit("a", old, 0)
	commit("a", young, 1)
	commit("b", old, 0)
	commit("c", old, 0)
	w.auto = false
	commit("c", young, 0) // the topic was made again, and this is under way
	w.m.TopicsDeleted(w, [][16]byte{{3}, old})
	w.auto = true
	w.turn()
	var left []string
	for _, l := range w.m.List() {
		for _, c := range w.m.committed(l.Group, nil) {
			left = append(left, fmt.Sprint(l.Group, c.Partition, c.Offset.TopicID[0]))
		}
	}
	if want := []string{"a1 2", "c0 2"}; fmt.Sprint(left) != fmt.Sprint(want) || len(w.m.live) != 0 {
		t.Errorf("left are %v, want %v", left, want)
	}
}

func TestEndOfAGroupIsWrittenAgainIfItWasInDoubt(t *testing.T) {
	w := newWorld(t, nil)
	members := w.form(1)
	w.auto = false
	w.m.Leave(w, "g", []Leaver{{Member: members[0].Member}})
	w.doubt(0)
	w.queue = nil // it never arrives
	w.auto = true
	if w.state() != Empty || len(w.m.kept["g"].meta.members) != 1 {
		t.Fatalf("group is %v, kept %+v", w.state(), w.m.kept["g"].meta)
	}
	w.pass(w.config.ExpireEvery)
	if k := w.m.kept["g"]; k != nil && len(k.meta.members) > 0 {
		t.Errorf("kept is %+v", k.meta)
	}
}

func TestListHasStateAndType(t *testing.T) {
	w := newWorld(t, nil)
	w.form(1)
	w.commitOffset(Identity{Group: "a", Generation: -1}, 1)
	want := []Listed{{"a", "", Empty}, {"g", "consumer", Stable}}
	if got := w.m.List(); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("groups are %v, want %v", got, want)
	}
	w.m.Leave(w, "g", []Leaver{{Member: w.ids()[0]}})
	w.turn()
	if d, err := w.m.Describe("g"); err != nil || d.State != Empty || d.ProtocolType != "consumer" || len(d.Members) != 0 {
		t.Errorf("empty group is %+v, %v", d, err)
	}
}

func TestSubscriptionsOfAllVersionsAreRead(t *testing.T) {
	for name, test := range map[string]struct {
		metadata []byte
		ok       bool
	}{
		"good":          {subscribed("a", "b"), true},
		"empty":         {nil, false},
		"count too big": {[]byte{0, 0, 0xff, 0xff, 0xff, 0xff}, false},
		"cut short":     {subscribed("a", "b")[:8], false},
		"negative":      {[]byte{0xff, 0xff, 0, 0, 0, 0}, false},
	} {
		topics := map[string]bool{}
		if ok := subscription(test.metadata, topics); ok != test.ok || ok && len(topics) != 2 {
			t.Errorf("%s: %v, topics %v", name, ok, topics)
		}
	}
}

func TestConfigsThatExcludeEverythingAreRefused(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"no ids":      func(c *Config) { c.NewID = nil },
		"no sessions": func(c *Config) { c.MaxSession = time.Second },
		"no time":     func(c *Config) { c.Retention = 0 },
		"negative":    func(c *Config) { c.MaxSize = -1 },
	} {
		c := testConfig()
		change(&c)
		if _, err := New(c); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
