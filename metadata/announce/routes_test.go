package announce

import (
	"crypto/tls"
	"crypto/x509/pkix"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/varvelog/varve/testenv/certs"
	"github.com/varvelog/varve/tiering/segment"
)

// routed is a node whose embedded server meets others.
func routed(t *testing.T, id segment.ID, listen string, routes ...string) *NATS {
	t.Helper()
	s, err := Parse("embedded")
	if err != nil {
		t.Fatal(err)
	}
	b, err := Open(s, Options{Cluster: id, Log: slog.New(slog.DiscardHandler), RouteListen: listen, Routes: routes})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

// All nodes have the same list, in which each finds itself as well.
func TestEmbeddedServersMeet(t *testing.T) {
	first := routed(t, cluster, "127.0.0.1:0")
	at := first.server.ClusterAddr().String()
	second, third := routed(t, cluster, "127.0.0.1:0", at), routed(t, cluster, "127.0.0.1:0", at)
	onFirst, onThird := hear(t, first), hear(t, third)
	publishUntilHeard(t, second, 1, onThird) // they know of each other by the first
	publishUntilHeard(t, third, 2, onFirst)
	waitFor(t, "all routes", func() bool { return first.Hears() && second.server.NumRoutes() == 2 && third.server.NumRoutes() == 2 })

	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the loss", func() bool { return second.server.NumRoutes() == 1 && third.server.NumRoutes() == 1 })
	publishUntilHeard(t, second, 3, onThird)

	again := routed(t, cluster, at, at)
	publishUntilHeard(t, again, 4, onThird)
	waitFor(t, "all routes", func() bool { return again.server.NumRoutes() == 2 })

	if err := second.Close(); err != nil {
		t.Fatal(err)
	}
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the loss of all", func() bool { return !third.Hears() })
}

func TestServersOfAnotherClusterAreTurnedAway(t *testing.T) {
	first := routed(t, cluster, "127.0.0.1:0")
	at := first.server.ClusterAddr().String()
	stranger := routed(t, segment.ID{9}, "127.0.0.1:0", at)
	own := routed(t, cluster, "127.0.0.1:0", at)
	waitFor(t, "the route of its own", func() bool { return own.Hears() && first.Hears() })
	publishUntilHeard(t, own, 1, hear(t, first))
	if stranger.Hears() || first.server.NumRoutes() != 1 {
		t.Errorf("%d routes, that of the stranger is up: %v", first.server.NumRoutes(), stranger.Hears())
	}
}

func TestAddressForRoutesIsChecked(t *testing.T) {
	s, err := Parse("embedded")
	if err != nil {
		t.Fatal(err)
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, at := range []string{"nowhere", "127.0.0.1:x", taken.Addr().String()} {
		if b, err := Open(s, Options{Cluster: cluster, Log: slog.New(slog.DiscardHandler), RouteListen: at}); err == nil {
			b.Close()
			t.Errorf("it listens at %s", at)
		}
	}
}

// A server that encrypts is trusted by the certificates of a file.
func TestServersThatEncrypt(t *testing.T) {
	ca, config := certificate(t)
	srv, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true, NoSystemAccount: true, TLS: true, TLSConfig: config, TLSTimeout: 10})
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	defer stopServer(srv)
	s, err := Parse("tls://" + srv.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	b, err := Open(s, Options{Cluster: cluster, Log: slog.New(slog.DiscardHandler), CA: ca})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	publishUntilHeard(t, b, 1, hear(t, b))
	if !b.Hears() {
		t.Error("it is connected to a server elsewhere, and hears none")
	}

	distrusts, err := Open(s, Options{Cluster: cluster, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer distrusts.Close()
	if distrusts.Hears() {
		t.Error("a certificate of no authority is trusted")
	}
	missing := filepath.Join(t.TempDir(), "gone")
	if b, err := Open(s, Options{Cluster: cluster, Log: slog.New(slog.DiscardHandler), CA: missing}); err == nil {
		b.Close()
		t.Error("a file of certificates that is missing was no error")
	}
}

// certificate makes one for 127.0.0.1, and returns the path of its authority's.
func certificate(t *testing.T) (path string, config *tls.Config) {
	t.Helper()
	authority, err := certs.NewAuthority("test")
	if err != nil {
		t.Fatal(err)
	}
	issued, err := authority.Issue(pkix.Name{CommonName: "test"}, time.Hour, "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	cert, err := issued.Certificate()
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(path, authority.PEM, 0o600); err != nil {
		t.Fatal(err)
	}
	return path, &tls.Config{Certificates: []tls.Certificate{cert}}
}
