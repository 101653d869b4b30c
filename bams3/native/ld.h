/* Pairs of variants as bits (ld.c, ld_counts.h, ld_pair.c).
 *
 * A variant gives every item a value x, or none where the genotype is missing:
 *
 *     phased    items are haplotypes; x = 1 for ALT, 0 for REF
 *     unphased  items are samples; x = number of ALT alleles - 1, a haploid one has 0 or 1 alleles
 *
 * as planes of bits, `words` words each: phased `ones` (x = 1), twice the samples' words, the first
 * haplotypes before the second ones; unphased `ends` (x = 1 or -1) and `plus` (x = 1). Then, in
 * tiles where some x is missing, `known` (there is an x); and in unphased ones with haploid calls
 * `single`.
 *
 * With n, the sums of x and of x^2 over the items that both variants know,
 *
 *     r^2 = (n sum(xy) - sum(x) sum(y))^2 / ((n sum(x^2) - sum(x)^2) (n sum(y^2) - sum(y)^2)).
 *
 * Rows of a tile hold a variant's words one after another; columns hold LANES variants side by
 * side: word by word, the LANES variants' words of it.
 */
#ifndef BAMS3_LD_H
#define BAMS3_LD_H

#include "kernels.h"

#define LANES 8u
#define ROWS_AT_ONCE 4u
#define STRIP 128u /* columns that lie in the second cache while rows pass by */

struct bk_ld_side {
    uint64_t n; /* variants: of rows a multiple of ROWS_AT_ONCE, of columns of 2 LANES */
    const uint64_t *words;
    const double *sum, *spread; /* of x; and n sum(x^2) - sum(x)^2, over all that know x */
    const uint8_t *is_partial;  /* whether an item has no value */
};

struct bk_ld_form {
    uint64_t samples, is_phased, has_known, has_single;
};

/* Pairs that are kept: r^2 >= num / den, P <= max_p; of haplotypes that EM finds where `is_em`. */
struct bk_ld_rule {
    uint64_t num, den;
    double max_p;
    uint64_t is_em;
};

struct bk_ld_pair {
    uint32_t row, column;
    uint64_t n; /* samples that both variants know */
    double r, r2, d, dprime, p;
    double haplotypes[4]; /* REF REF, REF ALT, ALT REF, ALT ALT */
};

/* What two variants have in common, by numbers of ALT alleles. */
struct ld_counts {
    uint64_t samples;
    uint64_t all[3][3], diploid[3][3]; /* unphased: samples; and those where both are diploid */
    uint64_t haplotypes[2][2];         /* phased, or of samples where both are haploid */
};

/* Statistics of a pair, if the rule keeps it (ld_pair.c). */
int ld_weigh(const struct ld_counts *counts, int is_phased, const struct bk_ld_rule *rule,
             struct bk_ld_pair *pair);

#endif
