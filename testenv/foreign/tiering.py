"""Entries of data journals that put merged segments in place of journal objects, and that
free them, as tiering/segment/FORMAT.md has them."""

import hashlib
import struct
from collections import namedtuple

import merged
from wire import known, need

JOURNAL = 4294967295  # the object of a piece that lies in a journal object
UNPLACED = -1

Name = namedtuple("Name", "object topic index base")
Object = namedtuple("Object", "name sha256 built size")
# An extent lies in a merged object, or, where that is None, in the journal object at seq.
Extent = namedtuple("Extent", "object seq first last max_timestamp source_built position length index_length crc records leader_epoch")
Part = namedtuple("Part", "key start to source_bytes replaced extents")
Result = namedtuple("Result", "job last parts")
Release = namedtuple("Release", "klass judged freed objects seqs")


def key_of(r):
    return (r.set_id(), r.i32())


def name(r):
    n = Name(r.set_id(), r.id(), r.i32(), r.i64())
    need(n.index >= 0 and n.base >= 0 and (any(n.topic) or not n.index and not n.base), f"{r.what} has a name that no segment has")
    return n


def storage_key(journal, n):
    return merged.key(journal, n.object, n.topic, n.index, n.base)


def intent(r):
    job, objects = r.set_id(), [name(r) for _ in range(r.u32())]
    need(1 <= len(objects) <= 1000 and len({n.object for n in objects}) == len(objects), f"{r.what} names no objects, or some twice")
    return job, objects


def merged_object(r):
    """An object whose name lacks the partition, which the part of it says."""
    object_id, base, digest, built, size = r.set_id(), r.i64(), r.raw(32), r.i64(), r.u32()
    return Object(Name(object_id, bytes(16), 0, base), digest, built, size)


def placed(o, key):
    """The object with the partition in its name, if it is an own segment."""
    if o.name.base == UNPLACED:
        return o._replace(name=o.name._replace(base=0))
    return o._replace(name=Name(o.name.object, *key, o.name.base))


def piece(r, objects, key):
    number, seq, *rest = r.u32(), r.u64(), r.i64(), r.i64(), r.i64(), r.i64(), r.u32(), r.u32(), r.u32(), r.u32(), r.u32(), r.i32()
    need(number == JOURNAL or number < len(objects), f"{r.what} names object {number} of {len(objects)}")
    o = None if number == JOURNAL else placed(objects[number], key)
    e = Extent(o, seq, *rest)
    need(0 <= e.first <= e.last and e.length, f"{r.what} has an extent of nothing")
    need(e.seq and not e.index_length if o is None else not e.seq and not e.leader_epoch and e.index_length,
         f"{r.what} has an extent in a wrong kind of object")
    return e


def extent_hash(key, e):
    """The hash of an extent of a partition, as a number. Those of all extents are combined by exclusive or."""
    o = b""
    if e.object:
        own = any(e.object.name.topic)
        o = struct.pack(">16sq32sqI", e.object.name.object, e.object.name.base if own else UNPLACED, *e.object[1:])
    p = struct.pack(">IQqqqqIIIIIi", 0, *e[1:])
    return int.from_bytes(hashlib.sha256(key[0] + struct.pack(">i", key[1]) + o + p).digest(), "big")


def tile(extents, start, to):
    """Whether extents follow each other without a gap."""
    for e in extents:
        if e.first != start:
            return False
        start = e.last + 1
    return start == to


def part(r, objects):
    key, start, to, source_bytes = key_of(r), r.i64(), r.i64(), r.i64()
    replaced, extents = r.u32(), r.u32()
    replaced = [piece(r, [merged_object(r)], key) for _ in range(replaced)]
    extents = [piece(r, objects, key) for _ in range(extents)]
    need(extents and tile(extents, start, to), f"{r.what} does not cover offsets {start} to {to}")
    return Part(key, start, to, source_bytes, replaced, extents)


def result(r):
    last, job, objects, parts = r.flag(), r.set_id(), r.u32(), r.u32()
    objects = [merged_object(r) for _ in range(objects)]
    parts = [part(r, objects) for _ in range(parts)]
    need(1 <= len(parts) <= 1000 and all(a.key < b.key for a, b in zip(parts, parts[1:])), f"{r.what} has partitions out of order")
    return Result(job, last, parts)


def seq_ranges(r, n):
    ranges, last = [(r.u64(), r.u64()) for _ in range(n)], 0
    for first, end in ranges:
        need(last < first <= end, f"{r.what} has ranges of seqs out of order")
        last = end
    return ranges


def release(r):
    klass, judged = r.u8(), (r.u64(), r.u32())
    freed, objects, seqs = r.u32(), r.u32(), r.u32()
    freed = [(key_of(r), r.i64()) for _ in range(freed)]
    found = Release(klass, judged, freed, [name(r) for _ in range(objects)], seq_ranges(r, seqs))
    need(1 <= klass <= 2 and all(a[0] < b[0] for a, b in zip(freed, freed[1:])), f"{r.what} is of class {klass}, or out of order")
    return found


