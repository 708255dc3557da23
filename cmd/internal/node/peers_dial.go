package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/metadata/membership"
	"github.com/varvelog/varve/metadata/peer"
	"github.com/varvelog/varve/tiering/segment"
)

const (
	// dialPause is the time between two trials to connect to a node that neither answers nor
	// refuses. It doubles with each one, up to dialMostPause.
	dialPause     = 50 * time.Millisecond
	dialMostPause = 400 * time.Millisecond
	// keysLimit bounds a read of new keys during a handshake.
	keysLimit = 500 * time.Millisecond
)

// dial makes a connection to a run of a node, at the address of its first listener. Any start
// may answer if that of the run is zero. A refusal and another process are an answer at once.
// Everything else shows nothing, and dial tries until ctx ends.
func (p *peers) dial(ctx context.Context, node segment.ID, run metadata.Run) (*peer.Conn, membership.Outcome, error) {
	address, err := addressOf(run)
	reloaded := false // keys are read once: other reasons for a refusal stay
	for pause := dialPause; err == nil; pause = min(2*pause, dialMostPause) {
		c, failure := p.handshake(ctx, address, node, run)
		switch {
		case failure == nil:
			return c, membership.Proved, nil
		case errors.Is(failure, syscall.ECONNREFUSED):
			return nil, membership.Refused, failure
		case replaces(failure):
			return nil, membership.Replaced, failure
		case mayLackKey(failure) && !reloaded:
			reloaded = true
			p.reload(ctx, run)
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			err = fmt.Errorf("%w: %w", ctx.Err(), failure)
		}
	}
	return nil, membership.TimedOut, err
}

// errStart: the data folder is right, and another process runs with it.
var errStart = errors.New("another start of the node answers")

func (p *peers) handshake(ctx context.Context, address string, node segment.ID, run metadata.Run) (*peer.Conn, error) {
	c, err := p.dialers[p.role(run)].To(ctx, address, node)
	if err != nil {
		return nil, err
	}
	if start := c.Peer().Start; !run.Start.IsZero() && start != run.Start {
		return nil, errors.Join(fmt.Errorf("node at %s: %w: %s, and not %s", address, errStart, start, run.Start), c.Close())
	}
	return c, nil
}

// replaces reports whether an error of a handshake shows that another process has the address.
// A number is in the first message of a handshake. So a key that one end does not know is never
// the reason for a proof that is wrong.
func replaces(err error) bool {
	return errors.Is(err, peer.ErrStranger) || errors.Is(err, peer.ErrProof) || errors.Is(err, errStart)
}

// mayLackKey reports whether a handshake may have failed because one of the ends does not know
// the newest key. The other end reads its keys by itself.
func mayLackKey(err error) bool {
	return errors.Is(err, peer.ErrNoKey) || errors.Is(err, kerr.SaslAuthenticationFailed)
}

// reload reads new keys. An error shows in the next handshake.
func (p *peers) reload(ctx context.Context, run metadata.Run) {
	ctx, cancel := context.WithTimeout(ctx, keysLimit)
	defer cancel()
	_ = p.keys[p.role(run)].Load(ctx)
}

// role is that of the key for a node: both ends have it.
func (p *peers) role(run metadata.Run) segment.PeerRole {
	if p.opt.Writes && run.Roles&metadata.RoleIngest != 0 {
		return segment.PeerIngest
	}
	return segment.PeerFetch
}

// addressOf is where nodes reach a run.
func addressOf(run metadata.Run) (string, error) {
	if len(run.Listeners) == 0 {
		return "", errors.New("the node has no address")
	}
	l := run.Listeners[0]
	return net.JoinHostPort(l.Host, strconv.Itoa(int(l.Port))), nil
}
