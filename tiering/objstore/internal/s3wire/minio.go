package s3wire

import (
	"errors"
	"strings"
	"testing"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/lifecycle"

	"github.com/varvelog/varve/testenv"
	"github.com/varvelog/varve/tiering/objstore"
)

// RunSettings tests that a driver reads the settings of the real buckets of a MinIO. open
// opens a store with the prefix "prod" in a bucket of it.
func RunSettings(t *testing.T, server *testenv.MinIOServer, open func(bucket string) objstore.Store) {
	t.Run("versions", func(t *testing.T) { keepsVersions(t, server, open(server.Bucket)) })
	t.Run("rules", func(t *testing.T) { hasRules(t, server, open(server.Bucket)) })
	t.Run("lock", func(t *testing.T) { isLocked(t, server, open) })
}

func policyOf(t *testing.T, s objstore.Store) objstore.Policy {
	t.Helper()
	p, err := objstore.ReadPolicy(t.Context(), s)
	if err != nil || len(p.Unread) != 0 {
		t.Fatalf("unread %v, error %v", p.Unread, err)
	}
	return p
}

// keepsVersions shows that a deletion frees nothing where the policy says so, and that the
// key can be created again.
func keepsVersions(t *testing.T, server *testenv.MinIOServer, s objstore.Store) {
	if p := policyOf(t, s); p.Versioning != objstore.VersioningOff || p.Lock != "off" || p.Retains() || len(p.Warnings()) != 0 {
		t.Errorf("a new bucket: %+v", p)
	}
	if err := server.Client.EnableVersioning(t.Context(), server.Bucket); err != nil {
		t.Fatal(err)
	}
	if p := policyOf(t, s); p.Versioning != objstore.VersioningEnabled || !p.Retains() || p.NoncurrentDays != 0 {
		t.Errorf("with versions: %+v", p)
	}
	for _, remove := range []func() error{
		func() error { return s.Delete(t.Context(), "a") },
		func() error { return objstore.DeleteAll(t.Context(), s, []string{"a"})[0] },
	} {
		if err := s.Create(t.Context(), "a", objstore.Plain([]byte("data"))); err != nil {
			t.Fatal(err)
		}
		if err := s.Create(t.Context(), "a", objstore.Plain([]byte("data"))); !errors.Is(err, objstore.ErrExists) {
			t.Errorf("a second create: %v", err)
		}
		if err := remove(); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Get(t.Context(), "a"); !errors.Is(err, objstore.ErrNotFound) {
			t.Errorf("a deleted object: %v", err)
		}
	}
	kept := 0
	for object := range server.Client.ListObjects(t.Context(), server.Bucket, minio.ListObjectsOptions{Prefix: "prod/", Recursive: true, WithVersions: true}) {
		if object.Err != nil {
			t.Fatal(object.Err)
		}
		if !object.IsDeleteMarker && object.Size == 4 {
			kept++
		}
	}
	if kept != 2 {
		t.Errorf("the bucket keeps %d of 2 deleted objects", kept)
	}
	if err := server.Client.SuspendVersioning(t.Context(), server.Bucket); err != nil {
		t.Fatal(err)
	}
	if p := policyOf(t, s); p.Versioning != objstore.VersioningSuspended || !p.Retains() {
		t.Errorf("suspended: %+v", p)
	}
}

func hasRules(t *testing.T, server *testenv.MinIOServer, s objstore.Store) {
	for _, c := range []struct {
		rule lifecycle.Rule
		says string // "": may start
	}{
		{lifecycle.Rule{ID: "old", Status: "Enabled", Expiration: lifecycle.Expiration{Days: 30}}, `rule "old" of the whole bucket expires objects after 30 days`},
		{lifecycle.Rule{ID: "ours", Status: "Enabled", RuleFilter: lifecycle.Filter{Prefix: "prod/"}, Expiration: lifecycle.Expiration{Days: 1}}, `rule "ours" for the prefix "prod/"`},
		{lifecycle.Rule{ID: "inside", Status: "Enabled", RuleFilter: lifecycle.Filter{Prefix: "prod/journals/"}, Expiration: lifecycle.Expiration{Days: 1}}, `rule "inside"`},
		{lifecycle.Rule{ID: "off", Status: "Disabled", Expiration: lifecycle.Expiration{Days: 30}}, ""},
		{lifecycle.Rule{ID: "logs", Status: "Enabled", RuleFilter: lifecycle.Filter{Prefix: "logs/"}, Expiration: lifecycle.Expiration{Days: 30}}, ""},
		{lifecycle.Rule{ID: "versions", Status: "Enabled", NoncurrentVersionExpiration: lifecycle.NoncurrentVersionExpiration{NoncurrentDays: 7}}, ""},
	} {
		config := lifecycle.NewConfiguration()
		config.Rules = []lifecycle.Rule{c.rule}
		if err := server.Client.SetBucketLifecycle(t.Context(), server.Bucket, config); err != nil {
			t.Fatalf("%s: %v", c.rule.ID, err)
		}
		p := policyOf(t, s)
		err := p.Check()
		if (err != nil) != (c.says != "") || err != nil && (!errors.Is(err, objstore.ErrUnsafe) || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%s: %v", c.rule.ID, err)
		}
		if c.rule.ID == "versions" && p.NoncurrentDays != 7 {
			t.Errorf("noncurrent versions stay for %d days", p.NoncurrentDays)
		}
	}
}

func isLocked(t *testing.T, server *testenv.MinIOServer, open func(bucket string) objstore.Store) {
	name := server.Bucket + "-lock"
	if err := server.Client.MakeBucket(t.Context(), name, minio.MakeBucketOptions{ObjectLocking: true}); err != nil {
		t.Fatal(err)
	}
	defer server.Client.RemoveBucket(t.Context(), name)
	if p := policyOf(t, open(name)); p.Lock != "enabled" || p.Versioning != objstore.VersioningEnabled {
		t.Errorf("a bucket with Object Lock: %+v", p)
	}
	mode, days, unit := minio.Governance, uint(3), minio.Days
	if err := server.Client.SetObjectLockConfig(t.Context(), name, &mode, &days, &unit); err != nil {
		t.Fatal(err)
	}
	if p := policyOf(t, open(name)); p.Lock != "GOVERNANCE for 3 days" {
		t.Errorf("with a default: %+v", p)
	}
}
