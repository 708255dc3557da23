package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/testenv/history"
	"github.com/varvelog/varve/testenv/proc"
)

// foreignReader is the program that reads a bucket by the format page alone.
const foreignReader = "testenv/foreign/reader.py"

// readForeign checks a copy of the bucket with the foreign reader, and reads all topics but the
// passing one from it. No node may run. It does nothing where Python or the program is not found.
func (r *round) readForeign(ctx context.Context) error {
	python, err := exec.LookPath("python3")
	if _, missing := os.Stat(foreignReader); err != nil || missing != nil {
		return nil
	}
	bucket, err := openBucket(r.cluster.store.Address())
	if err != nil {
		return err
	}
	folder := filepath.Join(r.dir, "copy")
	if r.report.Objects, err = bucket.copyTo(ctx, folder); err != nil {
		return fmt.Errorf("copy the bucket: %w", err)
	}
	if !r.runForeign(python, drain, "check", folder) {
		return nil
	}
	listed := map[string][]foreignPartition{}
	if !r.runForeign(python, func(in io.Reader) error { return readTopics(in, listed) }, "topics", folder) {
		return nil
	}
	readings := r.readings(listed)
	args := append([]string{"records", folder}, slices.Sorted(maps.Keys(readings))...)
	if !r.runForeign(python, func(in io.Reader) error { return readLines(in, readings) }, append(args, "--checkpoints")...) {
		return nil
	}
	for _, reading := range readings {
		reading.end()
	}
	r.report.Foreign = true
	return os.RemoveAll(folder)
}

// readings are the reads of all topics, whose partitions are listed, but of the passing one.
func (r *round) readings(listed map[string][]foreignPartition) map[string]reading {
	readings := map[string]reading{}
	if r.crew != nil {
		readings[jobs], readings[offsetsTopic] = r.crew.jobs.read(r.history, listed[jobs]), newOffsetsReading(r.crew)
	}
	if r.slow == nil {
		return readings // of a group alone
	}
	maps.Copy(readings, map[string]reading{
		topic: newWholeReading(r.history, "the foreign reader"), slowTopic: r.slow.read(r.history, "the foreign reader"), compactedTopic: r.keyed.read(r.history, "the foreign reader"),
	})
	for _, l := range r.fading {
		readings[l.topic] = l.read(r.history, "the foreign reader", listed[l.topic])
	}
	return readings
}

// runForeign runs the foreign reader, and reports whether its output could be read.
func (r *round) runForeign(python string, read func(io.Reader) error, args ...string) bool {
	in, out := io.Pipe()
	process, err := proc.Start(proc.Command{Path: python, Args: append([]string{"-B", "-S", foreignReader}, args...), Stdout: out})
	if err != nil {
		r.history.Note(history.Corrupt, "%s: %v", foreignReader, err)
		return false
	}
	ended := make(chan error, 1)
	go func() {
		err := process.Wait()
		_ = out.Close() // never fails
		ended <- err
	}()
	parsed := read(in)
	_ = in.CloseWithError(parsed) // the reader's output is of no use any more
	if failed := <-ended; parsed != nil || failed != nil {
		r.history.Note(history.Corrupt, "%s %v: %v, %v: %s", foreignReader, args, parsed, failed, lastLine(process.Output()))
		return false
	}
	return true
}

func drain(in io.Reader) error {
	_, err := io.Copy(io.Discard, in)
	return err
}

// reading is a read of a whole topic, partition after partition.
type reading interface {
	take(partition int32, offset int64, key, value []byte)
	end()
}

// wholeReading is a read of the whole log of the history.
type wholeReading struct{ consumer *history.Consumer }

func newWholeReading(h *history.History, name string) wholeReading {
	c := h.NewConsumer(name)
	for partition := range int32(partitions) {
		c.Seek(partition, 0)
	}
	return wholeReading{c}
}

func (w wholeReading) take(partition int32, offset int64, key, value []byte) {
	w.consumer.Read(partition, offset, key, value)
}

