/* Depth: how many records cover each base.
 *
 * Positions are those of a section's axis: contig k of a section lies at base[k] .. base[k] +
 * length[k] - 1, one contig behind the other. What covers a base is kept as changes: +1 where a
 * record begins to cover, -1 behind its last base there; depth is their running sum.
 *
 *     changes[0 .. len)      the changes at positions start .. start + len - 1
 *     late[0 .. n_late)      those at start + len and beyond: position * 2, + 1 for a -1
 */
#include "kernels.h"

enum { MODE_ALIGNED, MODE_SPAN };

/* Whether an operation moves along the reference (M, D, N, =, X) or the read (M, I, S, =, X). */
static int in_reference_of(uint32_t op) { return 0x18d >> (op & 15) & 1; }
static int in_read_of(uint32_t op) { return 0x193 >> (op & 15) & 1; }

struct axis {
    uint64_t start, len, max_late, n_late;
    int32_t *changes;
    int64_t *late;
};

static int change(struct axis *a, uint64_t at, int ends) {
    if (at < a->start) at = a->start;
    if (at - a->start < a->len) {
        a->changes[at - a->start] += ends ? -1 : 1;
        return BK_OK;
    }
    if (a->n_late == a->max_late) return BK_ERR_TOO_MANY;
    a->late[a->n_late++] = (int64_t)(at << 1 | (uint64_t)ends);
    return BK_OK;
}

/* Cover [from, to) of a contig that ends at `limit` and lies at `base`. */
static int cover(struct axis *a, uint64_t base, uint64_t limit, uint64_t from, uint64_t to) {
    if (to > limit) to = limit;
    if (from >= to) return BK_OK;
    int status = change(a, base + from, 0);
    return status ? status : change(a, base + to, 1);
}

/* Cover those bases of an M, =, X operation whose quality is at least min_qual. */
static int cover_good(struct axis *a, uint64_t base, uint64_t limit, uint64_t at, const uint8_t *q,
                      uint64_t n, unsigned min_qual) {
    for (uint64_t i = 0; i < n;) {
        while (i < n && q[i] < min_qual) i++;
        uint64_t first = i;
        while (i < n && q[i] >= min_qual) i++;
        int status = cover(a, base, limit, at + first, at + i);
        if (status) return status;
    }
    return BK_OK;
}

struct record {
    const uint32_t *ops;
    const uint8_t *quals; /* NULL: SEQ is * */
    uint64_t n_ops, n_quals, pos;
};

static int cover_aligned(struct axis *a, const struct record *r, uint64_t base, uint64_t limit,
                         unsigned min_qual) {
    uint64_t at = r->pos, read = 0;
    for (uint64_t j = 0; j < r->n_ops && at < limit; j++) {
        uint64_t n = r->ops[j] >> 4;
        int in_reference = in_reference_of(r->ops[j]), in_read = in_read_of(r->ops[j]);
        if (in_reference && in_read) {
            int status;
            if (min_qual && r->quals) {
                if (n > r->n_quals - read) return BK_ERR_COLUMN_LENGTH;
                status = cover_good(a, base, limit, at, r->quals + read, n, min_qual);
            } else {
                status = cover(a, base, limit, at, at + n);
            }
            if (status) return status;
        }
        if (in_read && r->quals) {
            if (n > r->n_quals - read) return BK_ERR_COLUMN_LENGTH;
            read += n;
        }
        if (in_reference) at += n;
    }
    return BK_OK;
}

/* Add the records that `keep` marks (NULL: all) to changes; contig k of the section is number
 * first_contig + k. Mode 0 covers the bases of M, = and X, with min_qual > 0 only those of that
 * quality (of a record without SEQ: all); mode 1 covers from the first to the last base. */
BK_EXPORT int bk_depth_changes(const struct bk_columns *c, const uint8_t *keep,
                               int32_t first_contig, uint64_t n_contigs, const uint64_t *base,
                               const uint64_t *length, uint32_t mode, uint32_t min_qual,
                               uint64_t start, uint64_t len, int32_t *changes, uint64_t max_late,
                               int64_t *late, uint64_t *n_late) {
    struct axis axis = {start, len, max_late, 0, changes, late};
    uint64_t op_at = 0, qual_at = 0;
    for (uint64_t i = 0; i < c->n; i++) {
        struct record r = {NULL, NULL, 0, 0, 0};
        if (mode == MODE_ALIGNED) {
            r.n_ops = c->cigar_len[i];
            if (r.n_ops > c->cigar_ops - op_at) return BK_ERR_COLUMN_LENGTH;
            r.ops = c->cigar + op_at;
            op_at += r.n_ops;
        }
        if (min_qual) {
            r.n_quals = c->seq_len[i];
            if (r.n_quals > c->quals_bytes - qual_at) return BK_ERR_COLUMN_LENGTH;
            r.quals = r.n_quals ? c->quals + qual_at : NULL;
            qual_at += r.n_quals;
        }
        int64_t k = (int64_t)c->contig[i] - first_contig;
        if ((keep && !keep[i]) || c->pos[i] < 0 || k < 0 || (uint64_t)k >= n_contigs) continue;
        r.pos = (uint64_t)c->pos[i];
        int status = mode == MODE_ALIGNED ? cover_aligned(&axis, &r, base[k], length[k], min_qual)
                                          : cover(&axis, base[k], length[k], r.pos,
                                                  r.pos + (c->ref_len[i] ? c->ref_len[i] : 1));
        if (status) return status;
    }
    *n_late = axis.n_late;
    return BK_OK;
}

