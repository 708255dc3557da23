package node

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/cmd/internal/config"
	"github.com/varvelog/varve/cmd/internal/kafka"
	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/metadata/membership"
	"github.com/varvelog/varve/metadata/peer"
	"github.com/varvelog/varve/tiering/segment"
)

// controlled is a node of a cluster whose controller is node 2. answer answers its requests.
func controlled(t *testing.T, answer func(req kmsg.Request) (kmsg.Response, membership.Outcome, error)) *control {
	t.Helper()
	n := clusterNode(t, config.RoleFetch) // it has no controller of its own
	n.leaders = believed{0: {Node: nodeNo(2), Epoch: 5}}
	n.request = func(_ context.Context, node segment.ID, run metadata.Run, req kmsg.Request) (kmsg.Response, membership.Outcome, error) {
		if node != nodeNo(2) || run.Listeners[0].Port != 9001 {
			t.Errorf("node %s at %+v is asked", node, run.Listeners)
		}
		return answer(req)
	}
	return n.newControl()
}

// ask asks for a block of producer ids, until one is there or the error is final.
func (c *control) askForIDs(t *testing.T) (metadata.ProducerIDBlock, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*askPause)
	defer cancel()
	return c.moreProducerIDs(ctx)
}

func TestTheControllerIsAskedUntilItHasTheRequest(t *testing.T) {
	ids := metadata.ProducerIDBlock{Next: 5, End: 9}
	good := &peer.Reply{Body: membership.AppendProducerIDs(nil, ids)}
	reply := func(code int16) (kmsg.Response, membership.Outcome, error) {
		return &peer.Reply{Code: code}, membership.Proved, nil
	}
	for name, tc := range map[string]struct {
		first func() (kmsg.Response, membership.Outcome, error)
		again bool
	}{
		"refused": {func() (kmsg.Response, membership.Outcome, error) {
			return nil, membership.Refused, errors.New("refused")
		}, true},
		"another process": {func() (kmsg.Response, membership.Outcome, error) {
			return nil, membership.Replaced, errors.New("stranger")
		}, true},
		"no controller": {func() (kmsg.Response, membership.Outcome, error) { return reply(kerr.NotController.Code) }, true},
		"no answer":     {func() (kmsg.Response, membership.Outcome, error) { return nil, membership.TimedOut, errors.New("late") }, false},
		"broken":        {func() (kmsg.Response, membership.Outcome, error) { return nil, membership.Proved, errors.New("eof") }, false},
		"another error": {func() (kmsg.Response, membership.Outcome, error) { return reply(kerr.InvalidRequest.Code) }, false},
	} {
		var asked atomic.Int32
		c := controlled(t, func(kmsg.Request) (kmsg.Response, membership.Outcome, error) {
			if asked.Add(1) == 1 {
				return tc.first()
			}
			return good, membership.Proved, nil
		})
		got, err := c.askForIDs(t)
		if again := asked.Load() == 2; again != tc.again || (err == nil) != tc.again || again && got != ids {
			t.Errorf("%s: asked %d times, ids %+v, error %v", name, asked.Load(), got, err)
		}
	}
	c := controlled(t, nil)
	c.leaders = believed{0: {Epoch: 6}}
	if _, err := c.Forward(t.Context(), kmsg.NewPtrEnvelopeRequest()); !errors.Is(err, kafka.ErrNotSent) {
		t.Errorf("without a controller: %v", err)
	}
	c.leaders = believed{0: {Node: c.dir.Node(), Epoch: 6}}
	if _, err := c.Forward(t.Context(), kmsg.NewPtrEnvelopeRequest()); !errors.Is(err, kafka.ErrNotSent) {
		t.Errorf("to the node itself: %v", err)
	}
}

// All requests that arrived before a proof began share it, and those that arrived later need
// another one.
func TestProofsAreShared(t *testing.T) {
	var proofs atomic.Int32
	fails := errors.New("no store")
	p := newSharedProof(func(context.Context) error {
		if proofs.Add(1) == 2 {
			return fails
		}
		return nil
	})
	p.every = 10 * time.Millisecond
	arrived := time.Now()
	var work sync.WaitGroup
	for range 50 {
		work.Go(func() {
			if err := p.Since(t.Context(), arrived); err != nil {
				t.Error(err)
			}
		})
	}
	work.Wait()
	if n := proofs.Load(); n != 1 {
		t.Errorf("%d proofs for requests of one moment", n)
	}
	later := time.Now()
	for range 2 {
		if err := p.Since(t.Context(), later); !errors.Is(err, fails) {
			t.Errorf("a proof that fails: %v", err)
		}
	}
	if err := p.Since(t.Context(), time.Now()); err != nil || proofs.Load() != 3 {
		t.Errorf("after a failure: %v, %d proofs", err, proofs.Load())
	}
}

