"""What journals add up to, as tiering/segment/FORMAT.md has it: topics (journal 0)
and partitions (the other journals), from entries or from checkpoints."""

import re
from collections import namedtuple
from dataclasses import dataclass, field

import wire
from wire import Reader, known, need

SUPPORTED_LEVEL = 1


@dataclass
class Topic:
    id: bytes
    name: str
    replication_factor: int
    created: int
    configs: dict
    journals: list
    deleting: bool = False


class Metadata:
    """Journal 0."""

    def __init__(self):
        self.head = self.head_epoch = self.level = self.journals = 0
        self.next_producer, self.nodes, self.topics = 1, {}, {}

    def apply(self, o, entries):
        need(not o.partitions and (o.header.kind == wire.DATA or not o.entries), f"seq {o.header.seq} of journal 0 holds records or entries")
        for kind, payload in entries:
            r = Reader(payload, f"entry of kind {kind} at seq {o.header.seq} of journal 0")
            known(1 <= kind <= 9, r.what)
            version = r.u8()
            need(version, f"{r.what} is of version 0")
            known(version == 1, f"{r.what} is of version {version}")
            need(self.level or kind == 1, f"{r.what} stands before any feature level")
            [self.raise_level, self.register, self.add_journal, self.create, self.delete, self.purge,
             self.hand_out, self.add_partitions, self.configure][kind - 1](r)
            r.end()
        self.head, self.head_epoch = o.header.seq, o.header.epoch

    def raise_level(self, r):
        level = r.u16()
        known(level <= SUPPORTED_LEVEL, f"feature level {level} is in force")
        need(level > self.level, f"{r.what} does not raise the level")
        self.level = level

    def register(self, r):
        node, broker = r.set_id(), r.i32()
        need(node not in self.nodes and broker == len(self.nodes) + 1, f"{r.what} is out of order")
        self.nodes[node] = broker

    def add_journal(self, r):
        need(r.u32() == self.journals + 1, f"{r.what} is out of order")
        self.journals += 1

    def create(self, r):
        t = topic(r)
        need(t.id not in self.topics and all(t.name.replace(".", "_") != other.name.replace(".", "_") for other in self.topics.values()),
             f"{r.what} creates {t.name} again")
        self.check_journals(t.journals, r)
        self.topics[t.id] = t

    def check_journals(self, journals, r):
        need(all(1 <= j <= self.journals for j in journals), f"{r.what} names a journal that is not there")

    def live(self, r):
        t = self.topics.get(r.set_id())
        need(t and not t.deleting, f"{r.what} names no topic")
        return t

    def delete(self, r):
        self.live(r).deleting = True

    def purge(self, r):
        t = self.topics.pop(r.set_id(), None)
        need(t and t.deleting, f"{r.what} names no deleted topic")

    def hand_out(self, r):
        first, count = r.i64(), r.u32()
        need(first == self.next_producer and 1 <= count <= 1000000, f"{r.what} is out of order")
        self.next_producer += count

    def add_partitions(self, r):
        t, first = self.live(r), r.u32()
        more = [r.u32() for _ in range(r.u32())]
        need(first == len(t.journals) and 1 <= len(more) <= 10000 - first, f"{r.what} is out of order")
        self.check_journals(more, r)
        t.journals = t.journals + more

    def configure(self, r):
        t = self.live(r)
        t.configs = configs(r, r.u16())

    def restore(self, bucket, number, payload):
        self.__init__()
        r = Reader(payload, "state of journal 0")
        version = r.u8()
        known(version == 1, f"{r.what} is of version {version}")
        self.head, self.head_epoch, self.level = r.u64(), r.u32(), r.u16()
        self.next_producer, self.journals = r.i64(), r.u32()
        known(self.level <= SUPPORTED_LEVEL, f"feature level {self.level} is in force")
        for _ in range(r.u32()):
            self.register(r)
        last = b""
        for _ in range(r.u32()):
            deleting = r.u8()
            self.create(r)
            t = list(self.topics.values())[-1]
            need(deleting <= 1 and last < t.id, f"{r.what} has topic {t.name} out of order")
            t.deleting, last = deleting == 1, t.id
        r.end()

    def same(self, other):
        return vars(self) == vars(other)


def topic(r):
    topic_id, name, factor, created = r.set_id(), r.text(), r.i16(), r.i64()
    set_here = configs(r, r.u16())
    journals = [r.u32() for _ in range(r.u32())]
    need(re.fullmatch("[a-zA-Z0-9._-]{1,249}", name) and name not in (".", ".."), f"{r.what} has a topic with the name {name}")
    need(1 <= factor <= 3 and 1 <= len(journals) <= 10000, f"{r.what} has topic {name} with a wrong size")
    return Topic(topic_id, name, factor, created, set_here, journals)


