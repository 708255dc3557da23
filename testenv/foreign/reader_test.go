package foreign

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/varvelog/varve/testenv"
	"github.com/varvelog/varve/tiering/segment"
)

// line is an object of JSON that reader.py or varve printed.
type line = map[string]any

// run runs reader.py on the bucket and returns its output.
func (w *world) run(args ...string) (lines []line, failure string) {
	w.Helper()
	command := exec.CommandContext(w.ctx, testenv.LookTool(w, "python3"), append([]string{"-B", "-S", "reader.py"}, args...)...)
	command.Env = append(os.Environ(), w.env...)
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	if err := command.Run(); err != nil {
		return nil, fmt.Sprintf("%v: %s", err, stderr.Bytes())
	}
	return w.lines(stdout.Bytes()), ""
}

// read is run for a command that must succeed.
func (w *world) read(args ...string) []line {
	w.Helper()
	lines, failure := w.run(args...)
	if failure != "" {
		w.Fatalf("reader.py %v: %s", args, failure)
	}
	return lines
}

func (w *world) lines(text []byte) (lines []line) {
	w.Helper()
	for text := range bytes.Lines(text) {
		var l line
		w.must(json.Unmarshal(text, &l))
		lines = append(lines, l)
	}
	return lines
}

// TestAReaderWrittenFromTheFormatPageReadsWhatANodeSays: several leaderships, an end entry, a void,
// deleted records and topics, checkpoints, index pages and a floor.
func TestAReaderWrittenFromTheFormatPageReadsWhatANodeSays(t *testing.T) {
	testenv.LookTool(t, "python3")
	t.Parallel()
	w := newWorld(t)
	w.fill()
	described, committed, consumed := w.described(), w.committed(), w.consumed(topicsOfFill)
	w.node.Stop(t)

	compare := func(when string, flags ...string) {
		t.Helper()
		lines := w.read(append(append([]string{"all", w.folder}, topicsOfFill...), flags...)...)
		wantEqual(t, when+": topics", w.topicsOf(lines), described)
		w.checkCreated(lines)
		wantEqual(t, when+": records", w.recordsOf(lines), consumed)
		wantEqual(t, when+": groups", groupsOf(lines), committed)
	}
	compare("from the first object")
	compare("from checkpoints", "--checkpoints")
	if ends := w.checkAll()["end"]; ends != 1.0 {
		t.Errorf("the reader has found %v end entries, want 1", ends)
	}
	w.forgetHints()
	compare("from floors", "--checkpoints")
	w.damage()
	w.must(os.Remove(w.glob("journals/1/0*")[5]))
	compare("below the floor an object was deleted")
}

func wantEqual[T any](t *testing.T, what string, got, want map[string]T) {
	t.Helper()
	keys := slices.Sorted(maps.Keys(want))
	for k := range got {
		if _, ok := want[k]; !ok {
			keys = append(keys, k)
		}
	}
	different := 0
	for _, k := range keys {
		if g, w := got[k], want[k]; !reflect.DeepEqual(g, w) && different < 5 {
			different++
			t.Errorf("%s: of %s the reader has\n%v\nthe node has\n%v", what, k, g, w)
		}
	}
}

// consumed returns the output of `varve consume` for topics, by topic,
// partition and offset.
func (w *world) consumed(topics []string) map[string]line {
	found := map[string]line{}
	for _, l := range w.lines(w.varve(append([]string{"consume", "--until-end", "-o", "json"}, topics...)...)) {
		at, err := time.Parse(time.RFC3339, l["timestamp"].(string))
		w.must(err)
		l["timestamp"] = float64(at.UnixMilli())
		found[place(l)] = l
	}
	return found
}

func place(l line) string { return fmt.Sprintf("%v-%v at %v", l["topic"], l["partition"], l["offset"]) }

// recordsOf returns the same from the reader's output. Batches of a codec that
// the reader does not know must stand in their places; the content of their
// records is known.
func (w *world) recordsOf(lines []line) map[string]line {
	w.Helper()
	found, raw := map[string]line{}, map[string]bool{}
	for _, l := range lines {
		if l["codec"] == nil {
			if l["headers"] != nil {
				found[place(l)] = l
			}
			continue
		}
		raw[l["codec"].(string)] = true
		for offset := l["offset"].(float64); offset <= l["last_offset"].(float64); offset++ {
			i := int(offset) % packed
			r := line{"topic": l["topic"], "partition": l["partition"], "offset": offset, "timestamp": float64(1_700_000_000_000 + i),
				"key": fmt.Sprintf("key-%d", i%7), "value": fmt.Sprintf("packed packed packed packed, record %d", i), "headers": []any{}}
			found[place(r)] = r
		}
	}
	if want := (map[string]bool{"snappy": true, "lz4": true, "zstd": true}); !maps.Equal(raw, want) {
		w.Errorf("codecs %v are left raw, want %v", raw, want)
	}
	return found
}

