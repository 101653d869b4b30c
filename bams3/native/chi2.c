/* Homogeneity of tables: Pearson's statistic, and how far out it is among tables of the same
 * margins.
 *
 * Table t has rows start[t] .. start[t + 1] - 1 of `counts`, MAX_COLUMNS to a row, none negative.
 * Rows and columns without any item are left out.
 */
#include <math.h>
#include <string.h>

#include "tables.h"

/* What a table is like. */
struct bk_table {
    double statistic;      /* Pearson's; 0 where fewer than two rows or columns have items */
    double least_expected; /* of all cells */
    double worst_residual; /* the adjusted residual that is the largest without its sign */
    uint64_t worst_row;    /* its row, of the table's */
    uint64_t total;
    double tail;                /* of the chi-square distribution beyond the statistic; else 1 */
    uint32_t n_rows, n_columns; /* that have items */
    uint32_t columns;           /* bit c: column c has items */
    uint32_t dof;               /* degrees of freedom */
};

struct sums {
    double row, column[MAX_COLUMNS], total;
};

/* The chi-square distribution beyond x: with h = x / 2 the sum of h^k e^-h / gamma(k + 1), k = 0,
 * 1, .. dof / 2 - 1, or where dof is odd k = 1/2, 3/2, .. and erfc(sqrt(h)) besides (Abramowitz and
 * Stegun 26.4.4 and 26.4.5). No term is negative: added up from the largest on either side, far
 * tails keep their digits. */
static double chi2_tail(double x, uint64_t dof) {
    double h = x / 2, first = dof % 2 ? 0.5 : 0, last = (double)dof / 2 - 1;
    double sum = dof % 2 ? erfc(sqrt(h)) : 0;
    if (!(h > 0)) return 1;
    if (last < first) return sum;
    double k = h < last ? fmax(first, floor(h - first) + first) : last;
    double largest = exp(k * log(h) - h - lgamma(k + 1)), term = largest;
    for (double i = k; i >= first && term > 0; i--) {
        sum += term;
        term *= i / h;
    }
    term = largest;
    for (double i = k + 1; i <= last && term > 0; i++) {
        term *= h / i;
        sum += term;
    }
    return fmin(sum, 1);
}

static double row_total(const int32_t *row) {
    double sum = 0;
    for (uint64_t c = 0; c < MAX_COLUMNS; c++) sum += row[c];
    return sum;
}

/* Take a cell: (observed - expected)^2 / expected, and Haberman's (1973) adjusted residual,
 * (observed - expected) / sqrt(expected (1 - row / total) (1 - column / total)). What is subtracted
 * is total times as large, so that it is exact below 2^53. */
static void take_cell(struct bk_table *out, double count, const struct sums *s, uint64_t c,
                      uint64_t row) {
    double product = s->row * s->column[c];
    double off = count * s->total - product;
    double rest = (s->total - s->row) * (s->total - s->column[c]);
    out->statistic += off * off / (product * s->total);
    out->least_expected = fmin(out->least_expected, product / s->total);
    double residual = off * sqrt(s->total / (product * rest));
    /* the margin keeps the first of those that are equal but for rounding */
    if (fabs(residual) > fabs(out->worst_residual) * (1 + 1e-12)) {
        out->worst_residual = residual;
        out->worst_row = row;
    }
}

