package bucket

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/varvelog/varve/tiering/objstore"
)

// watched is a Watch with a clock, and its reports.
type watched struct {
	*Watch
	now    time.Time
	report []string
	reads  int
	writes int
	err    error // of the requests that the watch makes
}

func newWatched() *watched {
	w := &watched{now: time.Date(2026, 1, 2, 3, 4, 0, 0, time.UTC)}
	w.Watch = NewWatch(WatchOptions{
		Read: func(context.Context) error {
			w.reads++
			w.Observe(objstore.OpGet, 0, w.err)
			return w.err
		},
		Write: func(context.Context) error {
			w.writes++
			w.Observe(objstore.OpCreate, 0, w.err)
			return w.err
		},
		OnTrouble: func(s Side, since time.Time, err error) {
			w.report = append(w.report, fmt.Sprintf("%s fail since %s: %v", s, since.Format("04:05"), err))
		},
		OnAnswer: func(s Side) { w.report = append(w.report, string(s)+" again") },
		Now:      func() time.Time { return w.now },
	})
	return w
}

func (w *watched) expect(t *testing.T, want ...string) {
	t.Helper()
	if strings.Join(w.report, "; ") != strings.Join(want, "; ") {
		t.Errorf("reported %q, want %q", w.report, want)
	}
	w.report = nil
}

var errAway = errors.New("away")

func TestAWatchReportsASideThatFailsForSomeSecondsAndItsEnd(t *testing.T) {
	w := newWatched()
	w.Observe(objstore.OpCreate, 0, errAway)
	w.now = w.now.Add(time.Second)
	w.Observe(objstore.OpCreate, 0, nil) // one request fails: no news
	w.now = w.now.Add(time.Minute)
	w.Observe(objstore.OpCreate, 0, nil)
	w.expect(t)

	w.Observe(objstore.OpCreate, 0, errAway)
	w.Observe(objstore.OpGet, 0, objstore.ErrNotFound) // the other side answers
	w.now = w.now.Add(watchPatience)
	w.Observe(objstore.OpCreate, 0, errAway)
	w.expect(t, "writes fail since 05:01: away")
	w.Observe(objstore.OpCreate, 0, objstore.ErrExists)
	w.expect(t, "writes again")

	// A request that hung sets the time.
	w.now = w.now.Add(15 * time.Second)
	w.Observe(objstore.OpGetRange, 15*time.Second, context.DeadlineExceeded)
	w.expect(t, "reads fail since 05:04: context deadline exceeded")
}

func TestAWatchIsNotMisledByRequestsThatWereGivenUp(t *testing.T) {
	w := newWatched()
	for range 10 {
		w.now = w.now.Add(watchPatience)
		w.Observe(objstore.OpGet, time.Minute, context.Canceled)
		w.Observe(objstore.OpGet, shortLimit/2, context.DeadlineExceeded)
		w.Observe(objstore.OpCreate, 0, objstore.ErrConflict)
		w.Observe(objstore.OpDelete, 0, objstore.ErrDenied)
	}
	w.expect(t)
}

// If no other requests are made, the watch makes some, so that an outage ends
// on its own. If there is no trouble, it makes some only if a caller asks.
func TestAWatchAsksOnlyWhereNothingElseDoes(t *testing.T) {
	w := newWatched()
	look := func(asked bool) { w.look(t.Context(), asked) }
	w.Observe(objstore.OpGet, 0, nil)
	w.Observe(objstore.OpCreate, 0, nil)
	w.now = w.now.Add(time.Hour)
	look(false)
	if w.reads+w.writes != 0 {
		t.Errorf("a healthy idle bucket was asked %d times", w.reads+w.writes)
	}
	look(true)
	look(true)
	if w.reads != 1 || w.writes != 0 {
		t.Errorf("asked twice: %d reads, %d writes", w.reads, w.writes)
	}
	w.err = errAway
	w.now = w.now.Add(askEvery)
	for range 10 {
		look(true)
	}
	w.now = w.now.Add(watchEvery)
	look(false)
	w.expect(t, "reads fail since 04:15: away")
	w.Observe(objstore.OpCreate, 0, errAway)
	w.now = w.now.Add(watchEvery)
	look(false)
	if w.writes != 0 {
		t.Error("made a write, though its caller tries again by itself")
	}
	w.now = w.now.Add(quietFor)
	look(false)
	w.expect(t, "reads fail since 04:15: away", "reads fail since 04:15: away", "writes fail since 04:20: away")
	w.err = nil
	w.now = w.now.Add(quietFor)
	look(false)
	w.expect(t, "reads again", "writes again")
}

func TestExplainNamesWhatIsWrong(t *testing.T) {
	for want, err := range map[string]error{
		"does not exist":          objstore.ErrNoBucket,
		"read-only":               fmt.Errorf("%w: %w", objstore.ErrDenied, syscall.EROFS),
		"denies access":           objstore.ErrDenied,
		"is full":                 objstore.ErrFull,
		"does not answer in tim":  context.DeadlineExceeded,
		"cannot be reached":       &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED},
		"descriptors are used up": &net.OpError{Op: "dial", Err: syscall.EMFILE},
		"the bucket fails":        errAway,
	} {
		if what, advice := Explain(fmt.Errorf("get: %w", err)); !strings.Contains(what, want) || advice == "" {
			t.Errorf("%v: %s; %s", err, what, advice)
		}
	}
}

func TestAdviceForAFullBucketIsGivenOnce(t *testing.T) {
	full := fmt.Errorf("%w: free space or raise the quota: %w", objstore.ErrFull, syscall.ENOSPC) // as the file store does
	for _, err := range []error{objstore.ErrFull, full} {
		fault, advice := Explain(err)
		if text := fmt.Sprintf("%s: %v; %s", fault, err, advice); strings.Count(text, "raise the quota") != 1 || !strings.Contains(advice, "nothing was lost") {
			t.Errorf("got %s", text)
		}
	}
}

func TestAWatchStops(t *testing.T) {
	w := newWatched()
	stop := w.Start()
	w.Ask()
	if err := stop(); err != nil {
		t.Error(err)
	}
}
