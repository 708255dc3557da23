"""Data journals, as tiering/segment/FORMAT.md has them: partitions, from entries or from
checkpoints."""

from collections import namedtuple
from dataclasses import dataclass, field

import tiering
import wire
from wire import FENCE, Reader, known, need

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
    extents: list = field(default_factory=list)  # below merged, as tiering has them
    merged: int = 0
    freed: int = 0
    source_bytes: int = 0
    merged_hash: int = 0
    cleaned: tuple = (0, 0, 0)  # offset, time, tombstones below
    dropped: bool = False

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

    def put(self, p):
        """Puts the extents of a Result in place, and returns them."""
        new = [e for e in p.extents if e.last >= self.start]
        if not new:
            return new
        for e in new:
            self.merged_hash ^= tiering.extent_hash(p.key, e)
        if p.to > self.merged:
            need(p.to <= self.end and (p.start == self.merged or self.merged < p.start <= self.start), f"offsets {p.start} to {p.to} are merged out of order")
            need(p.to <= self.start or p.to in [ref.base for ref in self.refs] + [self.end], f"offset {p.to} is within a ref")
            self.refs = [ref for ref in self.refs if ref.last >= p.to]
            self.source_bytes = self.size if p.to == self.end else min(self.source_bytes + p.source_bytes, self.size)
            self.merged = p.to
            self.extents += new
            return new
        gone = [e for e in self.extents if e.last >= new[0].first and e.last < p.to]
        left = [e for e in self.extents if e not in gone]
        live = [e for e in gone if e.last >= self.start]
        need(not any(e.last >= p.to > e.first for e in left), f"offset {p.to} is within an extent")
        need(not live or live[0].first <= max(p.start, self.start) and live[-1].last == p.to - 1, f"offsets {p.start} to {p.to} were not merged")
        for e in gone:
            self.merged_hash ^= tiering.extent_hash(p.key, e)
        self.extents = sorted(left + new, key=lambda e: e.first)
        return new

    def free(self, offset):
        need(offset <= (self.end if self.dropped else self.start), f"offset {offset} is freed, the log starts at {self.start}")
        self.freed = max(self.freed, offset)
        self.extents = [e for e in self.extents if e.last >= offset]

    def clean(self, offset, when, tombstones):
        need(self.cleaned[0] <= offset <= self.merged and self.cleaned[2] <= tombstones <= max(self.cleaned[0], self.cleaned[2]), f"cleaned up to {offset} after {self.cleaned}")
        self.cleaned = (offset, when if offset > self.cleaned[0] else self.cleaned[1], tombstones)

    def pieces(self):
        """The extents and refs that have offsets from the start on, in order."""
        refs = [ref for ref in self.refs if ref.last >= max(self.start, self.merged)]
        found, places = [e for e in self.extents if e.last >= self.start], []
        for piece in found + refs:
            first = piece.base if isinstance(piece, Ref) else piece.first
            need(not places and first <= self.start or places and first == places[-1] + 1, f"the log has a gap before offset {first}")
            places.append(piece.last)
        need((places[-1] + 1 if places else self.start) == self.end, f"the log ends at {self.end}, its records do not")
        return found + refs


DECODERS = {1: lambda r: (tiering.key_of(r), r.i64(), r.i32()), 2: tiering.key_of, 3: Reader.i64,
            4: lambda r: (tiering.key_of(r), r.i64()), **tiering.DECODERS}


