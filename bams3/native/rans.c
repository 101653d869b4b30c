/* Frame method 3: static rANS of order 0, four states that take turns.
 *
 *   u1 symbols - 1 | for each, ascending: u1 symbol, frequency | 4 states, u4 each | words, u2 each
 *
 * A frequency below 128 is one byte, others two: 128 | f >> 8, then f & 255. State i takes the
 * symbols whose number is i modulo 4; all read words from the one run.
 */
#include "rans.h"

#include <string.h>

#define N_STATES 4u

BK_EXPORT int bk_histogram(const uint8_t *data, uint64_t n, uint32_t *counts) {
    /* Four tables: equal neighbours would wait for one counter. */
    uint32_t more[3][256] = {{0}};
    memset(counts, 0, 256 * sizeof *counts);
    if (n > UINT32_MAX) return BK_ERR_TOO_MANY;
    uint64_t i = 0;
    for (; i + 4 <= n; i += 4) {
        counts[data[i]]++;
        more[0][data[i + 1]]++;
        more[1][data[i + 2]]++;
        more[2][data[i + 3]]++;
    }
    for (; i < n; i++) counts[data[i]]++;
    for (unsigned s = 0; s < 256; s++) counts[s] += more[0][s] + more[1][s] + more[2][s];
    return BK_OK;
}

/* Frequencies that add up to 4,096, none of a symbol that occurs 0; all 0 where nothing occurs.
 * Each is rounded; the most frequent symbol takes what is over, the largest give what lacks. */
void bk_rans_normalise(const uint32_t *counts, uint32_t n_symbols, uint16_t *freq) {
    uint64_t sum = 0;
    int64_t left = RANS_TOTAL;
    uint32_t most = 0;
    for (uint32_t s = 0; s < n_symbols; s++) sum += counts[s];
    for (uint32_t s = 0; s < n_symbols; s++) {
        freq[s] = 0;
        if (counts[s] == 0) continue;
        uint64_t f = ((uint64_t)counts[s] * RANS_TOTAL + sum / 2) / sum;
        freq[s] = (uint16_t)(f ? f : 1);
        left -= freq[s];
        if (counts[s] > counts[most]) most = s;
    }
    while (left < 0) {
        uint32_t largest = 0;
        for (uint32_t s = 0; s < n_symbols; s++)
            if (freq[s] > freq[largest]) largest = s;
        int64_t give = freq[largest] / 2 < -left ? freq[largest] / 2 : -left;
        freq[largest] = (uint16_t)(freq[largest] - give);
        left += give;
    }
    if (sum) freq[most] = (uint16_t)(freq[most] + left);
}

static uint8_t *put_table(const uint16_t *freq, uint8_t *p) {
    uint8_t *n_symbols = p++;
    unsigned n = 0;
    for (unsigned s = 0; s < 256; s++) {
        if (!freq[s]) continue;
        *p++ = (uint8_t)s;
        if (freq[s] > 127) *p++ = (uint8_t)(128 | freq[s] >> 8);
        *p++ = (uint8_t)freq[s];
        n++;
    }
    *n_symbols = (uint8_t)(n - 1);
    return p;
}

/* Room beyond the result: that of the words that four symbols may put. */
#define SPARE 8u

/* Encode data; counts is its histogram. Out: packed (room bytes) and packed_bytes; 0 bytes
 * where it does not fit, so that the caller asks for no more than what would be worth it. */
BK_EXPORT int bk_rans_encode(const uint8_t *data, uint64_t n, const uint32_t *counts, uint64_t room,
                             uint8_t *packed, uint64_t *packed_bytes) {
    uint16_t freq[256];
    struct rans_symbol symbols[256];
    uint8_t table[1 + 3 * 256];
    uint32_t state[N_STATES], before = 0;
    *packed_bytes = 0;
    if (n == 0) return BK_OK;
    bk_rans_normalise(counts, 256, freq);
    for (unsigned s = 0; s < 256; s++) {
        if (freq[s]) symbols[s] = rans_symbol(freq[s], before);
        before += freq[s];
    }
    uint64_t head = (uint64_t)(put_table(freq, table) - table) + 4 * N_STATES;
    if (room < head + SPARE) return BK_OK;
    uint8_t *end = packed + room, *word = end, *floor = packed + head + SPARE;
    for (unsigned k = 0; k < N_STATES; k++) state[k] = RANS_LOW;
    uint64_t i = n;
    for (; i & 3; i--) {
        if (word < floor) return BK_OK;
        state[(i - 1) & 3] = rans_put(state[(i - 1) & 3], &symbols[data[i - 1]], &word);
    }
    uint32_t x0 = state[0], x1 = state[1], x2 = state[2], x3 = state[3];
    for (; i; i -= 4) {
        if (word < floor) return BK_OK;
        x3 = rans_put(x3, &symbols[data[i - 1]], &word);
        x2 = rans_put(x2, &symbols[data[i - 2]], &word);
        x1 = rans_put(x1, &symbols[data[i - 3]], &word);
        x0 = rans_put(x0, &symbols[data[i - 4]], &word);
    }
    state[0] = x0, state[1] = x1, state[2] = x2, state[3] = x3;
    memcpy(packed, table, head - 4 * N_STATES);
    for (unsigned k = 0; k < N_STATES; k++)
        bk_put_u32(packed + head - 4 * (N_STATES - k), state[k]);
    memmove(packed + head, word, (size_t)(end - word));
    *packed_bytes = head + (uint64_t)(end - word);
    return BK_OK;
}

