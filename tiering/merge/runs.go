package merge

import (
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// Extents of these parts of OwnBytes are read well as they are: own ones of a half are never
// joined, those of a quarter only with each other. Shared ones of an eighth are left until there
// are OwnBytes in all, and those of the last part until many of them give a half.
const (
	finalPart  = 2
	wellPart   = 4
	enoughPart = 8
	fewPart    = 16
)

// ownCount is how many small own segments in a row are joined, at least.
const ownCount = 4

func length(extents []partlog.Extent) (n int64) {
	for i := range extents {
		n += int64(extents[i].Length)
	}
	return n
}

func sharedLength(run []partlog.Extent) (n int64) {
	for i := range run {
		if !run[i].Object.Own() {
			n += int64(run[i].Length)
		}
	}
	return n
}

// upTo returns the first extents that have limit bytes at most.
func upTo(run []partlog.Extent, limit int64) []partlog.Extent {
	var n int64
	for i := range run {
		if n += int64(run[i].Length); n > limit {
			return run[:i]
		}
	}
	return run
}

// fromShared returns a run without the own segments at its begin that are read well as they
// are.
func (p *Planner) fromShared(run []partlog.Extent) []partlog.Extent {
	for len(run) > 0 && run[0].Object.Own() && int64(run[0].Length) >= p.cfg.OwnBytes/wellPart {
		run = run[1:]
	}
	return run
}

// small reports whether an extent may be merged again: one in a shared segment, or in an
// own one of less than OwnBytes. A range of a damaged journal object stays.
func (p *Planner) small(e *partlog.Extent) bool {
	return e.Object.Kind == segment.KindMerged && (!e.Object.Own() || int64(e.Length) < p.cfg.OwnBytes)
}

// runs calls fn for each longest run of adjacent small extents of a partition that has
// records left, oldest first.
func (p *Planner) runs(x *Partition, fn func(run []partlog.Extent)) {
	all := x.Merged
	for i := 0; i < len(all); {
		j := i
		for j < len(all) && p.small(&all[j]) && all[j].Last >= x.Start && (j == i || all[j-1].Last+1 == all[j].Base) {
			j++
		}
		if j > i {
			fn(all[i:j])
		}
		i = max(j, i+1)
	}
}

// untidy returns adjacent extents of a run that are to be joined, if any are. These are those
// at its end, if there are many or they give an own segment. Else they are the own segments
// before the shared ones at its end.
func (p *Planner) untidy(run []partlog.Extent, beforeMs int64) []partlog.Extent {
	crowded, count := p.many > p.cfg.MaxExtents, p.cfg.TidyCount
	if crowded {
		count = max(2, count/3)
	}
	joined := alike(run, count, p.cfg.ObjectBytes)
	if shared := p.settled(run, beforeMs); len(shared) > len(joined) {
		return shared
	}
	if length(joined) >= int64(len(joined))*p.cfg.OwnBytes/fewPart {
		last := len(run)
		for last > 0 && !run[last-1].Object.Own() {
			last--
		}
		first := last
		for first > 0 && run[first-1].Object.Own() {
			first--
		}
		joined = alike(run[first:last], ownCount, p.cfg.ObjectBytes)
		if length(joined) >= int64(len(joined))*p.cfg.OwnBytes/finalPart {
			return nil
		}
	}
	if len(joined) == 0 || joined[0].BuiltMs >= beforeMs && !crowded {
		return nil
	}
	return joined
}

// settled returns the shared extents at the end of a run, if it is well to make an own segment
// of them. It is then read with many times fewer requests, and need not be written again,
// because it is large or nothing has come since.
func (p *Planner) settled(run []partlog.Extent, beforeMs int64) []partlog.Extent {
	first := len(run)
	for first > 0 && !run[first-1].Object.Own() {
		first--
	}
	shared := upTo(run[first:], p.cfg.ObjectBytes)
	n, least := length(shared), p.cfg.OwnBytes/finalPart
	if len(shared) < ownCount || shared[0].BuiltMs >= beforeMs || n >= int64(len(shared))*p.cfg.OwnBytes/enoughPart {
		return nil
	}
	if run[len(run)-1].BuiltMs < beforeMs {
		least = p.cfg.SmallBytes
	}
	if n < least {
		return nil
	}
	return shared
}

// alike returns the most extents at the end of a run, count of them or more, of which none
// has more than twice its share of the bytes of count. So a byte is written again only into
// an extent that is many times as large.
func alike(run []partlog.Extent, count int, limit int64) []partlog.Extent {
	var bytes, largest int64
	first := len(run)
	for i := len(run) - 1; i >= 0; i-- {
		n := int64(run[i].Length)
		if bytes, largest = bytes+n, max(largest, n); bytes > limit {
			break
		}
		if len(run)-i >= count && largest*int64(count) <= 2*bytes {
			first = i
		}
	}
	return run[first:]
}
