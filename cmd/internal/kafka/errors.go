package kafka

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/varvelog/varve/cmd/internal/kafka/listener"
	"github.com/varvelog/varve/fetch"
	"github.com/varvelog/varve/ingest"
	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/metadata/coordinator"
	"github.com/varvelog/varve/metadata/coordinator/group"
	"github.com/varvelog/varve/metadata/membership"
	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/partlog"
)

// surface is the kind of answer that carries a code: clients retry different
// codes in different answers.
type surface int

const (
	onProduce   surface = iota // Produce partitions
	onFetch                    // Fetch partitions
	onOffsets                  // ListOffsets and OffsetForLeaderEpoch partitions
	onAdmin                    // topics and configs of administrative requests
	onGroups                   // requests to a group's coordinator
	onCommitted                // OffsetFetch
	onRecords                  // DeleteRecords partitions
	onPeers                    // requests of other nodes
	surfaces
)

// codesOf is the one place where errors become codes. A zero means that the
// error is not expected there, and is handled like an unknown one.
var codesOf = []struct {
	err   error
	codes [surfaces]*kerr.Error
}{
	{batch.ErrCorruptBatch, [surfaces]*kerr.Error{onProduce: kerr.CorruptMessage}},
	{batch.ErrTooLarge, [surfaces]*kerr.Error{onProduce: kerr.MessageTooLarge}},
	{batch.ErrTimestampType, [surfaces]*kerr.Error{onProduce: kerr.InvalidTimestamp}},
	{batch.ErrCodec, [surfaces]*kerr.Error{onProduce: kerr.UnsupportedCompressionType}},
	{batch.ErrInvalidRecord, [surfaces]*kerr.Error{onProduce: kerr.InvalidRecord}},
	{batch.ErrTimestamp, [surfaces]*kerr.Error{onProduce: kerr.InvalidTimestamp}},

	{errWalkMemory, [surfaces]*kerr.Error{onProduce: kerr.RequestTimedOut}},

	{ingest.ErrNotLeader, [surfaces]*kerr.Error{onProduce: kerr.NotLeaderForPartition, onRecords: kerr.NotLeaderForPartition}},
	{ingest.ErrClosed, [surfaces]*kerr.Error{onProduce: kerr.NotLeaderForPartition, onRecords: kerr.NotLeaderForPartition}},
	{ingest.ErrUnavailable, [surfaces]*kerr.Error{onProduce: kerr.RequestTimedOut, onRecords: kerr.RequestTimedOut}},
	{ingest.ErrNoRoom, [surfaces]*kerr.Error{onProduce: kerr.RequestTimedOut, onRecords: kerr.RequestTimedOut}},
	{ingest.ErrOutOfRange, [surfaces]*kerr.Error{onRecords: kerr.OffsetOutOfRange}},
	{partlog.ErrOutOfOrder, [surfaces]*kerr.Error{onProduce: kerr.OutOfOrderSequenceNumber}},
	{partlog.ErrProducerEpoch, [surfaces]*kerr.Error{onProduce: kerr.InvalidProducerEpoch}},
	{partlog.ErrDuplicateSequence, [surfaces]*kerr.Error{onProduce: kerr.DuplicateSequenceNumber}},

	{fetch.ErrOutOfRange, [surfaces]*kerr.Error{onFetch: kerr.OffsetOutOfRange, onOffsets: kerr.OffsetOutOfRange}},
	{fetch.ErrFencedEpoch, [surfaces]*kerr.Error{onFetch: kerr.FencedLeaderEpoch, onOffsets: kerr.FencedLeaderEpoch}},
	{fetch.ErrUnknownEpoch, [surfaces]*kerr.Error{onFetch: kerr.UnknownLeaderEpoch, onOffsets: kerr.UnknownLeaderEpoch}},
	{fetch.ErrUnknownPartition, [surfaces]*kerr.Error{onFetch: kerr.UnknownTopicOrPartition, onOffsets: kerr.UnknownTopicOrPartition}},
	{fetch.ErrStorage, [surfaces]*kerr.Error{onFetch: kerr.KafkaStorageError, onOffsets: kerr.KafkaStorageError}},
	{fetch.ErrNotReady, [surfaces]*kerr.Error{onFetch: kerr.OffsetNotAvailable, onOffsets: kerr.OffsetNotAvailable}},
	{fetch.ErrNotLeader, [surfaces]*kerr.Error{onFetch: kerr.NotLeaderForPartition, onOffsets: kerr.NotLeaderForPartition}},
	{fetch.ErrTimestamp, [surfaces]*kerr.Error{onOffsets: kerr.UnsupportedVersion}},

	{coordinator.ErrNotCoordinator, [surfaces]*kerr.Error{onGroups: kerr.NotCoordinator, onCommitted: kerr.NotCoordinator}},
	{coordinator.ErrLoading, [surfaces]*kerr.Error{onGroups: kerr.CoordinatorLoadInProgress, onCommitted: kerr.CoordinatorLoadInProgress}},
	{coordinator.ErrUnavailable, [surfaces]*kerr.Error{onGroups: kerr.CoordinatorNotAvailable, onCommitted: kerr.NotCoordinator}},
	{coordinator.ErrTooLarge, [surfaces]*kerr.Error{onGroups: kerr.UnknownServerError}},
	{group.ErrInvalidGroup, [surfaces]*kerr.Error{onGroups: kerr.InvalidGroupID, onCommitted: kerr.InvalidGroupID}},
	{group.ErrSessionTimeout, [surfaces]*kerr.Error{onGroups: kerr.InvalidSessionTimeout}},
	{group.ErrInconsistentProtocol, [surfaces]*kerr.Error{onGroups: kerr.InconsistentGroupProtocol}},
	{group.ErrMemberIDRequired, [surfaces]*kerr.Error{onGroups: kerr.MemberIDRequired}},
	{group.ErrUnknownMember, [surfaces]*kerr.Error{onGroups: kerr.UnknownMemberID}},
	{group.ErrFencedInstance, [surfaces]*kerr.Error{onGroups: kerr.FencedInstanceID}},
	{group.ErrIllegalGeneration, [surfaces]*kerr.Error{onGroups: kerr.IllegalGeneration}},
	{group.ErrRebalance, [surfaces]*kerr.Error{onGroups: kerr.RebalanceInProgress}},
	{group.ErrNoMemory, [surfaces]*kerr.Error{onGroups: kerr.CoordinatorNotAvailable}},
	{group.ErrGroupFull, [surfaces]*kerr.Error{onGroups: kerr.GroupMaxSizeReached}},
	{group.ErrNotFound, [surfaces]*kerr.Error{onGroups: kerr.GroupIDNotFound}},
	{group.ErrNotEmpty, [surfaces]*kerr.Error{onGroups: kerr.NonEmptyGroup}},
	{group.ErrSubscribed, [surfaces]*kerr.Error{onGroups: kerr.GroupSubscribedToTopic}},
	{group.ErrMetadataTooLarge, [surfaces]*kerr.Error{onGroups: kerr.OffsetMetadataTooLarge}},

	{membership.ErrMalformed, [surfaces]*kerr.Error{onPeers: kerr.InvalidRequest}},
	{membership.ErrInUse, [surfaces]*kerr.Error{onPeers: kerr.DuplicateBrokerRegistration}},
	{membership.ErrWrongAddress, [surfaces]*kerr.Error{onPeers: kerr.InvalidRegistration}},
	{metadata.ErrRemovedNode, [surfaces]*kerr.Error{onAdmin: kerr.BrokerIDNotRegistered, onPeers: kerr.BrokerIDNotRegistered}},
	{errReads, [surfaces]*kerr.Error{onPeers: kerr.ClusterAuthorizationFailed}},
	{errNoCluster, [surfaces]*kerr.Error{onPeers: kerr.UnsupportedVersion}},

	{errUnproved, [surfaces]*kerr.Error{onProduce: kerr.LeaderNotAvailable, onFetch: kerr.OffsetNotAvailable, onOffsets: kerr.OffsetNotAvailable, onAdmin: kerr.RequestTimedOut,
		onGroups: kerr.CoordinatorNotAvailable, onCommitted: kerr.NotCoordinator, onRecords: kerr.RequestTimedOut}},

	{metadata.ErrNotController, [surfaces]*kerr.Error{onAdmin: kerr.NotController, onPeers: kerr.NotController}},
	// Clients must not try again, or look for another broker that this one does
	// not list. Of such codes this is the one whose message Java's producer
	// shows.
	{metadata.ErrReadsOnly, [surfaces]*kerr.Error{onProduce: kerr.PolicyViolation, onAdmin: kerr.PolicyViolation,
		onGroups: kerr.PolicyViolation, onCommitted: kerr.PolicyViolation, onRecords: kerr.PolicyViolation}},
	{metadata.ErrUnavailable, [surfaces]*kerr.Error{onAdmin: kerr.RequestTimedOut}},
	{metadata.ErrTopicExists, [surfaces]*kerr.Error{onAdmin: kerr.TopicAlreadyExists}},
	{metadata.ErrUnknownTopic, [surfaces]*kerr.Error{onAdmin: kerr.UnknownTopicOrPartition}},
	{metadata.ErrInternalTopic, [surfaces]*kerr.Error{onProduce: kerr.InvalidTopicException, onAdmin: kerr.InvalidTopicException, onRecords: kerr.InvalidTopicException}},
	{metadata.ErrReservedName, [surfaces]*kerr.Error{onAdmin: kerr.InvalidTopicException}},
	{metadata.ErrInvalidName, [surfaces]*kerr.Error{onAdmin: kerr.InvalidTopicException}},
	{metadata.ErrInvalidPartitions, [surfaces]*kerr.Error{onAdmin: kerr.InvalidPartitions}},
	{metadata.ErrInvalidReplication, [surfaces]*kerr.Error{onAdmin: kerr.InvalidReplicationFactor}},
	{metadata.ErrInvalidConfig, [surfaces]*kerr.Error{onAdmin: kerr.InvalidConfig}},
	{metadata.ErrUnknownLevel, [surfaces]*kerr.Error{onAdmin: kerr.InvalidUpdateVersion, onPeers: kerr.UnsupportedVersion}},
	{metadata.ErrLowerLevel, [surfaces]*kerr.Error{onAdmin: kerr.InvalidUpdateVersion}},
	{metadata.ErrNoSecurity, [surfaces]*kerr.Error{onAdmin: kerr.SecurityDisabled}},
	{metadata.ErrInvalidACL, [surfaces]*kerr.Error{onAdmin: kerr.InvalidRequest}},
	{metadata.ErrTooManyACLs, [surfaces]*kerr.Error{onAdmin: kerr.PolicyViolation}},
	{metadata.ErrInvalidCredential, [surfaces]*kerr.Error{onAdmin: kerr.UnacceptableCredential}},
	{metadata.ErrUnknownUser, [surfaces]*kerr.Error{onAdmin: kerr.ResourceNotFound}},
	{metadata.ErrTooManyUsers, [surfaces]*kerr.Error{onAdmin: kerr.PolicyViolation}},
	{metadata.ErrUnknownNode, [surfaces]*kerr.Error{onAdmin: kerr.BrokerIDNotRegistered}},
	{metadata.ErrLastServing, [surfaces]*kerr.Error{onAdmin: kerr.PolicyViolation}},
	{metadata.ErrNodeInUse, [surfaces]*kerr.Error{onAdmin: kerr.PolicyViolation}},
	{metadata.ErrTooManyJournals, [surfaces]*kerr.Error{onAdmin: kerr.InvalidConfig}},
	{metadata.ErrFewerJournals, [surfaces]*kerr.Error{onAdmin: kerr.InvalidConfig}},
	{metadata.ErrInvalidAssignment, [surfaces]*kerr.Error{onAdmin: kerr.InvalidReplicaAssignment}},
}

