"""Tables of genotype counts with the mistakes that people make: each is named with its place and its cure."""

import gzip
import io
import random

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_counts import FORMS, HEADER, ROW, as_pipe, error_of, parquet_of, tables_of, write

from bams3.count_tables import mistakes
from bams3.errors import CorruptDataError, InputError
from bams3.genotype_counts import read_genotype_counts
from bams3.slices import Slice

BAD_ROWS = {
    "p1\tb2\t-3\t2\t3\t4\n": "column n_AA: '-3' is negative",
    "p1\tb2\t-0\t2\t3\t4\n": "column n_AA: '-0' is negative",
    "p1\tb2\t1\t3.0\t3\t4\n": "column n_AB: '3.0' is not a whole number in plain digits",
    "p1\tb2\t1\t1e3\t3\t4\n": "column n_AB: '1e3' is not a whole number in plain digits",
    "p1\tb2\t1\t+5\t3\t4\n": "column n_AB: '+5' is not a whole number in plain digits",
    "p1\tb2\t1\t2\t\t4\n": "column n_BB: the cell is empty",
    "p1\tb2\t1\t2\t3\t\n": "column n_NC: the cell is empty",
    "p1\tb2\t1\t2\tNA\t4\n": "column n_BB: 'NA' is not a count",
    "p1\tb2\t1\t2\tmany\t4\n": "column n_BB: 'many' is not a count",
    "p1\tb2\t1\t2\t0x1F\t4\n": "column n_BB: '0x1F' is not a count",
    "p1\tb2\t1\t 2\t3\t4\n": "column n_AB: ' 2' is not a count",
    "p1\tb2\t1\t2 \t3\t4\n": "column n_AB: '2 ' is not a count",
    "p1\tb2\t1\t1,000\t3\t4\n": "column n_AB: '1,000' is not a count",
    "p1\tb2\t1\t1_0\t3\t4\n": "column n_AB: '1_0' is not a count",
    "p1\tb2\t1\t\u0663\t3\t4\n": "column n_AB: '\u0663' is not a count",
    "p1\tb2\t1\t2\t3\t2147483648\n": "column n_NC: '2147483648' is more than 2,147,483,647",
    f"p1\tb2\t1\t2\t3\t{'9' * 5000}\n": f"column n_NC: '{'9' * 40}'... is more than 2,147,483,647",
    "p1\tb2\t1\t2\t3\n": "5 cells under a header of 6",
    "p1\tb2\t1\t2\t3\t4\t5\n": "7 cells under a header of 6",
    "p1\n": "1 cell under a header of 6",
    "\n": "the line is empty",
    "\tb2\t1\t2\t3\t4\n": "column probeset_id: the cell is empty",
    "p1\t\t1\t2\t3\t4\n": "column batch_name: the cell is empty",
    '"p1"\tb2\t1\t2\t3\t4\n': "column probeset_id: '\"p1\"' has a quote in it",
    'p1\t"b2"\t1\t2\t3\t4\n': "column batch_name: '\"b2\"' has a quote in it",
    'p1\tb2\t"1"\t2\t3\t4\n': "column n_AA: '\"1\"' has a quote in it",
    HEADER: "column n_AA: 'n_AA' is the header once more",
}


@pytest.mark.parametrize("block_bytes", [1, 60, 1 << 20])
@pytest.mark.parametrize("bad", BAD_ROWS)
def test_a_bad_row_is_named_with_its_line_column_and_cause(tmp_path, bad, block_bytes):
    good = [f"q{k}\tb1\t1\t2\t3\t4\n" for k in range(7)]
    path = write(tmp_path, HEADER + "".join(good[:5]) + bad + "".join(good[5:]))
    found = []
    with pytest.raises(InputError) as err:
        found.extend(read_genotype_counts(path, block_bytes=block_bytes))
    assert str(err.value) == f"{path} line 7{glue(BAD_ROWS[bad])}"
    assert err.value.kind == "bad-counts"
    assert err.value.hint
    assert all(not name.startswith("p") for block in found for name in block.probesets)


