package faultproxy

import (
	"io"
	"net"
	"testing"
	"time"
)

// echo is a listener that sends back whatever comes.
func echo(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_, _ = io.Copy(conn, conn)
			}()
		}
	}()
	return listener.Addr().String()
}

func startLine(t *testing.T, target string, sender func(net.Addr) string) *Line {
	t.Helper()
	line, err := StartLine(target, sender)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(line.Close)
	return line
}

func dialLine(t *testing.T, line *Line) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", line.Address())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func send(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	if _, err := conn.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
}

func wantBack(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	got := make([]byte, len(text))
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != text {
		t.Fatalf("got %q, %v", got, err)
	}
}

// awaitHeld waits until data has met a cut.
func awaitHeld(t *testing.T, line *Line, least int) {
	t.Helper()
	for end := time.Now().Add(time.Minute); line.Held() < least; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d chunks held, not %d", line.Held(), least)
		}
	}
}

func TestACutLineHoldsEverythingAndPassesItOnLater(t *testing.T) {
	line := startLine(t, echo(t), nil)
	conn := dialLine(t, line)
	send(t, conn, "before")
	wantBack(t, conn, "before")
	line.Cut()
	send(t, conn, "during")
	awaitHeld(t, line, 1)
	late := dialLine(t, line) // accepted, and nothing more
	send(t, late, "late")
	if err := late.SetReadDeadline(time.Now().Add(20 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if n, err := late.Read(make([]byte, 10)); err == nil {
		t.Fatalf("%d bytes passed a cut line", n)
	}
	if err := late.SetReadDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	line.Heal()
	wantBack(t, conn, "during")
	wantBack(t, late, "late")
}

func TestALineIsCutForOneSender(t *testing.T) {
	names := make(chan string, 2)
	names <- "a"
	line := startLine(t, echo(t), func(net.Addr) string { return <-names })
	a := dialLine(t, line)
	send(t, a, "x")
	wantBack(t, a, "x")
	names <- "b"
	b := dialLine(t, line)
	line.Cut("a", "c")
	send(t, b, "b passes")
	wantBack(t, b, "b passes")
	send(t, a, "a waits")
	awaitHeld(t, line, 1)
	line.Cut("b")
	wantBack(t, a, "a waits")
}

func TestABrokenLineResetsConnectionsAndTakesNewOnes(t *testing.T) {
	line := startLine(t, echo(t), nil)
	conn := dialLine(t, line)
	send(t, conn, "x")
	wantBack(t, conn, "x")
	line.Break()
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Error("a connection outlives a break")
	}
	again := dialLine(t, line)
	send(t, again, "y")
	wantBack(t, again, "y")
}

func TestAClosedLineLeavesNothing(t *testing.T) {
	line := startLine(t, echo(t), nil)
	conn := dialLine(t, line)
	send(t, conn, "x")
	wantBack(t, conn, "x")
	line.Cut()
	send(t, conn, "held")
	awaitHeld(t, line, 1)
	line.Close()
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Error("a connection outlives its line")
	}
}

func TestALineThatIsDownRefuses(t *testing.T) {
	line := startLine(t, echo(t), nil)
	conn := dialLine(t, line)
	send(t, conn, "x")
	wantBack(t, conn, "x")
	line.Down()
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Error("a connection outlives its line")
	}
	if conn, err := net.Dial("tcp", line.Address()); err == nil {
		conn.Close()
		t.Error("a line that is down accepts a connection")
	}
	if err := line.Up(); err != nil {
		t.Fatal(err)
	}
	again := dialLine(t, line)
	send(t, again, "y")
	wantBack(t, again, "y")
}

// The address of a line that was down is in use for a moment more, in a process that starts.
func TestALineThatComesUpWaitsForItsAddress(t *testing.T) {
	line := startLine(t, echo(t), nil)
	line.Down()
	held, err := net.Listen("tcp", line.Address())
	if err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(100*time.Millisecond, func() { held.Close() })
	defer timer.Stop()
	if err := line.Up(); err != nil {
		t.Fatal(err)
	}
	dialLine(t, line)
}
