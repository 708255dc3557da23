// Package config resolves the configuration of `varve serve`.
//
// It owns one table of settings (name, default, help, parser) and the layers
// over it. A flag takes precedence over a VARVE_ environment variable. That
// takes precedence over the YAML file named by --config, and that over the
// default.
//
// It promises that every value remembers its source, and that an unknown key in
// the file or an unknown VARVE_ variable is an error. A Serve that it returns
// has passed every check: no caller validates again. It never opens a file
// other than --config, never touches the network, and holds no secrets: the
// bucket's credentials come from where the store's own tools look for them.
package config

import (
	"log/slog"
	"slices"
	"time"
)

// Role is one of the jobs a process does in the cluster.
type Role string

// The roles.
const (
	RoleIngest  Role = "ingest"  // leads journals and takes writes
	RoleFetch   Role = "fetch"   // follows journals and serves reads
	RoleTiering Role = "tiering" // merges, compacts and expires the records of its journals
)

// LogFormat is how log lines are written.
type LogFormat string

// The log formats.
const (
	LogText LogFormat = "text" // key=value
	LogJSON LogFormat = "json" // one object a line
)

// NATS selects the bus for announcements. The zero value is invalid: exactly
// one of Embedded and Servers is set.
type NATS struct {
	Embedded bool     // run a server in this process
	Listen   string   // host:port on which the embedded server also listens; "" for no TCP port
	Servers  []string // nats://host:port or tls://host:port of servers to connect to

	Cluster     string   // host:port on which the embedded server meets those of other nodes; "" for no TCP port
	Routes      []string // host:port of Cluster of other nodes
	Credentials string   // path of a credentials file for Servers; "" for none
	CA          string   // path of certificates that the servers' are checked against; "" for those of the system
}

// FlushPUTs is how many PUTs of few bytes a journal sends for clients that wait.
type FlushPUTs struct {
	Auto      bool    // as many as the store takes, or one in a FlushInterval where PUTs are billed
	PerSecond float64 // if not Auto; 0: as many as the store takes
}

// For returns the number in a second, on a store where each PUT is billed or not; 0: as
// many as the store takes.
func (p FlushPUTs) For(billed bool, interval time.Duration) float64 {
	switch {
	case !p.Auto:
		return p.PerSecond
	case billed:
		return 1 / interval.Seconds()
	}
	return 0
}

// Listener is an address for Kafka clients.
type Listener struct {
	Name      string // in capitals, as Kafka writes it
	Address   string // host:port; port 0 picks a free one
	Advertise string // host:port that clients connect to; "" for Address
}

// Rate is a number of bytes a second.
type Rate struct {
	Auto  bool
	Bytes int64 // 0: unlimited
}

// Serve is the validated configuration of `varve serve`.
type Serve struct {
	DataDir      string // absolute path
	Bucket       string // bucket URL
	CreateBucket bool   // create a missing bucket

	Roles []Role // at least one, no duplicates, in the order ingest, fetch, tiering

	Listeners      []Listener // for Kafka clients; at least one, with different names
	InterBroker    string     // name of the one that other nodes use
	HTTP           string     // host:port for metrics and health
	InsecureListen bool       // listen beyond loopback without authentication
	Rack           string     // KIP-392 rack of this node; "" is none
	Archive        bool       // read alone, and take part in no cluster

	NATS NATS

	Journals     int32 // data journals of a cluster that this node creates
	FeatureLevel int32 // the highest one that it takes part in

	CheckpointObjects int32 // of a journal, from one checkpoint to the next

	FlushInterval time.Duration
	FlushBytes    int64     // bytes of records that make a flush
	FlushPUTs     FlushPUTs // budget of flushes that clients wait for

	AutoCreateTopics  bool
	DefaultPartitions int32
	DeleteGrace       time.Duration // in which a deleted topic can be restored
	RetentionCheck    time.Duration // between two looks for records that are to be deleted

	OffsetsRetention  time.Duration // of offsets of groups that do not consume
	GroupInitialDelay time.Duration // of the first rebalance of an empty group
	GroupMinSession   time.Duration // bounds of members' session time-outs
	GroupMaxSession   time.Duration
	GroupMaxSize      int // members of a group

	MaxConnections           int
	MaxConnectionsPerAddress int
	RequestMemory            int64 // bytes of requests in progress at once
	FetchSessions            int   // fetch sessions kept at once
	CacheBytes               int64 // bytes of the cache
	ReplayGets               int   // GETs of reads far from the tail under way at once
	HedgeGets                bool  // send a slow GET of records a second time
	TailBytes                int64 // bytes of just flushed records kept in memory
	WALMaxBytes              int64 // bytes of unflushed write-ahead segments on disk

	MergeBytes        int64         // of a journal that are merged at once
	MergeAge          time.Duration // at which fewer are merged
	MergeOwnBytes     int64         // of a partition that get a merged object of their own
	MergeJoinAge      time.Duration // at which small pieces are joined
	MergeJoinCount    int           // how many are joined at least
	MergeJoinOwnBytes int64         // of joined pieces that get a merged object of their own
	MergeWait         time.Duration // for an object that is written anyway
	ReplacedGrace     time.Duration // of objects that merged ones have replaced
	FreedGrace        time.Duration // of objects whose records were deleted
	UnmergedMaxBytes  int64         // before producers are asked to slow down
	CompactionMemory  int64         // for the keys of a pass
	TieringRate       Rate          // of bytes that tiering moves
	VerifyRate        int64         // bytes a second; 0: nothing is verified in the background

	PProf bool // serve profiles on HTTP

	LogLevel  slog.Level
	LogFormat LogFormat
}

// HasRole reports whether the process has role r.
func (s *Serve) HasRole(r Role) bool { return slices.Contains(s.Roles, r) }
