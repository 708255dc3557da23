package integration

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/varvelog/varve/testenv"
	"github.com/varvelog/varve/tiering/segment"
)

// Exit codes of `varve serve`; see "varve help exit-codes".
const (
	again     = 1 // starting it again may help
	usage     = 2
	takenOver = 4
	permanent = 5
)

// wantRefusal wants `varve serve` to end with a code and one line that has all
// the words.
func wantRefusal(t *testing.T, v testenv.Varve, code int, words ...string) {
	t.Helper()
	out := refused(t, v)
	if out.Code != code {
		t.Errorf("exit code %d, want %d", out.Code, code)
	}
	wantLine(t, string(out.Stderr), words...)
}

// refused runs a node that must not start.
func refused(t *testing.T, v testenv.Varve) testenv.Output {
	t.Helper()
	given := map[string]bool{}
	for _, arg := range v.Args {
		name, _, _ := strings.Cut(arg, "=")
		given[name] = true
	}
	v.Args = append([]string{"serve"}, v.Args...)
	for name, value := range map[string]func() string{
		"--listen": func() string { return testenv.FreeAddr(t) }, "--http": func() string { return testenv.FreeAddr(t) },
		"--data-dir": t.TempDir,
	} {
		if !given[name] {
			v.Args = append(v.Args, name, value())
		}
	}
	out := v.Run(t, patience)
	if out.Code == 0 {
		t.Fatalf("varve %q ended with code 0:\n%s", v.Args, out.Stderr)
	}
	return out
}

// wantLine wants the last printed line to be the error, with all the words, and
// no other line but log lines.
func wantLine(t *testing.T, output string, words ...string) {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(output), "\n")
	last := lines[len(lines)-1]
	if !strings.HasPrefix(last, "varve: ") {
		t.Errorf("the last line is no error: %q", last)
	}
	for _, word := range words {
		if !strings.Contains(last, word) {
			t.Errorf("the error %q lacks %q", last, word)
		}
	}
	for _, line := range lines[:len(lines)-1] {
		if !strings.HasPrefix(line, "time=") {
			t.Errorf("a line that is no log line: %q", line)
		}
	}
	if strings.Contains(output, "goroutine ") {
		t.Errorf("a stack trace:\n%s", output)
	}
}

func TestWrongFlagsAndSettingsAreRefusedBeforeAnythingStarts(t *testing.T) {
	t.Parallel()
	b := fileBucket(t)
	for name, test := range map[string]struct {
		varve testenv.Varve
		words []string
	}{
		"unknown flag":           {b.varve("--flush-intervall", "1s"), []string{"flush-intervall", "help"}},
		"unknown key":            {b.varve("--config", writeFile(t, "flush-intervall: 1s\n")), []string{"flush-intervall", "not a setting"}},
		"unknown variable":       {testenv.Varve{Env: []string{"VARVE_FLUSH_INTERVALL=1s"}}, []string{"VARVE_FLUSH_INTERVALL"}},
		"config is no YAML":      {b.varve("--config", writeFile(t, "a: [\n")), []string{"file"}},
		"config is missing":      {b.varve("--config", t.TempDir()+"/none.yaml"), []string{"none.yaml"}},
		"open to the network":    {b.varve("--listen", "0.0.0.0:9092", "--advertise", "localhost:9092"), []string{"--insecure-listen"}},
		"open HTTP":              {b.varve("--http", "0.0.0.0:9080"), []string{"--insecure-listen"}},
		"wildcard":               {b.varve("--listen", "0.0.0.0:9092", "--insecure-listen"), []string{"--advertise"}},
		"unknown role":           {b.varve("--roles", "ingest,compute"), []string{"compute", "tiering"}},
		"unknown kind of bucket": {testenv.Varve{Args: []string{"--bucket", "ftp://x/y"}}, []string{"ftp", "minio://"}},
		"no duration":            {b.varve("--flush-interval", "20"), []string{"flush-interval", "unit"}},
		"argument":               {b.varve("now"), []string{"no arguments"}},
	} {
		t.Run(name, func(t *testing.T) { wantRefusal(t, test.varve, usage, test.words...) })
	}
}

