package cli

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// errStopped: a record failed, so no further one is sent: records after a gap
// would hide it.
var errStopped = errors.New("stopped after a failure")

const recordSlab = 256 // records allocated at once

// sender hands records to the client and counts their outcomes. record, send,
// flush and report belong to one goroutine. The client's goroutine reports each
// outcome. Any goroutine may call giveUp.
type sender struct {
	client *kgo.Client
	topic  string
	began  time.Time
	slab   []kgo.Record

	records context.Context         // of every record
	giveUp  context.CancelCauseFunc // ends it: unacknowledged records then fail with that cause

	skipped  int64        // blank lines
	carriage bool         // the first line of an input ended in \r\n
	utf16    bool         // an input began with the byte order mark of UTF-16
	sent     atomic.Int64 // records handed to the client
	acked    atomic.Int64 // records acknowledged
	ackBytes atomic.Int64 // their keys and values
	failed   atomic.Bool
	read     atomic.Int64 // bytes of the input that were read
	total    int64        // bytes of the input, 0 if not known

	mu struct {
		sync.Mutex
		first error // why the first record failed, with its line
	}
}

// newSender makes a sender for an input of total bytes, 0 if not known.
func newSender(client *kgo.Client, topic string, total int64) *sender {
	s := &sender{client: client, topic: topic, began: time.Now(), total: total}
	s.records, s.giveUp = context.WithCancelCause(context.Background())
	return s
}

// record returns a zero record to fill.
func (s *sender) record() *kgo.Record {
	if len(s.slab) == 0 {
		s.slab = make([]kgo.Record, recordSlab)
	}
	r := &s.slab[0]
	s.slab = s.slab[1:]
	return r
}

// send hands a record over. It blocks while too much is unacknowledged. An
// interruption does not cancel it: each record that was read is written, or
// fails.
func (s *sender) send(r *kgo.Record, source string, line int64) error {
	if s.failed.Load() {
		return errStopped
	}
	r.Topic = s.topic
	s.sent.Add(1)
	s.client.Produce(s.records, r, func(r *kgo.Record, err error) {
		if err == nil {
			s.ackBytes.Add(int64(len(r.Key) + len(r.Value)))
			s.acked.Add(1)
			return
		}
		if cause := context.Cause(s.records); cause != nil {
			err = cause
		}
		s.fail(fmt.Errorf("%s, %s %d: %w", source, place(err), line, err))
	})
	return nil
}

// place returns which lines a number stands for. A broker refuses batches, and
// the client does not report which record of them was refused.
func place(err error) string {
	var code *kerr.Error
	if errors.As(err, &code) {
		return "batch from line"
	}
	return "line"
}

func (s *sender) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.first == nil {
		s.mu.first = err
	}
	s.failed.Store(true)
}

// flush waits until the outcome of every record is known; giving up bounds it.
func (s *sender) flush() {
	if err := s.client.Flush(context.Background()); err != nil {
		s.fail(fmt.Errorf("wait for acknowledgements: %w", err))
	}
}

// rates describes how far it is and how fast.
func (s *sender) rates() string {
	elapsed := time.Since(s.began)
	seconds := max(elapsed.Seconds(), 1e-3)
	acked, size := s.acked.Load(), s.ackBytes.Load()
	return fmt.Sprintf("%s, %s in %v (%s records/s, %.1f MB/s)",
		plural(int(acked), "record"), humanize.Bytes(uint64(size)), elapsed.Round(time.Millisecond),
		humanize.Comma(int64(float64(acked)/seconds)), float64(size)/1e6/seconds)
}

// progress is how far it is. It counts bytes read ahead and not written yet,
// which are few.
func (s *sender) progress() progress {
	p := progress{unit: "records", done: s.acked.Load(), bytes: s.read.Load(), totalBytes: s.total}
	if s.total == 0 {
		p.bytes = s.ackBytes.Load()
	}
	return p
}

// produced is the output of `produce -o json`.
type produced struct {
	Topic        string  `json:"topic"`
	Sent         int64   `json:"sent"`
	Acknowledged *int64  `json:"acknowledged"` // null with --acks 0: not known
	Bytes        int64   `json:"bytes"`        // of their keys and values
	Skipped      int64   `json:"skipped"`      // blank lines
	Seconds      float64 `json:"seconds"`
	Error        string  `json:"error,omitempty"`
}

// report writes the summary and returns the error that the command ends with.
func (s *sender) report(env *Env, o *produceOptions, readErr error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	sent, acked := s.sent.Load(), s.acked.Load()
	if s.mu.first == nil && acked != sent {
		s.mu.first = errors.New("the client lost track of records")
	}
	err := readErr
	if s.mu.first != nil {
		err = fmt.Errorf("%d of %d %w: %w", sent-acked, sent, errUnsent, s.mu.first)
	}
	if s.carriage {
		fmt.Fprintln(env.Stderr, `varve: note: lines end in \r\n, and each record has the \r; "tr -d '\r'" before produce removes it`)
	}
	if s.utf16 {
		fmt.Fprintln(env.Stderr, `varve: note: the input looks like UTF-16, and its bytes are stored as they are; "iconv -f UTF-16 -t UTF-8" before produce makes lines of it`)
	}
	if o.output == "json" {
		p := produced{Topic: s.topic, Sent: sent, Acknowledged: &acked, Bytes: s.ackBytes.Load(), Skipped: s.skipped, Seconds: time.Since(s.began).Seconds()}
		if o.acks == "0" {
			p.Acknowledged = nil
		}
		if err != nil {
			p.Error = explain(err)
		}
		return errors.Join(err, printJSON(env.Stdout, p))
	}
	word := "acknowledged"
	if o.acks == "0" {
		word = "sent without acknowledgement"
	}
	if s.skipped > 0 {
		word += ", " + plural(int(s.skipped), "blank line") + " skipped"
	}
	fmt.Fprintf(env.Stderr, "varve: %s: %s %s\n", s.topic, s.rates(), word)
	return err
}
