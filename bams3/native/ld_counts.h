/* Sums over items, for ROWS_AT_ONCE rows by a strip of columns, in each set of instructions.
 *
 * sums_*() writes for each row and column how many bits their planes have in common; or, with
 * is_product, sum(xy) of values whose planes `ends` and `plus` lie one behind the other:
 * what both ends have in common, less twice where one of them is plus and the other is not.
 * `words` are those of one plane; groups of columns come in pairs.
 */
#ifndef BAMS3_LD_COUNTS_H
#define BAMS3_LD_COUNTS_H

#include <string.h>

#include "ld.h"

#define POPCOUNT(x) ((uint32_t)__builtin_popcountll(x))

struct ld_sums {
    const uint64_t *rows, *columns;
    uint64_t row_stride, group_stride; /* words from a row to the next; from a group of columns */
    uint64_t words, groups;
};

/* ---- a word at a time ---- */

#define SUMS_OF_WORDS(name, target)                                                                \
    target static inline void name(struct ld_sums s, uint32_t *out, int is_product) {              \
        for (uint64_t g = 0; g < s.groups; g++)                                                    \
            for (uint64_t k = 0; k < ROWS_AT_ONCE; k++) {                                          \
                const uint64_t *row = s.rows + k * s.row_stride;                                   \
                const uint64_t *column = s.columns + g * s.group_stride;                           \
                uint32_t sum[LANES] = {0};                                                         \
                for (uint64_t w = 0; w < s.words; w++)                                             \
                    for (uint64_t l = 0; l < LANES; l++) {                                         \
                        uint64_t both = row[w] & column[LANES * w + l];                            \
                        sum[l] += POPCOUNT(both);                                                  \
                        if (!is_product) continue;                                                 \
                        both &= row[s.words + w] ^ column[LANES * (s.words + w) + l];              \
                        sum[l] -= 2 * POPCOUNT(both);                                              \
                    }                                                                              \
                memcpy(out + k * STRIP + g * LANES, sum, sizeof sum);                              \
            }                                                                                      \
    }

SUMS_OF_WORDS(sums_plain, )

#if defined(__x86_64__) && defined(__GNUC__)
#define LD_X86
#include <immintrin.h>

#define WITH_POPCNT __attribute__((target("popcnt")))
#define WITH_AVX2 __attribute__((target("popcnt,avx2")))
#define WITH_AVX512 __attribute__((target("popcnt,avx512f,avx512vl,avx512vpopcntdq")))

SUMS_OF_WORDS(sums_popcnt, WITH_POPCNT)

/* ---- AVX2: bits of half bytes by look-up (Mula), bytes added up while they cannot overflow ----
 */

#define WORDS_IN_BYTES 31u /* 31 times 8 */

WITH_AVX2 static inline __m256i bits_of_bytes(__m256i x) {
    const __m256i low = _mm256_set1_epi8(15);
    const __m256i bits = _mm256_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4, 0, 1, 1,
                                          2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4);
    __m256i high = _mm256_and_si256(_mm256_srli_epi16(x, 4), low);
    return _mm256_add_epi8(_mm256_shuffle_epi8(bits, _mm256_and_si256(x, low)),
                           _mm256_shuffle_epi8(bits, high));
}

WITH_AVX2 static inline __m256i load4(const uint64_t *p) {
    return _mm256_loadu_si256((const __m256i *)(const void *)p);
}

/* One row by half a group. */
WITH_AVX2 static inline void sums_of_four(struct ld_sums s, const uint64_t *row,
                                          const uint64_t *column, uint32_t *out, int is_product) {
    const __m256i zero = _mm256_setzero_si256();
    __m256i sum = zero;
    for (uint64_t w = 0; w < s.words;) {
        __m256i plus = zero, minus = zero;
        uint64_t stop = w + WORDS_IN_BYTES < s.words ? w + WORDS_IN_BYTES : s.words;
        for (; w < stop; w++) {
            __m256i both =
                _mm256_and_si256(_mm256_set1_epi64x((int64_t)row[w]), load4(column + LANES * w));
            plus = _mm256_add_epi8(plus, bits_of_bytes(both));
            if (!is_product) continue;
            __m256i other = _mm256_xor_si256(_mm256_set1_epi64x((int64_t)row[s.words + w]),
                                             load4(column + LANES * (s.words + w)));
            minus = _mm256_add_epi8(minus, bits_of_bytes(_mm256_and_si256(both, other)));
        }
        sum = _mm256_add_epi64(sum, _mm256_sad_epu8(plus, zero));
        if (!is_product) continue;
        __m256i less = _mm256_sad_epu8(minus, zero);
        sum = _mm256_sub_epi64(sum, _mm256_add_epi64(less, less));
    }
    uint64_t sums[4];
    _mm256_storeu_si256((__m256i *)(void *)sums, sum);
    for (unsigned l = 0; l < 4; l++) out[l] = (uint32_t)sums[l];
}

