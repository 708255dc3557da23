package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// onlyReads is the reason for which a node of varve refuses something for good.
const onlyReads = "this node only reads (--roles fetch): use --bootstrap with the address of a node with the ingest role"

// advice says what to do about a broker's error code, whose own text does not
// say it. Where a command knows more, its error says so, and the code is not
// listed here.
var advice = map[*kerr.Error]string{
	kerr.UnknownServerError: "the broker's log says more",
	kerr.CorruptMessage:     "the records were damaged on the way to the broker; run it again",
	kerr.UnknownTopicOrPartition: `the topic has been deleted, or has no such partition; "varve topic describe" shows its partitions, ` +
		`"varve topic create" makes one`,
	kerr.UnknownTopicID:            `the topic has been deleted and perhaps created again; "varve topic list" shows those that exist`,
	kerr.LeaderNotAvailable:        `no node leads the partition now; "varve cluster status" shows the nodes`,
	kerr.NotLeaderForPartition:     `the leader of the partition is changing, or this node only reads; "varve cluster status" shows the nodes`,
	kerr.NotController:             `the broker knows of no node that writes metadata now; "varve cluster status" shows the nodes`,
	kerr.CoordinatorNotAvailable:   `the group has no coordinator now; "varve cluster status" shows the nodes`,
	kerr.CoordinatorLoadInProgress: "the group's coordinator is still reading its state; run it again in a moment",
	kerr.NotCoordinator:            "the group's coordinator is changing; run it again in a moment",
	kerr.OffsetNotAvailable:        "the broker does not know the offsets yet, or cannot read the bucket; its log says which",
	kerr.KafkaStorageError: `the broker cannot read the bucket, or something in it is damaged: its log says which, ` +
		`and "varve bucket verify" names the damaged objects and what to do`,
	kerr.RequestTimedOut: "the broker could not finish in time, and it may still be done: look before you run it again; " +
		`"varve cluster status" shows what is wrong`,
	kerr.MessageTooLarge: `a batch is larger than the topic takes: lower --batch-bytes, or raise max.message.bytes with "varve topic alter"`,
	kerr.InvalidTopicException: "a name of a topic has 1 to 249 letters, digits, dots, dashes and underscores, and is neither . nor ..; " +
		"topics that the broker keeps for itself (__consumer_offsets) cannot be written or altered",
	kerr.InvalidTimestamp: "a record is older than message.timestamp.before.max.ms of the topic allows, or further in the future than " +
		`message.timestamp.after.max.ms does; "varve topic describe" shows both, "varve topic alter" changes them`,
	kerr.InvalidRecord:                "the broker refuses a record; a compacted topic takes none without a key (--key-field, --key-separator)",
	kerr.UnsupportedCompressionType:   "the broker does not know this compression; choose another with --compression",
	kerr.OutOfOrderSequenceNumber:     "the broker has lost track of this producer; check which records are written before you run it again",
	kerr.InvalidProducerEpoch:         "the broker has lost track of this producer; check which records are written before you run it again",
	kerr.UnknownProducerID:            "the broker has lost track of this producer; check which records are written before you run it again",
	kerr.DuplicateSequenceNumber:      "the broker has these records already; check which records are written before you run it again",
	kerr.UnsupportedVersion:           "the broker is older than this command needs",
	kerr.InvalidGroupID:               "a group needs a name",
	kerr.InvalidSessionTimeout:        `the broker takes no --session-timeout of this length; "varve serve --group-min-session-timeout 1s" allows shorter ones`,
	kerr.GroupMaxSizeReached:          "the group has as many members as the broker allows; stop some, or read with another group",
	kerr.InconsistentGroupProtocol:    "the group's members cannot assign partitions as varve does (cooperative-sticky); read with another group",
	kerr.FencedInstanceID:             "another member of the group has the same static id",
	kerr.OffsetMetadataTooLarge:       "the text kept with the offsets is too long",
	kerr.InvalidCommitOffsetSize:      "these are too many offsets for one request; choose fewer with --topic",
	kerr.GroupSubscribedToTopic:       "members of the group read the topic; stop them first",
	kerr.PolicyViolation:              "the topic's configuration or the broker's policy forbids it, or " + onlyReads,
	kerr.TopicAuthorizationFailed:     "the broker wants credentials, which varve's commands cannot give yet",
	kerr.GroupAuthorizationFailed:     "the broker wants credentials, which varve's commands cannot give yet",
	kerr.ClusterAuthorizationFailed:   onlyReads + "; another broker wants credentials, which varve's commands cannot give yet",
	kerr.SaslAuthenticationFailed:     "the broker wants credentials, which varve's commands cannot give yet",
	kerr.InvalidReplicationFactor:     "the broker takes no replication factor of this size",
	kerr.NotEnoughReplicas:            "too few brokers of the cluster are up; try again when they are, or with --acks 1",
	kerr.NotEnoughReplicasAfterAppend: "too few brokers of the cluster are up; the records are written, and may be lost with a broker",
	kerr.ThrottlingQuotaExceeded:      "the broker has a quota; run it again later",
	kerr.TopicDeletionDisabled:        "the broker is set up to delete no topics (delete.topic.enable)",
	kerr.RecordListTooLarge:           "lower --batch-bytes",
	kerr.BrokerIDNotRegistered:        `the cluster has no such node; "varve node list" shows those that it has`,
}

// closedAtOnce replaces the client's guess that TLS or SASL is missing.
const closedAtOnce = "the broker closed the connection before it answered: it has too many connections, as its log then says " +
	`(--max-connections and --max-connections-per-address of "varve serve"), or it wants TLS or credentials, which varve's commands cannot give yet`

// worded is an error whose cause the broker has put in words.
type worded struct{ error }

func (w worded) Unwrap() error { return w.error }

// withMessage puts the broker's own message before the error code.
func withMessage(err error, message string) error {
	if message == "" || strings.Contains(err.Error(), message) {
		return err
	}
	return worded{fmt.Errorf("%s (%w)", strings.TrimSuffix(message, "."), err)}
}

// explain returns an error in one line, with advice where the broker sent only
// a code.
func explain(err error) string {
	text := oneLine(err)
	var guess *kgo.ErrFirstReadEOF
	if errors.As(err, &guess) {
		text = strings.ReplaceAll(text, guess.Error(), closedAtOnce)
	}
	var code *kerr.Error
	var said worded
	if !errors.As(err, &code) {
		return text
	}
	if errors.As(err, &said) { // the client's words for the code say less, or something else
		return strings.ReplaceAll(text, ": "+code.Description, "")
	}
	text = strings.ReplaceAll(text, code.Description, strings.TrimSuffix(code.Description, "."))
	if advice[code] == "" || strings.Contains(text, advice[code]) {
		return text
	}
	return text + "; " + advice[code]
}
