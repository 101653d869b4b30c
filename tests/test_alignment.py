"""Kernels of aligned records against their slow twins, samtools calmd, and streams that lie."""

import re
from dataclasses import replace

import alignment_twins as twins
import numpy as np
import pytest
from alignment_twins import columns_of, groups, i32, u32
from bam_records import CODES, cigar_bytes
from hypothesis import given
from hypothesis import strategies as st
from test_entropy import fare_alike, lie
from test_kernels import BAD_CODE, BAD_COLUMN, code_of, same, u8
from transform_twins import cut, strings

from bams3 import kernels
from bams3.columns import Strings
from bams3.kernels import Mismatches

pytestmark = pytest.mark.native

BOTH = pytest.mark.parametrize("k", [twins, kernels], ids=["twin", "native"])


def all_of(k, columns, md_of, mds):
    """Placement, reference, and what differs from it."""
    p = k.place(columns)
    reference = k.infer_reference(p, columns.bases, md_of, mds)
    return p, reference, k.differ(p, columns.bases, reference)


def all_mds(k, p, m, reference):
    """MD of every record."""
    wanted = np.ones(p.aligned.size, np.uint8)
    return k.md_texts(p, m, reference, wanted, k.md_lengths(p, m, reference, wanted))


NO_MDS = strings([])


def without_mds(columns):
    return np.full(columns.n, -1, np.int32), NO_MDS


# ---- both ----


