"""The cohort run where an alignment and a store lie in S3: the tables of a run on files."""

import shutil
from pathlib import Path

import pytest
from s3_servers import moto_server
from simulate_cohort import main as simulate
from test_workflow import WORK, run, snakemake

pytestmark = pytest.mark.engine

RESULTS = ("results/counts.tsv", "results/depth.tsv", "results/breadth.tsv")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A simulated cohort and its finished run on files."""
    folder = tmp_path_factory.mktemp("cohort")
    simulate([str(folder), "--size-kb", "40", "--depth", "6"])
    assert run(folder) == {"convert": 4, **WORK}
    return folder


@pytest.fixture(scope="module")
def s3(folder):
    """The server with the first alignment and the second sample's store in it."""
    with moto_server() as server:
        bucket, client = server.make_bucket("cohort"), server.client()
        first, second, *_ = samples(folder)
        client.upload_file(str(folder / first[1]), bucket, "in/first.bam")
        store = folder / "results" / "stores" / f"{second[0]}.bams3"
        for path in store.rglob("*"):
            if path.is_file():
                client.upload_file(
                    str(path), bucket, f"stores/second.bams3/{path.relative_to(store).as_posix()}"
                )
        yield server


def samples(folder):
    """Rows of the sheet: sample, alignment, ..."""
    return [line.split("\t") for line in (folder / "samples.tsv").read_text().splitlines()[1:]]


def test_alignments_and_stores_in_s3_give_the_tables_of_files(folder, s3, tmp_path, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3.url)
    remote = tmp_path / "cohort"
    shutil.copytree(folder, remote, ignore=shutil.ignore_patterns("results", "logs", ".snakemake"))
    sheet = ["sample\talignment\tstore\treference"]
    for number, (sample, alignment, *rest) in enumerate(samples(folder)):
        reference = rest[0] if rest else ""
        cells = {
            0: ("s3://cohort/in/first.bam", "", reference),
            1: ("", "s3://cohort/stores/second.bams3", ""),
        }
        sheet.append("\t".join((sample, *cells.get(number, (alignment, "", reference)))))
    (remote / "samples.tsv").write_text("\n".join(sheet) + "\n")
    s3.client().upload_file(str(folder / "regions.bed"), "cohort", "in/regions.bed")
    config = "samples: samples.tsv\nregions: s3://cohort/in/regions.bed\nwork: s3://cohort/work\nslices: 2\n"
    (remote / "config.yaml").write_text(config)
    assert run(remote) == {"convert": 3, **WORK}
    for result in RESULTS:
        assert (remote / result).read_bytes() == (folder / result).read_bytes()
    assert "Nothing to be done" in snakemake(remote).stderr


def test_stores_can_be_made_in_s3(folder, s3, tmp_path, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3.url)
    remote = tmp_path / "cohort"
    shutil.copytree(folder, remote, ignore=shutil.ignore_patterns("results", "logs", ".snakemake"))
    sheet = (remote / "samples.tsv").read_text().splitlines(keepends=True)
    (remote / "samples.tsv").write_text("".join(sheet[:2]))
    with (remote / "config.yaml").open("a") as config:
        config.write("stores: s3://cohort/made\n")
    assert run(remote, "--until", "plan") == {"convert": 1, "plan": 1}
    (sample, *_), *_ = samples(folder)
    made = s3.client().get_object(Bucket="cohort", Key=f"made/{sample}.bams3/_metadata.json")["Body"].read()
    assert made == (folder / f"results/stores/{sample}.bams3/_metadata.json").read_bytes()
    assert not (remote / "results/stores").exists()
    assert run(remote, "--until", "plan") == {}


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        ("gs://cohort/a.bam\t\t", "gs is not known here"),
        ("s3://cohort\t\t", "no S3 address"),
        ("\ts3://cohort//a.bams3\t", "no S3 address"),
        ("s3://cohort/a.cram\t\ts3://cohort/ref.fa", "a reference is a file"),
    ],
)
def test_an_address_that_cannot_be_right_is_told_before_any_job(folder, tmp_path, cells, words):
    copy = Path(
        shutil.copytree(folder, tmp_path / "cohort", ignore=shutil.ignore_patterns("results", "logs"))
    )
    (copy / "samples.tsv").write_text(f"sample\talignment\tstore\treference\na\t{cells}\n")
    done = snakemake(copy, "-n")
    assert done.returncode != 0
    assert "line 2" in done.stdout
    assert words in done.stdout
