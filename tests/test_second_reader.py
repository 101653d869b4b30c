"""The second reader, written from FORMAT.md alone, against the package's and against the input."""

import conformance
import pysam
import pytest
from bam_bytes import decompressed, parted, with_bins
from bam_bytes import records as records_of
from bam_records import bam, record, tag
from commands import run
from real_data import data_folder
from second_reader import Store, records
from test_conformance import each

import bams3

MOST_RECORDS = 2_000


def first_records(source, folder):
    """The header and the first records of a sorted alignment file, as a BAM of its own."""
    whole = folder / "whole.bam"
    conformance.samtools("view", "-b", "-o", whole, source)
    head, data = parted(decompressed(whole))
    few = b"".join(records_of(data)[:MOST_RECORDS])
    path = folder / "few.bam"
    with pysam.BGZFile(str(path), "wb") as file:
        file.write(head + few)
    return path, few


def same_in_both_readers(path, expected, folder, *options):
    store = folder / "few.bams3"
    assert run("convert", "--quiet", path, store, *options).code == 0
    found = b"".join(records(store))
    assert found == with_bins(expected)
    assert found == b"".join(bams3.open(str(store)).records())
    assert Store(store).header() == bams3.open(str(store)).header.text
    assert Store(store).costs() == bams3.open(str(store)).costs.tolist()


@pytest.mark.slow
@each(lambda: conformance.cases(data_folder()))
def test_both_readers_read_a_file_alike(shared_data, tmp_path, monkeypatch, case):
    monkeypatch.setenv("REF_PATH", "/nonexistent")
    reference = conformance.reference_options(case, shared_data, tmp_path)
    try:
        expected = conformance.expected_of(shared_data / case.path, reference, tmp_path)
    except conformance.PositionTooLongError:
        return  # no BAM, and so no store, can hold it
    source = expected.source
    if source.suffix == ".bam":
        path, few = first_records(source, tmp_path)
    else:
        whole = tmp_path / "source.bam"
        conformance.samtools(
            "view", "-b", *(reference if source.suffix == ".cram" else ()), "-o", whole, source
        )
        path, few = first_records(whole, tmp_path)
    same_in_both_readers(path, few, tmp_path)


PAIRS = [
    read
    for k in range(40)
    for read in (
        record(
            b"r%d" % k,
            flag=99,
            pos=100 + k,
            mate_contig=0,
            mate_pos=102 + k,
            tlen=6,
            tags=[tag("MC", "Z", b"4M")],
        ),
        record(
            b"r%d" % k,
            flag=147,
            pos=100 + k,
            mate_contig=0,
            mate_pos=100 + k,
            tlen=-6,
            quals=bytes([k, 30, 2, 9]),
        ),
    )
]


@pytest.mark.parametrize("compression", ["auto", "zstd", "none"])
def test_both_readers_read_every_compression(tmp_path, compression):
    path = tmp_path / "few.bam"
    path.write_bytes(bam(PAIRS))
    same_in_both_readers(path, b"".join(PAIRS), tmp_path, "--compression", compression)


def test_the_second_reader_refuses_a_flipped_bit(tmp_path):
    path, store = tmp_path / "few.bam", tmp_path / "few.bams3"
    path.write_bytes(bam(PAIRS))
    assert run("convert", "--quiet", path, store).code == 0
    [chunk] = store.rglob("*.chunk")
    data = bytearray(chunk.read_bytes())
    data[-1] ^= 1
    chunk.write_bytes(data)
    with pytest.raises(ValueError, match="hash"):
        list(records(store))
