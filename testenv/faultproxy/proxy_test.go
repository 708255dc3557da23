package faultproxy

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// store is an object store of one key, which counts the requests.
type store struct {
	mu     sync.Mutex
	object []byte
	host   string
	puts   int
	cut    int // PUTs whose body broke off
	gets   int
	took   chan struct{} // one for each PUT
}

func (s *store) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.host = r.Host
	switch {
	case r.Method == http.MethodPut && err != nil:
		s.cut++
	case r.Method == http.MethodPut:
		s.object = body
		s.puts++
		select {
		case s.took <- struct{}{}:
		default:
		}
	case s.object == nil:
		http.NotFound(w, r)
	default:
		s.gets++
		w.Header().Set("ETag", `"x"`)
		_, _ = w.Write(s.object)
	}
}

func (s *store) count() (puts, cut, gets int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.puts, s.cut, s.gets
}

type env struct {
	*Proxy
	store  *store
	client *http.Client
}

func start(t *testing.T) *env {
	t.Helper()
	s := &store{took: make(chan struct{}, 10)}
	backend := httptest.NewServer(s)
	t.Cleanup(backend.Close)
	p, err := Start(backend.Listener.Addr().String(), 1)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return &env{p, s, &http.Client{Transport: transport, Timeout: 20 * time.Second}}
}

var content = bytes.Repeat([]byte("0123456789"), 1000)

// do returns the answer's status and body. The body may be cut.
func (e *env) do(t *testing.T, method string) (int, []byte, error) {
	t.Helper()
	var body io.Reader
	if method == http.MethodPut {
		body = bytes.NewReader(content)
	}
	request, err := http.NewRequestWithContext(context.Background(), method, "http://"+e.Address()+"/bucket/key?x=%2F", body)
	if err != nil {
		t.Fatal(err)
	}
	response, err := e.client.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	got, err := io.ReadAll(response.Body)
	return response.StatusCode, got, err
}

func TestWithoutFaultsEverythingPasses(t *testing.T) {
	e := start(t)
	if status, _, err := e.do(t, http.MethodGet); status != 404 || err != nil {
		t.Errorf("GET of nothing: %d, %v", status, err)
	}
	if status, _, err := e.do(t, http.MethodPut); status != 200 || err != nil {
		t.Errorf("PUT: %d, %v", status, err)
	}
	status, got, err := e.do(t, http.MethodGet)
	if status != 200 || err != nil || !bytes.Equal(got, content) {
		t.Errorf("GET: %d, %v, %d bytes", status, err, len(got))
	}
	if status, _, err := e.do(t, http.MethodHead); status != 200 || err != nil {
		t.Errorf("HEAD: %d, %v", status, err)
	}
	if e.store.host != e.Address() {
		t.Errorf("the store got the host %s, signed was %s", e.store.host, e.Address())
	}
	if fired := e.Fired(); len(fired) > 0 {
		t.Errorf("fired %v", fired)
	}
}

func TestFaultsThatTheStoreDoesNotSee(t *testing.T) {
	for kind, want := range map[Kind]int{Unavailable: 503, Reset: 0, BlackHole: 0, FalseConflict: 409, ErrorIn200: 200} {
		t.Run(string(kind), func(t *testing.T) {
			e := start(t)
			e.Set(Fault{Kind: kind, Rate: 1, Delay: time.Millisecond})
			status, body, err := e.do(t, http.MethodPut)
			if status != want || (want == 0) != (err != nil) || want > 0 && !strings.Contains(string(body), "<Error>") {
				t.Errorf("%d, %v, %q", status, err, body)
			}
			if puts, _, _ := e.store.count(); puts > 0 {
				t.Error("the store saw it")
			}
			if n := e.Fired()[kind]; n != 1 {
				t.Errorf("counted %d times", n)
			}
			e.Set()
			if status, _, err := e.do(t, http.MethodPut); status != 200 || err != nil {
				t.Errorf("healed: %d, %v", status, err)
			}
		})
	}
}

func TestReplyLostIsStored(t *testing.T) {
	e := start(t)
	e.Set(Fault{Kind: ReplyLost, Rate: 1})
	status, _, err := e.do(t, http.MethodPut)
	puts, _, _ := e.store.count()
	if err == nil || puts != 1 || e.Fired()[ReplyLost] != 1 {
		t.Errorf("status %d, error %v, %d stored, fired %v", status, err, puts, e.Fired())
	}
}

func TestALateArrivalIsStoredAfterTheClientGotAnError(t *testing.T) {
	e := start(t)
	e.Set(Fault{Kind: LateArrival, Rate: 1, Delay: 200 * time.Millisecond})
	_, _, err := e.do(t, http.MethodPut)
	if puts, _, _ := e.store.count(); err == nil || puts != 0 {
		t.Fatalf("error %v, %d stored already", err, puts)
	}
	if n := e.Late(); n != 1 {
		t.Errorf("%d late", n)
	}
	e.Set()
	<-e.store.took
	for e.Late() > 0 {
		time.Sleep(time.Millisecond)
	}
	e.store.mu.Lock()
	defer e.store.mu.Unlock()
	if !bytes.Equal(e.store.object, content) {
		t.Errorf("%d bytes are stored", len(e.store.object))
	}
}