WITH_AVX2 static inline void sums_avx2(struct ld_sums s, uint32_t *out, int is_product) {
    for (uint64_t g = 0; g < s.groups; g++)
        for (uint64_t k = 0; k < ROWS_AT_ONCE; k++)
            for (uint64_t half = 0; half < LANES; half += 4)
                sums_of_four(s, s.rows + k * s.row_stride, s.columns + g * s.group_stride + half,
                             out + k * STRIP + g * LANES + half, is_product);
}

/* ---- AVX-512: one popcount instruction for the words of a group ---- */

WITH_AVX512 static inline void sums_avx512(struct ld_sums s, uint32_t *out, int is_product) {
    for (uint64_t g = 0; g < s.groups; g += 2) {
        const uint64_t *first = s.columns + g * s.group_stride, *second = first + s.group_stride;
        __m512i sum[ROWS_AT_ONCE][2], less[ROWS_AT_ONCE][2];
        for (unsigned k = 0; k < ROWS_AT_ONCE; k++)
            for (unsigned h = 0; h < 2; h++) sum[k][h] = less[k][h] = _mm512_setzero_si512();
        for (uint64_t w = 0; w < s.words; w++) {
            uint64_t v = s.words + w;
            __m512i a[2] = {_mm512_loadu_si512(first + LANES * w),
                            _mm512_loadu_si512(second + LANES * w)};
            __m512i b[2];
            if (is_product) {
                b[0] = _mm512_loadu_si512(first + LANES * v);
                b[1] = _mm512_loadu_si512(second + LANES * v);
            }
#pragma GCC unroll 4
            for (unsigned k = 0; k < ROWS_AT_ONCE; k++) {
                __m512i row = _mm512_set1_epi64((int64_t)s.rows[k * s.row_stride + w]);
                __m512i both[2] = {_mm512_and_si512(row, a[0]), _mm512_and_si512(row, a[1])};
                sum[k][0] = _mm512_add_epi64(sum[k][0], _mm512_popcnt_epi64(both[0]));
                sum[k][1] = _mm512_add_epi64(sum[k][1], _mm512_popcnt_epi64(both[1]));
                if (!is_product) continue;
                row = _mm512_set1_epi64((int64_t)s.rows[k * s.row_stride + v]);
                for (unsigned h = 0; h < 2; h++) { /* 0x28: the third, where the others differ */
                    __m512i apart = _mm512_ternarylogic_epi64(row, b[h], both[h], 0x28);
                    less[k][h] = _mm512_add_epi64(less[k][h], _mm512_popcnt_epi64(apart));
                }
            }
        }
        for (unsigned k = 0; k < ROWS_AT_ONCE; k++)
            for (unsigned h = 0; h < 2; h++) {
                __m512i x = _mm512_sub_epi64(sum[k][h], _mm512_slli_epi64(less[k][h], 1));
                _mm256_storeu_si256((__m256i *)(void *)(out + k * STRIP + (g + h) * LANES),
                                    _mm512_cvtepi64_epi32(x));
            }
    }
}

#elif defined(__aarch64__)
#define LD_NEON
#include <arm_neon.h>

#define WORDS_IN_BYTES 31u /* 31 times 8 */

/* One row by two columns. */
static inline uint64x2_t sums_of_two(struct ld_sums s, const uint64_t *row, const uint64_t *column,
                                     int is_product) {
    uint64x2_t sum = vdupq_n_u64(0);
    for (uint64_t w = 0; w < s.words;) {
        uint8x16_t plus = vdupq_n_u8(0), minus = plus;
        uint64_t stop = w + WORDS_IN_BYTES < s.words ? w + WORDS_IN_BYTES : s.words;
        for (; w < stop; w++) {
            uint64x2_t both = vandq_u64(vdupq_n_u64(row[w]), vld1q_u64(column + LANES * w));
            plus = vaddq_u8(plus, vcntq_u8(vreinterpretq_u8_u64(both)));
            if (!is_product) continue;
            uint64x2_t other =
                veorq_u64(vdupq_n_u64(row[s.words + w]), vld1q_u64(column + LANES * (s.words + w)));
            minus = vaddq_u8(minus, vcntq_u8(vreinterpretq_u8_u64(vandq_u64(both, other))));
        }
        sum = vaddq_u64(sum, vpaddlq_u32(vpaddlq_u16(vpaddlq_u8(plus))));
        uint64x2_t less = vpaddlq_u32(vpaddlq_u16(vpaddlq_u8(minus)));
        sum = vsubq_u64(sum, vaddq_u64(less, less));
    }
    return sum;
}

static inline void sums_neon(struct ld_sums s, uint32_t *out, int is_product) {
    for (uint64_t g = 0; g < s.groups; g++)
        for (uint64_t k = 0; k < ROWS_AT_ONCE; k++)
            for (uint64_t l = 0; l < LANES; l += 2) {
                uint64x2_t sum = sums_of_two(s, s.rows + k * s.row_stride,
                                             s.columns + g * s.group_stride + l, is_product);
                uint32_t *to = out + k * STRIP + g * LANES + l;
                to[0] = (uint32_t)vgetq_lane_u64(sum, 0);
                to[1] = (uint32_t)vgetq_lane_u64(sum, 1);
            }
}
#endif

#endif