def swept(r):
    deletion, objects, seqs = r.u8(), r.u32(), r.u32()
    need(1 <= deletion <= 2, f"{r.what} is deletion {deletion}")
    return deletion, [r.set_id() for _ in range(objects)], seq_ranges(r, seqs)


def cleaned(r):
    return key_of(r), r.i64(), r.i64(), r.i64()


def abandon(r):
    return r.set_id()


DECODERS = {5: intent, 6: result, 7: abandon, 8: release, 9: swept, 10: key_of, 11: key_of, 12: cleaned}


class Tiering:
    """The lists of a data journal that are of no partition."""

    def __init__(self):
        self.intents = {}  # by job: names by object id, and the ids that a Result has put in place
        self.garbage = {}  # by object id: name, class, time; whether of an intent that ended, whether deleted once
        self.seqs, self.judged = [], (0, 0)

    def begin(self, job, objects):
        need(job not in self.intents, f"job {job.hex()} has an intent already")
        self.intents[job] = ({n.object: n for n in objects}, set())

    def end(self, job, when):
        need(job in self.intents, f"job {job.hex()} has no intent")
        objects, done = self.intents.pop(job)
        for object_id, n in objects.items():
            if object_id not in done:
                self.garbage[object_id] = (n, 1, when, True, False)

    def apply(self, state, given, when):
        for entry in given[6]:
            self.put(state, entry, when)
        for job in given[7]:
            self.end(job, when)
        for key, *entry in given[12]:
            if key in state.logs and not state.logs[key].dropped:
                state.logs[key].clean(*entry)
        for entry in given[8]:
            self.release(state, entry, when)
        for entry in given[9]:
            self.sweep(*entry, when)

    def put(self, state, entry, when):
        """Applies a Result."""
        objects, done = self.intents.get(entry.job, ({}, set()))
        for p in entry.parts:
            for e in p.extents:
                need(e.object is None or objects.get(e.object.name.object) == e.object.name, f"job {entry.job.hex()} did not announce an object")
            log = state.logs.get(p.key)
            if log and not log.dropped:
                done.update(e.object.name.object for e in log.put(p) if e.object)
        if entry.last and entry.job in self.intents:
            self.end(entry.job, when)

    def release(self, state, entry, when):
        for key, offset in entry.freed:
            log = state.logs.get(key)
            if log:
                log.free(offset)
                state.leave(key)
        for n in entry.objects:
            self.garbage[n.object] = (n, entry.klass, when, False, False)
        self.seqs += [(first, last, entry.klass, when) for first, last in entry.seqs]
        self.seqs.sort()
        if entry.judged[0]:
            need(entry.judged >= self.judged, f"judged goes back to {entry.judged}")
            self.judged = entry.judged

    def sweep(self, deletion, objects, seqs, when):
        for object_id in objects:
            need(object_id in self.garbage, f"object {object_id.hex()} was deleted and not released")
            if deletion == 2:
                del self.garbage[object_id]
            else:
                n, klass, _, ended, _ = self.garbage[object_id]
                self.garbage[object_id] = (n, klass, when, ended, True)
        for first, last in seqs:
            listed = [g for g in self.seqs if g[0] == first and last <= g[1]]
            need(listed, f"seqs {first} to {last} were deleted and not released")
            self.seqs.remove(listed[0])
            if last < listed[0][1]:
                self.seqs.append((last + 1, *listed[0][1:]))
        self.seqs.sort()


class Lists:
    """The lists of a checkpoint of a data journal that has merged, in two steps: how long
    they are, and what is in them."""

    def __init__(self, r):
        self.merged, self.judged = r.u32(), (r.u64(), r.u32())
        self.intents, self.unreleased, self.garbage, self.seqs, self.loose = r.u32(), r.u32(), r.u32(), r.u32(), r.u32()
        r.u32()  # unmerged seqs, which say how long a Release waits
        self.objects = []

    def read(self, r, into):
        self.objects = [merged_object(r) for _ in range(self.merged)]
        into.judged = self.judged
        for _ in range(self.intents):
            job, objects, done = r.set_id(), {}, set()
            for _ in range(r.u32()):
                n = name(r)
                objects[n.object] = n
                if r.flag():
                    done.add(n.object)
                r.zero(3)
            into.intents[job] = (objects, done)
        for _ in range(self.unreleased):
            name(r), r.u32()
        for _ in range(self.garbage):
            n, klass, ended, deleted = name(r), r.u8(), r.flag(), r.flag()
            r.zero(1)
            into.garbage[n.object] = (n, klass, r.i64(), ended, deleted)
        for _ in range(self.seqs):
            first, last, klass = r.u64(), r.u64(), r.u8()
            r.zero(3)
            into.seqs.append((first, last, klass, r.i64()))
        for _ in range(self.loose):
            r.u64()
