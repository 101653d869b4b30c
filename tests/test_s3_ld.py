"""Panels in S3: made there, asked there, and their pairs."""

import pytest
from commands import objects, run
from ld_panels import made_up, stored, write_calls

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    """A folder with calls as VCF, their panel, and an association of theirs."""
    folder = tmp_path_factory.mktemp("local")
    stored(write_calls(folder, *made_up(3, 80, 40, missing=0.05)))
    assoc = "".join(f"v{v} {(v * 37 % 80 + 1) / 1e6:g}\n" for v in range(80))
    (folder / "assoc.txt").write_text("SNP P\n" + assoc)
    return folder


@pytest.fixture
def panel(local, s3_bucket):
    """Address of the panel in S3."""
    return s3_bucket.put_folder(local / "calls.ldp", "panels/calls.ldp")


def succeeds(*arguments):
    """What a command writes to stdout."""
    done = run(*arguments)
    assert done.kind == "", done.err
    return done.out


def test_a_panel_made_from_s3_in_s3_is_the_local_one(local, s3_bucket):
    vcf = s3_bucket.put("in/calls.vcf", (local / "calls.vcf").read_bytes())
    into = s3_bucket.address("out/calls.ldp")
    succeeds("ld-import", vcf, into, "--quiet")
    assert s3_bucket.objects("out/calls.ldp") == objects(local / "calls.ldp")
    assert run("ld-import", vcf, into, "--quiet").kind == "output-exists"


@pytest.mark.parametrize(
    "question",
    [
        "ld-query {panel} v7 --min-r2 0",
        "ld-query {panel} --region 1:1-20000 --min-r2 0",
        "ld-prune {panel} --indep-pairwise 20 5 0.2",
        "ld-clump {panel} {assoc}",
        "ld-decay {panel} --max-distance 30kb",
        "ld-plan {panel} --tiles 6",
    ],
)
def test_an_answer_is_that_of_the_local_panel(local, s3_bucket, panel, question):
    assoc = s3_bucket.put("in/assoc.txt", (local / "assoc.txt").read_bytes())
    here = question.format(panel=local / "calls.ldp", assoc=local / "assoc.txt").split()
    there = question.format(panel=panel, assoc=assoc).split()
    answer = succeeds(*here)
    assert answer.count("\n") > 2
    assert succeeds(*there).replace(panel, str(local / "calls.ldp")) == answer


def test_pairs_of_a_panel_in_s3_are_written_there_and_merged(local, s3_bucket, panel, tmp_path):
    succeeds("ld-tile", local / "calls.ldp", tmp_path / "pairs.parquet", "--quiet", "--min-r2", "0.01")
    parts = [s3_bucket.address(f"part{i}.parquet") for i in (1, 2)]
    for i, part in enumerate(parts, 1):
        how = ("--tiles", "10", "--slice", f"{i}/2", "--min-r2", "0.01", "--quiet")
        succeeds("ld-tile", panel, part, *how)
    succeeds("ld-merge", *parts, "-o", s3_bucket.address("pairs.parquet"), "--quiet")
    assert s3_bucket.get("pairs.parquet") == (tmp_path / "pairs.parquet").read_bytes()


def test_a_region_is_drawn_from_s3_and_the_figure_put_there(s3_bucket, panel):
    succeeds("ld-plot", panel, "--region", "1", "-o", s3_bucket.address("plots/"), "--format", "png")
    assert s3_bucket.get("plots/calls.ld.png").startswith(b"\x89PNG")
