package integration

import (
	"encoding/base64"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/varvelog/varve/testenv"
)

// expireSoon are settings with which a node looks all the time for records that expire.
var expireSoon = []string{"--retention-check", "100ms", "--merge-wait", "50ms"}

// await waits for a state of a node that comes by itself.
func await(t *testing.T, node *testenv.Node, what string, reached func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !reached(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s\n%s", what, node.Log())
		}
	}
}

// createWith creates a topic of one partition with configs, and returns its id.
func createWith(t *testing.T, address, topic string, configs ...string) kadm.TopicID {
	t.Helper()
	all := map[string]*string{}
	for _, c := range configs {
		name, value, _ := strings.Cut(c, "=")
		all[name] = &value
	}
	made, err := kadm.NewClient(client(t, address)).CreateTopic(deadline(t), -1, -1, all, topic)
	if err != nil {
		t.Fatalf("create %s: %v: %s", topic, err, made.ErrMessage)
	}
	return made.ID
}

func deleteTopic(t *testing.T, address, topic string) {
	t.Helper()
	if _, err := kadm.NewClient(client(t, address)).DeleteTopic(deadline(t), topic); err != nil {
		t.Fatalf("delete %s: %v", topic, err)
	}
}

func TestRecordsExpireAndOthersStay(t *testing.T) {
	t.Parallel()
	node := minioBucket(t).start(t, expireSoon...)
	createWith(t, node.Kafka, "aged", "retention.ms=200")
	createWith(t, node.Kafka, "large", "retention.bytes=1")
	createWith(t, node.Kafka, "kept")
	kept := produce(t, client(t, node.Kafka), numbered("kept", 0, "kept", 10)...)
	for range 2 { // two extents
		produce(t, client(t, node.Kafka), numbered("aged", 0, "aged", 5)...)
		produce(t, client(t, node.Kafka), numbered("large", 0, "large", 5)...)
	}
	await(t, node, "records expire", func() bool {
		return starts(t, node.Kafka, "aged")[0] == 10 && starts(t, node.Kafka, "large")[0] == 5
	})
	node.Kill(t)
	node.Restart(t)
	wantRecords(t, readAll(t, node.Kafka, "kept")[0], kept)
	produce(t, client(t, node.Kafka), numbered("aged", 0, "again", 5)...)
	await(t, node, "the next records expire", func() bool { return starts(t, node.Kafka, "aged")[0] == 15 })
}

// TestNothingExpiresWhileTheClocksAreApart: the store's answers are dated a year earlier,
// as if the node's clock were a year ahead.
func TestNothingExpiresWhileTheClocksAreApart(t *testing.T) {
	t.Parallel()
	b, p := behindProxy(t, minioBucket(t))
	year := func(w http.ResponseWriter, _ *http.Request, pass func(http.ResponseWriter)) {
		pass(dated{w, time.Now().Add(-365 * 24 * time.Hour)})
	}
	p.set(year)
	node := b.start(t, append([]string{"--delete-grace", "100ms"}, expireSoon...)...)
	createWith(t, node.Kafka, "aged", "retention.ms=200")
	id := createWith(t, node.Kafka, "gone")
	records := produce(t, client(t, node.Kafka), numbered("aged", 0, "aged", 10)...)
	deleteTopic(t, node.Kafka, "gone")
	clock := func() float64 { n, _ := metric(t, node, "varve_trouble", `kind="clock"`); return n }
	await(t, node, "the trouble", func() bool { return clock() == 1 })
	time.Sleep(500 * time.Millisecond)
	wantRecords(t, readAll(t, node.Kafka, "aged")[0], records)
	if again := createWith(t, node.Kafka, "gone", "varve.undelete="); again != id {
		t.Errorf("restored the topic %s, want %s", again, id)
	}
	p.set(nil)
	await(t, node, "records expire", func() bool { return starts(t, node.Kafka, "aged")[0] == 10 })
	if clock() != 0 {
		t.Error("the trouble stays")
	}
}

// dated is an answer with another Date.
type dated struct {
	http.ResponseWriter
	at time.Time
}

func (d dated) WriteHeader(code int) {
	d.Header().Set("Date", d.at.UTC().Format(http.TimeFormat))
	d.ResponseWriter.WriteHeader(code)
}

// Unwrap lets others reach the methods of the writer.
func (d dated) Unwrap() http.ResponseWriter { return d.ResponseWriter }

func TestDeletedTopicIsRestoredWithItsRecords(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, b bucket) {
		node := b.start(t, expireSoon...)
		id := createWith(t, node.Kafka, "events", "max.message.bytes=4000")
		records := produce(t, client(t, node.Kafka), numbered("events", 0, "first", 10)...)
		deleteTopic(t, node.Kafka, "events")
		other := createWith(t, node.Kafka, "events") // its name is free
		node.Kill(t)
		node.Restart(t)
		deleteTopic(t, node.Kafka, "events")
		admin := kadm.NewClient(client(t, node.Kafka))
		if _, err := admin.CreateTopic(deadline(t), -1, -1, map[string]*string{"varve.undelete": new(string)}, "events"); err == nil {
			t.Fatal("one of two deleted topics is restored")
		}
		if back := createWith(t, node.Kafka, "events", "varve.undelete="+base64.RawURLEncoding.EncodeToString(id[:])); back != id || back == other {
			t.Fatalf("restored the topic %s, want %s", back, id)
		}
		node.Kill(t)
		node.Restart(t)
		records = append(records, produce(t, client(t, node.Kafka), numbered("events", 0, "second", 10)...)...)
		wantRecords(t, readAll(t, node.Kafka, "events")[0], records)
		if c := (administered{t, node}).config("events", "max.message.bytes"); *c.Value != "4000" {
			t.Errorf("max.message.bytes is %s", *c.Value)
		}
	})
}

func TestPartitionsOfATopicAreDroppedAfterItsGrace(t *testing.T) {
	t.Parallel()
	node := minioBucket(t).start(t, append([]string{"--delete-grace", "0s"}, expireSoon...)...)
	createWith(t, node.Kafka, "gone")
	createWith(t, node.Kafka, "kept")
	produce(t, client(t, node.Kafka), numbered("gone", 0, "gone", 10)...)
	kept := produce(t, client(t, node.Kafka), numbered("kept", 0, "kept", 10)...)
	deleteTopic(t, node.Kafka, "gone")
	await(t, node, "the partition is dropped", func() bool { n, _ := metric(t, node, "varve_dropped_partitions_total"); return n == 1 })
	node.Kill(t)
	node.Restart(t)
	createWith(t, node.Kafka, "gone")
	wantStart(t, node.Kafka, "gone", 0, 0, 0)
	wantRecords(t, readAll(t, node.Kafka, "kept")[0], kept)
}
