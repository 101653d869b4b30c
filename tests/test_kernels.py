"""Kernels over records against their slow twins, and against bytes that lie."""

import struct

import bam_bytes
import numpy as np
import pytest
import twins
from bam_records import cigar_bytes, record, tag
from hypothesis import example, given
from hypothesis import strategies as st
from record_strategies import few, records

from bams3 import kernels
from bams3.columns import INT_COLUMNS, Columns, Strings
from bams3.kernels import KernelError

pytestmark = pytest.mark.native

SECTIONS, SPANS = np.array([0, 1, 1], np.int32), np.array([1000, 0, 0], np.int64)
ENDS_INSIDE, SHORT, NEGATIVE, OVERRUN, BAD_NAME, REFERENCE, MISMATCH, TOO_LONG = range(1, 9)
BAD_TAG, UNSORTED, TOO_MANY, BAD_COLUMN, RECORD_TOO_LONG, BAD_CODE = range(9, 15)


def u8(data):
    return np.frombuffer(bytearray(data), np.uint8)


def code_of(work, *arguments):
    """Status of a kernel that must refuse."""
    with pytest.raises(KernelError) as caught:
        work(*arguments)
    return caught.value.code


def outcome(work, *arguments):
    """What a kernel gives, or the status with which it refuses."""
    try:
        return work(*arguments)
    except KernelError as err:
        return err.code


def same(a, b):
    """Whether two results are equal, arrays, columns and all."""
    if isinstance(a, Columns):
        names = [*INT_COLUMNS, "cigar", "name", "bases", "quals", "layouts", "n", "decoded_bytes", "tags"]
        return all(same(getattr(a, name), getattr(b, name)) for name in names)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, tuple | list):
        return isinstance(b, tuple | list) and len(a) == len(b) and all(map(same, a, b))
    if hasattr(a, "__slots__"):
        return all(same(getattr(a, name), getattr(b, name)) for name in a.__slots__)
    return getattr(a, "dtype", int) == getattr(b, "dtype", int) and np.array_equal(a, b)


def without_bins(data):
    """Records without the bins that positions below -1 would have."""
    return [one[:14] + one[16:] for one in bam_bytes.records(bytes(data))]


def in_order(several):
    def place(data):
        contig, pos = struct.unpack_from("<ii", data, 4)
        return (contig if contig >= 0 else 9, pos)

    return sorted(several, key=place)


def groups_of(k, data, max_records=3, max_bytes=400):
    """Every (span, records, end, why) of a scan."""
    scanner, at, out = k.Scanner(SECTIONS, SPANS, max_records, max_bytes), 0, []
    while True:
        at, stop = scanner.scan(data, at)
        out.append((scanner.span if scanner.records else (), scanner.records, at, stop))
        if stop == k.Scanner.NEED_MORE:
            return out
        scanner.begin_group()


def columns_of(*several):
    data = b"".join(several)
    return kernels.split(data, len(several))


LONG_CIGAR = tag("CG", "BI", struct.unpack("<70000I", cigar_bytes("1M1I" * 35_000)))
AROUND = tag("NM", "C", 3), tag("ZZ", "Z", b"x")
A_LONG_ONE = record(cigar="70000S35000N", seq=[1] * 70_000, tags=[AROUND[0], LONG_CIGAR, AROUND[1]])


