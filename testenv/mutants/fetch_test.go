package mutants

var fetchMutants = []mutant{
	{name: "memory of a dropped GET not given back", by: memories, edits: []edit{
		drop("fetch/cache.Cache.dropGetLocked", "g.memory.Release()"),
	}},
	{name: "reader that left gets a reference", by: memories, edits: []edit{
		drop("fetch/cache.Cache.turnAway", "r.waiting--"),
	}},
	{name: "reader that left keeps its reference", by: memories, edits: []edit{
		drop("fetch/cache.Cache.turnAway", "r.block.Release()"),
	}},
	{name: "reader of bytes in memory without a reference", by: memories, edits: []edit{
		drop("fetch/cache.Cache.come", "r.block.Retain()"),
	}},
	{name: "reader that waited without a reference", by: memories, edits: []edit{
		drop("fetch/cache.Cache.landGetLocked", "r.block.Retain()"),
	}},
	{name: "rule 24: one look for records that move", by: merges, slow: true, edits: []edit{
		before("fetch.gone.again", "q.renew()", "if len(*g) > 0 {\n\treturn err\n}"),
	}},
	{name: "rule 24: a proof from before the loss", by: merges, edits: []edit{
		drop("fetch.query.proveSince", "q.proofs.forgetBefore(j.State, moment)"),
		swap("fetch.query.proveSince", "return q.prove(ctx, j)", "return nil"),
	}},
	{name: "rule 24: a loss is damage at once", by: merges, edits: []edit{
		always("fetch.Reader.noted", "isDamage(err) && !errors.Is(err, errMissing)"),
	}},
	{name: "rule 29: answer without a record though some follow", by: merges, edits: []edit{
		swap("fetch.gather.take", "g.uses(&h)", "true"),
	}},
	{name: "rule 29: extents without records end an answer", by: merges, edits: []edit{
		always("fetch.fetch.fill", "g.full || g.useful || g.end >= p.result.HighWatermark"),
	}},
	{name: "rule 29: gaps between batches taken for damage", by: merges, edits: []edit{
		swap("fetch.extent.place", "e.Extent.Place()", "e.Extent.Place(); p.Gaps = false"),
	}},
	{name: "rule 29: times below a gap taken for those of the block", by: merges, edits: []edit{
		always("fetch.search.inExtent", "at != nowhere"),
	}},
}
