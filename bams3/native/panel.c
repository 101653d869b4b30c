/* Genotypes of a panel as planes of bits: bit k % 64 of word k / 64 belongs to sample k.
 *
 * A row is one alternate allele of one site. `first` and `second` have a bit where the sample's
 * first and second allele is that one, `missing` where an allele of the sample is not known (its
 * other bits are zero then), `haploid` where it has one allele only.
 */
#include "kernels.h"

enum { NO_ALLELE = -2, UNKNOWN = -1 };

/* What bk_calls_pack counts, in uint64_t of a tally. */
enum {
    HALF = 0,      /* samples of whose alleles some are missing, not all */
    UNPHASED = 1,  /* samples with two different alleles whose phase is not known */
    POLYPLOID = 2, /* samples with three alleles or more */
    CULPRIT = 3,   /* the first of those, or where a status is not BK_OK */
    TALLIES = 4
};

/* A sample's call: which of its bits are set, and what is to be counted. */
struct call {
    uint32_t first, second, missing, haploid, half, phased, unphased, polyploid;
};

/* The call of two alleles a and b, which may be NO_ALLELE or UNKNOWN. */
static inline struct call diploid_call(int32_t a, int32_t b, int32_t is_phased, int32_t alt) {
    struct call c;
    uint32_t one = b == NO_ALLELE, known = (a >= 0) & ((b >= 0) | one);
    c.missing = !known;
    c.first = known & (a == alt);
    c.second = known & (b == alt);
    c.haploid = known & one;
    c.half = c.missing & ((a >= 0) | (b >= 0));
    c.phased = known & !one & (a != b) & (is_phased != 0);
    c.unphased = known & !one & (a != b) & (is_phased == 0);
    c.polyploid = 0;
    return c;
}

/* The call of any number of alleles. */
static struct call any_call(const int16_t *alleles, uint64_t ploidy, int32_t is_phased,
                            int32_t alt) {
    uint64_t n = 0;
    while (n < ploidy && alleles[n] != NO_ALLELE) n++;
    if (n <= 2) {
        struct call c = diploid_call(n > 0 ? alleles[0] : UNKNOWN, n > 1 ? alleles[1] : NO_ALLELE,
                                     is_phased, alt);
        return c;
    }
    struct call c = {0};
    c.polyploid = 1;
    return c;
}

/* One row of planes from the calls of a site: n samples of `width` numbers, which are ploidy =
 * width - 1 alleles (0 the reference, UNKNOWN, NO_ALLELE behind the last one) and whether they are
 * phased. A row has (n + 63) / 64 words. n_alleles: of the site. Out: the row of each plane, the
 * samples that have two different alleles of known phase, and TALLIES counts. */
BK_EXPORT int bk_calls_pack(uint64_t n, uint64_t width, const int16_t *calls, int32_t n_alleles,
                            int32_t alt, uint64_t *first, uint64_t *second, uint64_t *missing,
                            uint64_t *haploid, uint64_t *phased, uint64_t *tally) {
    uint64_t ploidy = width - 1;
    if (width < 2) return BK_ERR_COLUMN_LENGTH;
    for (int i = 0; i < TALLIES; i++) tally[i] = 0;
    for (uint64_t begin = 0, word = 0; begin < n; begin += 64, word++) {
        uint64_t count = n - begin < 64 ? n - begin : 64;
        uint64_t f = 0, s = 0, m = 0, h = 0, p = 0;
        for (uint64_t k = 0; k < count; k++) {
            const int16_t *call = calls + (begin + k) * width;
            for (uint64_t i = 0; i < ploidy; i++) {
                if (call[i] >= n_alleles || call[i] < NO_ALLELE) {
                    tally[CULPRIT] = begin + k;
                    return BK_ERR_BAD_CODE;
                }
            }
            struct call c = ploidy == 2 && call[0] != NO_ALLELE
                                ? diploid_call(call[0], call[1], call[2], alt)
                                : any_call(call, ploidy, call[ploidy], alt);
            f |= (uint64_t)c.first << k;
            s |= (uint64_t)c.second << k;
            m |= (uint64_t)c.missing << k;
            h |= (uint64_t)c.haploid << k;
            p |= (uint64_t)c.phased << k;
            tally[HALF] += c.half;
            tally[UNPHASED] += c.unphased;
            if (c.polyploid && !tally[POLYPLOID]++) tally[CULPRIT] = begin + k;
        }
        first[word] = f;
        second[word] = s;
        missing[word] = m;
        haploid[word] = h;
        phased[word] = p;
    }
    return BK_OK;
}

/* Bits set in each of n rows of `words` words. Out: counts (n). */
BK_EXPORT int bk_plane_counts(uint64_t n, uint64_t words, const uint64_t *plane, uint64_t *counts) {
    for (uint64_t v = 0; v < n; v++) {
        uint64_t sum = 0;
        for (uint64_t i = 0; i < words; i++)
            sum += (uint64_t)__builtin_popcountll(plane[v * words + i]);
        counts[v] = sum;
    }
    return BK_OK;
}
