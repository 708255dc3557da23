package clients

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/varvelog/varve/testenv/proc"
)

const (
	wordKinds = 40
	changelog = "word-count-counts-changelog"
)

// wordCount is a program that counts words, whose store is in a changelog.
type wordCount struct {
	process *proc.Process
	stdin   *os.File
	broker  string
}

func startWordCount(t *testing.T, j java, classes, broker, state string) wordCount {
	t.Helper()
	in, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = out.Close() }) // closed before, by stop
	j.jars = classes + string(filepath.ListSeparator) + j.jars
	p := j.start(t, "streams", nil, in, "-Djava.io.tmpdir="+folder(t, "tmp"), "Streams", broker, "words", "counts", state)
	if err := in.Close(); err != nil { // the process has its own
		t.Fatal(err)
	}
	return wordCount{p, out, broker}
}

// stop ends the program as an operator does: it keeps its positions.
func (w wordCount) stop(t *testing.T) {
	t.Helper()
	if err := w.stdin.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-w.process.Done():
	case <-time.After(patience):
		t.Fatal("it does not end")
	}
	if err := w.process.Wait(); err != nil {
		t.Fatal(err)
	}
}

// counts returns the newest count of each word.
func (w wordCount) counts() (map[string]int, error) {
	records, err := readAll(w.broker, "counts")
	if err != nil {
		return nil, err
	}
	counts := map[string]int{}
	for _, r := range records {
		n, err := strconv.Atoi(string(r.Value))
		if err != nil {
			return nil, err
		}
		counts[string(r.Key)] = n
	}
	return counts, nil
}

// reaches waits until the count of every word is more above base. Where the program may
// count again after a crash, it may be higher.
func (w wordCount) reaches(t *testing.T, base map[string]int, more int, exactly bool) (counts map[string]int) {
	t.Helper()
	lasting(t, w.process, func() (err error) {
		if counts, err = w.counts(); err != nil {
			return err
		}
		for i := range wordKinds {
			word := fmt.Sprintf("word-%02d", i)
			if n, want := counts[word], base[word]+more; n < want || exactly && n > want {
				return fmt.Errorf("%s was counted %d times, want %d", word, n, want)
			}
		}
		return nil
	})
	return counts
}

var restored = regexp.MustCompile(`restored ([1-9][0-9]*)`)

// streams counts words with Kafka Streams. When the folder of its state is deleted, the
// counts come back from the compacted changelog.
func streams(t *testing.T, j java) {
	node := startNode(t)
	classes, state := t.TempDir(), folder(t, "state")
	if err := command(".", tool(t, "javac"), "-nowarn", "-d", classes, "-cp", j.jars, here(t, "java/streams/Streams.java")); err != nil {
		t.Fatal(err)
	}
	named := client{family: family{name: "streams"}, broker: node.Kafka}
	for topic, partitions := range map[string]int32{"words": 2, "counts": 1} {
		createNamed(t, named.broker, topic, partitions)
	}
	produce := func(each int) {
		var records []event
		for n := range each * wordKinds {
			records = append(records, event{Partition: int32(n % 2), Value: fmt.Sprintf("word-%02d", n%wordKinds), Timestamp: begin + int64(n)})
		}
		write(t, node.Kafka, "words", records)
	}
	w := startWordCount(t, j, classes, node.Kafka, state)
	produce(50)
	counts := w.reaches(t, nil, 50, true)
	wantCompacted(t, node.Kafka, changelog)

	crash(t, node, func() {})
	produce(50)
	w.reaches(t, counts, 50, false)
	time.Sleep(settle) // a program that counts again after the crash has done so
	w.stop(t)
	if counts, _ = w.counts(); len(counts) != wordKinds {
		t.Fatalf("%d words have a count", len(counts))
	}

	eventually(t, func() error {
		records, err := readAll(node.Kafka, changelog)
		if len(records) >= 100*wordKinds || err != nil {
			return fmt.Errorf("the changelog still has %d records (%v)", len(records), err)
		}
		return nil
	})
	if err := os.RemoveAll(state); err != nil {
		t.Fatal(err)
	}
	crash(t, node, func() {})
	w = startWordCount(t, j, classes, node.Kafka, state)
	produce(1)
	again := w.reaches(t, counts, 1, true)
	for word := range maps.Keys(again) {
		if again[word] != counts[word]+1 {
			t.Errorf("%s was counted %d times, want %d", word, again[word], counts[word]+1)
		}
	}
	if !restored.MatchString(w.process.Output()) {
		t.Error("nothing was restored from the changelog")
	}
	w.stop(t)
}
