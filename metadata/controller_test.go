package metadata

import (
	"encoding/binary"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/varvelog/varve/metadata/acl"
	"github.com/varvelog/varve/tiering/segment"
	"github.com/varvelog/varve/tiering/wire"
)

// idSource draws ids 1, 2, 3 ...
func idSource() func() segment.ID { return idSourceFrom(0) }

func idSourceFrom(n uint64) func() segment.ID {
	return func() (id segment.ID) {
		n++
		binary.BigEndian.PutUint64(id[8:], n)
		return id
	}
}

// newCluster is a controller of a bootstrapped cluster and the state its entries
// were applied to.
func newCluster(t interface {
	Helper()
	Fatal(...any)
}) (*Controller, *State) {
	return newClusterUpTo(t, SupportedLevel)
}

func newClusterUpTo(t interface {
	Helper()
	Fatal(...any)
}, level uint16) (*Controller, *State) {
	t.Helper()
	s := NewUpTo(level)
	c := NewController(s, Defaults{Partitions: 6, ReplicationFactor: 1})
	entries, err := c.Bootstrap()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Apply(footer(1, 1), entries); err != nil {
		t.Fatal(err)
	}
	return c, s
}

func imageBytes(m *image) string {
	w := &wire.Writer{}
	m.encode(w)
	return string(w.B)
}

func TestBootstrapHappensOnce(t *testing.T) {
	c, s := newCluster(t)
	if s.Level() != SupportedLevel || len(s.Journals()) != 1 {
		t.Errorf("level %d, journals %v", s.Level(), s.Journals())
	}
	if entries, err := c.Bootstrap(); err != nil || entries != nil {
		t.Errorf("again: %v, %v", entries, err)
	}
	if entries, err := NewController(s, Defaults{}).Bootstrap(); err != nil || entries != nil {
		t.Errorf("next controller: %v, %v", entries, err)
	}
}

func TestCreatedTopicHasWhatWasAskedFor(t *testing.T) {
	c, s := newCluster(t)
	configs := map[string]string{"max.message.bytes": "1000", "segment.bytes": "52428800"}
	entries, results := c.CreateTopics(77, []NewTopic{
		{Name: "orders", Partitions: 12, ReplicationFactor: 3, Configs: configs},
		{Name: "defaults", Partitions: -1, ReplicationFactor: -1},
	}, false, idSource())
	delete(configs, "segment.bytes") // the caller's map is the caller's
	if _, ok := s.Topic("orders"); ok {
		t.Fatal("visible before it is committed")
	}
	if err := s.Apply(footer(2, 1), entries); err != nil {
		t.Fatal(err)
	}
	orders, _ := s.Topic("orders")
	if results[0].Err != nil || !reflect.DeepEqual(results[0].Topic, orders) {
		t.Fatalf("answered %+v, committed %+v", results[0], orders)
	}
	if len(orders.Partitions) != 12 || orders.ReplicationFactor != 3 || orders.CreatedMs != 77 ||
		orders.Values.MaxMessageBytes != 1000 || orders.Configs["segment.bytes"] != "52428800" {
		t.Errorf("%+v", orders)
	}
	d, _ := s.Topic("defaults")
	if len(d.Partitions) != 6 || d.ReplicationFactor != 1 || d.Values.MaxMessageBytes != 1048588 {
		t.Errorf("defaults: %+v", d)
	}
}

