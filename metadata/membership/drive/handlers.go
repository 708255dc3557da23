package drive

import (
	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/metadata/membership"
	"github.com/varvelog/varve/tiering/segment"
)

// joining is a run that asks to be registered.
type joining struct {
	node   segment.ID
	run    metadata.Run
	answer func(Registered)
}

// Heartbeat answers the heartbeat of another node.
func (d *Driver) Heartbeat(h membership.Heartbeat, answer func(membership.Answer)) {
	d.enter(func() {
		d.judged(membership.Heard{Heartbeat: h})
		for i := range h.Journals {
			if h.Journals[i].Leads {
				d.claimed(membership.FromNode, h.Journals[i].Leader)
			}
		}
		a := membership.Answer{Claims: d.member.Claims(), Leaders: d.view.Leaders()}
		if d.begun() {
			a.Seq = d.cluster.Seq
		}
		answer(a)
	})
}

// Question answers a node that asks about the controller: by the present, as no event may
// have come for a while.
func (d *Driver) Question(about membership.Leader, answer func(membership.Reply)) {
	d.enter(func() {
		d.claimed(membership.FromNode, about)
		if d.begun() {
			d.membered(membership.Tick{})
		}
		answer(d.member.Reply())
	})
}

// Register answers a run that asks to be registered.
func (d *Driver) Register(node segment.ID, run metadata.Run, answer func(Registered)) {
	d.enter(func() { d.joining(joining{node, run, answer}) })
}

func (d *Driver) joining(x joining) {
	d.token++
	d.joins[d.token] = x
	d.judged(membership.Joining{Token: d.token, Node: x.node, Run: x.run})
}

// join registers a run, or refuses it.
func (d *Driver) join(a membership.Join) {
	x := d.joins[a.Token]
	delete(d.joins, a.Token)
	if a.Err != nil {
		x.answer(Registered{Err: a.Err})
		return
	}
	d.env.StartNode(x.node, x.run, once(d, x.answer))
}

// Probe answers the controller, which asks whether this node can write to the store.
func (d *Driver) Probe(answer func(ok bool)) {
	d.enter(func() { d.env.Probe(membership.ProbeLimit, once(d, answer)) })
}
