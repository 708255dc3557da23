package health

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

type world struct {
	*Board
	log bytes.Buffer
	now time.Time
}

func newWorld() *world {
	w := &world{now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	w.Board = NewBoard(slog.New(slog.NewTextHandler(&w.log, nil)), func() time.Time { return w.now })
	return w
}

// lines returns the lines logged since the last call.
func (w *world) lines() string {
	defer w.log.Reset()
	return w.log.String()
}

func (w *world) get() (code int, body string) {
	recorder := httptest.NewRecorder()
	w.ServeHTTP(recorder, nil)
	return recorder.Code, recorder.Body.String()
}

func TestReadyzFollowsStartAndStop(t *testing.T) {
	w := newWorld()
	for _, c := range []struct {
		do   func()
		code int
		body string
	}{
		{func() {}, 503, "not ready: starting\n"},
		{func() { w.Busy("opening the bucket") }, 503, "not ready: opening the bucket\n"},
		{w.Serves, 200, "ready\n"},
		{func() { w.Busy("shutting down") }, 503, "not ready: shutting down\n"},
	} {
		c.do()
		if code, body := w.get(); code != c.code || body != c.body {
			t.Errorf("got %d %q, want %d %q", code, body, c.code, c.body)
		}
	}
}

func TestATroubleIsLoggedWhenItBeginsAndWhenItEnds(t *testing.T) {
	w := newWorld()
	w.Clear(Disk, "journal 1")
	w.Raise(Disk, "journal 1", true, "disk\nfull")
	if got := w.lines(); strings.Count(got, "\n") != 1 || !strings.Contains(got, `level=ERROR msg="disk full" trouble=disk subject="journal 1"`) {
		t.Errorf("beginning: got %q", got)
	}
	w.now = w.now.Add(remindEvery - 1)
	w.Raise(Disk, "journal 1", true, "disk still full")
	if got := w.lines(); got != "" {
		t.Errorf("raised again: got %q", got)
	}
	w.now = w.now.Add(1)
	w.Raise(Disk, "journal 1", true, "disk still full")
	if got := w.lines(); !strings.Contains(got, "disk still full") || !strings.Contains(got, "since=2026-01-02T03:04:05Z") {
		t.Errorf("reminder: got %q", got)
	}
	w.Clear(Disk, "journal 1")
	w.Clear(Disk, "journal 1")
	if got := w.lines(); strings.Count(got, "\n") != 1 || !strings.Contains(got, `level=INFO msg="the write-ahead log has room again"`) || !strings.Contains(got, "after=10m0s") {
		t.Errorf("end: got %q", got)
	}
	if got := w.Troubles(); len(got) != 0 {
		t.Errorf("left: %v", got)
	}
}

func TestReadyzShowsTroublesAndGivesTheBucketAGrace(t *testing.T) {
	w := newWorld()
	w.Serves()
	w.Raise(Bucket, "journal 1", true, "time-out")
	w.Raise(SetAside, "journal 2", false, "3 records")
	code, body := w.get()
	if want := "ready\ntrouble: bucket (journal 1): time-out; since 2026-01-02T03:04:05Z\ntrouble: set-aside (journal 2): 3 records; since 2026-01-02T03:04:05Z\n"; code != 200 || body != want {
		t.Errorf("within the grace: got %d %q", code, body)
	}
	w.now = w.now.Add(30 * time.Second)
	code, body = w.get()
	if !strings.HasPrefix(body, "not ready: bucket (journal 1): time-out") || code != 503 || w.Ready() {
		t.Errorf("after the grace: got %d %q, ready %v", code, body, w.Ready())
	}
	w.Clear(Bucket, "journal 1")
	if code, body = w.get(); code != 200 || !w.Ready() {
		t.Errorf("over: got %d %q", code, body)
	}
}

func TestTheNumberOfTroublesIsBounded(t *testing.T) {
	w := newWorld()
	for i := range 10 * maxSubjects {
		w.Raise(Damage, fmt.Sprint("object ", i), false, strings.Repeat("long ", maxText))
	}
	if got := w.Troubles(); len(got) != maxSubjects || len(got[0].Text) > maxText+4 {
		t.Errorf("%d troubles, the first has %d bytes", len(got), len(got[0].Text))
	}
	if n, since := w.Count(Damage); n != 10*maxSubjects || !since.Equal(w.now) {
		t.Errorf("got %d since %v", n, since)
	}
	if got := strings.Count(w.lines(), "\n"); got != maxSubjects+1 {
		t.Errorf("%d lines", got)
	}
	for i := range maxSubjects {
		w.Clear(Damage, fmt.Sprint("object ", i))
	}
	if n, since := w.Count(Damage); n != 0 || !since.IsZero() {
		t.Errorf("cleared: got %d since %v", n, since)
	}
}

func TestEveryKindIsInTheTable(t *testing.T) {
	for _, k := range []Kind{Bucket, Disk, SetAside, Witness, Damage, Mismatch, Topics, Coordinators} {
		if a := of(k); a.kind != k || a.over == "" || a.level < slog.LevelWarn {
			t.Errorf("%s: %+v", k, a)
		}
	}
	if len(Kinds()) != len(table) {
		t.Error(Kinds())
	}
}

func TestABoardIsSafeForConcurrentUse(t *testing.T) {
	w := newWorld()
	var wait sync.WaitGroup
	for i := range 4 {
		wait.Go(func() {
			for range 200 {
				w.Raise(Bucket, fmt.Sprint(i), true, "away")
				w.Troubles()
				w.Clear(Bucket, fmt.Sprint(i))
			}
		})
	}
	wait.Wait()
	if n, _ := w.Count(Bucket); n != 0 {
		t.Error(n)
	}
}