func TestBadTopicsAreRefusedOneByOne(t *testing.T) {
	c, _ := newCluster(t)
	ids := idSource()
	create := func(nt NewTopic) ([]segment.Entry, error) {
		entries, results := c.CreateTopics(1, []NewTopic{nt}, false, ids)
		return entries, results[0].Err
	}
	if _, err := create(NewTopic{Name: "a.b", Partitions: 1, ReplicationFactor: 1}); err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("x", 249)
	for _, bad := range []struct {
		nt   NewTopic
		want error
	}{
		{NewTopic{"", 1, 1, nil}, ErrInvalidName},
		{NewTopic{".", 1, 1, nil}, ErrInvalidName},
		{NewTopic{"..", 1, 1, nil}, ErrInvalidName},
		{NewTopic{long + "x", 1, 1, nil}, ErrInvalidName},
		{NewTopic{"a/b", 1, 1, nil}, ErrInvalidName},
		{NewTopic{"é", 1, 1, nil}, ErrInvalidName},
		{NewTopic{"a\x00", 1, 1, nil}, ErrInvalidName},
		{NewTopic{"a_b", 1, 1, nil}, ErrInvalidName}, // collides
		{NewTopic{"a.b", 1, 1, nil}, ErrTopicExists},
		{NewTopic{"n", 0, 1, nil}, ErrInvalidPartitions},
		{NewTopic{"n", -2, 1, nil}, ErrInvalidPartitions},
		{NewTopic{"n", MaxPartitions + 1, 1, nil}, ErrInvalidPartitions},
		{NewTopic{"n", 1, 0, nil}, ErrInvalidReplication},
		{NewTopic{"n", 1, 4, nil}, ErrInvalidReplication},
		{NewTopic{"n", 1, 1, map[string]string{"no.such": "1"}}, ErrInvalidConfig},
		{NewTopic{"n", 1, 1, map[string]string{"retention.ms": "soon"}}, ErrInvalidConfig},
	} {
		before := imageBytes(c.img)
		entries, err := create(bad.nt)
		if !errors.Is(err, bad.want) || entries != nil || imageBytes(c.img) != before {
			t.Errorf("%.30q %+v: %v, want %v", bad.nt.Name, bad.nt, err, bad.want)
		}
		if err != nil && strings.Count(err.Error(), "invalid") > 1 {
			t.Errorf("said twice: %v", err)
		}
	}
	for _, name := range []string{long, "...", "_", "-", "a-b", "__consumer_offsets", "__transaction_state", "__cluster_metadata", "A.B"} {
		if _, err := create(NewTopic{Name: name, Partitions: 1, ReplicationFactor: 1}); err != nil {
			t.Errorf("%.30q: %v", name, err)
		}
	}
	entries, results := c.CreateTopics(1, []NewTopic{
		{"good-1", 1, 1, nil}, {"bad", 0, 1, nil}, {"good-2", 1, 1, nil}, {"good-1", 1, 1, nil},
	}, false, ids)
	if len(entries) != 2 || results[0].Err != nil || results[1].Err == nil || results[2].Err != nil || !errors.Is(results[3].Err, ErrTopicExists) {
		t.Errorf("mixed: %d entries, %+v", len(entries), results)
	}
}

func TestOneRequestIsBoundedInPartitions(t *testing.T) {
	c, _ := newCluster(t)
	_, results := c.CreateTopics(1, []NewTopic{{"a", 9_999, 1, nil}, {"b", 2, 1, nil}, {"c", 1, 1, nil}}, false, idSource())
	if results[0].Err != nil || !errors.Is(results[1].Err, ErrInvalidPartitions) || results[2].Err != nil {
		t.Errorf("%v, %v, %v", results[0].Err, results[1].Err, results[2].Err)
	}
}

func TestValidateOnlyPlansNothing(t *testing.T) {
	c, _ := newCluster(t)
	before := imageBytes(c.img)
	entries, results := c.CreateTopics(1, []NewTopic{{"a", 3, 2, nil}, {"b", 0, 1, nil}}, true, func() segment.ID {
		t.Error("drew an id")
		return segment.ID{}
	})
	if entries != nil || imageBytes(c.img) != before {
		t.Error("something was planned")
	}
	if r := results[0]; r.Err != nil || len(r.Topic.Partitions) != 3 || r.Topic.ReplicationFactor != 2 || !r.Topic.ID.IsZero() {
		t.Errorf("%+v", r)
	}
	if !errors.Is(results[1].Err, ErrInvalidPartitions) {
		t.Errorf("%+v", results[1])
	}
}

