package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"

	"github.com/varvelog/varve/cmd/internal/bucket"
	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/segment"
)

func TestStartIsPatientWithWhatMayPass(t *testing.T) {
	n := &node{log: slog.New(slog.DiscardHandler)}
	errBusy := errors.New("503")
	damaged, broken := &segment.CorruptError{Reason: "no magic"}, fmt.Errorf("read: %w", journal.ErrBroken)
	for _, tc := range []struct {
		name  string
		fails int // calls that fail, -1 for all
		err   error
		calls int // at least
		want  error
	}{
		{"no failure", 0, nil, 1, nil},
		{"a few failures", 3, errBusy, 4, nil},
		{"failures without end", -1, errBusy, 10, errBusy},
		{"no such bucket", -1, fmt.Errorf("open: %w", objstore.ErrNoBucket), 1, objstore.ErrNoBucket},
		{"wrong set-up", -1, bucket.ErrSetup, 1, bucket.ErrSetup},
		{"damage on the way", 1, damaged, 2, nil},
		{"damage that stays", -1, damaged, 3, damaged},
		{"a floor that contradicts another", -1, broken, 3, broken},
	} {
		synctest.Test(t, func(t *testing.T) {
			calls := 0
			err := n.patiently(context.Background(), "looking", func() error {
				if calls++; tc.fails < 0 || calls <= tc.fails {
					return tc.err
				}
				return nil
			})
			if !errors.Is(err, tc.want) || calls < tc.calls || kindOf(tc.err).tries > 0 && calls > max(tc.calls, kindOf(tc.err).tries) {
				t.Errorf("%s: %v after %d calls, want %v", tc.name, err, calls, tc.want)
			}
		})
	}
}

func TestBucketThatIsNoBucketIsDefinite(t *testing.T) {
	for _, url := range []string{"minio://127.0.0.1:1/o?secure=false", "file:///dev/null"} {
		if _, err := bucket.Open(t.Context(), url, false); kindOf(err).tries != 1 {
			t.Errorf("%s: %v is worth a second try?", url, err)
		}
	}
}
