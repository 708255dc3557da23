package kafka

import (
	"context"
	"fmt"
	"maps"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
	"pgregory.net/rapid"

	"github.com/varvelog/varve/cmd/internal/kafka/listener"
	"github.com/varvelog/varve/fetch"
	"github.com/varvelog/varve/fetch/session"
	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/tiering/segment"
)

// sessionClient fetches by a session, as far as the test lets it.
type sessionClient struct {
	*client
	version   int16
	id, epoch int32
}

// request returns a request for partitions of a topic, which does not wait.
func (s *sessionClient) request(topic *metadata.Topic, offset int64, partitions ...int32) *kmsg.FetchRequest {
	req := sample(1, s.version, topic).(*kmsg.FetchRequest)
	req.SessionID, req.SessionEpoch, req.MaxWaitMillis, req.MaxBytes, req.ForgottenTopics = s.id, s.epoch, 0, 1<<20, nil
	model := req.Topics[0].Partitions[0]
	req.Topics[0].Partitions = nil
	for _, p := range partitions {
		model.Partition, model.FetchOffset, model.CurrentLeaderEpoch = p, offset, -1
		req.Topics[0].Partitions = append(req.Topics[0].Partitions, model)
	}
	if len(partitions) == 0 {
		req.Topics = nil
	}
	return req
}

func forgetting(topic *metadata.Topic, req *kmsg.FetchRequest, partitions ...int32) *kmsg.FetchRequest {
	f := kmsg.NewFetchRequestForgottenTopic()
	f.Topic, f.TopicID, f.Partitions = topic.Name, topic.ID, partitions
	req.ForgottenTopics = append(req.ForgottenTopics, f)
	return req
}

// fetch asks and returns the answer with its partitions as text.
func (s *sessionClient) fetch(req *kmsg.FetchRequest) (*kmsg.FetchResponse, string) {
	resp := s.ask(req).(*kmsg.FetchResponse)
	if resp.ErrorCode == 0 && resp.SessionID != 0 {
		s.id, s.epoch = resp.SessionID, s.epoch+1
	}
	text := ""
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			text += fmt.Sprintf("%d:%d@%d", p.Partition, p.ErrorCode, p.HighWatermark)
			if len(p.RecordBatches) > 0 {
				text += "+"
			}
			text += " "
		}
	}
	return resp, text
}

func (s *sessionClient) want(t *testing.T, what string, req *kmsg.FetchRequest, want string) {
	t.Helper()
	resp, got := s.fetch(req)
	if got != want || resp.ErrorCode != 0 || resp.SessionID != s.id {
		t.Errorf("%s: error %d, session %d, partitions %q, want session %d, %q", what, resp.ErrorCode, resp.SessionID, got, s.id, want)
	}
}

func TestASessionCarriesChangesOnly(t *testing.T) {
	for _, version := range []int16{7, 12, 13, 18} {
		t.Run(fmt.Sprint("v", version), func(t *testing.T) {
			c := newCluster()
			topic := c.addTopic(t, "events", 4, nil)
			server := start(t, c, Config{}, c.backend())
			producer := server.dial(t)
			cl := &sessionClient{client: server.dial(t), version: version}
			produceTo := func(p int32) {
				req := produceOne(topic, -1, plain())
				req.Topics[0].Partitions[0].Partition = p
				producer.ask(req)
			}
			cl.want(t, "full", cl.request(topic, 0, 0, 1, 2), "0:0@0 1:0@0 2:0@0 ")
			if cl.id <= 0 {
				t.Fatalf("session %d", cl.id)
			}
			cl.want(t, "nothing changed", cl.request(topic, 0), "")
			produceTo(1)
			cl.want(t, "new records", cl.request(topic, 0), "1:0@2+ ")
			cl.want(t, "not moved on", cl.request(topic, 0), "1:0@2+ ")
			cl.want(t, "moved on", cl.request(topic, 2, 1), "")
			cl.want(t, "another partition", cl.request(topic, 0, 3), "3:0@0 ")
			produceTo(2)
			produceTo(3)
			cl.want(t, "one is forgotten", forgetting(topic, cl.request(topic, 0), 2), "3:0@2+ ")
			cl.want(t, "it is wanted again", cl.request(topic, 2, 2, 3), "2:0@2 ")
			cl.want(t, "out of range", cl.request(topic, 9, 0), "0:1@0 ")
			cl.want(t, "still out of range", cl.request(topic, 0), "0:1@0 ")
			cl.want(t, "in range again", cl.request(topic, 0, 0), "0:0@0 ")
			cl.want(t, "no such partition", cl.request(topic, 0, 9), "9:3@-1 ")
			cl.want(t, "still none", cl.request(topic, 0), "9:3@-1 ")
			cl.want(t, "it is forgotten", forgetting(topic, cl.request(topic, 0), 9), "")
			closed := cl.id
			resp, _ := cl.fetch(forgetting(topic, cl.request(topic, 0), 0, 1, 2, 3))
			if resp.ErrorCode != 0 || resp.SessionID != 0 {
				t.Errorf("nothing is left: error %d, session %d", resp.ErrorCode, resp.SessionID)
			}
			if resp, _ = cl.fetch(cl.request(topic, 0)); resp.ErrorCode != kerr.FetchSessionIDNotFound.Code || resp.SessionID != 0 {
				t.Errorf("session %d, which is closed: error %d, session %d", closed, resp.ErrorCode, resp.SessionID)
			}
		})
	}
}