func TestWhatIsInUseIsNamed(t *testing.T) {
	t.Parallel()
	b := fileBucket(t)
	node := b.start(t)
	other := fileBucket(t)
	wantRefusal(t, other.varve("--data-dir", node.DataDir), again, node.DataDir, "in use", "--data-dir")
	wantRefusal(t, other.varve("--listen", node.Kafka), again, node.Kafka, "in use", "--listen")
	wantRefusal(t, other.varve("--http", node.HTTP), again, node.HTTP, "in use", "--http")
	if status, _ := get(t, node, "/readyz"); status != http.StatusOK {
		t.Error("the node that was there first is not ready")
	}
	node.Stop(t)
}

func TestABucketThatIsNotThereIsNotMadeUnasked(t *testing.T) {
	t.Parallel()
	t.Run("file", func(t *testing.T) {
		t.Parallel()
		b := fileBucket(t)
		wantRefusal(t, testenv.Varve{Args: []string{"--bucket", b.url}}, permanent, b.folder, "--create-bucket")
		if _, err := os.Stat(b.folder); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the folder: %v", err)
		}
	})
	t.Run("MinIO", func(t *testing.T) {
		t.Parallel()
		b := minioBucket(t)
		missing := b.minio.Bucket + "-missing"
		b.url = strings.Replace(b.url, b.minio.Bucket, missing, 1)
		wantRefusal(t, b.varve(), permanent, missing, "--create-bucket")
		if there, err := b.minio.Client.BucketExists(deadline(t), missing); there || err != nil {
			t.Errorf("the bucket exists: %t, %v", there, err)
		}
	})
	t.Run("wrong credentials", func(t *testing.T) {
		t.Parallel()
		b := minioBucket(t)
		b.env = []string{"AWS_ACCESS_KEY_ID=nobody", "AWS_SECRET_ACCESS_KEY=wrong-secret"}
		wantRefusal(t, b.varve(), permanent, b.minio.Bucket)
	})
	t.Run("no server", func(t *testing.T) {
		t.Parallel()
		b := bucket{url: "minio://" + testenv.FreeAddr(t) + "/events?secure=false",
			env: []string{"AWS_ACCESS_KEY_ID=nobody", "AWS_SECRET_ACCESS_KEY=wrong-secret"}}
		wantRefusal(t, b.varve(), again, "connection refused")
	})
}

func TestABucketThatCannotBeWrittenIsRefusedByAWritingNode(t *testing.T) {
	t.Parallel()
	t.Run("new bucket", func(t *testing.T) {
		t.Parallel()
		b, p := behindProxy(t, minioBucket(t))
		p.set(readOnly)
		wantRefusal(t, b.varve(), permanent, "denied")
	})
	t.Run("bucket with a cluster", func(t *testing.T) {
		t.Parallel()
		b := minioBucket(t)
		b.start(t).Stop(t)
		limited, p := behindProxy(t, b)
		p.set(readOnly)
		wantRefusal(t, limited.varve(), permanent, "denied")
	})
	t.Run("folder", func(t *testing.T) {
		if os.Geteuid() == 0 {
			t.Skip("root may write everywhere")
		}
		t.Parallel()
		b := fileBucket(t)
		if err := os.Mkdir(b.folder, 0o500); err != nil {
			t.Fatal(err)
		}
		wantRefusal(t, b.varve(), permanent, b.folder, "permission denied")
	})
}

// forgetful answers like a store that ignores If-None-Match: a second create of
// the same object succeeds.
func forgetful(w http.ResponseWriter, r *http.Request, pass func(http.ResponseWriter)) {
	if r.Method != http.MethodPut {
		pass(w)
		return
	}
	answer := httptest.NewRecorder()
	pass(answer)
	if answer.Code != http.StatusOK && answer.Code != http.StatusPreconditionFailed {
		w.WriteHeader(answer.Code)
		return
	}
	w.Header().Set("ETag", `"0123456789abcdef0123456789abcdef"`)
}

func TestAStoreWithoutCreateIfAbsentIsRefused(t *testing.T) {
	t.Parallel()
	for name, before := range map[string]func(t *testing.T, b bucket){
		"new bucket":            func(*testing.T, bucket) {},
		"bucket with a cluster": func(t *testing.T, b bucket) { b.start(t).Stop(t) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := minioBucket(t)
			before(t, b)
			b, p := behindProxy(t, b)
			p.set(forgetful)
			wantRefusal(t, b.varve(), permanent, "create")
		})
	}
	t.Run("varve bucket probe", func(t *testing.T) {
		t.Parallel()
		b, p := behindProxy(t, minioBucket(t))
		probe := testenv.Varve{Args: []string{"bucket", "probe", "--bucket", b.url}, Env: b.env}
		if out := probe.Run(t, patience); out.Code != 0 {
			t.Errorf("a sound store: exit code %d: %s", out.Code, out.Stderr)
		}
		p.set(forgetful)
		if out := probe.Run(t, patience); out.Code != 1 {
			t.Errorf("a store without create-if-absent: exit code %d: %s", out.Code, out.Stderr)
		}
	})
}

