"""Depth: kernels against their slow twins, and all that is made of them against reads walked base by base."""

import tracemalloc
from decimal import Decimal
from functools import partial
from itertools import accumulate, pairwise, product
from unittest import mock

import depth_twins as twins
import numpy as np
import pytest
from depth_twins import MIN_BQ, UNMAPPED, Read, changes_of, columns_of, depth_of, i64, passing, rows_of
from hypothesis import example, given, settings
from hypothesis import strategies as st
from record_strategies import few
from test_entropy import fare_alike, lie_of
from test_kernels import BAD_COLUMN, TOO_MANY, code_of, same, u8

from bams3 import coverage, depth, kernels
from bams3.columns import Strings
from bams3.coverage import Merger, Piece, Rules, SpanDepths, by_contig
from bams3.filters import Filters
from bams3.format import spec
from bams3.format.rowgroup import group_summary
from bams3.kernels import ALIGNED, SPAN, SpanSums
from bams3.regions import MAX_BP, Region

pytestmark = pytest.mark.native

LENGTHS = (20, 0, 1, 15)  # of the contigs of one axis
AXIS = twins.axis(LENGTHS)
CHUNKS = twins.cut_chunks(LENGTHS, first_contig=2, max_size=12)
many = settings(max_examples=300)
SMALL_PIECES = mock.patch.object(coverage, "MAX_PIECE_BP", 40)
ASKED = {"store": twins.stores(), "rules": twins.any_rules(), "data": st.data()}
MODE = st.sampled_from([ALIGNED, SPAN])
WHERE = st.tuples(st.integers(0, 60), st.integers(0, 60))  # of changes: where they begin, how many
PLACE = st.tuples(st.integers(-1, 3), st.sampled_from([0, 7, 2**40]))  # of an axis: first contig, its base
TWO = Read(0, 3, ((1, "S"), (2, "M"), (2, "D"), (3, "=")), bytes([30, 30, 10, 30, 10, 30]))
SOLID = Read(0, 5, ((4, "M"),), b"\x1e" * 4)


def marks(data, several):
    """None, or which of several count."""
    return data.draw(st.none() | st.tuples(*[st.integers(0, 1)] * len(several)).map(u8))


def quality_of(k, c, spans=((0, MAX_BP),), min_bq=0, keep=None, first=0):
    k.add_quality(c, keep, first, *twins.arrays(spans), min_bq, sums := np.ones((2, len(spans)), np.uint64))
    return sums


def each_refuses(k, c, keep=None):
    """Whether both kernels that read qualities name a bad column."""
    changes = code_of(changes_of, k, c, AXIS, (0, 55), ALIGNED, 1, keep)
    return changes == code_of(quality_of, k, c, ((0, MAX_BP),), 0, keep) == BAD_COLUMN


