"""Kernels of panels against their slow twins, and records of BCF that lie."""

import contextlib
import random
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mutate import damage
from panel_twins import ENDS, alleles_of_values, row_of

from bams3.bam import inflate, read_batches
from bams3.kernels import BCF_RECORD, KernelError, PlaneRows, count_bits, scan_bcf

pytestmark = pytest.mark.native

SAMPLES = st.sampled_from([1, 2, 63, 64, 65, 130, 200])


def planes_of(rows, row):
    return np.stack(
        [plane[row] for plane in (rows.first, rows.second, rows.missing, rows.haploid, rows.phased)]
    )


@st.composite
def calls(draw):
    """(samples, ploidy, alleles of the site, alleles and phase of every sample)."""
    n, ploidy, n_alleles = draw(SAMPLES), draw(st.integers(1, 3)), draw(st.integers(1, 4))
    chance = random.Random(draw(st.integers(0, 2**32)))
    odd = draw(st.sampled_from([0, 0.02, 0.5]))
    people = []
    for _ in range(n):
        length = ploidy if chance.random() >= odd else chance.randint(0, ploidy)
        alleles = [-1 if chance.random() < odd else chance.randrange(n_alleles) for _ in range(length)]
        people.append((alleles, chance.random() < 0.8))
    return n, ploidy, n_alleles, people


@given(calls(), st.integers(1, 3))
def test_calls_become_bits(made, alt):
    n, ploidy, n_alleles, people = made
    array = np.full((n, ploidy + 1), -2, np.int16)
    for k, (alleles, is_phased) in enumerate(people):
        array[k, : len(alleles)] = alleles
        array[k, -1] = is_phased
    rows = PlaneRows(3, n)
    tally = rows.pack(1, array, n_alleles, alt)
    planes, counts = row_of(people, alt)
    assert list(tally) == counts
    if not tally.polyploid:
        assert (planes_of(rows, 1) == planes).all()
    assert not planes_of(rows, 0).any()
    assert not planes_of(rows, 2).any()


def values_of(people, ploidy, kind, n_alleles, chance):
    """The bytes of calls in BCF."""
    values = []
    for alleles, is_phased in people:
        row = [(a + 1) << 1 | is_phased for a in alleles] + [ENDS[kind] + 1] * (ploidy - len(alleles))
        values += [ENDS[kind] if value < 2 and chance.random() < 0.3 else value for value in row]
    return np.array(values, f"<i{1 << kind - 1}")


@given(
    st.lists(calls(), min_size=1, max_size=3),
    st.sampled_from([1, 2, 3]),
    st.integers(0, 2**32),
    st.booleans(),
)
def test_values_of_bcf_become_bits(several, kind, seed, some):
    chance = random.Random(seed)
    n = several[0][0]
    several = [made for made in several if made[0] == n]
    wanted = sorted(chance.sample(range(n), chance.randint(1, n))) if some else list(range(n))
    data, records, want = b"xyz", np.zeros(len(several), BCF_RECORD), []
    for record, (_, ploidy, n_alleles, people) in zip(records, several, strict=True):
        values = values_of(people, ploidy, kind, n_alleles, chance)
        record["gt_at"], record["gt_type"], record["gt_count"] = len(data), kind, ploidy
        record["n_alleles"] = n_alleles
        data += values.tobytes()
        found = [alleles_of_values(row, kind) for row in values.reshape(n, ploidy).tolist()]
        want.append(row_of([found[k] for k in wanted], 1))
    rows = PlaneRows(len(several) + 1, len(wanted))
    samples = np.array(wanted, np.uint32) if some else None
    view = np.frombuffer(data, np.uint8)
    tallies = rows.pack_bcf(1, view, n, records, np.ones(len(several), np.int32), samples)
    for v, (planes, counts) in enumerate(want):
        assert tallies[v].tolist() == counts
        if not counts[2]:
            assert (planes_of(rows, v + 1) == planes).all()


@pytest.mark.parametrize("values", [b"\x06\x02", b"\x02\x83", b"\x08\x80"])
def test_an_allele_that_the_site_does_not_have_is_refused(values):
    record = np.zeros(1, BCF_RECORD)
    record["gt_type"], record["gt_count"], record["n_alleles"] = 1, 2, 2
    with pytest.raises(KernelError):
        PlaneRows(1, 1).pack_bcf(0, np.frombuffer(values, np.uint8), 1, record, np.ones(1, np.int32), None)
    array = np.array([[2, 0, 1]], np.int16)
    with pytest.raises(KernelError):
        PlaneRows(1, 1).pack(0, array, 2, 1)


@pytest.mark.parametrize(
    ("row", "n_all", "fields", "samples"),
    [
        (1, 2, {}, None),  # no such row
        (0, 3, {}, None),  # samples of the planes are two
        (0, 2, {"gt_at": 1}, None),  # behind the last byte
        (0, 2, {"gt_count": 1 << 31}, None),
        (0, 2, {"gt_type": 5}, None),
        (0, 2, {}, [0, 2]),
    ],
)
def test_the_door_refuses_what_does_not_lie_in_the_bytes(row, n_all, fields, samples):
    record = np.zeros(1, BCF_RECORD)
    for name, value in ({"gt_type": 1, "gt_count": 2, "n_alleles": 2} | fields).items():
        record[name] = value
    data, alts = np.full(4, 2, np.uint8), np.ones(1, np.int32)
    chosen = None if samples is None else np.array(samples, np.uint32)
    with pytest.raises(KernelError):
        PlaneRows(1, 2).pack_bcf(row, data, n_all, record, alts, chosen)


