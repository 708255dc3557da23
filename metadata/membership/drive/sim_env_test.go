package drive

import (
	"errors"
	"fmt"
	"time"

	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/metadata/membership"
	"github.com/varvelog/varve/metadata/peer"
	"github.com/varvelog/varve/tiering/segment"
)

// A runner is the Env of its Driver: network, bucket and lives are stand-ins, and requests
// are bytes.

func (r *runner) Now() time.Time { return r.p.Now() }

func (r *runner) Dial(node segment.ID, run metadata.Run, limit time.Duration, done func(membership.Outcome)) {
	r.w.network.call(r, node, run, limit, func(_ *runner, answer func(any)) { answer(nil) }, func(o membership.Outcome, _ any) { done(o) })
}

func (r *runner) Call(node segment.ID, run metadata.Run, req Request, limit time.Duration, done func(Response)) {
	if !run.Start.IsZero() {
		r.w.Fail("%s calls start %s of node %s: any may answer", r.p.Name, run.Start, node)
	}
	from := peer.Identity{Node: r.folder.id, Start: r.run.Start}
	r.w.network.call(r, node, run, limit, func(to *runner, answer func(any)) {
		to.serve(from, req, func(body []byte, err error) { answer(Response{membership.Proved, body, err}) })
	}, func(o membership.Outcome, v any) {
		if o == membership.Proved {
			done(v.(Response))
			return
		}
		done(Response{Outcome: o})
	})
}

// serve answers a request of another node.
func (r *runner) serve(from peer.Identity, req Request, answer func([]byte, error)) {
	var err error
	switch req.Kind {
	case peer.KindHeartbeat:
		var h membership.Heartbeat
		if h, err = membership.DecodeHeartbeat(req.Body, from.Node, from.Start); err == nil {
			r.drive.Heartbeat(h, func(a membership.Answer) { answer(a.Append(nil), nil) })
		}
	case peer.KindQuestion:
		var about membership.Leader
		if about, err = membership.DecodeQuestion(req.Body); err == nil {
			r.drive.Question(about, func(p membership.Reply) { answer(p.Append(nil), nil) })
		}
	case peer.KindRegister:
		var run metadata.Run
		if run, err = membership.DecodeRegister(req.Body, from.Node, from.Start); err == nil {
			r.drive.Register(from.Node, run, func(x Registered) { answer(membership.AppendRegistered(nil, x.ID), x.Err) })
		}
	case peer.KindProbe:
		r.drive.Probe(func(ok bool) { answer(membership.AppendProbed(nil, ok), nil) })
	default:
		err = fmt.Errorf("request %v", req.Kind)
	}
	if err != nil {
		r.w.Fail("%s sends %v: %w", from.Node, req.Kind, err)
	}
}

func (r *runner) Look(journal uint32, _ time.Duration, done func(membership.Looked)) {
	r.w.bucket.look(r, journal, func(head uint64, ok bool) { done(membership.Looked{Journal: journal, Head: head, Failed: !ok}) })
}

func (r *runner) Probe(_ time.Duration, done func(ok bool)) { r.w.bucket.probe(r, done) }

func (r *runner) Check(l membership.Leader, done func(right bool)) {
	r.w.bucket.get(r, l.Journal, l.Settled.Seq, func(o *object, ok bool) {
		done(ok && o != nil && o.kind == filler && o.id == l.Settled.Object && o.epoch == l.Epoch && o.node == l.Node)
	})
}

func (r *runner) Reports() (all []membership.Report) {
	for _, id := range sortedKeys(r.lives) {
		if l := r.lives[id]; l.role != idle {
			all = append(all, l.report())
		}
	}
	return all
}

func (r *runner) Prove(journal uint32) { r.life(journal).prove() }

func (r *runner) Poke() { r.life(0).poke() }

func (r *runner) Stand() {
	r.w.Count("stands")
	r.life(0).take()
}

func (r *runner) Resign() {
	r.w.Count("resigned")
	r.life(0).resign()
}

func (r *runner) Yield(to segment.ID) {
	r.w.Count("yielded")
	r.life(0).handOver(to)
}

func (r *runner) Plan(changes []metadata.Change, done func(error)) {
	l := r.life(0)
	if l.controller == nil {
		r.w.Fail("%s plans and is not the controller", r.p.Name)
		return
	}
	entries, err := l.controller.Change(changes...)
	if err != nil {
		r.w.Count("plan refused")
		done(err)
		return
	}
	for _, c := range changes {
		r.w.note(r, c)
	}
	l.propose(entries, done)
}

func (r *runner) StartNode(node segment.ID, run metadata.Run, done func(Registered)) {
	l := r.life(0)
	if l.controller == nil {
		done(Registered{Err: metadata.ErrNotController})
		return
	}
	entries, id, err := l.controller.StartNode(node, run)
	if err != nil || len(entries) == 0 {
		done(Registered{id, err})
		return
	}
	l.propose(entries, func(err error) { done(Registered{id, err}) })
}

func (r *runner) Refused(err error) {
	switch {
	case errors.Is(err, membership.ErrInUse):
		r.w.Count("clone refused")
	case errors.Is(err, membership.ErrWrongAddress):
		r.w.Count("wrong address refused")
	default:
		return
	}
	r.refuse = err
}

func (r *runner) Exit(err error) {
	r.folder.gone = errors.Is(err, metadata.ErrRemovedNode)
	r.w.Count("process ends: " + err.Error()[:12])
	r.kill()
}
