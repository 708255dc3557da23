package testenv_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"go.uber.org/goleak"

	"github.com/varvelog/varve/testenv"
)

// The test binary plays varve, as TESTENV_ROLE says.
func TestMain(m *testing.M) {
	switch role := os.Getenv("TESTENV_ROLE"); role {
	case "":
		goleak.VerifyTestMain(m)
	case "environment":
		fmt.Println(strings.Join(os.Environ(), "\n"))
		fmt.Fprintln(os.Stderr, "done")
		os.Exit(4)
	default:
		os.Exit(playServe(role))
	}
}

// playServe listens as `varve serve` does, is ready at the second request, and
// ends at SIGTERM.
func playServe(role string) int {
	if role == "broken" {
		fmt.Println("no bucket")
		return 1
	}
	flags := flag.NewFlagSet("serve", flag.ExitOnError)
	listen := flags.String("listen", "", "")
	address := flags.String("http", "", "")
	dir := flags.String("data-dir", "", "")
	flags.Bool("verbose", false, "")
	if os.Args[1] != "serve" || flags.Parse(os.Args[2:]) != nil || *listen == "" {
		return 2
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)
	listener, err := net.Listen("tcp", *address)
	if err != nil {
		return 3
	}
	asked := 0
	server := http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if asked++; asked == 1 {
			http.Error(w, "not yet", http.StatusServiceUnavailable)
		}
	})}
	fmt.Println("data in", *dir)
	go server.Serve(listener)
	<-signals
	if role == "ends badly" {
		return 9
	}
	return 0
}

// fakeVarve makes the test binary the varve binary.
func fakeVarve(t *testing.T) {
	t.Helper()
	t.Setenv(testenv.BinaryVariable, os.Args[0])
}

// probe is a test that may fail or be skipped, inside of another that checks
// how.
type probe struct {
	testing.TB
	failed, skipped bool
	log             bytes.Buffer
	cleanups        []func()
}

func (p *probe) Helper()                 {}
func (p *probe) Cleanup(f func())        { p.cleanups = append(p.cleanups, f) }
func (p *probe) Failed() bool            { return p.failed }
func (p *probe) Logf(f string, a ...any) { fmt.Fprintf(&p.log, f+"\n", a...) }
func (p *probe) Error(a ...any)          { p.failed = true; fmt.Fprintln(&p.log, a...) }
func (p *probe) Errorf(f string, a ...any) {
	p.failed = true
	p.Logf(f, a...)
}
func (p *probe) Fatal(a ...any)            { p.Error(a...); panic(p) }
func (p *probe) Fatalf(f string, a ...any) { p.Errorf(f, a...); panic(p) }
func (p *probe) Skip(a ...any)             { p.skipped = true; fmt.Fprintln(&p.log, a...); panic(p) }
func (p *probe) Skipf(f string, a ...any)  { p.skipped = true; p.Logf(f, a...); panic(p) }

// try runs f as a test of its own and returns its outcome.
func try(t *testing.T, f func(t testing.TB)) *probe {
	t.Helper()
	p := &probe{TB: t}
	guard := func(f func()) {
		defer func() {
			if stopped := recover(); stopped != nil && stopped != any(p) {
				panic(stopped)
			}
		}()
		f()
	}
	guard(func() { f(p) })
	for i := len(p.cleanups) - 1; i >= 0; i-- {
		guard(p.cleanups[i])
	}
	return p
}

func gone(pid int) bool { return syscall.Kill(pid, 0) == syscall.ESRCH }

func TestNodeStartsStopsAndStartsAgainAtItsAddresses(t *testing.T) {
	fakeVarve(t)
	node := testenv.Varve{Args: []string{"--verbose"}, Env: []string{"TESTENV_ROLE=serve"}}.Start(t)
	if !strings.Contains(node.Log(), "data in "+node.DataDir) {
		t.Errorf("log %q lacks the data folder %s", node.Log(), node.DataDir)
	}
	addresses := node.Kafka + node.HTTP
	first := node.Pid()
	node.Stop(t)
	if !gone(first) {
		t.Error("Stop returned before the process was gone")
	}
	node.Restart(t)
	second := node.Pid()
	if node.Kafka+node.HTTP != addresses || second == first {
		t.Errorf("restarted as pid %d at %s %s", second, node.Kafka, node.HTTP)
	}
	node.Kill(t)
	if !gone(second) {
		t.Error("Kill returned before the process was gone")
	}
	if code := node.Wait(t); code != -1 {
		t.Errorf("exit code %d of a killed node", code)
	}
}

func TestNodeTakesAddressesThatTheTestGives(t *testing.T) {
	fakeVarve(t)
	kafka, web, dir := testenv.FreeAddr(t), testenv.FreeAddr(t), t.TempDir()
	node := testenv.Varve{Args: []string{"--listen", kafka, "--http=" + web, "--data-dir=" + dir},
		Env: []string{"TESTENV_ROLE=serve"}}.Start(t)
	if node.Kafka != kafka || node.HTTP != web || node.DataDir != dir {
		t.Errorf("node at %s, %s, %s", node.Kafka, node.HTTP, node.DataDir)
	}
}

func TestNoNodeOutlivesItsTest(t *testing.T) {
	fakeVarve(t)
	var node *testenv.Node
	p := try(t, func(t testing.TB) {
		node = testenv.Varve{Env: []string{"TESTENV_ROLE=serve"}}.Start(t)
	})
	if p.failed {
		t.Fatal(p.log.String())
	}
	if !gone(node.Pid()) {
		t.Error("the node lives on")
	}
}

