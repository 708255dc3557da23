package drive

import (
	"errors"
	"time"

	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/metadata/membership"
	"github.com/varvelog/varve/tiering/segment"
)

// take sends a fence, settles it with a filler, and leads.
func (l *life) take() {
	if l.role != takes {
		l.role = takes
		l.since, l.knew = l.now(), l.epoch
		l.read(func() { l.write(fence) })
		l.r.after(time.Second, "take again", l.retake)
	}
}

// retake goes on when the bucket did not answer a read.
func (l *life) retake() {
	if l.role != takes {
		return
	}
	if !l.putting && !l.reading {
		l.read(func() { l.write(fence) })
	}
	l.r.after(time.Second, "take again", l.retake)
}

func (l *life) object(k kind) *object {
	l.r.w.objects++
	return &object{kind: k, id: segment.ID{1, 12: byte(l.r.w.objects >> 16), 13: byte(l.r.w.objects >> 8), 15: byte(l.r.w.objects)},
		epoch: l.epoch, node: l.r.folder.id, start: l.r.run.Start}
}

func (l *life) write(k kind) {
	if l.role != takes || l.putting {
		return
	}
	o := l.object(k)
	if k == fence {
		o.epoch++
	}
	l.send(o, func() {
		l.epoch = o.epoch
		l.took(o)
		if k == fence {
			l.write(filler)
			return
		}
		l.settled = segment.Ref{Seq: l.next - 1, Object: o.id}
		l.led()
	})
}

// send sends one object until its outcome is known, or the leadership is over.
func (l *life) send(o *object, done func()) {
	l.putting = true
	seq, turn := l.next, l.turn
	over := func() bool { return l.turn != turn }
	l.r.w.bucket.put(l.r, l.journal, seq, o, func(s stored) {
		switch {
		case over():
		case s == created:
			l.putting = false
			done()
		default:
			l.readBack(o, seq, over, done)
		}
	})
}

func (l *life) readBack(o *object, seq uint64, over func() bool, done func()) {
	l.r.w.bucket.get(l.r, l.journal, seq, func(found *object, ok bool) {
		switch {
		case over():
		case !ok, ok && found == nil:
			l.r.after(200*time.Millisecond, "send again", func() {
				if !over() {
					l.send(o, done)
				}
			})
		case found.id == o.id:
			l.putting = false
			done()
		default:
			l.lostTo(found)
		}
	})
}

// lostTo: another object has the place.
func (l *life) lostTo(o *object) {
	was, epoch := l.role, l.epoch
	l.role, l.putting = idle, false
	l.turn++
	known := o.kind == data || o.kind == end
	l.took(o)
	if was == takes && (known || l.journal > 0 && o.epoch <= epoch) {
		l.take() // lost to data: the fence is built again
		return
	}
	if l.journal == 0 {
		l.r.w.Count("lost journal 0 to a fence")
	}
	l.depose(epoch, membership.Fenced{Node: o.node, Epoch: o.epoch})
}

// depose: the leadership is over. The Driver learns it before plans fail.
func (l *life) depose(epoch uint32, by membership.Fenced) {
	l.controller, l.ready, l.blocked, l.to = nil, false, false, segment.ID{}
	l.r.w.deposed(l)
	switch {
	case l.journal > 0:
		l.r.drive.Ended(l.journal, epoch)
	case by == membership.Fenced{}:
		l.r.drive.Resigned(epoch)
	default:
		l.r.drive.Fenced(epoch, by)
	}
	queue := l.queue
	l.queue = nil
	for _, p := range queue {
		p.done(errDeposed)
	}
}

// resign gives journal 0 up without a fence of another.
func (l *life) resign() {
	if l.role == leads || l.role == takes {
		l.role, l.putting = idle, false
		l.turn++
		l.depose(l.epoch, membership.Fenced{})
	}
}

func (l *life) leader() membership.Leader {
	return membership.Leader{Journal: l.journal, Node: l.r.folder.id, Epoch: l.epoch, Settled: l.settled, Head: l.next - 1}
}

func (l *life) led() {
	l.role, l.blocked = leads, false
	l.r.w.led(l)
	if l.journal > 0 {
		l.r.drive.Led(l.leader())
		return
	}
	l.controller = metadata.NewController(l.r.state, metadata.Defaults{Partitions: 1, ReplicationFactor: 1, Journals: l.r.w.shape.Journals})
	entries, err := l.controller.Bootstrap()
	if err == nil {
		var more []segment.Entry
		more, _, err = l.controller.StartNode(l.r.folder.id, l.r.run)
		entries = append(entries, more...)
	}
	if errors.Is(err, metadata.ErrRemovedNode) {
		l.r.folder.gone = true
		l.r.kill()
		return
	}
	if err != nil {
		l.r.w.Fail("%s: %w", l.r.p.Name, err)
		return
	}
	l.r.drive.Led(l.leader())
	ready := func(err error) {
		if err == nil && l.role == leads {
			l.ready = true
			l.r.drive.Ready()
		}
	}
	if len(entries) == 0 {
		ready(nil)
		return
	}
	l.propose(entries, ready)
}

func (l *life) propose(entries []segment.Entry, done func(error)) {
	l.queue = append(l.queue, proposal{entries, done})
	l.commit()
}

// commit sends the next object of a leader, if there is something to send.
func (l *life) commit() {
	if l.putting {
		return
	}
	o := l.object(data)
	var p proposal
	switch {
	case len(l.queue) > 0:
		p, l.queue = l.queue[0], l.queue[1:]
		o.entries = p.entries
	case l.role == ending:
		o.kind, o.successor = end, l.to
	case l.journal > 0 && l.r.w.wantsWrite(l):
	default:
		return
	}
	l.since = l.now()
	sent := l.r.p.Now()
	l.send(o, func() {
		l.took(o)
		l.blocked = false
		l.r.drive.Proved(sent, l.journal)
		l.r.w.committed(l)
		if p.done != nil {
			p.done(nil)
		}
		if o.kind == end {
			l.handedOver(o)
		}
	})
}

func (l *life) handedOver(o *object) {
	l.r.w.Count("handed over")
	l.role = idle
	l.depose(l.epoch, membership.Fenced{Node: o.successor, Epoch: l.epoch})
}

// commitLate is how long a commit may take before a leader probes the store, and storeEvery
// the time between two of these probes.
const (
	commitLate = 3 * time.Second
	storeEvery = 3 * time.Second
)

// watchStore probes the store when a commit is late, and before a journal is taken.
func (l *life) watchStore() {
	late := l.putting && l.role != idle && l.now()-l.since >= commitLate
	switch {
	case !late && l.role != waits:
		l.storeFails = false
		return
	case l.now()-l.probed < storeEvery:
		return
	}
	l.probed = l.now()
	l.r.w.bucket.probe(l.r, func(ok bool) {
		l.storeFails = !ok
		l.blocked = !ok && l.putting && l.role == leads
	})
}

func (l *life) report() membership.Report {
	rep := membership.Report{Leader: l.leader(), Leads: l.role == leads || l.role == ending, Idle: l.now() - l.ran, Blocked: l.blocked || l.storeFails && l.role != leads, Load: l.r.w.shape.Load}
	if !rep.Leads {
		rep.Taking = l.now() - l.taking + 1
	}
	return rep
}
