"""The order of a journal, as tiering/segment/FORMAT.md has it: which objects count,
where the journal ends, and where a reader may begin."""

from collections import namedtuple

import wire
from wire import NOTHING, Corrupt, Reader, Ref, TooOld, known, need

FLOOR_PLAN = 65280
LEADERSHIP_END = 65281
Plan = namedtuple("Plan", "number checkpoint floor_object")
Checkpoint = namedtuple("Checkpoint", "key next epoch fence tail last leader leaderships covered state attached plans")


def plan(r):
    p = Plan(r.u64(), Ref(r.u64(), r.set_id()), r.set_id())
    need(p.number and p.checkpoint.seq, f"{r.what} plans nothing")
    return p


class Deleted(Corrupt):
    """An object below the floor is not there any more: begin at the floor."""


class Journal:
    """Reads a journal in order and applies its valid objects to a state."""

    def __init__(self, bucket, number, state):
        self.bucket, self.number, self.state = bucket, number, state
        self.next, self.epoch = 1, 0
        self.fence = self.tail = self.last = NOTHING
        self.leader, self.leaderships, self.covered, self.plans = bytes(16), [], [], []
        self.attached = b""
        self.seen = {"valid": 0, "void": 0, "fence": 0, "filler": 0, "end": 0}

    def key(self, rest):
        return f"journals/{self.number}/{rest}"

    def read(self, on_object=None):
        """Reads to the end, which is proved by the floor and by what lies beyond."""
        while True:
            data = self.bucket.get(self.key(f"{self.next:020d}"))
            if data is None:
                break
            o = wire.journal_object(data, self.key(self.next))
            self.take(o)
            if on_object:
                on_object(o)
        lowest = self.floor()
        if lowest and lowest.floor > self.next:
            raise Deleted(f"{self.key(self.next)} was deleted: begin at the floor, {lowest.floor}")
        self.look_beyond()

    def look_beyond(self):
        for name in self.bucket.names(self.key(""), "[0-9]{20}"):
            if int(name) > self.next:
                h = wire.header(self.bucket.get(self.key(name)), self.key(name))
                need(h.cluster == self.bucket.cluster.id and h.journal == self.number, f"{self.key(name)} is foreign")
                need(h.confirmed < self.next and h.seq < self.next + self.bucket.cluster.window,
                     f"{self.key(self.next)} is missing: {name} lies beyond it")

    def take(self, o):
        h, what = o.header, self.key(self.next)
        need(h.cluster == self.bucket.cluster.id and h.journal == self.number and h.seq == self.next, f"{what} is foreign")
        valid = self.judge(h, what)
        self.next += 1
        if not valid:
            self.seen["void"] += 1
            return
        self.seen["valid"] += 1
        self.last = Ref(h.seq, h.object)
        if h.kind == wire.FENCE:
            self.epoch, self.fence, self.tail, self.leader = h.epoch, self.last, self.last, h.node
            self.leaderships = (self.leaderships + [(h.epoch, h.incarnation)])[-1024:]
            self.seen["fence"] += 1
        elif h.kind == wire.FILLER:
            self.seen["filler"] += 1
        else:
            self.tail = self.last
        self.note_log(h)
        self.state.apply(o, [e for e in o.entries if not self.own(e, h, what)])

    def judge(self, h, what):
        """Says whether an object is valid; if not it is void."""
        if h.epoch < self.epoch:
            need(h.confirmed < self.fence.seq, f"{what} is of a leader that had confirmed the fence's place")
            return False
        if h.epoch > self.epoch:
            need(h.kind == wire.FENCE and h.epoch == self.epoch + 1 and h.previous == self.last, f"{what} opens no epoch")
        elif h.kind == wire.FILLER:
            need(h.seq < self.fence.seq + self.bucket.cluster.window and h.previous == self.fence, f"{what} is no filler of this fence")
        else:
            need(h.kind == wire.DATA and h.seq >= self.fence.seq + self.bucket.cluster.window and h.previous == self.tail,
                 f"{what} does not follow what is before it")
        return True

    def note_log(self, h):
        log, _, end = h.wal
        if end:
            end = max([end] + [to for at, to in self.covered if at == log])
            self.covered = ([c for c in self.covered if c[0] != log] + [(log, end)])[-1024:]

    def own(self, entry, h, what):
        """Takes an entry that is the journal's own; False if it is the state's."""
        kind, payload = entry
        if kind < FLOOR_PLAN:
            return False
        if kind == LEADERSHIP_END:
            self.end(payload, what)
            return True
        known(kind == FLOOR_PLAN and payload[:1] == b"\1", f"{what} has an entry of kind {kind}")
        r = Reader(payload[1:], f"floor plan in {what}")
        p = plan(r)
        r.end()
        last = self.plans[-1] if self.plans else Plan(0, NOTHING, bytes(16))
        again = p.number == last.number and len(self.plans) < 16
        need(again or p.number == last.number + 1, f"{what} plans floor {p.number} after {last.number}")
        need(last.checkpoint.seq < p.checkpoint.seq and p.checkpoint.seq + 1 <= h.confirmed, f"{what} plans a floor out of order")
        self.plans = self.plans + [p] if again else [p]
        return True

    def end(self, payload, what):
        """Checks the entry that ends a leadership. It changes nothing."""
        known(payload[:1] == b"\1", f"{what} ends a leadership")
        r = Reader(payload[1:], f"end of a leadership in {what}")
        r.set_id(), r.u32()
        r.end()
        self.seen["end"] += 1

    def floor(self):
        """The floor in force, None if there is none."""
        force = None
        while True:
            number = force.number + 1 if force else 1
            data = self.bucket.get(self.key(f"floors/{number:020d}"))
            if data is None:
                return force
            f = wire.floor(data, self.key(f"floors/{number}"))
            need(f.cluster == self.bucket.cluster.id and f.journal == self.number and f.number == number
                 and f.floor >= (force.floor if force else 0), f"floor {number} of journal {self.number} is out of order")
            force = f

    def checkpoints(self):
        """Keys of the checkpoints, the newest first."""
        return [self.key("checkpoints/" + name) for name in
                reversed(self.bucket.names(self.key("checkpoints"), "[0-9]{20}-[0-9a-f]{32}"))]

    def begin_late(self):
        """Goes to the newest checkpoint that can be used; False if there is none."""
        lowest = self.floor()
        for key in self.checkpoints():
            if lowest and key <= lowest.checkpoint:
                break
            try:
                c = checkpoint(self.bucket, self.number, key)
                o = wire.journal_object(self.bucket.get(self.key(f"{c.last.seq:020d}")) or b"", key)
                need((o.header.seq, o.header.object) == c.last, f"{key} is of another journal")
                self.begin_at(c)
                return True
            except (Corrupt, TooOld):
                continue
        return self.begin_at_floor()

    def begin_at_floor(self):
        """Goes to the checkpoint that the floor names; False if there is none."""
        lowest = self.floor()
        if lowest is None:
            return False
        data = self.bucket.get(lowest.checkpoint)
        need(data is not None and wire.sha256(data) == lowest.hash, f"{lowest.checkpoint} is not the one that the floor names")
        c = checkpoint(self.bucket, self.number, lowest.checkpoint)
        need(c.next == lowest.floor, f"{lowest.checkpoint} is not of the floor")
        self.begin_at(c)
        return True

    def begin_at(self, c):
        self.state.restore(self.bucket, self.number, c.state)
        need(self.state.head == c.last.seq, f"{c.key} has a state of seq {self.state.head}")
        self.next, self.epoch, self.fence, self.tail, self.last, self.leader = c.next, c.epoch, c.fence, c.tail, c.last, c.leader
        self.leaderships, self.covered, self.plans, self.attached = c.leaderships, c.covered, c.plans, c.attached