@BOTH
class TestBoth:
    """What the kernels and their twins must do alike."""

    @given(group=groups())
    def test_places_reference_and_differences_are_those_of_the_twin(self, k, group):
        columns, md_of, mds = group
        for several in (md_of, mds), without_mds(columns):
            p, reference, found = all_of(k, columns, *several)
            assert same((p, reference, found), all_of(twins, columns, *several))

    @given(group=groups(), data=st.data())
    def test_bases_come_back_from_any_reference(self, k, group, data):
        columns = group[0]
        p = k.place(columns)
        few = data.draw(st.lists(st.sampled_from([1, 2, 4, 8]), min_size=1, max_size=9))
        reference = u8((few * p.covered)[: p.covered])
        found = k.differ(p, columns.bases, reference)
        assert same(found, twins.differ(p, columns.bases, reference))
        if found is None:
            return
        _, m, loose = found
        blank = replace(m, ref=np.zeros_like(m.ref))
        assert bytes(k.restore(p, blank, reference, loose)) == bytes(columns.bases)
        assert same(blank, m)
        wanted = u8(data.draw(st.lists(st.integers(0, 1), min_size=columns.n, max_size=columns.n)))
        lengths = k.md_lengths(p, m, reference, wanted)
        assert same(lengths, twins.md_lengths(p, m, reference, wanted))
        texts = k.md_texts(p, m, reference, wanted, lengths)
        assert same(texts, twins.md_texts(p, m, reference, wanted, lengths))
        assert same(k.alignment_counts(p, m), twins.alignment_counts(p, m))
        if texts.data.size:
            fewer = lengths.copy()
            fewer[lengths.argmax()] -= 1
            assert code_of(k.md_texts, p, m, reference, wanted, fewer) == BAD_COLUMN

    @given(group=groups(honest=True))
    def test_md_tags_of_honest_reads_follow_from_their_bases(self, k, group):
        columns, md_of, mds = group
        p, reference, found = all_of(k, columns, md_of, mds)
        if found is not None:
            texts = cut(all_mds(k, p, found[1], reference))
            told = [re.sub(rb"\^[ACGT]{1001,}", b"^", md) for md in cut(mds)]  # longer than blocks hold
            assert texts == [md if aligned else b"" for md, aligned in zip(told, p.aligned, strict=True)]

    @given(codes=st.lists(st.sampled_from([1, 2, 4, 8, 8, 15, 0, 5]), max_size=40))
    def test_codes_in_two_bits_come_back(self, k, codes):
        packed, gap, other = k.pack_codes(u8(codes))
        assert same((packed, gap, other), twins.pack_codes(u8(codes)))
        assert k.unpack_codes(packed, len(codes), gap, other).tolist() == codes

    def test_what_the_format_shows_is_what_is_made(self, k):
        columns = columns_of((0, 10, "4M1S", "ACTTN"), (0, 12, "2M1I2M", "GTANC"), (-1, -1, "", "GG"))
        p = k.place(columns)
        counts, m, loose = k.differ(p, columns.bases, u8([1, 2, 4, 8, 2, 2]))
        assert (counts.tolist(), m.gap.tolist(), m.symbol.tolist()) == ([1, 1, 0], [2, 2], [1, 4])
        assert same(k.pack_codes(loose), (u8([0xA0]), u32([0]), u8([15])))

    # -- places --

    @pytest.mark.parametrize(
        ("cigar", "covered", "blocks"),
        [
            ("2M1000D2M", 1004, [0]),
            ("2M1001D2M", 4, [0, 2]),
            ("2M1N2M", 4, [0, 2]),
            ("2M0N2M", 4, [0, 2]),
            ("2M1000N2M", 4, [0, 2]),
            ("2M5I2M4P1=1X3H2S", 6, [0]),
            ("5N5D1N4D1I", 9, [0, 5]),
            ("0M0D", 0, []),
            ("4S", 0, []),
            ("1001D3N1S", 0, []),
            ("2M600D600D1M", 1203, [0]),
        ],
    )
    def test_n_and_long_deletions_cut_what_a_record_covers(self, k, cigar, covered, blocks):
        length = sum(
            n for letter, n in twins.operations(np.frombuffer(cigar_bytes(cigar), "<u4")) if letter in "MIS=X"
        )
        p = k.place(columns_of((0, 7, cigar, "A" * length)))
        assert (p.aligned.tolist(), p.covered, p.block_at.tolist()) == ([int(length > 0)], covered, blocks)

    def test_blocks_that_overlap_or_touch_share_positions(self, k):
        overlapping = (
            (1, 5, "3M", "AAA"),
            (0, 10, "4M2N2M", "AAAAAA"),
            (0, 12, "3M", "AAA"),
            (0, 9, "1M", "A"),
        )
        p = k.place(columns_of(*overlapping, (1, 7, "2M", "AA"), (0, 20, "1M", "A")))
        assert (p.covered, p.block_at.tolist()) == (9 + 4, [9, 1, 6, 3, 0, 11, 8])

    @pytest.mark.parametrize(
        ("record", "aligned"),
        [
            ((0, 0, "2M", "AC"), 1),
            ((-1, 0, "2M", "AC"), 0),
            ((0, -1, "2M", "AC"), 0),
            ((0, 0, "2M", ""), 0),
            ((0, 0, "", ""), 0),
            ((0, 0, "", "AC"), 0),
            ((0, 0, "3M", "AC"), 0),
            ((0, 0, "1M", "AC"), 0),
            ((0, 0, "5D", ""), 0),
            ((0, 2**31 - 1, "2M" + "268435455N" * 8 + "5N", "AC"), 1),
            ((0, 0, "2M" + "268435455N" * 8 + "5D", "AC"), 1),
            ((0, 0, "2M" + "268435455N" * 8 + "6D", "AC"), 0),
            ((0, 0, b"\x29\0\0\0\x20\0\0\0", "AC"), 1),
        ],
    )
    def test_a_record_is_aligned_where_place_cigar_and_sequence_agree(self, k, record, aligned):
        p = k.place(columns_of(record))
        assert (p.aligned.tolist(), p.n_loose) == ([aligned], 0 if aligned else len(record[3]))

    @pytest.mark.parametrize(
        "change",
        [
            {"contig": i32([0])},
            {"pos": i32([])},
            {"seq_len": u32([2, 2, 2])},
            {"contig": None},
            {"pos": None},
            {"seq_len": None},
            {"cigar": None},
            {"cigar": Strings(u32([4, 8]), u8(cigar_bytes("2M2M")))},
            {"cigar": Strings(u32([4, 0]), u8(cigar_bytes("2M2M")))},
            {"cigar": strings([cigar_bytes("2M")])},
        ],
        ids=str,
    )
    def test_columns_that_contradict_each_other_are_refused(self, k, change):
        columns = replace(columns_of((0, 0, "2M", "AC"), (0, 0, "2M", "AC")), **change)
        assert code_of(k.place, columns) == BAD_COLUMN

    # -- the reference --

    @pytest.mark.parametrize(
        ("seqs", "consensus"),
        [
            (["A"] * 70 + ["C"] * 63, "A"),
            (["A"] * 70 + ["C"] * 64, "C"),
            (["A", "C", "C"], "C"),
            (["A", "C"], "A"),
            (["A", "C", "G"], "G"),
            (["A", "C", "G", "N", "T", "T"], "T"),
            (["N", "=", "R"], "A"),
        ],
    )
    def test_where_no_md_says_anything_reads_vote(self, k, seqs, consensus):
        columns = columns_of(*[(0, 3, "1M", seq) for seq in seqs])
        reference = k.infer_reference(k.place(columns), columns.bases, *without_mds(columns))
        assert [CODES[code] for code in reference] == [consensus]

    @pytest.mark.parametrize(
        ("cigar", "seq", "md", "reference"),
        [
            ("4M", "CCCC", "4", "CCCC"),
            ("4M", "CCCC", "1G2", "CGCC"),
            ("4M", "CNRC", "4", "CAAC"),
            ("4M", "NNNN", "1g1T0", "AAAT"),
            ("4M", "NNNN", "G0T", "GTAA"),
            ("4M", "NNNN", "0G00T0^C", "GTAA"),
            ("4M", "NNNN", "TTTTG", "TTTT"),
            ("4M", "NNNN", "T^GGG", "TAAA"),
            ("4M", "NNNN", "GnT*T", "GATA"),
            ("2M2D1M", "NNN", "0G0T0^CG0T", "GTCGT"),
            ("2M2D1M", "NNN", "0G0T^CG0T", "GTCGT"),
            ("2M2D1M", "NNN", "GT^C", "GTCAA"),
            ("2M2D1M", "NNN", "GT1^CGT", "GTAAA"),
            ("2M2D1M", "NNN", "GTCGT", "GTAAA"),
            ("2M2D1M", "NNN", "GT^nGT", "GTAGT"),
            ("2M2D1M", "NNN", "GT^C0GT", "GTCAA"),
            ("2M2D1M", "NNN", "GT^C^GT", "GTCAA"),
            ("1M1I1S5N1H1M", "NNNN", "GT", "GT"),
            ("1M1001D1M", "NN", "G^" + "A" * 1001 + "T", "GT"),
            ("1M1001D1M", "NN", "G^" + "A" * 1000 + "0T", "GA"),
            ("1M1001D1M", "NN", "GT", "GA"),
        ],
    )
    def test_an_md_is_followed_as_long_as_it_agrees_with_the_cigar(self, k, cigar, seq, md, reference):
        columns = columns_of((0, 3, cigar, seq))
        said = k.infer_reference(k.place(columns), columns.bases, i32([0]), strings([md.encode()]))
        assert "".join(CODES[code] for code in said) == reference

    def test_the_first_md_that_says_something_counts(self, k):
        columns = columns_of(*[(0, 3, cigar, "NN") for cigar in ("1M", "2M", "2M", "2M", "2M")])
        mds = strings([b"GG", b"nT", b"C", b"GA"])
        said = k.infer_reference(k.place(columns), columns.bases, i32([0, -1, 1, 2, 3]), mds)
        assert [CODES[code] for code in said] == ["C", "T"]

    # -- differences --

    @pytest.mark.parametrize(("n", "wrong"), [(4, 65), (400, 164), (403, 164), (1, 1)])
    def test_at_most_a_quarter_of_the_bases_and_64_may_differ(self, k, n, wrong):
        n = max(n, wrong + 1)
        most = n // 4 + 64
        for count in {min(most, n), min(most + 1, n)}:
            columns = columns_of((0, 0, f"{n}M", "C" * count + "A" * (n - count)))
            found = k.differ(k.place(columns), columns.bases, np.ones(n, np.uint8))
            assert (found is None) == (count > most)

    @pytest.mark.parametrize("contig", [0, -1])
    def test_what_stands_behind_an_odd_sequence_is_not_lost(self, k, contig):
        columns = columns_of((contig, 0, "3M", "ACG"), (contig, 0, "2M", "AC"))
        p, reference = k.place(columns), u8([1, 2, 4] if contig == 0 else [])
        assert k.differ(p, columns.bases, reference) is not None
        columns.bases = twins.packed_bases(["ACG", "AC"], padding=3)
        assert k.differ(p, columns.bases, reference) is None

    @pytest.mark.parametrize(
        ("counts", "gap", "symbol", "loose", "code"),
        [
            ([1, 1], [3, 0], [1, 1], 4, BAD_COLUMN),
            ([1, 1], [2**32 - 1, 0], [1, 1], 4, BAD_COLUMN),
            ([2, 0], [0, 2], [1, 1], 4, BAD_COLUMN),
            ([4, 0], [0, 0, 0, 0], [1, 1, 1, 1], 4, BAD_COLUMN),
            ([1, 0], [0, 0], [1, 1], 4, BAD_COLUMN),
            ([2, 1], [0, 0], [1, 1], 4, BAD_COLUMN),
            ([2**32 - 1, 1], [0, 0], [1, 1], 4, BAD_COLUMN),
            ([1, 1], [0, 0], [1], 4, BAD_COLUMN),
            ([1, 1], [0], [1, 1], 4, BAD_COLUMN),
            ([1, 1], [0, 0], [1, 1], 3, BAD_COLUMN),
            ([1, 1], [0, 0], [1, 1], 0, BAD_COLUMN),
            ([1, 1], [0, 0], [1, 1], 5, BAD_COLUMN),
            *(([1, 1], [2, 0], [4, symbol], 4, BAD_CODE) for symbol in (0, 5, 15, 32, 255)),
        ],
    )
    def test_mismatches_and_loose_bases_that_lie_are_refused_by_name(
        self, k, counts, gap, symbol, loose, code
    ):
        columns = columns_of((0, 4, "2M1I1=", "ACGT"), (0, 4, "1M1S", "AC"), (-1, 0, "", "GT"))
        first = np.cumsum([0, *counts, 0], dtype=np.uint64)
        m = Mismatches(first, u32(gap), u8(symbol), np.zeros(len(symbol), np.uint8))
        arguments = k.place(columns), m, u8([1, 2, 8]), u8([4] * loose)
        assert code_of(k.restore, *arguments) == code

    @pytest.mark.parametrize(
        ("packed", "n", "gap", "other", "code"),
        [
            ([0], 4, [4], [15], BAD_COLUMN),
            ([0], 4, [1, 2], [15, 15], BAD_COLUMN),
            ([0], 4, [0, 2**32 - 1], [15, 15], BAD_COLUMN),
            ([0], 4, [0], [15, 15], BAD_COLUMN),
            ([0], 4, [0], [16], BAD_CODE),
            ([0], 5, [], [], BAD_COLUMN),
            ([0], 0, [], [], BAD_COLUMN),
            ([0, 0], 4, [], [], BAD_COLUMN),
            ([], 0, [0], [15], BAD_COLUMN),
        ],
    )
    def test_codes_in_two_bits_that_lie_are_refused_by_name(self, k, packed, n, gap, other, code):
        assert code_of(k.unpack_codes, u8(packed), n, u32(gap), u8(other)) == code


