package miniod_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"go.uber.org/goleak"

	"github.com/varvelog/varve/testenv/miniod"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestFindLooksForThePinnedVersionInTheCacheFolder(t *testing.T) {
	t.Setenv(miniod.BinaryVariable, "")
	t.Setenv("HOME", t.TempDir())
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	_, err := miniod.Find()
	if err == nil || !regexp.MustCompile(`varve/minio-v0\.0\.0-\d{14}-[0-9a-f]{12}-\w+-\w+-[0-9a-f]{8}: `).MatchString(err.Error()) {
		t.Errorf("Find = %v, want an error with the path", err)
	}
}

func TestFindSaysHowToGetTheBinary(t *testing.T) {
	t.Setenv(miniod.BinaryVariable, "")
	t.Setenv("HOME", t.TempDir())
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	if _, err := miniod.Find(); !errors.Is(err, miniod.ErrNoBinary) || !strings.Contains(err.Error(), "make minio") {
		t.Errorf("Find = %v", err)
	}
	t.Setenv(miniod.BinaryVariable, "/no/such/file")
	if _, err := miniod.Find(); err == nil || errors.Is(err, miniod.ErrNoBinary) {
		t.Errorf("Find of a path that was given = %v, want another error: make minio would not help", err)
	}
}

func TestOutsideOfACloneFindSaysWhatToDo(t *testing.T) {
	t.Setenv(miniod.BinaryVariable, "")
	t.Chdir(t.TempDir())
	if _, err := miniod.Find(); err == nil || !strings.Contains(err.Error(), miniod.BinaryVariable) {
		t.Errorf("Find = %v", err)
	}
}

func TestFailedBuildLeavesNoBinaryAndGivesTheReason(t *testing.T) {
	t.Setenv(miniod.BinaryVariable, "")
	cache := t.TempDir()
	t.Setenv("HOME", cache)
	t.Setenv("XDG_CACHE_HOME", cache)
	t.Setenv("GOFLAGS", "-no-such-flag")
	noTelemetry(t)
	_, err := miniod.Build(context.Background(), io.Discard)
	if err == nil || !strings.Contains(err.Error(), "no-such-flag") {
		t.Errorf("Build = %v, want the go command's words", err)
	}
	if _, err := miniod.Find(); !errors.Is(err, miniod.ErrNoBinary) {
		t.Errorf("Find after a failed build = %v", err)
	}
	if left, err := filepath.Glob(filepath.Join(cache, "varve", "building-*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %q, %v", left, err)
	}
}

// noTelemetry keeps the go command from starting a process of its own for telemetry. It
// outlives the command, and writes below the home folder while that is removed.
func noTelemetry(t *testing.T) {
	config := t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", config)
	mode := filepath.Join(config, "go", "telemetry", "mode")
	if err := errors.Join(os.MkdirAll(filepath.Dir(mode), 0o755), os.WriteFile(mode, []byte("off"), 0o644)); err != nil {
		t.Fatal(err)
	}
}

func TestAddressMustBeFreeAndOnLoopback(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	for address, want := range map[string]string{
		"0.0.0.0:9000":           "not on loopback",
		"example.org:9000":       "not on loopback",
		"127.0.0.1":              "missing port",
		listener.Addr().String(): "in use",
	} {
		_, err := miniod.Start(context.Background(), miniod.Config{Binary: "/no/such/minio", Dir: t.TempDir(), Address: address})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Start on %s = %v, want %q", address, err, want)
		}
	}
}

func TestServerThatEndsAtOnceIsAnError(t *testing.T) {
	_, err := miniod.Start(context.Background(), miniod.Config{Binary: "/bin/false", Dir: t.TempDir()})
	if err == nil || !strings.Contains(err.Error(), "exit status 1") {
		t.Errorf("Start = %v", err)
	}
}

func startServer(t *testing.T) *miniod.Server {
	t.Helper()
	binary, err := miniod.Find()
	if err != nil || testing.Short() {
		t.Skipf("needs MinIO, and no -short: %v", err)
	}
	server, err := miniod.Start(context.Background(), miniod.Config{Binary: binary, Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Kill(); err != nil {
			t.Error(err)
		}
	})
	return server
}

func TestObjectsSurviveKillAndRestart(t *testing.T) {
	server := startServer(t)
	client, err := minio.New(server.Address(),
		&minio.Options{Creds: credentials.NewStaticV4(miniod.AccessKey, miniod.SecretKey, "")})
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	if err := client.MakeBucket(ctx, "kept", minio.MakeBucketOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.PutObject(ctx, "kept", "object", strings.NewReader("bytes"), 5, minio.PutObjectOptions{}); err != nil {
		t.Fatal(err)
	}
	for name, end := range map[string]func() error{"kill": server.Kill, "stop": server.Stop} {
		pid := server.Pid()
		if err := server.Restart(ctx); err == nil {
			t.Fatalf("a server that runs was started again")
		}
		if err := end(); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
			t.Errorf("%s returned before the process was gone: %v", name, err)
		}
		if err := server.Restart(ctx); err != nil {
			t.Fatal(err)
		}
		object, err := client.GetObject(ctx, "kept", "object", minio.GetObjectOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(object); err != nil || string(got) != "bytes" {
			t.Errorf("after %s: %q, %v", name, got, err)
		}
		if err := object.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestMinIOStaysOutOfTheModule(t *testing.T) {
	goMod, err := os.ReadFile(filepath.Join("..", "..", "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(goMod), "github.com/minio/minio ") {
		t.Error("go.mod requires the MinIO server, which is under the AGPL; it is run as a process only (see testenv/miniod)")
	}
}
