package lost_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/varvelog/varve/tiering/lost"
	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/segment"
)

func TestWhichErrorsAreLosses(t *testing.T) {
	for _, tc := range []struct {
		err            error
		is, unreadable bool
	}{
		{nil, false, false},
		{objstore.ErrNotFound, true, true},
		{objstore.ErrRange, true, true},
		{&segment.CorruptError{}, true, true},
		{segment.ErrUnsupported, false, true},
		{objstore.ErrDenied, false, false},
		{objstore.ErrNoBucket, false, false},
		{errors.New("connection refused"), false, false},
	} {
		for _, err := range []error{tc.err, fmt.Errorf("read a: %w", tc.err), errors.Join(errors.New("more"), tc.err)} {
			if is, unreadable := lost.Is(err), lost.Unreadable(err); is != tc.is || unreadable != tc.unreadable {
				t.Errorf("%v: lost %t, unreadable %t, want %t and %t", err, is, unreadable, tc.is, tc.unreadable)
			}
		}
	}
}