def glue(words: str) -> str:
    """What stands between the number of a line and what is wrong with it."""
    return f" {words}" if words.startswith("column") else f": {words}"


@pytest.mark.parametrize("bad", ["p1\tb2\t1\t-2\t3\t4\n", "p1\tb2\t1\n", "\n"])
def test_a_pipe_names_lines_as_well(bad):
    with (
        as_pipe((HEADER + ROW + bad + ROW).encode()) as pipe,
        pytest.raises(InputError, match="^stdin line 3"),
    ):
        list(read_genotype_counts(pipe))


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (b"p\xff\tb2\t1\t2\t3\t4\n", "column probeset_id: b'p\\xff' is not UTF-8"),
        (b"p1\tb\xe9\t1\t2\t3\t4\n", "column batch_name: b'b\\xe9' is not UTF-8"),
        (b"p1\tb\t\xe9\t2\t3\t4\n", "column n_AA: b'\\xe9' is not UTF-8"),
    ],
)
def test_what_is_not_utf_8_is_named(tmp_path, row, words):
    path = write(tmp_path, (HEADER + ROW).encode() + row)
    with pytest.raises(InputError) as err:
        list(read_genotype_counts(path))
    assert str(err.value) == f"{path} line 3 {words}"


@settings(max_examples=300, deadline=None)
@given(
    cells=st.lists(st.text('019 -+.xXeE"\ufeff\v\f\0\x1c\x85a\t\r\n', max_size=3), min_size=6, max_size=6),
    k=st.integers(0, 30),
)
def test_what_is_taken_is_what_the_slow_look_takes(tmp_path_factory, cells, k):
    data = (HEADER + ROW + "\t".join(cells) + "\n" + "q\tb\t1\t2\t3\t4\n").encode()
    path = write(tmp_path_factory.getbasetemp(), data)
    slow = error_of(
        mistakes.refuse_mistakes, data[len(HEADER) : -1], mistakes.Header(6, tuple(range(6))), str(path), 2
    )
    fast = error_of(tables_of, path, sum_duplicates=True, block_bytes=k + 1)
    assert (str(fast), fast and fast.kind) == (str(slow), slow and slow.kind)


def test_a_doubled_row_names_both_lines(tmp_path):
    rows = "p0\tb1\t1\t2\t3\t4\n" + ROW + ROW.replace("b1", "b2") + ROW
    for block_bytes in (1, 1 << 20):
        with pytest.raises(InputError) as err:
            list(read_genotype_counts(write(tmp_path, HEADER + rows), block_bytes=block_bytes))
        assert str(err.value).endswith("line 5: probeset p1 in batch b1 has a row already, line 3")
        assert err.value.kind == "doubled-batch"


@pytest.mark.parametrize("which", [Slice(1, 1), Slice(1, 2)])
def test_a_doubled_row_far_away_names_both_lines(tmp_path, which):
    path = write(tmp_path, HEADER + ROW + ROW.replace("p1", "p2") + ROW)
    with pytest.raises(InputError, match="line 4: probeset p1 in batch b1 has a row already, line 2"):
        tables_of(path, which=which, block_bytes=1)


def test_sums_that_are_too_large_are_refused(tmp_path):
    path = write(tmp_path, HEADER + ROW + "p1\tb1\t1\t2\t2147483647\t4\n")
    with pytest.raises(InputError, match="line 2 column n_BB: .* add up to 2,147,483,650") as err:
        list(read_genotype_counts(path, sum_duplicates=True))
    assert err.value.kind == "bad-counts"


# ---- Mistakes in the header, and files that are no tables ----


