/* Tables of counts, as the tests of homogeneity see them (chi2.c, enumerate.c, permute.c).
 *
 * A table has rows (batches) by columns (genotypes); its margins are the totals of both. How far it
 * is from what the margins make one expect is Pearson's statistic, the sum over cells of
 * (count - expected)^2 / expected. Between tables of the same margins it grows with
 *
 *     spread = sum of count^2 / (row total * column total) = 1 + statistic / total,
 *
 * which is what is compared here.
 */
#ifndef BAMS3_TABLES_H
#define BAMS3_TABLES_H

#include "kernels.h"

#define MAX_COLUMNS 4u

/* Spreads that differ by less, relatively, are equal: the same counts added up in another order
 * differ by some 2^-52. */
#define SPREAD_TOLERANCE 1e-12

/* A table without empty rows and columns. `lines` are its rows and `stacks` its columns, or the
 * other way round; the largest stack comes last. */
struct margins {
    uint64_t lines, stacks;
    const int64_t *line, *stack;        /* their totals */
    const double *per_line, *per_stack; /* 1 / total */
    int64_t total;
    double far; /* spread from which on a table counts */
};

/* Share of all tables with these margins that are far, each weighed by its probability when both
 * margins are fixed; `empty` has room for a double a line. */
double enumerate_tables(const struct margins *m, double *empty);

struct drawn {
    uint64_t draws, far;
};

/* Draw random tables with these margins (at most MAX_COLUMNS stacks) until stop_at of them are far
 * (0: never), or max_draws are drawn. `work` is of permute_bytes(lines). */
struct drawn draw_tables(const struct margins *m, const uint64_t seed[4], uint64_t max_draws,
                         uint64_t stop_at, uint8_t *work);
uint64_t permute_bytes(uint64_t lines);

#endif
