package s3http

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/varvelog/varve/tiering/objstore"
)

// The check value of CRC-32C, RFC 3720 appendix B.4 and the catalogue of
// parametrised CRC algorithms: 0xe3069283 of "123456789".
func TestChecksumIsBigEndianCRC32CInBase64(t *testing.T) {
	if got := Checksum(objstore.Plain([]byte("123456789")).Sum()); got != "4waSgw==" {
		t.Errorf("got %s", got)
	}
}

func TestContentRange(t *testing.T) {
	for value, want := range map[string]part{
		"bytes 0-9/100":   {First: 0, Last: 9, Size: 100},
		"bytes 99-99/100": {First: 99, Last: 99, Size: 100},
		"bytes 0--1/0":    {First: 0, Last: -1, Size: 0},
	} {
		if got, err := parseContentRange(value); err != nil || got != want {
			t.Errorf("%q: got %+v, %v", value, got, err)
		}
	}
	for _, value := range []string{
		"", "bytes", "bytes */100", "bytes 0-9/*", "bytes 9-0/100", "bytes 0-100/100", "bytes -1-9/100", "bytes 0-9",
		"bytes 0-9/100/1", "bytes 0-99999999999999999999/99999999999999999999", "bytes 5--1/0",
	} {
		if got, err := parseContentRange(value); err == nil {
			t.Errorf("%q: got %+v, want an error", value, got)
		}
	}
}

func TestReadBodyTakesExactlyWhatWasAnnounced(t *testing.T) {
	for size, want := range map[int64]error{5: nil, 4: objstore.ErrRange, 6: objstore.ErrRange, objstore.MaxSize + 1: objstore.ErrRange} {
		got, err := makeRoom("k", size)
		if err == nil {
			err = readBody(strings.NewReader("12345"), got)
		}
		if !errors.Is(err, want) || want == nil && string(got) != "12345" {
			t.Errorf("announced %d: got %q, %v", size, got, err)
		}
	}
	if _, err := makeRoom("k", -1); err == nil || errors.Is(err, objstore.ErrRange) {
		t.Errorf("nothing announced: %v", err)
	}
}

func TestPrefixLeavesRoomForTheLongestKey(t *testing.T) {
	if got, err := CheckPrefix("a/b"); got != "a/b/" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	longest := strings.Repeat("x", 1024-1-objstore.MaxKey)
	if got, err := CheckPrefix(longest); err != nil || len(got)+objstore.MaxKey != 1024 {
		t.Errorf("prefix of %d bytes: %v", len(longest), err)
	}
	if _, err := CheckPrefix(longest + "x"); err == nil {
		t.Error("a longer prefix: no error")
	}
}

func TestAFullStoreIsNotTakenForOneThatIsAway(t *testing.T) {
	for _, answer := range []struct {
		status int
		code   string
	}{{507, ""}, {507, "XMinioStorageFull"}, {400, "XMinioAdminBucketQuotaExceeded"}, {503, "XMinioStorageFull"}} {
		if err := Sentinel(answer.status, answer.code); !errors.Is(err, objstore.ErrFull) {
			t.Errorf("%+v: %v", answer, err)
		}
	}
	if err := Sentinel(503, "SlowDown"); err != nil {
		t.Errorf("busy: %v", err)
	}
}

// A store that answers no upload for half a minute is not away, and an upload takes no
// connection of a commit.
func TestUploadsHaveConnectionsAndTimeOfTheirOwn(t *testing.T) {
	var commits http.RoundTripper
	s, err := Open(Config{Bucket: "b"}, func(c, _ http.RoundTripper) (Client, string, error) { commits = c; return nil, "", nil })
	if err != nil {
		t.Fatal(err)
	}
	routes := commits.(commitTransport).Next.(byPurpose)
	var got []string
	route := func(name string) http.RoundTripper {
		return roundTripper(func(r *http.Request) (*http.Response, error) {
			deadline, ok := r.Context().Deadline()
			got = append(got, fmt.Sprintf("%s %v", name, ok && time.Until(deadline) > time.Minute))
			return nil, errors.New("away")
		})
	}
	if timeout := routes.uploads.(*http.Transport).ResponseHeaderTimeout; timeout <= routes.commits.(*http.Transport).ResponseHeaderTimeout {
		t.Errorf("an upload waits for %v", timeout)
	}
	s.client = &sender{via: byPurpose{route("commit"), route("upload")}}
	source := objstore.Body{Source: strings.NewReader(""), Length: 64 << 20, CRCKnown: true}
	for _, body := range []objstore.Body{objstore.Plain([]byte("x")), source} {
		if err := s.Create(t.Context(), "k", body); err == nil {
			t.Error("no error")
		}
	}
	if want := []string{"commit false", "upload true"}; !slices.Equal(got, want) {
		t.Errorf("sent by %q, want %q", got, want)
	}
}

// sender is a client that sends each Put by a transport.
type sender struct {
	Client
	via http.RoundTripper
}

func (c *sender) Put(ctx context.Context, _ string, body io.ReadSeeker, _ int64, _ string) (string, string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, "http://store/k", body)
	if err != nil {
		return "", "", err
	}
	_, err = c.via.RoundTrip(req)
	return "", "", err
}

func (c *sender) Answer(error) Answer { return Answer{} }

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
