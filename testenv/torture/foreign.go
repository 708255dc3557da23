package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
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

// readForeign reads the log from a copy of the bucket, with the foreign reader. No node
// may run. It does nothing where Python or the program is not found.
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
	if err := bucket.copyTo(ctx, folder); err != nil {
		return fmt.Errorf("copy the bucket: %w", err)
	}
	in, out := io.Pipe()
	process, err := proc.Start(proc.Command{Path: python, Args: []string{"-B", "-S", foreignReader, "records", folder, topic, "--checkpoints"}, Stdout: out})
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() {
		err := process.Wait()
		_ = out.Close() // never fails
		ended <- err
	}()
	parsed := readLines(in, r.history)
	_ = in.CloseWithError(parsed) // the reader's output is of no use any more
	if failed := <-ended; parsed != nil || failed != nil {
		r.history.Note(history.Corrupt, "%s: %v, %v: %s", foreignReader, parsed, failed, lastLine(process.Output()))
		return nil
	}
	r.report.Foreign = true
	return os.RemoveAll(folder)
}

// foreignLine is a record, or a batch that the reader cannot decode.
type foreignLine struct {
	Partition int32   `json:"partition"`
	Offset    int64   `json:"offset"`
	Key       *string `json:"key"`
	Value     *string `json:"value"`
	Codec     string  `json:"codec"`
	Batch     []byte  `json:"batch"`
}

// readLines takes the records of the foreign reader into the history. They are the whole
// log.
func readLines(in io.Reader, h *history.History) error {
	c := h.NewConsumer("the foreign reader")
	for partition := range int32(partitions) {
		c.Seek(partition, 0)
	}
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		var l foreignLine
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			return fmt.Errorf("%w in %.200q", err, lines.Text())
		}
		if l.Codec == "" {
			c.Read(l.Partition, l.Offset, text(l.Key), text(l.Value))
			continue
		}
		if err := l.decode(c); err != nil {
			return fmt.Errorf("batch at offset %d of partition %d: %w", l.Offset, l.Partition, err)
		}
	}
	for partition := range int32(partitions) {
		c.Complete(partition, c.Next(partition))
	}
	return lines.Err()
}

func text(s *string) []byte {
	if s == nil {
		return nil
	}
	return []byte(*s)
}

// decode reads the records of a batch whose codec the foreign reader does not know.
func (l *foreignLine) decode(c *history.Consumer) error {
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
		c.Read(l.Partition, l.Offset+int64(record.OffsetDelta), record.Key, record.Value)
		b = b[min(size, len(b)):]
	}
	return nil
}

// copyTo copies all objects into a folder, each into the file that is named after its key.
func (b bucket) copyTo(ctx context.Context, folder string) error {
	keys, err := b.list(ctx, "")
	if err != nil {
		return err
	}
	for _, key := range keys {
		data, err := b.get(ctx, key)
		if err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		file := filepath.Join(folder, filepath.FromSlash(key))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(file, data, 0o644); err != nil {
			return err
		}
	}
	return nil
}