class Partitions:
    """A data journal."""

    def __init__(self):
        self.head = self.epoch = self.pages = 0
        self.logs, self.tiering = {}, tiering.Tiering()  # logs by topic id and index

    def apply(self, o, entries):
        h = o.header
        need(h.epoch < 1 << 30, f"epoch is {h.epoch}")
        if h.kind == FENCE:
            for job in list(self.tiering.intents):
                self.tiering.end(job, h.built)
        given = {kind: [] for kind in range(1, 13)}
        for kind, payload in entries:
            r = Reader(payload, f"entry of kind {kind} at seq {h.seq}")
            known(1 <= kind <= 12, r.what)
            version = r.u8()
            known(version == 1, f"{r.what} is of version {version}")
            given[kind].append(DECODERS[kind](r))
            r.end()
        for job, objects in given[5]:
            self.tiering.begin(job, objects)
        self.change_partitions(given, h)
        self.tiering.apply(self, given, h.built)
        for p in o.partitions:
            self.add(h, p)
        for key in given[2]:
            log = self.unsealed(key)
            log.sealed, log.sealed_epoch = True, h.epoch + log.epoch_base
        for key in given[10]:
            need(key in self.logs and self.logs[key].sealed and not self.logs[key].dropped, f"partition {key[1]} is dropped and was not sealed")
            self.logs[key].dropped = True
            self.logs[key].delete_before(self.logs[key].end)
            self.leave(key)
        self.head, self.epoch = h.seq, h.epoch

    def change_partitions(self, given, h):
        """Applies the entries that come before those of merges."""
        for key, start, epoch_base in given[1]:
            need(key not in self.logs and start >= 0 and 0 <= epoch_base < 1 << 30, f"partition {key[1]} is opened again at seq {h.seq}")
            self.logs[key] = Log(start, start, epoch_base)
        for key in given[11]:
            need(key in self.logs and self.logs[key].sealed and not self.logs[key].dropped, f"partition {key[1]} is opened again at seq {h.seq}")
            self.logs[key].sealed, self.logs[key].sealed_epoch = False, 0
        expire = max(given[3], default=0)
        for log in self.logs.values():
            log.producers = {i: p for i, p in log.producers.items() if p[1] >= expire or not expire}
        for key, offset in given[4]:
            log = self.unsealed(key)
            need(0 <= offset <= log.end, f"offset {offset} is deleted at seq {h.seq}, the log ends at {log.end}")
            log.delete_before(offset)

    def leave(self, key):
        """Forgets a partition that is dropped and has no merged extents."""
        if self.logs[key].dropped and not self.logs[key].extents:
            del self.logs[key]

    def unsealed(self, key):
        log = self.logs.get(key)
        need(log and not log.sealed, f"partition {key[1]} of {key[0].hex()} is not open")
        return log

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
        known(1 <= version <= 4, f"{r.what} is of version {version}")
        r.zero(2)
        need(r.u32() == number, f"{r.what} is of another journal")
        self.head, self.epoch, objects, partitions = r.u64(), r.u32(), r.u32(), r.u32()
        producer_pages, lists = r.u32() if version >= 3 else 0, None
        if version == 3:
            r.zero(4)
            need(producer_pages, f"{r.what} has no producer pages")
        if version == 4:
            lists = tiering.Lists(r)
        objects = [index_object(bucket, number, r, version) for _ in range(objects)]
        producer_pages = [read_producer_page(r, objects) for _ in range(producer_pages)]
        if lists:
            lists.read(r, self.tiering)
        last = (b"", 0)
        for _ in range(partitions):
            key = (r.set_id(), r.i32())
            need(last < key, f"{r.what} has partitions out of order")
            self.logs[key], pages = restore_log(r, version, key, objects, lists)
            self.pages, last = self.pages + pages, key
        r.end()
        decided = {(key, i) for key, log in self.logs.items() for i in log.producers}
        for before, page in reversed(producer_pages):
            for key, i, p in page:
                need(key in self.logs or version == 4, f"{r.what} has producers of a partition that it does not have")
                if key in self.logs and (key, i) not in decided and (p[1] >= before or not before):
                    self.logs[key].producers[i] = p
                decided.add((key, i))

    def same(self, other):
        """Compares all but refs of deleted records: how many of these stay is a matter of taste."""
        def trimmed(state):
            return {k: {**vars(log), "refs": [ref for ref in log.refs if ref.last >= max(log.start, log.merged)]} for k, log in state.logs.items()}
        return (self.head, self.epoch) == (other.head, other.epoch) and trimmed(self) == trimmed(other) and vars(self.tiering) == vars(other.tiering)