/* Where depth changes: run k begins at position run_start[k] of the array and has run_depth[k].
 * The first run begins at 0 with depth + changes[0]; there are at most max_runs. */
BK_EXPORT int bk_depth_runs(const int32_t *changes, uint64_t len, int64_t depth, uint64_t max_runs,
                            int64_t *run_start, int64_t *run_depth, uint64_t *n_runs) {
    uint64_t n = 0;
    for (uint64_t i = 0; i < len; i++) {
        if (i && !changes[i]) continue;
        if (n == max_runs) return BK_ERR_TOO_MANY;
        depth += changes[i];
        run_start[n] = (int64_t)i;
        run_depth[n++] = depth;
    }
    *n_runs = n;
    return BK_OK;
}

/* Add the depths of positions at .. at + len - 1 to the spans [start, end) that they lie in: the
 * sum, how many are covered, the least and the most, and n_thresholds entries a span: how many are
 * at or above each threshold. */
BK_EXPORT int bk_depth_spans(const uint32_t *depth, uint64_t len, int64_t at, uint64_t n_spans,
                             const int64_t *start, const int64_t *end, uint64_t n_thresholds,
                             const uint32_t *thresholds, uint64_t *sum, uint64_t *covered,
                             uint32_t *least, uint32_t *most, uint64_t *above) {
    int64_t stop = at + (int64_t)len;
    for (uint64_t s = 0; s < n_spans; s++) {
        int64_t low = start[s] > at ? start[s] : at, high = end[s] < stop ? end[s] : stop;
        if (low >= high) continue;
        const uint32_t *d = depth + (low - at);
        uint64_t n = (uint64_t)(high - low), total = 0, n_covered = 0;
        uint32_t small = least[s], large = most[s];
        for (uint64_t i = 0; i < n; i++) {
            total += d[i];
            n_covered += d[i] != 0;
            small = d[i] < small ? d[i] : small;
            large = d[i] > large ? d[i] : large;
        }
        sum[s] += total;
        covered[s] += n_covered;
        least[s] = small;
        most[s] = large;
        for (uint64_t t = 0; t < n_thresholds; t++) {
            uint64_t reached = 0;
            for (uint64_t i = 0; i < n; i++) reached += d[i] >= thresholds[t];
            above[s * n_thresholds + t] += reached;
        }
    }
    return BK_OK;
}

/* Add the qualities of aligned bases (M, =, X) of at least min_qual in [low[k], high[k]) of contig
 * first_contig + k to sum[k], and their number to number[k], for the records that `keep` marks. */
BK_EXPORT int bk_aligned_quality(const struct bk_columns *c, const uint8_t *keep,
                                 int32_t first_contig, uint64_t n_contigs, const int64_t *low,
                                 const int64_t *high, uint32_t min_qual, uint64_t *sum,
                                 uint64_t *number) {
    uint64_t op_at = 0, qual_at = 0;
    for (uint64_t i = 0; i < c->n; i++) {
        uint64_t n_ops = c->cigar_len[i], n_quals = c->seq_len[i], read = 0;
        if (n_ops > c->cigar_ops - op_at || n_quals > c->quals_bytes - qual_at)
            return BK_ERR_COLUMN_LENGTH;
        const uint32_t *ops = c->cigar + op_at;
        const uint8_t *quals = c->quals + qual_at;
        op_at += n_ops;
        qual_at += n_quals;
        int64_t k = (int64_t)c->contig[i] - first_contig, at = c->pos[i];
        if ((keep && !keep[i]) || at < 0 || k < 0 || (uint64_t)k >= n_contigs || !n_quals) continue;
        for (uint64_t j = 0; j < n_ops && at < high[k]; j++) {
            int64_t n = ops[j] >> 4;
            int in_reference = in_reference_of(ops[j]), in_read = in_read_of(ops[j]);
            if (in_read && (uint64_t)n > n_quals - read) return BK_ERR_COLUMN_LENGTH;
            if (in_reference && in_read) {
                int64_t from = at > low[k] ? at : low[k], to = at + n < high[k] ? at + n : high[k];
                for (int64_t p = from; p < to; p++) {
                    unsigned q = quals[read + (uint64_t)(p - at)];
                    sum[k] += q >= min_qual ? q : 0;
                    number[k] += q >= min_qual;
                }
            }
            if (in_read) read += (uint64_t)n;
            if (in_reference) at += n;
        }
    }
    return BK_OK;
}
