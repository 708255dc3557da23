#!/usr/bin/env python3
"""Reads a varve bucket, with what tiering/segment/FORMAT.md says and nothing else: no
code of varve, no library.

  reader.py topics BUCKET            topics with ids, configs, and partitions with offsets
  reader.py records BUCKET TOPIC...  records, one JSON object a line
  reader.py groups BUCKET            committed offsets of consumer groups
  reader.py check BUCKET             every object, batch, checkpoint and floor: what was read
  reader.py segments BUCKET          every merged segment, by itself, and the names of topics
  reader.py all BUCKET TOPIC...      topics, records and groups, one after the other

The bucket is a folder, or s3://bucket/prefix?endpoint=http://host:port&region=name with
the keys in the environment.

Journals are read from seq 1 on, or from the floor if objects below it were deleted; with
--checkpoints from the newest usable checkpoint on.
The codecs none and gzip are decoded. Other batches, and those that do not decode, are
reported whole, as one line with "codec", "error", where the log starts, and the bytes in
base64.
"""

import argparse
import base64
import functools
import json
import sys

import groups
import merged
import records
import tiering
import wire
from buckets import open_bucket
from journal import Deleted, Journal, checkpoint
from states import Partitions, Ref
from topics import Metadata
from wire import Corrupt, TooOld, need


class Cluster:
    """The journals of a bucket, read when they are asked for."""

    def __init__(self, where, late):
        self.bucket, self.late, self.journals = open_bucket(where), late, {}
        self.object = functools.lru_cache(32)(self.read_object)

    @property
    def metadata(self):
        return self.journal(0).state

    def journal(self, number):
        if number not in self.journals:
            self.journals[number] = read_journal(self.bucket, number, Journal.begin_late if self.late else None)
        return self.journals[number]

    def read_object(self, what):
        data = self.bucket.get(what)
        need(data is not None, f"{what} is not there")
        return wire.journal_object(data, what)

    def topics(self):
        return sorted((t for t in self.metadata.topics.values() if not t.deleting), key=lambda t: t.name)

    def topic(self, name):
        for t in self.topics():
            if t.name == name:
                return t
        raise Corrupt(f"there is no topic {name}")

    def log(self, t, index):
        """A partition in its journal, None if it was never opened there."""
        return self.journal(t.journals[index]).state.logs.get((t.id, index))

    def batches(self, t, index):
        """The batches of a partition that have an offset from its start on."""
        log = self.log(t, index)
        for e in log.pieces() if log else []:
            if isinstance(e, Ref):
                found = ref_batches(self, t.journals[index], (t.id, index), e)
            elif e.object is None:
                found = damaged_batches(self.bucket, t.journals[index], e)
            else:
                found = extent_batches(self.bucket, t.journals[index], (t.id, index), e)
            for b in found:
                if b.last >= log.start:
                    yield b, log.start


def read_journal(bucket, number, begin=None, on_object=None):
    """Reads a journal from seq 1 on, from where begin says, or, if objects were deleted, from the floor."""
    j = Journal(bucket, number, Partitions() if number else Metadata())
    if begin:
        begin(j)
    try:
        j.read(on_object and functools.partial(on_object, j))
        return j
    except Deleted:
        if begin:
            raise
        return read_journal(bucket, number, Journal.begin_at_floor, on_object)


def ref_batches(cluster, journal, key, ref):
    """The batches of a ref, held against the footer of their object."""
    what = f"journals/{journal}/{ref.seq:020d}"
    o = cluster.object(what)
    p = [p for p in o.partitions if (p.topic, p.index) == key]
    need(len(p) == 1 and (p[0].base, p[0].last, p[0].max_timestamp, p[0].position, p[0].length, p[0].leader_epoch, p[0].crc) == ref[1:],
         f"{what} has another ref in its footer")
    return partition_batches(o, p[0], what)


def damaged_batches(bucket, journal, e):
    """The batches of a journal object that could not be merged."""
    what = f"journals/{journal}/{e.seq:020d}"
    body = bucket.get_range(what, e.position, e.length)
    need(body is not None and len(body) == e.length and wire.crc32c(body) == e.crc, f"{what} is still damaged")
    return list(records.batches(body, what))


