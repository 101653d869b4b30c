"""FORMAT.md against spec.py and the code: every table, every constant, every worked example."""

import json
import re
import struct
from pathlib import Path

import numpy as np
import pytest
import zstandard
from bam_records import cigar_bytes
from bam_records import tag as bam_tag
from panels import vcf_text

from bams3.columns import INT_COLUMNS, Columns, Layouts, Strings, as_bytes, tag_name, tag_width
from bams3.cutting import Layout
from bams3.format import chunk, index, manifest, spec
from bams3.format.alignment import compare
from bams3.format.directory import BLOB, EXTENT, GROUP
from bams3.format.frames import (
    CONSTANT,
    RANS,
    RAW,
    ZSTD,
    Compression,
    pack_frame,
    pack_frames,
    unpack_frames,
)
from bams3.format.panel_block import HEAD_BYTES
from bams3.format.rowgroup import CODEC_ID, codec_of, decode_columns, encode_group, group_summary
from bams3.kernels import split
from bams3.panel.calls import Choice
from bams3.panel.importing import import_panel
from bams3.panel.vcf_calls import VcfCalls
from bams3.store import MemoryStore
from bams3.verify import content_hash

DOCUMENT = (Path(chunk.__file__).parent / "FORMAT.md").read_text(encoding="utf-8")
TYPES = {"i4": "<i4", "i8": "<i8", "u1": "u1", "u2": "<u2", "u4": "<u4", "u8": "<u8"}
CODES = "=ACMGRSVTWYHKDBN"

# ---- examples: fenced blocks of lines, each a word and what it says; two spaces begin a remark ----


def blocks(kind):
    """Texts of the examples of a kind."""
    return re.findall(rf"```example {re.escape(kind)}\n(.*?)```", DOCUMENT, re.DOTALL)


def example(kind):
    [text] = blocks(kind)
    return fields_of(text)


def fields_of(text):
    """{word: what stands behind it}, JSON parsed; of ``blob`` the bytes of all its lines."""
    out = {"blob": b""}
    for line in text.splitlines():
        word, rest = line.split(maxsplit=1)
        if word == "blob":
            out[word] += hex_bytes(rest)
        else:
            out[word] = rest if word == "column" else json.loads(rest)
    return out


def hex_bytes(text):
    """The bytes of lines of hex digits, each up to its remark."""
    return b"".join(bytes.fromhex(re.split(r"\s{2,}", line.strip())[0]) for line in text.splitlines())


def plain(column, values):
    """Values as an example writes them, as the package holds them."""
    if column == "link" or (column in INT_COLUMNS and column != "layout"):
        return np.array(values, spec.COLUMN[column].dtype)
    if column == "reference":
        return np.array([CODES.index(base) for base in values], np.uint8)
    if column == "layout":
        return layouts(values)
    if column == "bases":
        return as_bytes(b"".join(map(four_bits, values)))
    if column == "quals":
        return as_bytes(bytes(value for record in values for value in record))
    if column.startswith(spec.TAG_PREFIX) and column[7] not in "ZHB":
        return as_bytes(b"".join(bam_tag(column[4:6], column[7], value)[3:] for value in values))
    raw = [as_string(column, value) for value in values]
    return Strings(np.array([len(one) for one in raw], np.uint32), as_bytes(b"".join(raw)))


def as_string(column, value):
    if column == "cigar":
        return cigar_bytes(value)
    if column == "name":
        return value.encode()
    tag, kind = column.split(":")[1:]
    if kind == "Z":
        return value.encode()
    return bam_tag(tag, kind, value)[8:]  # behind tag, type, subtype and count


def four_bits(bases):
    codes = [CODES.index(base) for base in bases] + [0] * (len(bases) % 2)
    return bytes(high << 4 | low for high, low in zip(codes[::2], codes[1::2], strict=True))


def layouts(values):
    distinct = list(dict.fromkeys(map(tuple, values)))
    keys = [
        struct.unpack("<I", key.replace(":", "").encode().ljust(4, b"\0"))[0]
        for one in distinct
        for key in one
    ]
    start = np.cumsum([0, *map(len, distinct)]).astype(np.uint32)
    numbers = np.array([distinct.index(tuple(value)) for value in values], np.uint32)
    return numbers, Layouts(np.array(keys, np.uint32), start)


def arrays(value):
    """All arrays in a value, for comparisons."""
    if isinstance(value, Strings):
        return [value.lengths.tolist(), value.data.tolist()]
    if isinstance(value, tuple):
        return [value[0].tolist(), value[1].keys.tolist(), value[1].start.tolist()]
    return [value.tolist()]


