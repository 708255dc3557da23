"""Bytes of a varve bucket, as tiering/segment/FORMAT.md has them: checksums, fields
and the objects that hold the rest. Nothing here knows what a payload means."""

import hashlib
import struct
from collections import namedtuple

from checksum import crc32c


class Corrupt(Exception):
    """The bytes are not what a writer stored, or contradict each other."""


class TooOld(Exception):
    """The bytes are intact, but of a version or kind that this reader does not know."""


def need(condition, reason):
    if not condition:
        raise Corrupt(reason)


def known(condition, what):
    if not condition:
        raise TooOld(what)


class Reader:
    """Takes fields off the front of bytes."""

    def __init__(self, data, what):
        self.data, self.at, self.what = data, 0, what

    def raw(self, n):
        need(0 <= n <= len(self.data) - self.at, f"{self.what} is cut short at byte {self.at}")
        self.at += n
        return self.data[self.at - n:self.at]

    def _number(self, form, size):
        return struct.unpack(">" + form, self.raw(size))[0]

    def u8(self):
        return self._number("B", 1)

    def u16(self):
        return self._number("H", 2)

    def u32(self):
        return self._number("I", 4)

    def u64(self):
        return self._number("Q", 8)

    def i8(self):
        return self._number("b", 1)

    def i16(self):
        return self._number("h", 2)

    def i32(self):
        return self._number("i", 4)

    def i64(self):
        return self._number("q", 8)

    def id(self):
        return self.raw(16)

    def set_id(self):
        value = self.id()
        need(any(value), f"{self.what} has a zero id before byte {self.at}")
        return value

    def text(self):
        return self.raw(self.u16()).decode("utf-8", "surrogateescape")

    def bytes32(self):
        return self.raw(self.u32())

    def flag(self):
        value = self.u8()
        need(value <= 1, f"{self.what} has a flag of {value}")
        return value == 1

    def zero(self, n):
        need(not any(self.raw(n)), f"{self.what} has reserved bytes before {self.at} that are not zero")

    def varint(self):
        n = shift = 0
        while True:
            byte = self.u8()
            n |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return n >> 1 ^ -(n & 1)
            need(shift < 70, f"{self.what} has an endless varint")

    def var_bytes(self):
        n = self.varint()
        return None if n < 0 else self.raw(n)

    def end(self):
        need(self.at == len(self.data), f"{self.what} has {len(self.data) - self.at} bytes left over")


Ref = namedtuple("Ref", "seq object")
NOTHING = Ref(0, bytes(16))
DATA, FENCE, FILLER, FLOOR, CLUSTER, CHECKPOINT, INDEX, MERGED, TOPIC_NAME, HOLD = range(1, 11)


def prologue(data, what):
    """Checks magic and version, and returns the kind, which no checksum covers yet."""
    need(len(data) >= 8 and data[:4] == b"VARV", f"{what} has no magic")
    known(data[4:6] == b"\0\1", f"{what} is of version {int.from_bytes(data[4:6], 'big')}")
    return data[6]


def kind_is(kind, wanted, what):
    known(1 <= kind <= HOLD, f"{what} is of kind {kind}")
    need(kind in wanted, f"{what} is of kind {kind}, which does not belong there")


def small(data, kind, what):
    """Opens an object that ends with its CRC."""
    got = prologue(data, what)
    need(len(data) >= 12 and crc32c(data[:-4]) == int.from_bytes(data[-4:], "big"), f"{what} has a wrong CRC")
    kind_is(got, [kind], what)
    r = Reader(data[7:-4], what)
    r.zero(1)
    return r


Cluster = namedtuple("Cluster", "id format window created")


def cluster(data):
    r = small(data, CLUSTER, "cluster")
    c = Cluster(r.set_id(), r.u16(), r.u8(), (r.zero(5), r.i64())[1])
    r.zero(20)
    r.end()
    need(c.format and c.window, "cluster has no format or window")
    return c


Floor = namedtuple("Floor", "cluster object journal number floor hash checkpoint")


def floor(data, what):
    r = small(data, FLOOR, what)
    owner, object_id, journal = r.set_id(), r.set_id(), r.u32()
    r.zero(4)
    number, seq, digest = r.u64(), r.u64(), r.raw(32)
    r.zero(14)
    key = r.text()
    r.end()
    need(number and seq and 1 <= len(key) <= 1024, f"{what} names nothing")
    return Floor(owner, object_id, journal, number, seq, digest, key)


Blob = namedtuple("Blob", "cluster object journal seq payload")


def blob(data, kind, what):
    got = prologue(data, what)
    need(80 <= len(data) <= 268435456 and crc32c(data[:76]) == int.from_bytes(data[76:80], "big"), f"{what} has a wrong CRC")
    kind_is(got, [kind], what)
    r = Reader(data[7:76], what)
    r.zero(1)
    owner, object_id, journal, crc, seq, length = r.set_id(), r.set_id(), r.u32(), r.u32(), r.u64(), r.u64()
    r.zero(12)
    payload = data[80:]
    need(seq and len(payload) == length and crc32c(payload) == crc, f"{what} has another payload than was stored")
    return Blob(owner, object_id, journal, seq, payload)


