package node

import (
	"errors"
	"net"
	"strings"
	"testing"
)

func TestATakenPortIsNamedWithTheSettingToChange(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	_, err = new(sockets).listen(ln.Addr().String(), httpFlag, 0)
	if err == nil || strings.Count(err.Error(), "listen ") != 1 || !strings.HasPrefix(err.Error(), "listen tcp "+ln.Addr().String()) || !strings.HasSuffix(err.Error(), "--http") {
		t.Errorf("got %v", err)
	}
}

// TestASocketIsLentToTheNextStart: a client that connects between two starts of a node waits.
func TestASocketIsLentToTheNextStart(t *testing.T) {
	var open sockets
	defer open.close(listenFlag)
	first, err := open.listen("127.0.0.1:0", listenFlag, 0)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := first.Accept()
		ended <- err
	}()
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept after Close: %v", err)
	}
	c, err := net.Dial("tcp", first.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	second, err := open.listen("127.0.0.1:0", listenFlag, 0)
	if err != nil || second.Addr().String() != first.Addr().String() {
		t.Fatalf("the second start listens at %v, error %v", second.Addr(), err)
	}
	accepted, err := second.Accept()
	if err != nil {
		t.Fatal(err)
	}
	accepted.Close()
}
