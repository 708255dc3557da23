package node

import (
	"fmt"
	"time"

	"github.com/varvelog/varve/cmd/internal/health"
)

// witnessEvery is the time between two saves of the witness.
const witnessEvery = 5 * time.Second

// keepWitness saves the witness at once, at intervals, and once more at the
// end. It returns a function that stops that.
func (n *node) keepWitness(interval time.Duration) func() error {
	stop := every(interval, n.saveWitness)
	return func() error {
		err := stop()
		n.saveWitness()
		return err
	}
}

// saveWitness saves the witness. A failure, as when the disk is full or file
// descriptors are used up, does not end the node. The old witness stays; it
// knows less, but nothing wrong.
func (n *node) saveWitness() {
	if err := n.dir.SaveWitness(); err != nil {
		n.board.Raise(health.Witness, "", false, fmt.Sprintf("the witness file cannot be written, the old one is kept: %v; "+
			"make room on the disk of --data-dir, or allow more open files", err))
		return
	}
	n.board.Clear(health.Witness, "")
}

// closeDir unlocks the data folder. A witness that could not be saved was reported.
func (n *node) closeDir() error {
	if err := n.dir.Close(); err != nil {
		n.log.Warn("closing the data folder failed; no acknowledged record is lost by that", "error", err)
	}
	return nil
}
