package drive

import (
	"errors"
	"time"

	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/metadata/membership"
	"github.com/varvelog/varve/tiering/segment"
)

type role uint8

const (
	idle   role = iota // it follows journal 0, or nothing
	waits              // for its leader to end, with a journal that is assigned here
	takes              // its fence or its filler is under way
	leads              //
	ending             // its end entry is under way
)

// life is a journal on a node: followed, taken, led, handed over, and followed again.
type life struct {
	r       *runner
	journal uint32
	role    role
	next    uint64 // the next seq to read or write
	epoch   uint32 // the highest that was read
	last    *object
	ended   segment.ID // the successor, if the last leadership has ended
	reading bool
	polled  time.Duration
	taking  time.Duration // since when
	hung    bool          // its loop does nothing
	ran     time.Duration

	settled    segment.Ref
	controller *metadata.Controller
	ready      bool // it is the controller
	queue      []proposal
	putting    bool
	since      time.Duration // of the PUT under way
	blocked    bool
	probing    time.Duration
	to         segment.ID // the successor that it hands over to
	asked      time.Duration
	silent     time.Duration // since when requests are unanswered; 0: none is
	shake      membership.Outcome
	storeFails bool
	probed     time.Duration
	atHead     bool          // the last read found nothing more
	denied     bool          // the node of the last fence does not lead it
	turn       int           // counts the ends of leaderships and of attempts
	proved     time.Duration // when a proof of its head last began
	knew       uint32        // the highest epoch when it began to take journal 0
}

type proposal struct {
	entries []segment.Entry
	done    func(error)
}

var errDeposed = errors.New("deposed")

func (l *life) now() time.Duration { return l.r.w.Elapsed() }

// follow reads journal 0 object by object, and again after a while.
func (l *life) follow() {
	if l.journal == 0 && (l.role == idle || l.role == waits) {
		l.read(l.r.begin)
	}
	l.r.after(l.r.w.Between(200*time.Millisecond, 600*time.Millisecond), "follow", l.follow)
}

func (l *life) poke() {
	if l.role == idle {
		l.read(func() {})
	}
}

// prove reads to the head, also of a journal that is led.
func (l *life) prove() {
	switch l.role {
	case idle, waits:
		l.read(func() {})
	case leads:
		next, began, asked := l.next, l.now(), l.r.p.Now()
		l.r.w.bucket.get(l.r, l.journal, l.next, func(o *object, ok bool) {
			switch {
			case !ok || l.role != leads || l.next != next || l.putting:
			case o == nil:
				l.proved = began
				l.r.drive.Proved(asked, l.journal)
			default:
				l.lostTo(o)
			}
		})
	}
}

// read reads to the head.
func (l *life) read(atHead func()) {
	l.readMore(func() {
		if l.atHead {
			atHead()
			return
		}
		l.read(atHead)
	})
}

// readMore reads the objects that are there now.
func (l *life) readMore(then func()) {
	if l.reading {
		return
	}
	l.reading = true
	began := l.now()
	l.r.w.bucket.getMany(l.r, l.journal, l.next, func(all []*object, ok bool) {
		l.reading = false
		if !ok || l.role == leads || l.role == ending {
			return
		}
		for _, o := range all {
			if l.role == takes && l.journal == 0 && o.kind == fence && o.epoch > l.knew {
				l.lostTo(o)
				return
			}
			l.took(o)
		}
		if l.atHead = len(all) == 0; l.atHead {
			l.proved = began
		}
		then()
	})
}

// took applies the next object, of this node or another.
func (l *life) took(o *object) {
	seq := l.next
	l.next++
	l.epoch = max(l.epoch, o.epoch)
	switch o.kind {
	case fence:
		l.last, l.ended, l.denied = o, segment.ID{}, false
		if l.journal == 0 {
			l.r.drive.FenceSeen(o.node, o.epoch)
		}
	case end:
		l.ended = o.successor
	}
	l.r.drive.Read(l.journal, o.epoch)
	if l.journal != 0 {
		return
	}
	k := segment.KindData
	if o.kind == fence {
		k = segment.KindFence
	}
	f := &segment.Footer{Header: segment.Header{Kind: k, Seq: seq, Epoch: o.epoch}}
	if err := l.r.state.Apply(f, o.entries); err != nil {
		l.r.w.Fail("%s: %w", l.r.p.Name, err)
	}
	l.r.applied()
	if o.kind == end {
		l.r.drive.Ending(o.successor)
	}
}

// act is the loop of a journal.
func (l *life) act() {
	if l.hung {
		return
	}
	l.ran = l.now()
	if l.journal > 0 && (l.role == idle || l.role == waits) {
		l.wait()
	}
	if l.role == leads || l.role == ending {
		l.commit()
	}
	l.watchStore()
}

// wait waits to be allowed to take a journal that is assigned to this node.
func (l *life) wait() {
	c := l.r.state.Cluster()
	if a := c.Assignment(l.journal); a.Node != l.r.folder.id || !l.r.registered() {
		l.role = idle
		return
	}
	if l.role == idle {
		l.role, l.taking = waits, l.now()
		l.asked, l.silent, l.shake, l.denied = 0, 0, 0, false
	}
	if l.now()-l.polled < 200*time.Millisecond {
		return
	}
	l.polled = l.now()
	if zero := l.r.lives[0]; zero.proved <= l.taking {
		zero.prove()
		return
	}
	l.readMore(func() {
		if l.role == waits {
			l.mayTake(l.r.state.Cluster())
		}
	})
}

func (l *life) mayTake(c *metadata.Cluster) {
	t := membership.Taking{Self: l.r.folder.id, Cluster: c, Journal: l.journal, EndedFor: l.ended, Handshake: l.shake, Denied: l.denied, StoreFails: l.storeFails, Proved: l.r.lives[0].proved > l.taking}
	if l.last != nil {
		t.Last = l.last.node
	}
	if l.silent > 0 {
		t.Silent = l.now() - l.silent
	}
	switch {
	case t.MayFence():
		l.take()
	case l.now()-l.asked > 500*time.Millisecond:
		l.asked = l.now()
		l.request(c, t.Last)
	}
}

// request asks the leader to hand the journal over.
func (l *life) request(c *metadata.Cluster, leader segment.ID) {
	n := c.Node(leader)
	if n == nil || !n.Lives() || leader == l.r.folder.id {
		return
	}
	number := c.Assignment(l.journal).Number
	if l.silent == 0 {
		l.silent = l.now()
	}
	l.r.w.network.call(l.r, leader, n.Run, membership.HandshakeLimit, func(to *runner, answer func(any)) {
		x := to.life(l.journal)
		if x.role == leads && membership.HandsOver(to.state.Cluster(), to.folder.id, l.journal, number, l.r.folder.id) {
			to.after(l.r.w.Between(0, 300*time.Millisecond), "flushed", func() { x.handOver(l.r.folder.id) })
		}
		answer(x.role == idle || x.role == waits)
	}, func(o membership.Outcome, v any) {
		if l.shake = o; o == membership.Proved {
			l.silent, l.denied = 0, v.(bool)
		}
	})
}

func (l *life) handOver(to segment.ID) {
	if l.role == leads {
		l.role, l.to = ending, to
		l.commit()
	}
}
