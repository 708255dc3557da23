package clients

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// step is an op with the expected result.
type step struct {
	op
	want func(result) bool // nil: success
	fail *regexp.Regexp    // matches the error as words returns it
}

// administer lets the family carry out the steps in one session.
func (c client) administer(t *testing.T, steps ...step) {
	t.Helper()
	var ops []op
	for _, s := range steps {
		ops = append(ops, s.op)
	}
	results := run[result](t, c, "admin", spec{Ops: ops}, nil)
	if len(results) != len(steps) {
		t.Fatalf("%d results of %d operations", len(results), len(steps))
	}
	for i, s := range steps {
		r := results[i]
		switch {
		case r.Unsupported:
			t.Logf("%s: the library has no %s", c.family.name, s.Op)
		case s.fail != nil:
			if !s.fail.MatchString(words(r.Error)) {
				t.Errorf("%s: error %q, want %v", s.Op, r.Error, s.fail)
			}
		case r.Error != "":
			t.Errorf("%+v: %s", s.op, r.Error)
		case s.want != nil && !s.want(r):
			t.Errorf("%+v: %+v", s.op, r)
		}
	}
}

// Kafka's errors as libraries spell them.
var (
	exists        = regexp.MustCompile("alreadyexists|topicexists")
	noTopic       = regexp.MustCompile("unknowntopic|notexist|nothostthistopic")
	badConfig     = regexp.MustCompile("config")
	badPartitions = regexp.MustCompile("partitions")
	outOfRange    = regexp.MustCompile("range")
	notEmpty      = regexp.MustCompile("notempty|nonempty")
	noGroup       = regexp.MustCompile("group(id)?(doesnotexist|notfound|couldnotbefound|cannotbefound|wasnotfound)")
)

// words makes the different spellings of Kafka's errors comparable.
func words(message string) string {
	return strings.NewReplacer("_", "", " ", "", "-", "").Replace(strings.ToLower(message))
}

func named(name string, is bool) func(result) bool {
	return func(r result) bool { return slices.Contains(r.Names, name) == is }
}

func counts(partitions int) func(result) bool {
	return func(r result) bool { return r.Partitions == partitions }
}

func offset(want int64) func(result) bool { return func(r result) bool { return r.Offset == want } }

func value(want string) func(result) bool { return func(r result) bool { return r.Value == want } }

func topics(t *testing.T, c client) {
	topic := c.named("topics")
	create := op{Op: "create-topic", Topic: topic, Partitions: 3, Name: "retention.ms", Value: "86400000"}
	c.administer(t,
		step{op: create},
		step{op: create, fail: exists},
		step{op: op{Op: "list-topics"}, want: named(topic, true)},
		step{op: op{Op: "describe-topic", Topic: topic}, want: counts(3)},
		step{op: op{Op: "describe-config", Topic: topic, Name: "retention.ms"}, want: value("86400000")},
		step{op: op{Op: "delete-topic", Topic: topic}},
		step{op: op{Op: "list-topics"}, want: named(topic, false)},
		step{op: op{Op: "delete-topic", Topic: topic}, fail: noTopic},
	)
}

func configs(t *testing.T, c client) {
	topic := createTopic(t, c, "configs", 1)
	c.administer(t,
		step{op: op{Op: "alter-config", Topic: topic, Name: "retention.ms", Value: "3600000"}},
		step{op: op{Op: "describe-config", Topic: topic, Name: "retention.ms"}, want: value("3600000")},
		step{op: op{Op: "alter-config", Topic: topic, Name: "retention.ms", Value: "soon"}, fail: badConfig},
		step{op: op{Op: "describe-config", Topic: topic, Name: "retention.ms"}, want: value("3600000")},
	)
}

func morePartitions(t *testing.T, c client) {
	topic := createTopic(t, c, "partitions", 2)
	c.administer(t,
		step{op: op{Op: "create-partitions", Topic: topic, Partitions: 5}},
		step{op: op{Op: "describe-topic", Topic: topic}, want: counts(5)},
		step{op: op{Op: "create-partitions", Topic: topic, Partitions: 4}, fail: badPartitions},
		step{op: op{Op: "describe-topic", Topic: topic}, want: counts(5)},
	)
	want := c.produce(t, spec{Topic: topic, Compression: "none"}, events(5, 0, 50))
	same(t, run[event](t, c, "consume", spec{Topic: topic, Partitions: 5, Since: -1, Count: 50}, nil), want)
}

func listOffsets(t *testing.T, c client) {
	topic := createTopic(t, c, "offsets", 1)
	records := events(1, 0, 100)
	write(t, c.broker, topic, records)
	c.administer(t,
		step{op: op{Op: "list-offsets", Topic: topic, At: "earliest"}, want: offset(0)},
		step{op: op{Op: "list-offsets", Topic: topic, At: "latest"}, want: offset(100)},
		step{op: op{Op: "list-offsets", Topic: topic, At: fmt.Sprint(records[41].Timestamp - 1)}, want: offset(41)},
	)
	if c.family.name == "kafka-go" { // its Client says -1 for no session, and has nothing above Fetch
		c.administer(t, step{op: op{Op: "fetch", Topic: topic, Offset: 41}, want: offset(41)})
	}
}

func deleteRecords(t *testing.T, c client) {
	topic := createTopic(t, c, "delete-records", 1)
	records := events(1, 0, 100)
	write(t, c.broker, topic, records)
	c.administer(t,
		step{op: op{Op: "delete-records", Topic: topic, Offset: 40}, want: offset(40)},
		step{op: op{Op: "list-offsets", Topic: topic, At: "earliest"}, want: offset(40)},
		step{op: op{Op: "list-offsets", Topic: topic, At: "latest"}, want: offset(100)},
		step{op: op{Op: "delete-records", Topic: topic, Offset: 1000}, fail: outOfRange},
	)
	same(t, run[event](t, c, "consume", spec{Topic: topic, Partitions: 1, Since: -1, Count: 60}, nil), records[40:])
}
