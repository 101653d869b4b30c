"""The samples sheet and count tables: what is read, and what a mistake is called."""

import json
import os
from pathlib import Path

import numpy as np
import pysam
import pytest
from click.testing import CliRunner
from commands import run

from bams3.cli.check_sheet import command as check_sheet
from bams3.cli.tabulate import command as tabulate
from bams3.errors import InputError
from bams3.tables import (
    SHEET_COLUMNS,
    CountedRegion,
    join_counts,
    read_counts,
    read_samples,
    write_counts,
)

REPOSITORY = Path(__file__).parent.parent
HEADER = "contig\tstart\tend\tname\tcount\n"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working directory with two alignments, a reference and a store."""
    monkeypatch.chdir(tmp_path)
    for name in ("a.bam", "b.cram", "ref.fa"):
        Path(name).touch()
    Path("s.bams3").mkdir()
    Path("s.bams3/_metadata.json").touch()
    return tmp_path


def write(name, text):
    path = Path(name)
    path.write_text(text, encoding="utf-8")
    return path


def complaint(text):
    with pytest.raises(InputError) as caught:
        read_samples(write("samples.tsv", text))
    assert caught.value.kind == "bad-sheet"
    return f"{caught.value} / {caught.value.hint}"


# Sheets that are right ----------------------------------------------------------------------------------


def test_a_sheet_gives_its_rows_with_their_lines(folder):
    text = "sample\talignment\tstore\treference\n# note\nA\ta.bam\t\t\n\nB\tb.cram\t\tref.fa\nC\t\ts.bams3\n"
    first, second, third = read_samples(write("samples.tsv", text))
    assert (first.name, first.alignment, first.store, first.reference, first.line) == (
        "A",
        "a.bam",
        None,
        None,
        3,
    )
    assert (second.reference, second.line) == ("ref.fa", 5)
    assert (third.alignment, third.store) == (None, "s.bams3")


@pytest.mark.parametrize(
    "text",
    [
        "sample,alignment\nA,a.bam\n",
        "alignment\tsample\na.bam\tA\n",
        "\ufeffsample\talignment\r\nA\ta.bam\r\n",
        " sample , alignment \n A , a.bam \n",
        'sample,alignment\n"A","a.bam"\n',
        "sample\talignment\treference\nA\ta.bam\n",
        "sample\talignment\nA\ta.bam",
    ],
    ids=["csv", "order", "windows", "spaces", "quotes", "short row", "no last newline"],
)
def test_the_same_sheet_in_other_dress(folder, text):
    (sample,) = read_samples(write("samples.tsv", text))
    assert (sample.name, sample.alignment, sample.store) == ("A", "a.bam", None)


def test_a_path_with_a_comma_needs_quotes_in_a_csv(folder):
    Path("a,b.bam").touch()
    assert read_samples(write("s.csv", 'sample,alignment\nA,"a,b.bam"\n'))[0].alignment == "a,b.bam"
    assert "line 2 column 3: 3 cells under a header of 2" in complaint("sample,alignment\nA,a,b.bam\n")


# Sheets that are wrong ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ("A\tnope.bam\t\t", "line 3 column alignment: nope.bam: no such file"),
        ("A\t.\t\t", "line 3 column alignment: .: a folder, not a file"),
        ("A\ts.bams3\t\t", "line 3 column alignment: s.bams3 is a store / put it in the column store"),
        ("A\tb.cram\t\tnope.fa", "line 3 column reference: nope.fa: no such file"),
        ("A\t\tnope.bams3\t", "line 3 column store: nope.bams3: no such store"),
        ("A\t\t.\t", "line 3 column store: .: not a store: it has no _metadata.json"),
        ("A\ta.bam\ts.bams3\t", "line 3 column store: A has an alignment and a store / fill one"),
        ("A\t\t\t", "line 3 column alignment: the cell is empty, and A has no store either"),
        ("\ta.bam\t\t", "line 3 column sample: the cell is empty"),
        ("Z\ta.bam\t\t", "line 3 column sample: Z is in line 2 already"),
        ("z\ta.bam\t\t", "line 3 column sample: z is in line 2 already but for upper and lower case, as Z"),
        ("a/b\ta.bam\t\t", "line 3 column sample: 'a/b' cannot name a file"),
        ("..\ta.bam\t\t", "line 3 column sample: '..' cannot name a file"),
        ("-x\ta.bam\t\t", "line 3 column sample: '-x' cannot name a file"),
        ("a b\ta.bam\t\t", "line 3 column sample: 'a b' cannot name a file"),
        ("A\ta.bam\t\t\tmore", "line 3 column 5: 5 cells under a header of 4"),
        ("A\tx.bam\ny\ty.bam", "x.bam: no such file (and 1 more mistake)"),
    ],
)
def test_a_wrong_row_is_named_with_line_column_and_cure(folder, row, expected):
    assert expected in complaint(f"sample\talignment\tstore\treference\nZ\ta.bam\t\t\n{row}\n")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "the samples sheet is empty"),
        ("# only a comment\n", "the samples sheet is empty"),
        ("sample\talignment\n", "no samples, only a header"),
        (
            "sample\tbam\nA\ta.bam\n",
            "line 1 column 2: unknown column 'bam' / the columns are sample, alignment",
        ),
        ("sample\talignmnet\nA\ta.bam\n", "unknown column 'alignmnet' / did you mean 'alignment'?"),
        ("Sample\talignment\nA\ta.bam\n", "unknown column 'Sample' / did you mean 'sample'?"),
        ("sample\talignment\talignment\nA\ta.bam\t\n", "line 1 column 3: column 'alignment' is there twice"),
        ("alignment\na.bam\n", "line 1: no column 'sample'"),
        ("sample\treference\nA\tref.fa\n", "line 1: no column 'alignment' or 'store'"),
        ("sample;alignment\nA;a.bam\n", "unknown column 'sample;alignment'"),
    ],
)
def test_a_wrong_header_is_named(folder, text, expected):
    assert expected in complaint(text)


def test_a_sheet_that_cannot_be_read_is_named(folder):
    for path, content in (("nope.tsv", None), ("binary.tsv", b"\xff\xfe\x00")):
        if content:
            Path(path).write_bytes(content)
        with pytest.raises(InputError, match=path) as caught:
            read_samples(Path(path))
        assert caught.value.kind == "bad-sheet"


def test_a_relative_path_says_where_it_starts(folder):
    assert str(folder) in complaint("sample\talignment\nA\tnope.bam\n")
    assert str(folder) not in complaint("sample\talignment\nA\t/nope.bam\n")


# check-sheet --------------------------------------------------------------------------------------------


def test_a_file_that_may_not_be_read_is_told(folder):
    folder.chmod(0o755)
    Path("a.bam").chmod(0)
    sheet, user = write("samples.tsv", "sample\talignment\nA\ta.bam\n"), os.geteuid()
    os.seteuid(user or 65534)  # root may read everything
    try:
        with pytest.raises(InputError, match="line 2 column alignment: a.bam: permission denied"):
            read_samples(sheet)
    finally:
        os.seteuid(user)


def test_check_sheet_speaks_to_people_and_to_machines(folder):
    write("samples.tsv", "sample\talignment\tstore\nA\ta.bam\t\nB\t\ts.bams3\n")
    write("r.bed", "chr1\t0\t100\tone\nchr1\t100\t150\n")
    spoken = CliRunner().invoke(check_sheet, ["samples.tsv", "--regions", "r.bed"])
    assert spoken.stdout == "sample\talignment\tstore\treference\nA\ta.bam\t\t\nB\t\ts.bams3\t\n"
    assert spoken.stderr == "2 samples: 1 to convert, 1 store; 2 regions, 150 bp\n"
    written = json.loads(
        CliRunner().invoke(check_sheet, ["samples.tsv", "--regions", "r.bed", "--json"]).stdout
    )
    assert written["regions"] == 2
    assert written["samples"][1] == {"sample": "B", "alignment": None, "store": "s.bams3", "reference": None}


def test_a_contig_that_the_first_alignment_lacks_is_found_before_any_conversion(folder):
    header = {"SQ": [{"SN": "chr1", "LN": 1000}, {"SN": "chrX", "LN": 500}]}
    pysam.AlignmentFile("real.bam", "wb", header=header).close()
    write("samples.tsv", "sample\talignment\nA\ts3://b/a.bam\nB\treal.bam\nC\ta.bam\n")
    write("r.bed", "chr1\t0\t100\nX\t100\t150\n")
    done = run("check-sheet", "samples.tsv", "--regions", "r.bed")
    assert (done.code, done.err.splitlines()) == (
        2,
        [
            "bams3: r.bed line 2 column 1: X is not in real.bam [unknown-contig]",
            "hint: the alignment names it chrX",
        ],
    )
    write("r.bed", "chr1\t0\t1000\nchrX\t100\t501\nchr1\t0\t2000\n")
    done = run("check-sheet", "samples.tsv", "--regions", "r.bed")
    assert done.code == 0
    words = "r.bed line 2 column 3: end 501 lies behind that of chrX, 500, in real.bam; so do 1 more"
    assert done.err.startswith(f"bams3: warning: {words}\n")
    write("samples.tsv", "sample\talignment\nC\ta.bam\nB\treal.bam\n")  # what cannot be read says so later
    assert run("check-sheet", "samples.tsv", "--regions", "r.bed").code == 0


def test_the_schema_of_a_row_agrees_with_the_code(folder):
    yaml = pytest.importorskip("yaml", reason="PyYAML comes with Snakemake")
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema comes with Snakemake")
    schema = yaml.safe_load((REPOSITORY / "workflow/schemas/samples.schema.yaml").read_text())
    described = {name: column["description"] for name, column in schema["properties"].items()}
    assert described == SHEET_COLUMNS
    write("samples.tsv", "sample\talignment\tstore\treference\nA\ta.bam\t\tref.fa\nB\t\ts.bams3\t\n")
    validator = jsonschema.Draft202012Validator(schema)
    for row in json.loads(CliRunner().invoke(check_sheet, ["samples.tsv", "--json"]).stdout)["samples"]:
        validator.validate(row)
    for wrong in (
        {"sample": "A"},
        {"sample": "A", "alignment": "a", "store": "b"},
        {"sample": "../x", "store": "b"},
    ):
        assert not validator.is_valid(wrong)


# Count tables -------------------------------------------------------------------------------------------


def test_tables_of_samples_become_one_in_the_order_given(folder):
    write("B.x.tsv", HEADER + "chr1\t0\t10\tone\t5\nchr2\t5\t9\t\t0\n")
    write("A.tsv", HEADER + "chr1\t0\t10\tone\t7\nchr2\t5\t9\t\t9000000000\n")
    joined = join_counts([Path("B.x.tsv"), Path("A.tsv")])
    assert joined.samples == ("B.x", "A")
    assert joined.regions[1] == CountedRegion("chr2", 5, 9, "")
    assert joined.counts.tolist() == [[5, 7], [0, 9_000_000_000]]
    write_counts(joined, Path("all.tsv"))
    assert Path("all.tsv").read_text().splitlines()[0] == "contig\tstart\tend\tname\tB.x\tA"
    again = read_counts(Path("all.tsv"))
    assert (again.regions, again.samples) == (joined.regions, joined.samples)
    np.testing.assert_array_equal(again.counts, joined.counts)


def test_a_region_is_called_by_its_name_or_by_its_place():
    assert CountedRegion("chr1", 0, 10, "one").label == "one"
    assert CountedRegion("chr1", 0, 10, "").label == "chr1:1-10"


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (
            HEADER + "chr1\t0\t11\tone\t1\n",
            "B.tsv line 2: region chr1:1-11 (one), where A.tsv has chr1:1-10 (one)",
        ),
        (HEADER + "chr1\t0\t10\tone\t1\nchr1\t0\t9\tx\t1\n", "B.tsv has 2 regions, where A.tsv has 1"),
    ],
)
def test_tables_of_different_regions_are_both_named(folder, other, expected):
    write("A.tsv", HEADER + "chr1\t0\t10\tone\t1\n")
    write("B.tsv", other)
    with pytest.raises(InputError) as caught:
        join_counts([Path("A.tsv"), Path("B.tsv")])
    assert (str(caught.value), caught.value.kind) == (expected, "region-mismatch")


def test_a_sample_in_two_tables_is_refused(folder):
    for place in ("x", "y"):
        Path(place).mkdir()
        write(f"{place}/A.tsv", HEADER + "chr1\t0\t10\tone\t1\n")
    with pytest.raises(InputError, match=r"sample A is in x/A.tsv and in y/A.tsv"):
        join_counts([Path("x/A.tsv"), Path("y/A.tsv")])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "A.tsv line 1: not the header of a region table"),
        ("chr1\t0\t10\tone\t1\n", "A.tsv line 1: not the header"),
        ("contig\tstart\tend\tname\n", "A.tsv line 1: not the header"),
        (HEADER, "A.tsv: no regions, only a header"),
        (HEADER + "chr1\t0\t10\tone\n", "A.tsv line 2: 4 cells under a header of 5"),
        (HEADER + "chr1\t0\t10\tone\t-1\n", "A.tsv line 2 column count: '-1' is not a number"),
        (HEADER + "chr1\tx\t10\tone\t1\n", "A.tsv line 2 column start: 'x' is not a number"),
        (HEADER + "chr1\t0\t10\tone\t" + "9" * 30 + "\n", "is not a number"),
    ],
)
def test_a_damaged_table_is_named(folder, text, expected):
    with pytest.raises(InputError) as caught:
        read_counts(write("A.tsv", text))
    assert expected in str(caught.value)
    assert caught.value.kind == "bad-counts"


COVERAGE = "#contig\tstart\tend\tname\tmean\tbreadth\tmin\tmax\n"


def test_a_column_of_coverage_tables_is_joined_with_its_digits(folder):
    write("A.tsv", COVERAGE + "chr1\t0\t10\tone\t12.5000\t1.0000\t3\t20\n")
    write("B.tsv", COVERAGE + "chr1\t0\t10\tone\t0.1234\t0.5000\t0\t1\n")
    for column, cells in (("mean", "12.5000\t0.1234"), ("breadth", "1.0000\t0.5000"), ("max", "20\t1")):
        joined = join_counts([Path("A.tsv"), Path("B.tsv")], column)
        assert joined.column == column
        write_counts(joined, Path("all.tsv"))
        assert Path("all.tsv").read_text() == f"contig\tstart\tend\tname\tA\tB\nchr1\t0\t10\tone\t{cells}\n"


def test_a_column_that_is_not_there_or_not_named_is_refused(folder):
    write("A.tsv", COVERAGE + "chr1\t0\t10\tone\t12.5000\t1.0000\t3\t20\n")
    for column, expected in ((None, "has several columns"), ("median", "no column 'median'")):
        with pytest.raises(InputError, match=expected) as caught:
            join_counts([Path("A.tsv")], column)
        assert "mean, breadth, min, max" in caught.value.hint


def test_tabulate_writes_what_was_asked_for(folder):
    write("A.tsv", HEADER + "chr1\t0\t10\tone\t1\n")
    assert CliRunner().invoke(tabulate, ["A.tsv", "--table", "all.tsv"]).exit_code == 0
    assert Path("all.tsv").read_text() == "contig\tstart\tend\tname\tA\nchr1\t0\t10\tone\t1\n"
    nothing = CliRunner().invoke(tabulate, ["A.tsv"])
    assert nothing.exit_code == 2
    assert "--table, --plot or both" in nothing.output
