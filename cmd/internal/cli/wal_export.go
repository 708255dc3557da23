package cli

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/varvelog/varve/ingest/wal"
	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/segment"
)

const walExportLong = `Write out the records of write-ahead logs: of all logs set aside, or of the one that
--incarnation names, which may also be waiting. Nothing is removed. A log set aside
that was written out whole is marked as exported, and the node no longer reports its
records as a trouble; "varve wal delete" removes it.

The json format is one object a line, as "varve consume -o json" prints records,
with "topic_id" in the place of "topic": write-ahead logs have ids only, which
"varve topic describe" shows. Offset is the one that the record had; another record
may have it in the topic now. Bytes that are not UTF-8 are in base64, marked by
"value_encoding": "base64" in the same object.

The raw format is the record batches (Kafka's message format 2) as they were stored,
back to back. They do not name their topic: with --topic id:partition the output is
like one of Kafka's .log files, and Kafka's tools can read it.

Batches that cannot be read are counted on standard error; all others are written,
and the code is 1.`

// walExportFlags are the flags of `varve wal export`.
type walExportFlags struct {
	incarnation, topic, out, output string
	progress                        bool
}

func newWALExport(env *Env, dir *string) *cobra.Command {
	var f walExportFlags
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Write the records of write-ahead logs out",
		Long:  walExportLong,
		Example: `  varve wal export --data-dir /var/lib/varve --out lost.jsonl
  varve wal export --incarnation 6f9619ff8b86d011b42d00cf4fc964ff
  varve wal export --topic 4pLWRyGqR9qmZ1b9rKzV3g:0 -o raw --out 00000000000000000000.log`,
		Args: args(cobra.NoArgs, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			e := &walExport{ctx: cmd.Context(), raw: f.output == "raw"}
			if err := e.filter(f); err != nil {
				return err
			}
			e.meter = newMeter(env, "wal export", f.progress, func() progress { return e.progress })
			return exportWAL(env, dataDir(env, *dir), f.out, e)
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringVar(&f.incarnation, "incarnation", "", "only the logs of this `id` (default all that were set aside)")
	flags.StringVar(&f.topic, "topic", "", "only records of this topic, as `id[:partition]` (default all)")
	flags.StringVar(&f.out, "out", "-", "new `file` to write to; - is standard output")
	outputFlag(cmd, &f.output, "json", "raw")
	progressFlag(flags, &f.progress)
	return cmd
}

// walExport writes records of logs.
type walExport struct {
	ctx context.Context
	raw bool

	incarnation segment.ID // zero: those set aside
	topic       segment.ID // zero: all
	partition   int32      // -1: all

	meter    *meter
	progress progress
	out      *bufio.Writer
	line     []byte    // reused
	bytes    uint64    // written of the current log, in the raw format
	records  uint64    // likewise, in the json format
	bad      uint64    // batches that cannot be read, at least
	whole    []*walLog // logs that were written to their end
	writeErr error     // of out, or the end of ctx; nothing is written after it
}

// filter sets which records are wanted.
func (e *walExport) filter(f walExportFlags) (err error) {
	if f.incarnation != "" {
		if e.incarnation, err = segment.ParseID(f.incarnation); err != nil || e.incarnation.IsZero() {
			return usagef("--incarnation %q: write 32 hex digits, as \"varve wal list\" shows them", f.incarnation)
		}
	}
	e.partition = -1
	if f.topic == "" {
		return nil
	}
	id, partition, cut := strings.Cut(f.topic, ":")
	b, err := base64.RawURLEncoding.DecodeString(id)
	if err != nil || len(b) != len(e.topic) {
		return usagef("--topic %q: write the topic's id, as \"varve topic describe\" shows it, or id:partition", f.topic)
	}
	if copy(e.topic[:], b); e.topic.IsZero() {
		return usagef("--topic %q: no topic has this id", f.topic)
	}
	if cut {
		n, err := strconv.ParseInt(partition, 10, 32)
		if err != nil || n < 0 {
			return usagef("--topic %q: write the partition as a number from 0", f.topic)
		}
		e.partition = int32(n)
	}
	return nil
}

func exportWAL(env *Env, dir, out string, e *walExport) error {
	all, err := readWALs(e.ctx, dir)
	if e.ctx.Err() != nil {
		return errInterrupted
	}
	if err != nil && len(all) == 0 {
		return err
	}
	logs, selectErr := e.choose(all)
	if selectErr != nil {
		return errors.Join(selectErr, err)
	}
	if len(logs) == 0 {
		if err == nil {
			fmt.Fprintf(env.Stderr, "varve: wal export: no write-ahead log is set aside in %s\n", dir)
		}
		return err
	}
	w, closeOut, openErr := openOut(env, out)
	if openErr != nil {
		return openErr
	}
	e.out = bufio.NewWriterSize(w, outputBuffer)
	e.progress = e.begin(logs)
	writeErr := e.writeAll(logs)
	e.meter.erase()
	if closeErr := closeOut(); writeErr == nil {
		writeErr = closeErr
	}
	switch {
	case writeErr != nil:
		return interrupted(e.ctx, writeErr)
	case e.bad > 0:
		err = errors.Join(fmt.Errorf("record batches that cannot be read: %d or more, as listed above; all others were written", e.bad), err)
	}
	return errors.Join(e.mark(), err)
}

// mark notes which logs set aside were exported, after their records are safe.
func (e *walExport) mark() error {
	var errs []error
	for _, l := range e.whole {
		if l.State == walAside {
			errs = append(errs, wal.NoteExported(l.opt, l.info))
		}
	}
	return errors.Join(errs...)
}

// choose picks the wanted logs. It never picks a log that is being written.
func (e *walExport) choose(all []*walLog) ([]*walLog, error) {
	var logs []*walLog
	for _, l := range all {
		switch wanted := l.Incarnation == e.incarnation.String(); {
		case e.incarnation.IsZero() && l.State == walAside:
			logs = append(logs, l)
		case wanted && l.State == walInUse:
			return nil, fmt.Errorf("write-ahead log %s is in use by a running node; stop the node to export it", l.Incarnation)
		case wanted:
			logs = append(logs, l)
		}
	}
	if len(logs) == 0 && !e.incarnation.IsZero() {
		return nil, fmt.Errorf("no write-ahead log %s; \"varve wal list\" shows those that exist", e.incarnation)
	}
	return logs, nil
}

// openOut opens the output. The function it returns closes it, durably.
func openOut(env *Env, name string) (io.Writer, func() error, error) {
	if name == "-" {
		return env.Stdout, func() error { return nil }, nil
	}
	return newFile("out", name)
}

// newFile creates a file that a flag names, and replaces none. The function it
// returns closes the file, durably.
func newFile(flag, name string) (io.Writer, func() error, error) {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil, nil, usagef("--%s %s: the file exists and is not replaced; give another name", flag, name)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("make --%s file: %w", flag, err)
	}
	return f, func() error { return errors.Join(f.Sync(), f.Close()) }, nil
}

