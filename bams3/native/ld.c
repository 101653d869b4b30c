/* Pairs of variants of a tile, by the fastest instructions that the processor has. */
#include <math.h>

#include "ld.h"
#include "ld_counts.h"

#define SLACK 1e-9 /* of the test in floating point, far more than it can be off */

/* Sums over items of ROWS_AT_ONCE rows by the columns of a strip. */
struct sums_of_strip {
    uint32_t xy[ROWS_AT_ONCE * STRIP], n[ROWS_AT_ONCE * STRIP];
    uint32_t x[ROWS_AT_ONCE * STRIP], y[ROWS_AT_ONCE * STRIP]; /* unphased: of `plus` */
    uint32_t ends_x[ROWS_AT_ONCE * STRIP], ends_y[ROWS_AT_ONCE * STRIP];
};

struct task {
    const struct bk_ld_form *form;
    const struct bk_ld_rule *rule;
    const struct bk_ld_side *rows, *columns;
    struct sums_of_strip *strip;
    struct ld_sums sums;
    uint64_t row, column, n_columns;
    int is_partial;
    double items, least; /* r^2 that the first test lets through */
};

/* Terms of r^2 = num^2 / (spread_x spread_y). */
struct terms {
    double num, spread_x, spread_y;
};

/* Those of pair i of a strip, over the items that both know. */
static inline struct terms partial_terms(const struct task *t, uint64_t i) {
    const struct sums_of_strip *s = t->strip;
    double n = s->n[i], x, y, xx, yy;
    if (t->form->is_phased) {
        x = xx = s->x[i];
        y = yy = s->y[i];
    } else {
        xx = s->ends_x[i];
        yy = s->ends_y[i];
        x = 2.0 * s->x[i] - xx;
        y = 2.0 * s->y[i] - yy;
    }
    double num = n * (double)(int32_t)s->xy[i] - x * y;
    return (struct terms){num, n * xx - x * x, n * yy - y * y};
}

/* A word of the samples that there are. */
static inline uint64_t known_by_all(const struct task *t, uint64_t w) {
    uint64_t left = t->form->samples - 64 * w;
    return left < 64 ? ((uint64_t)1 << left) - 1 : UINT64_MAX;
}

/* The cells of heterozygotes, from the others and the margins. */
static inline void fill_by_margins(uint64_t n, uint64_t row_n[3], uint64_t column_n[3],
                                   uint64_t table[3][3]) {
    row_n[1] = n - row_n[0] - row_n[2];
    for (unsigned i = 0; i < 3; i += 2) {
        table[i][1] = row_n[i] - table[i][0] - table[i][2];
        table[1][i] = column_n[i] - table[0][i] - table[2][i];
    }
    table[1][1] = row_n[1] - table[1][0] - table[1][2];
}

#define TARGET
#define SUMS sums_plain
#define NAME(function) function##_plain
#include "ld_tile.h"
#undef TARGET
#undef SUMS
#undef NAME

#ifdef LD_X86
#define TARGET WITH_POPCNT
#define SUMS sums_popcnt
#define NAME(function) function##_popcnt
#include "ld_tile.h"
#undef TARGET
#undef SUMS
#undef NAME

#define TARGET WITH_AVX2
#define SUMS sums_avx2
#define NAME(function) function##_avx2
#include "ld_tile.h"
#undef TARGET
#undef SUMS
#undef NAME

#define TARGET WITH_AVX512
#define SUMS sums_avx512
#define NAME(function) function##_avx512
#include "ld_tile.h"
#undef TARGET
#undef SUMS
#undef NAME
#endif

#ifdef LD_NEON
#define TARGET
#define SUMS sums_neon
#define NAME(function) function##_neon
#include "ld_tile.h"
#undef TARGET
#undef SUMS
#undef NAME
#endif

/* What does the work in a set of instructions; NULL where the processor lacks it. */
struct worker {
    uint64_t (*pairs)(struct task *, const uint64_t *, const uint64_t *, struct bk_ld_pair *);
    void (*correlate)(const struct task *, double *);
};

enum { PLAIN, POPCNT, AVX2, AVX512, NEON, N_SETS };