func TestAWaitForAProofEndsWithTheRequest(t *testing.T) {
	p := newSharedProof(func(context.Context) error { return nil })
	p.began = time.Now().Add(time.Hour)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.Since(ctx, time.Now().Add(2*time.Hour)); !errors.Is(err, context.Canceled) {
		t.Errorf("it waits for the next proof: %v", err)
	}
}

func TestProducerIDsComeFromBlocks(t *testing.T) {
	var blocks atomic.Int64
	var down atomic.Bool
	p := newProducerIDs(func(context.Context) (metadata.ProducerIDBlock, error) {
		if down.Load() {
			return metadata.ProducerIDBlock{}, errors.New("no controller")
		}
		from := blocks.Add(1) * 10_000
		return metadata.ProducerIDBlock{Next: from, End: from + metadata.ProducerIDBlockSize}, nil
	})
	defer p.close()
	var mu sync.Mutex
	seen := map[int64]bool{}
	take := func() {
		id, err := p.NextProducerID(t.Context())
		mu.Lock()
		defer mu.Unlock()
		if err != nil || id <= 0 || seen[id] {
			t.Errorf("id %d, known %v, error %v", id, seen[id], err)
		}
		seen[id] = true
	}
	var work sync.WaitGroup
	for range 8 {
		work.Go(func() {
			for range 500 {
				take()
			}
		})
	}
	work.Wait()
	if n := blocks.Load(); n > 5 {
		t.Errorf("%d blocks for 4000 ids", n)
	}
	p.work.Wait()
	down.Store(true)
	for left := 2 * metadata.ProducerIDBlockSize; left > 0 && (p.have.Next < p.have.End || p.next.Next < p.next.End); left-- {
		take() // ids that are there do not need a controller
		p.work.Wait()
	}
	if _, err := p.NextProducerID(t.Context()); !errors.Is(err, metadata.ErrUnavailable) {
		t.Errorf("without ids: %v", err)
	}
	p.work.Wait()
	down.Store(false)
	take()
}

func TestProducerIDsEndWithTheNode(t *testing.T) {
	p := newProducerIDs(func(ctx context.Context) (metadata.ProducerIDBlock, error) {
		<-ctx.Done()
		return metadata.ProducerIDBlock{}, ctx.Err()
	})
	time.AfterFunc(10*time.Millisecond, func() { _ = p.close() })
	for range 2 {
		if _, err := p.NextProducerID(t.Context()); !errors.Is(err, metadata.ErrUnavailable) {
			t.Errorf("error %v", err)
		}
	}
}

// A coordinator forgets the offsets of a topic only if this node has applied all of journal 0
// since it was asked for.
func TestATopicIsGoneByAProof(t *testing.T) {
	n := clusterNode(t, config.RoleIngest)
	n.leaders = believed{0: {Node: nodeNo(2), Epoch: 5}}
	c := n.newControl()
	var provable atomic.Bool
	c.proof = newSharedProof(func(context.Context) error {
		if !provable.Load() {
			return errors.New("no store")
		}
		return nil
	})
	learned := 0
	g := newGoneTopics(n.meta, c, func() { learned++ })
	gone := func(want bool) {
		t.Helper()
		if got := g.TopicGone("", segment.ID{8}); got != want {
			t.Errorf("a topic that is not known here is gone: %v", got)
		}
	}
	g.look()
	if !c.proof.began.IsZero() {
		t.Error("it proves without a question")
	}
	gone(false)
	g.look()
	gone(false)
	provable.Store(true)
	g.look()
	gone(true)
	if learned != 1 || g.TopicGone("", segment.ID{9}) || g.TopicGone("t", segment.ID{}) {
		t.Errorf("learned %d times; a question that came later is answered by the proof of before", learned)
	}
	n.commit(t, metadata.TopicDeleted{ID: segment.ID{7}, AtMs: 5})
	if len(g.Deleting()) != 0 {
		t.Error("the deletion is reported without a proof")
	}
	g.look()
	if len(g.Deleting()) != 1 {
		t.Error("the deletion is not reported")
	}
	n.commit(t, metadata.TopicRestored{ID: segment.ID{7}})
	if g.TopicGone("", segment.ID{7}) {
		t.Error("a topic that was restored is gone")
	}
	if g.waits(time.Now().Add(2 * goneKept)); len(g.asked) != 0 {
		t.Errorf("%d questions are kept", len(g.asked))
	}
}
