package natsd

import (
	"testing"

	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestAServerStopsAndStartsAtOneAddress(t *testing.T) {
	s, err := Start("")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Stop()
	for range 2 {
		conn, err := nats.Connect(s.URL())
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
		s.Stop()
		if conn, err := nats.Connect(s.URL()); err == nil {
			conn.Close()
			t.Fatal("a stopped server answers")
		}
		if err := s.Restart(); err != nil {
			t.Fatal(err)
		}
	}
	if s.Restart() == nil {
		t.Error("a running server is started again")
	}
}
