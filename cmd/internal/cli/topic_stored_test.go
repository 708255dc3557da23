package cli_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/varvelog/varve/cmd/internal/cli"
	"github.com/varvelog/varve/cmd/internal/status"
)

func TestTopicDescribeShowsHowNodesStoreIt(t *testing.T) {
	c := broker(t, kfake.SeedTopics(2, "a"))
	plain := c.run(t, "topic", "describe", "a", "-o", "json")
	plain.expect(t, cli.ExitOK, `"stored": null`)
	_, rest, _ := strings.Cut(plain.stdout, `"id": "`)
	id, _, _ := strings.Cut(rest, `"`)
	at := time.UnixMilli(1_700_000_000_000).UTC()
	server := httptest.NewServer(status.HandlerOf(func(r *http.Request) []status.StoredTopic {
		if names := r.URL.Query()["name"]; len(names) != 1 || names[0] != "a" {
			t.Errorf("asked for %v", names)
		}
		return []status.StoredTopic{
			{Name: "a", ID: "another", Partitions: []status.StoredPartition{{Partition: 0, Own: 1 << 40}}},
			{Name: "a", ID: id, Partitions: []status.StoredPartition{{Partition: 1, Unmerged: 1024, Shared: 2048, Own: 4096, Objects: 7, Newest: &at}}},
		}
	}))
	defer server.Close()
	address := strings.TrimPrefix(server.URL, "http://")
	o := c.run(t, "topic", "describe", "a", "--http", address)
	o.expect(t, cli.ExitOK, "UNMERGED")
	if text := words(o.stdout); !strings.Contains(text, "1.0 KiB 2.0 KiB 4.0 KiB 7 - 2023-11-14T22:13:20Z") || !strings.Contains(text, "? ? ? ? ? ?") {
		t.Errorf("got %s", o.stdout)
	}
	c.run(t, "topic", "describe", "a", "--http", address, "-o", "json").expect(t, cli.ExitOK, `"own_bytes": 4096`)
	if o := c.run(t, "topic", "describe", "a"); strings.Contains(o.stdout, "UNMERGED") {
		t.Errorf("got %s", o.stdout)
	}
	c.run(t, "topic", "describe", "a", "--http", "127.0.0.1:1").expect(t, cli.ExitFailure, "127.0.0.1:1")
}