class TestNative:
    """What only the compiled side can get wrong."""

    def test_more_positions_than_32_bits_count_are_refused(self):
        huge, longest = cigar_bytes("268435455M"), 2**28 - 1
        columns = columns_of(*[(contig, 0, huge, "") for contig in range(17)])
        columns.seq_len[:] = longest
        assert code_of(kernels.place, columns) == BAD_COLUMN
        columns.contig[16] = 15
        assert kernels.place(columns).covered == 16 * longest

    @given(group=groups(), data=st.data())
    def test_mutated_bases_fare_as_in_the_twin(self, group, data):
        columns, md_of, mds = group
        p, reference, found = all_of(kernels, columns, md_of, mds)
        if found is None:
            return
        counts, m, loose = found
        streams = {"counts": counts, "gap": m.gap, "symbol": m.symbol, "loose": loose, "reference": reference}
        for name in data.draw(st.sets(st.sampled_from(list(streams)), min_size=1, max_size=2)):
            if name != "reference":
                streams[name] = lie(data, streams[name])
            elif data.draw(st.booleans()):
                streams[name] = reference[:-1]
        streams["loose"] &= 15
        counts, gap, symbol, loose, reference = streams.values()
        first = np.append(np.uint64(0), np.cumsum(np.resize(counts, columns.n), dtype=np.uint64))
        lying = Mismatches(first, gap, symbol, np.zeros(gap.size, np.uint8))
        assert fare_alike(kernels.restore, twins.restore, p, lying, reference, loose)

    @given(codes=st.lists(st.sampled_from([1, 2, 4, 8, 8, 15, 0, 5]), max_size=40), data=st.data())
    def test_mutated_codes_in_two_bits_fare_as_in_the_twin(self, codes, data):
        streams = dict(zip(("packed", "gap", "other"), kernels.pack_codes(u8(codes)), strict=True))
        name = data.draw(st.sampled_from(list(streams)))
        packed, gap, other = (streams | {name: lie(data, streams[name])}).values()
        n = len(codes) + data.draw(st.sampled_from([0, 0, 1]))
        assert fare_alike(kernels.unpack_codes, twins.unpack_codes, packed, n, gap, other)


