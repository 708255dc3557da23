package integration

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/varvelog/varve/testenv"
)

// writing is a producer that goes on until it is stopped, whatever happens to
// the node.
type writing struct {
	stop func()
	done chan struct{}

	mu           sync.Mutex
	acknowledged []*kgo.Record
	attempted    int
	failed       []error
}

// keepWriting writes records, each with a value of its own, to the partitions
// of a topic in turn.
func keepWriting(t *testing.T, address, topic string, partitions int, options ...kgo.Opt) *writing {
	t.Helper()
	w := &writing{done: make(chan struct{})}
	c := client(t, address, append([]kgo.Opt{kgo.MaxBufferedRecords(500), kgo.ProduceRequestTimeout(10 * time.Second)}, options...)...)
	running, stop := context.WithCancel(context.Background())
	w.stop = stop
	go func() {
		defer close(w.done)
		for i := 0; running.Err() == nil; i++ {
			r := &kgo.Record{Topic: topic, Partition: int32(i % partitions), Key: fmt.Appendf(nil, "%d", i%50),
				Value: fmt.Appendf(nil, "value %d", i), Timestamp: time.UnixMilli(1_700_000_000_000 + int64(i))}
			c.Produce(context.Background(), r, func(r *kgo.Record, err error) { w.answered(r, err) })
			if i%100 == 99 {
				time.Sleep(2 * time.Millisecond) // leave the machine to the node
			}
		}
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := c.Flush(ctx); err != nil {
			w.answered(nil, fmt.Errorf("records that nothing is known of for %v: %w", patience, err))
		}
	}()
	t.Cleanup(func() {
		stop()
		c.Close() // Produce may wait for room
		<-w.done
	})
	return w
}

func (w *writing) answered(r *kgo.Record, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.attempted++
	if err != nil {
		w.failed = append(w.failed, err)
		return
	}
	w.acknowledged = append(w.acknowledged, r)
}

func (w *writing) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.acknowledged)
}

// progress waits until n more records are acknowledged.
func (w *writing) progress(t *testing.T, n int) {
	t.Helper()
	from := w.count()
	for end := time.Now().Add(patience); w.count() < from+n; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			w.mu.Lock()
			defer w.mu.Unlock()
			t.Fatalf("%d records acknowledged, no more than %d after %v; errors: %v", from, len(w.acknowledged), patience, errors.Join(w.failed[:min(len(w.failed), 3)]...))
		}
	}
}

// end stops the writing and returns the acknowledged records.
func (w *writing) end(t *testing.T) []*kgo.Record {
	t.Helper()
	w.stop()
	<-w.done
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.acknowledged
}

var (
	acksAll = []kgo.Opt{kgo.RequiredAcks(kgo.AllISRAcks())}
	// acksOne leaves one request in flight, because the client then keeps the order.
	acksOne = []kgo.Opt{kgo.RequiredAcks(kgo.LeaderAck()), kgo.DisableIdempotentWrite(), kgo.MaxProduceRequestsInflightPerBroker(1)}
)

const kills = 4

func TestKillsLoseNothingThatWasAcknowledged(t *testing.T) {
	t.Parallel()
	for name, acks := range map[string][]kgo.Opt{"acks=1": acksOne, "acks=all": acksAll} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			onStores(t, func(t *testing.T, b bucket) {
				node := b.start(t)
				createTopic(t, node.Kafka, "events", 3)
				writing := keepWriting(t, node.Kafka, "events", 3, acks...)
				for range kills {
					writing.progress(t, 500)
					node.Kill(t)
					restart(t, node)
				}
				writing.progress(t, 100)
				acknowledged := writing.end(t)
				wantAcknowledged(t, node.Kafka, "events", acknowledged)
				t.Logf("%d records acknowledged over %d kills", len(acknowledged), kills)
			})
		})
	}
}

// restart starts a node again and logs how long that took.
func restart(t *testing.T, node *testenv.Node) {
	t.Helper()
	began := time.Now()
	node.Restart(t)
	t.Logf("ready %v after the restart", time.Since(began))
}

func TestAnIdempotentProducerGoesOnOverKillsWithoutGapsOrDuplicates(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, b bucket) {
		node := b.start(t)
		createTopic(t, node.Kafka, "events", 3)
		writing := keepWriting(t, node.Kafka, "events", 3, acksAll...)
		for range kills {
			writing.progress(t, 300)
			node.Kill(t)
			restart(t, node)
		}
		writing.progress(t, 100)
		acknowledged := writing.end(t)
		if len(writing.failed) > 0 {
			t.Errorf("%d records were given up, first for: %v", len(writing.failed), writing.failed[0])
		}
		seen := map[string]int64{}
		for partition, log := range readAll(t, node.Kafka, "events") {
			last := -1
			for _, r := range log {
				if at, twice := seen[string(r.Value)]; twice {
					t.Errorf("partition %d has %q at offsets %d and %d", partition, r.Value, at, r.Offset)
				}
				seen[string(r.Value)] = r.Offset
				var number int
				if _, err := fmt.Sscanf(string(r.Value), "value %d", &number); err != nil || number <= last {
					t.Fatalf("partition %d, offset %d: %q after number %d", partition, r.Offset, r.Value, last)
				}
				last = number
			}
		}
		if len(seen) != len(acknowledged) {
			t.Errorf("%d records are stored, %d acknowledged", len(seen), len(acknowledged))
		}
		wantAcknowledged(t, node.Kafka, "events", acknowledged)
	})
}

func TestAcksAllOutlivesTheLossOfTheDataFolder(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, b bucket) {
		address := testenv.FreeAddr(t)
		node := b.start(t, "--listen", address)
		createTopic(t, node.Kafka, "events", 3)
		writing := keepWriting(t, address, "events", 3, acksAll...)
		for range kills {
			writing.progress(t, 300)
			node.Kill(t)
			began := time.Now()
			node = b.startFresh(t, node, "--listen", address)
			t.Logf("ready %v after the loss of the data folder", time.Since(began))
		}
		writing.progress(t, 100)
		wantAcknowledged(t, address, "events", writing.end(t))
	})
}

func TestARestartAfterAKillKeepsWhatAcksOneWroteLast(t *testing.T) {
	t.Parallel()
	b := fileBucket(t)
	node := b.start(t)
	createTopic(t, node.Kafka, "events", 1)
	node.Stop(t)
	// Nothing is flushed before the kill: the write-ahead segment has all
	// records.
	lazy := testenv.Varve{Args: []string{"--bucket", b.url, "--data-dir", node.DataDir, "--flush-interval", "1m"}}.Start(t)
	var written []*kgo.Record
	for i := range 20 {
		written = append(written, produce(t, client(t, lazy.Kafka, acksOne...), numbered("events", 0, fmt.Sprintf("w%d", i), 10)...)...)
	}
	if pending, found := metric(t, lazy, "varve_wal_pending_bytes"); !found || pending == 0 {
		t.Errorf("no bytes are pending (found: %t), so the test proves nothing", found)
	}
	lazy.Kill(t)
	node.Restart(t)
	wantAcknowledged(t, node.Kafka, "events", written)
	wantRecords(t, readAll(t, node.Kafka, "events")[0], written)
}
