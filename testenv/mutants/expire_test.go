package mutants

// expireMutants are bugs of retention, of drops, and of the clocks that they go by.
var expireMutants = []mutant{
	{name: "retention by bytes takes the parts of a page as the state counts them", by: catcher{"./tiering/expire", "TestPagesOfWhichExtentsWereReplacedCountAsTheyAre"}, plain: true, edits: []edit{
		swap("tiering/expire.look.measure", "l.parts[at], p.Bytes = bytes, bytes", "l.parts[at] = bytes"),
	}},
	{name: "a part of a page has no bytes", by: catcher{"./tiering/partlog", "TestAPageMayLoseExtentsManyTimes"}, plain: true, edits: []edit{
		swap("tiering/partlog.replacement.settle", "max(r.bytes[rows], 0)", "min(r.bytes[rows], 0)"),
	}},
	{name: "a lost page stops the expiry of its journal", by: catcher{"./tiering/expire", "TestALostPageHoldsItsPartitionBack"}, plain: true, edits: []edit{
		swap("tiering/expire.look.start", "l.lost = err", "return 0, err"),
	}},
	{name: "a lost page whose bytes are not known stops the expiry of its journal", by: catcher{"./tiering/expire", "TestALostPageHoldsItsPartitionBack"}, plain: true, edits: []edit{
		swap("tiering/expire.look.start", "l.lost, total = err, 0", "return 0, err"),
	}},
	{name: "rule 25: dropped by a view of journal 0 that is not proved", by: expiries, edits: []edit{
		swap("tiering/expire.Dropper.Run", "len(x.plan()) == 0", "len(before) == 0"),
		before("tiering/expire.Dropper.Run", "now := x.opt.Now()", "before := x.plan()"),
		swap("tiering/expire.Dropper.Run", "gone := x.plan()", "gone := before"),
	}},
	{name: "rule 25: dropped while it can be restored", by: expiries, edits: []edit{
		swap("tiering/expire.Dropper.plan", "x.opt.Gone(k.Topic)", "true"),
	}},
	{name: "rule 27: expires without a proof of journal 0", by: expiries, edits: []edit{
		drop("tiering/clocks.Clocks.Round", "if err := c.opt.Prove(ctx); err != nil {_}"),
	}},
	{name: "rule 27: expires by the node's clock alone", by: expiries, edits: []edit{
		never("tiering/clocks.Clocks.judge", "wrong"),
	}},
	{name: "rule 27: expires by the timestamps of producers alone", by: expiries, edits: []edit{
		swap("tiering/expire.piece.newest", "min(x.ms, x.built)", "x.ms"),
	}},
	{name: "rule 27: expires by a clock that was behind when records came", by: expiries, edits: []edit{
		swap("tiering/expire.piece.newest", "x.ms > nowMs+clocks.ClientAhead.Milliseconds()", "x.ms > x.built+0*clocks.ClientAhead.Milliseconds()"),
	}},
	{name: "rule 27: expires too early after an upgrade", by: expiries, edits: []edit{
		drop("tiering/expire.Expirer.Run", "if now.Before(x.opt.Begins()) {_}"),
		swap("tiering/expire.Expirer.Run", "now.IsZero() || err != nil || now.Before(x.opt.Begins())", "now.IsZero() || err != nil"),
	}},
	{name: "rule 27: expires although the topic keeps its records since", by: expiries, edits: []edit{
		swap("tiering/expire.Expirer.commit", "err == nil && ok && policy == by[d.Topic]", "err == nil && (ok || policy == by[d.Topic])"),
	}},
	{name: "retention.bytes counts deleted records", by: expiries, edits: []edit{
		drop("tiering/expire.look.total", "total -= l.first.below"),
	}},
	{name: "retention.bytes counts pages of the journal that go by time", by: catcher{"./tiering/expire", "TestBytesOfPagesThatAreDueDoNotCount"}, plain: true, edits: []edit{
		always("tiering/expire.look.total", "most < l.policy.RetentionBytes"),
	}},
	{name: "more expires than a page has at its start", by: expiries, edits: []edit{
		swap("tiering/expire.look.start", "l.policy.due(&x, l.nowMs, total)", "l.policy.due(&x, l.nowMs, total) || x.page != nil && l.first.isOf(x.page, start) && l.policy.due(&l.first.oldest, l.nowMs, total)"),
	}},
}