def given_columns(fields):
    given = fields.get("given", {})
    n = max((len(values) for name, values in given.items() if name != "reference"), default=None)
    columns = Columns(len(fields["values"]) if n is None else n, 1000)
    for name, values in given.items():
        if name == "layout":
            columns.layout, columns.layouts = layouts(values)
        else:
            setattr(columns, name, plain(name, values))
    if columns.reference is not None and columns.bases is not None:
        assert compare(columns, columns.reference)
    return columns


#: (codec, kind of the example): a codec has one for each kind of column that uses it.
CODEC_EXAMPLES = [
    (kind.split()[0], kind)
    for kind in re.findall(r"^```example (.*)$", DOCUMENT, re.M)
    if kind.split()[0] in CODEC_ID
]


def test_every_codec_of_every_column_has_an_example():
    assert {codec for codec, _ in CODEC_EXAMPLES} == set(spec.CODECS.values())
    shown = {tuple(kind.split()) for _, kind in CODEC_EXAMPLES if " " in kind}
    assert shown == {
        *(("linked", name) for name in ("flag", "name", "tag:BX:Z")),
        *(("mate", name) for name in ("mate_pos", "tlen", "tag:MC:Z", "tag:ms:C")),
        *(("aligned", name) for name in ("bases", "tag:MD:Z", "tag:NM:C")),
    }


@pytest.mark.parametrize(("codec", "kind"), CODEC_EXAMPLES)
def test_codec_example_is_what_the_code_writes(codec, kind):
    fields = example(kind)
    column, columns = fields["column"], given_columns(fields)
    value = plain(column, fields["values"])
    if codec == "aligned" and column == "bases":
        columns.bases = value
        assert compare(columns, columns.reference)
    tag = column.removeprefix(spec.TAG_PREFIX)
    width = tag_width(tag) if tag != column else 4 if column == "cigar" else value_width(value)
    streams = codec_of(codec, column).encode(value, width, columns)
    assert pack_frames(streams, Compression("none")).hex(" ") == fields["blob"].hex(" ")


def value_width(value):
    return value.dtype.itemsize if isinstance(value, np.ndarray) else 1


@pytest.mark.parametrize(("codec", "kind"), CODEC_EXAMPLES)
def test_codec_example_is_what_the_code_reads(codec, kind):
    fields = example(kind)
    column, columns = fields["column"], given_columns(fields)
    decode_columns(columns.n, 1000, [(column, CODEC_ID[codec], fields["blob"])], columns)
    if column.startswith(spec.TAG_PREFIX):
        found = as_plain(columns.tags[column.removeprefix(spec.TAG_PREFIX)])
    else:
        found = getattr(columns, column)
    found = (found, columns.layouts) if column == "layout" else found
    assert arrays(found) == arrays(plain(column, fields["values"]))


def as_plain(value):
    return value if isinstance(value, Strings) else as_bytes(value)


def frame_pairs():
    """(stream, frame) of the example of frames."""
    [text] = blocks("frames")
    lines = [hex_bytes(line.split(maxsplit=1)[1]) for line in text.splitlines()]
    return list(zip(lines[::2], lines[1::2], strict=True))


@pytest.mark.parametrize(("stream", "frame"), frame_pairs())
def test_frame_example_is_what_the_code_makes(stream, frame):
    [found] = unpack_frames(frame, 1000)
    assert bytes(found) == stream
    assert is_same_zstd(pack_frame(stream, Compression()), frame)


def is_same_zstd(made, written):
    """Equal bytes, where this is the zstd that the examples were made with; else the same method."""
    version = ".".join(map(str, zstandard.ZSTD_VERSION))
    return made == written if f"zstd {version}" in DOCUMENT else made[:2] == written[:2]


def test_every_frame_method_has_an_example():
    assert [frame[0] for _, frame in frame_pairs()] == [RAW, CONSTANT, ZSTD, RANS]


def test_folder_example_is_what_the_code_makes():
    fields = example("folders")
    assert index.folder_names(fields["contigs"]) == fields["folders"]


def test_section_example_is_what_the_code_makes():
    fields = example("sections")
    found = index.sections_of(fields["lengths"], fields["chunk_span_bp"])
    assert [[section.first, section.n] for section in found] == fields["sections"]


# ---- the whole store of the document ----


