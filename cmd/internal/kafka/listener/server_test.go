package listener

import (
	"context"
	"errors"
	"net"
	"os"
	"syscall"
	"testing"
	"time"
)

// TestErrorsOfOneConnectionDoNotEndTheListener: Linux returns an error of a
// connection before it was accepted as an error of accept.
func TestErrorsOfOneConnectionDoNotEndTheListener(t *testing.T) {
	for _, err := range []error{syscall.EMFILE, syscall.ECONNABORTED, syscall.EPROTO, syscall.EPERM, syscall.ENETDOWN} {
		if !temporary(&net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", err)}) {
			t.Errorf("%v ends the listener", err)
		}
	}
}

func TestServeReportsABrokenListener(t *testing.T) {
	s, err := New(Config{}, nil, Surroundings{Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	broken := errors.New("broken")
	sound, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Serve(context.Background(), Endpoint{Listener: sound}, Endpoint{Listener: failingListener{err: broken}}); !errors.Is(err, broken) {
		t.Errorf("error is %v", err)
	}
	if err := sound.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the other listener was not closed: %v", err)
	}
}

type failingListener struct {
	net.Listener
	err error
}

func (f failingListener) Accept() (net.Conn, error) { return nil, f.err }
func (f failingListener) Close() error              { return nil }