static struct worker worker_of(uint64_t set) {
#ifdef LD_X86
    if (set == POPCNT && __builtin_cpu_supports("popcnt"))
        return (struct worker){rows_by_strip_popcnt, correlate_popcnt};
    if (set == AVX2 && __builtin_cpu_supports("avx2"))
        return (struct worker){rows_by_strip_avx2, correlate_avx2};
    if (set == AVX512 && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512vpopcntdq"))
        return (struct worker){rows_by_strip_avx512, correlate_avx512};
#endif
#ifdef LD_NEON
    if (set == NEON) return (struct worker){rows_by_strip_neon, correlate_neon};
#endif
    if (set == PLAIN) return (struct worker){rows_by_strip_plain, correlate_plain};
    return (struct worker){NULL, NULL};
}

/* The sets of instructions that there are, as bits. */
BK_EXPORT int bk_ld_sets(uint64_t *sets) {
    for (uint64_t set = 0; set < N_SETS; set++)
        *sets |= (uint64_t)(worker_of(set).pairs != NULL) << set;
    return BK_OK;
}

static int any(const uint8_t *flags, uint64_t n) {
    for (uint64_t i = 0; i < n; i++)
        if (flags[i]) return 1;
    return 0;
}

/* Whether rows from t->row on have pairs in the strip at t->column. */
static int has_pairs(const struct task *t, const uint64_t *begin, const uint64_t *end) {
    uint64_t stop = t->column + t->n_columns;
    for (uint64_t i = t->row; i < t->row + ROWS_AT_ONCE; i++)
        if (begin[i] < end[i] && begin[i] < stop && end[i] > t->column) return 1;
    return 0;
}

/* Whether rows, columns and spans fit each other, and the processor has the instructions. */
static int fits(const struct bk_ld_form *form, const struct bk_ld_side *rows,
                const struct bk_ld_side *columns, const uint64_t *end, uint64_t set) {
    if (!worker_of(set).pairs || rows->n % ROWS_AT_ONCE || columns->n % (2 * LANES) ||
        !form->samples)
        return 0;
    for (uint64_t i = 0; i < rows->n; i++)
        if (end[i] > columns->n) return 0;
    return 1;
}

static struct task task_of(const struct bk_ld_form *form, const struct bk_ld_side *rows,
                           const struct bk_ld_side *columns, struct sums_of_strip *strip) {
    uint64_t words = (form->samples + 63) / 64 * (form->is_phased ? 2 : 1);
    uint64_t planes =
        (form->is_phased ? 1u : 2u) + (form->has_known != 0) + (form->has_single != 0);
    struct task t = {.form = form, .rows = rows, .columns = columns, .strip = strip};
    t.sums.words = words;
    t.sums.row_stride = planes * words;
    t.sums.group_stride = planes * words * LANES;
    t.items = (double)form->samples * (form->is_phased ? 2 : 1);
    return t;
}

/* Go to the strip at t->column, and whether a value of it is missing. */
static int start_strip(struct task *t) {
    uint64_t left = t->columns->n - t->column;
    t->n_columns = left < STRIP ? left : STRIP;
    t->sums.groups = t->n_columns / LANES;
    t->sums.columns = t->columns->words + t->column / LANES * t->sums.group_stride;
    return any(t->columns->is_partial + t->column, t->n_columns);
}

/* Go to the rows at t->row. */
static void start_rows(struct task *t, int is_partial) {
    t->is_partial = is_partial || any(t->rows->is_partial + t->row, ROWS_AT_ONCE);
    t->sums.rows = t->rows->words + t->row * t->sums.row_stride;
}

/* Pairs of row i and the columns begin[i] .. end[i] - 1 that the rule keeps, in no order of use.
 *
 * Goes on at cursor[0] (columns) and cursor[1] (rows), and leaves there where it stopped because
 * `found`, of at least ROWS_AT_ONCE * STRIP, might run over; cursor[0] is columns->n at the end.
 */
BK_EXPORT int bk_ld_tile(const struct bk_ld_form *form, const struct bk_ld_rule *rule,
                         const struct bk_ld_side *rows, const struct bk_ld_side *columns,
                         const uint64_t *begin, const uint64_t *end, uint64_t set, uint64_t *cursor,
                         uint64_t max_found, uint64_t *n_found, struct bk_ld_pair *found) {
    struct sums_of_strip strip;
    if (!fits(form, rows, columns, end, set)) return BK_ERR_COLUMN_LENGTH;
    struct worker work = worker_of(set);
    struct task t = task_of(form, rows, columns, &strip);
    t.rule = rule;
    t.least = rule->is_em ? -1 : (double)rule->num / (double)rule->den * (1 - SLACK);
    *n_found = 0;
    for (t.column = cursor[0]; t.column < columns->n; t.column += STRIP, cursor[1] = 0) {
        cursor[0] = t.column;
        int is_partial = start_strip(&t);
        for (t.row = cursor[1]; t.row < rows->n; t.row += ROWS_AT_ONCE) {
            cursor[1] = t.row;
            if (!has_pairs(&t, begin, end)) continue;
            if (max_found - *n_found < ROWS_AT_ONCE * STRIP) return BK_OK;
            start_rows(&t, is_partial);
            *n_found += work.pairs(&t, begin, end, found + *n_found);
        }
    }
    cursor[0] = columns->n;
    return BK_OK;
}

/* Add r^2 of the columns from `first` on to the sums of the spans that they lie in. */
static void add_to_spans(const double *r, uint64_t first, uint64_t stop, const uint64_t *edges,
                         uint64_t n_spans, uint64_t *pairs, double *sums) {
    uint64_t span = 0;
    for (uint64_t behind = n_spans; behind - span > 1;) {
        uint64_t middle = span + (behind - span) / 2;
        if (edges[middle] <= first)
            span = middle;
        else
            behind = middle;
    }
    for (uint64_t j = first; j < stop && span < n_spans;) {
        if (j >= edges[span + 1]) {
            span++;
            continue;
        }
        uint64_t end = edges[span + 1] < stop ? edges[span + 1] : stop;
        uint64_t n = 0;
        double sum = 0;
        for (; j < end; j++) {
            double r2 = r[j - first] * r[j - first];
            int is_there = r2 >= 0; /* not NaN */
            n += (uint64_t)is_there;
            sum += is_there ? r2 : 0;
        }
        pairs[span] += n;
        sums[span] += sum;
    }
}

/* Where r of pairs goes: to cells of a matrix, or to sums of spans of columns. */
struct sink {
    double *r;
    uint64_t n_spans;
    const uint64_t *edges;
    uint64_t *pairs;
    double *sums;
};

/* r of row i and the columns begin[i] .. end[i] - 1, or NaN, into the sink. */
static int correlate_all(const struct bk_ld_form *form, const struct bk_ld_side *rows,
                         const struct bk_ld_side *columns, const uint64_t *begin,
                         const uint64_t *end, uint64_t set, const struct sink *to) {
    struct sums_of_strip strip;
    double found[ROWS_AT_ONCE * STRIP];
    if (!fits(form, rows, columns, end, set)) return BK_ERR_COLUMN_LENGTH;
    struct worker work = worker_of(set);
    struct task t = task_of(form, rows, columns, &strip);
    for (t.column = 0; t.column < columns->n; t.column += STRIP) {
        int is_partial = start_strip(&t);
        for (t.row = 0; t.row < rows->n; t.row += ROWS_AT_ONCE) {
            if (!has_pairs(&t, begin, end)) continue;
            start_rows(&t, is_partial);
            work.correlate(&t, found);
            for (uint64_t i = t.row; i < t.row + ROWS_AT_ONCE; i++) {
                uint64_t first = begin[i] > t.column ? begin[i] : t.column;
                uint64_t stop = t.column + t.n_columns < end[i] ? t.column + t.n_columns : end[i];
                if (first >= stop) continue;
                const double *r = found + (i - t.row) * STRIP + first - t.column;
                if (to->r)
                    memcpy(to->r + i * columns->n + first, r, (stop - first) * sizeof *r);
                else
                    add_to_spans(r, first, stop, to->edges + i * (to->n_spans + 1), to->n_spans,
                                 to->pairs, to->sums);
            }
        }
    }
    return BK_OK;
}

/* r of row i and the columns begin[i] .. end[i] - 1, or NaN, at r[i * columns->n + column]; other
 * cells stay as they are.
 */
BK_EXPORT int bk_ld_r(const struct bk_ld_form *form, const struct bk_ld_side *rows,
                      const struct bk_ld_side *columns, const uint64_t *begin, const uint64_t *end,
                      uint64_t set, double *r) {
    struct sink to = {.r = r};
    return correlate_all(form, rows, columns, begin, end, set, &to);
}

/* Sums of r^2 over spans of columns: those of row i from edges[i * (n_spans + 1) + k] up to the
 * next edge are of span k. Adds to `pairs` (of those that have an r^2) and `sums`; edges ascend.
 */
BK_EXPORT int bk_ld_sums(const struct bk_ld_form *form, const struct bk_ld_side *rows,
                         const struct bk_ld_side *columns, const uint64_t *begin,
                         const uint64_t *end, uint64_t set, uint64_t n_spans, const uint64_t *edges,
                         uint64_t *pairs, double *sums) {
    struct sink to = {NULL, n_spans, edges, pairs, sums};
    return correlate_all(form, rows, columns, begin, end, set, &to);
}