@pytest.mark.parametrize(
    ("header", "words", "hint"),
    [
        (HEADER.replace("\tn_BB", ""), "no column n_BB", "any order"),
        ("batch_name\tn_AA\tn_NC\n", "no columns probeset_id, n_AB and n_BB", "any order"),
        (HEADER.replace("n_AB", "N_ab"), "no column n_AB", "'N_ab'"),
        (HEADER.replace("n_AB", " n_AB"), "no column n_AB", "' n_AB'"),
        (HEADER.replace("n_AB", '"n_AB"'), "no column n_AB", "quote = FALSE"),
        (
            HEADER.replace("\t", ","),
            "no columns probeset_id, batch_name",
            "tab-separated: this header has commas",
        ),
        (HEADER.replace("\t", ";"), "no columns probeset_id, batch_name", "has semicolons"),
        (HEADER.replace("\t", "  "), "no columns probeset_id, batch_name", "has blanks"),
        ("\n" + HEADER, "no columns probeset_id", "first line"),
        ("hello\n", "no columns probeset_id", "first line"),
    ],
)
def test_missing_columns_are_listed_with_the_likely_cause(tmp_path, header, words, hint):
    path = write(tmp_path, header + ROW)
    with pytest.raises(InputError) as err:
        list(read_genotype_counts(path))
    assert str(err.value).startswith(f"{path} line 1: {words}")
    assert hint in err.value.hint
    assert err.value.kind == "missing-column"


def test_doubled_columns_are_listed(tmp_path):
    path = write(tmp_path, "n_AB\t" + HEADER)
    with pytest.raises(InputError, match="line 1: column n_AB is there 2 times: columns 1 and 5") as err:
        list(read_genotype_counts(path))
    assert err.value.kind == "doubled-column"


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", "empty-table"),
        (b"\n\n\r\n", "empty-table"),
        (b"\xef\xbb\xbf", "empty-table"),
        (HEADER.encode(), "empty-table"),
        (HEADER.encode() + b"\r\n\n", "empty-table"),
        (gzip.compress(b"", mtime=0), "empty-table"),
        (zstandard.compress(HEADER.encode()), "empty-table"),
        (parquet_of([]), "empty-table"),
        ((HEADER + ROW).encode("utf-16"), "not-a-table"),
        (random.Random(5).randbytes(5000), "not-a-table"),
        (bytes(100), "not-a-table"),
        (b"BZh91AY", "not-a-table"),
        (b"PK\x03\x04 a workbook", "not-a-table"),
        (b"BAM\x01\xff\n", "not-a-table"),
        (bytes(20 << 20), "not-a-table"),
    ],
    ids=lambda value: value if isinstance(value, str) else repr(value[:12]),
)
def test_files_that_hold_no_table_are_refused(tmp_path, data, kind):
    path = write(tmp_path, data)
    with pytest.raises(InputError) as err:
        list(read_genotype_counts(path))
    assert err.value.kind == kind
    assert str(err.value).startswith(str(path))
    assert "\n" not in str(err.value)


@pytest.mark.parametrize("data", [b"##fileformat=VCFv4.2\n", b"BCF\2\2\0", b"\x6c\x1b\x01\xff\xff"])
def test_who_gives_a_panel_as_a_table_is_told_its_options(tmp_path, data):
    for packed in (data, gzip.compress(data)):
        err = error_of(tables_of, write(tmp_path, packed))
        assert err.kind == "not-a-table"
        assert "--vcf FILE, or --bfile PREFIX" in err.hint


def test_a_file_that_is_not_there_or_a_folder_is_refused(tmp_path):
    for path, kind in ((tmp_path / "none", "no-such-file"), (tmp_path, "not-a-file")):
        with pytest.raises(InputError) as err:
            list(read_genotype_counts(path))
        assert err.value.kind == kind


LONG = [(f"p{k:05}", f"b{j}", (k, j, 7 * k % 101, 1)) for k in range(600) for j in range(5)]


@pytest.mark.parametrize("form", ["gzip", "two gzips", "zstd", "parquet"])
@pytest.mark.parametrize("left", [0.2, 0.9, -1, -5, 12])
def test_a_cut_file_is_noticed(tmp_path, form, left):
    data = FORMS[form](LONG)
    data = data[: int(left * len(data)) if 0 < left < 1 else left]
    path = write(tmp_path, data)
    with as_pipe(data) as pipe:
        for source in (path, pipe):
            with pytest.raises(CorruptDataError) as err:
                tables_of(source)
            assert err.value.kind == "truncated-file"


