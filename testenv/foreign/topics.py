"""Journal 0, as tiering/segment/FORMAT.md has it: topics, from entries or from a checkpoint."""

import re
from dataclasses import dataclass

import wire
from members import Members, Node
from wire import Reader, known, need

SUPPORTED_LEVEL = 3


@dataclass
class Topic:
    id: bytes
    name: str
    replication_factor: int
    created: int
    configs: dict
    journals: list
    deleting: bool = False
    deleted: int = 0
    bases: tuple = ()


class Metadata(Members):
    """Journal 0."""

    def __init__(self):
        self.head = self.head_epoch = self.level = self.journals = self.tiered = 0
        self.next_producer, self.nodes, self.topics, self.assignments = 1, {}, {}, {}

    def apply(self, o, entries):
        need(not o.partitions and (o.header.kind == wire.DATA or not o.entries), f"seq {o.header.seq} of journal 0 holds records or entries")
        for kind, payload in entries:
            r = Reader(payload, f"entry of kind {kind} at seq {o.header.seq} of journal 0")
            known(1 <= kind <= 15, r.what)
            version = r.u8()
            need(version, f"{r.what} is of version 0")
            known(version == 1 or version == 2 and kind in (1, 4, 5, 8), f"{r.what} is of version {version}")
            need(self.level or kind == 1, f"{r.what} stands before any feature level")
            if version == 2:
                {1: self.raise_at, 4: self.create_based, 5: self.delete_at, 8: self.add_based}[kind](r)
            else:
                [self.raise_level, self.register, self.add_journal, self.create, self.delete, self.purge,
                 self.hand_out, self.add_partitions, self.configure, self.bring_back,
                 self.start, self.set_state, self.set_fence, self.assign, self.nothing][kind - 1](r)
            r.end()
        self.head, self.head_epoch = o.header.seq, o.header.epoch

    def raise_level(self, r):
        level = r.u16()
        known(level <= SUPPORTED_LEVEL, f"feature level {level} is in force")
        need(level > self.level, f"{r.what} does not raise the level")
        self.level = level

    def raise_at(self, r):
        before, at = self.level, (self.raise_level(r), r.i64())[1]
        need(before and self.level >= 2 and at > 0, f"{r.what} raises the level at no time")
        self.tiered = self.tiered or at

    def register(self, r):
        node, broker = r.set_id(), r.i32()
        need(node not in self.nodes and broker == len(self.nodes) + 1, f"{r.what} is out of order")
        self.nodes[node] = Node(broker)
        return node

    def add_journal(self, r):
        need(r.u32() == self.journals + 1, f"{r.what} is out of order")
        self.journals += 1

    def create(self, r):
        self.add_topic(topic(r), r)

    def create_based(self, r):
        self.add_topic(topic(r, based=True), r)

    def add_topic(self, t, r):
        need(self.level >= 3 or not any(t.bases), f"{r.what} has epoch bases")
        need(t.id not in self.topics and (t.deleting or not self.taken(t)), f"{r.what} creates {t.name} again")
        self.check_journals(t.journals, r)
        self.topics[t.id] = t

    def taken(self, t):
        """Whether another topic has the name."""
        return any(t.name.replace(".", "_") == other.name.replace(".", "_") and other is not t
                   and (self.level < 2 or not other.deleting) for other in self.topics.values())

    def check_journals(self, journals, r):
        need(all(1 <= j <= self.journals for j in journals), f"{r.what} names a journal that is not there")

    def live(self, r):
        t = self.topics.get(r.set_id())
        need(t and not t.deleting, f"{r.what} names no topic")
        return t

    def delete(self, r):
        self.live(r).deleting = True

    def delete_at(self, r):
        t, t.deleted = self.live(r), r.i64()
        need(self.level >= 2 and t.deleted > 0, f"{r.what} deletes at no time")
        t.deleting = True

    def bring_back(self, r):
        t = self.topics.get(r.set_id())
        need(self.level >= 2 and t and t.deleting and t.deleted and not self.taken(t), f"{r.what} names no topic that can be restored")
        t.deleting, t.deleted = False, 0

    def purge(self, r):
        t = self.topics.pop(r.set_id(), None)
        need(t and t.deleting, f"{r.what} names no deleted topic")

    def hand_out(self, r):
        first, count = r.i64(), r.u32()
        need(first == self.next_producer and 1 <= count <= 1000000, f"{r.what} is out of order")
        self.next_producer += count

    def add_based(self, r):
        need(self.level >= 3, f"{r.what} has epoch bases")
        self.add_partitions(r, based=True)

    def add_partitions(self, r, based=False):
        t, first = self.live(r), r.u32()
        more, bases = partitions(r, based)
        need(first == len(t.journals) and 1 <= len(more) <= 10000 - first, f"{r.what} is out of order")
        self.check_journals(more, r)
        t.journals, t.bases = t.journals + more, t.bases + bases

    def configure(self, r):
        t = self.live(r)
        t.configs = configs(r, r.u16())

    def restore(self, bucket, number, payload):
        self.__init__()
        r = Reader(payload, "state of journal 0")
        version = r.u8()
        known(1 <= version <= 3, f"{r.what} is of version {version}")
        self.head, self.head_epoch, self.level = r.u64(), r.u32(), r.u16()
        need(version == max(1, min(self.level, 3)), f"{r.what} of version {version} is of level {self.level}")
        if version >= 2:
            self.tiered = r.i64()
        self.next_producer, self.journals = r.i64(), r.u32()
        known(self.level <= SUPPORTED_LEVEL, f"feature level {self.level} is in force")
        for _ in range(r.u32()):
            node = self.register(r)
            if version == 3:
                self.restore_node(node, r)
        if version == 3:
            self.restore_assignments(r)
        last = b""
        for _ in range(r.u32()):
            deleting, deleted = r.flag(), r.i64() if version >= 2 else 0
            payload_version = r.u8() if version == 3 else 1
            need(1 <= payload_version <= 2, f"{r.what} has a topic of version {payload_version}")
            t = topic(r, based=payload_version == 2)
            t.deleting, t.deleted = deleting, deleted
            need(last < t.id and (deleting or not deleted), f"{r.what} has topic {t.name} out of order")
            self.add_topic(t, r)
            last = t.id
        r.end()

    def same(self, other):
        return vars(self) == vars(other)


def partitions(r, based):
    journals, bases = [], ()
    for _ in range(r.u32()):
        journals.append(r.u32())
        bases += (r.i32() if based else 0,)
    need(all(0 <= base < 1 << 30 for base in bases) and any(bases) == based, f"{r.what} has wrong epoch bases")
    return journals, bases


def topic(r, based=False):
    topic_id, name, factor, created = r.set_id(), r.text(), r.i16(), r.i64()
    set_here = configs(r, r.u16())
    journals, bases = partitions(r, based)
    need(re.fullmatch("[a-zA-Z0-9._-]{1,249}", name) and name not in (".", ".."), f"{r.what} has a topic with the name {name}")
    need(1 <= factor <= 3 and 1 <= len(journals) <= 10000, f"{r.what} has topic {name} with a wrong size")
    return Topic(topic_id, name, factor, created, set_here, journals, bases=bases)


def configs(r, n):
    found, last = {}, ""
    for _ in range(n):
        name, value = r.text(), r.text()
        need(last < name and len(name) <= 128 and len(value) <= 2048, f"{r.what} has config {name} out of order")
        found[name] = value
        last = name
    need(n <= 128, f"{r.what} has {n} configs")
    return found