def configs(r, n):
    found, last = {}, ""
    for _ in range(n):
        name, value = r.text(), r.text()
        need(last < name and len(name) <= 128 and len(value) <= 2048, f"{r.what} has config {name} out of order")
        found[name] = value
        last = name
    need(n <= 128, f"{r.what} has {n} configs")
    return found


Ref = namedtuple("Ref", "seq base last max_timestamp position length leader_epoch crc")
REF = ">QqqIIiI"


def ref_bytes(ref):
    return wire.struct.pack(REF, ref.seq, *ref[2:])


@dataclass
class Log:
    """A partition as its journal has it."""
    start: int
    end: int
    epoch_base: int
    sealed: bool = False
    sealed_epoch: int = 0
    size: int = 0
    hash: bytes = bytes(32)
    refs: list = field(default_factory=list)
    epochs: list = field(default_factory=list)
    producers: dict = field(default_factory=dict)  # id: (epoch, last used, batches)

    def add(self, h, p):
        ref = Ref(h.seq, p.base, p.last, p.max_timestamp, p.position, p.length, p.leader_epoch, p.crc)
        self.refs.append(ref)
        self.hash = wire.sha256(self.hash, ref_bytes(ref))
        self.end, self.size = p.last + 1, self.size + p.length
        if not self.epochs or self.epochs[-1][0] < p.leader_epoch:
            self.epochs.append((p.leader_epoch, p.base))
        for q in p.producers:
            need(1 <= len(q.batches) <= 5, f"producer {q.id} has {len(q.batches)} batches")
            epoch, used, before = self.producers.get(q.id, (q.epoch, 0, ()))
            self.producers[q.id] = (q.epoch, max(used, h.built), ((before if epoch == q.epoch else ()) + q.batches)[-5:])

    def delete_before(self, offset):
        if offset <= self.start:
            return
        self.start = offset
        left = [e for e in self.epochs if e[1] > offset]
        before = [e for e in self.epochs if e[1] <= offset]
        self.epochs = [] if offset == self.end else [(before[-1][0], offset)] + left
        self.refs = [ref for ref in self.refs if ref.last >= offset]


class Partitions:
    """A data journal."""

    def __init__(self):
        self.head = self.epoch = self.pages = 0
        self.logs = {}  # by topic id and index

    def apply(self, o, entries):
        h = o.header
        need(h.epoch < 1 << 30, f"epoch is {h.epoch}")
        opened, expire, deleted, sealed = {}, 0, [], []
        for kind, payload in entries:
            r = Reader(payload, f"entry of kind {kind} at seq {h.seq}")
            known(1 <= kind <= 4, r.what)
            version = r.u8()
            known(version == 1, f"{r.what} is of version {version}")
            if kind == 3:
                expire = max(expire, r.i64())
                r.end()
                continue
            key = (r.set_id(), r.i32())
            log = self.logs.get(key) or opened.get(key)
            if kind == 1:
                need(log is None, f"{r.what} opens a partition again")
                start = r.i64()
                opened[key] = Log(start, start, r.i32())
                need(start >= 0 and 0 <= opened[key].epoch_base < 1 << 30, f"{r.what} is out of range")
            else:
                need(log and not log.sealed and key not in sealed, f"{r.what} names a partition that is not open")
            if kind == 2:
                sealed.append(key)
            if kind == 4:
                deleted.append((key, r.i64()))
                need(0 <= deleted[-1][1] <= log.end, f"{r.what} deletes what is not there")
            r.end()
        self.logs.update(opened)
        for log in self.logs.values():
            log.producers = {i: p for i, p in log.producers.items() if p[1] >= expire or not expire}
        for key, offset in deleted:
            self.logs[key].delete_before(offset)
        for p in o.partitions:
            self.add(h, p)
        for key in sealed:
            self.logs[key].sealed, self.logs[key].sealed_epoch = True, h.epoch + self.logs[key].epoch_base
        self.head, self.epoch = h.seq, h.epoch

    def add(self, h, p):
        what = f"partition {p.index} of {p.topic.hex()} at seq {h.seq}"
        log = self.logs.get((p.topic, p.index))
        need(log and not log.sealed, f"{what} is not open")
        need(p.base == log.end and p.leader_epoch == h.epoch + log.epoch_base and p.length, f"{what} does not follow what is before it")
        known(not p.transactions, f"{what} has transactions")
        log.add(h, p)

    def restore(self, bucket, number, payload):
        self.__init__()
        r = Reader(payload, f"state of journal {number}")
        version = r.u16()
        known(1 <= version <= 3, f"{r.what} is of version {version}")
        r.zero(2)
        need(r.u32() == number, f"{r.what} is of another journal")
        self.head, self.epoch, objects, partitions = r.u64(), r.u32(), r.u32(), r.u32()
        producer_pages = 0
        if version == 3:
            producer_pages = r.u32()
            r.zero(4)
            need(producer_pages, f"{r.what} has no producer pages")
        objects = [index_object(bucket, number, r) for _ in range(objects)]
        producer_pages = [read_producer_page(r, objects) for _ in range(producer_pages)]
        last = (b"", 0)
        for _ in range(partitions):
            key = (r.set_id(), r.i32())
            need(last < key, f"{r.what} has partitions out of order")
            self.logs[key], pages = restore_log(r, version, key, objects)
            self.pages, last = self.pages + pages, key
        r.end()
        decided = {(key, i) for key, log in self.logs.items() for i in log.producers}
        for before, page in reversed(producer_pages):
            for key, i, p in page:
                if (key, i) not in decided and (p[1] >= before or not before):
                    self.logs[key].producers[i] = p
                decided.add((key, i))

    def same(self, other):
        """Compares all but refs of deleted records: how many of these stay is a matter of taste."""
        def trimmed(state):
            return {k: {**vars(log), "refs": [ref for ref in log.refs if ref.last >= log.start]} for k, log in state.logs.items()}
        return (self.head, self.epoch) == (other.head, other.epoch) and trimmed(self) == trimmed(other)


