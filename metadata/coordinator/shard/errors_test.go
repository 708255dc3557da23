package shard

import (
	"errors"
	"fmt"
	"testing"

	"github.com/varvelog/varve/metadata/coordinator"
)

func TestAppendErrors(t *testing.T) {
	moved, full := errors.New("moved"), errors.New("full")
	for _, tc := range []struct{ err, want error }{
		{nil, nil},
		{fmt.Errorf("partition 3: %w", moved), coordinator.ErrNotCoordinator},
		{full, coordinator.ErrUnavailable},
	} {
		got := AppendError(tc.err, errors.New("closed"), moved)
		if !errors.Is(got, tc.want) || !errors.Is(got, tc.err) {
			t.Errorf("%v becomes %v, want %v", tc.err, got, tc.want)
		}
	}
}