@pytest.mark.parametrize("form", ["gzip", "zstd"])
def test_a_packed_file_with_something_else_behind_it_is_damaged(tmp_path, form):
    with pytest.raises(CorruptDataError) as err:
        tables_of(write(tmp_path, FORMS[form](LONG) + b"something else"))
    assert err.value.kind == "damaged-file"


@pytest.mark.parametrize("form", ["gzip", "two gzips", "parquet"])
def test_damage_ends_in_an_error_of_ours(tmp_path, form):
    data = FORMS[form](LONG)
    for at in random.Random(2).sample(range(10, len(data)), 60):
        path = write(tmp_path, data[:at] + bytes([data[at] ^ 0x41]) + data[at + 1 :])
        words = str(error_of(tables_of, path) or path)
        assert str(path) in words
        assert "\n" not in words


# ---- Parquet ----


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (("p", "b", (-1, 0, 0, 0)), "row 3 column n_AA: '-1' is negative"),
        (("p", "b", (0, 2**31, 0, 0)), "row 3 column n_AB: '2147483648' is more than"),
        (("p", "b", (0, 0, None, 0)), "row 3 column n_BB: a null"),
        (("", "b", (0, 0, 0, 0)), "row 3 column probeset_id: the cell is empty"),
        ((None, "b", (0, 0, 0, 0)), "row 3 column probeset_id: a null"),
        (("p", "b\tc", (0, 0, 0, 0)), "row 3 column batch_name: 'b\\tc' has a tab"),
        (("p", "b\n", (0, 0, 0, 0)), "row 3 column batch_name: 'b\\n' has a tab or a line"),
        (('"p"', "b", (0, 0, 0, 0)), "row 3 column probeset_id: '\"p\"' has a quote"),
        (("a", "x", (0, 0, 0, 0)), "row 3: probeset a in batch x has a row already, row 1"),
    ],
)
@pytest.mark.parametrize("block_bytes", [1, 1 << 20])
def test_bad_rows_of_parquet_are_named(tmp_path, bad, words, block_bytes):
    rows = [("a", "x", (1, 2, 3, 4)), ("a", "y", (1, 2, 3, 4)), bad, ("z", "y", (1, 2, 3, 4))]
    path = write(tmp_path, parquet_of(rows))
    with pytest.raises(InputError) as err:
        list(read_genotype_counts(path, block_bytes=block_bytes))
    assert str(err.value).startswith(f"{path} {words}")


def test_parquet_floats_must_be_whole_numbers(tmp_path):
    import pyarrow as pa

    for value, words in ((2.5, "'2.5' is not a whole number"), (float("nan"), "'nan' is not a count")):
        path = write(tmp_path, parquet_of([("a", "x", (1, 2, value, 4))], {"n_BB": pa.float64()}))
        with pytest.raises(InputError, match=f"row 1 column n_BB: {words}"):
            list(read_genotype_counts(path))


def test_parquet_columns_of_the_wrong_type_or_name_are_refused(tmp_path):
    import pyarrow as pa
    from pyarrow import parquet

    row = [("a", "x", (1, 2, 3, 4))]
    for kinds, words in (
        ({"n_BB": pa.string()}, "column n_BB: string, not numbers"),
        ({"batch_name": pa.binary()}, "column batch_name: binary, not strings"),
    ):
        with pytest.raises(InputError, match=words) as err:
            list(read_genotype_counts(write(tmp_path, parquet_of(row, kinds))))
        assert err.value.kind == "bad-counts"
    whole = parquet.read_table(io.BytesIO(parquet_of(row)))
    for table, kind in (
        (whole.drop(["n_AB"]), "missing-column"),
        (whole.append_column("n_AB", [[1]]), "doubled-column"),
    ):
        parquet.write_table(table, tmp_path / "table")
        with pytest.raises(InputError, match="n_AB") as err:
            list(read_genotype_counts(tmp_path / "table"))
        assert err.value.kind == kind
