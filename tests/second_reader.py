"""A second reader of stores, in plain Python, from FORMAT.md alone: nothing of bams3 is imported.

``records`` gives all records of a store folder as BAM. Columns are lists with one entry a record;
second_codecs.py and second_alignment.py decode them. Bytes that break a rule of FORMAT.md raise ValueError.
"""

import hashlib
import json
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import zstandard
from second_alignment import decode_column
from second_codecs import SPEC_ORDER, Columns, planes

# ---- frames (section 7) ----


def varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        value |= (data[at] & 127) << shift
        shift, at = shift + 7, at + 1
        if data[at - 1] < 128:
            return value, at
        require(shift < 63, "a varint is too long")


def frames(data: bytes) -> list[bytes]:
    """The streams of a blob."""
    out, at = [], 0
    while at < len(data):
        method = data[at]
        n, at = varint(data, at + 1)
        if method == 2:
            stream, at = data[at : at + 1] * n, at + 1
        elif method == 0:
            stream, at = data[at : at + n], at + n
        else:
            m, at = varint(data, at)
            stream, at = unpack(method, data[at : at + m], n), at + m
        require(len(stream) == n and at <= len(data), "a frame is cut short")
        out.append(stream)
    return out


def unpack(method: int, packed: bytes, n: int) -> bytes:
    if method == 1:
        return zstandard.ZstdDecompressor().decompress(packed, allow_extra_data=False)
    require(method == 3, f"frame method {method}")
    return rans(packed, n)


