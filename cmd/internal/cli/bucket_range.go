package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/varvelog/varve/fetch/offline"
	"github.com/varvelog/varve/tiering/partlog"
)

// readRange is a range of records, as flags give it.
type readRange struct{ from, to from }

// rangeFlags adds --from and --to.
func rangeFlags(cmd *cobra.Command, from, to *string) {
	const forms = "earliest, latest, an offset, a date or time, or how long ago (-2h); see \"varve help times\""
	cmd.Flags().StringVar(from, "from", "earliest", "`where` to begin: "+forms)
	cmd.Flags().StringVar(to, "to", "latest", "`where` to stop, before that record, in the same forms")
	complete(cmd, "from", completeStarts("earliest", "-1h", "-1d"))
	complete(cmd, "to", completeStarts("latest", "-1h", "-1d"))
}

func parseRange(from, to string, now time.Time) (r readRange, err error) {
	if r.from, err = parseFrom("from", from, now); err == nil {
		r.to, err = parseFrom("to", to, now)
	}
	return r, err
}

// of finds the range in a partition. An offset to begin at must be in its log.
func (r *readRange) of(ctx context.Context, b *offline.Bucket, k partlog.Key) (s span, err error) {
	view := b.View(k)
	if s.next, err = r.from.in(ctx, b, k, view); err != nil {
		return s, err
	}
	if r.from.kind == fromOffset && (s.next < view.Start || s.next > view.End) {
		return s, usagef("--from %d: partition %d has offsets %d to %d; choose one of those, or a partition%s",
			s.next, k.Index, view.Start, view.End, timeMeant(s.next))
	}
	s.end, err = r.to.in(ctx, b, k, view)
	s.end = min(s.end, view.End)
	s.next = min(s.next, s.end)
	return s, err
}

// in finds the offset in a partition.
func (f *from) in(ctx context.Context, b *offline.Bucket, k partlog.Key, view partlog.View) (int64, error) {
	switch f.kind {
	case fromEarliest:
		return view.Start, nil
	case fromOffset:
		return f.offset, nil
	case fromTime:
		if view.Start == view.End {
			return view.End, nil
		}
		offset, ok, err := b.OffsetAt(ctx, k, f.time.UnixMilli())
		if err != nil {
			return 0, fmt.Errorf("find %s in partition %d: %w", f.time.UTC().Format(timeLayout), k.Index, err)
		}
		if ok {
			return offset, nil
		}
	}
	return view.End, nil
}
