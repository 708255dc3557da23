package config_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/varvelog/varve/cmd/internal/config"
	"github.com/varvelog/varve/metadata"
)

// sources are the layers of one configuration.
type sources struct {
	flags   []string
	environ []string
	file    string // content
}

func (s sources) load(t *testing.T) (*config.Resolved, error) {
	t.Helper()
	fs := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	config.AddFlags(fs)
	if err := fs.Parse(s.flags); err != nil {
		t.Fatal(err)
	}
	path := ""
	if s.file != "" {
		path = filepath.Join(t.TempDir(), "varve.yaml")
		if err := os.WriteFile(path, []byte(s.file), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return config.Load(fs, s.environ, path)
}

func (s sources) mustLoad(t *testing.T) *config.Resolved {
	t.Helper()
	r, err := s.load(t)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func find(t *testing.T, r *config.Resolved, name string) config.Value {
	t.Helper()
	for _, v := range r.Values {
		if v.Name == name {
			return v
		}
	}
	t.Fatalf("no setting %q", name)
	return config.Value{}
}

// three valid values for every setting, all different from the default.
var samples = map[string][3]string{
	"data-dir":                      {"/a", "/b", "/c"},
	"bucket":                        {"file:///a", "minio://h:9000/b/p?secure=false", "s3://events/p?region=eu-west-1"},
	"create-bucket":                 {"true", "false", "true"},
	"roles":                         {"ingest", "fetch", "ingest,fetch"},
	"listen":                        {"127.0.0.1:1", "127.0.0.1:2", "[::1]:3"},
	"advertise":                     {"a:1", "b:2", "c:3"},
	"inter-broker-listener":         {"a", "b", "c"},
	"http":                          {"127.0.0.1:1", "127.0.0.1:2", "localhost:3"},
	"insecure-listen":               {"true", "false", "true"},
	"rack":                          {"a", "b", "c"},
	"archive":                       {"true", "false", "true"},
	"nats":                          {"tls://a:1", "embedded://127.0.0.1:2", "nats://a:1,b:2"},
	"nats-cluster":                  {"127.0.0.1:1", "127.0.0.1:2", "[::1]:3"},
	"nats-routes":                   {"a:1", "a:1,b:2", "[::1]:3"},
	"nats-credentials":              {"/a", "/b", "/c"},
	"nats-ca":                       {"/a", "/b", "/c"},
	"flush-interval":                {"1ms", "1s", "1m"},
	"flush-bytes":                   {"64KiB", "1MB", "16MiB"},
	"flush-puts-per-second":         {"unlimited", "4", "0.5"},
	"checkpoint-objects":            {"8", "100", "65536"},
	"auto-create-topics":            {"false", "true", "false"},
	"default-partitions":            {"2", "3", "10000"},
	"delete-grace":                  {"0", "24h", "876000h"},
	"offsets-retention":             {"1m", "24h", "876000h"},
	"group-initial-rebalance-delay": {"0s", "1s", "10m"},
	"group-min-session-timeout":     {"1ms", "1s", "10s"},
	"group-max-session-timeout":     {"10s", "1m", "24h"},
	"group-max-size":                {"1", "10", "100000"},
	"max-connections":               {"1", "2", "3"},
	"max-connections-per-address":   {"1", "2", "3"},
	"request-memory":                {"100MiB", "200MB", "1GiB"},
	"fetch-sessions":                {"0", "1", "100000"},
	"cache-bytes":                   {"16MiB", "17MiB", "1TiB"},
	"replay-gets":                   {"1", "8", "1000"},
	"hedge-gets":                    {"false", "true", "false"},
	"tail-bytes":                    {"1MiB", "2MiB", "3MiB"},
	"wal-max-bytes":                 {"64MiB", "65MiB", "1TiB"},
	"merge-bytes":                   {"16KiB", "1MiB", "256MiB"},
	"retention-check":               {"100ms", "5m", "24h"},
	"merge-age":                     {"1s", "1m", "168h"},
	"merge-own-bytes":               {"4KiB", "1MiB", "64MiB"},
	"merge-join-age":                {"1s", "1h", "8760h"},
	"merge-join-count":              {"2", "16", "10000"},
	"merge-join-own-bytes":          {"1KiB", "1MiB", "64MiB"},
	"merge-wait":                    {"10ms", "1s", "24h"},
	"replaced-grace":                {"0s", "1s", "24h"},
	"freed-grace":                   {"0s", "1s", "720h"},
	"unmerged-max-bytes":            {"1MiB", "1GiB", "1TiB"},
	"compaction-memory":             {"1MiB", "64MiB", "1GiB"},
	"tiering-rate":                  {"unlimited", "1MiB", "1GiB"},
	"verify-rate":                   {"0", "64KiB", "1GiB"},
	"journals":                      {"2", "3", "1024"},
	"feature-level":                 {"1", "3", "1"},
	"pprof":                         {"true", "false", "true"},
	"log-level":                     {"debug", "warn", "error"},
	"log-format":                    {"json", "text", "json"},
}

// others are flags that make a sample valid.
var others = map[string][]string{
	"inter-broker-listener": {"--listen=127.0.0.1:1,a=127.0.0.1:2,b=127.0.0.1:3,c=127.0.0.1:4"},
	"archive":               {"--roles=fetch"},
	"nats-routes":           {"--nats-cluster=127.0.0.1:6222"},
	"nats-credentials":      {"--nats=nats://a:1"},
	"nats-ca":               {"--nats=tls://a:1"},
}

func TestEverySettingGoesFlagEnvironmentFileDefault(t *testing.T) {
	all := sources{}.mustLoad(t)
	if len(all.Values) != len(samples) {
		t.Fatalf("%d settings, samples for %d", len(all.Values), len(samples))
	}
	for _, v := range all.Values {
		t.Run(v.Name, func(t *testing.T) {
			sample, ok := samples[v.Name]
			if !ok {
				t.Fatal("no samples")
			}
			if v.Source != "default" {
				t.Fatalf("source %q without any layer", v.Source)
			}
			env := "VARVE_" + strings.ToUpper(strings.ReplaceAll(v.Name, "-", "_"))
			s := sources{file: fmt.Sprintf("# comment\n%s: %q\n", v.Name, sample[0]), flags: others[v.Name]}
			check(t, s, v.Name, sample[0], "varve.yaml:2")
			s.environ = []string{"HOME=/x", env + "=" + sample[1], "VARVE_BOOTSTRAP=x:1"}
			check(t, s, v.Name, sample[1], "environment "+env)
			s.flags = append(others[v.Name], "--"+v.Name+"="+sample[2])
			check(t, s, v.Name, sample[2], "flag --"+v.Name)
		})
	}
}

// check resolves the layers, and checks that the reported value is the one in
// the struct: the same value from a flag alone has to give the same struct.
// struct has: the same value from a flag alone has to give the same struct.
func check(t *testing.T, s sources, name, value, source string) {
	t.Helper()
	r := s.mustLoad(t)
	v := find(t, r, name)
	if v.Value != value || !strings.HasSuffix(v.Source, source) {
		t.Fatalf("got %+v, want %q from %q", v, value, source)
	}
	alone := sources{flags: append(others[name], "--"+name+"="+value)}.mustLoad(t)
	if !reflect.DeepEqual(r.Serve, alone.Serve) {
		t.Fatalf("got %+v, want %+v", r.Serve, alone.Serve)
	}
	if base := (sources{flags: others[name]}).mustLoad(t); find(t, base, name).Value != value && reflect.DeepEqual(r.Serve, base.Serve) {
		t.Fatalf("%s=%s changes nothing in the struct", name, value)
	}
}

func TestDefaults(t *testing.T) {
	t.Chdir(t.TempDir())
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	want := config.Serve{
		DataDir: filepath.Join(dir, "varve-data"), Bucket: "file://" + dir + "/varve-data/bucket", CreateBucket: true,
		Roles: []config.Role{config.RoleIngest, config.RoleFetch, config.RoleTiering}, Listeners: []config.Listener{{Name: "PLAINTEXT", Address: "127.0.0.1:9092"}}, InterBroker: "PLAINTEXT",
		HTTP: "127.0.0.1:9080", NATS: config.NATS{Embedded: true},
		FlushInterval: 250 * time.Millisecond, FlushBytes: 8 << 20, FlushPUTs: config.FlushPUTs{Auto: true}, CheckpointObjects: 256, Journals: 1, FeatureLevel: int32(metadata.SupportedLevel),
		AutoCreateTopics: true, DefaultPartitions: 1, MaxConnections: 10_000,
		DeleteGrace: 72 * time.Hour, RetentionCheck: time.Minute, OffsetsRetention: 7 * 24 * time.Hour, GroupInitialDelay: 3 * time.Second, GroupMinSession: 6 * time.Second, GroupMaxSession: 30 * time.Minute,
		GroupMaxSize: 1000, MaxConnectionsPerAddress: 5000,
		RequestMemory: 256 << 20, FetchSessions: 1000, CacheBytes: 512 << 20, ReplayGets: 16, HedgeGets: true, TailBytes: 64 << 20, WALMaxBytes: 10 << 30,
		MergeBytes: 240 << 20, MergeAge: time.Hour, MergeOwnBytes: 32 << 20, MergeJoinAge: 24 * time.Hour, MergeJoinCount: 48, MergeJoinOwnBytes: 8 << 20, MergeWait: 10 * time.Minute,
		ReplacedGrace: time.Hour, FreedGrace: 72 * time.Hour, UnmergedMaxBytes: 16 << 30, CompactionMemory: 128 << 20, TieringRate: config.Rate{Auto: true}, VerifyRate: 1 << 20,
		LogLevel: slog.LevelInfo, LogFormat: config.LogText,
	}
	if got := (sources{}).mustLoad(t).Serve; !reflect.DeepEqual(got, want) {
		t.Fatalf("got  %+v\nwant %+v", got, want)
	}
}

func TestOnlyTheDefaultBucketIsCreatedUnasked(t *testing.T) {
	for _, tc := range []struct {
		flags []string
		want  bool
	}{
		{nil, true},
		{[]string{"--create-bucket=false"}, false},
		{[]string{"--bucket", "file:///b"}, false},
		{[]string{"--bucket", "file:///b", "--create-bucket"}, true},
	} {
		if got := (sources{flags: tc.flags}).mustLoad(t).Serve.CreateBucket; got != tc.want {
			t.Errorf("%v: create %v, want %v", tc.flags, got, tc.want)
		}
	}
}

func TestTheDefaultBucketFollowsTheDataFolder(t *testing.T) {
	r := sources{flags: []string{"--data-dir", "/x/50% ?#y"}}.mustLoad(t)
	if want := "file:///x/50%25%20%3F%23y/bucket"; r.Serve.Bucket != want {
		t.Fatalf("got %q, want %q", r.Serve.Bucket, want)
	}
}

func TestOneAddressGetsHalfOfTheConnections(t *testing.T) {
	for _, tc := range []struct {
		flags []string
		want  int
	}{
		{nil, 5000},
		{[]string{"--max-connections=1"}, 1},
		{[]string{"--max-connections=7"}, 4},
		{[]string{"--max-connections=7", "--max-connections-per-address=7"}, 7},
	} {
		if got := (sources{flags: tc.flags}).mustLoad(t).Serve.MaxConnectionsPerAddress; got != tc.want {
			t.Errorf("%v: %d, want %d", tc.flags, got, tc.want)
		}
	}
}

func TestRolesKeepOneOrder(t *testing.T) {
	for _, s := range []sources{
		{flags: []string{"--roles", "fetch, ingest"}},
		{file: "roles: [fetch, ingest]\n"},
		{file: "roles:\n  - fetch\n  - ingest\n"},
	} {
		r := s.mustLoad(t)
		if want := []config.Role{config.RoleIngest, config.RoleFetch}; !reflect.DeepEqual(r.Serve.Roles, want) {
			t.Fatalf("got %v, want %v", r.Serve.Roles, want)
		}
		if !r.Serve.HasRole(config.RoleFetch) || r.Serve.HasRole(config.RoleTiering) {
			t.Fatalf("HasRole contradicts %v", r.Serve.Roles)
		}
	}
}

func TestBadValuesSayWhatToDo(t *testing.T) {
	for _, tc := range []struct {
		flags string // separated by blanks
		want  string
	}{
		{"--data-dir=", "name a folder"},
		{"--bucket=gs://b/p", "s3://"},
		{"--create-bucket=yes", "true or false"},
		{"--roles=", "ingest, fetch, tiering"},
		{"--roles=ingest,cook", `no role is called "cook"`},
		{"--roles=fetch,fetch", "twice"},
		{"--roles=tiering", "add ingest"},
		{"--http=0.0.0.0:80", "--insecure-listen"},
		{"--http=127.0.0.1:9092", "--listen as well"},
		{"--nats=embedded://0.0.0.0:4222", "--insecure-listen"},
		{"--nats=embedded://127.0.0.1:9080", "--http as well"},
		{"--nats=nats://user:secret@h:4222", "embedded://host:port"},
		{"--nats=nats://", "embedded://host:port"},
		{"--nats=nats://h", "embedded://host:port"},
		{"--nats=nats://h:0", "embedded://host:port"},
		{"--nats=h:4222", "embedded://host:port"},
		{"--nats=embedded://", "host:port"},
		{"--archive", "--roles fetch"},
		{"--nats=tls://a:1,nats://b:2", "tls://host:port"},
		{"--nats-cluster=0.0.0.0:6222", "--insecure-listen"},
		{"--nats-cluster=127.0.0.1:9080", "--http as well"},
		{"--nats-cluster=127.0.0.1:6222 --nats=nats://a:1", "--nats=embedded"},
		{"--nats-routes=a:6222", "--nats-cluster"},
		{"--nats-routes=a --nats-cluster=127.0.0.1:6222", "10.0.0.1:6222"},
		{"--nats-credentials=/a", "--nats"},
		{"--nats-ca=/a", "--nats"},
		{"--nats-ca=/a --nats=nats://a:1", "tls://host:port"},
		{"--flush-interval=0s", "1ms to 1m0s"},
		{"--flush-interval=61s", "1ms to 1m0s"},
		{"--flush-interval=250", "with a unit"},
		{"--flush-bytes=65535", "64KiB to 16MiB"},
		{"--flush-bytes=17MiB", "64KiB to 16MiB"},
		{"--flush-puts-per-second=0", "0.01 to 10000"},
		{"--flush-puts-per-second=NaN", "auto, unlimited"},
		{"--flush-puts-per-second=4/s", "auto, unlimited"},
		{"--flush-bytes=-8MiB", "8MiB, 64MB"},
		{"--flush-bytes=99999999999EiB", "8MiB, 64MB"},
		{"--auto-create-topics=1", "true or false"},
		{"--default-partitions=0", "1 to 10000"},
		{"--default-partitions=4294967297", "1 to 10000"},
		{"--max-connections=many", "whole number"},
		{"--max-connections-per-address=0", "1 to 1000000"},
		{"--group-max-size=0", "1 to 100000"},
		{"--group-max-session-timeout=2s --group-min-session-timeout=3s", "--group-min-session-timeout"},
		{"--request-memory=64MiB", "100MiB"},
		{"--cache-bytes=0", "16MiB"},
		{"--tail-bytes=0", "1MiB"},
		{"--wal-max-bytes=1MiB", "64MiB"},
		{"--log-level=loud", "debug, info, warn or error"},
		{"--log-format=xml", "text or json"},
	} {
		refuses(t, tc.flags, tc.want)
	}
}

func TestFlushPUTsHaveALimitWhereTheyAreBilled(t *testing.T) {
	for _, tc := range []struct {
		flags  string
		billed bool
		want   float64
	}{
		{"--flush-interval=250ms", true, 4},
		{"--flush-interval=250ms", false, 0},
		{"--flush-interval=2s --flush-puts-per-second=auto", true, 0.5},
		{"--flush-puts-per-second=unlimited", true, 0},
		{"--flush-puts-per-second=7", true, 7},
		{"--flush-puts-per-second=7", false, 7},
	} {
		s := sources{flags: strings.Split(tc.flags, " ")}.mustLoad(t).Serve
		if got := s.FlushPUTs.For(tc.billed, s.FlushInterval); got != tc.want {
			t.Errorf("%s, billed %v: %v a second, want %v", tc.flags, tc.billed, got, tc.want)
		}
	}
}

func TestListeningElsewhereWithConsentIsAccepted(t *testing.T) {
	for _, flags := range []string{
		"--listen=0.0.0.0:9092 --advertise=h:9092 --insecure-listen",
		"--listen=10.0.0.1:9092 --insecure-listen",
		"--listen=localhost:9092",
		"--listen=[::1]:9092",
		"--listen=127.8.8.8:0 --http=127.8.8.8:0",
		"--http=:9080 --insecure-listen",
	} {
		if _, err := (sources{flags: strings.Split(flags, " ")}).load(t); err != nil {
			t.Errorf("%s: %v", flags, err)
		}
	}
}

func TestUnknownNamesAreErrorsWithTheNearestOne(t *testing.T) {
	for _, tc := range []struct {
		sources
		want string
	}{
		{sources{environ: []string{"VARVE_FLUSH_INTERVALL=1s"}}, "the nearest is VARVE_FLUSH_INTERVAL:"},
		{sources{environ: []string{"VARVE_LISTENER=x"}}, "the nearest is VARVE_LISTEN:"},
		{sources{environ: []string{"VARVE_="}}, "not a setting"},
		{sources{file: "rack: a\nflush_interval: 1s\n"}, `varve.yaml:2: "flush_interval" is not a setting; the nearest is "flush-interval"`},
		{sources{file: "rack: a\nflush-early-bytes: 64KiB\n"}, "varve.yaml:2: flush-early-bytes is not a setting any more; remove it"},
		{sources{environ: []string{"VARVE_FLUSH_EARLY_BYTES=64KiB"}}, "VARVE_FLUSH_EARLY_BYTES is not a setting any more; remove it"},
		{sources{file: "rack: a\nrack: b\n"}, "varve.yaml:2: rack is set twice"},
	} {
		if _, err := tc.load(t); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("got %v, want %q", err, tc.want)
		}
	}
}

func TestBadFilesSayWhatIsWrong(t *testing.T) {
	for file, want := range map[string]string{
		"- a\n":                           "not a mapping",
		"just text\n":                     "not a mapping",
		"rack:\n":                         "has no value",
		"rack: {a: b}\n":                  "plain value",
		"roles: [[a]]\n":                  "plain values",
		"rack: [unclosed\n":               "read --config",
		"rack: a\n---\nrack: b\n":         "more than one YAML document",
		"flush-interval: 0s\n":            "varve.yaml:1): out of bounds",
		strings.Repeat("# long\n", 1<<18): "larger than 1MiB",
	} {
		_, err := sources{file: file}.load(t)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%.30q: got %v, want %q", file, err, want)
		}
	}
}

func TestAFileOfCommentsSetsNothing(t *testing.T) {
	want := sources{}.mustLoad(t)
	if got := (sources{file: "# nothing\n"}).mustLoad(t); !reflect.DeepEqual(got, want) {
		t.Fatalf("got %+v", got)
	}
}

func TestVariablesOfKubernetesAreNoSettings(t *testing.T) {
	environ := []string{
		"VARVE_TEST_MINIO=127.0.0.1:9000", "VARVE_BIN=bin/varve",
		"VARVE_SERVICE_HOST=10.0.0.1", "VARVE_SERVICE_PORT=9092", "VARVE_SERVICE_PORT_KAFKA=9092", "VARVE_PORT=tcp://10.0.0.1:9092",
		"VARVE_PORT_9092_TCP=tcp://10.0.0.1:9092", "VARVE_PORT_9092_TCP_PROTO=tcp", "VARVE_PORT_9092_TCP_PORT=9092",
		"VARVE_PORT_9092_TCP_ADDR=10.0.0.1", "VARVE_HEADLESS_SERVICE_HOST=x", "VARVE_HEADLESS_PORT_80_TCP=x",
	}
	want := sources{}.mustLoad(t)
	if got := (sources{environ: environ}).mustLoad(t); !reflect.DeepEqual(got, want) {
		t.Fatalf("got %+v", got)
	}
}

func TestPrintedYAMLIsAFileThatSetsTheSame(t *testing.T) {
	for _, flags := range [][]string{nil, {"--rack", "null"}, {"--rack", "a: b # c", "--roles", "fetch", "--default-partitions", "7"}} {
		r := sources{flags: flags}.mustLoad(t)
		var out bytes.Buffer
		if err := r.Print(&out, "yaml"); err != nil {
			t.Fatal(err)
		}
		again := sources{file: out.String()}.mustLoad(t)
		if !reflect.DeepEqual(again.Serve, r.Serve) {
			t.Fatalf("got %+v\nwant %+v\nfrom\n%s", again.Serve, r.Serve, out.String())
		}
	}
}

func TestPrintKnowsItsFormats(t *testing.T) {
	r := sources{flags: []string{"--rack", "r1"}}.mustLoad(t)
	for format, want := range map[string]string{
		"table": "rack                           r1 ",
		"json":  "\"name\": \"rack\",\n    \"value\": \"r1\",\n    \"source\": \"flag --rack\"",
		"yaml":  "rack: r1 # flag --rack",
	} {
		var out bytes.Buffer
		if err := r.Print(&out, format); err != nil || !strings.Contains(out.String(), want) {
			t.Errorf("%s: %v, no %q in\n%s", format, err, want, out.String())
		}
	}
	if err := r.Print(&bytes.Buffer{}, "toml"); err == nil {
		t.Error("toml: accepted")
	}
}
