"""Tables of genotype counts, in every form, against a reader of plain Python."""

import gzip
import random
import subprocess
import sys
from pathlib import Path

import pytest
import real_data
from hypothesis import example, given, settings
from hypothesis import strategies as st
from plain_counts import (
    COLUMNS,
    FORMS,
    HEADER,
    ROW,
    as_pipe,
    parquet_of,
    plain_tables,
    tables_in,
    tables_of,
    text_of,
    write,
)

from bams3 import genotype_counts
from bams3.errors import InputError
from bams3.genotype_counts import NotGroupedError, read_genotype_counts
from bams3.slices import Slice

names = st.text("aB~é\U0001f9ec .-", min_size=1, max_size=3)
counts = st.tuples(*[st.integers(0, 12)] * 4) | st.permutations([2**31 - 1, 0, 0, 0]).map(tuple)
tables = st.dictionaries(st.tuples(names, names), counts, min_size=1, max_size=30)


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=40, deadline=None)
@given(
    table=tables,
    order=st.sampled_from(["as it is", "sorted", "shuffled"]),
    block_bytes=st.sampled_from([1, 7, 40, 150, 1 << 20]),
    out_rows=st.sampled_from([1, 5, 1 << 18]),
    which=st.integers(1, 4).flatmap(lambda n: st.builds(Slice, st.integers(1, n), st.just(n))),
    seed=st.integers(0, 99),
)
def test_every_form_of_a_table_is_read_as_plain_python_reads_it(
    tmp_path_factory, form, table, order, block_bytes, out_rows, which, seed
):
    rows = [(probeset, batch, n) for (probeset, batch), n in table.items()]
    if order == "sorted":
        rows.sort(key=lambda row: row[0].encode())
    elif order == "shuffled":
        random.Random(seed).shuffle(rows)
    path = write(tmp_path_factory.getbasetemp(), FORMS[form](rows))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(genotype_counts, "_OUT_ROWS", out_rows)
        found = tables_of(path, which=which, block_bytes=block_bytes)
    assert found == plain_tables(rows, which, add=False)


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.tuples(names, names, st.tuples(*[st.integers(0, 9)] * 4)), min_size=1, max_size=20),
    block_bytes=st.sampled_from([1, 40, 1 << 20]),
)
@example(rows=[("a", "b", (1, 2, 3, 4))] * 3, block_bytes=1)
def test_doubled_rows_are_added_or_refused(tmp_path_factory, rows, block_bytes):
    path = write(tmp_path_factory.getbasetemp(), text_of(rows))
    summed = tables_of(path, sum_duplicates=True, block_bytes=block_bytes)
    assert summed == plain_tables(rows, Slice(1, 1), add=True)
    if len({row[:2] for row in rows}) < len(rows):
        with pytest.raises(InputError) as err:
            tables_of(path, block_bytes=block_bytes)
        assert err.value.kind == "doubled-batch"
    else:
        assert tables_of(path, block_bytes=block_bytes) == summed


# ---- Grouped or not ----


def test_what_is_not_grouped_is_said_once_with_nothing_of_it_yielded_wrongly(tmp_path):
    rows = [(p, b, (1, 2, 3, 4)) for b in ("x", "y") for p in ("p2", "p1", "p3")]
    notes = []
    blocks = read_genotype_counts(write(tmp_path, text_of(rows)), on_note=notes.append, block_bytes=1)
    with pytest.raises(NotGroupedError):
        list(blocks)
    assert len(notes) == 1
    assert "rows of probeset p2 are not neighbours" in notes[0]


@pytest.mark.parametrize("form", ["plain", "gzip", "zstd", "parquet"])
def test_a_stream_that_is_a_file_can_be_read_again(tmp_path, form):
    rows = [(p, b, (1, 2, 3, 4)) for b in ("x", "y") for p in ("p1", "p2")]
    with write(tmp_path, FORMS[form](rows)).open("rb") as file:
        assert tables_of(file, block_bytes=1) == plain_tables(rows, Slice(1, 1), add=False)


@pytest.mark.parametrize("ids", [["a", "b", "c", "b"], ["c", "b", "a", "c"], ["c", "b", "b2", "a", "b2"]])
@pytest.mark.parametrize("block_bytes", [1, 1 << 20])
def test_a_probeset_that_comes_again_is_noticed(tmp_path, ids, block_bytes):
    rows = [(name, f"b{k}", (0, 0, 0, 1)) for k, name in enumerate(ids)]
    with pytest.raises(NotGroupedError, match=f"probeset {ids[-1]} "):
        list(read_genotype_counts(write(tmp_path, text_of(rows)), block_bytes=block_bytes))


