package clients

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// toolGroups is the test of kafka-consumer-groups, on a group that has a member
// and then none.
func toolGroups(t *testing.T, k tools) {
	topic, records := k.topic(t, "groups", 2, 100)
	// The default time-out of 5 s is short on a busy machine.
	of := []string{"--group", topic, "--timeout", "60000"}
	groups := func(args ...string) string { return k.run(t, "kafka-consumer-groups", append(args, of...)...) }
	refused := func(why string, args ...string) {
		k.refused(t, "kafka-consumer-groups", why, append(args, of...)...)
	}
	m := reference(t, k.broker, kgo.ConsumeTopics(topic), kgo.ConsumerGroup(topic), kgo.ClientID("reader"), kgo.DisableAutoCommit())
	for read := 0; read < len(records); {
		fetches := m.PollFetches(deadline(t))
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		read += fetches.NumRecords()
	}
	if err := m.CommitUncommittedOffsets(deadline(t)); err != nil {
		t.Fatal(err)
	}
	write(t, k.broker, topic, events(2, len(records), 10)) // five a partition: the lag of a member that reads and commits no more

	contains(t, k.run(t, "kafka-consumer-groups", "--list", "--timeout", "60000"), topic)
	contains(t, k.run(t, "kafka-consumer-groups", "--list", "--state", "--timeout", "60000"), topic+" (Consumer |Classic )?Stable")
	contains(t, groups("--describe"), topic+" "+topic+" 0 50 55 5 (- )?\\S+ /127\\.0\\.0\\.1 reader( -)?",
		topic+" "+topic+" 1 50 55 5 (- )?\\S+ /127\\.0\\.0\\.1 reader( -)?")
	contains(t, groups("--describe", "--members", "--verbose"), topic+" \\S+ /127\\.0\\.0\\.1 reader 2 .*\\b0,1\\b.*")
	contains(t, groups("--describe", "--state"), topic+" \\S+:\\d+ \\(1\\) cooperative-sticky Stable (- )*1( -)?")
	refused("inactive", "--reset-offsets", "--to-earliest", "--topic", topic, "--execute")
	refused("not empty", "--delete")
	m.Close()

	reset := func(how ...string) string {
		return groups(append([]string{"--reset-offsets", "--topic", topic}, how...)...)
	}
	wantLine := func(partition, offset int64) string {
		return fmt.Sprintf("(.* )?%s %s %d %d( .*)?", topic, topic, partition, offset) // 3.9 prints all in one line
	}
	contains(t, reset("--to-earliest", "--dry-run"), wantLine(0, 0), wantLine(1, 0))
	contains(t, groups("--describe"), topic+" "+topic+" 0 50 55 5 (- )*-") // it was a dry run
	at := time.UnixMilli(records[41].Timestamp).UTC().Format("2006-01-02T15:04:05.000")
	for _, how := range []struct {
		args        []string
		zero, first int64
	}{
		{[]string{"--to-earliest"}, 0, 0},
		{[]string{"--shift-by", "7"}, 7, 7},
		{[]string{"--to-latest"}, 55, 55},
		{[]string{"--shift-by", "-5"}, 50, 50},
		{[]string{"--to-offset", "12"}, 12, 12},
		{[]string{"--to-datetime", at}, 21, 20},
		{[]string{"--to-current"}, 21, 20},
	} {
		contains(t, reset(append(how.args, "--execute")...), wantLine(0, how.zero), wantLine(1, how.first))
	}
	contains(t, groups("--describe"), topic+" "+topic+" 0 21 55 34 (- )*-", topic+" "+topic+" 1 20 55 35 (- )*-")
	contains(t, groups("--delete-offsets", "--topic", topic+":1"), ".*"+topic+" 1 Successful")
	if now := groups("--describe"); strings.Contains(strings.Join(strings.Fields(now), " "), topic+" 1 20") {
		t.Errorf("the offset that was deleted is there:\n%s", now)
	}
	contains(t, groups("--delete"), "Deletion of requested consumer groups \\('"+topic+"'\\) was successful\\.")
	if listed := k.run(t, "kafka-consumer-groups", "--list", "--timeout", "60000"); strings.Contains(listed, topic+"\n") {
		t.Errorf("the group that was deleted is listed:\n%s", listed)
	}
}
