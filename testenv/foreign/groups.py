"""Consumer groups, as tiering/segment/FORMAT.md has them: from the records of the
topic __consumer_offsets, or from the snapshots that checkpoints carry."""

from collections import namedtuple

from wire import Reader, known, need

TOPIC = "__consumer_offsets"
Offset = namedtuple("Offset", "topic_id offset leader_epoch metadata committed expires")
Member = namedtuple("Member", "id instance client_id client_host rebalance_ms session_ms subscription assignment")
Group = namedtuple("Group", "protocol_type generation protocol leader since members")


def partition_of(group, partitions):
    h, units = 0, group.encode("utf-16-be")
    for i in range(0, len(units), 2):
        h = 31 * h + int.from_bytes(units[i:i + 2], "big") & 0xFFFFFFFF
    h = h - (1 << 32) if h >= 1 << 31 else h
    return 0 if h == -1 << 31 else abs(h) % partitions


class Groups:
    """The groups of one partition of the topic."""

    def __init__(self):
        self.metadata, self.offsets = {}, {}  # by group; by group, topic and partition

    def apply(self, key, value):
        r = Reader(key, "key of a group's record")
        version = r.i16()
        known(0 <= version <= 2, f"{r.what} is of version {version}")
        if version == 2:
            group = nullable(r)
            r.end()
            put(self.metadata, group, value, group_value)
            return
        place = (nullable(r), nullable(r), r.i32())
        r.end()
        put(self.offsets, place, value, offset_value)


def put(table, key, value, decode):
    if value is None:
        table.pop(key, None)
        return
    r = Reader(value, "value of a group's record")
    table[key] = decode(r)
    r.end()


def nullable(r):
    n = r.i16()
    return None if n < 0 else r.raw(n).decode("utf-8", "surrogateescape")


def offset_value(r):
    version = r.i16()
    known(version in (1, 4), f"{r.what} is of version {version}")
    offset = r.i64()
    if version == 1:
        metadata, committed, expires = nullable(r), r.i64(), r.i64()
        return Offset(bytes(16), offset, -1, metadata, committed, expires)
    leader_epoch, length, shift = r.i32(), 0, 0
    while True:
        byte = r.u8()
        length |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            break
    metadata, committed, tagged = r.raw(length - 1).decode("utf-8", "surrogateescape"), r.i64(), r.u8()
    topic_id = bytes(16)
    if tagged:
        need(tagged == 1 and r.raw(2) == b"\0\x10", f"{r.what} has another tagged field")
        topic_id = r.id()
    return Offset(topic_id, offset, leader_epoch, metadata, committed, -1)


def group_value(r):
    version = r.i16()
    known(version == 3, f"{r.what} is of version {version}")
    head = [nullable(r), r.i32(), nullable(r), nullable(r), r.i64()]
    members = [Member(nullable(r), nullable(r), nullable(r), nullable(r), r.i32(), r.i32(), r.bytes32(), r.bytes32())
               for _ in range(r.u32())]
    return Group(*head, members)


def snapshots(data):
    """Topic id and index to next offset and state, from what is attached to a checkpoint."""
    found = {}
    if not data:
        return found
    r = Reader(data, "snapshots")
    version = r.u16()
    known(version == 1, f"snapshots of version {version}")
    r.zero(2)
    n, last = r.u32(), (b"", 0)
    need(n, "snapshots are none")
    for _ in range(n):
        key, at = (r.set_id(), r.i32()), r.i64()
        need(last < key and at > 0, "snapshots are out of order")
        found[key], last = (at, r.bytes32()), key
    r.end()
    return found


def restore(state):
    """The groups of a snapshot."""
    r, groups = Reader(state, "state of groups"), Groups()
    version = r.u8()
    known(version == 1, f"{r.what} is of version {version}")
    last = ""
    for i in range(r.u32()):
        name, has = r.text(), r.flag()
        need(i == 0 or last < name, f"{r.what} has group {name} out of order")
        last = name
        if has:
            head = [r.text(), r.i32(), optional(r), optional(r), r.i64()]
            groups.metadata[name] = Group(*head, [
                Member(r.text(), optional(r), r.text(), r.text(), r.i32(), r.i32(), r.bytes32(), r.bytes32()) for _ in range(r.u32())])
        n = r.u32()
        need(has or n, f"{r.what} has group {name} with nothing")
        for _ in range(n):
            place = (name, r.text(), r.i32())
            topic_id, offset, leader_epoch, metadata, committed, expires = r.id(), r.i64(), r.i32(), r.text(), r.i64(), r.i64()
            groups.offsets[place] = Offset(topic_id, offset, leader_epoch, metadata, committed, expires)
    r.end()
    return groups


def optional(r):
    return r.text() if r.flag() else None
