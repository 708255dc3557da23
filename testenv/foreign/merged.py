"""Merged segments, as tiering/segment/FORMAT.md has them."""

from collections import namedtuple

import records
import wire
from wire import Reader, crc32c, known, need

HEADER, TRAILER, LARGEST = 144, 40, 134217728
Header = namedtuple("Header", "cluster object job node incarnation journal topic index base built")
Place = namedtuple("Place", "topic index position length")
Block = namedtuple("Block", "position length crc first last max_timestamp")
Section = namedtuple("Section", "object topic index position length crc start to first last records max_timestamp source_built "
                     "batches name blocks epochs aborted")


def key(journal, object_id, topic=bytes(16), index=0, base=0):
    if any(topic):
        return f"topics/{topic.hex()}/{index}/{base:020d}-{object_id.hex()}"
    return f"merged/{journal}/{object_id.hex()}"


def header(data, what):
    kind = wire.prologue(data, what)
    need(len(data) >= HEADER and crc32c(data[:140]) == int.from_bytes(data[140:144], "big"), f"{what} has a header with a wrong CRC")
    wire.kind_is(kind, [wire.MERGED], what)
    r = Reader(data[7:140], what)
    r.zero(1)
    ids, journal = [r.set_id() for _ in range(5)], r.u32()
    r.zero(4)
    h = Header(*ids, journal, r.id(), r.i32(), r.i64(), r.i64())
    r.zero(8)
    r.end()
    need(any(h.topic) and h.index >= 0 and h.base >= 0 or not h.index and not h.base, f"{what} is neither shared nor one partition's")
    return h


def section(data, what):
    r = Reader(data, f"section in {what}")
    need(r.raw(4) == b"VARP", f"{r.what} has no magic")
    version = r.u16()
    known(version == 1, f"{r.what} is of version {version}")
    need(crc32c(data[:-4]) == int.from_bytes(data[-4:], "big"), f"{r.what} has a wrong CRC")
    r.zero(2)
    fields = [r.set_id(), r.set_id(), r.i32(), r.u32(), r.u32(), r.u32(), r.i64(), r.i64(), r.i64(), r.i64(), r.u64(), r.i64(), r.i64(), r.u32()]
    blocks, epochs, aborted = r.u32(), r.u32(), r.u32()
    r.zero(14)
    name = r.text()
    lists = [[Block(r.u32(), r.u32(), r.u32(), r.i64(), r.i64(), r.i64()) for _ in range(blocks)],
             [(r.i32(), r.i64()) for _ in range(epochs)], [(r.i64(), r.i64(), r.i64()) for _ in range(aborted)]]
    r.u32()
    r.end()
    s = Section(*fields, name, *lists)
    need(0 <= s.start <= s.first <= s.last < s.to and s.index >= 0 and 1 <= len(name) <= 249, f"{r.what} contradicts itself")
    return s


def batches(body, s, what):
    """The batches of a section, held against it."""
    need(len(body) == s.length and crc32c(body) == s.crc, f"{what} has batches with a wrong CRC")
    found, last, epoch, starts = list(records.batches(body, what, empty=True)), s.start - 1, -1, []
    for b in found:
        need(last < b.base and b.last < s.to and b.leader_epoch >= epoch, f"{what} has a batch at offset {b.base} out of order")
        if b.leader_epoch > epoch:
            starts.append((b.leader_epoch, b.base))
        last, epoch = b.last, b.leader_epoch
    need((len(found), sum(b.count for b in found)) == (s.batches, s.records) and starts == s.epochs
         and (found[0].base, last) == (s.first, s.last), f"{what} has other batches than its section says")
    check_blocks(body, s, found, what)
    return found


def check_blocks(body, s, found, what):
    at, times, left = s.position, [], found[::-1]
    for block in s.blocks:
        need(block.position == at, f"{what} has a block at {block.position}, not at {at}")
        here, size = [], 0
        while left and size < block.length:
            here.append(left.pop())
            size += here[-1].size
        newest = max([-1] + [b.max_timestamp for b in here if b.count])
        need(size == block.length and (here[0].base, here[-1].last) == (block.first, block.last)
             and (block.max_timestamp >= newest or block.max_timestamp == -1), f"{what} has a block at {at} of other batches")
        need(crc32c(body[at - s.position:at - s.position + size]) == block.crc, f"{what} has a block at {at} with a wrong CRC")
        times.append(block.max_timestamp)
        at += size
    need(not left and s.max_timestamp == (-1 if -1 in times else max(times)), f"{what} has blocks that are not all of it")


def segment(data, what):
    """Checks a whole merged segment: its header, and its sections with their batches."""
    need(HEADER + TRAILER < len(data) <= LARGEST, f"{what} has {len(data)} bytes")
    h, trailer = header(data, what), data[-TRAILER:]
    need(trailer[36:] == b"VARV", f"{what} has no magic at its end")
    known(trailer[32:34] == b"\0\1", f"{what} ends with another version")
    need(crc32c(trailer[:28]) == int.from_bytes(trailer[28:32], "big") and not any(trailer[34:36]), f"{what} has a wrong trailer")
    at, length, size, crc = wire.struct.unpack(">QQQI", trailer[:28])
    directory = data[at:at + length]
    need(at + length + TRAILER == size == len(data) and crc32c(directory) == crc, f"{what} has no directory where it should be")
    r, end, sections, last = Reader(directory, f"directory of {what}"), HEADER, [], (b"", 0)
    need(r.id() == h.object, f"{what} has the directory of another object")
    n = r.u32()
    r.zero(4)
    for _ in range(n):
        p = Place(r.set_id(), r.i32(), r.u32(), r.u32())
        s = section(data[p.position:p.position + p.length], what)
        need(last < (p.topic, p.index) == (s.topic, s.index) and s.object == h.object and s.position == end
             and s.position + s.length == p.position, f"{what} has a section out of place")
        sections.append((s, batches(data[s.position:p.position], s, what)))
        end, last = p.position + p.length, (p.topic, p.index)
    r.end()
    need(n and end == at, f"{what} has a gap before its directory")
    need(not any(h.topic) or n == 1 and (h.topic, h.index, h.base) == (s.topic, s.index, s.start), f"{what} is another partition's")
    return h, sections


def topic_name(data, what):
    r = wire.small(data, wire.TOPIC_NAME, what)
    cluster, topic = r.set_id(), r.set_id()
    r.zero(6)
    name = r.text()
    r.end()
    need(1 <= len(name) <= 249, f"{what} has a name of {len(name)} bytes")
    return cluster, topic, name