def test_probesets_in_any_order_are_read_once_where_they_are_grouped(tmp_path):
    ids = [f"p{k}" for k in random.Random(1).sample(range(5000), 2000)]
    rows = [(name, batch, (1, 0, 0, 0)) for name in ids for batch in ("x", "y")]
    blocks = list(read_genotype_counts(write(tmp_path, text_of(rows)), block_bytes=500))
    assert [name for block in blocks for name in block.probesets] == ids
    assert len(blocks) > 10


@pytest.mark.parametrize("form", FORMS)
def test_a_pipe_is_read_as_the_file_is(form):
    rows = [(p, b, (1, 2, 3, 4)) for b in ("x", "y") for p in ("p2", "p1", "p3")]
    with as_pipe(FORMS[form](rows)) as pipe:
        found = [t for block in read_genotype_counts(pipe, block_bytes=16) for t in tables_in(block)]
    assert found == plain_tables(rows, Slice(1, 1), add=False)


def test_a_pipe_by_its_path_is_read(tmp_path):
    rows = [(p, b, (1, 2, 3, 4)) for b in ("x", "y") for p in ("p2", "p1", "p3")]
    with as_pipe(text_of(rows)) as pipe:
        found = list(read_genotype_counts(Path(f"/dev/fd/{pipe.fileno()}")))
    assert [t for block in found for t in tables_in(block)] == plain_tables(rows, Slice(1, 1), add=False)


def test_cells_of_other_columns_may_hold_anything(tmp_path):
    text = (
        b"note\t"
        + HEADER.encode()
        + b'"caf\xe9" \t'
        + ROW.encode()
        + b"\t"
        + ROW.replace("b1", "b2").encode()
    )
    assert [name for name, _ in tables_of(write(tmp_path, text))[0][1]] == ["b1", "b2"]


def test_zeros_in_front_are_digits(tmp_path):
    path = write(tmp_path, HEADER + "p\tb\t007\t00000000000000000000\t0000000002147483640\t0\n")
    assert tables_of(path) == [("p", [("b", (7, 0, 2**31 - 8, 0))])]


def test_parquet_columns_of_many_types_are_taken(tmp_path):
    import pyarrow as pa

    rows = [(f"p{k // 3}", f"b{k % 3}", (k, 2 * k, 3 * k, 200)) for k in range(30)]
    kinds = {
        "probeset_id": pa.large_string(),
        "batch_name": pa.dictionary(pa.int8(), pa.string()),
        "n_AA": pa.uint8(),
        "n_AB": pa.float64(),
        "n_BB": pa.uint64(),
        "n_NC": pa.float32(),
    }
    path = write(tmp_path, parquet_of(rows, kinds, row_group_size=7))
    assert tables_of(path, block_bytes=1) == plain_tables(rows, Slice(1, 1), add=False)


# ---- Real tables, and memory ----

DATA = real_data.data_folder() / "counts"


@pytest.mark.skipif(not real_data.is_there(real_data.data_folder()), reason="no real data")
@pytest.mark.parametrize(
    "path", sorted(DATA.glob("*_counts.tsv.gz")) + sorted(DATA.glob("*_fixture.tsv")), ids=lambda p: p.name
)
def test_real_tables_are_read_as_plain_python_reads_them(path):
    packed = path.suffix == ".gz"
    text = (gzip.decompress(path.read_bytes()) if packed else path.read_bytes()).decode()
    header, *lines = [line.split("\t") for line in text.splitlines()]
    at = [header.index(column) for column in COLUMNS]
    rows = [(c[at[0]], c[at[1]], tuple(int(c[k]) for k in at[2:])) for c in lines]
    found = tables_of(path, block_bytes=1 << 19)
    assert found == plain_tables(rows, Slice(1, 1), add=False)
    assert tables_of(path, which=Slice(2, 3)) == found[1::3]


MEASURE = """
import resource, sys
from pathlib import Path
from bams3.genotype_counts import read_genotype_counts
n = sum(len(block.batch) for block in read_genotype_counts(Path(sys.argv[1]), block_bytes=1 << 20))
scale = 1 if sys.platform == "darwin" else 1024
print(n, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale)
"""


def test_memory_does_not_grow_with_a_table_whose_rows_are_grouped(tmp_path):
    peaks = []
    rows = "".join(f"#\tplate{b:02}\t{b}\t{7 * b}\t{3 * b}\t1\n" for b in range(30))
    for n_probesets in (12_000, 48_000):
        with (tmp_path / "table").open("w") as file:
            file.write(HEADER)
            file.writelines(rows.replace("#", f"AX-{k:08}") for k in range(n_probesets))
        done = subprocess.run(
            [sys.executable, "-c", MEASURE, tmp_path / "table"], capture_output=True, text=True, check=True
        )
        n_rows, peak = map(int, done.stdout.split())
        assert n_rows == 30 * n_probesets
        peaks.append(peak)
    grown_text = 36_000 * len(rows)
    assert peaks[1] - peaks[0] < grown_text / 3, peaks
