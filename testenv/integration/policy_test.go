package integration

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/minio/minio-go/v7/pkg/lifecycle"

	"github.com/varvelog/varve/testenv"
)

// A rule that expires objects would remove records that nothing has deleted. Nothing is
// written to such a bucket; a node that only reads still serves the objects that are there.
func TestABucketWhoseRulesExpireObjectsIsRefused(t *testing.T) {
	t.Parallel()
	b := minioBucket(t)
	server := b.minio
	node := b.start(t)
	node.Stop(t)
	set := func(rule lifecycle.Rule) {
		config := lifecycle.NewConfiguration()
		rule.Status = "Enabled"
		config.Rules = []lifecycle.Rule{rule}
		if err := server.Client.SetBucketLifecycle(t.Context(), server.Bucket, config); err != nil {
			t.Fatal(err)
		}
	}
	set(lifecycle.Rule{ID: "tidy-up", RuleFilter: lifecycle.Filter{Prefix: "events/"}, Expiration: lifecycle.Expiration{Days: 365}})
	wantRefusal(t, b.varve("--data-dir", node.DataDir), permanent, "tidy-up", "events/", "365 days", "noncurrent")
	probe := testenv.Varve{Args: []string{"bucket", "probe", "--bucket", b.url}, Env: b.env}
	if out := probe.Run(t, patience); out.Code != 1 || !strings.Contains(string(out.Stderr), "tidy-up") {
		t.Errorf("bucket probe: exit code %d: %s", out.Code, out.Stderr)
	}
	b.start(t, "--roles", "fetch", "--archive").Stop(t)

	set(lifecycle.Rule{ID: "old", RuleFilter: lifecycle.Filter{Prefix: "logs/"}, Expiration: lifecycle.Expiration{Days: 365}})
	b.start(t, "--data-dir", node.DataDir).Stop(t)
}

// Where versions are kept, a deletion frees nothing: the node says so.
func TestABucketThatKeepsVersionsIsReported(t *testing.T) {
	t.Parallel()
	b := minioBucket(t)
	server := b.minio
	if err := server.Client.EnableVersioning(t.Context(), server.Bucket); err != nil {
		t.Fatal(err)
	}
	node := b.start(t)
	if retains, _ := metric(t, node, "varve_bucket_retains_deleted"); retains != 1 {
		t.Errorf("varve_bucket_retains_deleted is %v", retains)
	}
	if unread, found := metric(t, node, "varve_bucket_settings_unread"); unread != 0 || !found {
		t.Errorf("varve_bucket_settings_unread is %v, there: %v", unread, found)
	}
	_, text := get(t, node, "/status")
	var status struct {
		Versioning string `json:"bucket_versioning"`
		Lock       string `json:"bucket_object_lock"`
	}
	if err := json.Unmarshal([]byte(text), &status); err != nil || status.Versioning != "enabled" || status.Lock != "off" {
		t.Errorf("status %+v, %v", status, err)
	}
	if log := node.Log(); !strings.Contains(log, "the bucket keeps versions") {
		t.Errorf("the log does not say so:\n%s", log)
	}
}