@given(st.integers(0, 5), st.integers(1, 4), st.integers(0, 2**32))
def test_bits_are_counted(n, words, seed):
    plane = np.random.default_rng(seed).integers(0, 2**64, (n, words), np.uint64)
    assert count_bits(plane).tolist() == [sum(int(word).bit_count() for word in row) for row in plane]


# ---- records of BCF ----


def text(value, length=None):
    """A typed text, with a length that may lie."""
    n = len(value) if length is None else length
    head = bytes([n << 4 | 7]) if n < 15 else b"\xf7\x12" + struct.pack("<h", n)
    return head + value


def record(
    contig=0, pos=4, n_alleles=2, shared=None, n_format=1, n_samples=2, gt=b"\x11\x01\x21\x02\x04\x03\x05"
):
    """A record of two samples; GT has number 1."""
    shared = text(b"rs1") + text(b"A") + text(b"G") + b"\x00" if shared is None else shared
    fixed = struct.pack("<iiifHHI", contig, pos, 1, 0.0, 0, n_alleles, n_samples | n_format << 24)
    return struct.pack("<II", len(fixed) + len(shared), len(gt)) + fixed + shared + gt


def scanned(data, n_samples=2, most=10):
    return scan_bcf(np.frombuffer(data, np.uint8), n_samples, 1, 1, 2, most)


def test_records_are_located():
    long = record(
        shared=text(b"") + text(b"A" * 20) + text(b"<DEL>") + b"\x00", gt=b"\x11\x02\x12\x07\x00\x08\x00"
    )
    data = record() + long + record(gt=b"", n_format=0, n_samples=0)
    records, used = scanned(data)
    assert used == len(data)
    assert records["pos"].tolist() == [4, 4, 4]
    assert data[int(records["id_at"][0]) :][:3] == b"rs1"
    assert records["id_len"].tolist() == [3, 0, 0] or records["id_len"].tolist() == [3, 0, 3]
    assert records[["gt_type", "gt_count"]].tolist() == [(1, 2), (0, 0), (0, 0)]
    assert records[["ps_type", "ps_count"]].tolist() == [(0, 0), (2, 1), (0, 0)]
    assert data[int(records["ps_at"][1]) :][:4] == b"\x07\x00\x08\x00"
    assert scanned(data, most=2)[1] < len(data)


@pytest.mark.parametrize("end", range(len(record()) + 1))
def test_a_record_that_is_not_all_there_waits(end):
    records, used = scanned(record()[:end])
    assert (len(records), used) == ((1, len(record())) if end == len(record()) else (0, 0))


@pytest.mark.parametrize(
    "bad",
    [
        struct.pack("<II", 23, 0) + bytes(23),
        record(contig=1),
        record(contig=-1),
        record(pos=-2),
        record(n_alleles=0),
        record(n_alleles=4),
        record(n_samples=3),
        record(n_format=2),
        record(n_format=0),
        record(shared=text(b"rs1", 14)),
        record(shared=text(b"rs1", 30_000)),
        record(shared=b"\xf7\x13\xff\xff\xff\xff"),
        record(shared=b"\xf7\x21\x01\x01"),
        record(shared=b"\xf7"),
        record(shared=b"\x11\x01" + text(b"A") + text(b"G")),
        record(gt=b"\x21\x01\x01\x21\x02\x04\x03\x05"),
        record(gt=b"\x17\x01\x21\x02\x04\x03\x05"),
        record(gt=b"\x11\x01\x25\x02\x04\x03\x05"),
        record(gt=b"\x11\x01\x24\x02\x04\x03\x05"),
        record(gt=b"\x11\x01\x21\x02\x04\x03"),
        record(gt=b"\x11\x01\x21\x02\x04\x03\x05\x05"),
        record(gt=b"\x11\x01\xf1\x13\xff\xff\xff\x7f\x02\x04"),
        record(gt=b"\x11"),
        record(gt=b"\x11\x01"),
    ],
)
def test_a_record_that_lies_is_refused(bad):
    with pytest.raises(KernelError) as caught:
        scanned(record() + bad)
    assert caught.value.where == len(record())


@given(st.integers(0, 2**32))
def test_damaged_records_are_refused_or_read(seed):
    chance = random.Random(seed)
    data = damage(record() * 3, chance)
    try:
        records, used = scanned(data)
    except KernelError:
        return
    assert used <= len(data)
    rows = PlaneRows(len(records), 2)
    view = np.frombuffer(data, np.uint8)
    with contextlib.suppress(KernelError):
        rows.pack_bcf(0, view, 2, records, np.ones(len(records), np.int32), None)


def test_every_record_of_a_real_file_is_located(shared_data):
    path = shared_data / "geno/1kgp3_chr20_subset_20k.bcf"
    with path.open("rb") as file:
        data = inflate(next(read_batches(file))).data
    size = 9 + struct.unpack_from("<I", data, 5)[0]
    view = np.frombuffer(data, np.uint8)[size:].copy()
    records, used = scan_bcf(view, 2504, 100, 4, -1, 10_000)
    assert len(records) > 500
    assert view.size - used < 10_000
    assert (np.diff(records["pos"]) >= 0).all()