// writeAll writes the logs. Its error is one of writing, or the end of ctx; it
// prints and counts batches that cannot be read.
func (e *walExport) writeAll(logs []*walLog) error {
	for _, l := range logs {
		e.bytes, e.records = 0, 0
		bad := e.bad
		if l.log == nil {
			e.problem(l, 1, "nothing of it can be read: %s", l.Damage)
			continue
		}
		err := l.log.Read(l.log.FirstLSN, func(r wal.Record) error {
			e.writeErr = e.write(l, r)
			return e.writeErr
		})
		if e.writeErr != nil {
			return e.writeErr
		}
		if err != nil {
			e.unreadable(l, err)
		}
		if e.raw {
			e.note(l, "%s written as they were stored", plural(int(e.bytes), "byte"))
		} else {
			e.note(l, "%s written", plural(int(e.records), "record"))
		}
		if e.bad == bad && e.topic.IsZero() {
			e.whole = append(e.whole, l)
		}
	}
	return e.out.Flush()
}

// unreadable prints where the readable part of a log ends.
func (e *walExport) unreadable(l *walLog, err error) {
	var damage *wal.DamageError
	if errors.As(err, &damage) && damage.Lost > 0 && damage.Highest >= damage.Lost {
		n := damage.Highest - damage.Lost + 1
		e.problem(l, n, "record batches that cannot be read: %d or more: %s", n, oneLine(err))
		return
	}
	e.problem(l, 1, "record batches that cannot be read, in unknown number: %s", oneLine(err))
}

// problem prints a note about batches that cannot be read, n at least.
func (e *walExport) problem(l *walLog, n uint64, format string, a ...any) {
	e.bad += n
	e.note(l, format, a...)
}

func (e *walExport) note(l *walLog, format string, a ...any) {
	e.meter.note("wal export: journal %d, log %s: %s", l.Journal, l.Incarnation, fmt.Sprintf(format, a...))
}

// begin returns the progress before the first batch.
func (e *walExport) begin(logs []*walLog) progress {
	p := progress{unit: "batches"}
	for _, l := range logs {
		if l.Batches != nil {
			p.total += int64(*l.Batches)
		}
	}
	return p
}

// write writes a batch if it is wanted.
func (e *walExport) write(l *walLog, r wal.Record) error {
	e.progress.done++
	e.progress.bytes += int64(len(r.Batch))
	e.meter.tick(time.Now())
	if err := e.ctx.Err(); err != nil {
		return err
	}
	if !e.topic.IsZero() && r.Topic != e.topic || e.partition >= 0 && r.Index != e.partition {
		return nil
	}
	if e.raw {
		n, err := e.out.Write(r.Batch)
		e.bytes += uint64(n)
		return err
	}
	return e.writeRecords(l, r)
}

// maxRecord limits the memory for one record of a compressed batch.
const maxRecord = 256 << 20

func (e *walExport) writeRecords(l *walLog, r wal.Record) error {
	to := kgo.Record{Topic: r.Topic.Base64(), Partition: r.Index}
	var writeErr error
	err := batch.Records(r.Batch, maxRecord, func(rec batch.Record) bool {
		to.Offset, to.Timestamp, to.Key, to.Value = rec.Offset, time.UnixMilli(rec.Timestamp), rec.Key, rec.Value
		to.Headers = to.Headers[:0]
		for key, value := range rec.Headers.All() {
			to.Headers = append(to.Headers, kgo.RecordHeader{Key: string(key), Value: value})
		}
		e.records++
		e.line = appendJSON(e.line[:0], "topic_id", &to)
		_, writeErr = e.out.Write(e.line)
		return writeErr == nil
	})
	if err != nil {
		e.problem(l, 1, "the batch of partition %d of topic %s at offset %d cannot be read to its end (-o raw has it): %s",
			r.Index, to.Topic, r.BaseOffset, oneLine(err))
	}
	return writeErr
}
