package clients

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/varvelog/varve/testenv/proc"
)

// tools are Kafka's command-line tools of one release.
type tools struct {
	name    string
	profile string            // in java/pom.xml
	classes map[string]string // the class that a tool's script runs, where releases differ
	perf    string            // name of the number of records in kafka-consumer-perf-test
	broker  string
	jars    string
	java    string
}

var releases = []tools{
	{name: "tools-4", profile: "tools-4", perf: "--num-records"},
	{name: "tools-3.9", profile: "tools-3.9", perf: "--messages", classes: map[string]string{
		"kafka-configs":             "kafka.admin.ConfigCommand",
		"kafka-broker-api-versions": "kafka.admin.BrokerApiVersionsCommand",
		"kafka-console-producer":    "kafka.tools.ConsoleProducer"}},
}

// classes are the classes that Kafka's scripts run.
var classes = map[string]string{
	"kafka-topics":              "org.apache.kafka.tools.TopicCommand",
	"kafka-configs":             "org.apache.kafka.tools.ConfigCommand",
	"kafka-consumer-groups":     "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
	"kafka-log-dirs":            "org.apache.kafka.tools.LogDirsCommand",
	"kafka-get-offsets":         "org.apache.kafka.tools.GetOffsetShell",
	"kafka-broker-api-versions": "org.apache.kafka.tools.BrokerApiVersionsCommand",
	"kafka-delete-records":      "org.apache.kafka.tools.DeleteRecordsCommand",
	"kafka-console-producer":    "org.apache.kafka.tools.ConsoleProducer",
	"kafka-console-consumer":    "org.apache.kafka.tools.consumer.ConsoleConsumer",
	"kafka-producer-perf-test":  "org.apache.kafka.tools.ProducerPerformance",
	"kafka-consumer-perf-test":  "org.apache.kafka.tools.ConsumerPerformance",
	"kafka-verifiable-producer": "org.apache.kafka.tools.VerifiableProducer",
	"kafka-verifiable-consumer": "org.apache.kafka.tools.VerifiableConsumer",
}

// toolTests are the tests of each tool, by its name.
var toolTests = []struct {
	name string
	test func(*testing.T, tools)
}{
	{"kafka-topics", toolTopics}, {"kafka-configs", toolConfigs}, {"kafka-get-offsets", toolOffsets},
	{"kafka-broker-api-versions", toolVersions}, {"kafka-delete-records", toolDeleteRecords}, {"kafka-log-dirs", toolLogDirs},
	{"kafka-console-producer", toolConsoleProducer}, {"kafka-console-consumer", toolConsoleConsumer},
	{"kafka-producer-perf-test", toolProducerPerf}, {"kafka-consumer-perf-test", toolConsumerPerf},
	{"kafka-verifiable-producer", toolVerifiableProducer}, {"kafka-verifiable-consumer", toolVerifiableConsumer},
	{"kafka-consumer-groups", toolGroups},
}

func TestTools(t *testing.T) {
	if testing.Short() || !*all && *only == "" {
		t.Skip("left to make clients")
	}
	broker := startBroker(t)
	pattern := regexp.MustCompile(*only)
	for _, release := range releases {
		t.Run(release.name, func(t *testing.T) {
			t.Parallel()
			if !pattern.MatchString(release.name) {
				t.Skip("not chosen")
			}
			release.broker, release.java, release.jars = broker, tool(t, "java"), jars(t, release.profile)
			for _, tt := range toolTests {
				t.Run(tt.name, func(t *testing.T) {
					t.Parallel()
					t.Cleanup(func() { findings.note(tt.name, release.name, outcome(t)) })
					tt.test(t, release)
				})
			}
		})
	}
}

// start starts a tool. Its standard output goes to stdout.
func (k tools) start(t *testing.T, name string, stdin []byte, stdout *bytes.Buffer, args ...string) *proc.Process {
	t.Helper()
	class := k.classes[name]
	if class == "" {
		class = classes[name]
	}
	process, err := proc.Start(proc.Command{Path: k.java, Args: append(append(slices.Clone(jvm), "-cp", k.jars, class), args...),
		Stdin: bytes.NewReader(stdin), Stdout: stdout})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := process.Kill(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("%s %q printed:\n%.5000s", name, args, process.Output())
		}
	})
	return process
}

// runWith runs a tool to its end and returns its standard output, and whether it
// succeeded.
func (k tools) runWith(t *testing.T, name string, stdin []byte, args ...string) (output string, well bool) {
	t.Helper()
	var stdout bytes.Buffer
	process := k.start(t, name, stdin, &stdout, args...)
	select {
	case <-process.Done():
	case <-time.After(patience):
		t.Fatalf("%s %q did not end within %v", name, args, patience)
	}
	well = process.Wait() == nil
	return stdout.String(), well
}

// run runs a tool that must succeed, with the broker's address.
func (k tools) run(t *testing.T, name string, args ...string) string {
	t.Helper()
	output, well := k.runWith(t, name, nil, append([]string{"--bootstrap-server", k.broker}, args...)...)
	if !well {
		t.Fatalf("%s %q failed", name, args)
	}
	return output
}

// refused runs a tool that must print why it cannot do its work. Some tools
// exit with 0 then.
func (k tools) refused(t *testing.T, name, why string, args ...string) {
	t.Helper()
	var stdout bytes.Buffer
	process := k.start(t, name, nil, &stdout, append([]string{"--bootstrap-server", k.broker}, args...)...)
	<-process.Done()
	if !strings.Contains(process.Output(), why) {
		t.Errorf("%s %q does not say %q", name, args, why)
	}
}

// contains wants lines of a tool's output that match regular expressions. Tabs
// and runs of spaces count as one space.
func contains(t *testing.T, output string, patterns ...string) {
	t.Helper()
	var squeezed []string
	for line := range strings.Lines(output) {
		squeezed = append(squeezed, strings.Join(strings.Fields(line), " "))
	}
	for _, pattern := range patterns {
		if !slices.ContainsFunc(squeezed, regexp.MustCompile("^(?:"+pattern+")$").MatchString) {
			t.Errorf("no line like %q in:\n%s", pattern, output)
		}
	}
}

// topic makes a topic for the test of a tool, with n records.
func (k tools) topic(t *testing.T, kind string, partitions int32, n int) (string, []event) {
	t.Helper()
	topic := createTopic(t, client{family: family{name: k.name}, broker: k.broker}, kind, partitions)
	records := events(partitions, 0, n)
	write(t, k.broker, topic, records)
	return topic, records
}

func file(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