func TestUnfitTopicIDsAreDrawnAgain(t *testing.T) {
	c, _ := newCluster(t)
	ids := []segment.ID{{}, {0xf8}, {1}, {1}, {2}} // zero, "-AAA...", fit, used, fit
	draw := func() segment.ID {
		id := ids[0]
		ids = ids[1:]
		return id
	}
	_, results := c.CreateTopics(1, []NewTopic{{"a", 1, 1, nil}, {"b", 1, 1, nil}}, false, draw)
	if results[0].Topic.ID != (segment.ID{1}) || results[1].Topic.ID != (segment.ID{2}) {
		t.Errorf("%v, %v", results[0].Topic.ID, results[1].Topic.ID)
	}
	_, results = c.CreateTopics(1, []NewTopic{{"c", 1, 1, nil}}, false, func() segment.ID { return segment.ID{} })
	if results[0].Err == nil {
		t.Error("broken randomness gave a topic")
	}
}

func TestPendingChangesAreSeenByLaterRequests(t *testing.T) {
	c, s := newCluster(t)
	ids := idSource()
	_, created := c.CreateTopics(1, []NewTopic{{"a", 1, 1, nil}}, false, ids)
	id := created[0].Topic.ID
	if _, again := c.CreateTopics(1, []NewTopic{{"a", 1, 1, nil}}, false, ids); !errors.Is(again[0].Err, ErrTopicExists) {
		t.Errorf("created twice: %v", again[0].Err)
	}
	if _, errs := c.Purge([]segment.ID{id}); !errors.Is(errs[0], ErrUnknownTopic) {
		t.Errorf("purged a live topic: %v", errs)
	}
	_, errs := c.DeleteTopics(6, []segment.ID{id, id, {0x99}})
	if errs[0] != nil || !errors.Is(errs[1], ErrUnknownTopic) || !errors.Is(errs[2], ErrUnknownTopic) {
		t.Errorf("deletions: %v", errs)
	}
	if _, errs := c.Purge([]segment.ID{id}); errs[0] != nil {
		t.Error(errs)
	}
	if _, again := c.CreateTopics(1, []NewTopic{{"a", 1, 1, nil}}, false, ids); again[0].Err != nil {
		t.Errorf("after the purge: %v", again[0].Err)
	}
	// None of it was committed: the next leadership starts from the state.
	if _, again := NewController(s, Defaults{Partitions: 1, ReplicationFactor: 1}).CreateTopics(1, []NewTopic{{"a", 1, 1, nil}}, false, ids); again[0].Err != nil {
		t.Errorf("after a lost leadership: %v", again[0].Err)
	}
}

func TestPartitionsGoWhereThereAreFewest(t *testing.T) {
	s := New()
	apply(t, s, FeatureLevel{Level: 1}, JournalCreated{1}, JournalCreated{2}, JournalCreated{3})
	c := NewController(s, Defaults{Partitions: 1, ReplicationFactor: 1})
	entries, results := c.CreateTopics(1, []NewTopic{{"a", 4, 1, nil}, {"b", 1, 1, nil}}, false, idSource())
	got := append(slices.Clone(results[0].Topic.Partitions), results[1].Topic.Partitions...)
	want := []Partition{{Journal: 1}, {Journal: 2}, {Journal: 3}, {Journal: 1}, {Journal: 2}}
	if !slices.Equal(got, want) {
		t.Errorf("placed %v, want %v", got, want)
	}
	commit(t, s, entries)
	next := NewController(s, c.defaults)
	_, results = next.CreateTopics(1, []NewTopic{{"c", 2, 1, nil}, NewConsumerOffsets()}, false, idSourceFrom(9))
	if got := results[0].Topic.Partitions; got[0].Journal != 3 || got[1].Journal != 1 {
		t.Errorf("the next controller placed %v, want in journals 3 and 1", got)
	}
	for _, p := range results[1].Topic.Partitions {
		if p.Journal != 1 {
			t.Errorf("internal partition in journal %d", p.Journal)
		}
	}
}

func TestTopicsNeedAJournal(t *testing.T) {
	s := New()
	apply(t, s, FeatureLevel{Level: 1})
	_, results := NewController(s, Defaults{Partitions: 1, ReplicationFactor: 1}).CreateTopics(1, []NewTopic{{"a", 1, 1, nil}}, false, idSource())
	if !errors.Is(results[0].Err, ErrUnavailable) {
		t.Error(results[0].Err)
	}
}