# ---- real reads ----


def columns_of_reads(reads):
    """Columns of pysam's reads, and their MD tags."""
    alignments = [(r.reference_id, r.reference_start, r.cigarstring or "*", r.query_sequence) for r in reads]
    mds = strings([read.get_tag("MD").encode() for read in reads])
    return columns_of(*alignments), i32(range(len(reads))), mds


@pytest.fixture(scope="module")
def calmd_reads(shared_data, tmp_path_factory):
    """Reads with MD and NM of samtools calmd, and their reference by position."""
    import pysam

    folder = tmp_path_factory.mktemp("calmd")
    fasta, bare, marked = folder / "chr20.fa.gz", folder / "bare.bam", folder / "marked.bam"
    fasta.symlink_to(shared_data / "aln" / "ucsc.hg19.chr20.unittest.fasta.gz")
    pysam.samtools.faidx(str(fasta))
    bam = str(shared_data / "aln" / "NA12878_S1.chr20.10_10p1mb.bam")
    with pysam.AlignmentFile(bam) as real, pysam.AlignmentFile(str(bare), "wb", template=real) as out:
        for read in (next(real) for _ in range(4000)):
            read.set_tags([])
            out.write(read)
    pysam.samtools.calmd("-b", str(bare), str(fasta), save_stdout=str(marked))
    with pysam.AlignmentFile(str(marked)) as reads, pysam.FastaFile(str(fasta)) as genome:
        mapped = [read for read in reads if not read.is_unmapped]
        begin, end = mapped[0].reference_start, max(read.reference_end for read in mapped)
        return mapped, " " * begin + genome.fetch("chr20", begin, end)