/* Table of 4,096 slots: symbol << 24 | f - 1 << 12 | slot - c. Out: at, the bytes that it took. */
static int get_table(const uint8_t *packed, uint64_t bytes, uint32_t *slots, uint64_t *at) {
    uint32_t sum = 0;
    int last = -1;
    unsigned n = bytes ? packed[0] + 1u : 0;
    *at = bytes > 0;
    for (unsigned i = 0; i < n; i++) {
        if (bytes - *at < 3) return BK_ERR_SHORT_STREAM;
        uint32_t symbol = packed[*at], f = packed[*at + 1];
        *at += 2;
        if (f > 127) f = (f & 127) << 8 | packed[(*at)++];
        if (f == 0 || f > RANS_TOTAL - sum || (int)symbol <= last) return BK_ERR_BAD_FREQUENCIES;
        for (uint32_t k = 0; k < f; k++) slots[sum + k] = symbol << 24 | (f - 1) << 12 | k;
        sum += f;
        last = (int)symbol;
    }
    return sum == RANS_TOTAL ? BK_OK : BK_ERR_BAD_FREQUENCIES;
}

/* One step; the word at *p is read whether it is needed or not. */
static inline uint8_t get_symbol(const uint32_t *slots, uint32_t *state, const uint8_t **p) {
    uint32_t e = slots[*state & (RANS_TOTAL - 1)];
    uint32_t x = ((e >> 12 & 4095) + 1) * (*state >> RANS_BITS) + (e & 4095);
    uint32_t low = x < RANS_LOW;
    *state = low ? x << 16 | bk_u16(*p) : x;
    *p += 2 * low;
    return (uint8_t)(e >> 24);
}

/* Decode exactly n bytes from exactly packed_bytes. Out: data (n). */
BK_EXPORT int bk_rans_decode(const uint8_t *packed, uint64_t packed_bytes, uint64_t n,
                             uint8_t *data, uint64_t *where) {
    uint32_t slots[RANS_TOTAL], x[N_STATES];
    *where = 0;
    int status = get_table(packed, packed_bytes, slots, where);
    if (status) return status;
    if (packed_bytes - *where < 4 * N_STATES) return BK_ERR_SHORT_STREAM;
    for (unsigned k = 0; k < N_STATES; k++, *where += 4) x[k] = bk_u32(packed + *where);
    const uint8_t *p = packed + *where, *end = packed + packed_bytes;
    uint64_t i = 0;
    uint32_t x0 = x[0], x1 = x[1], x2 = x[2], x3 = x[3];
    for (; n - i >= N_STATES && end - p >= (int)SPARE; i += N_STATES) {
        data[i] = get_symbol(slots, &x0, &p);
        data[i + 1] = get_symbol(slots, &x1, &p);
        data[i + 2] = get_symbol(slots, &x2, &p);
        data[i + 3] = get_symbol(slots, &x3, &p);
    }
    x[0] = x0, x[1] = x1, x[2] = x2, x[3] = x3;
    for (; i < n; i++) {
        uint8_t last[2] = {0}; /* what is behind the end, if a word is missing */
        const uint8_t *word = end - p >= 2 ? p : last;
        data[i] = get_symbol(slots, x + (i & 3), &word);
        if (word == last + 2) {
            *where = packed_bytes;
            return BK_ERR_SHORT_STREAM;
        }
        if (end - p >= 2) p = word;
    }
    *where = (uint64_t)(p - packed);
    for (unsigned k = 0; k < N_STATES; k++)
        if (x[k] != RANS_LOW) return BK_ERR_LONG_STREAM;
    return p == end ? BK_OK : BK_ERR_LONG_STREAM;
}
