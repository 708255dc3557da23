package merge

import "time"

const (
	kib = int64(1) << 10
	mib = int64(1) << 20
)

// Config bounds the jobs, and says when there is one to do. Zero values get the defaults.
type Config struct {
	JobBytes int64         // that a job reads, but for those of an idle journal; default 256 MiB
	JobTime  time.Duration // for which a job gathers; default 1 min

	// The journal is merged when so much of it waits.
	DueBytes   int64         // default 240 MiB
	DueObjects uint64        // default 16,384
	DueAge     time.Duration // since it was first seen; default 1 h

	OwnBytes    int64         // with as many a partition gets own segments, which are final; default 32 MiB
	SmallBytes  int64         // the same for a partition whose many extents are joined; default a quarter of OwnBytes
	ObjectBytes int64         // of the batches in an object, at most; default 120 MiB
	TidyAge     time.Duration // of the oldest of the extents that are joined; default 24 h
	TidyCount   int           // how many of about the same size are joined; default 48
	MaxExtents  int           // small ones of all partitions; with more, fewer and younger ones are joined; default 400,000
}

// WithDefaults returns the configuration with defaults in place of zeros.
func (c Config) WithDefaults() Config {
	set(&c.JobBytes, 256*mib)
	set(&c.JobTime, time.Minute)
	set(&c.DueBytes, min(240*mib, c.JobBytes))
	set(&c.DueObjects, 16_384)
	set(&c.DueAge, time.Hour)
	set(&c.OwnBytes, 32*mib)
	set(&c.SmallBytes, c.OwnBytes/4)
	set(&c.ObjectBytes, 120*mib)
	set(&c.TidyAge, 24*time.Hour)
	set(&c.TidyCount, 48)
	set(&c.MaxExtents, 400_000)
	return c
}

func set[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