def extent_batches(bucket, journal, key, e):
    """The batches of an extent of a merged segment, held against the section of the partition."""
    what = tiering.storage_key(journal, e.object.name)
    data = bucket.get_range(what, e.position, e.length + e.index_length)
    need(data is not None and len(data) == e.length + e.index_length, f"{what} is not there, or cut short")
    s = merged.section(data[e.length:], what)
    need((s.object, s.topic, s.index, s.position, s.length, s.crc) == (e.object.name.object, *key, e.position, e.length, e.crc)
         and (s.start, s.to, s.max_timestamp, min(s.records, 4294967295)) == (e.first, e.last + 1, e.max_timestamp, e.records),
         f"{what} has another section than its extent says")
    return merged.batches(data[:e.length], s, what)


def partition_batches(o, p, what):
    body = o.data[p.position:p.position + p.length]
    need(wire.crc32c(body) == p.crc, f"{what} has batches with a wrong CRC")
    found = list(records.batches(body, what))
    last = p.base - 1
    for b in found:
        need(b.base > last and b.leader_epoch == p.leader_epoch, f"{what} has a batch at offset {b.base} out of order")
        last = b.last
    need((found[0].base, last, len(found)) == (p.base, p.last, p.batches)
         and min(sum(b.count for b in found), 4294967295) == p.records
         and max([-1] + [b.max_timestamp for b in found]) == p.max_timestamp, f"{what} has other batches than its footer says")
    return found


def topics(cluster, _):
    for t in cluster.topics():
        partitions = []
        for index, journal in enumerate(t.journals):
            log = cluster.log(t, index)
            partitions.append({"partition": index, "journal": journal, "start": log.start if log else 0, "end": log.end if log else 0})
        yield {"name": t.name, "id": base64.urlsafe_b64encode(t.id).decode().rstrip("="), "created": t.created,
               "replication_factor": t.replication_factor, "configs": t.configs, "partitions": partitions}


def topic_records(cluster, options):
    for t in [cluster.topic(name) for name in options.topics]:
        yield from records_of(cluster, t)


def records_of(cluster, t):
    for index in range(len(t.journals)):
        for b, start in cluster.batches(t, index):
            place = {"topic": t.name, "partition": index}
            try:
                found = records.records(b)
            except records.Undecodable as error:
                yield {**place, "offset": b.base, "last_offset": b.last, "start": start, "codec": records.CODECS.get(b.codec, b.codec),
                       "error": str(error), "batch": base64.b64encode(b.body).decode()}
                continue
            for r in found:
                if r.offset >= start:
                    yield {**place, "offset": r.offset, "timestamp": r.timestamp, **shown("key", r.key), **shown("value", r.value),
                           "headers": [{"key": (k or b"").decode("utf-8", "replace"), **shown("value", v)} for k, v in r.headers]}


def shown(name, data):
    if data is None:
        return {name: None}
    try:
        return {name: data.decode("utf-8")}
    except UnicodeDecodeError:
        return {name: base64.b64encode(data).decode(), name + "_encoding": "base64"}


def group_state(cluster, t, index, end=None):
    """The groups of a partition of the topic that has them, before an offset."""
    state = groups.Groups()
    for b, start in cluster.batches(t, index):
        for r in records.records(b):
            if start <= r.offset and (end is None or r.offset < end):
                state.apply(r.key, r.value)
    return state


def committed(cluster, _):
    t = cluster.topic(groups.TOPIC)
    for index in range(len(t.journals)):
        for (group, topic, partition), o in sorted(group_state(cluster, t, index).offsets.items()):
            need(groups.partition_of(group, len(t.journals)) == index, f"group {group} is in partition {index}")
            yield {"group": group, "topic": topic, "partition": partition, "offset": o.offset}


def check(cluster, _):
    """Reads everything, and holds each checkpoint against what the objects before it add up to."""
    for number in range(cluster.metadata.journals + 1):
        yield Check(cluster.bucket, number).run()
    yield {"snapshots": check_snapshots(cluster)}


