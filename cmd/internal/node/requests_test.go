package node

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/metadata/membership"
	"github.com/varvelog/varve/metadata/membership/drive"
	"github.com/varvelog/varve/tiering/segment"
)

// probing is an Env that is asked for nothing but probes.
type probing struct {
	drive.Env
	probed func(done func(ok bool))
}

func (probing) Now() time.Time { return time.Unix(1000, 0) }

func (p probing) Probe(_ time.Duration, done func(ok bool)) { p.probed(done) }

// startLoop starts the loop of a Driver.
func startLoop(t *testing.T, probed func(done func(ok bool))) (*drive.Loop, *drive.Driver) {
	t.Helper()
	l, d := drive.NewLoop(), drive.New(drive.Options{Node: segment.ID{1}}, probing{probed: probed})
	l.Start(d)
	t.Cleanup(l.Close)
	return l, d
}

func TestTheDriverAnswersOtherNodes(t *testing.T) {
	l, d := startLoop(t, func(done func(bool)) { done(true) })
	c := &clusterRequests{loop: l, driver: d, handOver: func(_ context.Context, from segment.ID, want membership.HandOver) (membership.Handing, error) {
		if from != (segment.ID{2}) || want.Journal != 7 {
			t.Errorf("%s asks for %+v", from, want)
		}
		return membership.Keeps, nil
	}}
	ctx := t.Context()
	if _, err := c.Register(ctx, segment.ID{2}, metadata.Run{}); !errors.Is(err, metadata.ErrNotController) {
		t.Errorf("registered without a controller: %v", err)
	}
	if a, err := c.Heartbeat(ctx, membership.Heartbeat{Node: segment.ID{2}}); err != nil || a.Claims {
		t.Errorf("heartbeat: %+v, error %v", a, err)
	}
	if r, err := c.Question(ctx, membership.Leader{}); err != nil || r.Opinion != membership.Silent {
		t.Errorf("question: %+v, error %v", r, err)
	}
	if ok, err := c.Probe(ctx); err != nil || !ok {
		t.Errorf("probe: %v, error %v", ok, err)
	}
	if h, err := c.HandOver(ctx, segment.ID{2}, membership.HandOver{Journal: 7}); err != nil || h != membership.Keeps {
		t.Errorf("hand-over: %v, error %v", h, err)
	}
}

// A request does not wait longer than its client does, nor for a loop that has ended.
func TestRequestsToADriverThatDoesNotAnswerEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, d := startLoop(t, func(func(bool)) {})
		c := &clusterRequests{loop: l, driver: d}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := c.Probe(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("after a second: %v", err)
		}
		ended := make(chan error, 1)
		go func() {
			_, err := c.Probe(t.Context())
			ended <- err
		}()
		synctest.Wait()
		l.Close()
		if err := <-ended; !errors.Is(err, drive.ErrEnded) {
			t.Errorf("under way when the loop ends: %v", err)
		}
		for range 100 { // the mailbox has room
			if _, err := c.Question(t.Context(), membership.Leader{}); !errors.Is(err, drive.ErrEnded) {
				t.Fatalf("after the end of the loop: %v", err)
			}
		}
	})
}