func TestASessionFollowsTheNamesOfTopics(t *testing.T) {
	for _, version := range []int16{12, 13} {
		c := newCluster()
		other := c.addTopic(t, "other", 1, nil)
		topic := c.addTopic(t, "events", 1, nil)
		server := start(t, c, Config{}, c.backend())
		cl := &sessionClient{client: server.dial(t), version: version}
		req := cl.request(topic, 0, 0)
		req.Topics = append(req.Topics, cl.request(other, 0, 0).Topics...)
		cl.want(t, "full", req, "0:0@0 0:0@0 ")
		c.DeleteTopics(t.Context(), []segment.ID{topic.ID})
		gone := kerr.UnknownTopicOrPartition.Code
		if version >= fetchTopicIDs {
			gone = kerr.UnknownTopicID.Code
		}
		for range 2 {
			cl.want(t, "deleted", cl.request(topic, 0), fmt.Sprintf("0:%d@-1 ", gone))
		}
		again := c.addTopic(t, "events", 2, nil)
		server.dial(t).ask(produceOne(again, -1, plain()))
		if version < fetchTopicIDs {
			cl.want(t, "made again", cl.request(topic, 0), "0:0@2+ ")
		} else {
			cl.want(t, "made again", cl.request(topic, 0), fmt.Sprintf("0:%d@-1 ", gone))
		}
	}
}

func TestAFullRequestClosesTheSessionThatItNames(t *testing.T) {
	for _, epoch := range []int32{session.Initial, session.Final} {
		c := newCluster()
		topic := c.addTopic(t, "events", 1, nil)
		cl := &sessionClient{client: start(t, c, Config{}, c.backend()).dial(t), version: 12}
		cl.want(t, "full", cl.request(topic, 0, 0), "0:0@0 ")
		first := cl.id
		req := cl.request(topic, 0, 0)
		req.SessionEpoch = epoch
		resp, got := cl.fetch(req)
		if opened := resp.SessionID != 0; got != "0:0@0 " || opened != (epoch == session.Initial) || resp.SessionID == first {
			t.Errorf("epoch %d: %q, session %d after %d", epoch, got, resp.SessionID, first)
		}
		old := cl.request(topic, 0)
		old.SessionID, old.SessionEpoch = first, 1
		if resp, _ := cl.fetch(old); resp.ErrorCode != kerr.FetchSessionIDNotFound.Code {
			t.Errorf("epoch %d: the old session: error %d", epoch, resp.ErrorCode)
		}
	}
}

func TestASessionRefusesRequestsThatDoNotFollow(t *testing.T) {
	c := newCluster()
	topic := c.addTopic(t, "events", 1, nil)
	cl := &sessionClient{client: start(t, c, Config{}, c.backend()).dial(t), version: 12}
	cl.want(t, "full", cl.request(topic, 0, 0), "0:0@0 ")
	for _, test := range []struct {
		epoch   int32
		version int16
		want    *kerr.Error
	}{
		{2, 12, kerr.InvalidFetchSessionEpoch}, {-2, 12, kerr.InvalidFetchSessionEpoch},
		{2, 13, kerr.InvalidFetchSessionEpoch}, {1, 13, kerr.FetchSessionTopicIDError},
	} {
		other := &sessionClient{client: cl.client, version: test.version, id: cl.id, epoch: test.epoch}
		resp, got := other.fetch(other.request(topic, 0, 0))
		if resp.ErrorCode != test.want.Code || resp.SessionID != 0 || got != "" {
			t.Errorf("v%d, epoch %d: error %d, session %d, %q", test.version, test.epoch, resp.ErrorCode, resp.SessionID, got)
		}
	}
	cl.want(t, "the session goes on", cl.request(topic, 0), "")
}

