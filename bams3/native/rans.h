/* Static range asymmetric numeral systems (J. Duda, arXiv:1311.2540), shared by rans.c and quals.c.
 *
 * Frequencies add up to 4,096. A state x lies in [2^15, 2^31) between symbols; words have 16 bits.
 *   encode s:  while x >= f << 19: put word x & 0xffff, x >>= 16;  x = (x / f << 12) + x % f + c
 *   decode:    s = symbol at x & 4095;  x = f * (x >> 12) + (x & 4095) - c;  x < 2^15: x = x << 16
 * | word f is the frequency of s, c the sum of those before it. Encoding runs backwards, from x =
 * 2^15; what it puts last, the decoder reads first, and it ends with x = 2^15.
 */
#ifndef BAMS3_RANS_H
#define BAMS3_RANS_H

#include "kernels.h"

#define RANS_BITS 12u
#define RANS_TOTAL (1u << RANS_BITS)
#define RANS_LOW (1u << 15)

/* Encoding of a symbol without a division: x / f is (x * reciprocal) >> 32 >> shift for x < 2^31
 * (Alverson, "Integer division using reciprocals", ARITH 1991). */
struct rans_symbol {
    uint32_t limit; /* a state from here on must put a word first */
    uint32_t reciprocal;
    uint32_t bias;
    uint16_t complement; /* 4,096 - f */
    uint16_t shift;
};

static inline struct rans_symbol rans_symbol(uint32_t freq, uint32_t before) {
    struct rans_symbol s = {.limit = freq << (31 - RANS_BITS),
                            .complement = (uint16_t)(RANS_TOTAL - freq)};
    if (freq <
        2) { /* x / 1 as x - 1 and the difference in the bias: 2^32 is no 32-bit reciprocal */
        s.reciprocal = UINT32_MAX;
        s.bias = before + RANS_TOTAL - 1;
        return s;
    }
    uint32_t shift = 1;
    while (freq > 1u << shift) shift++;
    s.reciprocal = (uint32_t)((((uint64_t)1 << (shift + 31)) + freq - 1) / freq);
    s.bias = before;
    s.shift = (uint16_t)(shift - 1);
    return s;
}

/* Encode one symbol; words are put below *word, where the caller keeps room for one, which is
 * written whether it is needed or not: there is no branch to guess. */
static inline uint32_t rans_put(uint32_t x, const struct rans_symbol *s, uint8_t **word) {
    uint32_t full = x >= s->limit;
    bk_put_u16(*word - 2, x & 0xffffu);
    *word -= 2 * full;
    x >>= 16 * full;
    uint32_t quotient = (uint32_t)((uint64_t)x * s->reciprocal >> 32) >> s->shift;
    return x + s->bias + quotient * s->complement;
}

/* rans.c */
void bk_rans_normalise(const uint32_t *counts, uint32_t n_symbols, uint16_t *freq);

#endif