static void describe(const int32_t *counts, uint64_t n_rows, struct bk_table *out) {
    struct sums s = {0};
    *out = (struct bk_table){.least_expected = INFINITY, .tail = 1};
    for (uint64_t i = 0; i < n_rows; i++) {
        const int32_t *row = counts + i * MAX_COLUMNS;
        for (uint64_t c = 0; c < MAX_COLUMNS; c++) s.column[c] += row[c];
        out->n_rows += row_total(row) > 0;
    }
    for (uint64_t c = 0; c < MAX_COLUMNS; c++) {
        s.total += s.column[c];
        out->columns |= (uint32_t)(s.column[c] > 0) << c;
        out->n_columns += s.column[c] > 0;
    }
    out->total = (uint64_t)s.total;
    if (out->n_rows < 2 || out->n_columns < 2) return;
    for (uint64_t i = 0; i < n_rows; i++) {
        const int32_t *row = counts + i * MAX_COLUMNS;
        s.row = row_total(row);
        for (uint64_t c = 0; c < MAX_COLUMNS && s.row > 0; c++)
            if (s.column[c] > 0) take_cell(out, row[c], &s, c, i);
    }
    out->dof = (out->n_rows - 1) * (out->n_columns - 1);
    out->tail = chi2_tail(out->statistic, out->dof);
}

BK_EXPORT int bk_chi2_describe(uint64_t n, const uint64_t *start, const int32_t *counts,
                               struct bk_table *out) {
    for (uint64_t t = 0; t < n; t++)
        describe(counts + start[t] * MAX_COLUMNS, start[t + 1] - start[t], &out[t]);
    return BK_OK;
}

/* ---- among tables of the same margins ---- */

#define MOST_ITEMS 500 /* to enumerate: what they weigh stays below 1e308 (enumerate.c) */

/* What is as long as a table's rows. */
struct room {
    int64_t *line, *stack;
    double *per_line, *per_stack, *empty;
};

static uint64_t room_bytes(uint64_t rows) { return 5 * 8 * (rows + MAX_COLUMNS); }

static struct room room_in(uint8_t *work, uint64_t rows) {
    uint64_t n = rows + MAX_COLUMNS;
    double *at = (double *)(void *)work;
    int64_t *line = (int64_t *)(void *)(at + 3 * n);
    return (struct room){line, line + n, at, at + n, at + 2 * n};
}

/* Totals of rows and columns that have items, the columns ascending; and the observed spread. */
static struct margins margins_of(const int32_t *counts, uint64_t n_rows, struct room room) {
    struct margins m = {0, 0, room.line, room.stack, room.per_line, room.per_stack, 0, 0};
    int64_t column[MAX_COLUMNS] = {0};
    for (uint64_t i = 0; i < n_rows; i++)
        for (uint64_t c = 0; c < MAX_COLUMNS; c++) column[c] += counts[i * MAX_COLUMNS + c];
    for (uint64_t c = 0; c < MAX_COLUMNS; c++) {
        uint64_t at = m.stacks;
        if (!column[c]) continue;
        for (; at && room.stack[at - 1] > column[c]; at--) room.stack[at] = room.stack[at - 1];
        room.stack[at] = column[c];
        m.stacks++;
        m.total += column[c];
    }
    for (uint64_t j = 0; j < m.stacks; j++) room.per_stack[j] = 1 / (double)room.stack[j];
    for (uint64_t i = 0; i < n_rows; i++) {
        const int32_t *row = counts + i * MAX_COLUMNS;
        double total = row_total(row), term = 0;
        if (!(total > 0)) continue;
        for (uint64_t c = 0; c < MAX_COLUMNS; c++)
            if (column[c]) term += (double)row[c] * row[c] / (double)column[c];
        room.line[m.lines] = (int64_t)total;
        room.per_line[m.lines++] = 1 / total;
        m.far += term / total;
    }
    m.far *= 1 - SPREAD_TOLERANCE;
    return m;
}

/* Lines as stacks, the largest last, and stacks as lines. */
static struct margins turned(const struct margins *m, struct room room) {
    struct margins t = *m;
    t.lines = m->stacks;
    t.line = m->stack;
    t.per_line = m->per_stack;
    t.stacks = m->lines;
    t.stack = m->line;
    t.per_stack = m->per_line;
    uint64_t largest = 0, last = m->lines - 1;
    for (uint64_t i = 0; i < m->lines; i++)
        if (room.line[i] > room.line[largest]) largest = i;
    int64_t total = room.line[largest];
    room.line[largest] = room.line[last];
    room.line[last] = total;
    room.per_line[largest] = 1 / (double)room.line[largest];
    room.per_line[last] = 1 / (double)total;
    return t;
}

