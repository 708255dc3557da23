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
}