def stored(kind):
    """(key, bytes) of the object that an example shows; its name stands in the line before."""
    [found] = re.findall(rf"`([^`]+)`:\n\n```example {kind}\n(.*?)```", DOCUMENT, re.DOTALL)
    return found[0], hex_bytes(found[1])


def test_example_record_makes_the_example_chunk():
    key, data = stored("chunk")
    record = as_bytes(hex_bytes(blocks("record")[0]))
    group = encode_group(split(record, 1), Compression())
    context = {"contigs": [[0, "chr1", 1000]], "read_groups": []}
    made, directory = chunk.build_chunk([group], context)
    assert made.hex(" ") == data.hex(" ")
    assert chunk.parse_head(data).directory.encode() == directory.encode()
    assert key.endswith(f"-{content_hash(data):08x}.chunk")


def test_example_manifest_is_what_the_code_writes():
    [text] = blocks("_metadata.json")
    value = {key: item for key, item in json.loads(text).items() if key != "crc32"}
    assert manifest.render(value) == text.encode()
    assert manifest.parse(text.encode()).text == json.loads(text)


def test_example_index_is_what_the_code_writes():
    key, data = stored("index")
    chunk_key, chunk_data = stored("chunk")
    found = manifest.parse(blocks("_metadata.json")[0].encode())
    head = chunk.parse_head(chunk_data)
    [section] = found.sections
    row = index.parse_chunks(cut(data, section.chunks))
    assert index.chunk_key("chr1", row[0]) == chunk_key
    assert index.parse_directories(cut(data, section.directories), row)[0].encode() == head.directory_bytes
    windows = Layout.of(header_of(found), found.span_bp).windows[0]
    columns = split(as_bytes(hex_bytes(blocks("record")[0])), 1)
    extents, totals = group_summary(columns)
    frames = index.group_depth(columns, extents, windows)
    writer = index.IndexWriter(1, index.sections_of([1000], found.span_bp))
    writer.add(0, index.ChunkSummary(row, head.directory, head.directory_bytes, totals, frames))
    made, ranges = writer.finish([["chr1", 1000]])
    assert is_same_zstd(made, data)
    assert found.text["index"] == {"key": key, "bytes": len(data), **ranges}
    assert index.parse_costs(cut(data, found.costs)).tolist() == [(0, 0, 1, len(chunk_data), 113, 1)]
    assert key.endswith(f"-{content_hash(data):08x}.bin")


def cut(data, where):
    return data[where.offset : where.offset + where.size_bytes]


def header_of(found):
    from bams3.bam import BamHeader
    from bams3.regions import ContigTable

    return BamHeader(b"", ContigTable(*map(tuple, zip(*found.contigs, strict=True))))


# ---- the whole panel of the document ----


@pytest.fixture
def panel(tmp_path):
    """The objects of the panel whose genotypes the document tells."""
    rows = ["1 100 rs1 A G 0|0 0|1 1|0", "X 7 . C T 0 1 ./."]
    (tmp_path / "a.vcf").write_text(vcf_text(["s0", "s1", "s2"], rows))
    import_panel(VcfCalls(tmp_path / "a.vcf", Choice()), store := MemoryStore())
    return {key: store.get(key) for key in store.list()}


def test_example_panel_is_what_the_code_writes(panel):
    key, data = stored("block")
    manifest_text = blocks("panel")[0].encode()
    names = json.loads(manifest_text)["names"]["key"]
    assert panel == {"_metadata.json": manifest_text, key: data, names: b"s0\ns1\ns2\n"}
    assert f"`{names}`" in DOCUMENT


def test_written_panel_is_that_of_the_code():
    assert spec.BLOCK_MAGIC.hex(" ") in section(18)
    version = ".".join(map(str, spec.PANEL_VERSION))
    assert f"version {version} of `{spec.PANEL_FORMAT}`" in section(18)
    fields = re.findall(r"^\| (\d+) \| (\d+) \| \S+ \| `\w+` \|", section(18), re.M)
    assert [int(at) for at, _ in fields] == [sum(int(n) for _, n in fields[:k]) for k in range(len(fields))]
    assert sum(int(n) for _, n in fields) == HEAD_BYTES
    for name, size in (
        ("BLOCK_PLANE_BYTES", "4 MiB"),
        ("BLOCK_TEXT_BYTES", "16 MiB"),
        ("MAX_SITES_BYTES", "1 GiB"),
    ):
        n, unit = size.split()
        assert f"`{name}` ({size})" in section(18)
        assert getattr(spec, name) == int(n) << {"MiB": 20, "GiB": 30}[unit]
    assert f"`BLOCK_VARIANTS` ({spec.BLOCK_VARIANTS:,})" in section(18)


