package clients

import (
	"bufio"
	"fmt"
	"maps"
	"net/http"
	"path"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/varvelog/varve/testenv"
)

// tiered are topics whose records do not lie in journal objects any more.
var tiered = []struct {
	name    string
	configs map[string]string
	keys    int // each has many records; 0: all records stay
}{
	{"merged", nil, 0},
	{"compacted", map[string]string{"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.01"}, 50},
}

// mergesSoon are the flags of a node that merges within seconds, and deletes at once all
// that is not needed any more.
var mergesSoon = []string{"--merge-bytes", "1MiB", "--merge-age", "1s", "--merge-own-bytes", "256KiB",
	"--merge-join-age", "1s", "--merge-join-count", "2", "--merge-wait", "100ms",
	"--checkpoint-objects", "8", "--replaced-grace", "0s", "--freed-grace", "0s"}

// TestTiered has each family read topics from their start, and from a time. Their records are
// merged by then, most of them are compacted away, and their first objects are deleted.
func TestTiered(t *testing.T) {
	if testing.Short() || *peer != "" {
		t.Skip("needs MinIO: run without -short")
	}
	store := testenv.MinIO(t)
	node := testenv.Varve{Env: store.Env(), Args: append([]string{"--bucket", store.URL("tiered"), "--flush-interval", "20ms"}, mergesSoon...)}.Start(t)
	wants := map[string][]event{}
	for _, topic := range tiered {
		wants[topic.name] = history(t, node.Kafka, topic.name, topic.configs, topic.keys)
	}
	eventually(t, func() error { return allMerged(node) })
	for _, topic := range tiered {
		wants[topic.name] = left(t, node.Kafka, topic.name, wants[topic.name], topic.keys)
	}
	deleted(t, node, store)
	pattern := regexp.MustCompile(*only)
	for _, f := range families {
		t.Run(f.name, func(t *testing.T) {
			if !pattern.MatchString(f.name) || *only == "" && !*all && !f.always {
				t.Skip("left to make clients")
			}
			c := client{family: f, broker: node.Kafka, command: f.install(t)}
			for _, topic := range tiered {
				t.Run(topic.name, func(t *testing.T) {
					t.Cleanup(func() { findings.note(topic.name, f.name, outcome(t)) })
					want := wants[topic.name]
					same(t, run[event](t, c, "consume", spec{Topic: topic.name, Partitions: 2, Since: -1, Count: len(want)}, nil), want)
					since := want[len(want)/2].Timestamp - 500
					late := after(want, since)
					same(t, run[event](t, c, "consume", spec{Topic: topic.name, Partitions: 2, Since: since, Count: len(late)}, nil), late)
				})
			}
		})
	}
}

// history writes many records to a topic in several waves, so that they lie in many
// objects. It begins with keys that are written once. The others follow, keys of them, again
// and again.
func history(t *testing.T, broker, topic string, configs map[string]string, keys int) (all []event) {
	t.Helper()
	values := map[string]*string{}
	for name, value := range configs {
		values[name] = &value
	}
	if _, err := kadm.NewClient(reference(t, broker)).CreateTopic(deadline(t), 2, 3, values, topic); err != nil {
		t.Fatal(err)
	}
	const waves, perWave = 12, 2000
	for wave := range waves {
		records := events(2, wave*perWave, perWave)
		for i := range records {
			switch number := wave*perWave + i; {
			case number < 40 || keys == 0:
				records[i].Key = fmt.Sprint("once-", number)
			default:
				records[i].Key = fmt.Sprint("often-", number%keys)
			}
		}
		write(t, broker, topic, records)
		all = append(all, records...)
	}
	return all
}

// allMerged is nil once a node has nothing left to merge.
func allMerged(node *testenv.Node) error {
	if debt, found, err := total(node, "varve_merge_debt_bytes"); err != nil || !found || debt > 0 {
		return fmt.Errorf("%.0f bytes are not merged, the node has a journal that is merged: %v (%v)", debt, found, err)
	}
	return nil
}

