package sweep

import (
	"math"
	"slices"

	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// Bounds of one entry.
const (
	maxObjects = 1000
	maxRanges  = 1000
	maxFreed   = 1000
)

// maxIdle is how many seqs wait for the release of something that has or had records.
const maxIdle = 256

// view is a journal at one moment, as far as releases depend on it.
type view struct {
	parts      []partlog.Survey
	paged      map[partlog.Key][]partlog.Extent // those in pages that the start has passed, in offset order
	unreleased []partlog.Unreleased
	underWay   map[segment.ID]bool // objects of intents that have not ended
	waiting    int                 // garbage that waits for its first deletion, as MaxGarbage counts it
	judged     partlog.Judged
	unmerged   uint64          // up to this seq objects may have records that were deleted before they were merged
	kept       map[uint64]bool // seqs below merged that extents name, or have named
	runs       partlog.Runs    // valid data objects from judged on
	lowest     uint64          // no extent above merged names an object below it; 0: not known
}

// plan returns the Releases of a view, and reports whether there is more than they hold.
func (v *view) plan() (releases []*partlog.Release, more bool) {
	room := partlog.MaxGarbage - v.waiting
	p := &plan{
		merged: &partlog.Release{Class: partlog.ClassMerge},
		user:   &partlog.Release{Class: partlog.ClassUser},
		judged: v.judged,
	}
	objectsMore := v.objects(p.merged, &room)
	freedMore := v.freed(p, &room)
	seqsMore := v.seqs(p, &room)
	if p.objects() == 0 && v.idle(p) {
		p.merged.Seqs, p.user.Seqs, p.judged, seqsMore = nil, nil, v.judged, false
	}
	for _, r := range []*partlog.Release{p.merged, p.user} {
		if r.Judged = p.judged; len(r.Objects)+len(r.Seqs)+len(r.Freed) > 0 {
			releases = append(releases, r)
		}
	}
	if len(releases) == 0 && p.judged != v.judged {
		releases = append(releases, p.merged)
	}
	return releases, len(releases) > 0 && (objectsMore || seqsMore || freedMore)
}

// plan has a Release of each class, and how far they move the mark of the judged objects.
type plan struct {
	merged, user *partlog.Release
	judged       partlog.Judged
	loose        bool // it names seqs that damaged extents have named
}

// objects is how many merged segments and partitions the Releases free.
func (p *plan) objects() int {
	return len(p.merged.Objects) + len(p.merged.Freed) + len(p.user.Objects) + len(p.user.Freed)
}

// idle reports whether the seqs of a plan are but a few of objects without records, as
// those of Releases are. To release them takes another one, so a journal that takes no
// records would never come to rest (tiering/journal/PROTOCOL.md, rule 26).
func (v *view) idle(p *plan) bool {
	if p.loose || p.judged.Seq-v.judged.Seq >= maxIdle {
		return false
	}
	for _, run := range v.runs {
		// That object may be at the lowest seq in use, or above it. Then an object was merged
		// since the last Release, unless the mark is at the lowest seq, too.
		if run.First < p.judged.Seq && run.Records >= max(v.judged.Seq, 1) {
			return false
		}
	}
	return true
}

// objects names the objects that were replaced. Deletions may have freed a part of one
// before a merge freed the rest. It has the short grace all the same: the long one is for
// "varve topic undelete", and a deleted topic's extents name the object until that is over.
// No command brings back records below a start, and to keep each replaced object for so long
// would store the records of three days twice.
func (v *view) objects(r *partlog.Release, room *int) (more bool) {
	for _, u := range v.unreleased {
		switch {
		case v.underWay[u.Name.Object]:
			continue // a later Result of its intent may name it again
		case len(r.Objects) == maxObjects || *room == 0:
			return true
		}
		r.Objects = append(r.Objects, u.Name)
		*room--
	}
	return false
}

// seqs names the data objects that no extent names, and moves the mark of the judged ones.
// An object that a damaged extent names stays until no extent does; then it is named though
// the mark has passed it.
func (v *view) seqs(p *plan, room *int) (more bool) {
	for _, seq := range v.loose() {
		if !p.take(p.user, partlog.Seqs{First: seq, Last: seq}, room) {
			return true
		}
		p.loose = true
	}
	for _, run := range v.runs {
		if run.First >= v.lowest {
			break
		}
		run.Last = min(run.Last, v.lowest-1)
		run.First = max(run.First, p.judged.Seq)
		for _, q := range v.without(run.Seqs) {
			if !v.takeByClass(p, q, run.Epoch, room) {
				return true
			}
		}
		if run.Last >= p.judged.Seq {
			p.judged = partlog.Judged{Seq: run.Last + 1, Epoch: run.Epoch}
		}
	}
	return false
}

// loose returns the seqs that damaged extents have named, in their order.
func (v *view) loose() (seqs []uint64) {
	for seq, named := range v.kept {
		if !named && seq < v.judged.Seq {
			seqs = append(seqs, seq)
		}
	}
	slices.Sort(seqs)
	return seqs
}

// takeByClass names seqs of one epoch in the Releases of their classes, and moves the mark
// behind them. It is false if there is no room for some.
func (v *view) takeByClass(p *plan, q partlog.Seqs, epoch uint32, room *int) bool {
	take := func(r *partlog.Release, q partlog.Seqs) bool {
		if q.Last < q.First {
			return true
		}
		if !p.take(r, q, room) {
			return false
		}
		p.judged = partlog.Judged{Seq: q.Last + 1, Epoch: epoch}
		return true
	}
	deleted := partlog.Seqs{First: q.First, Last: min(q.Last, v.unmerged)}
	q.First = max(q.First, v.unmerged+1)
	return take(p.user, deleted) && take(p.merged, q)
}

// take names seqs in a Release. It is false if there is no room.
func (p *plan) take(r *partlog.Release, q partlog.Seqs, room *int) bool {
	if len(r.Seqs) == maxRanges || *room == 0 {
		return false
	}
	r.Seqs = append(r.Seqs, q)
	*room--
	return true
}

// without returns the parts of a range without the seqs that extents name.
func (v *view) without(q partlog.Seqs) (out []partlog.Seqs) {
	var named []uint64
	for seq, is := range v.kept {
		if is && seq >= q.First && seq <= q.Last {
			named = append(named, seq)
		}
	}
	slices.Sort(named)
	for _, seq := range named {
		if seq > q.First {
			out = append(out, partlog.Seqs{First: q.First, Last: seq - 1})
		}
		q.First = seq + 1
	}
	if q.First <= q.Last {
		out = append(out, q)
	}
	return out
}

// upper is the offset below which a partition needs no extents.
func upper(s *partlog.Survey) int64 {
	if s.View.Dropped {
		return s.View.End
	}
	return s.View.Start
}

// freed names the objects of extents that the start of a log has passed, or of all extents
// of one that is dropped.
func (v *view) freed(p *plan, room *int) (more bool) {
	counts := map[segment.ID]int{} // extents of each shared segment
	for i := range v.parts {
		for j := range v.parts[i].Segments {
			if n := v.parts[i].Segments[j].Object; n.Kind == segment.KindMerged && !n.Own() {
				counts[n.Object]++
			}
		}
	}
	for i := range v.parts {
		s := &v.parts[i]
		if upper(s) <= s.Freed {
			continue
		}
		r := p.user
		if v.waited(s) {
			r = p.merged
		}
		if len(r.Freed) == maxFreed {
			return true
		}
		offset, whole := v.freedOf(s, r, counts, room)
		if offset > s.Freed {
			r.Freed = append(r.Freed, partlog.Freed{Key: s.Key, Offset: offset})
		}
		more = more || !whole
	}
	return more
}

// waited reports whether the objects of a partition have had their grace: it is dropped,
// and that comes after the time in which its topic can be restored. Shared segments may
// have records of other partitions that were deleted lately.
func (v *view) waited(s *partlog.Survey) bool {
	shared := func(x partlog.Extent) bool { return x.Object.Kind == segment.KindMerged && !x.Object.Own() }
	return s.View.Dropped && !slices.ContainsFunc(v.passed(s, upper(s)), shared)
}

// freedOf returns the offset up to which a partition is freed by the Release, and false if
// it could be freed further. Without extents to free the offset stays.
func (v *view) freedOf(s *partlog.Survey, r *partlog.Release, counts map[segment.ID]int, room *int) (offset int64, whole bool) {
	end := upper(s)
	passed := v.passed(s, end)
	if len(passed) == 0 {
		return s.Freed, true
	}
	offset = s.Freed
	for i := range passed {
		n := passed[i].Object
		switch {
		case v.underWay[n.Object]:
			return offset, true // not before its intent has ended
		case n.Kind != segment.KindMerged:
		case !n.Own() && counts[n.Object] > 1:
			counts[n.Object]--
		case len(r.Objects) == maxObjects || *room == 0:
			return offset, false
		default:
			counts[n.Object]--
			r.Objects = append(r.Objects, n)
			*room--
		}
		offset = passed[i].Last + 1
	}
	return max(offset, end), true
}

// passed returns the extents of a partition that end below an offset and were not freed
// before, in offset order.
func (v *view) passed(s *partlog.Survey, end int64) []partlog.Extent {
	var out []partlog.Extent
	for _, some := range [][]partlog.Extent{v.paged[s.Key], s.Segments} {
		for i := range some {
			if x := &some[i]; x.Last < end && x.Last >= s.Freed {
				out = append(out, *x)
			}
		}
	}
	slices.SortFunc(out, func(a, b partlog.Extent) int {
		if a.Last < b.Last {
			return -1
		}
		return 1
	})
	return out
}

// unknown is the lowest seq of a journal that is not known to be in use.
const unknown = uint64(math.MaxUint64)