def index_object(bucket, number, r):
    object_id, length = r.set_id(), r.u32()
    key = f"journals/{number}/index/{object_id.hex()}"
    data = bucket.get(key)
    need(data is not None, f"{key} is not there")
    b = wire.blob(data, wire.INDEX, key)
    need(b.cluster == bucket.cluster.id and b.journal == number and b.object == object_id and len(b.payload) == length, f"{key} is foreign")
    return b.payload


def restore_log(r, version, key, objects):
    epoch_base, start = r.i32(), r.i64()
    base = r.i64() if version > 1 else start
    log = Log(start, base, epoch_base, size=r.i64(), hash=r.raw(32))
    sealed = r.u8()
    r.zero(3)
    log.sealed, log.sealed_epoch = sealed == 1, r.i32()
    epochs, pages, chunks, producers = r.u32(), r.u32(), r.u32(), r.u32()
    r.zero(4)
    log.epochs = [(r.i32(), r.i64()) for _ in range(epochs)]
    for _ in range(pages):
        read_page(r, key, log, objects)
    for _ in range(chunks):
        n = r.u32()
        need(1 <= n <= 256, f"{r.what} has a chunk of {n} refs")
        take_refs(r, n, log)
    log.producers = dict(read_producers(r, producers))
    need(sealed <= 1 and base <= start and (log.refs or base == start), f"{r.what} contradicts itself")
    return log, pages


def read_producers(r, n):
    for _ in range(n):
        producer, epoch, batches = r.i64(), r.i16(), r.u8()
        r.zero(1)
        used = r.i64()
        yield producer, (epoch, used, tuple(wire.sent(r) for _ in range(batches)))


def read_producer_page(r, objects):
    number, position, length, crc, total = r.u32(), r.u32(), r.u32(), r.u32(), r.u32()
    r.zero(4)
    before, found = r.i64(), []
    need(number < len(objects), f"{r.what} names index object {number}")
    data = objects[number][position:position + length]
    need(len(data) == length and wire.crc32c(data) == crc, f"{r.what} names a page of producers that is damaged")
    page = Reader(data, "producer page")
    version = page.u16()
    known(version == 1, f"producer page of version {version}")
    page.zero(2)
    for _ in range(page.u32()):
        key = (page.set_id(), page.i32())
        found += [(key, i, p) for i, p in read_producers(page, page.u32())]
    page.end()
    need(len(found) == total, "producer page has another number of producers")
    return before, found


def read_page(r, key, log, objects):
    number, position, length, crc, last, newest = r.u32(), r.u32(), r.u32(), r.u32(), r.i64(), r.i64()
    need(number < len(objects), f"{r.what} names index object {number}")
    data = objects[number][position:position + length]
    need(len(data) == length and wire.crc32c(data) == crc, f"{r.what} names a page that is damaged")
    page = Reader(data, "index page")
    version, n = page.u16(), page.u16()
    known(version == 1, f"index page of version {version}")
    index, topic_id, base = page.i32(), page.id(), page.i64()
    need((topic_id, index) == key and base == log.end and 1 <= n <= 256, "index page is of another partition or place")
    refs = take_refs(page, n, log)
    page.end()
    need(log.end == last + 1 and max(ref.max_timestamp for ref in refs) == newest, "index page ends elsewhere")


def take_refs(r, n, log):
    refs = []
    for _ in range(n):
        seq, *rest = wire.struct.unpack(REF, r.raw(40))
        refs.append(Ref(seq, log.end, *rest))
        before = log.refs[-1] if log.refs else Ref(0, 0, 0, 0, 0, 0, 0, 0)
        need(before.seq < seq and refs[-1].last >= log.end and refs[-1].length and before.leader_epoch <= refs[-1].leader_epoch,
             f"{r.what} has refs out of order")
        log.refs.append(refs[-1])
        log.end = refs[-1].last + 1
    return refs