func TestADataFolderOfAnotherClusterIsRefused(t *testing.T) {
	t.Parallel()
	b := fileBucket(t)
	node := b.start(t)
	node.Stop(t)
	other := fileBucket(t)
	other.start(t).Stop(t)
	before := other.objects(t)
	for _, roles := range []string{"ingest,fetch,tiering", "fetch"} {
		wantRefusal(t, other.varve("--data-dir", node.DataDir, "--roles", roles), permanent, node.DataDir, "cluster", "--bucket")
	}
	if after := other.objects(t); !slices.Equal(after, before) {
		t.Errorf("the other bucket had %v, has %v", before, after)
	}
}

// A bucket that is empty, or missing, cannot belong to the cluster of a data
// folder: a node writes nothing there before it knows that.
func TestADataFolderOfAClusterMakesNoOther(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, b bucket) {
		node := fileBucket(t).start(t)
		node.Stop(t)
		wantRefusal(t, b.varve("--data-dir", node.DataDir, "--create-bucket"), permanent, node.DataDir, "cluster", "--data-dir")
		if b.folder != "" {
			if _, err := os.Stat(b.folder); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("the bucket was made: %v", err)
			}
			if err := os.Mkdir(b.folder, 0o755); err != nil {
				t.Fatal(err)
			}
			wantRefusal(t, b.varve("--data-dir", node.DataDir), permanent, node.DataDir, "no cluster", "--bucket")
			if left := b.objects(t); len(left) > 0 {
				t.Errorf("the bucket was empty and has %v", left)
			}
		}
		b.start(t).Stop(t) // and a new data folder makes one
	})
}

func TestABucketOfAnotherFormatIsNotTouched(t *testing.T) {
	t.Parallel()
	sound := fileBucket(t)
	sound.start(t).Stop(t)
	for name, test := range map[string]struct {
		change func(t *testing.T, object []byte) []byte
		words  []string
	}{
		"newer object version": {func(_ *testing.T, b []byte) []byte {
			b[5]++
			return sealed(b)
		}, []string{"unsupported", "version 2"}},
		"newer feature level": {func(t *testing.T, b []byte) []byte {
			c, err := segment.DecodeCluster(b)
			if err != nil {
				t.Fatal(err)
			}
			c.Format++
			newer, err := segment.EncodeCluster(c)
			if err != nil {
				t.Fatal(err)
			}
			return newer
		}, []string{"feature level", "upgrade"}},
		"flipped bit": {func(_ *testing.T, b []byte) []byte { b[11] ^= 1; return b }, []string{"corrupt"}},
		"cut short":   {func(_ *testing.T, b []byte) []byte { return b[:40] }, []string{"corrupt"}},
		"empty":       {func(*testing.T, []byte) []byte { return nil }, []string{"corrupt"}},
		"other file":  {func(*testing.T, []byte) []byte { return []byte(strings.Repeat("no cluster object ", 10)) }, []string{"corrupt"}},
	} {
		t.Run(name, func(t *testing.T) {
			b := sound.copied(t)
			alter(t, filepath.Join(b.folder, "cluster"), func(object []byte) []byte { return test.change(t, object) })
			before := b.objects(t)
			for _, roles := range []string{"ingest", "fetch"} {
				wantRefusal(t, b.varve("--roles", roles), permanent, append(test.words, b.folder)...)
			}
			if after := b.objects(t); len(after) != len(before) {
				t.Errorf("the bucket has %d objects, had %d", len(after), len(before))
			}
		})
	}
}

// sealed renews the checksum that ends a small object.
func sealed(object []byte) []byte {
	end := len(object) - 4
	return binary.BigEndian.AppendUint32(object[:end], crc32.Checksum(object[:end], crc32.MakeTable(crc32.Castagnoli)))
}
