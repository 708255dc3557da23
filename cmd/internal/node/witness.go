package node

import (
	"fmt"
	"time"

	"github.com/varvelog/varve/cmd/internal/health"
)

// witnessEvery is the time between two saves of the witness.
const witnessEvery = 5 * time.Second

// keepWitness saves the witness at once, now and then, and once more at the end. It
// returns how to stop that.
func (n *node) keepWitness(interval time.Duration) func() error {
	stop := every(interval, n.saveWitness)
	return func() error {
		err := stop()
		n.saveWitness()
		return err
	}
}

// saveWitness saves the witness. One that cannot be saved now, as when the disk is
// full or file descriptors are used up, is no reason to end: the old one stays, and
// knows less, but nothing that is wrong.
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
		n.log.Warn("closing the data folder failed; nothing that was acknowledged is lost by it", "error", err)
	}
	return nil
}