@pytest.mark.parametrize("k", [twins, kernels], ids=["twin", "native"])
class TestKernels:
    """What the kernels and their twins must do alike."""

    @given(reads=twins.several_reads(LENGTHS), mode=MODE, min_bq=MIN_BQ, where=WHERE, data=st.data())
    def test_changes_add_up_to_the_depth_of_each_base(self, k, reads, mode, min_bq, where, data):
        keep, min_bq = marks(data, reads), min_bq if mode == ALIGNED else 0
        kept = [read for i, read in enumerate(reads) if keep is None or keep[i]]
        dense, late = changes_of(k, columns_of(reads), AXIS, where, mode, min_bq, keep)
        wanted = np.concatenate(depth_of(kept, LENGTHS, "span" if mode == SPAN else "depth", min_bq))
        assert twins.depth_behind(dense, late, where[0], wanted.size).tolist() == wanted[where[0] :].tolist()

    @given(reads=twins.several_reads((30, 25, 9)), mode=MODE, min_bq=MIN_BQ, place=PLACE, where=WHERE)
    def test_changes_are_those_of_the_twin_wherever_the_axis_lies(self, k, reads, mode, min_bq, place, where):
        c, on = columns_of(reads), twins.axis((30, 4), *place)
        arguments = on, (where[0] + place[1], where[1]), mode, min_bq
        assert same(changes_of(k, c, *arguments), changes_of(twins, c, *arguments))

    def test_aligned_bases_are_covered_and_the_others_not(self, k):
        c = columns_of([TWO])
        assert changes_of(k, c, AXIS, (0, 11))[0].tolist() == [0, 0, 0, 1, 0, -1, 0, 1, 0, 0, -1]
        assert changes_of(k, c, AXIS, (0, 11), SPAN)[0].tolist() == [0, 0, 0, 1, 0, 0, 0, 0, 0, 0, -1]
        good = changes_of(k, c, AXIS, (0, 11), min_bq=30)[0]
        assert good.tolist() == [0, 0, 0, 1, -1, 0, 0, 1, -1, 1, -1]

    @pytest.mark.parametrize("ops", [(), ((0, "M"),), ((5, "P"), (3, "H"), (2, "I"), (9, "?"), (4, "S"))])
    def test_a_read_without_reference_bases_has_a_span_of_one_base(self, k, ops):
        c = columns_of([Read(0, 3, ops)])
        assert not changes_of(k, c, AXIS, (0, 9))[0].any()
        assert changes_of(k, c, AXIS, (0, 6), SPAN)[0].tolist() == [0, 0, 0, 1, -1, 0]

    def test_changes_in_front_of_the_first_place_count_there(self, k):
        assert changes_of(k, columns_of([SOLID, TWO]), AXIS, (8, 3))[0].tolist() == [2, -1, -1]

    def test_changes_behind_the_last_place_are_late_and_say_which_they_are(self, k):
        dense, late = changes_of(k, columns_of([SOLID]), AXIS, (2, 4))
        assert (dense.tolist(), late.tolist()) == ([0, 0, 0, 1], [9 * 2 + 1])
        assert changes_of(k, columns_of([SOLID]), AXIS, (2, 0))[1].tolist() == [10, 19]

    def test_a_read_ends_with_its_contig_and_covers_none_of_the_next(self, k):
        ops = ((9, "M"),), ((twins.LONGEST, "N"), (twins.LONGEST, "M")), ((3, "M"),)
        c = columns_of([Read(0, pos, one) for pos, one in enumerate(ops, 8)])
        for mode, wanted in ((ALIGNED, [1, 0, -1]), (SPAN, [1, 1, -2])):
            changes = changes_of(k, c, twins.axis((10, 10)), (8, 12), mode)
            assert [part.tolist() for part in changes] == [[*wanted, *[0] * 9], []]

    @given(reads=twins.several_reads(LENGTHS, max_size=4), min_bq=MIN_BQ)
    def test_more_late_changes_than_there_is_room_for_are_refused(self, k, reads, min_bq):
        arguments = columns_of(reads), AXIS, (0, 0), ALIGNED, min_bq, None
        n = changes_of(twins, *arguments)[1].size
        assert changes_of(k, *arguments, n)[1].size == n
        for less in range(n):
            assert code_of(changes_of, k, *arguments, less) == TOO_MANY

    # -- runs, spans, qualities and tables --

    @given(dense=st.lists(st.integers(-2, 2), max_size=20), before=st.integers(-(2**62), 2**62))
    def test_runs_are_where_depth_changes(self, k, dense, before):
        starts, depths = k.depth_runs(np.array(dense, np.int32), before)
        assert same((starts, depths), twins.depth_runs(np.array(dense, np.int32), before))
        lengths = np.diff(starts, append=len(dense))
        assert np.repeat(depths, lengths).tolist() == [before + d for d in accumulate(dense)]

    def test_the_first_run_begins_in_front_and_may_equal_what_was_before(self, k):
        starts, depths = k.depth_runs(np.array([0, 0, 2**31 - 1, 0, -(2**31)], np.int32), 7)
        assert (starts.tolist(), depths.tolist()) == ([0, 2, 4], [7, 2**31 + 6, 6])
        assert [part.size for part in k.depth_runs(np.zeros(0, np.int32), 7)] == [0, 0]

    @given(
        depths=st.lists(twins.U32, max_size=12),
        cut=st.integers(0, 12),
        at=st.sampled_from([0, 3, -2, 2**40]),
        spans=st.lists(st.tuples(st.integers(-3, 18), st.integers(-3, 18)), max_size=6),
        above=st.lists(twins.U32, max_size=3),
    )
    def test_spans_have_the_depths_that_lie_in_them(self, k, depths, cut, at, spans, above):
        depths, above = np.array(depths, np.uint32), np.array(above, np.uint32)
        sums = SpanSums.zeros(len(spans), above.size)
        for first, part in ((at, depths[:cut]), (at + cut, depths[cut:])):
            k.add_spans(part, first, *twins.arrays(spans, at), above, sums)
        wanted = [twins.reached(depths, span, above.tolist()) for span in spans]
        untouched = [not max(low, 0) < min(high, depths.size) for low, high in spans]
        assert sums.least[untouched].tolist() == [2**32 - 1] * sum(untouched)
        assert rows_of(sums._replace(least=np.where(untouched, 0, sums.least))) == wanted

    def test_spans_of_another_number_than_their_sums_are_refused(self, k):
        sums, d, two, one = SpanSums.zeros(2, 1), np.ones(4, np.uint32), i64([0, 1]), i64([0])
        for start, end, n in ((two, one, 1), (one, two, 1), (two, two, 0), (two, two, 2)):
            assert code_of(k.add_spans, d, 0, start, end, d[:n], sums) == BAD_COLUMN
        for low, high, n in ((two, one, 2), (one, two, 2), (one, one, 2), (two, two, 1)):
            arguments = columns_of([SOLID]), None, 0, low, high, 0, np.zeros((2, n), np.uint64)
            assert code_of(k.add_quality, *arguments) == BAD_COLUMN

    @given(reads=twins.several_reads((30, 25, 9)), min_bq=MIN_BQ, first=st.integers(0, 1), data=st.data())
    def test_qualities_are_added_where_aligned_bases_lie_in_a_span(self, k, reads, min_bq, first, data):
        keep, span = marks(data, reads), twins.bounds(40) | st.just((0, MAX_BP)) | st.just((9, 3))
        spans, wanted = data.draw(st.tuples(span, span)), np.ones((2, 2), np.uint64)
        for i, read in enumerate(reads):
            if (keep is None or keep[i]) and read.contig - first in (0, 1):
                found = read.qualities(*spans[read.contig - first], min_bq)
                wanted[:, read.contig - first] += np.array([sum(found), len(found)], np.uint64)
        assert same(quality_of(k, columns_of(reads), spans, min_bq, keep, first), wanted)

    @given(data=st.data(), prefix=st.binary(max_size=9), n=st.integers(0, 5))
    def test_rows_are_numbers_behind_a_prefix(self, k, data, prefix, n):
        decimals = data.draw(st.lists(st.integers(0, 9), min_size=1, max_size=4))
        columns = [data.draw(st.lists(twins.I64, min_size=n, max_size=n)) for _ in decimals]
        both = zip(columns, decimals, strict=True)
        texts = [[b"\t%b" % f"{Decimal(v).scaleb(-d):.{d}f}".encode() for v in c] for c, d in both]
        wanted = b"".join(prefix + b"".join(row) + b"\n" for row in zip(*texts, strict=True))
        assert k.format_rows(prefix, list(map(i64, columns)), decimals) == wanted

    def test_the_longest_numbers_and_those_below_one_have_all_their_digits(self, k):
        columns = [i64([-(2**63), 2**63 - 1, 0, -1, 10]), i64([-(2**63), 5, 0, -10_000, 12_345])]
        assert k.format_rows(b"c", columns, [9, 4]).decode().split() == (
            "c -9223372036.854775808 -922337203685477.5808 c 9223372036.854775807 0.0005 "
            "c 0.000000000 0.0000 c -0.000000001 -1.0000 c 0.000000010 1.2345"
        ).split(" ")

    # -- columns that lie --

    @pytest.mark.parametrize("how", ["missing", "shorter", "longer"])
    @pytest.mark.parametrize("name", ["contig", "pos", "ref_len", "cigar", "seq_len", "quals"])
    def test_a_column_that_is_missing_or_has_another_length_is_refused(self, k, name, how):
        c = columns_of([TWO, SOLID])
        values = c.cigar.lengths if name == "cigar" else getattr(c, name)
        other = values[:-1] if how == "shorter" else np.append(values, values[:1])
        changed = Strings(other, c.cigar.data) if name == "cigar" else other
        setattr(c, name, None if how == "missing" else changed)
        if name == "ref_len":
            assert code_of(changes_of, k, c, AXIS, (0, 55), SPAN) == BAD_COLUMN
        elif (name, how) != ("quals", "longer"):  # what no record uses does no harm
            assert each_refuses(k, c)

    @pytest.mark.parametrize("keep", [[1], [1, 1, 1], []])
    def test_a_mask_of_another_length_is_refused(self, k, keep):
        assert each_refuses(k, columns_of([TWO, SOLID]), u8(keep))

    @pytest.mark.parametrize("more", [4, 2**20, 2**31, 2**32 - 28])
    def test_lengths_that_pass_the_end_of_their_column_are_refused(self, k, more):
        for record, name in product((0, 1), ("cigar", "seq_len")):
            c = columns_of([TWO, SOLID])
            (c.cigar.lengths if name == "cigar" else c.seq_len)[record] += more
            assert each_refuses(k, c)
            assert name != "cigar" or code_of(changes_of, k, c, AXIS, (0, 55)) == BAD_COLUMN

    @pytest.mark.parametrize("text", ["5M", "5I 1M", "1M 4S", f"{twins.LONGEST}=", "4M 1X"])
    def test_a_cigar_that_takes_more_bases_than_the_read_has_is_refused(self, k, text):
        ops = tuple((int(op[:-1]), op[-1]) for op in text.split())
        c = columns_of([SOLID._replace(ops=ops), SOLID])
        assert each_refuses(k, c)
        assert changes_of(k, c, AXIS, (0, 55))[0].any()  # where no quality is asked for


