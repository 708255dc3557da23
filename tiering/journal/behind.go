package journal

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/varvelog/varve/tiering/objstore"
)

// This file is about a reader that the floor has passed: objects that it has not read may be
// deleted. It ends, or skips to the newest checkpoint, as a start does.

// fallBehind skips, after the end of a leadership, or of the way to one.
func (c *Core) fallBehind(err error) {
	if !c.cfg.Skips {
		c.end(err)
		return
	}
	if c.stands {
		c.depose(err)
	}
	c.forgetReading()
	c.phase = behind
	c.do(Trouble{Err: err})
	c.skip()
}

func (c *Core) skip() {
	c.readToken = c.nextToken()
	c.do(Skip{Token: c.readToken})
}

// skipped reads on from a checkpoint. A proof that waits is not kept waiting for one that
// cannot be had now.
func (c *Core) skipped(ev Skipped) {
	if c.phase != behind || ev.Token != c.readToken {
		return
	}
	c.readToken = 0
	err := ev.Err
	if err == nil && ev.Chain.Next <= c.chain.Next {
		err = fmt.Errorf("no checkpoint above seq %d is found", c.chain.Next)
	}
	if err != nil {
		if c.endIfHopeless(err, &c.damage.floor) {
			return
		}
		c.do(Trouble{Err: err})
		if !c.stands {
			c.failProofs(err)
		}
		c.pause(pauseSkip, pauseAfter(err, c.readErrors))
		c.readErrors++
		return
	}
	c.forgetReading()
	c.chain, c.history = ev.Chain, ev.History.clone()
	c.readFloor()
}

// forgetReading forgets all findings about the objects from Next on.
func (c *Core) forgetReading() {
	c.phase, c.readToken = reading, 0
	c.pending, c.gap, c.verdict, c.atEnd = nil, false, nil, false
	c.read, c.readErrors, c.losses, c.damage = 0, 0, 0, damage{}
}

// skip loads the newest checkpoint, and lets the Machine have its state before the Core reads
// on from it.
func (o *Owner) skip(token uint64) {
	at := o.driver.Core().Chain()
	var found *Checkpoint
	var err error
	o.env.Go(checkpointLimit, func(ctx context.Context, store objstore.Store) {
		if found, err = LoadCheckpoint(ctx, store, NewChain(at.Cluster, at.Journal, int(at.Window)), nil); found == nil {
			err = cmp.Or(err, errNoCheckpoint)
		}
	}, func() { o.skipped(token, at.Next, found, err) })
}

var errNoCheckpoint = errors.New("the journal has no checkpoint")

func (o *Owner) skipped(token, from uint64, c *Checkpoint, err error) {
	if err != nil {
		o.driver.Handle(Skipped{Token: token, Err: err})
		return
	}
	if c.Chain.Next > from {
		if err := o.skips(c); err != nil {
			o.End(err)
			return
		}
		o.log.Info("reading on from a newer checkpoint", "journal", c.Chain.Journal, "seq", c.Chain.Next)
	}
	o.driver.Handle(Skipped{Token: token, Chain: c.Chain, History: c.History})
}
