package integration

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/minio/minio-go/v7"
)

// TestAnUploadThatLandsLateHarmsNothing: the first PUT of a merged object is on its way when
// the leader dies. It lands when its job was done again and the sources are deleted.
func TestAnUploadThatLandsLateHarmsNothing(t *testing.T) {
	full(t)
	t.Parallel()
	b, p := behindProxy(t, minioBucket(t))
	node, all := b.start(t, joinSoon...), written{}
	createTopic(t, node.Kafka, "events", 3)
	var late lateUpload
	p.set(late.hold(t, b))
	all.until(t, node, "an upload", late.held)
	head := sum(t, node, "varve_journal_head", `journal="1"`)
	node.Kill(t)
	p.set(nil)
	node.Restart(t)
	all.until(t, node, "the sources are deleted", func() bool { return b.journalUpTo(t, head) <= 8 })

	_, err := b.minio.Client.PutObject(deadline(t), b.minio.Bucket, late.key, bytes.NewReader(late.object), int64(len(late.object)), minio.PutObjectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	all.check(t, node.Kafka, "events")
	node.Kill(t)
	node = b.startFresh(t, node, joinSoon...)
	all.check(t, node.Kafka, "events")
	node.Stop(t)
	b.verified(t)
}

// lateUpload is the first PUT of a merged segment that a proxy meets.
type lateUpload struct {
	mu     sync.Mutex
	key    string
	object []byte
}

func (u *lateUpload) held() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.object != nil
}

// hold takes the upload off the store before it is answered. Others wait forever.
func (u *lateUpload) hold(t *testing.T, b bucket) filter {
	return func(w http.ResponseWriter, r *http.Request, pass func(http.ResponseWriter)) {
		if r.Method != http.MethodPut || !strings.Contains(r.URL.Path, "/merged/") {
			pass(w)
			return
		}
		u.mu.Lock()
		defer u.mu.Unlock()
		if u.object == nil {
			pass(httptest.NewRecorder())
			u.key = strings.TrimPrefix(r.URL.Path, "/"+b.minio.Bucket+"/")
			object, err := b.minio.Client.GetObject(r.Context(), b.minio.Bucket, u.key, minio.GetObjectOptions{})
			if err == nil {
				u.object, err = io.ReadAll(object)
				_ = object.Close() // it was read
			}
			if err == nil {
				err = b.minio.Client.RemoveObject(r.Context(), b.minio.Bucket, u.key, minio.RemoveObjectOptions{})
			}
			if err != nil {
				t.Error(err)
			}
		}
		w.WriteHeader(http.StatusServiceUnavailable)
	}
}

// TestRefusedDeletionsHoldUpNothingElse: the node may write, but not delete.
func TestRefusedDeletionsHoldUpNothingElse(t *testing.T) {
	full(t)
	t.Parallel()
	b, p := behindProxy(t, minioBucket(t))
	node, all := b.start(t, joinSoon...), written{} // its test of the bucket deletes, too
	createTopic(t, node.Kafka, "events", 3)
	p.set(func(w http.ResponseWriter, r *http.Request, pass func(http.ResponseWriter)) {
		if r.Method == http.MethodDelete || r.Method == http.MethodPost && r.URL.Query().Has("delete") {
			readOnly(w, r, pass)
			return
		}
		pass(w)
	})
	all.until(t, node, "deletions are refused and merging goes on", func() bool {
		return sum(t, node, "varve_delete_failures_total") > 0 && sum(t, node, "varve_trouble", `kind="tiering"`) > 0 &&
			sum(t, node, "varve_merge_jobs_total") > 10
	})
	if n := sum(t, node, "varve_deleted_objects_total"); n != 0 {
		t.Errorf("%v objects are deleted", n)
	}
	if _, text := get(t, node, "/readyz"); !strings.Contains(text, "delete") {
		t.Errorf("/readyz: %s", text)
	}
	all.check(t, node.Kafka, "events")
	p.set(nil)
	all.until(t, node, "the objects are deleted", func() bool {
		return sum(t, node, "varve_deleted_objects_total") > 50 && sum(t, node, "varve_trouble", `kind="tiering"`) == 0
	})
	all.check(t, node.Kafka, "events")
	node.Stop(t)
	b.verified(t)
}

// TestABucketWithVersionsIsTidied: each deletion leaves a marker, and nothing else is different.
func TestABucketWithVersionsIsTidied(t *testing.T) {
	full(t)
	t.Parallel()
	b := minioBucket(t)
	if err := b.minio.Client.EnableVersioning(t.Context(), b.minio.Bucket); err != nil {
		t.Fatal(err)
	}
	node, all := b.start(t, joinSoon...), written{}
	createTopic(t, node.Kafka, "events", 3)
	all.until(t, node, "objects are deleted", func() bool { return sum(t, node, "varve_deleted_objects_total") > 60 })
	if n := sum(t, node, "varve_retained_bytes_total"); n < 60*200 {
		t.Errorf("the bucket keeps %v bytes of deleted objects", n)
	}
	_, text := get(t, node, "/status")
	var status struct {
		Journals []struct {
			Retained int64 `json:"retained_bytes"`
		}
	}
	if err := json.Unmarshal([]byte(text), &status); err != nil || status.Journals[len(status.Journals)-1].Retained == 0 {
		t.Errorf("/status: %v: %s", err, text)
	}
	if text := b.run(t, "bucket", "stat"); !strings.Contains(text, "keeps versions") {
		t.Errorf("bucket stat: %s", text)
	}
	node.Kill(t)
	node = b.startFresh(t, node, joinSoon...)
	all.check(t, node.Kafka, "events")
	node.Stop(t)
	b.verified(t)
}
