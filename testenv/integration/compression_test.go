package integration

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/varvelog/varve/testenv"
)

// codecs are Kafka's codecs, by their number in a batch's attributes.
var codecs = []struct {
	name  string
	codec kgo.CompressionCodec
}{
	{"none", kgo.NoCompression()}, {"gzip", kgo.GzipCompression()}, {"snappy", kgo.SnappyCompression()},
	{"lz4", kgo.Lz4Compression()}, {"zstd", kgo.ZstdCompression()},
}

// sample is records of every shape: no key, an empty one, bytes that are no
// text, headers without a value; all compress well.
func sample(topic string) []*kgo.Record {
	records := make([]*kgo.Record, 40)
	for i := range records {
		records[i] = &kgo.Record{Topic: topic, Timestamp: time.UnixMilli(1_600_000_000_123 + int64(i*i)),
			Key: fmt.Appendf(nil, "key-%d", i), Value: bytes.Repeat(fmt.Appendf(nil, "value %d ", i), 50)}
	}
	records[1].Key = nil
	records[2].Key = []byte{}
	records[3].Value = nil
	records[4].Value = []byte{}
	records[5].Key, records[5].Value = []byte("\x00\xff\n\t"), bytes.Repeat([]byte("\xfe\n\x00\r"), 100)
	records[6].Headers = []kgo.RecordHeader{{Key: "trace", Value: []byte("a=b")}, {Key: "trace", Value: []byte{0xff, 0}}}
	records[7].Headers = []kgo.RecordHeader{{Key: "empty", Value: []byte{}}, {Key: "missing", Value: nil}}
	return records
}

// wantCodec wants every batch to be compressed as its producer sent it.
func wantCodec(t *testing.T, read []*kgo.Record, codec int) {
	t.Helper()
	for _, r := range read {
		if got := int(r.Attrs.CompressionType()); got != codec {
			t.Fatalf("offset %d came compressed as %s, sent as %s", r.Offset, codecs[got].name, codecs[codec].name)
		}
	}
}

func TestEveryCompressionArrivesAsFranzGoSentIt(t *testing.T) {
	t.Parallel()
	node := fileBucket(t).start(t)
	for number, codec := range codecs {
		t.Run(codec.name, func(t *testing.T) {
			topic := "franz-" + codec.name
			createTopic(t, node.Kafka, topic, 1)
			written := produce(t, client(t, node.Kafka, kgo.ProducerBatchCompression(codec.codec)), sample(topic)...)
			read := readAll(t, node.Kafka, topic)[0]
			wantRecords(t, read, written)
			wantCodec(t, read, number)
			wantRecords(t, varveReads(t, node, topic), written)
		})
	}
}

func TestEveryCompressionArrivesAsVarveProduceSentIt(t *testing.T) {
	t.Parallel()
	node := fileBucket(t).start(t)
	var lines bytes.Buffer
	var want []*kgo.Record
	for i := range 100 {
		key, at := fmt.Sprintf("user-%d", i%9), time.UnixMilli(1_500_000_000_000+int64(i)*977)
		line := fmt.Sprintf(`{"user":%q,"at":%d,"text":"ünï %s"}`, key, at.UnixMilli(), strings.Repeat("again ", 40))
		lines.WriteString(line + "\n")
		want = append(want, &kgo.Record{Key: []byte(key), Value: []byte(line), Timestamp: at})
	}
	for number, codec := range codecs {
		t.Run(codec.name, func(t *testing.T) {
			topic := "varve-" + codec.name
			createTopic(t, node.Kafka, topic, 1)
			out := testenv.Varve{Args: []string{"produce", topic, "--bootstrap", node.Kafka, "--compression", codec.name,
				"--key-field", "user", "--timestamp-field", "at"}, Stdin: bytes.NewReader(lines.Bytes())}.Run(t, patience)
			if out.Code != 0 {
				t.Fatalf("exit code %d: %s", out.Code, out.Stderr)
			}
			read := readAll(t, node.Kafka, topic)[0]
			wantRecords(t, read, want)
			wantCodec(t, read, number)
			wantRecords(t, varveReads(t, node, topic), want)
		})
	}
}

func TestEveryCompressionArrivesAsKcatSentIt(t *testing.T) {
	t.Parallel()
	kcat := testenv.LookTool(t, "kcat")
	node := fileBucket(t).start(t)
	var lines bytes.Buffer
	for i := range 100 {
		fmt.Fprintf(&lines, "key-%d:%s\n", i%9, strings.Repeat(fmt.Sprintf("value %d ", i), 30))
	}
	for number, codec := range codecs {
		t.Run(codec.name, func(t *testing.T) {
			topic := "kcat-" + codec.name
			createTopic(t, node.Kafka, topic, 1)
			before := time.Now()
			runKcat(t, kcat, lines.Bytes(), "-P", "-b", node.Kafka, "-t", topic, "-p", "0", "-z", codec.name, "-K", ":",
				"-H", "source=kcat", "-X", "linger.ms=50")
			read := readAll(t, node.Kafka, topic)[0]
			var want []*kgo.Record
			for i, line := range strings.Split(strings.TrimSuffix(lines.String(), "\n"), "\n") {
				key, value, _ := strings.Cut(line, ":")
				r := &kgo.Record{Key: []byte(key), Value: []byte(value), Headers: []kgo.RecordHeader{{Key: "source", Value: []byte("kcat")}}}
				if i < len(read) { // kcat gives no choice of time
					r.Timestamp = read[i].Timestamp
				}
				want = append(want, r)
			}
			wantRecords(t, read, want)
			wantCodec(t, read, number)
			if at := read[0].Timestamp; at.Before(before.Truncate(time.Millisecond)) || at.After(time.Now()) {
				t.Errorf("timestamp %v, produced after %v", at, before)
			}
			wantRecords(t, varveReads(t, node, topic), want)
			wantRecords(t, kcatReads(t, kcat, node, topic), want)
		})
	}
}

