"""Record batches, as tiering/segment/FORMAT.md has them."""

import gzip
import zlib
from collections import namedtuple

from wire import Corrupt, Reader, crc32c, need

Batch = namedtuple("Batch", "base last leader_epoch codec append_time base_timestamp max_timestamp producer epoch sequence count body size")
Record = namedtuple("Record", "offset timestamp key value headers")
CODECS = {0: "none", 1: "gzip", 2: "snappy", 3: "lz4", 4: "zstd"}


class Undecodable(Exception):
    """The batch is stored as its client sent it, but its records cannot be read here."""


def batches(data, what, empty=False):
    """Yields the batches that lie back to back in data. They may have no record if empty is set."""
    outer = Reader(data, f"batches in {what}")
    while outer.at < len(data):
        base, length = outer.i64(), outer.i32()
        need(length >= 49, f"{what} has a batch of {length} bytes")
        r = Reader(outer.raw(length), f"batch at offset {base} in {what}")
        leader_epoch, magic, crc = r.i32(), r.i8(), r.u32()
        need(magic == 2, f"{r.what} is of magic {magic}")
        need(crc32c(r.data[r.at:]) == crc, f"{r.what} has a wrong CRC")
        attributes, delta, base_timestamp, max_timestamp = r.u16(), r.i32(), r.i64(), r.i64()
        producer, epoch, sequence, count = r.i64(), r.i16(), r.i32(), r.i32()
        need((0 if empty else 1) <= count <= delta + 1, f"{r.what} has {count} records at {delta + 1} offsets")
        yield Batch(base, base + delta, leader_epoch, attributes & 7, bool(attributes & 8), base_timestamp, max_timestamp,
                    producer, epoch, sequence, count, r.raw(length - r.at), 12 + length)


def records(batch):
    """The records of a batch; Undecodable if they are none, or of a codec that is not known here."""
    try:
        body = batch.body
        if batch.codec == 1:
            body = gzip.decompress(body)
        elif batch.codec:
            raise Undecodable(f"codec {CODECS.get(batch.codec, batch.codec)}")
        found, at = [], 0
        for _ in range(batch.count):
            record, at = _record(body, at, batch)
            found.append(record)
        need(at == len(body) or not batch.count, "bytes behind the last record")
        return found
    except (Corrupt, EOFError, IndexError, OSError, zlib.error) as error:
        raise Undecodable(str(error)) from error


def _varint(body, at):
    n = body[at]
    if n < 128:
        return n >> 1 ^ -(n & 1), at + 1
    shift, n = 7, n & 127
    while True:
        at += 1
        byte = body[at]
        n |= (byte & 127) << shift
        if byte < 128:
            return n >> 1 ^ -(n & 1), at + 1
        shift += 7
        need(shift < 70, "record has an endless varint")


def _field(body, at, end):
    n, at = _varint(body, at)
    if n < 0:
        return None, at
    need(at + n <= end, "record has a field longer than itself")
    return body[at:at + n], at + n


def _record(body, at, batch):
    """The record at a place, and where the next one is. An end too soon is an IndexError."""
    size, at = _varint(body, at)
    end = at + size
    need(at < end <= len(body), "record is longer than the rest")
    timestamp, at = _varint(body, at + 1)
    offset, at = _varint(body, at)
    key, at = _field(body, at, end)
    value, at = _field(body, at, end)
    count, at = _varint(body, at)
    headers = []
    for _ in range(count):
        name, at = _field(body, at, end)
        content, at = _field(body, at, end)
        headers.append((name, content))
    need(at == end, "record is not as long as it says")
    timestamp = batch.max_timestamp if batch.append_time else batch.base_timestamp + timestamp
    return Record(batch.base + offset, timestamp, key, value, headers), end
