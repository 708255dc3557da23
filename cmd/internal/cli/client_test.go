package cli_test

import (
	"net"
	"strings"
	"testing"

	"github.com/varvelog/varve/cmd/internal/cli"
)

// TestABrokerThatHangsUpIsNotAskedForTLS: nodes close connections beyond their
// limits without a word.
func TestABrokerThatHangsUpIsNotAskedForTLS(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			nc.Read(make([]byte, 1<<10)) // else the close is a reset
			nc.Close()
		}
	}()
	defer func() { ln.Close(); <-done }()
	c := command{environ: []string{"VARVE_BOOTSTRAP=" + ln.Addr().String()}}
	o := c.reading("x\n").run(t, "produce", "t")
	o.expect(t, cli.ExitFailure, "a broker listens at "+ln.Addr().String(), "too many connections", "--max-connections-per-address")
	if strings.Contains(o.stderr, "is TLS missing") || strings.Contains(o.stderr, "start one with") {
		t.Errorf("got %s", o.stderr)
	}
}
