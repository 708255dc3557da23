package node

import (
	"bytes"
	"log/slog"
	"math"
	"strings"
	"testing"

	"github.com/varvelog/varve/cmd/internal/config"
)

func TestConnectionsFitTheLimitOfOpenFiles(t *testing.T) {
	for _, tc := range []struct {
		open       uint64
		known      bool
		want, each int
	}{
		{65536, true, 10_000, 5000},
		{10_000 + ownFiles, true, 10_000, 5000},
		{1024, true, 1024 - ownFiles, (1024 - ownFiles) / 2},
		{256, true, 128, 64},
		{math.MaxUint64, true, 10_000, 5000},
		{0, false, 10_000, 5000},
	} {
		var lines bytes.Buffer
		n := &node{log: slog.New(slog.NewTextHandler(&lines, nil)), cfg: config.Serve{MaxConnections: 10_000, MaxConnectionsPerAddress: 5000}}
		n.fitConnections(tc.open, tc.known)
		if n.cfg.MaxConnections != tc.want || n.cfg.MaxConnectionsPerAddress != tc.each {
			t.Errorf("%d files: %d connections, %d of an address, want %d and %d", tc.open, n.cfg.MaxConnections, n.cfg.MaxConnectionsPerAddress, tc.want, tc.each)
		}
		if warned := strings.Contains(lines.String(), "LimitNOFILE"); warned != (tc.want < 10_000) {
			t.Errorf("%d files: log is %q", tc.open, lines.String())
		}
	}
}
