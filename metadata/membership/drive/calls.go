package drive

import (
	"time"

	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/metadata/membership"
	"github.com/varvelog/varve/metadata/peer"
	"github.com/varvelog/varve/tiering/segment"
)

// How long the answers to requests are waited for. A heartbeat that is late is of use, too.
const (
	heartbeatLimit = 3 * membership.HandshakeLimit
	registerLimit  = 5 * membership.HandshakeLimit // it makes up to three handshakes
	probeLimit     = membership.ProbeLimit + membership.HandshakeLimit
)

// run finds how to reach a node, by journal 0. It may have started again since.
func (d *Driver) run(node segment.ID) (run metadata.Run, ok bool) {
	n := d.cluster.Node(node)
	if n == nil || n.State == 0 || n.State == metadata.StateRemoved {
		return metadata.Run{}, false
	}
	run = n.Run
	run.Start = segment.ID{}
	return run, true
}

// call sends a request to a node of journal 0.
func (d *Driver) call(node segment.ID, kind peer.Kind, body []byte, limit time.Duration, done func(Response)) {
	if run, ok := d.run(node); ok {
		d.env.Call(node, run, Request{kind, body}, limit, once(d, done))
	}
}

// beat sends a heartbeat. The controller's own is for its Judge, which learns by it of journal
// 0, too.
func (d *Driver) beat(to segment.ID) {
	h := membership.Heartbeat{
		Node: d.opt.Node, Start: d.opt.Run.Start, Applied: d.cluster.Seq, Leaving: d.leaving, Journals: d.env.Reports(),
	}
	if to == d.opt.Node {
		d.heard = d.env.Now()
		d.judged(membership.Heard{Heartbeat: h})
		return
	}
	d.call(to, peer.KindHeartbeat, h.Append(nil), heartbeatLimit, func(r Response) {
		if r.Outcome != membership.Proved || r.Err != nil {
			return
		}
		a, err := membership.DecodeAnswer(r.Body)
		if err != nil {
			return
		}
		for _, l := range a.Leaders {
			d.claimed(membership.FromNode, l)
		}
		if a.Claims {
			d.heard = d.env.Now()
		}
		d.membered(membership.Answered{From: to, Answer: a})
		if a.Seq > d.cluster.Seq {
			d.env.Poke()
		}
	})
}

// register asks a controller to register this run. If that is this node, its own Judge
// decides.
func (d *Driver) register(to segment.ID) {
	refused := func(r Registered) {
		if r.Err != nil {
			d.env.Refused(r.Err)
		}
	}
	if to == d.opt.Node {
		d.joining(joining{d.opt.Node, d.opt.Run, refused})
		return
	}
	body, err := membership.AppendRegister(nil, d.opt.Node, d.opt.Run)
	if err != nil {
		d.env.Refused(err)
		return
	}
	d.call(to, peer.KindRegister, body, registerLimit, func(r Response) {
		if r.Outcome == membership.Proved {
			refused(Registered{Err: r.Err})
		}
	})
}

// ask asks a node about the controller. An answer that cannot be read is none.
func (d *Driver) ask(a membership.Ask) {
	run := a.Run
	run.Start = segment.ID{}
	body := membership.AppendQuestion(nil, a.About)
	d.env.Call(a.Node, run, Request{peer.KindQuestion, body}, membership.HandshakeLimit, once(d, func(r Response) {
		ev := membership.Replied{Token: a.Token, Outcome: r.Outcome}
		if r.Outcome == membership.Proved {
			var err error
			if ev.Reply, err = membership.DecodeReply(r.Body); err != nil || r.Err != nil {
				ev = membership.Replied{Token: a.Token, Outcome: membership.TimedOut}
			}
			d.claimed(membership.FromNode, ev.Controller)
		}
		d.membered(ev)
	}))
}

// probe has this node or another one probe the store. A node that does not answer shows
// nothing about the store.
func (d *Driver) probe(a membership.Probe) {
	if a.Node == d.opt.Node {
		d.probeOwn(a.Token, d.judged)
		return
	}
	d.call(a.Node, peer.KindProbe, nil, probeLimit, func(r Response) {
		if r.Outcome != membership.Proved || r.Err != nil {
			return
		}
		if ok, err := membership.DecodeProbed(r.Body); err == nil {
			d.judged(membership.Probed{Token: a.Token, OK: ok})
		}
	})
}