def checkpoint(bucket, journal, key):
    data = bucket.get(key)
    need(data is not None, f"{key} is not there")
    b = wire.blob(data, wire.CHECKPOINT, key)
    r = Reader(b.payload, key)
    version = r.u8()
    known(1 <= version <= 3, f"{key} is of version {version}")
    following, epoch, fence, tail, last = r.u64(), r.u32(), Ref(r.u64(), r.id()), Ref(r.u64(), r.id()), Ref(r.u64(), r.id())
    leader = r.id()
    leaderships = [(r.u32(), r.id()) for _ in range(r.u32())]
    covered = [(r.id(), r.u64()) for _ in range(r.u32())]
    state, attached, plans = r.bytes32(), b"", []
    if version >= 2:
        attached = r.bytes32()
        need(attached or version == 3, f"{key} is of version 2 with nothing attached")
    if version == 3:
        plans = [plan(r) for _ in range(r.u32())]
        need(1 <= len(plans) <= 16 and len({p.number for p in plans}) == 1, f"{key} has wrong plans")
    r.end()
    need(following == last.seq + 1 == b.seq + 1 and epoch and fence.seq, f"{key} contradicts itself")
    need(len(leaderships) <= 1024 and len(covered) <= 1024, f"{key} has too long a history")
    need(b.cluster == bucket.cluster.id and b.journal == journal
         and key == f"journals/{journal}/checkpoints/{last.seq:020d}-{last.object.hex()}", f"{key} is foreign")
    return Checkpoint(key, following, epoch, fence, tail, last, leader, leaderships, covered, state, attached, plans)
