"""Ways to damage a tar: what disks, networks and writers do, and headers that lie with a right checksum."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from types import MappingProxyType

from tests.fuzz.structures import BLOCK, Tar, base_256, extension, header, octal, pax_record, seal

Damage = Callable[[Tar, Random], bytes]

_SIZES = (
    *(octal(size) for size in (0, 1, 511, 512, 513, 1024, 5000, 8**11 - 1)),
    *(base_256(size) for size in (0, 512, 2**40, 2**60, 2**90, -1, -512, -(2**60))),
    *(b"-0000000512\0", b"+0000000512\0", b"0_000000512\0", b"0o000000512\0", b"00000000009\0", b"99999999999\0"),
    *(b"\0" * 12, b" " * 12, b"1000\0garbage", b"0000000 1000", b"777777777777", b"\x81" + bytes(11), b"\xff" * 12),
)
_KEYS = (
    b"path",
    b"size",
    b"mtime",
    b"linkpath",
    b"GNU.sparse.map",
    b"GNU.sparse.name",
    b"GNU.sparse.size",
    b"hdrcharset",
)
_VALUES = (
    b"",
    b"0",
    b"512",
    b"-512",
    b"1_0",
    b"1e3",
    b" 5",
    b"9" * 30,
    b"9" * 5000,
    b"a.jpg",
    b"a.jpg/",
    b"a\0b.jpg",
    b"BINARY",
)
_KINDS = b"\x000123456789gxXLKSMDVNAZ\xff "


def flipped_bits(tar: Tar, rng: Random) -> bytes:
    data = bytearray(tar.data)
    for _ in range(rng.choice((1, 1, 1, 2, 8))):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(data)


def flipped_header_bits(tar: Tar, rng: Random) -> bytes:
    at = _header(tar, rng) + rng.randrange(BLOCK)
    return _put(tar.data, at, bytes((tar.data[at] ^ 1 << rng.randrange(8),)))


def overwritten(tar: Tar, rng: Random) -> bytes:
    return _put(tar.data, rng.randrange(len(tar.data)), rng.randbytes(rng.choice((1, 8, 600))))


def cut(tar: Tar, rng: Random) -> bytes:
    return tar.data[: rng.randrange(len(tar.data))]


def cut_at_a_block(tar: Tar, rng: Random) -> bytes:
    return tar.data[: _block(tar, rng)]


def beheaded(tar: Tar, rng: Random) -> bytes:
    return tar.data[rng.choice((rng.randrange(len(tar.data)), _block(tar, rng))) :]


def bytes_inserted(tar: Tar, rng: Random) -> bytes:
    return _insert(tar.data, rng.randrange(len(tar.data) + 1), rng.choice((rng.randbytes, bytes))(rng.randint(1, 700)))


def bytes_deleted(tar: Tar, rng: Random) -> bytes:
    at = rng.randrange(len(tar.data))
    return tar.data[:at] + tar.data[at + rng.randint(1, 700) :]


def blocks_inserted(tar: Tar, rng: Random) -> bytes:
    count = rng.randint(1, 3)
    copy = _block(tar, rng)
    blocks = (bytes(count * BLOCK), rng.randbytes(count * BLOCK), tar.data[copy : copy + count * BLOCK])
    return _insert(tar.data, _block(tar, rng), rng.choice(blocks))


def blocks_deleted(tar: Tar, rng: Random) -> bytes:
    at = _block(tar, rng)
    return tar.data[:at] + tar.data[at + rng.randint(1, 4) * BLOCK :]


def blocks_zeroed(tar: Tar, rng: Random) -> bytes:
    at = rng.choice((_block(tar, rng), _header(tar, rng)))
    return _put(tar.data, at, bytes(rng.randint(1, 4) * BLOCK))


def blocks_swapped(tar: Tar, rng: Random) -> bytes:
    one, other = _block(tar, rng), rng.choice((_block(tar, rng), _header(tar, rng)))
    swapped = _put(tar.data, one, tar.data[other : other + BLOCK])
    return _put(swapped, other, tar.data[one : one + BLOCK])


def headers_swapped(tar: Tar, rng: Random) -> bytes:
    one, other = _header(tar, rng), _header(tar, rng)
    swapped = _put(tar.data, one, tar.data[other : other + BLOCK])
    return _put(swapped, other, tar.data[one : one + BLOCK])


def resized(tar: Tar, rng: Random) -> bytes:
    return _resealed(tar.data, _header(tar, rng), 124, rng.choice(_SIZES))


def resized_in_blocks(tar: Tar, rng: Random) -> bytes:
    """State a size by which the next header stands at the place of another block."""
    return _resealed(tar.data, _header(tar, rng), 124, octal(rng.randint(0, len(tar.data) // BLOCK) * BLOCK))


def retyped(tar: Tar, rng: Random) -> bytes:
    return _resealed(tar.data, _header(tar, rng), 156, bytes((rng.choice(_KINDS),)))


def changed_with_a_right_checksum(tar: Tar, rng: Random) -> bytes:
    place = rng.choice((rng.randrange(100), 124 + rng.randrange(12), 257 + rng.randrange(8), 345, rng.randrange(BLOCK)))
    return _resealed(tar.data, _header(tar, rng), place, bytes((rng.choice((0, 32, 47, 48, 49, rng.randrange(256))),)))


def lying_pax_records(tar: Tar, rng: Random) -> bytes:
    """Put a PAX header before an entry, with records of odd values, or of lengths that are not theirs."""
    records = b"".join(pax_record(rng.choice(_KEYS), rng.choice(_VALUES)) for _ in range(rng.randint(1, 3)))
    if rng.randrange(2):
        at = rng.randrange(len(records))
        records = rng.choice(
            (records[:at], b"%d" % rng.randrange(10**6) + records, _put(records, at, b"9"), records + bytes(9))
        )
    return _extended(tar, rng, rng.choice((b"x", b"x", b"g", b"X")), records)


def given_names(tar: Tar, rng: Random) -> bytes:
    """Put a GNU header with a long name or link before an entry, which may have one already."""
    texts = (b"", b"\0", b"z.jpg\0", b"z.jpg", b"z.jpg/\0", b"z.jpg\0tail", b"z" * 300 + b".jpg\0", rng.randbytes(20))
    return _extended(tar, rng, rng.choice(b"LLK").to_bytes(1, "big"), rng.choice(texts))


def shortened_extension(tar: Tar, rng: Random) -> bytes:
    """State a smaller or larger size in an extension header, if the tar has one."""
    extensions = [at for at in tar.headers if tar.data[at + 156] in b"xgLK"]
    if not extensions:
        return given_names(tar, rng)
    at = rng.choice(extensions)
    size = int(tar.data[at + 124 : at + 135], 8)
    return _resealed(tar.data, at, 124, octal(rng.choice((rng.randint(0, size), size + rng.randint(1, 600)))))


def changed_pax_text(tar: Tar, rng: Random) -> bytes:
    """Change a byte in the text of an extension header, which no checksum covers."""
    texts = [at for at in tar.headers if tar.data[at + 156] in b"xgLK"]
    at = rng.choice(texts or tar.headers or [0]) + BLOCK
    return _put(tar.data, at + rng.randrange(60), rng.choice((b"0", b"9", b" ", b"=", b"\n", b"\0", rng.randbytes(1))))


def members_added(tar: Tar, rng: Random) -> bytes:
    """Put a sound entry of a rare kind between others."""
    kind, size = rng.choice(_KINDS).to_bytes(1, "big"), rng.choice((0, 0, 512, 700))
    entry = header(rng.choice((b"q.jpg", b"q/", b"q.jpg/")), octal(size), kind, rng.choice(("v7", "ustar", "gnu")))
    return _insert(tar.data, _header(tar, rng), entry + bytes(size + -size % BLOCK))


def concatenated(tar: Tar, rng: Random) -> bytes:
    return rng.choice((tar.data, tar.data.rstrip(b"\0"), tar.data + bytes(rng.randrange(2000)))) + tar.data


def ended_early(tar: Tar, rng: Random) -> bytes:
    """Put one, two or three zero blocks before an entry."""
    return _insert(tar.data, _header(tar, rng), bytes(BLOCK * rng.randint(1, 3)))


def garbage(tar: Tar, rng: Random) -> bytes:
    noise = rng.randbytes(rng.choice((1, 511, 512, 513, 3000)))
    return rng.choice((noise, tar.data + noise, noise + tar.data, tar.data[: _block(tar, rng)] + noise))


DAMAGES: Mapping[str, Damage] = MappingProxyType(
    {
        damage.__name__: damage
        for damage in (
            *(flipped_bits, flipped_header_bits, overwritten, cut, cut_at_a_block, beheaded),
            *(bytes_inserted, bytes_deleted, blocks_inserted, blocks_deleted, blocks_zeroed, blocks_swapped),
            *(headers_swapped, resized, resized_in_blocks, retyped, changed_with_a_right_checksum),
            *(lying_pax_records, given_names, shortened_extension, changed_pax_text, members_added),
            *(concatenated, ended_early, garbage),
        )
    }
)


def _header(tar: Tar, rng: Random) -> int:
    return rng.choice(tar.headers or [0])


def _block(tar: Tar, rng: Random) -> int:
    return rng.randrange(len(tar.data) // BLOCK) * BLOCK


def _put(data: bytes, at: int, new: bytes) -> bytes:
    return (data[:at] + new + data[at + len(new) :])[: len(data)]


def _insert(data: bytes, at: int, new: bytes) -> bytes:
    return data[:at] + new + data[at:]


def _resealed(data: bytes, at: int, place: int, field: bytes) -> bytes:
    return _put(data, at, seal(_put(data[at : at + BLOCK], place, field)))


def _extended(tar: Tar, rng: Random, kind: bytes, text: bytes) -> bytes:
    block, _ = extension(kind, text, "pax" if kind in b"xgX" else "gnu")
    return _insert(tar.data, _header(tar, rng), block + text + bytes(-len(text) % BLOCK))