// described returns the output of `varve topic describe`.
func (w *world) described() map[string]line {
	found := map[string]line{}
	for _, topic := range []string{"events", "odd.ones", "packed", "__consumer_offsets"} {
		var all []line
		w.must(json.Unmarshal(w.varve("topic", "describe", topic, "-o", "json"), &all))
		d := all[0]
		configs, partitions := line{}, []any{}
		for _, c := range d["configs"].([]any) {
			c := c.(line)
			configs[c["name"].(string)] = c["value"]
		}
		for _, p := range d["partitions"].([]any) {
			p := p.(line)
			partitions = append(partitions, line{"partition": p["partition"], "journal": float64(1), "start": p["start"], "end": p["end"]})
		}
		found[topic] = line{"name": topic, "id": d["id"], "configs": configs, "partitions": partitions, "replication_factor": float64(1)}
	}
	return found
}

func (w *world) topicsOf(lines []line) map[string]line {
	w.Helper()
	found := map[string]line{}
	for _, l := range lines {
		if l["configs"] == nil {
			continue
		}
		topic := maps.Clone(l)
		delete(topic, "created")
		found[l["name"].(string)] = topic
	}
	return found
}

func (w *world) checkCreated(lines []line) {
	w.Helper()
	for _, l := range lines {
		if at, ok := l["created"].(float64); ok && time.Since(time.UnixMilli(int64(at))).Abs() > time.Hour {
			w.Errorf("topic %v was created at %v", l["name"], time.UnixMilli(int64(at)))
		}
	}
}

// committed returns the node's offsets of the groups.
func (w *world) committed() map[string]any {
	found := map[string]any{}
	for _, group := range []string{"readers", "by hand"} {
		var all []line
		w.must(json.Unmarshal(w.varve("group", "describe", group, "-o", "json"), &all))
		for _, p := range all[0]["partitions"].([]any) {
			p := p.(line)
			found[fmt.Sprintf("%s of %v-%v", group, p["topic"], p["partition"])] = p["committed"]
		}
	}
	return found
}

func groupsOf(lines []line) map[string]any {
	found := map[string]any{}
	for _, l := range lines {
		if l["group"] == nil {
			continue
		}
		found[fmt.Sprintf("%v of %v-%v", l["group"], l["topic"], l["partition"])] = l["offset"]
	}
	return found
}

// checkAll lets the reader check every object and every checkpoint, and returns its counts
// of journal 1.
func (w *world) checkAll() line {
	w.Helper()
	lines := w.read("check", w.folder)
	w.Logf("checked: %v", lines)
	data := lines[1]
	for what, least := range map[string]float64{"fence": 3, "void": 1, "checkpoints": 5, "pages": 1, "floor": 2} {
		if data[what].(float64) < least {
			w.Errorf("the bucket has %v %s, which tests too little", data[what], what)
		}
	}
	if lines[len(lines)-1]["snapshots"].(float64) == 0 {
		w.Error("no snapshot of groups was compared")
	}
	return data
}

// forgetHints removes all checkpoints but those that floors name.
func (w *world) forgetHints() {
	w.Helper()
	named := map[string]bool{}
	for _, path := range w.glob("journals/*/floors/*") {
		data, err := os.ReadFile(path)
		w.must(err)
		floor, err := segment.DecodeFloor(data)
		w.must(err)
		named[filepath.Join(w.folder, floor.Checkpoint)] = true
	}
	for _, path := range w.glob("journals/*/checkpoints/*") {
		if !named[path] {
			w.must(os.Remove(path))
		}
	}
}

// damage changes one file at a time: the reader must notice.
func (w *world) damage() {
	w.Helper()
	objects := w.glob("journals/1/0*")
	late := objects[len(objects)-20] // so many are above the floor, and more than a window beyond late
	flip := func(at int) func([]byte) []byte {
		return func(b []byte) []byte { b[(at+len(b))%len(b)] ^= 1; return b }
	}
	for _, c := range []struct {
		name, path string
		change     func([]byte) []byte
		want       string
	}{
		{"a bit of a header", late, flip(100), "corrupt: "},
		{"a bit of a footer", late, flip(-60), "corrupt: "},
		{"a bit of the magic at the end", late, flip(-1), "corrupt: "},
		{"another version", late, flip(5), "too old: "},
		{"an object cut short", late, func(b []byte) []byte { return b[:len(b)-1] }, "corrupt: "},
		{"an object missing", late, nil, "is missing"},
		{"a bit of the cluster object", filepath.Join(w.folder, "cluster"), flip(30), "corrupt: "},
		{"a bit of a floor", w.glob("journals/1/floors/*")[0], flip(60), "corrupt: "},
	} {
		was, err := os.ReadFile(c.path)
		w.must(err)
		w.must(os.Remove(c.path))
		if c.change != nil {
			w.must(os.WriteFile(c.path, c.change(bytes.Clone(was)), 0o600))
		}
		if _, failure := w.run("topics", w.folder); !strings.Contains(failure, c.want) {
			w.Errorf("%s: the reader says %q, want %q", c.name, failure, c.want)
		}
		w.must(os.RemoveAll(c.path))
		w.must(os.WriteFile(c.path, was, 0o600))
	}
}
