package drive

import (
	"time"

	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/metadata/membership"
	"github.com/varvelog/varve/tiering/segment"
)

// host is a machine: it has an address, and one process listens there or none.
type host struct {
	name     string
	runner   *runner // that listens; nil: connections are refused
	vanished bool    // it answers nothing at all
}

func (h *host) run(start segment.ID, roles metadata.Roles) metadata.Run {
	return metadata.Run{Start: start, MinLevel: metadata.LevelCluster, MaxLevel: metadata.LevelCluster, Roles: roles,
		Listeners: []metadata.Listener{{Name: "peer", Host: h.name, Port: 9092}}}
}

type way struct{ from, to string }

// network carries requests between processes.
type network struct {
	w      *world
	cut    map[way]bool // in one direction
	reject map[way]bool // likewise: connections are refused by the way
}

func (n *network) delay() time.Duration {
	if n.w.lagging {
		return n.w.Between(time.Millisecond, 600*time.Millisecond)
	}
	return n.w.Between(time.Millisecond, 20*time.Millisecond)
}

func (n *network) blocks(from, to string) bool { return n.cut[way{from, to}] }

// call sends a request to the process at an address that must be of a data folder, and of a
// start unless that is zero. done follows once, in the process of the caller. With Proved
// comes the answer of the handler.
func (n *network) call(from *runner, node segment.ID, run metadata.Run, limit time.Duration, handle func(to *runner, answer func(any)), done func(membership.Outcome, any)) {
	over := false
	finish := func(o membership.Outcome, v any) {
		if !over {
			over = true
			done(o, v)
		}
	}
	from.after(limit, "request timed out", func() { finish(membership.TimedOut, nil) })
	name := run.Listeners[0].Host
	if n.blocks(from.host.name, name) || n.w.Chance(n.w.shape.Loss) {
		return
	}
	back := func(o membership.Outcome, v any) {
		if !n.blocks(name, from.host.name) && !n.w.Chance(n.w.shape.Loss) {
			from.after(n.delay(), "answer", func() { finish(o, v) })
		}
	}
	n.w.After(n.delay(), "request", func() {
		h := n.w.hosts[name]
		switch {
		case n.reject[way{from.host.name, name}]:
			back(membership.Refused, nil)
		case h == nil || h.vanished:
		case h.runner == nil:
			back(membership.Refused, nil)
		default:
			to := h.runner
			to.do(func() {
				if to.folder.id != node || !run.Start.IsZero() && to.run.Start != run.Start {
					back(membership.Replaced, nil)
					return
				}
				handle(to, func(v any) { back(membership.Proved, v) })
			})
		}
	})
}

// broke lets the processes that had connections with a dead one know.
func (n *network) broke(dead *runner) {
	for _, r := range n.w.runners() {
		if r == dead || dead.host.vanished || n.blocks(dead.host.name, r.host.name) {
			continue
		}
		r.after(n.delay(), "broken", func() {
			r.drive.Broken(dead.folder.id, dead.run.Start)
			r.drive.Lost(dead.folder.id)
		})
	}
}
