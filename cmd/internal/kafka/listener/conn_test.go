package listener_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/varvelog/varve/cmd/internal/kafka/listener"
	"github.com/varvelog/varve/cmd/internal/kafka/listener/listenertest"
)

// inFlight is how many requests of a connection may be under way.
const inFlight = 128

func around() listener.Surroundings { return listener.Surroundings{Now: time.Now} }

func TestRequestsUnderWayAreBounded(t *testing.T) {
	f := (&fake{held: make(chan *listener.Request, 2*inFlight)}).start(t, listener.Config{}, around())
	c := f.dial(t)
	for range inFlight + 1 {
		c.Send(produce(10))
	}
	var held []*listener.Request
	for range inFlight {
		held = append(held, <-f.held)
	}
	select {
	case <-f.held:
		t.Fatalf("request %d was begun", inFlight+1)
	case <-time.After(20 * time.Millisecond):
	}
	answer(held[0])
	for _, r := range append(held[1:], <-f.held) {
		answer(r)
	}
	for range inFlight + 1 {
		expectAnswer(t, c)
	}
}

func TestAnswersLeaveInTheOrderOfRequests(t *testing.T) {
	f := (&fake{held: make(chan *listener.Request, 2)}).start(t, listener.Config{}, around())
	c := f.dial(t)
	frame := produce(10)
	for id := range byte(2) {
		frame[11] = id // of the correlation id
		c.Send(frame)
	}
	first := <-f.held
	answer(<-f.held)
	answer(first)
	for id := range int32(2) {
		if got, _, err := c.Frame(); err != nil || got != id {
			t.Errorf("answer %d comes in the place of %d, error %v", got, id, err)
		}
	}
}

// A client that gets a later answer takes its requests without answers as done.
func TestNoAnswerFollowsAHangUp(t *testing.T) {
	const rounds = 30
	f := (&fake{held: make(chan *listener.Request, 2)}).start(t, listener.Config{}, around())
	for range rounds {
		c := f.dial(t)
		c.Send(append(produce(10), produce(10)...))
		failed := <-f.held
		answer(<-f.held)
		failed.HangUp(listener.ErrUnacked)
		c.ExpectClosed()
	}
}

func TestIdleConnectionIsClosedButNotALongPoll(t *testing.T) {
	f := (&fake{held: make(chan *listener.Request, 1)}).start(t, listener.Config{IdleTimeout: 30 * time.Millisecond}, around())
	idle, waits := f.dial(t), f.dial(t)
	waits.Send(produce(10))
	idle.ExpectClosed()
	time.Sleep(100 * time.Millisecond)
	answer(<-f.held)
	expectAnswer(t, waits)
	waits.ExpectClosed()
}

func TestServerDoesNotWaitForeverToStop(t *testing.T) {
	f := (&fake{held: make(chan *listener.Request, 1)}).start(t, listener.Config{DrainTimeout: 20 * time.Millisecond}, around())
	c := f.dial(t)
	c.Send(produce(10))
	r := <-f.held
	f.stop()
	if err := <-f.done; err != nil {
		t.Error(err)
	}
	c.ExpectClosed()
	answer(r) // too late, and harmless
}

func TestCloseEndsConnectionsAndServe(t *testing.T) {
	f := (&fake{}).start(t, listener.Config{}, around())
	c := f.dial(t)
	c.Send(poll())
	f.counts.AwaitOpen(t, 1)
	f.server.Close()
	if n := f.counts.Open(); n > 0 { // Serve returns once none is
		t.Errorf("Close returned while %d connections were open", n)
	}
	if err := <-f.done; err != nil {
		t.Error(err)
	}
	c.ExpectClosed()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := f.server.Serve(context.Background(), listener.Endpoint{Listener: ln}); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Serve after Close: %v", err)
	}
}

func TestConnectionsBeyondTheLimitsAreClosed(t *testing.T) {
	for setting, config := range map[string]listener.Config{
		"--max-connections": {MaxConnections: 2}, "--max-connections-per-address": {MaxConnectionsPerIP: 2},
	} {
		config.FrameGrace = 200 * time.Millisecond
		t.Run(setting, func(t *testing.T) {
			f := (&fake{}).start(t, config, around())
			ask := func() *listenertest.Client {
				c := f.dial(t)
				c.Send(versions())
				expectAnswer(t, c)
				return c
			}
			first := ask()
			ask()
			late := f.dial(t)
			late.Send(versions())
			late.ExpectClosed()
			f.dial(t).ExpectClosed() // it sends nothing
			first.Close()
			f.counts.AwaitOpen(t, 1)
			ask()
			if !strings.Contains(f.lines.String(), setting+" ") {
				t.Errorf("the log does not name the setting: %s", f.lines)
			}
		})
	}
}

func TestAKeyIsRegisteredOnce(t *testing.T) {
	apis := (&fake{}).apis()
	for name, wrong := range map[string][]listener.API{"twice": append(apis, apis[0]), "without a handler": {{}}} {
		if _, err := listener.New(listener.Config{}, wrong, around()); err == nil {
			t.Errorf("a key may be registered %s", name)
		}
	}
}
