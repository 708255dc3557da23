package s3wire

import (
	"context"
	"errors"
	"io"
	"net/http"
	"testing"

	"github.com/varvelog/varve/tiering/objstore"
)

// Store is a driver's store on a bucket that it can create.
type Store interface {
	objstore.Store
	EnsureBucket(ctx context.Context) error
}

// Opener opens the bucket "events" of the store at http://host, with the bucket's name in
// the path. The prefix may be empty, and any credentials do. The end of the test closes
// the bucket.
type Opener func(t testing.TB, host, prefix string) Store

// Run tests the driver that open opens stores of.
func Run(t *testing.T, open Opener) {
	for _, c := range []struct {
		name string
		test func(t *testing.T, open Opener)
	}{
		{"Create sends one conditional unsigned checksummed PUT", createSendsOnePut},
		{"a source is sent as bytes are", aSourceIsSentAsBytesAre},
		{"Create is sent once and only a plain answer is success", createIsSentOnce},
		{"Create on a connection that the store has closed is not repeated", createOnAClosedConnection},
		{"Create returns when its context ends", createReturnsWhenItsContextEnds},
		{"bytes stay until they are released", bytesStayUntilReleased},
		{"a wrong known checksum is refused", wrongChecksumIsRefused},
		{"GetRange leaves its memory when its context ends", rangeLeavesItsMemory},
		{"no redirect is followed", noRedirectIsFollowed},
		{"reads are unknown unless the store said so", readsAreUnknown},
		{"GetTail of an empty object", tailOfNothing},
		{"Get of less than announced is ErrRange", getOfLessThanAnnounced},
		{"reads are sent again when the store is busy", readsAreSentAgain},
		{"List refuses an answer out of order", listRefusesAnAnswerOutOfOrder},
		{"a batch of deletes is one request", deleteBatchIsOneRequest},
		{"a deletion in a batch is unknown unless the store named it", deleteBatchIsUnknown},
		{"a store without batches deletes one by one", deletesOneByOne},
		{"the store's time is that of its answers", storeTimeIsThatOfAnswers},
		{"the policy names harmful rules", policyNamesHarmfulRules},
		{"the policy shows versions and locks", policyShowsVersionsAndLocks},
		{"the policy names the settings that may not be read", policyWithoutRights},
		{"EnsureBucket creates a missing bucket only", ensureBucketCreatesAMissingBucketOnly},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, open) })
	}
}

// after returns an answerer that lets PUTs have their effect and then answers
// with other.
func after(other http.HandlerFunc) func(http.ResponseWriter, *http.Request, http.Handler) {
	return func(w http.ResponseWriter, r *http.Request, honest http.Handler) {
		if r.Method == http.MethodPut {
			honest.ServeHTTP(discard{}, r)
			other(w, r)
			return
		}
		honest.ServeHTTP(w, r)
	}
}

// discard is a ResponseWriter that forgets the answer.
type discard struct{}

func (discard) Header() http.Header         { return http.Header{} }
func (discard) Write(b []byte) (int, error) { return len(b), nil }
func (discard) WriteHeader(int)             {}

func reply(status int, header map[string]string, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for k, v := range header {
			w.Header().Set(k, v)
		}
		w.WriteHeader(status)
		io.WriteString(w, body)
	}
}

func replyS3(status int, code string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { s3Error(w, status, code) }
}

func hangUp(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

var sentinels = []error{
	objstore.ErrNotFound, objstore.ErrExists, objstore.ErrConflict,
	objstore.ErrDenied, objstore.ErrNoBucket, objstore.ErrRange,
}

// CheckIs fails the test unless err is an error that is want and no other
// sentinel; a nil want stands for an error that is unknown.
func CheckIs(t testing.TB, err, want error) {
	t.Helper()
	if err == nil {
		t.Fatal("success, want an error")
	}
	for _, sentinel := range sentinels {
		if errors.Is(err, sentinel) != (sentinel == want) {
			t.Errorf("error %q, want %v", err, want)
		}
	}
}
