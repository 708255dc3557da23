package clients

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func toolConsoleProducer(t *testing.T, k tools) {
	topic, _ := k.topic(t, "console-producer", 1, 0)
	if _, well := k.runWith(t, "kafka-console-producer", []byte("a:first\nb:second grüße\n:\n"), "--bootstrap-server", k.broker, "--topic", topic,
		"--compression-codec", "zstd", "--property", "parse.key=true", "--property", "key.separator=:"); !well {
		t.Fatal("it failed")
	}
	var got []string
	for _, r := range readBack(t, k.broker, topic, 3) {
		got = append(got, fmt.Sprintf("%s=%s", r.Key, r.Value))
	}
	if want := []string{"a=first", "b=second grüße", "="}; !slices.Equal(got, want) {
		t.Errorf("read back %q, want %q", got, want)
	}
}

func toolConsoleConsumer(t *testing.T, k tools) {
	topic, records := k.topic(t, "console-consumer", 2, 20)
	format := []string{"--property", "print.timestamp=true", "--property", "print.key=true", "--property", "print.partition=true",
		"--property", "print.offset=true", "--property", "print.headers=true"}
	want := func(records []event) (lines []string) {
		for _, r := range records {
			lines = append(lines, regexp.QuoteMeta(fmt.Sprintf("CreateTime:%d Partition:%d Offset:%d ", r.Timestamp, r.Partition, r.Offset))+
				".*"+regexp.QuoteMeta(fmt.Sprintf(" %s %s", r.Key, strings.TrimSpace(r.Value))))
		}
		return lines
	}
	var odd []event
	for _, r := range records {
		if r.Partition == 1 && r.Offset >= 4 {
			odd = append(odd, r)
		}
	}
	contains(t, k.run(t, "kafka-console-consumer", append([]string{"--topic", topic, "--partition", "1", "--offset", "4", "--max-messages", "6"}, format...)...), want(odd)...)
	group := topic + "-readers"
	output := k.run(t, "kafka-console-consumer", append([]string{"--topic", topic, "--from-beginning", "--max-messages", "20", "--group", group}, format...)...)
	contains(t, output, want(records)...)
	more := events(2, 20, 4)
	write(t, k.broker, topic, more)
	output = k.run(t, "kafka-console-consumer", append([]string{"--topic", topic, "--from-beginning", "--max-messages", "4", "--group", group}, format...)...)
	contains(t, output, want(more)...) // it goes on where it was
}

// perf is the last line of kafka-producer-perf-test.
const perf = `(\d+) records sent, [\d.]+ records/sec \([\d.]+ MB/sec\), [\d.]+ ms avg latency, [\d.]+ ms max latency, .*`

func toolProducerPerf(t *testing.T, k tools) {
	topic, _ := k.topic(t, "producer-perf", 3, 0)
	output, well := k.runWith(t, "kafka-producer-perf-test", nil, "--topic", topic, "--num-records", "2000", "--record-size", "200",
		"--throughput", "-1", "--producer-props", "bootstrap.servers="+k.broker)
	if !well {
		t.Fatal("it failed")
	}
	contains(t, output, strings.Replace(perf, `(\d+)`, "2000", 1))
	readBack(t, k.broker, topic, 2000)
}

func toolConsumerPerf(t *testing.T, k tools) {
	topic, _ := k.topic(t, "consumer-perf", 3, 2000)
	output := k.run(t, "kafka-consumer-perf-test", "--topic", topic, k.perf, "2000", "--timeout", "60000")
	header, row, _ := strings.Cut(strings.TrimSpace(output), "\n")
	column := slices.IndexFunc(strings.Split(header, ", "), func(name string) bool {
		return name == "data.consumed.in.nMsg" || name == "data.consumed.in.nRecords"
	})
	fields := strings.Split(row, ", ")
	if column < 0 || column >= len(fields) {
		t.Fatalf("printed:\n%s", output)
	}
	if n, err := strconv.Atoi(fields[column]); err != nil || n != 2000 {
		t.Errorf("%d records were read, of 2000 (%v):\n%s", n, err, output)
	}
}

// said is a line of kafka-verifiable-producer and -consumer.
type said struct {
	Name      string `json:"name"`
	Value     string `json:"value"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
	Sent      int    `json:"sent"`
	Acked     int    `json:"acked"`
	Count     int    `json:"count"`
	Success   bool   `json:"success"`
}

func says(t *testing.T, output string) (all []said) {
	t.Helper()
	for line := range strings.Lines(output) {
		if !strings.HasPrefix(line, "{") {
			continue // a warning
		}
		var one said
		if err := json.Unmarshal([]byte(line), &one); err != nil {
			t.Fatalf("%v in %s", err, line)
		}
		all = append(all, one)
	}
	return all
}

func toolVerifiableProducer(t *testing.T, k tools) {
	topic, _ := k.topic(t, "verifiable-producer", 2, 0)
	sent := map[position]string{}
	for _, s := range says(t, k.run(t, "kafka-verifiable-producer", "--topic", topic, "--max-messages", "300")) {
		switch s.Name {
		case "producer_send_success":
			sent[position{s.Partition, s.Offset}] = s.Value
		case "producer_send_error":
			t.Errorf("not sent: %+v", s)
		case "tool_data":
			if s.Sent != 300 || s.Acked != 300 {
				t.Errorf("sent %d, acked %d, of 300", s.Sent, s.Acked)
			}
		}
	}
	for _, r := range readBack(t, k.broker, topic, 300) {
		if value := sent[position{r.Partition, r.Offset}]; value != string(r.Value) {
			t.Errorf("%d/%d is %q, said to be %q", r.Partition, r.Offset, r.Value, value)
		}
	}
}

func toolVerifiableConsumer(t *testing.T, k tools) {
	topic, _ := k.topic(t, "verifiable-consumer", 3, 300)
	read, committed := 0, false
	for _, s := range says(t, k.run(t, "kafka-verifiable-consumer", "--topic", topic, "--group-id", topic, "--max-messages", "300",
		"--reset-policy", "earliest")) {
		switch s.Name {
		case "records_consumed":
			read += s.Count
		case "offsets_committed":
			committed = committed || s.Success
		}
	}
	if read != 300 || !committed {
		t.Errorf("read %d records of 300, committed: %v", read, committed)
	}
}
