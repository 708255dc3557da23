package clients

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
)

// groupPartitions is how many partitions the topic of a group has: not a
// multiple of the number of members.
const groupPartitions = 7

// session is the session time-out of members, the shortest a broker allows by
// default: a member that is killed is missed after it.
const session = 6000

func (c client) groupSpec(topic, name string) spec {
	return spec{Client: c.named(name), Topic: topic, Group: topic, Session: session}
}

// balanced waits until the named members, and no others, have all partitions,
// according to the broker.
func (c client) balanced(t *testing.T, group string, names ...string) {
	t.Helper()
	admin, ctx := kadm.NewClient(reference(t, c.broker)), deadline(t)
	eventually(t, func() error {
		found, err := admin.DescribeGroups(ctx, group)
		if err == nil {
			err = found.Error()
		}
		if err != nil {
			return err
		}
		share := map[string]int{}
		for _, m := range found[group].Members {
			assigned, _ := m.Assigned.AsConsumer()
			share[m.ClientID] += 0
			if assigned != nil {
				for _, topic := range assigned.Topics {
					share[m.ClientID] += len(topic.Partitions)
				}
			}
		}
		total := 0
		for _, name := range names {
			if share[c.named(name)] == 0 {
				return fmt.Errorf("%s has no partition: state %s, shares %v", name, found[group].State, share)
			}
			total += share[c.named(name)]
		}
		if len(share) != len(names) || total != groupPartitions || found[group].State != "Stable" {
			return fmt.Errorf("state %s, shares %v", found[group].State, share)
		}
		return nil
	})
}

// processed is how often the members have read each record.
func processed(t *testing.T, all ...*member) map[position]int {
	t.Helper()
	count := map[position]int{}
	for _, m := range all {
		for _, e := range m.events(t) {
			if e.Event == "record" {
				count[at(e)]++
			}
		}
	}
	return count
}

// everything waits until the members have read each record of the topic.
func everything(t *testing.T, records []event, all ...*member) {
	t.Helper()
	eventually(t, func() error {
		count := processed(t, all...)
		for _, r := range records {
			if count[at(r)] == 0 {
				return fmt.Errorf("no member has read %d/%d; %d of %d are read", r.Partition, r.Offset, len(count), len(records))
			}
		}
		return nil
	})
}

// committed waits until the group's offsets are the ends of the written
// records.
func committed(t *testing.T, c client, group string, records []event) {
	t.Helper()
	want := map[int32]int64{}
	for _, r := range records {
		want[r.Partition] = max(want[r.Partition], r.Offset+1)
	}
	admin, ctx := kadm.NewClient(reference(t, c.broker)), deadline(t)
	eventually(t, func() error {
		offsets, err := admin.FetchOffsets(ctx, group)
		if err == nil {
			err = offsets.Error()
		}
		if err != nil {
			return err
		}
		got := map[int32]int64{}
		offsets.Each(func(o kadm.OffsetResponse) { got[o.Partition] = o.At })
		if !maps.Equal(got, want) {
			return fmt.Errorf("committed %v, want %v", got, want)
		}
		return nil
	})
}

// group is the test of a group's life. Three members share the partitions, a
// fourth joins, one is killed; each record is read at least once. When all have
// left, a later member goes on from their offsets.
func group(t *testing.T, c client) {
	topic := createTopic(t, c, "group", groupPartitions)
	records := events(groupPartitions, 0, 700)
	write(t, c.broker, topic, records)
	one, two := c.join(t, c.groupSpec(topic, "one")), c.join(t, c.groupSpec(topic, "two"))
	three := c.join(t, c.groupSpec(topic, "three"))
	c.balanced(t, topic, "one", "two", "three")
	everything(t, records, one, two, three)

	four := c.join(t, c.groupSpec(topic, "four"))
	c.balanced(t, topic, "one", "two", "three", "four")
	if err := two.process.Kill(); err != nil {
		t.Fatal(err)
	}
	more := events(groupPartitions, len(records), 700)
	write(t, c.broker, topic, more)
	records = append(records, more...)
	c.balanced(t, topic, "one", "three", "four")
	everything(t, records, one, two, three, four)
	committed(t, c, topic, records)
	for _, m := range []*member{one, three, four} {
		m.leave(t)
	}

	last := events(groupPartitions, len(records), 70)
	write(t, c.broker, topic, last)
	five := c.join(t, c.groupSpec(topic, "five"))
	everything(t, last, five)
	if again := len(processed(t, five)) - len(last); again != 0 {
		t.Errorf("%d records that were committed are read again after a restart", again)
	}
	five.leave(t)
}