// A client that sends the next request before it has the answer gets the answer to that
// one only.
func TestTheNextRequestOfASessionOvertakesTheOneBefore(t *testing.T) {
	c := newCluster()
	topic := c.addTopic(t, "events", 2, nil)
	b := c.backend()
	reading := &reportingReader{Reader: c, begun: make(chan struct{}, 10)}
	b.Reader = reading
	server := start(t, c, Config{}, b)
	cl := &sessionClient{client: server.dial(t), version: 12}
	cl.want(t, "full", cl.request(topic, 0, 0), "0:0@0 ")
	<-reading.begun
	poll := cl.request(topic, 0, 1) // adds a partition
	poll.MaxWaitMillis = longPoll(topic).MaxWaitMillis
	id := cl.send(poll)
	<-reading.begun
	other := &sessionClient{client: server.dial(t), version: 12, id: cl.id, epoch: cl.epoch + 1}
	other.want(t, "the next request", other.request(topic, 0), "1:0@0 ")
	if resp := cl.receive(poll, id).(*kmsg.FetchResponse); resp.ErrorCode != kerr.InvalidFetchSessionEpoch.Code || resp.SessionID != cl.id || len(resp.Topics) > 0 {
		t.Errorf("the request before: %+v", resp)
	}
	other.want(t, "the session goes on", other.request(topic, 0), "")
}

// cutReader is a Reader whose results are errors once ctx has ended.
type cutReader struct{ Reader }

func (r cutReader) Fetch(ctx context.Context, req fetch.Request) ([]fetch.Result, func()) {
	results, release := r.Reader.Fetch(ctx, req)
	for i := range results {
		if ctx.Err() != nil {
			results[i].Err = fetch.ErrNotReady
		}
	}
	return results, release
}

// The answer has no errors that come from the end alone.
func TestALongPollOfASessionThatIsClosedEnds(t *testing.T) {
	c := newCluster()
	topic := c.addTopic(t, "events", 2, nil)
	b := c.backend()
	reading := &reportingReader{Reader: cutReader{c}, begun: make(chan struct{}, 10)}
	b.Reader = reading
	server := start(t, c, Config{}, b)
	cl := &sessionClient{client: server.dial(t), version: 12}
	cl.want(t, "full", cl.request(topic, 0, 0), "0:0@0 ")
	<-reading.begun
	poll := cl.request(topic, 0)
	poll.MaxWaitMillis = longPoll(topic).MaxWaitMillis
	id := cl.send(poll)
	<-reading.begun
	other := &sessionClient{client: server.dial(t), version: 12, id: cl.id, epoch: session.Final}
	other.fetch(other.request(topic, 0, 0))
	if resp := cl.receive(poll, id).(*kmsg.FetchResponse); resp.ErrorCode != 0 || len(resp.Topics) > 0 {
		t.Errorf("%+v", resp)
	}
	if use := b.Sessions.Use(); use.Sessions != 0 || use.Bytes != 0 {
		t.Errorf("in use: %+v", use)
	}
}

func TestSessionsHaveNoMoreThanTheirMemory(t *testing.T) {
	c := newCluster()
	topic := c.addTopic(t, "events", 100, nil)
	b := c.backend()
	const room = 20 << 10
	b.Sessions = NewFetchSessions(100, room, b.Now)
	server := start(t, c, Config{}, b)
	full := 0
	var last *sessionClient
	for range 100 {
		cl := &sessionClient{client: server.dial(t), version: 12}
		if resp, _ := cl.fetch(cl.request(topic, 0, 0, 1)); resp.SessionID == 0 && resp.ErrorCode == 0 && len(resp.Topics) == 1 {
			full++
		} else {
			last = cl
		}
	}
	use := b.Sessions.Use()
	if full == 0 || use.Sessions+full != 100 || use.Bytes > room {
		t.Errorf("%d without a session, in use %+v", full, use)
	}
	var all []int32
	for i := range int32(100) {
		all = append(all, i)
	}
	if resp, _ := last.fetch(last.request(topic, 0, all...)); resp.ErrorCode != kerr.FetchSessionIDNotFound.Code {
		t.Errorf("a session that grows: error %d", resp.ErrorCode)
	}
	if now := b.Sessions.Use(); now.Sessions != use.Sessions-1 || now.Partitions != use.Partitions-2 {
		t.Errorf("in use %+v, after %+v", now, use)
	}
}

// A request that changes partitions, and adds none, needs no room.
func TestASessionGoesOnWhereThereIsNoRoomForMore(t *testing.T) {
	c := newCluster()
	topic := c.addTopic(t, "events", 100, nil)
	b := c.backend()
	all := make([]int32, 100)
	for i := range all {
		all[i] = int32(i)
	}
	size := session.NewPartitions().Size().Plus(session.Growth(1, len(all), len("events"))).Bytes
	b.Sessions = NewFetchSessions(100, size, b.Now)
	cl := &sessionClient{client: start(t, c, Config{}, b).dial(t), version: 12}
	cl.fetch(cl.request(topic, 9, all...))
	for range 2 {
		cl.want(t, "all partitions change", cl.request(topic, 0, all...), nothingIn(all))
		cl.fetch(cl.request(topic, 9, all...))
	}
	if use := b.Sessions.Use(); use.Sessions != 1 || use.Bytes != size {
		t.Errorf("in use %+v of %d bytes", use, size)
	}
}

