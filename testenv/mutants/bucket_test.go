package mutants

var (
	ends    = catcher{"./fetch/offline", "TestABucketThatLacksTheEndOfAJournalIsCutOff"}
	orphans = catcher{"./fetch/offline", "TestAnOrphanThatMayHaveTheOnlyRecordsIsNeeded"}
	copies  = catcher{"./cmd/internal/cli", "TestASourceThatLacksAnEndIsNotCopied"}
)

// mismatchMutants are bugs of the alarm about a merger that spoils records.
var mismatchMutants = []mutant{
	{name: "a mismatch ends with any job that succeeds", by: catcher{"./tiering/merge", "TestAMismatchLastsUntilTheRecordsAreMerged"}, plain: true, edits: []edit{
		swap("tiering/merge.Executor.matched", "at.Key == p.Key && p.from < to", "p.from < to"),
	}},
	{name: "a mismatch of deleted records stays", by: catcher{"./tiering/merge", "TestAMismatchLastsUntilTheRecordsAreMerged"}, plain: true, edits: []edit{
		drop("tiering/merge.Merger.Run", "m.executor.forgetGone()"),
	}},
}

// bucketMutants are bugs of the commands that read a bucket without a node.
var bucketMutants = []mutant{
	{name: "a hole that a later object knows is the head", by: ends, plain: true, edits: []edit{
		never("fetch/offline.Bucket.ends", "c > at.resolved"),
	}},
	{name: "an object beyond the window proves nothing", by: ends, plain: true, edits: []edit{
		never("fetch/offline.Bucket.ends", "at.listed > window && at.listed-window > at.resolved"),
	}},
	{name: "a segment of offsets above the end proves nothing", by: ends, plain: true, edits: []edit{
		never("fetch/offline.Bucket.judge", "known && name.Base >= end"),
	}},
	{name: "a hole is copied as the head", by: copies, plain: true, edits: []edit{
		swap("fetch/replicate.Copier.plan", "c.opt.Bucket.ProveWhole(ctx)", "c.opt.Bucket.Prove(ctx)"),
	}},
	{name: "a source that ends before its copy is copied", by: copies, plain: true, edits: []edit{
		never("fetch/replicate.plan.checkTarget", "ok && seq > head"),
	}},
	{name: "a bucket that lacks an end is shown as whole", by: catcher{"./cmd/internal/cli", "TestABucketThatLacksAnEndIsNotShownAsWhole"}, plain: true, edits: []edit{
		swap("cmd/internal/cli.bucketFlags.look", "err != nil || cut == nil", "true"),
	}},
	{name: "an orphan with the only records is deleted", by: orphans, plain: true, edits: []edit{
		never("fetch/offline.Bucket.only", "errors.Is(err, objstore.ErrNotFound)"),
	}},
	{name: "an orphan of a partition that is not known is deleted", by: orphans, plain: true, edits: []edit{
		never("fetch/offline.Bucket.only", "!known"),
	}},
	{name: "an orphan above the end of its partition is deleted", by: orphans, plain: true, edits: []edit{
		never("fetch/offline.Bucket.only", "p.To > end"),
	}},
}
