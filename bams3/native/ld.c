/* Pairs of variants of a tile, by the fastest instructions that the processor has. */
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

typedef uint64_t (*rows_by_strip)(struct task *, const uint64_t *, const uint64_t *,
                                  struct bk_ld_pair *);

enum { PLAIN, POPCNT, AVX2, AVX512, NEON, N_SETS };

/* What does the work in a set of instructions; NULL where the processor lacks it. */
static rows_by_strip worker_of(uint64_t set) {
#ifdef LD_X86
    if (set == POPCNT) return __builtin_cpu_supports("popcnt") ? rows_by_strip_popcnt : NULL;
    if (set == AVX2) return __builtin_cpu_supports("avx2") ? rows_by_strip_avx2 : NULL;
    if (set == AVX512)
        return __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vpopcntdq")
                   ? rows_by_strip_avx512
                   : NULL;
#endif
#ifdef LD_NEON
    if (set == NEON) return rows_by_strip_neon;
#endif
    return set == PLAIN ? rows_by_strip_plain : NULL;
}

/* The sets of instructions that there are, as bits. */
BK_EXPORT int bk_ld_sets(uint64_t *sets) {
    for (uint64_t set = 0; set < N_SETS; set++) *sets |= (uint64_t)(worker_of(set) != NULL) << set;
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

/* Pairs of row i and the columns begin[i] .. end[i] - 1 that the rule keeps, in no order of use.
 *
 * Goes on at cursor[0] (columns) and cursor[1] (rows), and leaves there where it stopped because
 * `found`, of at least ROWS_AT_ONCE * STRIP, might run over; cursor[0] is columns->n at the end.
 */
BK_EXPORT int bk_ld_tile(const struct bk_ld_form *form, const struct bk_ld_rule *rule,
                         const struct bk_ld_side *rows, const struct bk_ld_side *columns,
                         const uint64_t *begin, const uint64_t *end, uint64_t set, uint64_t *cursor,
                         uint64_t max_found, uint64_t *n_found, struct bk_ld_pair *found) {
    rows_by_strip work = worker_of(set);
    struct sums_of_strip strip;
    if (!work || rows->n % ROWS_AT_ONCE || columns->n % (2 * LANES) || !form->samples)
        return BK_ERR_COLUMN_LENGTH;
    for (uint64_t i = 0; i < rows->n; i++)
        if (end[i] > columns->n) return BK_ERR_COLUMN_LENGTH;
    uint64_t words = (form->samples + 63) / 64 * (form->is_phased ? 2 : 1);
    uint64_t planes =
        (form->is_phased ? 1u : 2u) + (form->has_known != 0) + (form->has_single != 0);
    struct task t = {.form = form, .rule = rule, .rows = rows, .columns = columns, .strip = &strip};
    t.sums.words = words;
    t.sums.row_stride = planes * words;
    t.sums.group_stride = planes * words * LANES;
    t.items = (double)form->samples * (form->is_phased ? 2 : 1);
    t.least = rule->is_em ? -1 : (double)rule->num / (double)rule->den * (1 - SLACK);
    *n_found = 0;
    for (t.column = cursor[0]; t.column < columns->n; t.column += STRIP, cursor[1] = 0) {
        cursor[0] = t.column;
        t.n_columns = columns->n - t.column < STRIP ? columns->n - t.column : STRIP;
        t.sums.groups = t.n_columns / LANES;
        t.sums.columns = columns->words + t.column / LANES * t.sums.group_stride;
        int is_partial = any(columns->is_partial + t.column, t.n_columns);
        for (t.row = cursor[1]; t.row < rows->n; t.row += ROWS_AT_ONCE) {
            cursor[1] = t.row;
            if (!has_pairs(&t, begin, end)) continue;
            if (max_found - *n_found < ROWS_AT_ONCE * STRIP) return BK_OK;
            t.is_partial = is_partial || any(rows->is_partial + t.row, ROWS_AT_ONCE);
            t.sums.rows = rows->words + t.row * t.sums.row_stride;
            *n_found += work(&t, begin, end, found + *n_found);
        }
    }
    cursor[0] = columns->n;
    return BK_OK;
}
