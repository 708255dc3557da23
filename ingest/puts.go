package ingest

import "time"

// putsSaved is for how long an idle journal saves PUTs that it may send later. Five minutes
// at 4 a second are 1,200 PUTs, $0.006 at S3's prices.
const putsSaved = 5 * time.Minute

// putBudget bounds how many small objects a journal sends, where each PUT is billed. PUTs
// that were not sent are saved, up to a limit. So clients that write now and then get a
// flush without waiting, and clients that write without end get one at a pace. The costs
// of a long time are those of the pace.
//
// The zero value is a budget without a limit.
type putBudget struct {
	every time.Duration // one PUT in such a time; 0: as many as the store takes
	from  time.Time     // PUTs since then, one every, are not spent
}

func newPutBudget(perSecond float64) putBudget {
	if perSecond == 0 {
		return putBudget{}
	}
	return putBudget{every: time.Duration(float64(time.Second) / perSecond)}
}

// fill begins with all PUTs saved that may be.
func (b *putBudget) fill(now time.Time) { b.from = now.Add(-putsSaved) }

// next is when a PUT may be sent: now, or a later time.
func (b *putBudget) next(now time.Time) time.Time {
	if at := b.from.Add(b.every); at.After(now) {
		return at
	}
	return now
}

// spend notes a PUT. One that could not wait for its time leaves no debt of more than its own.
func (b *putBudget) spend(now time.Time) {
	if b.every == 0 {
		return
	}
	if saved := now.Add(-putsSaved); b.from.Before(saved) {
		b.from = saved
	}
	if b.from = b.from.Add(b.every); b.from.After(now) {
		b.from = now
	}
}