// otherwise is the code of an error that is not in the table. Nothing is known
// of such an error, so the outcome is unknown too, and every client must try
// again: at UNKNOWN_SERVER_ERROR most of them would give the records up.
var otherwise = [surfaces]*kerr.Error{
	onProduce: kerr.RequestTimedOut,
	onFetch:   kerr.KafkaStorageError,
	onOffsets: kerr.OffsetNotAvailable,
	onAdmin:   kerr.RequestTimedOut,
	onGroups:  kerr.CoordinatorNotAvailable,
	onRecords: kerr.RequestTimedOut,
	onPeers:   kerr.RequestTimedOut,
	// Java consumers before 3.9 give up at any other code than this one. At
	// this one they look for the coordinator again, as they should.
	onCommitted: kerr.NotCoordinator,
}

// codeOf returns the code for err on a surface, 0 for nil. known is false if
// the table has no row for the error there.
func codeOf(err error, on surface) (code int16, known bool) {
	var c *codedError
	switch {
	case err == nil:
		return 0, true
	case errors.As(err, &c):
		return c.kafka.Code, true
	}
	for _, row := range codesOf {
		if k := row.codes[on]; k != nil && errors.Is(err, row.err) {
			return k.Code, true
		}
	}
	return otherwise[on].Code, errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// codes turns errors into codes.
type codes struct{ complaints *listener.Complaints }

// codeFor is codeOf, and logs errors without a row in the table.
func (c codes) codeFor(err error, on surface, doing string) int16 {
	code, known := codeOf(err, on)
	if !known {
		c.complaints.Warn("unforeseen "+doing, "unforeseen error; clients are asked to retry", "doing", doing, "error", err)
	}
	return code
}

// codedError is an error that the front finds itself, with its code.
type codedError struct {
	kafka *kerr.Error
	text  string
}

func coded(k *kerr.Error, format string, args ...any) error {
	return &codedError{kafka: k, text: fmt.Sprintf(format, args...)}
}

func (e *codedError) Error() string { return e.text }

// firstCode keeps the first error code of an answer, for metrics.
type firstCode int16

func (f *firstCode) note(code int16) int16 {
	if *f == 0 {
		*f = firstCode(code)
	}
	return code
}