func (w wholeReading) end() {
	for partition := range int32(partitions) {
		w.consumer.Complete(partition, w.consumer.Next(partition))
	}
}

// foreignTopic is a topic, foreignPartition a partition of it, in their order.
type (
	foreignTopic struct {
		Name       string             `json:"name"`
		Partitions []foreignPartition `json:"partitions"`
	}
	foreignPartition struct {
		Start int64 `json:"start"`
		End   int64 `json:"end"`
	}
)

func readTopics(in io.Reader, listed map[string][]foreignPartition) error {
	for lines := json.NewDecoder(in); ; {
		var t foreignTopic
		if err := lines.Decode(&t); err != nil {
			return notEOF(err)
		}
		listed[t.Name] = t.Partitions
	}
}

func notEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// foreignLine is a record, or a batch that the reader cannot decode.
type foreignLine struct {
	Topic     string  `json:"topic"`
	Partition int32   `json:"partition"`
	Offset    int64   `json:"offset"`
	Key       *string `json:"key"`
	Value     *string `json:"value"`
	Encoding  string  `json:"value_encoding"`
	KeyCoding string  `json:"key_encoding"`
	Codec     string  `json:"codec"`
	Start     int64   `json:"start"` // of the log, for a batch
	Batch     []byte  `json:"batch"`
}

// readLines takes the records of the foreign reader.
func readLines(in io.Reader, readings map[string]reading) error {
	for lines := json.NewDecoder(in); ; {
		var l foreignLine
		if err := lines.Decode(&l); err != nil {
			return notEOF(err)
		}
		to := readings[l.Topic]
		if to == nil {
			return fmt.Errorf("records of topic %q", l.Topic)
		}
		if err := l.give(to); err != nil {
			return fmt.Errorf("offset %d of partition %d of %s: %w", l.Offset, l.Partition, l.Topic, err)
		}
	}
}

func (l *foreignLine) give(to reading) error {
	if l.Codec != "" {
		return l.decode(to)
	}
	key, keyErr := text(l.Key, l.KeyCoding)
	value, err := text(l.Value, l.Encoding)
	to.take(l.Partition, l.Offset, key, value)
	return errors.Join(keyErr, err)
}

func text(s *string, encoding string) ([]byte, error) {
	switch {
	case s == nil:
		return nil, nil
	case encoding == "base64":
		return base64.StdEncoding.DecodeString(*s)
	}
	return []byte(*s), nil
}

// decode reads the records of a batch whose codec the foreign reader does not know.
func (l *foreignLine) decode(to reading) error {
	codec := slices.Index([]string{"none", "gzip", "snappy", "lz4", "zstd"}, l.Codec)
	if codec < 0 {
		return fmt.Errorf("codec %s", l.Codec)
	}
	b, err := kgo.DefaultDecompressor().Decompress(l.Batch, kgo.CompressionCodecType(codec))
	if err != nil {
		return err
	}
	for len(b) > 0 {
		var record kmsg.Record
		if err := record.ReadFrom(b); err != nil {
			return err
		}
		size := len(record.AppendTo(nil))
		if offset := l.Offset + int64(record.OffsetDelta); offset >= l.Start {
			to.take(l.Partition, offset, record.Key, record.Value)
		}
		b = b[min(size, len(b)):]
	}
	return nil
}

// copyTo copies all objects into a folder, each into the file that is named after its key. It
// returns their number.
func (b bucket) copyTo(ctx context.Context, folder string) (int, error) {
	keys, err := b.List(ctx, "")
	if err != nil {
		return 0, err
	}
	for _, key := range keys {
		data, err := b.Get(ctx, key)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", key, err)
		}
		file := filepath.Join(folder, filepath.FromSlash(key))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return 0, err
		}
		if err := os.WriteFile(file, data, 0o644); err != nil {
			return 0, err
		}
	}
	return len(keys), nil
}
