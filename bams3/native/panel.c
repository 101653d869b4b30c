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

/* Where BCF has the calls of a site: n values for each sample, of 1, 2 or 4 bytes (type 1, 2, 3). A
 * value is (allele + 1) << 1 | phased, 0 or 1 an unknown allele; the smallest number of the type is
 * one too, and the next stands behind the last allele. */
struct bk_bcf_calls {
    uint64_t at;
    uint32_t type;
    uint32_t n;
    int32_t n_alleles;
    int32_t alt;
};

enum { VALUE_MISSING = INT32_MIN, VALUE_END = INT32_MIN + 1 };

static inline int32_t call_value(const uint8_t *p, uint32_t type) {
    if (type == 1) {
        int32_t v = (int8_t)p[0];
        return v > INT8_MIN + 1 ? v : VALUE_MISSING + (v - INT8_MIN);
    }
    if (type == 2) {
        int32_t v = (int16_t)bk_u16(p);
        return v > INT16_MIN + 1 ? v : VALUE_MISSING + (v - INT16_MIN);
    }
    return (int32_t)bk_u32(p);
}

/* The call of one sample; whether its alleles are those of the site. */
static int bcf_call(const uint8_t *p, const struct bk_bcf_calls *calls, struct call *c) {
    int32_t allele[2] = {UNKNOWN, NO_ALLELE}, is_phased = 0;
    uint32_t i, width = calls->n ? 1u << (calls->type - 1) : 0;
    for (i = 0; i < calls->n; i++) {
        int32_t value = call_value(p + i * width, calls->type);
        if (value == VALUE_END) break;
        if (value < 0 && value != VALUE_MISSING) return 0;
        int32_t number = value < 0 ? UNKNOWN : (value >> 1) - 1;
        if (number >= calls->n_alleles) return 0;
        if (i < 2) allele[i] = number;
        if (i == 1) is_phased = value & 1;
    }
    *c = diploid_call(allele[0], allele[1], is_phased, calls->alt);
    if (i > 2) *c = (struct call){0};
    c->polyploid = i > 2;
    return 1;
}

/* Bits 0, 16, 32 and 48 of a word, side by side. */
static inline uint64_t every_16th(uint64_t word) {
    return (word & 0x0001000100010001u) * 0x0001000200040008u >> 48 & 15u;
}

/* One row of planes. */
struct row {
    uint64_t *first, *second, *missing, *haploid, *phased;
};

/* Sets the bits of sample k of a row, whose words are zero, and counts. */
static void put_call(const struct row *row, uint64_t k, const struct call *c, uint64_t *tally) {
    uint64_t word = k / 64, bit = k % 64;
    row->first[word] |= (uint64_t)c->first << bit;
    row->second[word] |= (uint64_t)c->second << bit;
    row->missing[word] |= (uint64_t)c->missing << bit;
    row->haploid[word] |= (uint64_t)c->haploid << bit;
    row->phased[word] |= (uint64_t)c->phased << bit;
    tally[HALF] += c->half;
    tally[UNPHASED] += c->unphased;
    if (c->polyploid && !tally[POLYPLOID]++) tally[CULPRIT] = k;
}

/* A word of a row, 64 samples with two known alleles of two, a byte each: the usual calls. Whether
 * they are; else nothing is changed. */
static int put_usual(const struct row *row, uint64_t word, const uint8_t *p, uint64_t *tally) {
    const uint64_t ones = 0x0101010101010101u;
    uint64_t first = 0, second = 0, known = 0;
    for (unsigned k = 0; k < 64; k += 4, p += 8) {
        uint64_t eight = bk_u32(p) | (uint64_t)bk_u32(p + 4) << 32;
        /* of the values 2 to 5 bit 2 is the allele and the opposite of bit 1, bit 0 the phase */
        if ((eight & 0xf8 * ones) != 0 || ((eight >> 2 ^ eight >> 1) & ones) != ones) return 0;
        first |= every_16th(eight >> 2) << k;
        second |= every_16th(eight >> 10) << k;
        known |= every_16th(eight >> 8) << k;
    }
    row->first[word] = first;
    row->second[word] = second;
    row->phased[word] = (first ^ second) & known;
    tally[UNPHASED] += (uint64_t)__builtin_popcountll((first ^ second) & ~known);
    return 1;
}

/* Rows of planes from the calls of BCF records in buf, whose lengths bk_bcf_scan has checked: row v
 * from calls[v]; calls[v].n 0: nobody has one. samples: which of the n_all samples, in ascending
 * order, are wanted, n of them; NULL: all. The rows, (n + 63) / 64 words each and behind each
 * other, must be zero. Out: the planes, the samples with two different alleles of known phase, and
 * TALLIES counts a row; where: the row with an error, whose CULPRIT is the sample. */
BK_EXPORT int bk_bcf_pack(const uint8_t *buf, uint64_t n_rows, const struct bk_bcf_calls *calls,
                          const uint32_t *samples, uint64_t n, uint64_t *first, uint64_t *second,
                          uint64_t *missing, uint64_t *haploid, uint64_t *phased, uint64_t *tally,
                          uint64_t *where) {
    uint64_t words = (n + 63) / 64;
    for (uint64_t v = 0; v < n_rows; v++, tally += TALLIES) {
        const struct row row = {first + v * words, second + v * words, missing + v * words,
                                haploid + v * words, phased + v * words};
        uint64_t size = calls[v].n ? (uint64_t)calls[v].n << (calls[v].type - 1) : 0;
        int is_usual = size == 2 && calls[v].type == 1 && calls[v].n_alleles == 2 && !samples;
        *where = v;
        for (int i = 0; i < TALLIES; i++) tally[i] = 0;
        for (uint64_t k = 0; k < n; k++) {
            const uint8_t *p = buf + calls[v].at + (samples ? samples[k] : k) * size;
            struct call c;
            if (is_usual && n - k >= 64 && k % 64 == 0 && put_usual(&row, k / 64, p, tally)) {
                k += 63;
                continue;
            }
            if (!bcf_call(p, &calls[v], &c)) {
                tally[CULPRIT] = k;
                return BK_ERR_BAD_CODE;
            }
            put_call(&row, k, &c, tally);
        }
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