@given(reads=twins.several_reads(LENGTHS, max_size=4), mode=MODE, min_bq=MIN_BQ, where=WHERE, data=st.data())
def test_mutated_columns_fare_as_in_the_twin(reads, mode, min_bq, where, data):
    c = columns_of(reads)
    streams = c.contig.view(np.uint32), c.pos.view(np.uint32), c.ref_len, c.seq_len, c.quals
    *plain, lengths, ops = lie_of(data, [*streams, c.cigar.lengths, c.cigar.data.view(np.uint32)])
    c.contig, c.pos = (values.view(np.int32) for values in plain[:2])
    (c.ref_len, c.seq_len, c.quals), c.cigar = plain[2:], Strings(lengths, ops.view(np.uint8))
    assert fare_alike(partial(changes_of, kernels), partial(changes_of, twins), c, AXIS, where, mode, min_bq)
    assert fare_alike(partial(quality_of, kernels), partial(quality_of, twins), c, [(3, 40)], min_bq)


# ---- changes put together ----


def merged(chunks, lengths, rules, first):
    """Depth of every base of contigs, of chunks of row groups put together."""
    on, at = coverage.axis_of(first, np.array(lengths, np.uint64)), 0
    merger, out = Merger(on), [np.zeros(length, np.uint32) for length in lengths]
    for chunk in [*chunks, None]:
        several = [columns_of(group) for group in chunk or ()]
        if several:
            changes = coverage.begin_changes(on, np.concatenate([group_summary(c)[0] for c in several]))
            for c in several:
                for name in {"flag", "cigar", "seq_len", "quals"} - rules.needs():
                    setattr(c, name, None)
                changes = coverage.add_columns(c, rules.mask(c), on, rules, changes)
        for piece in merger.add(changes) if several else merger.finish():
            assert at <= piece.start
            at = piece.start + piece.dense.size
            for contig, part in by_contig(on, piece):
                out[contig - first][part.start : part.start + part.dense.size] = part.depth()
    return out