/* At least as many as there are tables; above `most` not exactly. Each stack but the last may lie
 * in C(items + lines - 1, items) ways. */
static double tables_at_most(uint64_t lines, uint64_t stacks, const int64_t *stack, int64_t largest,
                             double most) {
    double tables = 1;
    int64_t items = -largest;
    for (uint64_t j = 0; j < stacks; j++) items += stack[j];
    if (items > MOST_ITEMS) return INFINITY;
    for (uint64_t j = 0; j < stacks; j++) {
        if (stack[j] == largest) {
            largest = -1;
            continue;
        }
        for (int64_t k = 1; k <= stack[j] && tables <= most; k++)
            tables *= (double)(lines - 1 + (uint64_t)k) / (double)k;
    }
    return tables;
}

struct bk_tier {
    double pvalue;
    uint64_t draws, far; /* draws is 0 where all tables were enumerated */
};

static struct bk_tier rank(const int32_t *counts, uint64_t n_rows, const uint64_t *seed,
                           double max_tables, uint64_t max_draws, uint64_t stop_at, uint8_t *work) {
    struct room room = room_in(work, n_rows);
    struct margins m = margins_of(counts, n_rows, room);
    if (m.lines < 2 || m.stacks < 2) return (struct bk_tier){1, 0, 0}; /* there is one table */
    int64_t largest = 0;
    for (uint64_t i = 0; i < m.lines; i++) largest = m.line[i] > largest ? m.line[i] : largest;
    double by_column =
        tables_at_most(m.lines, m.stacks, m.stack, m.stack[m.stacks - 1], max_tables);
    double by_row = tables_at_most(m.stacks, m.lines, m.line, largest, max_tables);
    if (by_row < by_column && by_row <= max_tables) {
        struct margins t = turned(&m, room);
        return (struct bk_tier){enumerate_tables(&t, room.empty), 0, 0};
    }
    if (by_column <= max_tables) return (struct bk_tier){enumerate_tables(&m, room.empty), 0, 0};
    struct drawn drawn = draw_tables(&m, seed, max_draws, stop_at, work + room_bytes(n_rows));
    double draws = (double)drawn.draws, far = (double)drawn.far;
    int stopped = stop_at && drawn.far == stop_at;
    return (struct bk_tier){stopped ? far / draws : (far + 1) / (draws + 1), drawn.draws,
                            drawn.far};
}

/* Bytes of `work` that tables of at most so many rows need. */
BK_EXPORT int bk_chi2_work(uint64_t max_rows, uint64_t *bytes) {
    *bytes = room_bytes(max_rows) + permute_bytes(max_rows);
    return BK_OK;
}

/* P-values of tables (totals below 2^31) with both margins fixed: of all tables where those are at
 * most max_tables, else of random ones: Besag and Clifford's (1991) far / draws once stop_at of
 * them were as far out as the observed one, or (far + 1) / (max_draws + 1). */
BK_EXPORT int bk_chi2_permute(uint64_t n, const uint64_t *start, const int32_t *counts,
                              const uint64_t *seeds, double max_tables, uint64_t max_draws,
                              uint64_t stop_at, uint64_t work_bytes, uint8_t *work,
                              struct bk_tier *out) {
    for (uint64_t t = 0; t < n; t++) {
        uint64_t n_rows = start[t + 1] - start[t];
        if (room_bytes(n_rows) + permute_bytes(n_rows) > work_bytes) return BK_ERR_TOO_MANY;
        out[t] = rank(counts + start[t] * MAX_COLUMNS, n_rows, seeds + 4 * t, max_tables, max_draws,
                      stop_at, work);
    }
    return BK_OK;
}
