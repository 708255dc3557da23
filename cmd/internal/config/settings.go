package config

import (
	"strconv"
	"strings"
	"time"

	"github.com/varvelog/varve/metadata"
)

// setting is one row of the table: all properties of a setting.
type setting struct {
	name string // of the flag and of the key in the file
	def  string // as a user would write it; "" for none, or if derive computes it
	kind string // name of the value in the help
	doc  string
	set  func(s *Serve, text string) error
}

// env returns the name of the setting's environment variable.
func (st setting) env() string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(st.name, "-", "_"))
}

const (
	kib = int64(1) << 10
	mib = int64(1) << 20
	gib = int64(1) << 30
	tib = int64(1) << 40

	// maxRequest is the largest request a client may send. The request memory
	// has to hold one, or that client would wait forever.
	maxRequest = 100 * mib

	maxConnections = 1_000_000

	flushWindow = 4 // flushes of a journal under way at once
)

// settings is the table, in the order of the help and of --print-config.
var settings = []setting{
	{"data-dir", "./varve-data", "dir",
		"folder for write-ahead segments; one process at a time uses it",
		func(s *Serve, v string) error { return setPath(&s.DataDir, v) }},
	{"bucket", "", "url",
		"bucket that holds the log: file:///path, s3://bucket/prefix or minio://host:port/bucket/prefix (default file://<data-dir>/bucket)",
		func(s *Serve, v string) error { return setBucket(&s.Bucket, v) }},
	{"create-bucket", "false", "bool",
		"create the bucket when it does not exist (default true for the default bucket)",
		func(s *Serve, v string) error { return setBool(&s.CreateBucket, v) }},
	{"roles", "ingest,fetch,tiering", "list",
		"jobs of this process: any of ingest, fetch, tiering",
		func(s *Serve, v string) error { return setRoles(&s.Roles, v) }},
	{"listen", "127.0.0.1:9092", "list",
		"addresses for Kafka clients, each host:port or name=host:port; clients get the addresses of the listener that they ask",
		func(s *Serve, v string) error { return setListeners(&s.Listeners, v) }},
	{"advertise", "", "list",
		"addresses that clients connect to, each host:port or name=host:port with the name of a listener (default those of --listen)",
		func(s *Serve, v string) error { return setAdvertised(s.Listeners, v) }},
	{"inter-broker-listener", "", "name",
		"listener that other nodes connect to (default the first of --listen)",
		func(s *Serve, v string) error { return setInterBroker(s, v) }},
	{"http", "127.0.0.1:9080", "host:port",
		"address for /metrics, /healthz, /readyz, /status, /topics and /topics/deleted",
		func(s *Serve, v string) error { return setAddress(&s.HTTP, v) }},
	{"insecure-listen", "false", "bool",
		"listen on addresses other than loopback although there is no authentication",
		func(s *Serve, v string) error { return setBool(&s.InsecureListen, v) }},
	{"rack", "", "name",
		"rack of this node; consumers of the same rack read from it",
		func(s *Serve, v string) error { s.Rack = v; return nil }},
	{"archive", "false", "bool",
		"with --roles fetch: serve the bucket alone, as an archive that no other node knows; needs no other node",
		func(s *Serve, v string) error { return setBool(&s.Archive, v) }},
	{"nats", "embedded", "url",
		"announcements: embedded (in this process, no TCP port), embedded://host:port, or nats:// or tls:// with host:port[,host:port]",
		func(s *Serve, v string) error { return setNATS(&s.NATS, v) }},
	{"nats-cluster", "", "host:port",
		"address at which the embedded NATS of other nodes connects to that of this one",
		func(s *Serve, v string) error { return setOptionalAddress(&s.NATS.Cluster, v) }},
	{"nats-routes", "", "list",
		"host:port of --nats-cluster of other nodes, one of them or more; the same list serves all nodes",
		func(s *Serve, v string) error { return setRoutes(&s.NATS.Routes, v) }},
	{"nats-credentials", "", "file",
		"credentials for the NATS servers of --nats, as \"nsc\" writes them",
		func(s *Serve, v string) error { return setOptionalPath(&s.NATS.Credentials, v) }},
	{"nats-ca", "", "file",
		"certificates that those of the NATS servers of --nats are checked against, in PEM (default those of the system)",
		func(s *Serve, v string) error { return setOptionalPath(&s.NATS.CA, v) }},
	{"flush-interval", "250ms", "duration",
		"largest age of a record before it is flushed; one that a client waits for does not wait so long",
		func(s *Serve, v string) error { return setDuration(&s.FlushInterval, v, time.Millisecond, time.Minute) }},
	{"flush-bytes", "8MiB", "size",
		"bytes of records that start a flush at once",
		func(s *Serve, v string) error { return setSize(&s.FlushBytes, v, 64*kib, 16*mib) }},
	{"flush-puts-per-second", "auto", "number",
		"PUTs below 64KiB for clients that wait, acks=all and commits, on average: a number, unlimited, or auto, which is one in a --flush-interval at Amazon S3 and Cloudflare R2, and unlimited elsewhere",
		func(s *Serve, v string) error { return setPUTs(&s.FlushPUTs, v) }},
	{"journals", "1", "int",
		"data journals of a new cluster: twice as many as the ingest nodes that one plans for",
		func(s *Serve, v string) error { return setInt(&s.Journals, v, 1, metadata.MaxJournals) }},
	{"feature-level", strconv.Itoa(int(metadata.SupportedLevel)), "int",
		"highest feature level that this node takes part in",
		func(s *Serve, v string) error { return setInt(&s.FeatureLevel, v, 1, int32(metadata.LevelCluster)) }},
	{"checkpoint-objects", "256", "int",
		"objects of a journal from one checkpoint to the next: a start reads about as many, or some seven times as many if it finds no checkpoint",
		func(s *Serve, v string) error { return setInt(&s.CheckpointObjects, v, 8, 65536) }},
	{"auto-create-topics", "true", "bool",
		"create a topic when a client first asks for it",
		func(s *Serve, v string) error { return setBool(&s.AutoCreateTopics, v) }},
	{"default-partitions", "1", "int",
		"partitions of a topic created without a number",
		func(s *Serve, v string) error { return setInt(&s.DefaultPartitions, v, 1, 10_000) }},
	{"delete-grace", "72h", "duration",
		"how long a deleted topic can be restored with \"varve topic undelete\"; its records are deleted from the bucket afterwards",
		func(s *Serve, v string) error { return setDuration(&s.DeleteGrace, v, 0, 100*365*24*time.Hour) }},
	{"offsets-retention", "168h", "duration",
		"how long committed offsets are kept once their group has no members",
		func(s *Serve, v string) error {
			return setDuration(&s.OffsetsRetention, v, time.Minute, 100*365*24*time.Hour)
		}},
	{"group-initial-rebalance-delay", "3s", "duration",
		"how long the first rebalance of an empty consumer group waits for more members",
		func(s *Serve, v string) error { return setDuration(&s.GroupInitialDelay, v, 0, 10*time.Minute) }},
	{"group-min-session-timeout", "6s", "duration",
		"shortest session time-out that a member of a consumer group may ask for",
		func(s *Serve, v string) error { return setDuration(&s.GroupMinSession, v, time.Millisecond, time.Hour) }},
	{"group-max-session-timeout", "30m", "duration",
		"longest session time-out that a member of a consumer group may ask for",
		func(s *Serve, v string) error { return setDuration(&s.GroupMaxSession, v, time.Second, 24*time.Hour) }},
	{"group-max-size", "1000", "int",
		"most members of a consumer group",
		func(s *Serve, v string) error { return setInt(&s.GroupMaxSize, v, 1, 100_000) }},
	{"max-connections", "10000", "int",
		"client connections open at once; each takes a file descriptor; other nodes of the cluster get in beyond it",
		func(s *Serve, v string) error { return setInt(&s.MaxConnections, v, 1, maxConnections) }},
	{"max-connections-per-address", "", "int",
		"client connections open at once from one address; other nodes get in beyond it (default half of --max-connections)",
		func(s *Serve, v string) error { return setPerAddress(&s.MaxConnectionsPerAddress, v) }},
	{"request-memory", "256MiB", "size",
		"memory for requests in progress; when it is used up, no more is read from sockets",
		func(s *Serve, v string) error { return setSize(&s.RequestMemory, v, maxRequest, tib) }},
	{"fetch-sessions", "1000", "int",
		"fetch sessions kept at once, which let consumers of many idle partitions poll cheaply; others poll in full",
		func(s *Serve, v string) error { return setInt(&s.FetchSessions, v, 0, 100_000) }},
	{"cache-bytes", "512MiB", "size",
		"memory for data read from the bucket; a quarter of it is kept for reads far from the tail",
		func(s *Serve, v string) error { return setSize(&s.CacheBytes, v, 16*mib, tib) }},
	{"replay-gets", "16", "int",
		"GETs under way at once for reads far from the tail; fewer leave more of the store to other reads",
		func(s *Serve, v string) error { return setInt(&s.ReplayGets, v, 1, 1000) }},
	{"hedge-gets", "true", "bool",
		"send a GET of records again if the answer takes longer than 99 of 100 of its size do; this adds at most 2 in 100 GETs",
		func(s *Serve, v string) error { return setBool(&s.HedgeGets, v) }},
	{"tail-bytes", "64MiB", "size",
		"memory for the records flushed last",
		func(s *Serve, v string) error { return setSize(&s.TailBytes, v, mib, tib) }},
	{"wal-max-bytes", "10GiB", "size",
		"disk for records that are not in the bucket yet; when it is used up, no more is read from sockets",
		func(s *Serve, v string) error { return setSize(&s.WALMaxBytes, v, 64*mib, 1024*tib) }},
	{"retention-check", "1m", "duration",
		"time between two looks for records that have expired, and for topics that were deleted for good",
		func(s *Serve, v string) error {
			return setDuration(&s.RetentionCheck, v, 100*time.Millisecond, 24*time.Hour)
		}},
	{"merge-bytes", "240MiB", "size",
		"bytes of a journal that are merged at once",
		func(s *Serve, v string) error { return setSize(&s.MergeBytes, v, 16*kib, 256*mib) }},
	{"merge-age", "1h", "duration",
		"age at which fewer bytes of a journal are merged",
		func(s *Serve, v string) error { return setDuration(&s.MergeAge, v, time.Second, 7*24*time.Hour) }},
	{"merge-own-bytes", "32MiB", "size",
		"bytes of a partition that get a merged object of their own; fewer share objects with other partitions",
		func(s *Serve, v string) error { return setSize(&s.MergeOwnBytes, v, 4*kib, 64*mib) }},
	{"merge-join-age", "24h", "duration",
		"age at which small pieces of a partition in merged objects are joined",
		func(s *Serve, v string) error { return setDuration(&s.MergeJoinAge, v, time.Second, 365*24*time.Hour) }},
	{"merge-join-count", "48", "int",
		"small pieces of about the same size that are joined, at least",
		func(s *Serve, v string) error { return setInt(&s.MergeJoinCount, v, 2, 10_000) }},
	{"merge-join-own-bytes", "8MiB", "size",
		"bytes of joined pieces that get a merged object of their own",
		func(s *Serve, v string) error { return setSize(&s.MergeJoinOwnBytes, v, kib, 64*mib) }},
	{"merge-wait", "10m", "duration",
		"how long tiering waits for an object that is written anyway before it writes to an idle journal",
		func(s *Serve, v string) error { return setDuration(&s.MergeWait, v, 10*time.Millisecond, 24*time.Hour) }},
	{"replaced-grace", "1h", "duration",
		"how long objects stay in the bucket that merged ones have replaced; it spares readers a second look",
		func(s *Serve, v string) error { return setDuration(&s.ReplacedGrace, v, 0, 365*24*time.Hour) }},
	{"freed-grace", "72h", "duration",
		"how long objects stay in the bucket whose records were deleted, by users, by retention or with their topic",
		func(s *Serve, v string) error { return setDuration(&s.FreedGrace, v, 0, 365*24*time.Hour) }},
	{"unmerged-max-bytes", "16GiB", "size",
		"bytes of a journal that wait to be merged before producers are asked to slow down; with half as many they are merged without compressing them again",
		func(s *Serve, v string) error { return setSize(&s.UnmergedMaxBytes, v, mib, 1024*tib) }},
	{"compaction-memory", "128MiB", "size",
		"memory for the keys of a compaction; a partition with more keys is compacted in several passes",
		func(s *Serve, v string) error { return setSize(&s.CompactionMemory, v, mib, 64*gib) }},
	{"tiering-rate", "auto", "size",
		"bytes a second that tiering reads and writes: a size, unlimited, or auto, which is six times as much as is written to the journal, and at least 64MiB",
		func(s *Serve, v string) error { return setRate(&s.TieringRate, v) }},
	{"verify-rate", "1MiB", "size",
		"bytes a second of stored records that are read again to find damage, forever; 0 turns that off",
		func(s *Serve, v string) error { return setSize(&s.VerifyRate, v, 0, tib) }},
	{"pprof", "false", "bool",
		"serve profiles of this process under /debug/pprof/ of --http",
		func(s *Serve, v string) error { return setBool(&s.PProf, v) }},
	{"log-level", "info", "level",
		"least severe log lines shown: debug, info, warn or error",
		func(s *Serve, v string) error { return setLogLevel(&s.LogLevel, v) }},
	{"log-format", "text", "format",
		"log lines as text or json",
		func(s *Serve, v string) error { return setLogFormat(&s.LogFormat, v) }},
}

// removed are the settings of earlier versions that are no more, with the remedy.
var removed = map[string]string{
	"flush-early-bytes": "remove it: clients that wait get a flush without it, and flush-puts-per-second limits the PUTs",
}

// Removed reports whether a flag is a setting of an earlier version, and returns the
// remedy.
func Removed(flag string) (remedy string, ok bool) {
	remedy, ok = removed[flag]
	return remedy, ok
}

// hidden are settings that the help leaves out: they are for tests.
var hidden = []string{"feature-level"}

func lookup(name string) (setting, bool) {
	for _, st := range settings {
		if st.name == name {
			return st, true
		}
	}
	return setting{}, false
}