// sticky is the test of cooperative rebalancing: a member keeps reading the
// partitions that it does not give away.
func sticky(t *testing.T, c client) {
	topic := createTopic(t, c, "sticky", groupPartitions)
	join := func(name string) *member {
		s := c.groupSpec(topic, name)
		s.Strategy = "cooperative-sticky"
		return c.join(t, s)
	}
	one := join("one")
	c.balanced(t, topic, "one")
	eventually(t, wantHas(t, one, groupPartitions))
	before := len(one.events(t))
	two := join("two")
	c.balanced(t, topic, "one", "two")
	eventually(t, func() error {
		if total := len(one.has(t)) + len(two.has(t)); total != groupPartitions {
			return fmt.Errorf("the members have %d partitions", total)
		}
		return nil
	})
	keeps(t, one.events(t)[before:], one.has(t))
	one.leave(t)
	c.balanced(t, topic, "two")
	records := events(groupPartitions, 0, 70)
	write(t, c.broker, topic, records)
	everything(t, records, two)
	two.leave(t)
}

func wantHas(t *testing.T, m *member, n int) func() error {
	return func() error {
		if has := m.has(t); len(has) != n {
			return fmt.Errorf("%s has partitions %v", m.name, has)
		}
		return nil
	}
}

// static is the test of static membership: a member that is restarted within its
// session gets its partitions again, and the others notice nothing.
func static(t *testing.T, c client) {
	topic := createTopic(t, c, "static", groupPartitions)
	join := func(name string) *member {
		s := c.groupSpec(topic, name)
		s.Instance, s.Session = "instance-"+name, 30_000
		return c.join(t, s)
	}
	one, two := join("one"), join("two")
	c.balanced(t, topic, "one", "two")
	eventually(t, func() error {
		if total := len(one.has(t)) + len(two.has(t)); total != groupPartitions {
			return fmt.Errorf("the members have %d partitions", total)
		}
		return nil
	})
	had, kept, before := two.has(t), one.has(t), len(one.events(t))
	if err := two.process.Kill(); err != nil {
		t.Fatal(err)
	}
	again := join("two")
	eventually(t, wantHas(t, again, len(had)))
	if has := again.has(t); !slices.Equal(has, had) {
		t.Errorf("the instance has partitions %v after its restart, %v before", has, had)
	}
	records := events(groupPartitions, 0, 70)
	write(t, c.broker, topic, records)
	everything(t, records, one, again)
	keeps(t, one.events(t)[before:], kept)
	one.leave(t)
	again.leave(t)
}

// keeps wants the member to have had the partitions all the time.
func keeps(t *testing.T, events []event, kept []int32) {
	t.Helper()
	for _, e := range events {
		for _, partition := range kept {
			if (e.Event == "assigned" || e.Event == "revoked") && !slices.Contains(e.Partitions, partition) {
				t.Errorf("partition %d, which the member keeps, was taken from it in between: %+v", partition, e)
			}
		}
	}
}

// groupAdmin is the test of administrative requests about groups.
func groupAdmin(t *testing.T, c client) {
	topic := createTopic(t, c, "group-admin", groupPartitions)
	records := events(groupPartitions, 0, 70)
	write(t, c.broker, topic, records)
	m := c.join(t, c.groupSpec(topic, "one"))
	c.balanced(t, topic, "one")
	everything(t, records, m)
	committed(t, c, topic, records)
	running := func(r result) bool {
		return words(r.State) == "stable" && maps.Equal(r.Members, map[string]int{c.named("one"): groupPartitions})
	}
	first := func(want int64) func(result) bool { return func(r result) bool { return r.Offsets["0"] == want } }
	c.administer(t,
		step{op: op{Op: "list-groups"}, want: named(topic, true)},
		step{op: op{Op: "describe-group", Group: topic}, want: running},
		step{op: op{Op: "group-offsets", Group: topic, Topic: topic, Partitions: groupPartitions}, want: first(10)},
		step{op: op{Op: "delete-group", Group: topic}, fail: notEmpty},
	)
	m.leave(t)
	c.administer(t,
		step{op: op{Op: "set-group-offset", Group: topic, Topic: topic, Offset: 3}},
		step{op: op{Op: "group-offsets", Group: topic, Topic: topic, Partitions: groupPartitions}, want: first(3)},
		step{op: op{Op: "delete-group", Group: topic}},
		step{op: op{Op: "list-groups"}, want: named(topic, false)},
		step{op: op{Op: "delete-group", Group: topic}, fail: noGroup},
	)
}
