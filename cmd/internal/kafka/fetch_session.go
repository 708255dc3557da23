package kafka

import (
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/cmd/internal/kafka/listener"
	"github.com/varvelog/varve/fetch"
	"github.com/varvelog/varve/fetch/session"
	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/tiering/partlog"
)

// errGone closes the connection of a request whose session cannot go on.
var errGone = errors.New("the fetch session was closed while the request waited")

// openSession makes the partitions of a full request, which has its answer, a session.
func (f *fetching) openSession() {
	topics := f.body.Topics
	t := f.service.sessions.open(f.request.Client, f.byID(), f.added(session.NewPartitions()))
	if t == nil {
		return
	}
	defer t.end()
	s := t.in.Value
	for i := range topics {
		for j := range topics[i].Partitions {
			slot := s.put(&topics[i], &topics[i].Partitions[j])
			s.parts.Answered(slot, f.answer.topics[i].partitions[j].state())
		}
	}
	s.resolve(f)
	t.charge(s.parts.Size())
	f.answer.session = t.in.ID
}

// added is the most that the request adds to a session.
func (f *fetching) added(to *session.Partitions) session.Size {
	topics, partitions, names := 0, 0, 0
	for i := range f.body.Topics {
		in, more := &f.body.Topics[i], 0
		for j := range in.Partitions {
			if !to.Has(nameOf(in), in.Partitions[j].Partition) {
				more++
			}
		}
		if more > 0 {
			topics, partitions, names = topics+1, partitions+more, names+len(in.Topic)
		}
	}
	return session.Growth(topics, partitions, names)
}

// nameOf returns how a session names the topic of a request.
func nameOf(t *kmsg.FetchRequestTopic) session.Topic {
	return session.Topic{Name: t.Topic, ID: t.TopicID}
}

func (f *fetching) byID() bool { return f.request.Version >= fetchTopicIDs }

// put adds a partition of a request, or changes it.
func (s *fetchSession) put(t *kmsg.FetchRequestTopic, p *kmsg.FetchRequestTopicPartition) (slot int32) {
	return s.parts.Put(nameOf(t), p.Partition, session.Ask{
		Offset: p.FetchOffset, MaxBytes: max(0, p.PartitionMaxBytes), LeaderEpoch: p.CurrentLeaderEpoch,
	})
}

// state is a partition's answer as the session remembers it.
func (p *fetchedPartition) state() session.Answer {
	return session.Answer{
		HighWatermark: p.highWatermark, LogStart: p.logStart,
		Records: len(p.records) > 0, Failed: p.code != 0 || p.preferred != 0,
	}
}

// runIncremental answers a request that continues a session. The turn ends before the
// answer is written: the next request must not wait for a client that reads slowly.
func (f *fetching) runIncremental() {
	t, err := f.service.sessions.resume(f.request.Client, f.body.SessionID, f.body.SessionEpoch, f.byID())
	if err != nil {
		f.refuse(err)
		return
	}
	release, err := f.takeTurn(t)
	t.end()
	switch {
	case errors.Is(err, errGone):
		f.request.HangUp(err)
		return
	case err != nil:
		f.refuse(err)
		return
	}
	defer release()
	if f.cutShort() {
		f.request.HangUp(listener.ErrStopping)
		return
	}
	f.reply()
	f.request.AwaitWritten()
}

// takeTurn brings the session up to date, and makes the answer.
func (f *fetching) takeTurn(t *turn) (release func(), err error) {
	if !t.await(f.request.Waits()) {
		return nil, errGone
	}
	s := t.in.Value
	if !s.update(f, t) {
		t.drop()
		return nil, session.ErrNotFound // as if it were evicted: the client opens another one
	}
	if s.parts.Len() == 0 {
		t.drop()
		return func() {}, nil
	}
	f.answer.session = t.in.ID
	return s.poll(f, t), nil
}

// refuse answers a request whose session does not go on.
func (f *fetching) refuse(err error) {
	f.answer.code = f.code.note(sessionCode(err).Code)
	f.reply()
}

// sessionCode returns the code for a request as a whole.
func sessionCode(err error) *kerr.Error {
	switch {
	case errors.Is(err, session.ErrEpoch):
		return kerr.InvalidFetchSessionEpoch
	case errors.Is(err, session.ErrTopicIDs):
		return kerr.FetchSessionTopicIDError
	}
	return kerr.FetchSessionIDNotFound
}

// update brings the session up to date with the request. It reports false if there is no
// room for it.
func (s *fetchSession) update(f *fetching, t *turn) bool {
	if !t.charge(s.parts.Size().Plus(f.added(s.parts))) {
		return false
	}
	var changed []int32
	for i := range f.body.Topics {
		in := &f.body.Topics[i]
		for j := range in.Partitions {
			changed = append(changed, s.put(in, &in.Partitions[j]))
		}
	}
	for i := range f.body.ForgottenTopics {
		in := &f.body.ForgottenTopics[i]
		for _, index := range in.Partitions {
			if slot, ok := s.parts.Forget(session.Topic{Name: in.Topic, ID: in.TopicID}, index); ok {
				s.standing.Remove(slot)
				delete(s.failed, slot)
			}
		}
	}
	if s.version != f.service.gate.version() {
		s.resolve(f)
	} else { // a failure is that of one moment
		s.resolveSome(f, slices.AppendSeq(changed, maps.Keys(s.failed)))
	}
	return t.charge(s.parts.Size())
}

