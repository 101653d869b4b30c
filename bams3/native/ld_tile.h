/* A tile of pairs, for one set of instructions; ld.c defines TARGET, SUMS and NAME(function).
 *
 * Strip after strip of columns, rows pass by ROWS_AT_ONCE at a time: sums over items for all pairs,
 * then a test in floating point that lets through a little too much, and for what it lets through
 * the counts, the rule in integers, and statistics.
 */

/* Sums of a plane of rows and a plane of columns. */
TARGET static inline void NAME(count)(const struct task *t, unsigned of_row, unsigned of_column,
                                      uint32_t *out) {
    struct ld_sums s = t->sums;
    s.rows += of_row * s.words;
    s.columns += of_column * s.words * LANES;
    SUMS(s, out, 0);
}

TARGET static inline void NAME(multiply)(const struct task *t, uint32_t *out) {
    if (t->form->is_phased)
        SUMS(t->sums, out, 0);
    else
        SUMS(t->sums, out, 1);
}

/* Of pairs that know every item; `bar` is what num^2 / spread of the column must reach. */
TARGET static void NAME(pick_complete)(const struct task *t, const uint32_t *sums,
                                       uint8_t *picked) {
    double n = t->items;
    const double *restrict sum = t->columns->sum + t->column;
    const double *restrict spread = t->columns->spread + t->column;
    for (uint64_t k = 0; k < ROWS_AT_ONCE; k++) {
        double row_sum = t->rows->sum[t->row + k], bar = t->least * t->rows->spread[t->row + k];
        const uint32_t *restrict xy = sums + k * STRIP;
        uint8_t *restrict out = picked + k * STRIP;
        for (uint64_t j = 0; j < t->n_columns; j++) {
            double num = n * (double)(int32_t)xy[j] - row_sum * sum[j];
            out[j] = num * num >= bar * spread[j];
        }
    }
}

TARGET static void NAME(pick_partial)(const struct task *t, uint8_t *picked) {
    for (uint64_t i = 0; i < ROWS_AT_ONCE * STRIP; i++) {
        struct terms m = partial_terms(t, i);
        picked[i] = m.num * m.num >= t->least * m.spread_x * m.spread_y;
    }
}

/* What the strip's pairs have in common: all sums where some item is not known, else sum(xy). */
TARGET static void NAME(add_up)(const struct task *t) {
    struct sums_of_strip *s = t->strip;
    NAME(multiply)(t, s->xy);
    if (!t->is_partial) return;
    unsigned known = t->form->is_phased ? 1 : 2, of_x = known - 1;
    NAME(count)(t, known, known, s->n);
    NAME(count)(t, of_x, known, s->x);
    NAME(count)(t, known, of_x, s->y);
    if (!t->form->is_phased) {
        NAME(count)(t, 0, known, s->ends_x);
        NAME(count)(t, known, 0, s->ends_y);
    }
}

/* Which pairs of the rows and columns may pass. */
TARGET static void NAME(pick)(const struct task *t, uint8_t *picked) {
    NAME(add_up)(t);
    if (t->is_partial)
        NAME(pick_partial)(t, picked);
    else
        NAME(pick_complete)(t, t->strip->xy, picked);
}

/* r of the rows and columns, ROWS_AT_ONCE * STRIP of them; NaN where one of the two does not vary.
 */
TARGET static void NAME(correlate)(const struct task *t, double *r) {
    NAME(add_up)(t);
    if (t->is_partial) {
        for (uint64_t i = 0; i < ROWS_AT_ONCE * STRIP; i++) {
            struct terms m = partial_terms(t, i);
            r[i] = m.num / sqrt(m.spread_x * m.spread_y);
        }
        return;
    }
    const double *restrict sum = t->columns->sum + t->column;
    const double *restrict spread = t->columns->spread + t->column;
    for (uint64_t k = 0; k < ROWS_AT_ONCE; k++) {
        double row_sum = t->rows->sum[t->row + k], row_spread = t->rows->spread[t->row + k];
        const uint32_t *restrict xy = t->strip->xy + k * STRIP;
        double *restrict out = r + k * STRIP;
        for (uint64_t j = 0; j < t->n_columns; j++)
            out[j] = (t->items * (double)(int32_t)xy[j] - row_sum * sum[j]) /
                     sqrt(row_spread * spread[j]);
    }
}

/* ---- counts of one pair ---- */

