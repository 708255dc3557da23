package node

import (
	"fmt"

	"github.com/varvelog/varve/cmd/internal/health"
)

// subject is how a journal is called on the board.
func subject(journal uint32) string {
	if journal == 0 {
		return "metadata journal"
	}
	return fmt.Sprintf("journal %d", journal)
}

// onFull notes that a write-ahead log has taken nothing for some seconds, and why;
// nil: it takes records again.
func (n *node) onFull(journal uint32, err error) {
	if err == nil {
		n.board.Clear(health.Disk, subject(journal))
		return
	}
	n.board.Raise(health.Disk, subject(journal), true, fmt.Sprintf("the write-ahead log takes no records: %v; "+
		"make room on the disk of --data-dir, or raise --wal-max-bytes if that is what is used up; if the bucket is away too, this ends when it answers", err))
}
