package group

import "time"

// JoinRequest asks for membership in the next generation of a group.
type JoinRequest struct {
	Group        string
	Member       string  // empty for a member that has no id yet
	Instance     *string // of a static member (KIP-345)
	ClientID     string
	ClientHost   string
	ProtocolType string
	Protocols    []Protocol // best first
	Session      time.Duration
	Rebalance    time.Duration
	// NeedsID refuses a new member at first and gives it the id to come back
	// with (KIP-394), so that a client that gives up leaves no member behind.
	NeedsID bool
	// KnowsSkip: the client understands JoinAnswer.SkipAssignment (KIP-814).
	KnowsSkip bool
}

// Protocol is a way of assignment that a member knows, with its metadata for
// it.
type Protocol struct {
	Name     string
	Metadata []byte
}

// JoinAnswer is the generation that a member is in. After an error only Err and
// Member are set; Member is then empty if the id must not be used again.
type JoinAnswer struct {
	Err          error
	Member       string
	Generation   int32
	ProtocolType string
	Protocol     *string
	Leader       string
	Members      []Joined // for the leader
	// SkipAssignment: the leader's group has its assignments already.
	SkipAssignment bool
}

// Joined is a member as the leader sees it.
type Joined struct {
	Member   string
	Instance *string
	Metadata []byte
}

// SyncRequest asks for a member's assignment; the leader's brings those of all.
type SyncRequest struct {
	Group        string
	Member       string
	Instance     *string
	Generation   int32
	ProtocolType *string // nil for a client too old to send it
	Protocol     *string // likewise
	Assignments  map[string][]byte
}

// SyncAnswer is a member's assignment.
type SyncAnswer struct {
	Err          error
	ProtocolType string
	Protocol     *string
	Assignment   []byte
}

// Identity is the member that a request names as its sender.
type Identity struct {
	Group      string
	Member     string
	Instance   *string
	Generation int32
}

// Leaver is a member that leaves, or an instance id that is to be removed.
type Leaver struct {
	Member   string // empty: the member with the instance id
	Instance *string
}

// CommitRequest commits offsets for a member. With generation -1 and no member
// id it does so for a client that keeps its offsets in a group without members.
type CommitRequest struct {
	Identity
	Offsets []Commit
}

// Commit is one offset to commit.
type Commit struct {
	Topic       string
	TopicID     [16]byte
	Partition   int32
	Offset      int64
	LeaderEpoch int32
	Metadata    string
	Keep        time.Duration // retention that the client asks for; negative: that of the configuration
}

// TopicPartition names a partition.
type TopicPartition struct {
	Topic     string
	Partition int32
}

// Committed is a partition with its committed offset; nil if there is none.
type Committed struct {
	TopicPartition
	Offset *Offset
}