TARGET static void NAME(count_haplotypes)(const struct task *t, const uint64_t *row,
                                          const uint64_t *column, struct ld_counts *counts) {
    uint64_t words = t->sums.words, half = words / 2, n = 0, x = 0, y = 0, xy = 0;
    for (uint64_t w = 0; w < words; w++) {
        uint64_t known = known_by_all(t, w % half), a = row[w], b = column[LANES * w];
        if (t->form->has_known) known = row[words + w] & column[LANES * (words + w)];
        n += POPCOUNT(known);
        x += POPCOUNT(a & known);
        y += POPCOUNT(b & known);
        xy += POPCOUNT(a & b & known);
        if (w == half - 1) counts->samples = n;
    }
    counts->haplotypes[1][1] = xy;
    counts->haplotypes[1][0] = x - xy;
    counts->haplotypes[0][1] = y - xy;
    counts->haplotypes[0][0] = n - x - y + xy;
}

/* Samples by ALT alleles, of those that both know: all, or those where both are diploid. */
TARGET static void NAME(count_genotypes)(const struct task *t, const uint64_t *row,
                                         const uint64_t *column, int is_diploid,
                                         uint64_t table[3][3]) {
    uint64_t words = t->sums.words, n = 0, row_n[3] = {0}, column_n[3] = {0};
    memset(table, 0, 9 * sizeof table[0][0]);
    for (uint64_t w = 0; w < words; w++) {
        uint64_t known = known_by_all(t, w);
        if (t->form->has_known) known = row[2 * words + w] & column[LANES * (2 * words + w)];
        if (is_diploid) known &= ~(row[3 * words + w] | column[LANES * (3 * words + w)]);
        uint64_t a2 = row[words + w] & known, a0 = row[w] & known & ~a2;
        uint64_t b2 = column[LANES * (words + w)] & known, b0 = column[LANES * w] & known & ~b2;
        n += POPCOUNT(known);
        row_n[0] += POPCOUNT(a0);
        row_n[2] += POPCOUNT(a2);
        column_n[0] += POPCOUNT(b0);
        column_n[2] += POPCOUNT(b2);
        table[0][0] += POPCOUNT(a0 & b0);
        table[0][2] += POPCOUNT(a0 & b2);
        table[2][0] += POPCOUNT(a2 & b0);
        table[2][2] += POPCOUNT(a2 & b2);
    }
    fill_by_margins(n, row_n, column_n, table);
}

TARGET static void NAME(count_single)(const struct task *t, const uint64_t *row,
                                      const uint64_t *column, uint64_t table[2][2]) {
    uint64_t words = t->sums.words;
    for (uint64_t w = 0; w < words; w++) {
        uint64_t both = row[3 * words + w] & column[LANES * (3 * words + w)];
        both &= row[2 * words + w] & column[LANES * (2 * words + w)];
        uint64_t a = ~row[w], b = ~column[LANES * w]; /* ALT is no end: one allele, of at most 2 */
        table[1][1] += POPCOUNT(both & a & b);
        table[1][0] += POPCOUNT(both & a & ~b);
        table[0][1] += POPCOUNT(both & ~a & b);
        table[0][0] += POPCOUNT(both & ~a & ~b);
    }
}

TARGET static int NAME(weigh)(const struct task *t, uint64_t i, uint64_t j,
                              struct bk_ld_pair *out) {
    struct ld_counts counts = {0};
    const uint64_t *row = t->rows->words + i * t->sums.row_stride;
    const uint64_t *column = t->columns->words + j / LANES * t->sums.group_stride + j % LANES;
    if (t->form->is_phased) {
        NAME(count_haplotypes)(t, row, column, &counts);
    } else {
        NAME(count_genotypes)(t, row, column, 0, counts.all);
        if (t->form->has_single) {
            NAME(count_genotypes)(t, row, column, 1, counts.diploid);
            NAME(count_single)(t, row, column, counts.haplotypes);
        } else {
            memcpy(counts.diploid, counts.all, sizeof counts.all);
        }
    }
    out->row = (uint32_t)i;
    out->column = (uint32_t)j;
    return ld_weigh(&counts, t->form->is_phased != 0, t->rule, out);
}

/* Rows from t->row on by columns from t->column on; what is kept goes to `found`. */
TARGET static uint64_t NAME(rows_by_strip)(struct task *t, const uint64_t *begin,
                                           const uint64_t *end, struct bk_ld_pair *found) {
    uint8_t picked[ROWS_AT_ONCE * STRIP];
    uint64_t n_found = 0;
    NAME(pick)(t, picked);
    for (uint64_t k = 0; k < ROWS_AT_ONCE; k++) {
        uint64_t i = t->row + k;
        uint64_t first = begin[i] > t->column ? begin[i] - t->column : 0;
        uint64_t stop = end[i] > t->column ? end[i] - t->column : 0;
        if (stop > t->n_columns) stop = t->n_columns;
        for (uint64_t j = first; j < stop; j++)
            if (picked[k * STRIP + j])
                n_found += (uint64_t)NAME(weigh)(t, i, t->column + j, found + n_found);
    }
    return n_found;
}
