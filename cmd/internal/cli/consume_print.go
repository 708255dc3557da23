package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	fetchPartitionBytes = 8 << 20 // asked of one partition at once
	outputBuffer        = 256 << 10

	// stallLimit is how long --until-end waits without a record that is known
	// to be there. It is longer than a fail-over.
	stallLimit = time.Minute

	// troubleAfter is how long no record comes before the reason is printed.
	troubleAfter = 10 * time.Second
)

// printer writes the records of the spans, in the order in which the client
// returns them.
type printer struct {
	spans   spans // guarded by members.mu when there are members
	left    int64 // records that may still be printed, if limited
	limited bool
	format  format
	out     *bufio.Writer
	line    []byte // reused

	patience time.Duration // without a record that is known to be there
	trouble  error         // last retriable error of a fetch
	reported bool          // trouble was printed to standard error

	stuck   stuck
	members *membership // nil unless it reads as a member of a group
	meter   *meter
	shown   progress
}

// run prints until the output is complete, ctx ends, or a partition cannot be
// read.
func (p *printer) run(ctx context.Context, client *kgo.Client, untilEnd bool) error {
	defer p.meter.erase()
	defer p.summary()
	defer p.stuck.close()
	moved := time.Now()
	for {
		polling, cancel := context.WithTimeout(ctx, time.Second)
		fetches := client.PollFetches(polling)
		cancel()
		gap := p.checkGaps(ctx, fetches)
		printed, done, err := p.print(fetches)
		// Readers that wait for these records must not wait for the next ones.
		if flushErr := p.out.Flush(); err == nil {
			err = flushErr
		}
		if p.members != nil {
			p.members.printed(client, err)
		}
		now := time.Now()
		p.meter.tick(now)
		switch {
		case err != nil:
			return err
		case done:
			return nil
		case gap != nil && ctx.Err() == nil:
			return gap
		case ctx.Err() != nil && !untilEnd && !p.limited:
			return nil
		case ctx.Err() != nil:
			return errInterrupted
		case printed:
			moved, p.reported, p.stuck.wait = now, false, 0
		case untilEnd && now.Sub(moved) > p.patience:
			return p.stalled(client)
		case p.stuck.due(now.Sub(moved)):
			passed, err := p.pass(ctx, client)
			if err != nil && ctx.Err() == nil {
				return err
			}
			if passed {
				moved, p.stuck.wait = time.Now(), 0
			}
		case now.Sub(moved) > troubleAfter && p.trouble != nil && !p.reported:
			p.reported = true
			p.meter.note("no records for %v, still trying: %s", troubleAfter, explain(p.trouble))
		}
	}
}

func (p *printer) stalled(client *kgo.Client) error {
	trouble := p.trouble
	if trouble == nil {
		trouble = silence(client, "sends nothing")
	}
	if errors.Is(trouble, kerr.KafkaStorageError) {
		trouble = fmt.Errorf("%w; %s; --skip-undecodable helps only with batches that verify reports as content, with --records",
			trouble, advice[kerr.KafkaStorageError])
	}
	return fmt.Errorf("no records for %v, but the end is not reached (%s): %w", p.patience, p.spans.behind(), trouble)
}

// print writes the fetched records. done reports that no more are wanted.
func (p *printer) print(fetches kgo.Fetches) (printed, done bool, err error) {
	if p.members != nil {
		p.members.mu.Lock()
		defer p.members.mu.Unlock()
	}
	p.shown.doing = ""
	if p.members != nil && len(p.spans) == 0 {
		p.shown.doing = "waiting for partitions of group " + p.members.group
	}
	fetches.EachPartition(func(f kgo.FetchTopicPartition) {
		if err != nil || done {
			return
		}
		s := p.spans[f.Topic][f.Partition]
		if s == nil { // an error of the client as a whole, or a partition given up
			err = p.judge(f, 0)
			return
		}
		var n bool
		n, err = p.partition(f, s)
		printed = printed || n
		done = p.limited && p.left == 0
		if err == nil && !done {
			err = p.judge(f, s.next)
		}
	})
	return printed, done || p.ended(), err
}

// partition writes the records of one partition that lie in its span.
func (p *printer) partition(f kgo.FetchTopicPartition, s *span) (printed bool, err error) {
	for _, r := range f.Records {
		if r.Offset < s.next {
			continue
		}
		if s.done() || p.limited && p.left == 0 {
			break
		}
		s.next = r.Offset + 1
		printed = true
		if p.members != nil {
			p.members.reached(r)
		}
		if r.Attrs.IsControl() || s.end >= 0 && r.Offset >= s.end {
			continue
		}
		p.left--
		p.shown.done++
		p.line = p.format(p.line[:0], r)
		p.shown.bytes += int64(len(p.line))
		if _, err := p.out.Write(p.line); err != nil {
			return printed, err
		}
	}
	return printed, nil
}

// judge decides about the error of a fetch from offset next. After retriable
// errors the client goes on by itself; all others end the command.
func (p *printer) judge(f kgo.FetchTopicPartition, next int64) error {
	var session *kgo.ErrGroupSession
	switch err := f.Err; {
	case errors.As(err, &session):
		return p.judgeSession(session.Err)
	case err == nil, errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return nil
	case errors.Is(err, kerr.OffsetOutOfRange):
		return fmt.Errorf("read %s/%d: the records from %d on do not exist any more (retention?); begin again with a later --from: %w",
			f.Topic, f.Partition, next, err)
	case kerr.IsRetriable(err), kgo.IsRetryableBrokerErr(err):
		p.trouble = fmt.Errorf("%s/%d: %w", f.Topic, f.Partition, err)
		return nil
	default:
		return p.judgeOther(f)
	}
}

// judgeOther is judge for errors that are not retriable and do not concern
// offsets. An error without a broker's code comes from the client, perhaps
// about a batch.
func (p *printer) judgeOther(f kgo.FetchTopicPartition) error {
	err := fmt.Errorf("read %s/%d: %w", f.Topic, f.Partition, f.Err)
	var answered *kerr.Error
	if p.spans[f.Topic][f.Partition] == nil || errors.As(f.Err, &answered) {
		return err
	}
	p.stuck.cause = err
	return nil
}

// judgeSession is judge for the membership of a group. The client joins again
// by itself, unless that would be in vain.
func (p *printer) judgeSession(err error) error {
	var refused *groupError
	var kafka *kerr.Error
	if errors.As(err, &refused) || errors.As(err, &kafka) && !kafka.Retriable && !rejoins(kafka) {
		return fmt.Errorf("read as a member of group %q: %w", p.members.group, err)
	}
	p.trouble = fmt.Errorf("group %q: %w", p.members.group, err)
	return nil
}

// ended reports whether all partitions are read to their ends. A member of a
// group that has no partition waits for some: members that leave may leave work
// behind.
func (p *printer) ended() bool {
	return (p.members == nil || len(p.spans) > 0) && p.spans.done()
}

// offsets returns how many offsets are left.
func (all spans) offsets() (n int64) {
	for _, byPartition := range all {
		for _, s := range byPartition {
			n += max(s.end-s.next, 0)
		}
	}
	return n
}

func (all spans) done() bool {
	for _, byPartition := range all {
		for _, s := range byPartition {
			if !s.done() {
				return false
			}
		}
	}
	return true
}
