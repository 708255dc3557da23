package drive

import (
	"maps"
	"slices"

	"github.com/varvelog/varve/metadata/membership"
)

// judged gives the Judge an event, and carries out its actions.
func (d *Driver) judged(ev membership.Event) {
	for _, a := range d.judge.Step(d.env.Now(), ev) {
		switch a := a.(type) {
		case membership.Plan:
			d.plan(a)
		case membership.Dial:
			d.dial(a, d.judged)
		case membership.Look:
			d.look(a, d.judged)
		case membership.Probe:
			d.probe(a)
		case membership.Join:
			d.join(a)
		case membership.Resign:
			d.env.Resign()
		case membership.Yield:
			d.env.Yield(a.To)
		}
	}
}

// membered gives the Member an event, and carries out its actions.
func (d *Driver) membered(ev membership.Event) {
	for _, a := range d.member.Step(d.env.Now(), ev) {
		switch a := a.(type) {
		case membership.Beat:
			d.beat(a.To)
		case membership.Register:
			d.register(a.To)
		case membership.Ask:
			d.ask(a)
		case membership.Dial:
			d.dial(a, d.membered)
		case membership.Look:
			d.look(a, d.membered)
		case membership.Probe:
			d.probeOwn(a.Token, d.membered)
		case membership.Stand:
			d.env.Stand()
		case membership.Exit:
			d.env.Exit(a.Err)
		case membership.Seek:
			d.enter(func() { d.judged(membership.Seeking{}) })
		}
	}
}

// plan asks for entries. The answer to a plan of an earlier leadership says nothing about the
// one that is under way now.
func (d *Driver) plan(a membership.Plan) {
	turn := d.turn
	d.env.Plan(a.Changes, once(d, func(err error) {
		if d.turn == turn {
			d.judged(membership.Planned{Err: err})
		}
	}))
}

func (d *Driver) dial(a membership.Dial, to func(membership.Event)) {
	d.env.Dial(a.Node, a.Run, membership.HandshakeLimit, once(d, func(o membership.Outcome) {
		to(membership.Dialed{Token: a.Token, Outcome: o})
	}))
}

func (d *Driver) look(a membership.Look, to func(membership.Event)) {
	d.env.Look(a.Journal, membership.LookLimit, once(d, func(l membership.Looked) { to(l) }))
}

func (d *Driver) probeOwn(token uint64, to func(membership.Event)) {
	d.env.Probe(membership.ProbeLimit, once(d, func(ok bool) { to(membership.Probed{Token: token, OK: ok}) }))
}

// claimed takes a hint about a leader. A claim about a journal that is led here may be that of
// a rival.
func (d *Driver) claimed(from membership.Source, l membership.Leader) {
	if !d.begun() || l.Journal > 0 && d.cluster.Assignment(l.Journal) == nil {
		return // one about a journal that journal 0 does not name must not fill the memory
	}
	checks := d.view.Claimed(d.env.Now(), from, l)
	if epoch := d.led[l.Journal]; epoch > 0 && l.Epoch > epoch {
		d.env.Prove(l.Journal)
	}
	d.check(checks)
}

// proveDoubted looks again for the rivals that nodes have named: the look before may have failed.
func (d *Driver) proveDoubted() {
	for _, journal := range slices.Sorted(maps.Keys(d.led)) {
		if d.Leader(journal).Doubted {
			d.env.Prove(journal)
		}
	}
}

// Announced takes the claim of an announcement. Anyone may have sent it.
func (d *Driver) Announced(l membership.Leader) {
	d.enter(func() { d.claimed(membership.FromAnnouncement, l) })
}

func (d *Driver) check(actions []membership.Action) {
	for _, a := range actions {
		l := a.(membership.Check).Leader
		d.env.Check(l, once(d, func(right bool) {
			believed, next := d.view.Checked(l, right)
			if believed && l.Journal == 0 {
				d.membered(membership.Believes{Leader: l})
			}
			d.check(next)
		}))
	}
}
