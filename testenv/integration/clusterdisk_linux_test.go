package integration

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// The disk of one node is full for a while.
func TestAFullDiskOfOneNodeLosesNothing(t *testing.T) {
	t.Parallel()
	minutes(t)
	s := prepareSeveral(t, 2, 0)
	victim := s.Nodes[1]
	const size = 192 << 20 // a write-ahead file takes 33 MiB or more
	disk := smallDisk(t, size)
	victim.DataDir = filepath.Join(disk, "data")
	victim.Flags = []string{"--data-dir", victim.DataDir}
	s.start(s.Nodes...)
	s.awaitShares(s.Nodes...)
	partitions := s.topic("events")
	writing := s.produce("events", partitions, acksAll...)
	writing.progress(t, 300)
	full := filepath.Join(disk, "full")
	fillDisk(t, full)
	time.Sleep(cutFor)
	s.do(os.Remove(full))
	writing.progress(t, 300)
	s.awaitShares(s.Writing()...)
	s.wantWritten(writing, "events", s.Nodes...)
	s.wantOnce("events", s.Nodes[0])
}

// fillDisk writes a file until there is no room.
func fillDisk(t *testing.T, name string) {
	t.Helper()
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for chunk := make([]byte, 64<<10); ; {
		if _, err := f.Write(chunk); err != nil {
			return // no room
		}
	}
}
