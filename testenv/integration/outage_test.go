package integration

import (
	"net/http"
	"sync/atomic"
	"testing"
	"time"
)

// outage is how long a store is away: long enough for several requests to fail.
const outage = 3 * time.Second

func TestAnOutageOfTheStoreLosesNothingAndStopsNoOther(t *testing.T) {
	t.Parallel()
	full(t)
	t.Run("killed and restarted", func(t *testing.T) {
		t.Parallel()
		b := ownMinIOBucket(t)
		withOutage(t, b, func() { b.minio.Kill(t) }, func() { b.minio.Restart(t) })
	})
	t.Run("hanging", func(t *testing.T) {
		t.Parallel()
		b, p := behindProxy(t, minioBucket(t))
		back := make(chan struct{})
		withOutage(t, b, func() {
			p.set(func(w http.ResponseWriter, r *http.Request, pass func(http.ResponseWriter)) {
				select { // no answer, as from a stopped process; requests that arrived are done later
				case <-back:
					pass(w)
				case <-r.Context().Done():
				}
			})
		}, func() {
			p.set(nil)
			close(back)
		})
	})
	t.Run("writing without answering", func(t *testing.T) {
		t.Parallel()
		b, p := behindProxy(t, minioBucket(t))
		withOutage(t, b, func() {
			p.set(func(w http.ResponseWriter, r *http.Request, pass func(http.ResponseWriter)) {
				if reads(r) {
					pass(w)
					return
				}
				dropAnswer(w, pass)
			})
		}, func() { p.set(nil) })
	})
	t.Run("refusing writes", func(t *testing.T) {
		t.Parallel()
		b, p := behindProxy(t, minioBucket(t))
		withOutage(t, b, func() { p.set(readOnly) }, func() { p.set(nil) })
	})
	t.Run("failing every second write", func(t *testing.T) {
		t.Parallel()
		b, p := behindProxy(t, minioBucket(t))
		var n atomic.Int64
		withOutage(t, b, func() {
			p.set(func(w http.ResponseWriter, r *http.Request, pass func(http.ResponseWriter)) {
				if !reads(r) && n.Add(1)%2 == 0 {
					w.WriteHeader(http.StatusServiceUnavailable)
					return
				}
				pass(w)
			})
		}, func() { p.set(nil) })
	})
}

// withOutage writes with both kinds of acknowledgement over an outage.
func withOutage(t *testing.T, b bucket, begin, end func()) {
	t.Helper()
	node := b.start(t)
	createTopic(t, node.Kafka, "all", 2)
	createTopic(t, node.Kafka, "one", 2)
	all := keepWriting(t, node.Kafka, "all", 2, acksAll...)
	one := keepWriting(t, node.Kafka, "one", 2, acksOne...)
	all.progress(t, 200)
	one.progress(t, 200)
	begin()
	time.Sleep(outage / 2)
	one.progress(t, 200) // the write-ahead log takes them
	time.Sleep(outage / 2)
	end()
	began := time.Now()
	all.progress(t, 500)
	t.Logf("500 records with acks=all %v after the store was back", time.Since(began))
	ofAll, ofOne := all.end(t), one.end(t)
	if len(all.failed) > 0 {
		t.Errorf("%d records were given up, first for: %v", len(all.failed), all.failed[0])
	}
	wantAcknowledged(t, node.Kafka, "all", ofAll)
	wantAcknowledged(t, node.Kafka, "one", ofOne)
	node.Kill(t)
	fresh := b.startFresh(t, node)
	wantAcknowledged(t, fresh.Kafka, "all", ofAll)
	seen := map[string]bool{}
	for partition, log := range readAll(t, fresh.Kafka, "all") {
		for _, r := range log {
			if seen[string(r.Value)] {
				t.Errorf("partition %d has %q twice", partition, r.Value)
			}
			seen[string(r.Value)] = true
		}
	}
}