// hasMerged is nil once a node has merged something since its start.
func hasMerged(node *testenv.Node) error {
	if jobs, _, err := total(node, "varve_merge_jobs_total"); err != nil || jobs == 0 {
		return fmt.Errorf("nothing is merged (%v)", err)
	}
	return nil
}

// hasCompacted is nil once a node has left out records by log compaction since its start.
func hasCompacted(node *testenv.Node) error {
	if removed, _, err := total(node, "varve_compaction_removed_records_total"); err != nil || removed == 0 {
		return fmt.Errorf("nothing is compacted (%v)", err)
	}
	return nil
}

// deleted writes to another topic until the journal objects of all topics but that one are
// deleted. They are once the floor has passed them twice.
func deleted(t *testing.T, node *testenv.Node, store *testenv.MinIOServer) {
	t.Helper()
	written, found, err := total(node, `varve_journal_head{journal="1"}`)
	if err != nil || !found {
		t.Fatalf("the head of the journal: %v, %v", written, err)
	}
	createNamed(t, node.Kafka, "later", 1)
	most := 8 // fences stay, and so do objects without records that a job has read
	eventually(t, func() error {
		write(t, node.Kafka, "later", events(1, 0, 1))
		left := 0
		for object := range store.Client.ListObjects(deadline(t), store.Bucket, minio.ListObjectsOptions{Prefix: "tiered/journals/1/0"}) {
			if object.Err != nil {
				return object.Err
			}
			if seq, err := strconv.ParseFloat(path.Base(object.Key), 64); err == nil && seq <= written {
				left++
			}
		}
		if left > most {
			return fmt.Errorf("%d of %.0f journal objects are left", left, written)
		}
		return nil
	})
}

// total returns the sum of a node's metrics with a name; false if there is none.
func total(node *testenv.Node, name string) (sum float64, found bool, err error) {
	once := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := once.Get("http://" + node.HTTP + "/metrics")
	if err != nil {
		return 0, false, err
	}
	defer response.Body.Close()
	lines := bufio.NewScanner(response.Body)
	for lines.Scan() {
		if !strings.HasPrefix(lines.Text(), name) {
			continue
		}
		value, err := strconv.ParseFloat(lines.Text()[strings.LastIndexByte(lines.Text(), ' ')+1:], 64)
		if err != nil {
			return 0, false, err
		}
		sum, found = sum+value, true
	}
	return sum, found, lines.Err()
}

// left returns the records that a topic has in the end: all that were written. If keys have
// many of them, few more are left than the last one of each key.
func left(t *testing.T, broker, topic string, written []event, keys int) (all []event) {
	t.Helper()
	byPosition, last := map[position]event{}, map[string]position{}
	for _, e := range written {
		byPosition[at(e)] = e
		last[fmt.Sprint(e.Partition, e.Key)] = at(e)
	}
	eventually(t, func() error {
		records, err := readAll(broker, topic)
		if err != nil {
			return err
		}
		before := len(all)
		all = nil
		newest := map[string]position{}
		for _, r := range records {
			e := seen(r)
			all = append(all, e)
			newest[fmt.Sprint(e.Partition, e.Key)] = at(e)
			if w := byPosition[at(e)]; w.Value != e.Value || w.Key != e.Key {
				t.Fatalf("%s has %.80v at %v, %.80v was written", topic, e, at(e), w)
			}
		}
		if !maps.Equal(newest, last) {
			t.Fatalf("%s has not the last value of each key", topic)
		}
		if keys > 0 && (len(all) > len(written)/8 || len(all) != before) {
			time.Sleep(2 * time.Second) // a compactor looks as often
			return fmt.Errorf("%d records of %d are left", len(all), len(written))
		}
		return nil
	})
	t.Logf("%s: %d records are left of %d", topic, len(all), len(written))
	return all
}

// after returns the records of each partition from the first one on that is not older than
// a time.
func after(records []event, since int64) (late []event) {
	begun := map[int32]bool{}
	for _, e := range records {
		if begun[e.Partition] = begun[e.Partition] || e.Timestamp >= since; begun[e.Partition] {
			late = append(late, e)
		}
	}
	return late
}
