package topicconfig

import (
	"fmt"
	"strconv"
	"strings"
)

// Values are the configs of a topic on which varve acts, typed, with defaults
// filled in. Times are milliseconds, sizes bytes.
type Values struct {
	MaxMessageBytes      int32
	LogAppendTime        bool  // message.timestamp.type
	TimestampBeforeMaxMs int64 // message.timestamp.before.max.ms
	TimestampAfterMaxMs  int64 // message.timestamp.after.max.ms
	RetentionMs          int64 // -1 keeps forever
	RetentionBytes       int64 // -1 keeps all
	Delete, Compact      bool  // cleanup.policy

	Compression                    string // compression.type
	GzipLevel, LZ4Level, ZstdLevel int    // compression.*.level

	MinDirtyRatio                          float64 // min.cleanable.dirty.ratio
	MinCompactionLagMs, MaxCompactionLagMs int64
	DeleteRetentionMs                      int64
}

// Of reads a topic's own configs, with defaults for the missing ones. It
// ignores names that are not in Values. A value that cannot be read is an error
// that wraps ErrInvalid, never a default.
func Of(configs map[string]string) (Values, error) {
	r := reader{configs: configs}
	v := Values{
		MaxMessageBytes:      int32(r.integer("max.message.bytes")),
		LogAppendTime:        r.text("message.timestamp.type") == "LogAppendTime",
		TimestampBeforeMaxMs: r.integer("message.timestamp.before.max.ms"),
		TimestampAfterMaxMs:  r.integer("message.timestamp.after.max.ms"),
		RetentionMs:          r.integer("retention.ms"),
		RetentionBytes:       r.integer("retention.bytes"),
		Compression:          r.text("compression.type"),
		GzipLevel:            int(r.integer("compression.gzip.level")),
		LZ4Level:             int(r.integer("compression.lz4.level")),
		ZstdLevel:            int(r.integer("compression.zstd.level")),
		MinDirtyRatio:        r.number("min.cleanable.dirty.ratio"),
		MinCompactionLagMs:   r.integer("min.compaction.lag.ms"),
		MaxCompactionLagMs:   r.integer("max.compaction.lag.ms"),
		DeleteRetentionMs:    r.integer("delete.retention.ms"),
	}
	policy, _ := parseCleanup(r.text("cleanup.policy"))
	v.Delete, v.Compact = policy.delete, policy.compact
	if r.err != nil {
		return Values{}, r.err
	}
	return v, nil
}

// reader reads configs by the table and keeps the first error.
type reader struct {
	configs map[string]string
	err     error
}

// text returns the valid value of a config, or "" after an error.
func (r *reader) text(name string) string {
	d, ok := Lookup(name)
	if !ok {
		r.fail(fmt.Errorf("%w: no definition of %s", ErrInvalid, name))
		return ""
	}
	value, set := r.configs[name]
	if !set {
		return d.Default
	}
	if err := d.Validate(value); err != nil {
		r.fail(err)
		return ""
	}
	return value
}

func (r *reader) integer(name string) int64 {
	value := r.text(name)
	if r.err != nil {
		return 0
	}
	n, err := parseInt(value)
	if err != nil {
		r.fail(fmt.Errorf("%w: %s=%q: %w", ErrInvalid, name, value, err))
	}
	return n
}

func (r *reader) number(name string) float64 {
	value := r.text(name)
	if r.err != nil {
		return 0
	}
	n, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
	if err != nil {
		r.fail(fmt.Errorf("%w: %s=%q: %w", ErrInvalid, name, value, err))
	}
	return n
}

func (r *reader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
}