// resolver finds the topics of a session, each once.
type resolver struct {
	of    *fetching
	found map[*session.Topic]found
}

type found struct {
	topic *metadata.Topic
	err   error
}

// resolve looks all partitions up in the topics as they are now. A topic may have been
// deleted, made again under its name, or been given other owners.
func (s *fetchSession) resolve(f *fetching) {
	s.version = f.service.gate.version() // read first: a later change is found by the next request
	r := resolver{f, make(map[*session.Topic]found)}
	s.parts.Each(func(slot int32, _ *session.Partition) { s.resolveOne(&r, slot) })
}

func (s *fetchSession) resolveSome(f *fetching, slots []int32) {
	r := resolver{f, make(map[*session.Topic]found)}
	for _, slot := range slots {
		if s.parts.At(slot).Topic != nil { // else it was forgotten by the same request
			s.resolveOne(&r, slot)
		}
	}
}

func (s *fetchSession) resolveOne(r *resolver, slot int32) {
	p := s.parts.At(slot)
	t, err := r.find(p.Topic)
	if err == nil {
		t, err = r.of.service.gate.withPartition(r.of.request, t, p.Index)
	}
	if err != nil {
		s.failed[slot] = r.of.service.codeFor(err, onFetch, "Fetch")
		s.standing.Remove(slot)
		return
	}
	delete(s.failed, slot)
	want := fetch.Partition{
		Key: partlog.Key{Topic: t.ID, Index: p.Index}, Offset: p.Ask.Offset,
		MaxBytes: p.Ask.MaxBytes, LeaderEpoch: p.Ask.LeaderEpoch,
	}
	if have, ok := s.standing.At(slot); !ok || have != want {
		s.standing.Set(slot, p.Order(), want)
	}
}

func (r *resolver) find(t *session.Topic) (*metadata.Topic, error) {
	got, ok := r.found[t]
	if !ok {
		got.topic, got.err = r.of.service.gate.topic(r.of.request, toRead, topicRef{t.Name, t.ID, r.of.byID()})
		r.found[t] = got
	}
	return got.topic, got.err
}

// poll reads, and fills the answer with the partitions that the client must learn of.
func (s *fetchSession) poll(f *fetching, t *turn) (release func()) {
	f.ask = f.limits()
	f.ask.Standing = s.standing
	waits, end := context.WithCancel(f.request.Waits())
	defer end()
	if !t.waits(end) || len(s.failed) > 0 {
		f.ask.MaxWait = 0
	}
	results, release := f.poll(waits)
	if !t.waits(nil) {
		s.standing.Unsettle() // the answer to the next request has it all
		f.answer.code = f.code.note(sessionCode(session.ErrEpoch).Code)
		return release
	}
	if waits.Err() != nil && f.request.Waits().Err() == nil { // the session was closed
		results, release = f.complete(results, release)
	}
	s.standing.Settle()
	for _, slot := range slices.Sorted(maps.Keys(s.failed)) {
		out := emptyPartition(s.parts.At(slot).Index)
		out.code = f.code.note(s.failed[slot])
		s.answer(f, slot, &out)
	}
	f.awaitLeaders(results, func(i int) *metadata.Topic { return s.topicOf(f, results[i].Slot, results[i].Err) })
	for i := range results {
		slot := results[i].Slot
		out := emptyPartition(s.parts.At(slot).Index)
		f.fill(fetchSlot{topic: s.topicOf(f, slot, results[i].Err), out: &out}, results[i])
		s.answer(f, slot, &out)
	}
	return release
}

// topicOf returns the topic of a partition that has an error, if it is known.
func (s *fetchSession) topicOf(f *fetching, slot int32, err error) *metadata.Topic {
	if err == nil {
		return nil
	}
	r := resolver{f, make(map[*session.Topic]found)}
	t, _ := r.find(s.parts.At(slot).Topic)
	return t
}

// answer adds a partition to the answer, unless the client knows its state.
func (s *fetchSession) answer(f *fetching, slot int32, out *fetchedPartition) {
	if !s.parts.Answered(slot, out.state()) {
		return
	}
	p := s.parts.At(slot)
	if have, ok := s.standing.At(slot); ok && len(out.records) > 0 {
		s.standing.Set(slot, p.Order(), have)
	}
	topics := f.answer.topics
	if last := len(topics) - 1; last < 0 || topics[last].name != p.Topic.Name || topics[last].id != p.Topic.ID {
		topics = append(topics, fetchedTopic{name: p.Topic.Name, id: p.Topic.ID})
		f.answer.topics = topics
	}
	of := &topics[len(topics)-1]
	of.partitions = append(of.partitions, *out)
}
