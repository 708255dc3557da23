package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

func TestWhatPassesIsAskedAgainAndTheRestIsNot(t *testing.T) {
	var stderr bytes.Buffer
	env := &Env{Stderr: &stderr}
	quick := retries{limit: 10 * time.Millisecond, pause: time.Microsecond}
	asked := 0
	failing := func(err error) func() error {
		asked = 0
		return func() error { asked++; return fmt.Errorf("partition 3: %w", err) }
	}
	err := quick.run(t.Context(), env, failing(kerr.OffsetNotAvailable))
	if asked < 2 || !errors.Is(err, kerr.OffsetNotAvailable) || !strings.Contains(err.Error(), "tried for 10ms") {
		t.Errorf("asked %d times, then %v", asked, err)
	}
	if text := stderr.String(); strings.Count(text, "\n") != 1 || !strings.Contains(text, "still trying, for 10ms at most: partition 3: OFFSET_NOT_AVAILABLE") {
		t.Errorf("standard error has %q", text)
	}
	for _, final := range []error{kerr.InvalidTopicException, kerr.UnknownTopicOrPartition, kerr.UnknownTopicID, errors.New("other"), context.Canceled} {
		if err := quick.run(t.Context(), env, failing(final)); asked != 1 || !errors.Is(err, final) {
			t.Errorf("%v: asked %d times, then %v", final, asked, err)
		}
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if err := usualRetries.run(over, env, failing(kerr.OffsetNotAvailable)); !errors.Is(err, errInterrupted) || asked != 1 {
		t.Errorf("interrupted: asked %d times, then %v", asked, err)
	}
}