func TestKcatReadsWhatOthersWrote(t *testing.T) {
	t.Parallel()
	kcat := testenv.LookTool(t, "kcat")
	node := fileBucket(t).start(t)
	for _, codec := range codecs {
		t.Run(codec.name, func(t *testing.T) {
			topic := "others-" + codec.name
			createTopic(t, node.Kafka, topic, 1)
			records := sample(topic)
			for _, r := range records { // kcat's output does not show these unambiguously
				r.Headers = nil
			}
			records[9].Headers = []kgo.RecordHeader{{Key: "a", Value: []byte("1")}, {Key: "b", Value: []byte("2")}}
			written := produce(t, client(t, node.Kafka, kgo.ProducerBatchCompression(codec.codec)), records...)
			wantRecords(t, kcatReads(t, kcat, node, topic), written)
			mustRun(t, node, "produce", topic, "--compression", codec.name, "--partition", "0", writeFile(t, "one\ntwo\n"))
			all := kcatReads(t, kcat, node, topic)
			if len(all) != len(written)+2 || string(all[len(written)].Value) != "one" || string(all[len(written)+1].Value) != "two" {
				t.Errorf("kcat read %d records, the last %q", len(all), all[len(all)-1].Value)
			}
		})
	}
}

// varveReads reads a topic's partition 0 with `varve consume`.
func varveReads(t *testing.T, node *testenv.Node, topic string) []*kgo.Record {
	t.Helper()
	var records []*kgo.Record
	lines := json.NewDecoder(bytes.NewReader(mustRun(t, node, "consume", topic, "--until-end", "-o", "json")))
	for lines.More() {
		var line struct {
			Offset        int64     `json:"offset"`
			Timestamp     time.Time `json:"timestamp"`
			Key           *string   `json:"key"`
			KeyEncoding   string    `json:"key_encoding"`
			Value         *string   `json:"value"`
			ValueEncoding string    `json:"value_encoding"`
			Headers       []struct {
				Key           string  `json:"key"`
				Value         *string `json:"value"`
				ValueEncoding string  `json:"value_encoding"`
			} `json:"headers"`
		}
		if err := lines.Decode(&line); err != nil {
			t.Fatalf("line %d: %v", len(records)+1, err)
		}
		r := &kgo.Record{Offset: line.Offset, Timestamp: line.Timestamp,
			Key: decoded(t, line.Key, line.KeyEncoding), Value: decoded(t, line.Value, line.ValueEncoding)}
		for _, h := range line.Headers {
			r.Headers = append(r.Headers, kgo.RecordHeader{Key: h.Key, Value: decoded(t, h.Value, h.ValueEncoding)})
		}
		records = append(records, r)
	}
	return records
}

func decoded(t *testing.T, text *string, encoding string) []byte {
	t.Helper()
	if text == nil {
		return nil
	}
	if encoding == "" {
		return []byte(*text)
	}
	b, err := base64.StdEncoding.DecodeString(*text)
	if err != nil || encoding != "base64" {
		t.Fatalf("%q in %q: %v", *text, encoding, err)
	}
	return b
}

// kcatReads reads a topic's partition 0 with kcat. The sizes in its output let
// keys and values hold any byte.
func kcatReads(t *testing.T, kcat string, node *testenv.Node, topic string) []*kgo.Record {
	t.Helper()
	out := runKcat(t, kcat, nil, "-C", "-b", node.Kafka, "-t", topic, "-p", "0", "-o", "beginning", "-e", "-q",
		"-f", `%o|%T|%K|%S|%h\n%k%s\n`)
	var records []*kgo.Record
	for len(out) > 0 {
		head, rest, _ := bytes.Cut(out, []byte("\n"))
		fields := strings.SplitN(string(head), "|", 5)
		if len(fields) != 5 {
			t.Fatalf("kcat printed %q", head)
		}
		var numbers [4]int64
		for i := range numbers {
			var err error
			if numbers[i], err = strconv.ParseInt(fields[i], 10, 64); err != nil {
				t.Fatalf("kcat printed %q", head)
			}
		}
		r := &kgo.Record{Offset: numbers[0], Timestamp: time.UnixMilli(numbers[1])}
		r.Key, rest = sized(rest, numbers[2])
		r.Value, rest = sized(rest, numbers[3])
		for _, h := range strings.FieldsFunc(fields[4], func(r rune) bool { return r == ',' }) {
			key, value, _ := strings.Cut(h, "=")
			r.Headers = append(r.Headers, kgo.RecordHeader{Key: key, Value: []byte(value)})
		}
		records, out = append(records, r), rest[1:]
	}
	return records
}

// sized takes n bytes off b; -1 stands for a missing value, not an empty one.
// kcat prints NULL for a missing value.
func sized(b []byte, n int64) (taken, rest []byte) {
	if n < 0 {
		return nil, bytes.TrimPrefix(b, []byte("NULL"))
	}
	return b[:n:n], b[n:]
}

func runKcat(t *testing.T, kcat string, stdin []byte, args ...string) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, kcat, args...)
	var stderr bytes.Buffer
	cmd.Stdin, cmd.Stderr = bytes.NewReader(stdin), &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("kcat %q: %v\n%s", args, err, &stderr)
	}
	return out
}