@many
@example(chunks=[[[twins.STRIPED]]], rules=Rules(min_bq=20), piece_bp=1)
@given(chunks=CHUNKS, rules=twins.any_rules(), piece_bp=st.sampled_from([1, 7, 20, 1000]))
def test_changes_of_chunks_put_together_are_the_depth_of_all_their_reads(chunks, rules, piece_bp):
    reads = [read for chunk in chunks for group in chunk for read in group]
    wanted = depth_of(passing(reads, rules.filters), LENGTHS, rules.mode, rules.min_bq, 2)
    with mock.patch.object(coverage, "MAX_PIECE_BP", piece_bp):
        assert same(merged(chunks, LENGTHS, rules, 2), wanted)


def test_a_chunk_behind_one_that_begins_past_its_contigs_end_is_taken():
    chunks = [[[SOLID._replace(pos=40)]], [[SOLID._replace(contig=1)]]]
    assert [d.sum() for d in merged(chunks, (30, 25), Rules(), 0)] == [0, 4]


def test_lengths_that_lie_take_no_memory():
    c = columns_of([SOLID, SOLID])
    changes, c.seq_len[:] = coverage.begin_changes(AXIS, group_summary(c)[0]), 1 << 24
    tracemalloc.start()
    code = code_of(coverage.add_columns, c, None, AXIS, Rules(min_bq=20), changes)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (code, peak_bytes < 1 << 20) == (BAD_COLUMN, True)