# ---- tables ----


def test_written_columns_are_those_of_the_code():
    rows = "\n".join(f"| `{c.name}` | {c.dtype} | {c.meaning} |" for c in spec.COLUMNS)
    assert f"| column | dtype | meaning |\n|---|---|---|\n{rows}\n\n" in DOCUMENT


def test_written_codecs_of_columns_are_those_of_the_code():
    written = {}
    table = section(8).split("| column | codec | needs |")[1].split("\n\n")[0]
    for name, codec, needs in re.findall(r"^\| `(\w+)` \| (\w+) \| (.*?) ?\|$", table, re.M):
        written.setdefault(name, {})[codec] = tuple(re.findall(r"`(\w+)`", needs))
    assert written == {column.name: column.codecs for column in spec.COLUMNS}
    assert [list(written[name]) for name in written] == [list(c.codecs) for c in spec.COLUMNS]


def test_written_codecs_of_predicted_tags_are_those_of_the_code():
    table = section(9).split("| tag | codec | needs |")[1].split("\n\n")[0]
    written = {
        tag: {codec: tuple(re.findall(r"`(\w+)`", needs))}
        for tag, codec, needs in re.findall(r"^\| ([\w, :]+) \| (\w+) \| (.*?) ?\|$", table, re.M)
    }
    assert written.pop("other Z, H") == {"linked": spec.TAG_CODECS["Z"]["linked"]}
    assert written == spec.PREDICTED_TAGS


def test_written_codec_numbers_are_those_of_the_code():
    rows = re.findall(r"^\| (\d+) \| (\w+) \|", section(8), re.M)
    assert {int(number): name for number, name in rows} == spec.CODECS


def test_written_locate_columns_are_those_of_the_code():
    order = ", ".join(f"`{name}`" for name in spec.LOCATE)
    assert f"file order of blobs: {order}, each of all row groups" in DOCUMENT


def test_written_tag_types_are_those_of_the_code():
    for types, width, codec in re.findall(
        r"^\| (\w[\w ]*?) \| (\d) \| (\w+(?: or \w+)?) \|", section(9), re.M
    ):
        kinds = types.removeprefix("B and subtype ").split()
        for kind in kinds:
            name = f"NM:B{kind}" if types.startswith("B") else f"NM:{kind}"
            assert tag_width(name) == int(width)
            plain_codecs = [c for c, needs in spec.codecs_of(f"tag:XX:{name[3:]}").items() if not needs]
            assert plain_codecs == codec.split(" or ")


def test_written_totals_are_those_of_the_code():
    table = section(5).split("| i | name | records that count |")[1].split("\n\n")[0]
    rows = dict(re.findall(r"^\| (\d+) \| `(\w+)` \|", table, re.M))
    assert {int(i): name for i, name in rows.items()} == {
        i: name for i, name in enumerate(spec.TOTALS) if not name.startswith("failed_")
    }
    failed = [(i, name) for i, name in enumerate(spec.TOTALS) if name.startswith("failed_")]
    assert f"| {failed[0][0]}-{failed[-1][0]} | `{failed[0][1]}` ... `{failed[-1][1]}` |" in DOCUMENT
    assert [name.removeprefix("failed_") for _, name in failed] == list(spec.TOTALS[: len(failed)])


def test_written_costs_are_those_of_the_code():
    table = section(5).split("| i | number | meaning |")[1].split("\n\n")[0]
    assert re.findall(r"^\| (\d+) \| `(\w+)` \|", table, re.M) == [
        (str(i), name) for i, name in enumerate(spec.COSTS)
    ]
    assert re.findall(r"`(\w+)`", table.split("BLOB.bytes of ")[1].split(", which")[0]) == list(spec.LOCATE)


@pytest.mark.parametrize(
    ("name", "dtype"),
    [("CHUNK", index.CHUNK), ("GROUP", GROUP), ("EXTENT", EXTENT), ("BLOB", BLOB)],
)
def test_written_layout_of_a_row_is_that_of_the_code(name, dtype):
    table = re.search(rf"^{name}, (\d+) bytes[^|]*((?:\|.*\n)+)", DOCUMENT, re.M)
    rows = re.findall(r"^\| (\d+) \| (\d+) \| (\w+) \| `(\w+)` \|", table[2], re.M)
    assert int(table[1]) == dtype.itemsize
    assert [(field, int(at), int(size), np.dtype(TYPES[kind])) for at, size, kind, field in rows] == [
        (field, dtype.fields[field][1], dtype.fields[field][0].itemsize, dtype.fields[field][0])
        for field in dtype.names
    ]


