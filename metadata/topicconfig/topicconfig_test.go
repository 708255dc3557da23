package topicconfig

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
)

func TestTableIsSortedAndItsDefaultsAreValid(t *testing.T) {
	seen := map[string]bool{}
	for i, d := range Defs() {
		if i > 0 && table[i-1].Name >= d.Name {
			t.Errorf("%s stands after %s", d.Name, table[i-1].Name)
		}
		if err := d.Validate(d.Default); err != nil {
			t.Errorf("default refused: %v", err)
		}
		if d.Doc == "" || d.Type == 0 || d.Effect < Applied || d.Effect > Ignored {
			t.Errorf("%s is not fully described: %+v", d.Name, d)
		}
		if d.Broker != "" && seen[d.Broker] {
			t.Errorf("%s is the broker config of two topic configs", d.Broker)
		}
		seen[d.Broker] = true
	}
}

func TestArchiveKeepsByDefault(t *testing.T) {
	v, err := Of(nil)
	if err != nil {
		t.Fatal(err)
	}
	want := Values{
		MaxMessageBytes: 1048588, TimestampBeforeMaxMs: math.MaxInt64, TimestampAfterMaxMs: 3600000,
		RetentionMs: -1, RetentionBytes: -1, Delete: true,
		Compression: "producer", GzipLevel: -1, LZ4Level: 9, ZstdLevel: 3,
		MinDirtyRatio: 0.5, MaxCompactionLagMs: math.MaxInt64, DeleteRetentionMs: 86400000,
	}
	if v != want {
		t.Errorf("Of(nil) = %+v, want %+v", v, want)
	}
	if d, _ := Lookup("retention.ms"); !strings.Contains(d.Doc, "forever") {
		t.Errorf("the doc of retention.ms does not say that the default keeps records forever: %s", d.Doc)
	}
}

func TestValuesFollowTheTopic(t *testing.T) {
	v, err := Of(map[string]string{
		"max.message.bytes": "8388608", "message.timestamp.type": "LogAppendTime",
		"message.timestamp.before.max.ms": "5", "message.timestamp.after.max.ms": " 6 ",
		"retention.ms": "7", "retention.bytes": "8", "cleanup.policy": "compact, delete",
		"segment.bytes": "52428800", "some.future.config": "x",
		"compression.type": "zstd", "compression.gzip.level": "9", "compression.lz4.level": "10", "compression.zstd.level": "-11",
		"min.cleanable.dirty.ratio": "0.25", "min.compaction.lag.ms": "12", "max.compaction.lag.ms": "13", "delete.retention.ms": "14",
	})
	want := Values{
		MaxMessageBytes: 8388608, LogAppendTime: true, TimestampBeforeMaxMs: 5, TimestampAfterMaxMs: 6, RetentionMs: 7, RetentionBytes: 8,
		Delete: true, Compact: true, Compression: "zstd", GzipLevel: 9, LZ4Level: 10, ZstdLevel: -11,
		MinDirtyRatio: 0.25, MinCompactionLagMs: 12, MaxCompactionLagMs: 13, DeleteRetentionMs: 14,
	}
	if err != nil || v != want {
		t.Errorf("Of = %+v, %v, want %+v", v, err, want)
	}
	if v, err := Of(map[string]string{"cleanup.policy": "compact"}); err != nil || v.Delete || !v.Compact {
		t.Errorf("compact only: %+v, %v", v, err)
	}
}

func TestUnreadableValueIsNeverADefault(t *testing.T) {
	for name := range map[string]int{"max.message.bytes": 0, "retention.ms": 0, "cleanup.policy": 0, "message.timestamp.type": 0} {
		if v, err := Of(map[string]string{name: "?"}); !errors.Is(err, ErrInvalid) || v != (Values{}) {
			t.Errorf("%s=?: %+v, %v", name, v, err)
		}
	}
}

