/* Tables of counts, as the tests of homogeneity see them (chi2.c, enumerate.c, permute.c).
 *
 * A table has rows (batches) by columns (genotypes). Its row and column totals are its margins; how
 * far it is from what they make one expect is Pearson's statistic, sum of (count - expected)^2 /
 * expected. With the margins fixed that grows with
 *
 *     spread = sum over cells of count^2 / (row total * column total) = 1 + statistic / total,
 *
 * which is what is compared here, between tables of the same margins.
 */
#ifndef BAMS3_TABLES_H
#define BAMS3_TABLES_H

#include "kernels.h"

/* Spreads closer than this, of the observed one, are equal: what one table gives in another order
 * of its rows differs by a few 2^-52. */
#define SPREAD_TOLERANCE 1e-12

/* A table without empty rows and columns; columns ascend by their totals. */
struct margins {
    uint64_t n_rows, n_columns;
    const int32_t *row;      /* (n_rows) their totals */
    const int64_t *column;   /* (n_columns) */
    const double *per_row;   /* (n_rows) 1 / total */
    const double *per_column; /* (n_columns) */
    int64_t total;
    double observed;         /* spread of the table that was seen, less the tolerance */
};

/* Share of the tables with these margins whose spread is at least the observed one, each table
 * weighed by its probability where both margins are fixed. `state`: 4 x n_rows doubles. */
double bk_enumerate(const struct margins *m, double *state);

/* How many of at most max_draws random tables with these margins are as far out as the observed
 * one; stops when that are stop_at, if it is not 0. */
struct permuted {
    uint64_t draws, exceedances;
};
struct permuted bk_permute(const struct margins *m, const uint64_t seed[4], uint64_t max_draws,
                           uint64_t stop_at, uint8_t *work);
uint64_t bk_permute_bytes(uint64_t n_rows);

#endif
