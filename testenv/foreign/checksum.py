"""CRC-32C, of many bytes at once: Python has only zlib's other polynomial.

A long input is cut into lanes of SPAN bytes, whose CRCs are computed side by side: one
lookup of bytes.translate serves all lanes. The CRC of the input follows from theirs."""

SPAN = 256


def _table():
    table = []
    for n in range(256):
        for _ in range(8):
            n = n >> 1 ^ 0x82F63B78 if n & 1 else n >> 1
        table.append(n)
    return table


_TABLE = _table()
_PLANES = [bytes(n >> 8 * i & 255 for n in _TABLE) for i in range(4)]


def _bytewise(crc, data):
    table = _TABLE
    for byte in data:
        crc = table[(crc ^ byte) & 255] ^ crc >> 8
    return crc


def _skips():
    """For each byte of a CRC: its part of the CRC after SPAN zeros."""
    tables, zeros = [], bytes(SPAN)
    for i in range(4):
        bits, table = [_bytewise(1 << 8 * i + bit, zeros) for bit in range(8)], [0] * 256
        for n in range(1, 256):
            low = n & -n
            table[n] = table[n ^ low] ^ bits[low.bit_length() - 1]
        tables.append(table)
    return tables


_SKIPS = _skips()


def _lanes(data, lanes):
    """The CRCs of lanes that begin with zero, as four byte strings, the lowest bytes first."""
    number, registers = int.from_bytes, [0, 0, 0, 0]
    for at in range(SPAN):
        index = (registers[0] ^ number(data[at::SPAN], "little")).to_bytes(lanes, "little")
        found = [number(index.translate(plane), "little") for plane in _PLANES]
        registers = [registers[1] ^ found[0], registers[2] ^ found[1], registers[3] ^ found[2], found[3]]
    return [r.to_bytes(lanes, "little") for r in registers]


def crc32c(data):
    crc, lanes = 0xFFFFFFFF, len(data) // SPAN
    if lanes >= 8:
        a, b, c, d = _SKIPS
        body = bytes(data[:lanes * SPAN])
        for w, x, y, z in zip(*_lanes(body, lanes)):
            crc = a[crc & 255] ^ b[crc >> 8 & 255] ^ c[crc >> 16 & 255] ^ d[crc >> 24] ^ (w | x << 8 | y << 16 | z << 24)
        data = data[lanes * SPAN:]
    return _bytewise(crc, data) ^ 0xFFFFFFFF
