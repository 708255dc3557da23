package announce

import (
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"github.com/varvelog/varve/metadata/membership"
	"github.com/varvelog/varve/tiering/segment"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func containsSecret(err error) bool { return strings.Contains(err.Error(), "secret") }

// patience limits waits for events that must happen; no test asserts how long
// they took.
const patience = 30 * time.Second

func open(t *testing.T, value string, cluster segment.ID) *NATS {
	t.Helper()
	s, err := Parse(value)
	if err != nil {
		t.Fatal(err)
	}
	b, err := Open(s, Options{Cluster: cluster, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// hear subscribes and returns a channel of the announcements that arrive.
func hear(t *testing.T, b *NATS) <-chan Announcement {
	t.Helper()
	heard := make(chan Announcement, 1000)
	if _, err := b.Subscribe(func(a Announcement) { heard <- a }); err != nil {
		t.Fatal(err)
	}
	return heard
}

// publishUntilHeard publishes ever higher seqs of a journal, because core NATS
// may drop any of them, until one is heard.
func publishUntilHeard(t *testing.T, from *NATS, journal uint32, heard <-chan Announcement) Announcement {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for seq := uint64(1); ; seq++ {
		from.Publish(Announcement{Journal: journal, Epoch: 1, Seq: seq, Object: object})
		select {
		case a := <-heard:
			if a.Journal == journal {
				return a
			}
		case <-tick.C:
		case <-deadline:
			t.Fatalf("nothing heard: %+v", from.Stats())
		}
	}
}

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s did not come", what)
		}
	}
}

func TestAnnouncementArrivesInProcess(t *testing.T) {
	b := open(t, "embedded", cluster)
	if b.URL() != "" {
		t.Errorf("listens at %s", b.URL())
	}
	heard := hear(t, b)
	want := publishUntilHeard(t, b, 1, heard)
	if want.Epoch != 1 || want.Object != object || want.Seq == 0 {
		t.Errorf("heard %+v", want)
	}
}

func TestAnnouncementsArriveOverTCPWithinTheirCluster(t *testing.T) {
	host := open(t, "embedded://127.0.0.1:0", cluster)
	a, b := open(t, host.URL(), cluster), open(t, host.URL(), cluster)
	stranger := open(t, host.URL(), segment.ID{9})
	strange := hear(t, stranger)
	onHost, onB := hear(t, host), hear(t, b)
	publishUntilHeard(t, a, 3, onHost)
	publishUntilHeard(t, a, 4, onB)
	publishUntilHeard(t, b, 5, onHost)
	publishUntilHeard(t, stranger, 6, strange) // whatever came before it would have been heard by now
	for len(strange) > 0 {
		if s := <-strange; s.Journal != 6 {
			t.Errorf("heard another cluster's %+v", s)
		}
	}
}

func TestSubscriptionsSurviveARestartOfTheServer(t *testing.T) {
	srv := startAt(t, "127.0.0.1", 0)
	port := srv.Addr().(*net.TCPAddr).Port
	a, b := open(t, "nats://"+srv.Addr().String(), cluster), open(t, "nats://"+srv.Addr().String(), cluster)
	heard := hear(t, b)
	publishUntilHeard(t, a, 1, heard)
	stopServer(srv)
	waitFor(t, "the loss", func() bool { return !a.Stats().Connected && !b.Stats().Connected })
	a.Publish(Announcement{Journal: 2, Epoch: 1, Seq: 1, Object: object})
	waitFor(t, "the drop", func() bool { return a.Stats().Dropped > 0 })
	srv = startAt(t, "127.0.0.1", port)
	defer stopServer(srv)
	publishUntilHeard(t, a, 3, heard)
	for len(heard) > 0 {
		if old := <-heard; old.Journal == 2 {
			t.Errorf("heard %+v, published while there was no server", old)
		}
	}
}

func TestServerThatIsDownAtStartStopsNoOther(t *testing.T) {
	// A port that was just free: no server listens there until the test starts
	// one.
	srv := startAt(t, "127.0.0.1", 0)
	port := srv.Addr().(*net.TCPAddr).Port
	address := srv.Addr().String()
	stopServer(srv)

	b := open(t, "nats://"+address, cluster)
	heard := hear(t, b)
	b.Publish(Announcement{Journal: 1, Epoch: 1, Seq: 1, Object: object})
	waitFor(t, "the drop", func() bool { return b.Stats().Dropped > 0 })
	srv = startAt(t, "127.0.0.1", port)
	defer stopServer(srv)
	publishUntilHeard(t, b, 2, heard)
	if !b.Stats().Connected {
		t.Error("heard without being connected")
	}
}

func TestRefusedCredentialsAreReportedAndMayBeCorrected(t *testing.T) {
	locked, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true, NoSystemAccount: true, Username: "u", Password: "other",
	})
	if err != nil {
		t.Fatal(err)
	}
	locked.Start()
	port := locked.Addr().(*net.TCPAddr).Port
	var lines lineLog
	s, err := Parse("nats://u:secret@" + locked.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	b, err := Open(s, Options{Cluster: cluster, Log: slog.New(slog.NewTextHandler(&lines, nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	heard := hear(t, b)
	waitFor(t, "the complaint", func() bool { return strings.Contains(lines.String(), "Authorization") })
	// With its defaults, the client would give up after a second refusal.
	waitFor(t, "more attempts", func() bool {
		v, err := locked.Varz(nil)
		return err == nil && v.TotalConnections >= 4
	})
	stopServer(locked)
	unlocked := startAt(t, "127.0.0.1", port)
	defer stopServer(unlocked)
	publishUntilHeard(t, b, 1, heard)
	if log := lines.String(); strings.Contains(log, "secret") || strings.Count(log, "Authorization") > 2 {
		t.Errorf("log:\n%s", log)
	}
}

// lineLog keeps the lines of the log.
type lineLog struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lineLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lineLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestCloseReturnsWhileTheServerIsAway(t *testing.T) {
	b := open(t, "nats://127.0.0.1:1", cluster)
	hear(t, b)
	b.Publish(Announcement{Journal: 1, Epoch: 1, Seq: 1, Object: object})
	if err := b.Close(); err != nil { // TestMain looks for goroutines that are left
		t.Error(err)
	}
	b.Publish(Announcement{Journal: 1, Epoch: 1, Seq: 2, Object: object})
	if _, err := b.Subscribe(func(Announcement) {}); err == nil {
		t.Error("subscribed after Close")
	}
}

func TestSlowSubscriberHoldsUpNoOtherAndGetsTheNewest(t *testing.T) {
	host := open(t, "embedded://127.0.0.1:0", cluster)
	a := open(t, host.URL(), cluster)
	entered, leave := make(chan struct{}), make(chan struct{})
	var mu sync.Mutex
	var got []Announcement
	cancel, err := a.Subscribe(func(an Announcement) {
		mu.Lock()
		got = append(got, an)
		first := len(got) == 1
		mu.Unlock()
		if first {
			close(entered)
			<-leave
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	quick := hear(t, a)
	publishUntilHeard(t, host, 1, quick)
	<-entered // the slow one is stuck from here on
	received := a.Stats().Received
	const last = 100_000
	for seq := uint64(1000); seq <= last; seq++ {
		host.Publish(Announcement{Journal: 1, Epoch: 1, Seq: seq, Object: object})
	}
	for an := range quick {
		if an.Seq == last {
			break
		}
	}
	waitFor(t, "the last one at the slow subscriber", func() bool { return a.Stats().Received >= received+2 })
	close(leave)
	waitFor(t, "the newest", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return got[len(got)-1].Seq == last
	})
	cancel()
	cancel()
	mu.Lock()
	defer mu.Unlock()
	if len(got) > 10 {
		t.Errorf("%d announcements waited for the slow subscriber", len(got))
	}
}

func TestClientThatNeverReadsHoldsUpNoOther(t *testing.T) {
	host := open(t, "embedded://127.0.0.1:0", cluster)
	heard := hear(t, host)
	deaf, err := net.Dial("tcp", strings.TrimPrefix(host.URL(), "nats://"))
	if err != nil {
		t.Fatal(err)
	}
	defer deaf.Close()
	if _, err := deaf.Write([]byte("CONNECT {\"verbose\":false}\r\nSUB varve.> 1\r\n")); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "its subscription", func() bool { return host.server.NumSubscriptions() >= 2 })
	nc, err := nats.Connect(host.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	for range 8 * serverMaxPending / serverMaxPayload { // far more than is kept for it
		if err := nc.Publish("varve.other", make([]byte, serverMaxPayload)); err != nil {
			t.Fatal(err)
		}
	}
	publishUntilHeard(t, host, 1, heard)
	waitFor(t, "its end", func() bool { return host.server.NumSlowConsumers() > 0 })
	publishUntilHeard(t, host, 2, heard)
}

func TestForgedMessagesAreCountedAndNotHeard(t *testing.T) {
	host := open(t, "embedded://127.0.0.1:0", cluster)
	heard := hear(t, host)
	publishUntilHeard(t, host, 1, heard)
	nc, err := nats.Connect(host.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	forged := [][]byte{nil, []byte("VRVA"), make([]byte, 10_000),
		Encode(segment.ID{9}, Announcement{Journal: 2, Epoch: 1, Seq: 1, Object: object}),
		Encode(cluster, Announcement{Journal: 77, Epoch: 1, Seq: 1, Object: object})} // of another journal than the subject's
	for _, m := range forged {
		if err := nc.Publish(committed.subject(cluster, 2), m); err != nil {
			t.Fatal(err)
		}
	}
	waitFor(t, "the count", func() bool { return host.Stats().Refused == uint64(len(forged)) })
	publishUntilHeard(t, host, 3, heard)
	for len(heard) > 0 {
		if a := <-heard; a.Journal != 1 && a.Journal != 3 {
			t.Errorf("heard %+v", a)
		}
	}
}

func TestLeadersArriveNextToObjects(t *testing.T) {
	host := open(t, "embedded://127.0.0.1:0", cluster)
	a := open(t, host.URL(), cluster)
	objects, heard := hear(t, host), make(chan membership.Leader, 1000)
	if _, err := host.SubscribeLeaders(func(l membership.Leader) { heard <- l }); err != nil {
		t.Fatal(err)
	}
	sent := aLeader
	arrives := func() bool {
		a.PublishLeader(sent)
		return len(heard) > 0
	}
	waitFor(t, "the first leader", arrives) // the server knows of the subscription then
	nc, err := nats.Connect(host.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	for _, m := range [][]byte{Encode(cluster, anObject), EncodeLeader(segment.ID{9}, aLeader), EncodeLeader(cluster, aLeader)[:leaderSize-1]} {
		if err := nc.Publish(leaders.subject(cluster, 7), m); err != nil {
			t.Fatal(err)
		}
	}
	if err := nc.Publish(leaders.subject(cluster, 8), EncodeLeader(cluster, aLeader)); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the count", func() bool { return host.Stats().Refused == 4 })
	publishUntilHeard(t, a, 1, objects)
	for len(heard) > 0 {
		if got := <-heard; got != sent {
			t.Errorf("heard %+v, want %+v", got, sent)
		}
	}
	waitFor(t, "the leader", arrives)
	if got := <-heard; got != sent {
		t.Errorf("heard %+v, want %+v", got, sent)
	}
	for len(objects) > 0 {
		if o := <-objects; o.Journal != 1 {
			t.Errorf("heard the object %+v", o)
		}
	}
}

func TestPortInUseIsAnError(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s, err := Parse("embedded://" + l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	b, err := Open(s, Options{Cluster: cluster, Log: slog.New(slog.DiscardHandler)})
	if err == nil {
		b.Close()
		t.Fatal("two listeners on one port")
	}
	if !strings.Contains(err.Error(), "in use") || !strings.Contains(err.Error(), l.Addr().String()) {
		t.Errorf("unhelpful: %v", err)
	}
}

// startAt runs a server that the test may stop before its end.
func startAt(t *testing.T, host string, port int) *server.Server {
	t.Helper()
	srv, err := startServer(Spec{embedded: true, host: host, port: port}, Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return srv
}