@pytest.mark.parametrize("k", [twins, kernels], ids=["twin", "native"])
class TestBoth:
    """What the kernels and their twins must do alike."""

    # -- split and join --

    @few
    @given(several=st.lists(records(), min_size=1, max_size=6))
    def test_joined_records_are_those_that_were_split(self, k, several):
        data = b"".join(several)
        assert bytes(k.join(k.split(data, len(several)))) == data

    @few
    @given(several=st.lists(records(), min_size=1, max_size=5), data=st.data())
    def test_join_gives_the_records_that_are_kept(self, k, several, data):
        keep = data.draw(st.lists(st.integers(0, 1), min_size=len(several), max_size=len(several)))
        wanted = b"".join(one for one, kept in zip(several, keep, strict=True) if kept)
        assert bytes(k.join(k.split(b"".join(several), len(several)), np.array(keep, np.uint8))) == wanted

    def test_a_long_cigar_leaves_its_tag_and_comes_back(self, k):
        c = k.split(A_LONG_ONE + record(), 2)
        assert c.cigar.lengths.tolist() == [280_000, 4]
        assert c.tags.keys() == {"NM:C", "ZZ:Z"}
        assert c.ref_len.tolist() == [35_000, 4]
        assert bytes(k.join(c)) == A_LONG_ONE + record()

    @pytest.mark.parametrize(
        "odd",
        [
            record(cigar="4S6N", tags=[tag("CG", "BI", [4 << 4, 1 << 4 | 2])]),
            record(cigar="4S5N", tags=[tag("CG", "Bi", [4 << 4, 5 << 4 | 3])]),
            record(cigar="4S0N", tags=[tag("CG", "BI", [4 << 4 | 1, 0])], contig=-1, flag=4),
            record(cigar="4S9N", tags=[tag("CG", "Z", b"x"), tag("CG", "BI", [9 << 4])], flag=4),
            record(cigar="4S", tags=[tag("CG", "BI", [4 << 4])]),
        ],
        ids=["another length", "signed", "unplaced", "another CG first", "no N"],
    )
    def test_a_cigar_tag_that_could_not_be_made_again_stays_a_tag(self, k, odd):
        c = k.split(odd, 1)
        assert any(name.startswith("CG:B") for name in c.tags)
        assert bytes(k.join(c)) == odd

    def test_the_same_tag_twice_and_with_two_types_survives(self, k):
        odd = record(tags=[tag("XX", "C", 1), tag("XX", "i", -1), tag("XX", "C", 2), tag("XX", "Z", b"")])
        c = k.split(odd + record() + odd, 3)
        assert c.layout.tolist() == [0, 1, 0]
        assert bytes(c.tags["XX:C"]) == bytes([1, 2, 1, 2])
        assert bytes(k.join(c)) == odd + record() + odd

    def test_a_name_without_its_end_gets_one(self, k):
        c = k.split(record(b"read", nul=b""), 1)
        assert c.decoded_bytes == len(record(b"read"))
        assert bytes(k.join(c)) == record(b"read")
        longest = record(b"x" * 254)
        assert bytes(k.join(k.split(longest, 1))) == longest

    def test_the_bin_is_computed(self, k):
        assert bytes(k.join(k.split(record(bin=7), 1))) == record()

    @pytest.mark.parametrize(
        ("bad", "code"),
        [
            (record()[:-1], ENDS_INSIDE),
            (record()[:3], ENDS_INSIDE),
            (record(block_size=31), SHORT),
            (record(block_size=2**31), NEGATIVE),
            (record(seq_len=2**31), NEGATIVE),
            (record(seq_len=2**31 - 1), OVERRUN),
            (record(seq_len=5), OVERRUN),
            (record(n_cigar=65_535), OVERRUN),
            (record(name_bytes=255), OVERRUN),
            (record(b"", nul=b"", name_bytes=0), BAD_NAME),
            (record(b"x" * 255, nul=b""), BAD_NAME),
            (record(cigar="3M"), MISMATCH),
            (record(cigar="4M1I"), MISMATCH),
            (record(cigar="4S2N", tags=[tag("CG", "BI", [5 << 4, 2])]), MISMATCH),
            (record(cigar="4M" + "268435455N" * 9), TOO_LONG),
            (record(tags=[b"NMC"]), BAD_TAG),
            (record(tags=[b"N"]), BAD_TAG),
            (record(tags=[b"NMi\0\0\0"]), BAD_TAG),
            (record(tags=[b"NM?\0\0\0\0"]), BAD_TAG),
            (record(tags=[b"RGZabc"]), BAD_TAG),
            (record(tags=[b"MLBC\xff\xff\xff\xff\1\2"]), BAD_TAG),
            (record(tags=[b"MLBA\1\0\0\0x"]), BAD_TAG),
            (record(tags=[b"MLBd\xff\xff\xff\x1f" + bytes(9)]), BAD_TAG),
            (record(tags=[b"MLB"]), BAD_TAG),
        ],
    )
    def test_a_record_that_lies_is_refused_by_name(self, k, bad, code):
        assert code_of(k.split, record() + bad, 2) == code

    def test_more_bytes_than_records_are_refused(self, k):
        assert code_of(k.split, record() + record(), 1) == BAD_COLUMN
        assert code_of(k.split, record(), 2) == ENDS_INSIDE
        assert code_of(k.split, b"", 1) == ENDS_INSIDE

    def test_an_unmapped_read_may_disagree_with_its_cigar(self, k):
        for fine in (record(cigar="9M", flag=4), record(cigar="9M", seq=""), record(cigar="*")):
            assert bytes(k.join(k.split(fine, 1))) == fine

    @pytest.mark.parametrize(
        "name", [*INT_COLUMNS, "cigar", "name", "bases", "quals", "NM:C", "RG:Z", "ML:BS"]
    )
    @pytest.mark.parametrize("how", ["shorter", "longer"])
    def test_a_column_of_another_length_is_refused(self, k, name, how):
        optional = [tag("NM", "C", 1), tag("RG", "Z", b"ab"), tag("ML", "BS", [1, 2])]
        c = columns_of(record(tags=optional), record(tags=optional))
        values = c.tags.get(name, getattr(c, name, None))
        data = values.data if isinstance(values, Strings) else values
        other = data[:-1] if how == "shorter" else np.append(data, data[:4])
        changed = Strings(values.lengths, other) if isinstance(values, Strings) else other
        if name in c.tags:
            c.tags[name] = changed
        else:
            setattr(c, name, changed)
        if name in c.tags and how == "longer":
            return  # what no record uses does no harm
        assert code_of(k.join, c) == BAD_COLUMN

    @pytest.mark.parametrize("name", ["cigar", "name", "RG:Z", "ML:BS"])
    def test_lengths_that_do_not_fit_their_column_are_refused(self, k, name):
        for index, new in ((0, 4_294_967_292), (1, 1), (1, 0), (1, 65_536 * 4)):
            c = columns_of(*[record(tags=[tag("RG", "Z", b"abc"), tag("ML", "BS", [1, 2])])] * 2)
            values = c.tags.get(name, getattr(c, name, None))
            values.lengths[index] = new
            assert isinstance(outcome(k.join, c), int) or name in c.tags

    def test_a_cigar_with_a_part_of_an_operation_is_refused(self, k):
        c = columns_of(record(cigar="3M1S"))
        c.cigar.lengths[0] = 9
        assert code_of(k.join, c) == BAD_COLUMN

    @pytest.mark.parametrize("keys", "XXZ XXB XXBA XXBZ XX XXZ* XXc* XXBC,XX?".split())
    def test_a_layout_of_unknown_types_is_refused(self, k, keys):
        c = columns_of(record(tags=[tag("XX", "C", 1)]))
        raw = [int.from_bytes(key.encode().ljust(4, b"\0"), "little") for key in keys.split(",")]
        c.layouts = type(c.layouts)(np.array(raw, np.uint32), np.array([0, len(raw)], np.uint32))
        assert code_of(k.join, c) in (BAD_CODE, BAD_COLUMN)

    @pytest.mark.parametrize("start", [[1, 0], [0, 2], [0, 4_294_967_295], [4_294_967_295, 1]])
    def test_a_layout_out_of_range_is_refused(self, k, start):
        c = columns_of(record(tags=[tag("XX", "C", 1)]))
        c.layouts = type(c.layouts)(c.layouts.keys, np.array(start, np.uint32))
        if k is kernels:
            assert code_of(k.join, c) == BAD_CODE

    def test_a_record_that_names_no_layout_is_refused(self, k):
        c = columns_of(record(tags=[tag("XX", "C", 1)]), record())
        c.layout[1] = 2
        assert code_of(k.join, c) == BAD_CODE

    # -- scan --

    @few
    @given(several=st.lists(records(), max_size=8))
    def test_a_scan_cuts_at_spans_and_where_a_group_is_full(self, k, several):
        data = u8(b"".join(in_order(several)))
        ends = groups_of(k, data)
        assert same(ends, groups_of(twins, data))
        assert sum(n for _, n, _, _ in ends) == len(several)
        assert ends[-1][2] == data.size

    def test_a_scan_goes_on_when_more_bytes_come(self, k):
        data = record(pos=5) + record(pos=6)
        scanner = k.Scanner(SECTIONS, SPANS, 10, 1000)
        at = 0
        for end in range(len(data)):
            at, stop = scanner.scan(u8(data[:end]), at)
            assert (at, stop) == (end // len(record()) * len(record()), k.Scanner.NEED_MORE)
        assert scanner.scan(u8(data), at) == (len(data), k.Scanner.NEED_MORE)
        assert scanner.records == 2

    @pytest.mark.parametrize(
        ("first", "second"),
        [
            (record(pos=9), record(pos=8)),
            (record(contig=1, pos=0), record(contig=0, pos=9)),
            (record(contig=-1, pos=-1), record(contig=0, pos=9)),
            (record(pos=0), record(pos=-1)),
        ],
    )
    def test_a_record_before_its_predecessor_is_unsorted(self, k, first, second):
        scanner = k.Scanner(SECTIONS, SPANS, 10, 1000)
        assert code_of(scanner.scan, u8(first + second), 0) == UNSORTED
        assert k.Scanner(SECTIONS, SPANS, 10, 1000).scan(u8(second + first), 0)[1] in (0, 1)

    @pytest.mark.parametrize("bad", [{"contig": 3}, {"contig": -2}, {"mate_contig": 3}, {"mate_contig": -2}])
    def test_a_reference_out_of_range_is_refused(self, k, bad):
        assert code_of(groups_of, k, u8(record() + record(**bad))) == REFERENCE

    # -- what the index says --

    @few
    @given(several=st.lists(records(), min_size=1, max_size=6))
    def test_totals_and_extents_are_those_of_the_twin(self, k, several):
        c = columns_of(*in_order(several))
        assert same(k.summarise(c, len(several)), twins.summarise(c, len(several)))

    def test_flags_count_as_samtools_flagstat_counts_them(self, k):
        flags = [0, 4, 0x400, 0x100, 0x900, 0x800, 0x63, 0x93, 0x49, 0x200 | 0x63, 0x200 | 0x400]
        c = columns_of(*(record(flag=flag, contig=0, mate_contig=i % 2) for i, flag in enumerate(flags)))
        _, counted, _, _, totals = k.summarise(c, 1)
        assert counted.tolist() == [11]
        passed, failed = totals[0][:16].tolist(), totals[0][16:32].tolist()
        assert passed == [9, 6, 2, 1, 1, 1, 8, 5, 3, 2, 1, 2, 2, 1, 1, 1]
        assert failed == [2, 2, 0, 0, 1, 1, 2, 2, 1, 1, 0, 1, 1, 0, 1, 1]
        assert totals[0][32] == 4 * len(flags)

    def test_more_runs_than_there_is_room_for_are_refused(self, k):
        c = columns_of(record(), record(contig=1), record(contig=-1))
        assert code_of(k.summarise, c, 2) == TOO_MANY
        assert k.summarise(c, 3)[0].tolist() == [0, 1, -1]

    @few
    @given(several=st.lists(records(contigs=2), min_size=1, max_size=4), first_window=st.integers(0, 40))
    @example(several=[record(pos=95, cigar="4M300N4=", seq="A" * 8)], first_window=0)
    def test_depth_is_that_of_the_twin(self, k, several, first_window):
        near = [one for one in several if struct.unpack_from("<i", one, 8)[0] < 9000] or [record(contig=-1)]
        c, base, length = columns_of(*near), np.array([0, 20], np.uint64), np.array([1970, 3100], np.uint64)
        sums, wanted = np.zeros(30, np.uint64), np.zeros(30, np.uint64)
        k.add_depth(c, 0, base, length, first_window, sums)
        twins.add_depth(c, 0, base, length, first_window, wanted)
        assert sums.tolist() == wanted.tolist()

    def test_depth_counts_aligned_bases_and_no_deletions(self, k):
        c = columns_of(
            record(pos=98, cigar="1S2M2D3=1I2X", seq="A" * 9),
            record(pos=0, flag=0x400),
            record(pos=0, flag=0x100),
            record(pos=0, flag=0x200),
            record(contig=1, pos=0),
        )
        sums = np.zeros(3, np.uint64)
        k.add_depth(c, 0, np.array([0, 2], np.uint64), np.array([200, 100], np.uint64), 0, sums)
        assert sums.tolist() == [2, 5, 4]

    @given(
        starts=st.lists(st.integers(0, 2500), min_size=1, max_size=5),
        length=st.integers(1, 2500),
        first_window=st.integers(0, 30),
    )
    def test_depth_of_long_operations_is_that_of_the_twin(self, k, starts, length, first_window):
        cigar = f"{length}M{length % 7}D{length}="
        c = columns_of(*(record(contig=pos % 2, pos=pos, cigar=cigar, seq="") for pos in starts))
        base, length_bp = np.array([0, 20], np.uint64), np.array([1970, 3100], np.uint64)
        sums, wanted = np.ones(12, np.uint64), np.ones(12, np.uint64)
        k.add_depth(c, 0, base, length_bp, first_window, sums)
        twins.add_depth(c, 0, base, length_bp, first_window, wanted)
        assert sums.tolist() == wanted.tolist()

    def test_bases_beyond_the_end_of_a_contig_have_no_depth(self, k):
        c, sums = columns_of(record(pos=198, cigar="4M"), record(contig=2, pos=0)), np.zeros(9, np.uint64)
        k.add_depth(c, 0, np.array([0, 2], np.uint64), np.array([199, 700], np.uint64), 0, sums)
        assert sums.tolist() == [0, 1, 0, 0, 0, 0, 0, 0, 0]

    # -- names --

    @given(
        names=st.lists(st.binary(max_size=20), max_size=9),
        seed=st.integers(0, 2**32 - 1),
        fraction=st.floats(0, 1),
    )
    def test_the_same_reads_are_kept_as_by_the_twin(self, k, names, seed, fraction):
        several = twins.strings(names)
        assert same(k.subsample(several, seed, fraction), twins.subsample(several, seed, fraction))

    def test_names_shorter_than_their_lengths_are_refused(self, k):
        assert code_of(k.subsample, Strings(np.array([3, 9], np.uint32), u8(b"abcde")), 0, 0.5) == BAD_COLUMN


class TestNative:
    """What only the compiled side can get wrong."""

    @few
    @given(several=st.lists(records(), min_size=1, max_size=6))
    def test_columns_are_those_of_the_twin(self, several):
        data = b"".join(several)
        assert same(kernels.split(data, len(several)), twins.split(data, len(several)))

    @few
    @given(several=st.lists(records(), min_size=1, max_size=4), data=st.data())
    def test_mutated_records_fare_as_in_the_twin(self, several, data):
        raw = bytearray(b"".join(several))
        for _ in range(data.draw(st.integers(1, 3))):
            raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
        n = len(several)
        assert same(outcome(groups_of, kernels, u8(raw)), outcome(groups_of, twins, u8(raw)))
        native, plain = outcome(kernels.split, bytes(raw), n), outcome(twins.split, bytes(raw), n)
        both_refuse = isinstance(native, int) and isinstance(plain, int)  # of two faults either may be named
        assert both_refuse or same(native, plain)

    @few
    @given(several=st.lists(records(), min_size=1, max_size=4), data=st.data())
    def test_mutated_columns_fare_as_in_the_twin(self, several, data):
        c = columns_of(*several)
        arrays = [getattr(c, name) for name in INT_COLUMNS] + [c.layouts.keys]
        for strings in (c.cigar, c.name, *c.tags.values()):
            arrays += [strings.lengths, strings.data] if isinstance(strings, Strings) else [strings]
        for _ in range(data.draw(st.integers(1, 3))):
            raw = data.draw(st.sampled_from([a for a in arrays if a.size])).view(np.uint8)
            raw[data.draw(st.integers(0, raw.size - 1))] = data.draw(st.integers(0, 255))
        native, plain = outcome(kernels.join, c), outcome(twins.join, c)
        assert isinstance(native, int) == isinstance(plain, int)
        assert isinstance(native, int) or without_bins(native) == without_bins(plain)

    def test_a_column_that_is_missing_is_refused(self):
        for name in (*INT_COLUMNS, "cigar", "name", "bases", "quals", "layouts"):
            c = columns_of(record(), record())
            setattr(c, name, None)
            assert code_of(kernels.join, c) == BAD_COLUMN
            for work in (kernels.summarise, kernels.add_depth):
                assert_refused_or_not_needed(work, c)

    def test_an_array_of_another_type_is_a_bug_and_says_so(self):
        c = columns_of(record())
        c.pos = c.pos.astype(np.int64)
        with pytest.raises(TypeError, match="contiguous array of"):
            kernels.join(c)

    def test_depth_of_reads_over_a_billion_bases_takes_no_time(self):
        reads = [record(pos=0, cigar="268435455M" * 7, seq="")] * 1000
        base, length, sums = (
            np.zeros(1, np.uint64),
            np.full(1, 100 << 25, np.uint64),
            np.zeros(65_536, np.uint64),
        )
        for frame in range(16):  # a loop over their windows would take hours
            kernels.add_depth(columns_of(*reads), 0, base, length, frame * sums.size, sums)
        assert (sums == 16 * 1000 * 100).all()

    def test_more_tag_columns_than_there_is_room_for_are_refused(self):
        names = [
            f"{a}{b}" for a in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdef" for b in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefg"
        ]
        many = record(tags=[tag(name, "C", 1) for name in names])
        assert code_of(kernels.split, many, 1) == TOO_MANY

    def test_joining_never_makes_more_than_was_there(self):
        c = columns_of(record(cigar="4S4N", tags=[tag("CG", "BI", [4 << 4, 0])]))
        key = c.layouts.keys[:1]
        c.layouts = type(c.layouts)(np.repeat(key, 1 << 20), np.array([0, 1 << 20], np.uint32))
        assert code_of(kernels.join, c) in (BAD_COLUMN, RECORD_TOO_LONG)


def assert_refused_or_not_needed(work, c):
    arguments = {
        "summarise": (c, 2),
        "add_depth": (c, 0, np.zeros(1, np.uint64), np.ones(1, np.uint64), 0, np.zeros(1, np.uint64)),
    }
    got = outcome(work, *arguments[work.__name__])
    assert not isinstance(got, int) or got == BAD_COLUMN