def parted(depths, edges, leave_out):
    """(known depths, pieces of them cut at ``edges``), without pieces of no depth if they are left out."""
    depths, pieces = np.array(depths, np.uint32), []
    for low, high in pairwise(sorted({0, depths.size, *(edge for edge in edges if edge < depths.size)})):
        before = int(depths[low - 1]) if low else 0
        if not leave_out or depths[low:high].any():
            changes = np.diff(depths[low:high].astype(np.int32), prepend=np.int32(before))
            pieces.append(Piece(low, before, changes))
    return depths, pieces


DEPTHS = st.lists(st.sampled_from([0, 0, 1, 2]), min_size=5, max_size=20)
PIECES = st.builds(parted, DEPTHS, st.sets(st.integers(1, 19), max_size=9), st.booleans())
SPANS, ABOVE = st.lists(twins.bounds(23), max_size=6), st.lists(st.integers(1, 3), max_size=3)


@many
@given(known=PIECES, within=twins.bounds(23))
def test_runs_tile_a_span_and_differ_from_their_neighbours(known, within):
    clipped = (piece.clip(*within) for piece in known[1])
    found = coverage.runs((piece for piece in clipped if piece.dense.size), *within)
    assert [row for run in found for row in rows_of(run)] == twins.runs_of(known[0], *within)


@many
@given(known=PIECES, spans=SPANS, thresholds=ABOVE)
def test_spans_in_any_order_have_the_depths_of_their_bases(known, spans, thresholds):
    found = SpanDepths(*twins.arrays(spans), tuple(thresholds))
    for piece in known[1]:
        found.add(piece)
    padded = np.append(known[0], np.zeros(45, np.uint32))
    assert rows_of(found.sums()) == [twins.reached(padded, span, thresholds) for span in spans]


@given(within=twins.bounds(1000), size_bp=st.integers(1, 300))
def test_windows_tile_a_span_and_only_the_last_is_shorter(within, size_bp):
    start, end = coverage.windows(*within, size_bp)
    assert [*start.tolist(), within[1]] == [within[0], *end.tolist()] or within[0] == within[1]
    assert (end - start == size_bp)[:-1].all()
    assert ((end > start) & (end <= start + size_bp)).all()


# ---- stores ----


@few
@given(**ASKED)
def test_depth_of_a_region_is_that_of_its_bases(store, rules, data):
    wanted = store.depth(rules)
    for k, length in enumerate(store.lengths):
        for low, high in [*data.draw(st.lists(store.spans(k), max_size=4)), (0, length + 9)]:
            found = depth.region_depth(store.reader, Region(f"c{k}", low, high), rules, store.workers)
            assert same(found, wanted[k][low:high])


@few
@given(**ASKED)
@SMALL_PIECES
def test_runs_of_regions_in_any_order_are_those_of_their_bases(store, rules, data):
    wanted, contig = store.depth(rules), st.integers(0, len(store.lengths) - 1)
    asked = [(k, *data.draw(store.spans(k))) for k in data.draw(st.lists(contig, min_size=3, max_size=6))]
    found = depth.region_runs(store.reader, rules, asked, store.workers)
    rows = [(k, row) for k, run in found for row in rows_of(run)]
    assert rows == [(k, row) for k, low, high in asked for row in twins.runs_of(wanted[k], low, high)]