func TestProducerIDsAreNeverGivenTwice(t *testing.T) {
	c, s := newCluster(t)
	seen := map[int64]bool{}
	for range 3 {
		entries, block, err := c.AllocateProducerIDs(ProducerIDBlockSize)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Apply(footer(s.Head()+1, 1), entries); err != nil {
			t.Fatal(err)
		}
		for id, ok := block.Take(); ok; id, ok = block.Take() {
			if seen[id] || id < 1 {
				t.Fatalf("id %d", id)
			}
			seen[id] = true
		}
		c = NewController(s, Defaults{}) // as after every lost leadership
	}
	if len(seen) != 3*ProducerIDBlockSize || !seen[1] || !seen[3000] {
		t.Errorf("%d ids", len(seen))
	}
	if _, _, err := c.AllocateProducerIDs(0); err == nil {
		t.Error("allocated none")
	}
	if _, _, err := c.AllocateProducerIDs(MaxProducerIDs + 1); err == nil {
		t.Error("allocated too many")
	}
}

func TestNodeKeepsItsBrokerID(t *testing.T) {
	c, s := newCluster(t)
	entries, id, err := c.RegisterNode(nodeA)
	if err != nil || id != 1 || len(entries) != 1 {
		t.Fatalf("%d, %v", id, err)
	}
	if err := s.Apply(footer(2, 1), entries); err != nil {
		t.Fatal(err)
	}
	next := NewController(s, Defaults{})
	if entries, id, err := next.RegisterNode(nodeA); err != nil || id != 1 || entries != nil {
		t.Errorf("again: %d, %v, %v", id, entries, err)
	}
	if _, id, err := next.RegisterNode(segment.ID{2}); err != nil || id != 2 {
		t.Errorf("another: %d, %v", id, err)
	}
	if _, _, err := next.RegisterNode(segment.ID{}); err == nil {
		t.Error("registered the zero node")
	}
}

// Any run of requests, committed in batches of any size by leaderships that may
// end with requests pending, leaves live and replayed state, and a controller
// with nothing pending, equal.
func TestLiveReplayedAndPlannedStatesAgree(t *testing.T) {
	type object struct {
		f       *segment.Footer
		entries []segment.Entry
	}
	rapid.Check(t, func(t *rapid.T) {
		c, live := newCluster(t)
		replayed := New()
		bootstrap, _ := NewController(replayed, Defaults{}).Bootstrap()
		journal := []object{{footer(1, 1), bootstrap}}
		var pending []segment.Entry
		epoch, draw := uint32(1), idSource()
		var known []segment.ID
		pick := func() segment.ID {
			if len(known) == 0 {
				return segment.ID{0x99}
			}
			return rapid.SampledFrom(known).Draw(t, "topic")
		}
		commit := func(t *rapid.T) {
			o := object{footer(live.Head()+1, epoch), pending}
			if err := live.Apply(o.f, o.entries); err != nil {
				t.Fatalf("apply the plan: %v", err)
			}
			journal, pending = append(journal, o), nil
			if imageBytes(c.img) != imageBytes(live.img) {
				t.Fatal("controller and state differ with nothing pending")
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"create": func(t *rapid.T) {
				name := rapid.SampledFrom([]string{"a", "b", "a.b", "a_b", "c", "."}).Draw(t, "name")
				parts := rapid.Int32Range(-1, 5).Draw(t, "partitions")
				e, r := c.CreateTopics(5, []NewTopic{{name, parts, -1, map[string]string{"retention.ms": "9"}}}, rapid.Bool().Draw(t, "validate"), draw)
				pending = append(pending, e...)
				if len(e) == 1 {
					known = append(known, r[0].Topic.ID)
				}
			},
			"delete": func(t *rapid.T) {
				e, _ := c.DeleteTopics(6, []segment.ID{pick()})
				pending = append(pending, e...)
			},
			"purge": func(t *rapid.T) {
				e, _ := c.Purge([]segment.ID{pick()})
				pending = append(pending, e...)
			},
			"partitions": func(t *rapid.T) {
				name := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "name")
				e, _ := c.CreatePartitions([]NewPartitions{{Topic: name, Count: rapid.Int32Range(1, 9).Draw(t, "count")}}, rapid.Bool().Draw(t, "validate"))
				pending = append(pending, e...)
			},
			"configs": func(t *rapid.T) {
				e, _ := c.AlterConfigs([]ConfigChange{{
					Topic: rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "name"), Replace: rapid.Bool().Draw(t, "replace"),
					Ops: []ConfigOp{{OpKind(rapid.Int8Range(0, 3).Draw(t, "op")), "cleanup.policy", rapid.SampledFrom([]string{"compact", "delete", "x"}).Draw(t, "value")}},
				}}, rapid.Bool().Draw(t, "validate"))
				pending = append(pending, e...)
			},
			"producer ids": func(t *rapid.T) {
				e, _, err := c.AllocateProducerIDs(rapid.Uint32Range(1, 5).Draw(t, "count"))
				if err != nil {
					t.Fatal(err)
				}
				pending = append(pending, e...)
			},
			"node": func(t *rapid.T) {
				e, _, err := c.RegisterNode(segment.ID{rapid.Byte().Draw(t, "node"), 15: 1})
				if err != nil {
					t.Fatal(err)
				}
				pending = append(pending, e...)
			},
			"commit": commit,
			"lose leadership": func(t *rapid.T) {
				pending, epoch = nil, epoch+1
				c = NewController(live, Defaults{Partitions: 2, ReplicationFactor: 1})
			},
		})
		commit(t)
		for _, o := range journal {
			if err := replayed.Apply(o.f, o.entries); err != nil {
				t.Fatalf("replay: %v", err)
			}
		}
		if replayed.hash() != live.hash() {
			t.Fatal("replayed state differs from the live one")
		}
	})
}

