/* What the index says of a row group: extents, totals of every contig, aligned bases per window. */
#include "kernels.h"

/* Totals of a contig, uint64_t each: 16 categories of samtools flagstat, for reads that passed
 * quality control, then again for those that failed, then two more. The order is part of the
 * format (spec.py TOTALS). */
enum {
    T_RECORDS,
    T_PRIMARY,
    T_SECONDARY,
    T_SUPPLEMENTARY,
    T_DUPLICATES,
    T_PRIMARY_DUPLICATES,
    T_MAPPED,
    T_PRIMARY_MAPPED,
    T_PAIRED,
    T_READ1,
    T_READ2,
    T_PROPER_PAIR,
    T_BOTH_MAPPED,
    T_SINGLETONS,
    T_MATE_ELSEWHERE,
    T_MATE_ELSEWHERE_MAPQ5,
    T_CATEGORIES,
    T_BASES = 2 * T_CATEGORIES,
    T_BEFORE_START,
    T_SIZE
};

/* One record into its categories: the rules of samtools flagstat. */
static void count_flags(uint64_t *t, unsigned flag, int mate_elsewhere, unsigned mapq) {
    int mapped = !(flag & 0x4), mate_mapped = !(flag & 0x8), duplicate = !!(flag & 0x400);
    t[T_RECORDS] += 1;
    t[T_MAPPED] += (uint64_t)mapped;
    t[T_DUPLICATES] += (uint64_t)duplicate;
    if (flag & 0x900) {
        t[flag & 0x100 ? T_SECONDARY : T_SUPPLEMENTARY] += 1;
        return;
    }
    t[T_PRIMARY] += 1;
    t[T_PRIMARY_MAPPED] += (uint64_t)mapped;
    t[T_PRIMARY_DUPLICATES] += (uint64_t)duplicate;
    if (!(flag & 0x1)) return;
    t[T_PAIRED] += 1;
    t[T_READ1] += !!(flag & 0x40);
    t[T_READ2] += !!(flag & 0x80);
    if (!mapped) return;
    t[T_PROPER_PAIR] += !!(flag & 0x2);
    t[mate_mapped ? T_BOTH_MAPPED : T_SINGLETONS] += 1;
    if (!mate_mapped || !mate_elsewhere) return;
    t[T_MATE_ELSEWHERE] += 1;
    t[T_MATE_ELSEWHERE_MAPQ5] += mapq >= 5;
}

/* End of a record as htslib's bam_endpos gives it. */
static int64_t end_of(int32_t pos, uint32_t ref_len, unsigned flag) {
    return pos + (int64_t)(flag & 0x4 || ref_len == 0 ? 1 : ref_len);
}

/* Extents and totals of the runs of equal contig in a row group.
 *
 * Out, one entry a run, at most max_runs: run_contig, run_records, run_start (smallest position),
 * run_end (largest end), totals (runs x T_SIZE, zeroed by the caller). */
BK_EXPORT int bk_summarise(const struct bk_columns *c, uint64_t max_runs, uint64_t *n_runs,
                           int32_t *run_contig, uint64_t *run_records, int64_t *run_start,
                           int64_t *run_end, uint64_t *totals) {
    uint64_t runs = 0;
    for (uint64_t i = 0; i < c->n; i++) {
        int64_t start = c->pos[i], end = end_of(c->pos[i], c->ref_len[i], c->flag[i]);
        if (i == 0 || c->contig[i] != c->contig[i - 1]) {
            if (runs == max_runs) return BK_ERR_TOO_MANY;
            run_contig[runs] = c->contig[i];
            run_records[runs] = 0;
            run_start[runs] = start;
            run_end[runs] = end;
            runs++;
        }
        uint64_t *t = totals + (runs - 1) * T_SIZE;
        run_records[runs - 1] += 1;
        if (start < run_start[runs - 1]) run_start[runs - 1] = start;
        if (end > run_end[runs - 1]) run_end[runs - 1] = end;
        count_flags(t + (c->flag[i] & 0x200 ? T_CATEGORIES : 0), c->flag[i],
                    c->mate_contig[i] != c->contig[i], c->mapq[i]);
        t[T_BASES] += c->seq_len[i];
        t[T_BEFORE_START] += c->contig[i] >= 0 && end <= 0;
    }
    *n_runs = runs;
    return BK_OK;
}

/* The frame that depth is added to: windows first .. first + len - 1 of a section. `whole` collects
 * where runs of whole windows begin (+) and end (-), so that a long operation costs no more than a
 * short one; it has len + 1 entries. */
struct frame {
    uint64_t first, len;
    uint32_t window_bp;
    uint64_t *sums, *whole;
};

/* Add the bases [at, end) of a contig whose windows begin at `base` of the section. */
static void add_bases(const struct frame *f, uint64_t base, uint64_t at, uint64_t end) {
    if (base >= f->first + f->len) return;
    uint64_t low = (f->first > base ? f->first - base : 0) * f->window_bp;
    uint64_t high = (f->first + f->len - base) * f->window_bp;
    if (at < low) at = low;
    if (end > high) end = high;
    if (at >= end) return;
    uint64_t first = at / f->window_bp, last = (end - 1) / f->window_bp, shift = base - f->first;
    if (first == last) {
        f->sums[first + shift] += end - at;
        return;
    }
    f->sums[first + shift] += (first + 1) * f->window_bp - at;
    f->sums[last + shift] += end - last * f->window_bp;
    f->whole[first + 1 + shift] += f->window_bp;
    f->whole[last + shift] -= f->window_bp;
}

/* Add the aligned bases (M, =, X) of records without flags 0x704 to sums[w - first_window], for the
 * windows w of a section: contig k's windows are window_base[k - first_contig] + position /
 * window_bp; bases beyond its length[k - first_contig] are left out. whole is scratch of sums_len +
 * 1 zeros. */
BK_EXPORT int bk_depth(const struct bk_columns *c, int32_t first_contig, uint64_t n_contigs,
                       const uint64_t *window_base, const uint64_t *length, uint32_t window_bp,
                       uint64_t first_window, uint64_t sums_len, uint64_t *whole, uint64_t *sums) {
    struct frame frame = {first_window, sums_len, window_bp, sums, whole};
    uint64_t op_at = 0;
    for (uint64_t i = 0; i < c->n; i++) {
        uint64_t n_ops = c->cigar_len[i];
        if (n_ops > c->cigar_ops - op_at) return BK_ERR_COLUMN_LENGTH;
        const uint32_t *ops = c->cigar + op_at;
        op_at += n_ops;
        int64_t k = (int64_t)c->contig[i] - first_contig;
        if (c->flag[i] & 0x704 || c->pos[i] < 0 || k < 0 || (uint64_t)k >= n_contigs) continue;
        uint64_t at = (uint64_t)c->pos[i], stop = length[k];
        for (uint64_t j = 0; j < n_ops && at < stop; j++) {
            uint64_t end = at + (ops[j] >> 4);
            unsigned op = ops[j] & 15;
            if (op == 0 || op == 7 || op == 8)
                add_bases(&frame, window_base[k], at, end < stop ? end : stop);
            else if (op != 2 && op != 3)
                continue;
            at = end;
        }
    }
    for (uint64_t w = 0, sum = 0; w < sums_len; w++) {
        sum += whole[w];
        sums[w] += sum;
    }
    return BK_OK;
}