@few
@given(**ASKED)
@SMALL_PIECES
def test_spans_of_several_contigs_have_the_depths_of_their_bases(store, rules, data):
    contigs = data.draw(st.sets(st.integers(0, len(store.lengths) - 1)))
    asked = {k: data.draw(st.lists(store.spans(k), max_size=4)) for k in contigs}
    arrays = {k: twins.arrays(spans) for k, spans in asked.items()}
    together = {k: depth.merge_spans(*both) for k, both in arrays.items()}
    found = depth.span_depths(store.reader, rules, together, arrays.__getitem__, (1, 2), store.workers)
    rows, wanted = {k: rows_of(sums) for k, _, _, sums in found}, store.depth(rules)
    assert rows == {k: [twins.reached(wanted[k], span, (1, 2)) for span in asked[k]] for k in asked}


@given(spans=st.lists(twins.bounds(20), max_size=6))
def test_merged_spans_are_sorted_and_apart_and_cover_the_same_bases(spans):
    bases = {at for span in spans for at in range(*span)}
    edges = [at for at in range(22) if (at in bases) != (at - 1 in bases)]
    assert np.stack(depth.merge_spans(*twins.arrays(spans)), axis=1).ravel().tolist() == edges


@few
@given(**ASKED)
@SMALL_PIECES
def test_a_tally_counts_reads_and_qualities_of_a_span_of_each_contig(store, rules, data):
    bounds = [data.draw(store.spans(k)) for k in range(len(store.lengths))]
    tally = depth.Tally(*twins.arrays(bounds), rules.min_bq)
    of = depth.wanted_of((k, *bound) for k, bound in enumerate(bounds))
    list(depth.span_depths(store.reader, rules, of, of.__getitem__, (), store.workers, tally))
    wanted = np.zeros((4, len(bounds)), np.uint64)
    for read in passing(store.reads, rules.filters):
        low, high = bounds[read.contig]
        good = read.qualities(low, high, rules.min_bq)
        here = [1, read.mapq] if read.pos < high and read.end > low else [0, 0]
        wanted[:, read.contig] += np.array([*here, sum(good), len(good)], np.uint64)
    assert same(tally.sums, wanted)


@few
@given(data=st.data())
@mock.patch.object(spec, "FRAME_WINDOWS", 3)
def test_the_index_has_the_sums_of_each_100_bp(data):
    store = data.draw(twins.stores())
    for k, depths in enumerate(depth_of(passing(store.reads, Rules().filters), store.lengths)):
        whole = np.append(depths, np.zeros(-depths.size % 100, depths.dtype))
        [sums] = depth.indexed_sums(store.reader, [(k, 0, store.reader.contigs.lengths[k])])
        assert sums.tolist() == whole.reshape(-1, 100).sum(axis=1).tolist()


def test_the_last_sum_of_the_index_has_no_bases_beyond_its_contig():
    reader = twins.stored([SOLID._replace(pos=97)], [99])
    [sums] = depth.indexed_sums(reader, [(0, 0, reader.contigs.lengths[0])])
    assert sums.tolist() == [depth.region_depth(reader, Region("c0"), Rules()).sum()]


def test_an_unmapped_read_covers_nothing_whatever_its_cigar():
    reader, rules = twins.stored([Read(0, 10, ((50, "M"),), flag=UNMAPPED)], [100]), Rules(filters=Filters())
    assert not depth.region_depth(reader, Region("c0"), rules).any()


def test_spans_are_tallied_where_a_row_group_has_neither_cigars_nor_bases():
    reader, of = twins.stored([Read(0, 10)], [100]), depth.wanted_of([(0, 0, 100)])
    (found,) = depth.span_depths(reader, Rules("span"), of, of.__getitem__, (), 1, depth.Tally(*of[0]))
    assert rows_of(found[3]) == [(1, 1, 0, 1, [])]