class Check:
    def __init__(self, bucket, number):
        self.bucket = bucket
        self.journal = Journal(bucket, number, Partitions() if number else Metadata())
        self.checkpoints = {int(key.split("/")[-1].split("-")[0]): key for key in self.journal.checkpoints()}
        self.compared = self.batches = self.pages = 0

    def run(self):
        self.journal = read_journal(self.bucket, self.journal.number, None, self.after)
        floor = self.journal.floor()
        if floor:
            self.check_floor(floor)
        return {"journal": self.journal.number, "head": self.journal.next - 1, "epoch": self.journal.epoch, **self.journal.seen,
                "batches": self.batches, "checkpoints": self.compared, "pages": self.pages, "floor": floor.floor if floor else 0,
                **({"segments": self.check_segments()} if self.journal.number else {})}

    def check_segments(self):
        """Checks all objects of extents, and returns how many there are."""
        extents = [e for log in self.journal.state.logs.values() for e in log.extents if e.object]
        for o in {e.object for e in extents}:
            key = tiering.storage_key(self.journal.number, o.name)
            data = self.bucket.get(key)
            need(data is not None and len(data) == o.size and wire.sha256(data) == o.sha256, f"{key} is not the object of its Result")
            h, _ = merged.segment(data, key)
            need(h.object == o.name.object and h.built == o.built, f"{key} has another header than its Result says")
        return len({e.object for e in extents})

    def after(self, j, o):
        key = self.checkpoints.get(o.header.seq)
        for p in o.partitions:
            self.batches += len(partition_batches(o, p, j.key(o.header.seq)))
        if not key:
            return
        c = checkpoint(self.bucket, j.number, key)
        late = Journal(self.bucket, j.number, type(j.state)())
        late.begin_at(c)
        for name in ("next", "epoch", "fence", "tail", "last", "leader", "leaderships", "covered", "plans"):
            need(getattr(j, name) == getattr(late, name), f"{key} has another {name} than the objects before it")
        need(j.state.same(late.state), f"{key} has another state than the objects before it add up to")
        self.compared += 1
        if j.number:
            self.pages = max(self.pages, late.state.pages)

    def check_floor(self, floor):
        j = self.journal
        plans = [p for p in j.plans if p.number == floor.number]
        need(not plans and j.plans and j.plans[-1].number == floor.number + 1 or floor.object in [p.floor_object for p in plans],
             f"floor {floor.number} of journal {j.number} was not planned")
        data = self.bucket.get(floor.checkpoint)
        need(data is not None and wire.sha256(data) == floor.hash, f"{floor.checkpoint} is not the one that the floor names")


def segments(cluster, _):
    """What merged segments say without any journal."""
    objects = cluster.bucket
    for path in objects.below("merged") + objects.below("topics"):
        data = objects.get(path)
        if path.endswith("/name"):
            owner, topic, name = merged.topic_name(data, path)
            need(owner == objects.cluster.id and path == f"topics/{topic.hex()}/name", f"{path} is foreign")
            yield {"key": path, "topic": name}
            continue
        h, found = merged.segment(data, path)
        need(h.cluster == objects.cluster.id and path == merged.key(h.journal, h.object, h.topic, h.index, h.base), f"{path} is foreign")
        for s, b in found:
            yield {"key": path, "topic": s.name, "partition": s.index, "from": s.start, "to": s.to, "records": s.records,
                   "decoded": sum(len(records.records(one)) for one in b if one.codec < 2), "blocks": len(s.blocks)}


def check_snapshots(cluster):
    """Holds snapshots in checkpoints against the records before them. Where records are
    merged, compaction may have removed some that a snapshot rests on."""
    attached = {}
    for number in range(1, cluster.metadata.journals + 1):
        for key in cluster.journal(number).checkpoints():
            for place, snapshot in groups.snapshots(checkpoint(cluster.bucket, number, key).attached).items():
                attached.setdefault(place, set()).add(snapshot)
    compared = 0
    for t in cluster.topics():
        for index in range(len(t.journals)):
            log = cluster.log(t, index)
            for end, snapshot in attached.get((t.id, index), ()):
                if not log or end < log.merged:
                    continue
                state, restored = group_state(cluster, t, index, end), groups.restore(snapshot)
                need(vars(state) == vars(restored), f"the snapshot of partition {index} at offset {end} differs from the records")
                compared += 1
    return compared


def everything(cluster, options):
    for command in topics, topic_records, committed:
        yield from command(cluster, options)


COMMANDS = {"topics": topics, "records": topic_records, "groups": committed, "check": check, "segments": segments, "all": everything}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=COMMANDS)
    parser.add_argument("bucket")
    parser.add_argument("topics", nargs="*")
    parser.add_argument("--checkpoints", action="store_true", help="begin at the newest usable checkpoint")
    options = parser.parse_args()
    if (options.command in ("records", "all")) != bool(options.topics):
        parser.error("records and all take topics, the others take none")
    try:
        for line in COMMANDS[options.command](Cluster(options.bucket, options.checkpoints), options):
            print(json.dumps(line, ensure_ascii=False))
    except Corrupt as error:
        sys.exit(f"corrupt: {error}")
    except TooOld as error:
        sys.exit(f"this reader is too old: {error}")


if __name__ == "__main__":
    main()
