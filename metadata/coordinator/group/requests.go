package group

import "time"

// JoinRequest asks for membership in the next generation of a group.
type JoinRequest struct {
	Group        string
	Member       string  // empty for one that has no id yet
	Instance     *string // of a static member (KIP-345)
	ClientID     string
	ClientHost   string
	ProtocolType string
	Protocols    []Protocol // best first
	Session      time.Duration
	Rebalance    time.Duration
	// NeedsID refuses a new member at first and gives it the id to come back with
	// (KIP-394), so that a client that gives up leaves no member behind.
	NeedsID bool
	// KnowsSkip is a client that understands JoinAnswer.SkipAssignment (KIP-814).
	KnowsSkip bool
}

// Protocol is a way to assign that a member knows, with what it wants under it.
type Protocol struct {
	Name     string
	Metadata []byte
}

// JoinAnswer is the generation that a member is in. Only Err and Member are set if
// it did not get in; Member is empty then if the id must not be used again.
type JoinAnswer struct {
	Err          error
	Member       string
	Generation   int32
	ProtocolType string
	Protocol     *string
	Leader       string
	Members      []Joined // for the leader
	// SkipAssignment tells a leader that its group has its assignments already.
	SkipAssignment bool
}

// Joined is a member as the leader sees it.
type Joined struct {
	Member   string
	Instance *string
	Metadata []byte
}

// SyncRequest asks for a member's assignment; the leader brings those of all.
type SyncRequest struct {
	Group        string
	Member       string
	Instance     *string
	Generation   int32
	ProtocolType *string // nil for a client too old to say
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

// Identity is who a request says it comes from.
type Identity struct {
	Group      string
	Member     string
	Instance   *string
	Generation int32
}

// Leaver is a member that leaves, or an instance id that is to be removed.
type Leaver struct {
	Member   string // empty: whoever has the instance id
	Instance *string
}

// CommitRequest commits offsets for a member, or, with generation -1 and no member
// id, for whoever keeps its offsets in a group without members.
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
	Keep        time.Duration // as long as the client wants it kept; negative: as the configuration says
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