def index_object(bucket, number, r, version):
    object_id, length, seq = r.set_id(), r.u32(), r.u64() if version == 4 else 0
    key = f"journals/{number}/index/" + (f"{seq:020d}-" if seq else "") + object_id.hex()
    for key in [key, key + ".copy"] if seq else [key]:
        try:
            data = bucket.get(key)
            need(data is not None, f"{key} is not there")
            b = wire.blob(data, wire.INDEX, key)
            need(b.cluster == bucket.cluster.id and b.journal == number and b.object == object_id and len(b.payload) == length, f"{key} is foreign")
            return b.payload
        except wire.Corrupt as error:
            failed = error
    raise failed


def restore_log(r, version, key, objects, lists):
    epoch_base, start = r.i32(), r.i64()
    base = r.i64() if version > 1 else start
    log = Log(start, base, epoch_base, size=r.i64(), hash=r.raw(32))
    log.sealed, log.dropped = r.flag(), r.flag() if version == 4 else False
    r.zero(2 if version == 4 else 3)
    log.sealed_epoch = r.i32()
    epochs, pages, chunks, producers = r.u32(), r.u32(), r.u32(), r.u32()
    r.zero(4)
    if version == 4:
        log.merged, log.freed, log.source_bytes, log.cleaned = r.i64(), r.i64(), r.i64(), (r.i64(), r.i64(), r.i64())
        log.merged_hash, merged_chunks = int.from_bytes(r.raw(32), "big"), r.u32()
        r.zero(4)
    log.epochs = [(r.i32(), r.i64()) for _ in range(epochs)]
    for _ in range(pages):
        read_page(r, key, log, objects)
    for _ in range(chunks):
        n = r.u32()
        need(1 <= n <= 256, f"{r.what} has a chunk of {n} refs")
        take_refs(r, n, log)
    log.producers = dict(read_producers(r, producers))
    if version == 4:
        pages += read_extents(r, merged_chunks, key, log, lists, objects)
    need(base <= max(start, log.merged) and (log.refs or base == max(start, log.merged)), f"{r.what} contradicts itself")
    return log, pages


def read_extents(r, chunks, key, log, lists, objects):
    """Reads the merged chunks of a partition, and returns how many of them are pages."""
    pages, before = 0, 0
    for _ in range(chunks):
        n = r.u32()
        need(not (before and n), f"{r.what} has two chunks with extents after each other")
        before = n
        found = [tiering.piece(r, lists.objects, key) for _ in range(n)] if n else read_merged_page(r, key, objects)
        log.extents += [e for e in found if e.last >= log.freed]
        pages += not n
    need(all(a.last < b.first for a, b in zip(log.extents, log.extents[1:])), f"{r.what} has extents out of order")
    return pages


def read_merged_page(r, key, objects):
    """The extents of a page of them that count."""
    number, position, length, crc = r.u32(), r.u32(), r.u32(), r.u32()
    first, last, page_first, page_last, newest, _ = r.i64(), r.i64(), r.i64(), r.i64(), r.i64(), r.i64()
    need(number < len(objects), f"{r.what} names index object {number}")
    data = objects[number][position:position + length]
    need(len(data) == length and wire.crc32c(data) == crc, f"{r.what} names a merged page that is damaged")
    page = Reader(data, "merged page")
    version, n = page.u16(), page.u16()
    known(version == 2, f"merged page of version {version}")
    index, topic_id, base = page.i32(), page.id(), page.i64()
    found = [tiering.piece(page, [tiering.merged_object(page)], key) for _ in range(n)]
    page.end()
    need((topic_id, index, base) == (*key, found[0].first) and (found[0].first, found[-1].last) == (page_first, page_last)
         and max(e.max_timestamp for e in found) == newest, "merged page is of another partition or place")
    return [e for e in found if first <= e.first and e.last <= last]


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