func TestANodeThatOnlyReadsSaysSo(t *testing.T) {
	var a Admin = Refused{ErrReadsOnly}
	if r := a.CreateTopics(t.Context(), make([]NewTopic, 2), false); len(r) != 2 || r[1].Err != ErrReadsOnly {
		t.Error(r)
	}
	if r := a.DeleteTopics(t.Context(), make([]segment.ID, 2)); len(r) != 2 || r[1] != ErrReadsOnly {
		t.Error(r)
	}
	if r := a.CreatePartitions(t.Context(), make([]NewPartitions, 2), false); len(r) != 2 || r[1] != ErrReadsOnly {
		t.Error(r)
	}
	if r := a.AlterConfigs(t.Context(), make([]ConfigChange, 2), false); len(r) != 2 || r[1] != ErrReadsOnly {
		t.Error(r)
	}
	if err := a.SetNode(t.Context(), 1, StateDrained, false); err != ErrReadsOnly {
		t.Error(err)
	}
	if r := a.CreateACLs(t.Context(), make([]acl.Binding, 2)); len(r) != 2 || r[1] != ErrReadsOnly {
		t.Error(r)
	}
	if r := a.DeleteACLs(t.Context(), make([]acl.Filter, 2)); len(r) != 2 || r[1].Err != ErrReadsOnly {
		t.Error(r)
	}
	if r := a.AlterUsers(t.Context(), make([]UserChange, 2)); len(r) != 2 || r[1] != ErrReadsOnly {
		t.Error(r)
	}
	if err := a.RequireAuthentication(t.Context(), "a", nil); err != ErrReadsOnly {
		t.Error(err)
	}
	if err := a.EndAuthentication(t.Context()); err != ErrReadsOnly {
		t.Error(err)
	}
	if err := (Refused{}).EndAuthentication(t.Context()); err != ErrUnavailable {
		t.Error(err)
	}
	if err := a.GrowTo(t.Context(), 2, false); err != ErrReadsOnly {
		t.Error(err)
	}
	if _, err := a.NextProducerID(t.Context()); err != ErrReadsOnly {
		t.Error(err)
	}
}