func TestCloseDropsLateArrivals(t *testing.T) {
	e := start(t)
	e.Set(Fault{Kind: LateArrival, Rate: 1, Delay: time.Hour})
	if _, _, err := e.do(t, http.MethodPut); err == nil {
		t.Error("answered")
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	if puts, _, _ := e.store.count(); puts != 0 {
		t.Error("stored")
	}
}

func TestLatencyDelaysAndPasses(t *testing.T) {
	e := start(t)
	e.Set(Fault{Kind: Latency, Rate: 1, Delay: 50 * time.Millisecond})
	began := time.Now()
	if status, _, err := e.do(t, http.MethodPut); status != 200 || err != nil {
		t.Errorf("%d, %v", status, err)
	}
	if took := time.Since(began); took < 50*time.Millisecond || e.Fired()[Latency] != 1 {
		t.Errorf("took %v, fired %v", took, e.Fired())
	}
}

func TestAStalledPutIsCompletedOrBroken(t *testing.T) {
	e := start(t)
	e.Set(Fault{Kind: StalledPut, Rate: 1, Delay: time.Millisecond})
	answered, failed := 0, 0
	for range 40 {
		if status, _, err := e.do(t, http.MethodPut); err != nil {
			failed++
		} else if status == 200 {
			answered++
		}
	}
	if puts, _, _ := e.store.count(); answered == 0 || failed == 0 || puts != answered || e.Fired()[StalledPut] != 40 {
		t.Errorf("%d answered, %d failed, %d stored, fired %v", answered, failed, puts, e.Fired())
	}
}

func TestFaultsOfAnswers(t *testing.T) {
	for kind, right := range map[Kind]func(status int, got []byte, err error) bool{
		StalledGet: func(status int, got []byte, err error) bool {
			return status == 200 && err == nil && bytes.Equal(got, content)
		},
		TruncatedGet: func(status int, got []byte, err error) bool {
			return status == 200 && err != nil && bytes.Equal(got, content[:len(content)/2])
		},
		FlippedGet: func(status int, got []byte, err error) bool {
			different := 0
			for i := range got {
				if got[i] != content[i] {
					different++
				}
			}
			return status == 200 && err == nil && different == 1
		},
		Missing: func(status int, got []byte, err error) bool {
			return status == 404 && err == nil && strings.Contains(string(got), "NoSuchKey")
		},
	} {
		t.Run(string(kind), func(t *testing.T) {
			e := start(t)
			e.Set(Fault{Kind: kind, Rate: 1, Delay: time.Millisecond})
			if status, _, err := e.do(t, http.MethodGet); status != 404 || err != nil {
				t.Errorf("GET of nothing: %d, %v", status, err)
			}
			if status, _, err := e.do(t, http.MethodPut); status != 200 || err != nil {
				t.Errorf("PUT: %d, %v", status, err)
			}
			status, got, err := e.do(t, http.MethodGet)
			if !right(status, got, err) || e.Fired()[kind] != 1 {
				t.Errorf("%d, %v, %d bytes, fired %v", status, err, len(got), e.Fired())
			}
		})
	}
}

func TestRateIsThePartOfRequestsThatAreStruck(t *testing.T) {
	e := start(t)
	e.Set(Fault{Kind: Unavailable, Rate: 0.5})
	for range 200 {
		if _, _, err := e.do(t, http.MethodPut); err != nil {
			t.Fatal(err)
		}
	}
	puts, _, _ := e.store.count()
	if n := e.Fired()[Unavailable]; n < 60 || n > 140 || puts != 200-n {
		t.Errorf("%d of 200 struck, %d stored", n, puts)
	}
}

func TestAStoreThatIsAwayLooksAwayThroughTheProxy(t *testing.T) {
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	p, err := Start(gone.Listener.Addr().String(), 1)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if response, err := http.Get("http://" + p.Address()); err == nil {
		response.Body.Close()
		t.Errorf("answered %s", response.Status)
	} else if errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

func TestRandomFaultsAreOfTheirKind(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, kind := range append([]Kind{Missing}, Kinds...) {
		for range 100 {
			f := Random(kind, random)
			if f.Kind != kind || f.Rate <= 0 || f.Rate > 1 || f.Delay < 0 || f.Delay > time.Minute {
				t.Fatalf("%v", f)
			}
		}
	}
}

func TestAFaultIsLimitedToAPath(t *testing.T) {
	e := start(t)
	e.Set(Fault{Kind: Unavailable, Rate: 1, Path: "/journals/1/"}, Fault{Kind: FalseConflict, Rate: 1, Path: "bucket/key"})
	if status, _, err := e.do(t, http.MethodPut); status != http.StatusConflict || err != nil {
		t.Errorf("PUT: %d, %v", status, err)
	}
	if fired := e.Fired(); fired[Unavailable] != 0 || fired[FalseConflict] != 1 {
		t.Errorf("fired %v", fired)
	}
}

// A client that gives a request up ends a read at the store, and not a write.
func TestAReadEndsWithItsClient(t *testing.T) {
	ended, release := make(chan string, 2), make(chan struct{})
	store := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		select {
		case <-r.Context().Done():
			ended <- r.Method + " given up"
		case <-release:
			ended <- r.Method + " done"
		}
	}))
	defer store.Close()
	proxy, err := Start(strings.TrimPrefix(store.URL, "http://"), 1)
	if err != nil {
		t.Fatal(err)
	}
	defer proxy.Close()
	for _, method := range []string{http.MethodPut, http.MethodGet} {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		request, err := http.NewRequestWithContext(ctx, method, "http://"+proxy.Address()+"/b/k", strings.NewReader("x"))
		if err != nil {
			t.Fatal(err)
		}
		if answer, err := http.DefaultClient.Do(request); err == nil {
			answer.Body.Close()
			t.Errorf("%s is answered", method)
		}
		cancel()
	}
	http.DefaultClient.CloseIdleConnections()
	if got := <-ended; got != "GET given up" {
		t.Errorf("first %s", got)
	}
	close(release)
	if got := <-ended; got != "PUT done" {
		t.Errorf("then %s", got)
	}
}
