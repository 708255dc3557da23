package mutants

// readbacks lets right and wrong mergers write segments, and reads them back.
var readbacks = catcher{"./tiering/segment/readback", "TestSeededMergers"}

var readbackMutants = []mutant{
	{name: "rule 18: values are not compared", by: readbacks, edits: []edit{
		drop("tiering/segment/readback.input.each", "w.Write(part)"),
	}},
	{name: "rule 18: offsets are not compared", by: readbacks, edits: []edit{
		swap("tiering/segment/readback.Reader.record", "h.base + delta", "0"),
	}},
	{name: "rule 18: timestamps are not compared", by: readbacks, edits: []edit{
		swap("tiering/segment/readback.Reader.record", "r.number(h.base+delta, at, int64(attributes), int64(h.epoch), int64(h.attributes&^codecBits), h.producer, int64(h.prodEpoch), sequence(h, delta))",
			"r.number(h.base+delta, int64(attributes), int64(h.epoch), int64(h.attributes&^codecBits), h.producer, int64(h.prodEpoch), sequence(h, delta))"),
	}},
	{name: "rule 18: bytes of copied batches are not compared", by: readbacks, edits: []edit{
		drop("tiering/segment/readback.Reader.bytes", "r.hash.Write(b)"),
	}},
	{name: "T17: the merger alters batches, and nothing compares", by: catcher{"./tiering/merge", "TestABugOfTheMergerGivesNoResult"}, plain: true, edits: []edit{
		never("tiering/merge.Executor.differs", "q.Sum != want"),
	}},
	{name: "rule 18: blocks are taken at their word", by: readbacks, edits: []edit{
		never("tiering/segment/readback.account.close", "first != k.first || last != k.last || !timed || be.Uint32(b[8:]) != k.crc"),
	}},
	{name: "rule 18: batches are not checked", by: readbacks, edits: []edit{
		never("tiering/segment/readback.account.fits", "a.records != s.Records || a.batches != s.Batches || a.first != s.First || a.last != s.Last || a.newest != s.MaxTimestamp || a.crc != s.CRC"),
		never("tiering/segment/readback.account.close", "first != k.first || last != k.last || !timed || be.Uint32(b[8:]) != k.crc"),
	}},
}
