package s3http

import (
	"errors"
	"strings"
	"testing"

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