def test_reference_md_and_nm_of_real_reads_are_those_of_samtools_calmd(calmd_reads):
    reads, genome = calmd_reads
    columns, md_of, mds = columns_of_reads(reads)
    p, reference, found = all_of(kernels, columns, md_of, mds)
    spans = {at for read in reads for at in range(read.reference_start, read.reference_end)}
    assert "".join(CODES[code] for code in reference) == "".join(genome[at] for at in sorted(spans)).upper()
    texts = all_mds(kernels, p, found[1], reference)
    counts = kernels.alignment_counts(p, found[1])
    assert cut(texts) == cut(mds)
    assert (counts[1] + counts[2] + counts[4]).tolist() == [read.get_tag("NM") for read in reads]
    assert (counts[3] > 0).sum() > 100


def test_md_tags_of_real_reads_with_introns_follow_from_their_bases(shared_data):
    import pysam

    with pysam.AlignmentFile(str(shared_data / "aln" / "test.rna.paired_end.sorted.chr6.bam")) as real:
        reads = [next(real) for _ in range(3000)]
    columns, md_of, mds = columns_of_reads(reads)
    p, reference, found = all_of(kernels, columns, md_of, mds)
    texts = all_mds(kernels, p, found[1], reference)
    assert cut(texts) == cut(mds)
    assert sum("N" in read.cigarstring for read in reads) > 100
    pairs = zip(kernels.alignment_counts(p, found[1]).T.tolist(), reads, strict=True)
    assert all(counts[1] + counts[2] + counts[4] == read.get_tag("NM") for counts, read in pairs)
