package clients

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

func toolTopics(t *testing.T, k tools) {
	topic := k.name + "-topics"
	contains(t, k.run(t, "kafka-topics", "--create", "--topic", topic, "--partitions", "3", "--replication-factor", "3", "--config", "retention.ms=86400000"),
		"Created topic "+topic+"\\.")
	contains(t, k.run(t, "kafka-topics", "--list"), topic)
	contains(t, k.run(t, "kafka-topics", "--describe", "--topic", topic),
		"Topic: "+topic+" TopicId: \\S{22} PartitionCount: 3 ReplicationFactor: 3 Configs: .*retention\\.ms=86400000.*",
		"Topic: "+topic+" Partition: 2 Leader: \\d+ Replicas: 1,1,1 Isr: 1,1,1 .*")
	if failed := k.run(t, "kafka-topics", "--describe", "--under-replicated-partitions"); strings.Contains(failed, topic) {
		t.Errorf("its replicas are missed:\n%s", failed)
	}
	k.refused(t, "kafka-topics", "exists", "--create", "--topic", topic)
	k.refused(t, "kafka-topics", "nonsense", "--create", "--topic", topic+"-2", "--config", "retention.ms=nonsense")
	k.run(t, "kafka-topics", "--create", "--topic", topic, "--if-not-exists")
	k.run(t, "kafka-topics", "--alter", "--topic", topic, "--partitions", "5")
	contains(t, k.run(t, "kafka-topics", "--describe", "--topic", topic), "Topic: "+topic+" Partition: 4 Leader: \\d+ .*")
	k.refused(t, "kafka-topics", "partitions", "--alter", "--topic", topic, "--partitions", "2")
	k.run(t, "kafka-topics", "--delete", "--topic", topic)
	if listed := k.run(t, "kafka-topics", "--list"); strings.Contains(listed, topic+"\n") {
		t.Errorf("the topic that was deleted is listed:\n%s", listed)
	}
	k.refused(t, "kafka-topics", "does not exist", "--delete", "--topic", topic)
}

func toolConfigs(t *testing.T, k tools) {
	topic, _ := k.topic(t, "configs", 1, 0)
	of := []string{"--entity-type", "topics", "--entity-name", topic}
	alter := func(args ...string) string {
		return k.run(t, "kafka-configs", append(append(args, "--alter"), of...)...)
	}
	describe := func(args ...string) string {
		return k.run(t, "kafka-configs", append(append(args, "--describe"), of...)...)
	}
	contains(t, alter("--add-config", "retention.ms=3600000,max.message.bytes=2000000"), "Completed updating config for topic "+topic+"\\.")
	contains(t, describe(), "Dynamic configs for topic "+topic+" are:", "retention.ms=3600000 sensitive=false synonyms=.*",
		"max.message.bytes=2000000 sensitive=false synonyms=.*")
	contains(t, alter("--delete-config", "retention.ms"), "Completed updating config for topic "+topic+"\\.")
	if now := describe(); strings.Contains(now, "retention.ms") {
		t.Errorf("the config that was deleted is there:\n%s", now)
	}
	contains(t, describe("--all"), "All configs for topic "+topic+" are:", "retention.ms=-1 sensitive=false synonyms=.*",
		"cleanup.policy=delete sensitive=false synonyms=.*")
	k.refused(t, "kafka-configs", "no.such.config", append([]string{"--alter", "--add-config", "no.such.config=1"}, of...)...)
	contains(t, k.run(t, "kafka-configs", "--describe", "--all", "--entity-type", "brokers", "--entity-name", "1"),
		"All configs for broker 1 are:", "message.max.bytes=\\d+ .*", "num.partitions=\\d+ .*")
	contains(t, k.run(t, "kafka-configs", "--describe", "--entity-type", "brokers"), "Dynamic configs for broker 1 are:",
		"Default configs for brokers in the cluster are:")
}

func toolOffsets(t *testing.T, k tools) {
	topic, records := k.topic(t, "offsets", 2, 100)
	contains(t, k.run(t, "kafka-get-offsets", "--topic", topic), topic+":0:50", topic+":1:50")
	contains(t, k.run(t, "kafka-get-offsets", "--topic", topic, "--time", "earliest"), topic+":0:0", topic+":1:0")
	contains(t, k.run(t, "kafka-get-offsets", "--topic", topic, "--time", "max-timestamp"), topic+":0:49", topic+":1:49")
	contains(t, k.run(t, "kafka-get-offsets", "--topic-partitions", topic+":1", "--time", fmt.Sprint(records[41].Timestamp)), topic+":1:20")
	contains(t, k.run(t, "kafka-get-offsets", "--topic", topic, "--time", "-4"), topic+":0:0")
}

func toolVersions(t *testing.T, k tools) {
	output := k.run(t, "kafka-broker-api-versions")
	contains(t, output, k.broker+" \\(id: 1 .*\\) -> \\(", "Produce\\(0\\): 0 to 13 \\[usable: \\d+\\],", "Metadata\\(3\\): 0 to 13 \\[usable: \\d+\\],")
	contains(t, output, "OffsetCommit\\(8\\): 2 to \\d+ \\[usable: \\d+\\],", "JoinGroup\\(11\\): 0 to 9 \\[usable: 9\\],")
}

func toolDeleteRecords(t *testing.T, k tools) {
	topic, _ := k.topic(t, "delete-records", 2, 100)
	wanted := file(t, fmt.Sprintf(`{"version":1,"partitions":[{"topic":%q,"partition":0,"offset":20},{"topic":%q,"partition":1,"offset":-1}]}`, topic, topic))
	contains(t, k.run(t, "kafka-delete-records", "--offset-json-file", wanted),
		"partition: "+topic+"-0 low_watermark: 20", "partition: "+topic+"-1 low_watermark: 50")
	contains(t, k.run(t, "kafka-get-offsets", "--topic", topic, "--time", "earliest"), topic+":0:20", topic+":1:50")
	contains(t, k.run(t, "kafka-get-offsets", "--topic", topic), topic+":0:50", topic+":1:50")
}

func toolLogDirs(t *testing.T, k tools) {
	topic, _ := k.topic(t, "log-dirs", 2, 100)
	output := k.run(t, "kafka-log-dirs", "--describe", "--topic-list", topic)
	var found struct {
		Brokers []struct {
			Broker  int `json:"broker"`
			LogDirs []struct {
				Error      *string `json:"error"`
				LogDir     string  `json:"logDir"`
				Partitions []struct {
					Partition string `json:"partition"`
					Size      int64  `json:"size"`
				} `json:"partitions"`
			} `json:"logDirs"`
		} `json:"brokers"`
	}
	_, text, _ := strings.Cut(output, "{")
	if err := json.Unmarshal([]byte("{"+text), &found); err != nil {
		t.Fatalf("%v in:\n%s", err, output)
	}
	sizes := map[string]int64{}
	for _, broker := range found.Brokers {
		for _, dir := range broker.LogDirs {
			for _, partition := range dir.Partitions {
				sizes[partition.Partition] = partition.Size
			}
		}
	}
	if len(sizes) != 2 || sizes[topic+"-0"] <= 0 || sizes[topic+"-1"] <= 0 {
		t.Errorf("sizes %v in:\n%s", sizes, output)
	}
}