def test_written_chunk_head_is_that_of_the_code():
    rows = re.findall(r"^\| (\d+) \| (\d+) \| (\w+) \| `(\w+)` \|", section(6), re.M)
    fixed = [(int(at), int(size), name) for at, size, _, name in rows if name in HEAD]
    assert fixed == [
        (0, 8, "magic"),
        (8, 2, "major"),
        (10, 2, "minor"),
        (12, 4, "context_bytes"),
        (16, 4, HEAD[-1]),
    ]
    assert spec.CHUNK_MAGIC.hex(" ") in section(6)
    assert chunk.head_bytes_of(0) == 24


HEAD = ("magic", "major", "minor", "context_bytes", "directory_bytes")


@pytest.mark.parametrize(
    ("row", "values"),
    [
        ("`GROUP_RECORDS` | 50,000", [spec.GROUP_RECORDS]),
        ("`GROUP_BYTES` | 24 MiB", [spec.GROUP_BYTES >> 20]),
        ("`CHUNK_RECORDS`, `CHUNK_BYTES` | 1,000,000; 128 MiB", [spec.CHUNK_RECORDS, spec.CHUNK_BYTES >> 20]),
        (
            "`CHUNK_SPAN_BP`, `MIN_CHUNK_SPAN_BP`, `MAX_CHUNK_SPAN_BP` | 1,000,000; 256,000; 8,000,000",
            [spec.CHUNK_SPAN_BP, spec.MIN_CHUNK_SPAN_BP, spec.MAX_CHUNK_SPAN_BP],
        ),
        ("`WINDOW_BP`, `FRAME_WINDOWS` | 100; 65,536", [spec.WINDOW_BP, spec.FRAME_WINDOWS]),
        ("`MANIFEST_CONTIGS` | 1,000", [spec.MANIFEST_CONTIGS]),
        ("`QUALITY_VALUES`, `QUALITY_CONTEXTS` | 128; 4,096", [spec.QUALITY_VALUES, spec.QUALITY_CONTEXTS]),
        ("`LONG_GAP_BP` | 1,000", [spec.LONG_GAP_BP]),
        ("`KEPT_DISTANCES` | 255", [spec.KEPT_DISTANCES]),
        ("`MAX_INDEX_RANGE_BYTES` | 1 GiB", [spec.MAX_INDEX_RANGE_BYTES >> 30]),
    ],
)
def test_written_limit_is_that_of_the_code(row, values):
    assert f"| {row} |" in DOCUMENT
    assert [int(text.replace(",", "")) for text in re.findall(r"\d[\d,]*", row.split("|")[1])] == values


def test_every_constant_of_the_spec_is_written():
    shown = {
        "COLUMNS",
        "COLUMN",
        "LOCATE",
        "CODECS",
        "TOTALS",
        "COSTS",
        "TAG_CODECS",
        "PREDICTED_TAGS",
        "FORMAT",
        "VERSION",
        "PANEL_FORMAT",
    }
    strings = {
        name for name, value in vars(spec).items() if name.isupper() and isinstance(value, (str, bytes))
    }
    for name in vars(spec):
        if name.isupper() and not name.startswith("_") and name not in shown | strings:
            assert f"`{name}`" in DOCUMENT, f"{name} is not in FORMAT.md"
    for key in (
        spec.MANIFEST_KEY,
        spec.PROVENANCE_KEY,
        spec.RESUME_PREFIX,
        spec.DATA_PREFIX,
        spec.TAG_PREFIX,
        spec.PANEL_FORMAT,
        spec.BLOCK_PREFIX,
    ):
        assert key in DOCUMENT


def test_written_version_is_that_of_the_code():
    version = ".".join(map(str, spec.VERSION))
    assert DOCUMENT.startswith(f"# The {spec.FORMAT} format, version {version}\n")


def test_tag_keys_are_written_as_the_code_names_them():
    assert tag_name(struct.unpack("<I", b"NM" + b"C\0")[0]) == "NM:C"
    assert tag_name(struct.unpack("<I", b"CGB*")[0]) == "CG:B*"
    assert "`CG:B*` (subtype 0x2a)" in DOCUMENT


def section(number):
    """The text of a numbered section."""
    return re.search(rf"^## {number}\. .*?(?=^## |\Z)", DOCUMENT, re.M | re.DOTALL)[0]
