package merge

// mismatches are the sources whose output differed from them. Its owner is the Executor. A
// job that succeeds elsewhere says nothing about them.
type mismatches map[place]int64 // to the offset after the last one

// differed notes an output that differs from its sources, and reports it.
func (x *Executor) differed(o *output, err error) {
	x.count.mismatches.Add(1)
	for i := range o.parts {
		p := &o.parts[i]
		x.wrong[place{p.Key, p.from}] = p.to
	}
	x.opt.OnMismatch(err)
}

// matched notes that sources were merged right.
func (x *Executor) matched(outputs []output) {
	for i := range outputs {
		for j := range outputs[i].parts {
			p := &outputs[i].parts[j]
			x.endMismatches(func(at place, to int64) bool { return at.Key == p.Key && p.from < to && at.base < p.to })
		}
	}
}

// forgetGone ends mismatches of records that are deleted.
func (x *Executor) forgetGone() {
	x.endMismatches(func(at place, to int64) bool {
		view, known := x.opt.State.Lookup(at.Key)
		return !known || view.Dropped || view.Start >= to
	})
}

func (x *Executor) endMismatches(over func(at place, to int64) bool) {
	before := len(x.wrong)
	for at, to := range x.wrong {
		if over(at, to) {
			delete(x.wrong, at)
		}
	}
	if before > 0 && len(x.wrong) == 0 {
		x.opt.OnMismatch(nil)
	}
}