func TestNodeThatDoesNotStartFailsTheTestWithItsLog(t *testing.T) {
	fakeVarve(t)
	p := try(t, func(t testing.TB) { testenv.Varve{Env: []string{"TESTENV_ROLE=broken"}}.Start(t) })
	if log := p.log.String(); !p.failed || !strings.Contains(log, "exit status 1") || !strings.Contains(log, "no bucket") {
		t.Errorf("failed %t, log:\n%s", p.failed, log)
	}
}

func TestNodeThatEndsByItselfFailsTheTest(t *testing.T) {
	fakeVarve(t)
	p := try(t, func(t testing.TB) {
		node := testenv.Varve{Env: []string{"TESTENV_ROLE=serve"}}.Start(t)
		if err := syscall.Kill(node.Pid(), syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		<-node.Done()
	})
	if log := p.log.String(); !p.failed || !strings.Contains(log, "ended by itself") {
		t.Errorf("failed %t, log:\n%s", p.failed, log)
	}
}

func TestStopFailsTheTestOnABadExitCode(t *testing.T) {
	fakeVarve(t)
	p := try(t, func(t testing.TB) {
		testenv.Varve{Env: []string{"TESTENV_ROLE=ends badly"}}.Start(t).Stop(t)
	})
	if log := p.log.String(); !p.failed || !strings.Contains(log, "exit status 9") {
		t.Errorf("failed %t, log:\n%s", p.failed, log)
	}
}

func TestRunGivesOutputAndExitCodeInACleanEnvironment(t *testing.T) {
	fakeVarve(t)
	for _, name := range []string{"VARVE_LISTEN", "AWS_PROFILE", "MINIO_ACCESS_KEY"} {
		t.Setenv(name, "of the user")
	}
	out := testenv.Varve{Env: []string{"TESTENV_ROLE=environment", "VARVE_RACK=r"}}.Run(t, time.Minute)
	if out.Code != 4 || string(out.Stderr) != "done\n" {
		t.Errorf("code %d, stderr %q", out.Code, out.Stderr)
	}
	if env := string(out.Stdout); strings.Contains(env, "of the user") || !strings.Contains(env, "VARVE_RACK=r\n") {
		t.Errorf("environment:\n%s", env)
	}
}

func TestRunKillsACommandThatTakesTooLong(t *testing.T) {
	fakeVarve(t)
	p := try(t, func(t testing.TB) {
		testenv.Varve{Args: []string{"serve", "--listen=x", "--http=" + testenv.FreeAddr(t)},
			Env: []string{"TESTENV_ROLE=serve"}}.Run(t, 500*time.Millisecond)
	})
	if log := p.log.String(); !p.failed || !strings.Contains(log, "did not end within") {
		t.Errorf("failed %t, log:\n%s", p.failed, log)
	}
}

func TestMissingThingsSkipTheTestAndAreNamed(t *testing.T) {
	if p := try(t, func(t testing.TB) { testenv.LookTool(t, "no-such-tool") }); !p.skipped || !strings.Contains(p.log.String(), "no-such-tool") {
		t.Errorf("LookTool: skipped %t, %s", p.skipped, &p.log)
	}
	if testing.Short() {
		t.Skip("with -short MinIO is skipped in any case")
	}
	for _, name := range []string{"VARVE_MINIO_BIN", "VARVE_TEST_MINIO"} {
		t.Setenv(name, "")
	}
	t.Setenv("HOME", t.TempDir())
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	if p := try(t, func(t testing.TB) { testenv.MinIO(t) }); !p.skipped || !strings.Contains(p.log.String(), "make minio") {
		t.Errorf("MinIO: skipped %t, %s", p.skipped, &p.log)
	}
}

func put(t testing.TB, s *testenv.MinIOServer, key string) {
	t.Helper()
	_, err := s.Client.PutObject(context.Background(), s.Bucket, key, strings.NewReader("x"), 1, minio.PutObjectOptions{})
	if err != nil {
		t.Fatal(err)
	}
}

func TestOwnMinIOStopsAndStartsAgain(t *testing.T) {
	s := testenv.OwnMinIO(t)
	put(t, s, "a")
	for _, end := range []func(testing.TB){s.Kill, s.Stop} {
		end(t)
		if _, err := net.Dial("tcp", s.Address); err == nil {
			t.Error("something listens at the address of a server that is down")
		}
		s.Restart(t)
		if _, err := s.Client.StatObject(context.Background(), s.Bucket, "a", minio.StatObjectOptions{}); err != nil {
			t.Errorf("after the restart: %v", err)
		}
	}
}

func TestSharedMinIOGivesEachTestABucketAndTakesItAway(t *testing.T) {
	own := testenv.OwnMinIO(t)
	t.Setenv("VARVE_TEST_MINIO", own.Address)
	t.Setenv("AWS_ACCESS_KEY_ID", own.AccessKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", own.SecretKey)
	var shared *testenv.MinIOServer
	p := try(t, func(t testing.TB) {
		shared = testenv.MinIO(t)
		put(t, shared, "left behind")
		if shared.Bucket == own.Bucket || shared.Bucket == testenv.MinIO(t).Bucket {
			t.Error("two tests share a bucket")
		}
		if want := "minio://" + own.Address + "/" + shared.Bucket + "/p?secure=false"; shared.URL("p") != want {
			t.Errorf("URL %s, want %s", shared.URL("p"), want)
		}
		shared.Kill(t)
	})
	if log := p.log.String(); !p.failed || strings.Count(log, "\n") != 1 || !strings.Contains(log, "OwnMinIO") {
		t.Errorf("killing a shared server: failed %t, log:\n%s", p.failed, log)
	}
	buckets, err := own.Client.ListBuckets(context.Background())
	if err != nil || len(buckets) != 1 || buckets[0].Name != own.Bucket {
		t.Errorf("buckets left: %v, %v", buckets, err)
	}
}
