package listener

import (
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// complain returns complaints of which three of a kind have come at once, and
// their log lines.
func complain(t *testing.T) (*Complaints, *logBuffer) {
	lines := &logBuffer{}
	c := NewComplaints(slog.New(slog.NewTextHandler(lines, nil)))
	for range 3 {
		c.Warn("slow", "closed a connection")
	}
	if n := strings.Count(lines.String(), "\n"); n != 1 {
		t.Fatalf("%d lines: %s", n, lines)
	}
	return c, lines
}

func TestLinesLeftOutAreCountedWhenNoNextOneComes(t *testing.T) {
	const rest = `msg="log lines were left out" similar_to="closed a connection" kind=slow similar_left_out=2`
	synctest.Test(t, func(t *testing.T) {
		c, lines := complain(t)
		time.Sleep(complaintQuiet / 2)
		if strings.Contains(lines.String(), "left_out") {
			t.Errorf("it was not quiet yet: %s", lines)
		}
		time.Sleep(time.Hour)
		if strings.Count(lines.String(), "left_out") != 1 || !strings.Contains(lines.String(), rest) {
			t.Errorf("got %s", lines)
		}
		c.Warn("slow", "closed a connection")
		if strings.Count(lines.String(), "left_out") != 1 {
			t.Errorf("counted twice: %s", lines)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		c, lines := complain(t)
		c.close()
		if !strings.Contains(lines.String(), rest) {
			t.Errorf("not logged at the end: %s", lines)
		}
		c.Warn("slow", "closed a connection")
		time.Sleep(time.Hour)
		if strings.Count(lines.String(), "left_out") != 1 {
			t.Errorf("logged after the end: %s", lines)
		}
	})
}

func TestTheNextLineCountsThoseLeftOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, lines := complain(t)
		time.Sleep(complaintInterval)
		c.Warn("slow", "closed a connection")
		time.Sleep(time.Hour)
		if strings.Count(lines.String(), "\n") != 2 || !strings.Contains(lines.String(), `msg="closed a connection" similar_left_out=2`) {
			t.Errorf("got %s", lines)
		}
	})
}

// logBuffer keeps log lines.
type logBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