// nothingIn is the answer for empty partitions.
func nothingIn(partitions []int32) (text string) {
	for _, p := range partitions {
		text += fmt.Sprintf("%d:0@0 ", p)
	}
	return text
}

func TestASessionBelongsToItsPrincipal(t *testing.T) {
	s := NewFetchSessions(10, 1<<20, newCluster().backend().Now)
	alice := &listener.Client{Principal: listener.Principal{Type: "User", Name: "alice"}}
	mallory := &listener.Client{Principal: listener.Principal{Type: "User", Name: "mallory"}}
	first := s.open(alice, false, session.Size{})
	first.end()
	id := first.in.ID
	if _, err := s.resume(mallory, id, 1, false); err != session.ErrNotFound {
		t.Errorf("a foreign session: %v", err)
	}
	s.close(mallory, id)
	next, err := s.resume(alice, id, 1, false)
	if err != nil {
		t.Fatal(err)
	}
	next.end()
}

// TestASessionShowsWhatFullRequestsShow has one client with a session and one without.
// After each answer both know the same of every partition.
func TestASessionShowsWhatFullRequestsShow(t *testing.T) {
	const partitions = 3
	c := newCluster()
	server := start(t, c, Config{}, c.backend())
	cl := &sessionClient{client: server.dial(t)}
	other := &sessionClient{client: server.dial(t), version: 12, epoch: session.Final}
	rapid.Check(t, func(rt *rapid.T) {
		if old, there := c.Topic("events"); there {
			c.DeleteTopics(t.Context(), []segment.ID{old.ID})
		}
		topic := c.addTopic(t, "events", partitions, nil)
		cl.version = rapid.SampledFrom([]int16{7, 11, 12}).Draw(rt, "version")
		offsets := map[int32]int64{0: 0}
		known := map[int32]state{}
		reset := true
		for range rapid.IntRange(1, 30).Draw(rt, "steps") {
			p := rapid.Int32Range(0, partitions-1).Draw(rt, "partition")
			changed := []int32{}
			var forgotten []int32
			switch rapid.IntRange(0, 6).Draw(rt, "step") {
			case 0, 1:
				if _, there := c.Topic("events"); there {
					req := produceOne(topic, -1, plain())
					req.Topics[0].Partitions[0].Partition = p
					other.ask(req)
				}
			case 2:
				offsets[p] = rapid.Int64Range(0, 3).Draw(rt, "offset")
				changed = append(changed, p)
			case 3:
				if _, ok := offsets[p]; ok && len(offsets) > 1 {
					delete(offsets, p)
					delete(known, p)
					forgotten = append(forgotten, p)
				}
			case 4:
				reset = true
			case 5:
				c.DeleteTopics(t.Context(), []segment.ID{topic.ID})
			case 6:
				if _, there := c.Topic("events"); !there {
					topic = c.addTopic(t, "events", partitions, nil)
				}
			}
			if reset {
				clear(known)
				changed, forgotten = nil, nil
				cl.epoch = session.Initial
				for p := range offsets {
					changed = append(changed, p)
				}
				reset = false
			}
			req := cl.request(topic, 0)
			for _, p := range changed {
				req.Topics = append(req.Topics, cl.request(topic, offsets[p], p).Topics...)
			}
			if forgotten != nil {
				forgetting(topic, req, forgotten...)
			}
			resp := cl.ask(req).(*kmsg.FetchResponse)
			note(known, resp, rt)
			cl.id, cl.epoch = resp.SessionID, cl.epoch+1
			full := map[int32]state{}
			req = other.request(topic, 0)
			for p := range offsets {
				req.Topics = append(req.Topics, other.request(topic, offsets[p], p).Topics...)
			}
			note(full, other.ask(req).(*kmsg.FetchResponse), rt)
			if !maps.Equal(known, full) {
				rt.Fatalf("the session shows %v, full requests %v", known, full)
			}
		}
	})
}

// state is a partition as a client knows it.
type state struct {
	code             int16
	start, end, size int64
}

// note brings the partitions up to date. Those that the answer leaves out have no records
// for the client.
func note(known map[int32]state, resp *kmsg.FetchResponse, rt *rapid.T) {
	if resp.ErrorCode != 0 {
		rt.Fatalf("error %d", resp.ErrorCode)
	}
	for p, s := range known {
		s.size = 0
		known[p] = s
	}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			known[p.Partition] = state{p.ErrorCode, p.LogStartOffset, p.HighWatermark, int64(len(p.RecordBatches))}
		}
	}
}
