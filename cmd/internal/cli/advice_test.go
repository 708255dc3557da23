package cli

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// saidElsewhere are codes that need no advice: the broker always explains them
// in words, the command does, or the client deals with them itself.
var saidElsewhere = []*kerr.Error{
	kerr.InvalidRequest, kerr.InvalidConfig, kerr.InvalidPartitions, kerr.InvalidReplicaAssignment, kerr.InvalidUpdateVersion, // the broker
	kerr.TopicAlreadyExists, kerr.OffsetOutOfRange, kerr.NonEmptyGroup, kerr.GroupIDNotFound, // the command
	kerr.FencedLeaderEpoch, kerr.UnknownLeaderEpoch, kerr.FetchSessionIDNotFound, kerr.InvalidFetchSessionEpoch, kerr.FetchSessionTopicIDError, // the client
	kerr.MemberIDRequired, kerr.IllegalGeneration, kerr.UnknownMemberID, kerr.RebalanceInProgress,
	kerr.TransactionalIDAuthorizationFailed, kerr.InvalidTxnState, kerr.UnsupportedEndpointType, // no command asks for
	kerr.SecurityDisabled, kerr.ElectionNotNeeded, kerr.InvalidRequiredAcks,
	kerr.DuplicateBrokerRegistration, kerr.InvalidRegistration, // only nodes ask for
	kerr.UnsupportedSaslMechanism, kerr.IllegalSaslState, kerr.ResourceNotFound, kerr.DuplicateResource, kerr.UnacceptableCredential, // no command asks yet
}

// TestEveryCodeOfTheBrokerComesWithAdvice reads from the source which codes
// varve's nodes answer with.
func TestEveryCodeOfTheBrokerComesWithAdvice(t *testing.T) {
	files, err := filepath.Glob("../kafka/*.go")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	used := map[string]bool{}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		for _, m := range regexp.MustCompile(`kerr\.([A-Z]\w+)`).FindAllSubmatch(text, -1) {
			used[strings.ToLower(string(m[1]))] = true
		}
	}
	found := 0
	for code := int16(-1); code < 200; code++ {
		var e *kerr.Error
		if !errors.As(kerr.ErrorForCode(code), &e) || e.Code != code || !used[strings.ToLower(strings.ReplaceAll(e.Message, "_", ""))] {
			continue
		}
		found++
		if advice[e] == "" != slices.Contains(saidElsewhere, e) {
			t.Errorf("%s needs advice, or a place in saidElsewhere, and not both", e.Message)
		}
	}
	if found < 40 {
		t.Fatalf("found %d codes in %d files", found, len(files))
	}
}

func TestAdviceIsGivenOnceAndNotAgainstTheBroker(t *testing.T) {
	plain := fmt.Errorf("topic %q: %w", "t", kerr.InvalidTimestamp)
	for _, words := range []string{`topic "t": INVALID_TIMESTAMP`, "message.timestamp.before.max.ms", "message.timestamp.after.max.ms", "varve topic describe"} {
		if !strings.Contains(explain(plain), words) {
			t.Errorf("no %q in %s", words, explain(plain))
		}
	}
	if again := explain(fmt.Errorf("%s (%w)", explain(plain), kerr.InvalidTimestamp)); strings.Count(again, "before.max.ms") != 1 {
		t.Errorf("twice: %s", again)
	}
	if said := explain(withMessage(kerr.InvalidTopicException, "a blank is not allowed.")); said != "a blank is not allowed (INVALID_TOPIC_EXCEPTION)" {
		t.Errorf("got %s", said)
	}
	if said := explain(withMessage(kerr.InvalidTopicException, "")); !strings.Contains(said, "249 letters") {
		t.Errorf("got %s", said)
	}
}

func TestATopicThatCannotBeLookedUpIsNamedOnce(t *testing.T) {
	client, err := kgo.NewClient()
	if err != nil {
		t.Fatal(err)
	}
	client.Close()
	_, err = lookUpTopic(t.Context(), &Env{}, client, "t")
	if err == nil || strings.Count(err.Error(), "look up topic") != 1 {
		t.Errorf("got %v", err)
	}
}