func TestWhatToolsSetIsAccepted(t *testing.T) {
	good := []map[string]string{
		nil,
		{"segment.bytes": "52428800", "retention.ms": "-1", "message.timestamp.type": "CreateTime", "cleanup.policy": "compact,delete"},
		{"cleanup.policy": "compact", "min.insync.replicas": "2", "compression.type": "zstd", "compression.zstd.level": "-7"},
		{"leader.replication.throttled.replicas": "0:1,1:2", "follower.replication.throttled.replicas": "*"},
		{"min.cleanable.dirty.ratio": "0.01", "preallocate": "TRUE", "unclean.leader.election.enable": "False"},
		{"retention.bytes": "9223372036854775807", "message.timestamp.before.max.ms": "9223372036854775807"},
		{"remote.storage.enable": "true", "local.retention.ms": "-2", "compression.gzip.level": "-1"},
	}
	for _, configs := range good {
		if err := Validate(configs); err != nil {
			t.Errorf("%v: %v", configs, err)
		}
	}
}

func TestInvalidOnesAreRefusedByName(t *testing.T) {
	bad := [][2]string{
		{"retention.msec", "1"}, {"", "1"}, {"Retention.ms", "1"},
		{"retention.ms", "-2"}, {"retention.ms", ""}, {"retention.ms", "1.5"}, {"retention.ms", "9223372036854775808"},
		{"max.message.bytes", "33554433"}, {"max.message.bytes", "-1"},
		{"cleanup.policy", ""}, {"cleanup.policy", "compact,,delete"}, {"cleanup.policy", "keep"},
		{"compression.type", "none"}, {"compression.gzip.level", "0"}, {"compression.gzip.level", "10"},
		{"compression.lz4.level", "18"}, {"compression.zstd.level", "23"},
		{"message.timestamp.type", "createtime"}, {"min.cleanable.dirty.ratio", "NaN"}, {"min.cleanable.dirty.ratio", "1.1"},
		{"min.insync.replicas", "0"}, {"min.insync.replicas", "2147483648"}, {"preallocate", "yes"},
		{"leader.replication.throttled.replicas", "0"}, {"leader.replication.throttled.replicas", "0:x"},
		{"message.format.version", strings.Repeat("x", MaxValueLen+1)},
	}
	for _, nv := range bad {
		err := Validate(map[string]string{"segment.ms": "1", nv[0]: nv[1]})
		if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), nv[0]) {
			t.Errorf("%s=%.40s: %v", nv[0], nv[1], err)
		}
	}
}

func TestBrokerTableShowsSettingsAndDefaults(t *testing.T) {
	configs := Broker(BrokerSettings{
		NodeID: 7, Rack: "r1", AutoCreateTopics: true, Partitions: 12, ReplicationFactor: 3,
		MaxRequestBytes: 104857600, OffsetsRetention: 10080,
	})
	got := map[string]BrokerConfig{}
	for _, c := range configs {
		if _, twice := got[c.Name]; twice {
			t.Errorf("%s twice", c.Name)
		}
		got[c.Name] = c
	}
	if !slices.IsSortedFunc(configs, func(a, b BrokerConfig) int { return strings.Compare(a.Name, b.Name) }) {
		t.Error("not sorted")
	}
	for name, want := range map[string]struct {
		value string
		def   bool
	}{
		"message.max.bytes": {"1048588", true}, "auto.create.topics.enable": {"true", true},
		"num.partitions": {"12", false}, "default.replication.factor": {"3", false},
		"log.retention.ms": {"-1", true}, "log.retention.bytes": {"-1", true}, "log.retention.hours": {"-1", true},
		"min.insync.replicas": {"1", true}, "offsets.retention.minutes": {"10080", true},
		"log.cleanup.policy": {"delete", true}, "broker.id": {"7", false}, "broker.rack": {"r1", false},
	} {
		c, ok := got[name]
		if !ok || c.Value != want.value || c.IsDefault != want.def {
			t.Errorf("%s = %+v, %v, want %+v", name, c, ok, want)
		}
	}
}
