package integration

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/varvelog/varve/testenv"
	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/batch/batchtest"
	"github.com/varvelog/varve/tiering/segment"
)

// misrepresented are batches as older versions stored them: their CRCs are
// right, but their records differ from their headers.
var misrepresented = map[string]func(records []byte) (attributes uint16, changed []byte){
	"garbage records":     func(b []byte) (uint16, []byte) { return 0, bytes.Repeat([]byte{0x7f}, len(b)) },
	"plain bytes as gzip": func(b []byte) (uint16, []byte) { return uint16(batch.Gzip), b },
	"a gzip stream cut off": func(b []byte) (uint16, []byte) {
		return uint16(batch.Gzip), batchtest.Compress(batch.Gzip, false, b)[:20]
	},
	"compressed twice": func(b []byte) (uint16, []byte) {
		return uint16(batch.Zstd), batchtest.Compress(batch.Zstd, false, batchtest.Compress(batch.Zstd, false, b))
	},
}

// misrepresent makes such a batch of the first one in an object.
func misrepresent(t *testing.T, object []byte, change func([]byte) (uint16, []byte)) []byte {
	t.Helper()
	o, err := segment.Decode(object)
	if err != nil {
		t.Fatal(err)
	}
	var parts []segment.Records
	for i := range o.Footer.Partitions {
		p := &o.Footer.Partitions[i]
		r := segment.Records{Partition: *p}
		err := batch.Walk(o.Batches(p), func(pos int, h batch.Header) error {
			b := bytes.Clone(o.Batches(p)[pos : pos+h.Size()])
			if pos == 0 {
				attributes, records := change(b[batch.HeaderSize:])
				b = append(b[:batch.HeaderSize], records...)
				binary.BigEndian.PutUint32(b[8:], uint32(len(b)-12))
				binary.BigEndian.PutUint16(b[21:], attributes)
				b = batchtest.FixCRC(b)
			}
			r.Batches = append(r.Batches, b)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, r)
	}
	changed, _, err := segment.Build(o.Footer.Header, o.Entries, parts)
	if err != nil {
		t.Fatal(err)
	}
	return changed
}

func TestOldBatchesThatCannotBeDecodedAreSteppedOver(t *testing.T) {
	t.Parallel()
	b := fileBucket(t)
	node := b.start(t)
	createTopic(t, node.Kafka, "events", 1)
	plain := client(t, node.Kafka, kgo.ProducerBatchCompression(kgo.NoCompression()))
	for i := range 3 {
		records := numbered("events", 0, "d", 10*(i+1))[10*i:]
		for _, r := range records {
			r.Timestamp = time.UnixMilli(int64(1_000_000 * (i + 1)))
		}
		produce(t, plain, records...)
	}
	node.Stop(t)
	second := segment.JournalKey(1, b.journal(t)[1])
	for name, change := range misrepresented {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := b.copied(t)
			alter(t, filepath.Join(b.folder, second), func(object []byte) []byte { return misrepresent(t, object, change) })
			node := b.start(t)
			run := func(args ...string) testenv.Output {
				return testenv.Varve{Args: args, Env: []string{"VARVE_BOOTSTRAP=" + node.Kafka}}.Run(t, patience)
			}
			wantSkipped(t, "alone", run("consume", "events", "--until-end", "--skip-undecodable"))
			wantSkipped(t, "in a group", run("consume", "events", "--until-end", "--skip-undecodable", "--group", "g"))
			out := run("consume", "events", "--until-end")
			if err := string(out.Stderr); out.Code != 1 || !strings.Contains(err, "offsets 10 to 19 of events/0") || !strings.Contains(err, "--skip-undecodable") {
				t.Errorf("without the flag: exit code %d: %s", out.Code, err)
			}
			out = run("group", "reset-offsets", "g", "--topic", "events", "--to", "1970-01-01T00:25:00Z", "--execute")
			if !strings.Contains(string(out.Stdout), "20") || out.Code != 0 {
				t.Errorf("reset-offsets to the time of the batch: exit code %d: %s%s", out.Code, out.Stdout, out.Stderr)
			}
			node.Stop(t)
			if n := strings.Count(node.Log(), "records that cannot be decoded"); n != 1 || !strings.Contains(node.Log(), "first=10 last=19 object="+second) {
				t.Errorf("the node reports the batch %d times:\n%s", n, node.Log())
			}
			out = testenv.Varve{Args: []string{"bucket", "verify", "--records", "--bucket", b.url, "-o", "json"}}.Run(t, patience)
			if text := string(out.Stdout); out.Code != 0 || strings.Count(text, `"code": "content"`) != 1 || !strings.Contains(text, `"sound": true`) || !strings.Contains(text, second) {
				t.Errorf("verify: exit code %d: %s", out.Code, text)
			}
		})
	}
}

// wantSkipped wants all records but those of the second batch, and a line about
// that batch.
func wantSkipped(t *testing.T, how string, out testenv.Output) {
	t.Helper()
	var want strings.Builder
	all := numbered("events", 0, "d", 30)
	for _, r := range append(all[:10:10], all[20:]...) {
		fmt.Fprintf(&want, "%s\n", r.Value)
	}
	if out.Code != 0 || string(out.Stdout) != want.String() {
		t.Errorf("%s: exit code %d, printed %q", how, out.Code, out.Stdout)
	}
	if err := string(out.Stderr); strings.Count(err, "offsets 10 to 19 of events/0") != 1 || !strings.Contains(err, "skipped 10 offsets in one batch") {
		t.Errorf("%s: standard error: %s", how, err)
	}
}