Header = namedtuple("Header", "kind cluster object journal epoch seq previous confirmed node incarnation built wal")


def header(data, what):
    kind = prologue(data, what)
    need(len(data) >= 192 and crc32c(data[:188]) == int.from_bytes(data[188:192], "big"), f"{what} has a wrong CRC")
    kind_is(kind, [DATA, FENCE, FILLER], what)
    r = Reader(data[7:188], what)
    r.zero(1)
    h = Header(kind, r.set_id(), r.set_id(), r.u32(), r.u32(), r.u64(), Ref(r.u64(), r.id()), r.u64(),
               r.set_id(), r.set_id(), r.i64(), (r.id(), r.u64(), r.u64()))
    r.zero(28)
    need(h.epoch and h.seq and h.previous.seq < h.seq and h.confirmed < h.seq, f"{what} contradicts itself")
    need((h.previous.seq == 0) == (not any(h.previous.object)), f"{what} has half a previous object")
    log, begin, end = h.wal
    need(begin <= end and (any(log) or end == 0) and (kind == DATA or not any(log)), f"{what} has a wrong write-ahead range")
    return h


Producer = namedtuple("Producer", "id epoch batches")
Sent = namedtuple("Sent", "first_sequence last_sequence first last timestamp")
Partition = namedtuple("Partition", "topic index leader_epoch position length crc records batches base last max_timestamp "
                       "sparse producers transactions")
JournalObject = namedtuple("JournalObject", "header entries partitions data")


def sent(r):
    return Sent(r.i32(), r.i32(), r.i64(), r.i64(), r.i64())


def producer(r):
    producer_id, epoch, n = r.i64(), r.i16(), r.u8()
    r.zero(1)
    return Producer(producer_id, epoch, tuple(sent(r) for _ in range(n)))


def partition(r):
    fields = [r.set_id(), r.i32(), r.i32(), r.u64(), r.u64(), r.u32(), r.u32(), r.u32(), r.i64(), r.i64(), r.i64()]
    sparse, producers, opened, aborted = r.u32(), r.u32(), r.u32(), r.u32()
    r.zero(4)
    sparse = [(r.u32(), r.u32()) for _ in range(sparse)]
    producers = [producer(r) for _ in range(producers)]
    r.raw(20 * opened + 24 * aborted)
    p = Partition(*fields, sparse, producers, opened + aborted)
    need(p.index >= 0 and p.leader_epoch >= 0 and 0 <= p.base <= p.last and p.max_timestamp >= -1
         and 1 <= p.batches <= p.records <= p.last - p.base + 1, f"{r.what} has a partition that cannot be")
    return p


def journal_object(data, what):
    """Opens a whole journal object and checks all of it but the batches."""
    h = header(data, what)
    need(192 + 4 + 224 + 32 <= len(data) <= 67108864, f"{what} has {len(data)} bytes")
    trailer = data[-32:]
    need(trailer[28:] == b"VARV", f"{what} has no magic at its end")
    known(trailer[24:26] == data[4:6], f"{what} ends with another version")
    need(crc32c(trailer[:20]) == int.from_bytes(trailer[20:24], "big") and not any(trailer[26:28]), f"{what} has a wrong trailer")
    at, length, crc = struct.unpack(">QQI", trailer[:20])
    need(length >= 224 and at + length == len(data) - 32, f"{what} has no footer where it should be")
    footer = data[at:at + length]
    need(crc32c(footer) == crc, f"{what} has a footer with a wrong CRC")
    need(footer[:192] == data[:192], f"{what} has two headers that differ")
    r = Reader(footer, "footer of " + what)
    r.raw(192)
    entries_at, entries_length, entries_crc, n = r.u64(), r.u64(), r.u32(), r.u32()
    r.zero(8)
    need(n <= 65536, f"{what} has {n} partitions")
    partitions = [partition(r) for _ in range(n)]
    r.end()
    end = entries_at + entries_length
    need(entries_at == 192 and crc32c(data[192:end]) == entries_crc, f"{what} has entries with a wrong CRC")
    for i, p in enumerate(partitions):
        need(p.position == end, f"{what} has a gap at {end}")
        need(i == 0 or partitions[i - 1][:2] < p[:2], f"{what} has partitions out of order")
        end += p.length
    need(end == at, f"{what} has a gap before its footer")
    need(h.kind == DATA or not partitions, f"{what} has records in a fence or filler")
    return JournalObject(h, _entries(data[192:192 + entries_length], what), partitions, data)


def _entries(section, what):
    r = Reader(section, "entries of " + what)
    n, entries = r.u32(), []
    need(n <= 65536, f"{what} has {n} entries")
    for _ in range(n):
        kind = r.u16()
        r.zero(2)
        entries.append((kind, r.bytes32()))
        need(kind, f"{what} has an entry of kind 0")
    r.end()
    return entries


def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()
