package node

import (
	"io"
	"net"
	"net/http"
	"testing"
	"time"
)

// TestWaitingConnectionsDoNotKeepOthersOut: however many connections to HTTP wait, few
// are kept open, and one that asks is answered.
func TestWaitingConnectionsDoNotKeepOthersOut(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	conns := newHTTPConns(ln, 8)
	server := &http.Server{
		Handler:   http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "here") }),
		ConnState: conns.changed, ReadTimeout: 300 * time.Millisecond,
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		server.Serve(conns)
	}()
	defer func() {
		server.Close()
		<-done
	}()
	dial := func(say string) net.Conn {
		nc, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { nc.Close() })
		if _, err := io.WriteString(nc, say); err != nil {
			t.Fatal(err)
		}
		return nc
	}
	ask := func() bool {
		client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Minute}
		resp, err := client.Get("http://" + ln.Addr().String())
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		return string(b) == "here"
	}
	first := dial("")
	for range 50 {
		dial("")
	}
	if !ask() {
		t.Error("not answered while others wait")
	}
	first.SetReadDeadline(time.Now().Add(time.Minute))
	if _, err := first.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the connection that waited longest is not closed: %v", err)
	}
	for range 50 {
		dial("GET / HTTP/1.1\r\nHost:") // has begun, and sends no more
	}
	for tries := 0; !ask(); tries++ {
		if tries == 100 {
			t.Fatal("slow connections keep others out")
		}
		time.Sleep(20 * time.Millisecond)
	}
	conns.mu.Lock()
	defer conns.mu.Unlock()
	if len(conns.open) > conns.max {
		t.Errorf("%d connections are open, at most %d", len(conns.open), conns.max)
	}
}
