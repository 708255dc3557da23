package cli_test

import (
	"encoding/json"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/varvelog/varve/cmd/internal/cli"
)

func TestBenchMeasuresWhatItSays(t *testing.T) {
	c := broker(t, kfake.SeedTopics(3, "t"))
	var produced struct {
		Figure struct {
			Records, Bytes   int64
			RecordsPerSecond float64 `json:"records_per_second"`
			Latency          struct{ Count int }
		}
		ClientCPU float64 `json:"client_cpu_seconds"`
	}
	o := c.run(t, "bench", "produce", "t", "--records", "3000", "--duration", "0", "--record-size", "100", "-o", "json")
	o.expect(t, cli.ExitOK)
	if err := json.Unmarshal([]byte(o.stdout), &produced); err != nil {
		t.Fatal(err)
	}
	if f := produced.Figure; f.Records != 3000 || f.Bytes != 300_000 || f.RecordsPerSecond <= 0 || f.Latency.Count == 0 || produced.ClientCPU <= 0 {
		t.Fatalf("got %+v", produced)
	}
	c.run(t, "bench", "consume", "t").expect(t, cli.ExitOK, "3,000", "records/s", "client CPU")
	c.run(t, "bench", "latency", "t", "--rate", "1000", "--duration", "100ms", "--warmup", "0s").
		expect(t, cli.ExitOK, "100", "due to read")
	c.run(t, "consume", "t", "--until-end").expect(t, cli.ExitOK) // the records of latency are there, too
}

func TestBenchRefusesWhatItCannotMeasure(t *testing.T) {
	c := broker(t, kfake.SeedTopics(1, "t"))
	for _, args := range [][]string{
		{"produce"}, {"produce", "t", "--duration", "0"}, {"produce", "t", "--record-size", "0"},
		{"produce", "t", "--record-size", "2MB"}, {"produce", "t", "--acks", "2"},
		{"latency", "t", "--rate", "0"}, {"latency", "t", "--record-size", "7"}, {"consume", "t", "--partition-bytes", "0"},
	} {
		c.run(t, append([]string{"bench"}, args...)...).expect(t, cli.ExitUsage)
	}
	c.run(t, "bench", "produce", "absent").expect(t, cli.ExitFailure, "varve topic create absent")
	c.run(t, "bench", "consume", "t").expect(t, cli.ExitFailure, "no records")
}