def rans(packed: bytes, n: int) -> bytes:
    """Method 3: four states that take turns."""
    slots: list[tuple[int, int, int]] = []
    at = 1
    for _ in range(packed[0] + 1):
        symbol, f, at = packed[at], packed[at + 1], at + 2
        if f > 127:
            f, at = (f - 128) * 256 + packed[at], at + 1
        slots += [(symbol, f, len(slots))] * f
    require(len(slots) == 4096, "frequencies do not add up")
    states = list(struct.unpack_from("<4I", packed, at))
    at += 16
    out = bytearray()
    for i in range(n):
        x = states[i % 4]
        symbol, f, c = slots[x % 4096]
        x = f * (x // 4096) + x % 4096 - c
        if x < 32768:
            x, at = x * 65536 + struct.unpack_from("<H", packed, at)[0], at + 2
        states[i % 4] = x
        out.append(symbol)
    require(states == [32768] * 4 and at == len(packed), "a stream is too short or too long")
    return bytes(out)


def require(good: bool, words: str) -> None:
    if not good:
        raise ValueError(words)


# ---- the store (sections 3 to 5) ----

LOCATE = {"link", "contig", "flag", "pos", "ref_len", "mapq", "cigar"}


class Store:
    """The manifest and the index of a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        text = (folder / "_metadata.json").read_bytes()
        self.manifest = json.loads(text)
        require(self.manifest["format"] == "bams3", "not a store")
        require(self.manifest["version"] == "0.9", "another format")
        before, _, digits = text.rpartition(b'"crc32": "')
        require(digits == f'{zlib.crc32(before):08x}"\n}}\n'.encode(), "the manifest's checksum")
        index = self.manifest["index"]
        table = index
        if "contig_table" in index:
            table = json.loads(frames(self.range(index["key"], index["contig_table"]))[0])
        self.contigs = [(encoded(name), length) for name, length in table["contigs"]]
        self.sections = table["sections"]

    def range(self, key: str, where: list[int]) -> bytes:
        offset, size, crc = where
        data = (self.folder / key).read_bytes()[offset : offset + size]
        require(len(data) == size and zlib.crc32(data) == crc, f"{key}: checksum of a range")
        return data

    def header(self) -> bytes:
        where = self.manifest["header"]
        return self.range(where["key"], where["range"])

    def chunks(self) -> Iterator[tuple[bytes, int]]:
        """(bytes, where the first blob begins) of every chunk, in file order."""
        folders = folder_names([name for name, _ in self.contigs])
        key = self.manifest["index"]["key"]
        for section in self.sections:
            [rows] = frames(self.range(key, section["chunks"]))
            for row in struct.iter_unpack("<iqIIQIIQ", rows):
                contig, start, k, content, size, head_bytes, _, _ = row
                name = f"{start:010d}.{k}-{content:08x}.chunk"
                data = (self.folder / "data" / folders[contig] / name).read_bytes()
                require(len(data) == size, f"{name}: size")
                require(hashlib.sha256(data).digest()[:4] == content.to_bytes(4, "big"), f"{name}: hash")
                yield data, head_bytes

    def costs(self) -> list[tuple[int, ...]]:
        """The six costs of every chunk of placed records, in file order."""
        index = self.manifest["index"]
        flat = planes(frames(self.range(index["key"], index["costs"])))
        n = len(flat) // 6
        require(len(flat) == 6 * n, "costs are no table")
        return list(zip(*(flat[i * n : i * n + n] for i in range(6)), strict=True))

    def costs_of_chunks(self) -> Iterator[tuple[int, ...]]:
        """The same from CHUNK rows and the directories in the chunks' heads."""
        chunks, key = self.chunks(), self.manifest["index"]["key"]
        for section in self.sections:
            [rows] = frames(self.range(key, section["chunks"]))
            for contig, start, _, _, size, head_bytes, size_of, n in struct.iter_unpack("<iqIIQIIQ", rows):
                names, groups, blobs = directory(next(chunks)[0][head_bytes - 4 - size_of : head_bytes - 4])
                if contig >= 0:
                    located = sum(blob[4] for blob in blobs if names[blob[1]] in LOCATE)
                    yield contig, start, n, size, located, len(groups)

    def totals(self) -> list[list[int]]:
        """Totals (34 each) of every contig, the unplaced reads last."""
        index = self.manifest["index"]
        flat = planes(frames(self.range(index["key"], index["totals"])))
        return [flat[i : i + 34] for i in range(0, len(flat), 34)]


def encoded(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")


def folder_names(names: list[bytes]) -> dict[int, str]:
    """Section 2; -1 is the unplaced reads."""
    plain = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-."
    out, taken = {-1: "%2A"}, set()
    for number, name in enumerate(names):
        folder = "".join(chr(b) if b in plain else f"%{b:02X}" for b in name)
        folder = "%2E" + folder[1:] if folder.startswith(".") else folder
        if len(folder) > 200 or not folder or folder.lower() in taken:
            folder = f"{folder[:180]}~{number}"
        taken.add(folder.lower())
        out[number] = folder
    return out


# ---- chunks (section 6) ----


def row_groups(data: bytes, head_bytes: int) -> Iterator[Columns]:
    """The decoded row groups of a chunk."""
    magic, major, minor, context_bytes, directory_bytes = struct.unpack_from("<8sHHII", data)
    require(magic == b"BAMS3\0C\n" and (major, minor) == (0, 9), "not a chunk of this format")
    require(head_bytes == 24 + context_bytes + directory_bytes, "the head's size")
    require(zlib.crc32(data[: head_bytes - 4]) == u4(data, head_bytes - 4), "the head's checksum")
    json.loads(frames(data[20 : 20 + context_bytes])[0])
    names, groups, blobs = directory(data[20 + context_bytes : head_bytes - 4])
    at = head_bytes
    stored: list[dict[str, tuple[int, bytes]]] = [{} for _ in groups]
    for group, column, codec, _, size, crc in blobs:
        blob = data[at : at + size]
        require(len(blob) == size and zlib.crc32(blob) == crc, f"the checksum of {names[column]}")
        require(names[column] not in stored[group], "a column twice")
        stored[group][names[column]] = codec, blob
        at += size
    require(at == len(data), "bytes behind the last blob")
    for (n, decoded_bytes, _), blobs_of in zip(groups, stored, strict=True):
        columns = Columns(n, decoded_bytes)
        for name in sorted(blobs_of, key=lambda name: (SPEC_ORDER.get(name, 99), name)):
            codec, blob = blobs_of[name]
            decode_column(columns, name, codec, frames(blob))
        yield columns


def u4(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 4], "little")


def directory(data: bytes) -> tuple[list[str], list[Any], list[Any]]:
    """Column names, GROUP rows and BLOB rows."""
    n_columns, n_groups, n_extents, n_blobs = struct.unpack_from("<HIII", data)
    at, names = 14, []
    for _ in range(n_columns):
        names.append(data[at + 1 : at + 1 + data[at]].decode())
        at += 1 + data[at]
    groups = list(struct.iter_unpack("<III", data[at : at + 12 * n_groups]))
    at += 12 * n_groups + 24 * n_extents
    blobs = list(struct.iter_unpack("<HHBBII", data[at : at + 14 * n_blobs]))
    require(at + 14 * n_blobs == len(data), "a directory does not add up")
    return names, groups, blobs


# ---- records (sections 9 and 10) ----

WIDTH = {"A": 1, "c": 1, "C": 1, "s": 2, "S": 2, "i": 4, "I": 4, "f": 4, "d": 8}


def reg2bin(begin: int, end: int) -> int:
    end -= 1
    for shift, offset in ((14, 4681), (17, 585), (20, 73), (23, 9), (26, 1)):
        if begin >> shift == end >> shift:
            return offset + (begin >> shift)
    return 0


def joined(columns: Columns) -> Iterator[bytes]:
    """The records of a row group."""
    c = columns.values
    tags = {name: iter(values) for name, values in c.items() if name.startswith("tag:")}
    for i in range(columns.n):
        cigar, in_tag = c["cigar"][i], b"CGB*" in c["layout"][i]
        if in_tag:
            cigar = struct.pack("<II", c["seq_len"][i] << 4 | 4, c["ref_len"][i] << 4 | 3)
        optional = b"".join(one_tag(key, tags, c["cigar"][i]) for key in c["layout"][i])
        covers = 1 if c["flag"][i] & 4 or not c["ref_len"][i] else c["ref_len"][i]
        pos = c["pos"][i]
        fixed = struct.pack(
            "<iiBBHHHIiii",
            *(c["contig"][i], pos, len(c["name"][i]) + 1, c["mapq"][i], reg2bin(pos, pos + covers) % 65536),
            *(len(cigar) // 4, c["flag"][i], c["seq_len"][i]),
            *(c["mate_contig"][i], c["mate_pos"][i], c["tlen"][i]),
        )
        body = fixed + c["name"][i] + b"\0" + cigar + c["bases"][i] + c["quals"][i] + optional
        yield struct.pack("<I", len(body)) + body
    for name, values in tags.items():
        require(next(values, None) is None, f"values of {name} that no record has")


def one_tag(key: bytes, tags: dict[str, Iterator[bytes]], cigar: bytes) -> bytes:
    tag, kind, subtype = key[:2], chr(key[2]), chr(key[3])
    if kind != "B":
        return key[:3] + next(tags[f"tag:{tag.decode('latin-1')}:{kind}"]) + (b"\0" if kind in "ZH" else b"")
    if subtype == "*":
        return tag + b"BI" + struct.pack("<I", len(cigar) // 4) + cigar
    items = next(tags[f"tag:{tag.decode('latin-1')}:B{subtype}"])
    return key + struct.pack("<I", len(items) // WIDTH[subtype]) + items


def records(folder: str | Path) -> Iterator[bytes]:
    """All records of a store, as BAM, in file order."""
    store = Store(Path(folder))
    n = 0
    for data, head_bytes in store.chunks():
        for columns in row_groups(data, head_bytes):
            size = 0
            for record in joined(columns):
                size, n = size + len(record), n + 1
                yield record
            require(size == columns.decoded_bytes, "a row group is not as large as it says")
    require(n == store.manifest["records"], "the store does not hold as many records as it says")
    require(n == sum(row[0] + row[16] for row in store.totals()), "totals do not add up")
    require(store.costs() == list(store.costs_of_chunks()), "costs are not those of the chunks")
