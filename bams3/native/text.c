/* Text of tables: rows of numbers behind a name, as fast as they can be compressed. */
#include "kernels.h"

/* The longest number: a sign, 19 digits, a point. */
#define NUMBER_BYTES 21u

static uint64_t put_number(uint8_t *to, int64_t value, uint32_t decimals) {
    uint8_t digits[NUMBER_BYTES];
    uint64_t n = 0, at = 0, rest = value < 0 ? (uint64_t) - (value + 1) + 1 : (uint64_t)value;
    do {
        digits[n++] = (uint8_t)('0' + rest % 10);
        rest /= 10;
        if (n == decimals) digits[n++] = '.';
    } while (rest || n <= decimals + (decimals != 0));
    if (value < 0) to[at++] = '-';
    while (n) to[at++] = digits[--n];
    return at;
}

/* Lines of n_columns numbers behind a prefix, tabs between them: numbers[c * n_rows + r], which
 * stand for value / 10^decimals[c] (at most 9). out holds n_rows * (prefix_len + 22 * n_columns +
 * 1). */
BK_EXPORT int bk_format_rows(const uint8_t *prefix, uint64_t prefix_len, uint64_t n_rows,
                             uint64_t n_columns, const int64_t *numbers, const uint32_t *decimals,
                             uint64_t out_len, uint8_t *out, uint64_t *written) {
    uint64_t at = 0, row_bytes = prefix_len + (NUMBER_BYTES + 1) * n_columns + 1;
    for (uint64_t r = 0; r < n_rows; r++) {
        if (out_len - at < row_bytes) return BK_ERR_TOO_MANY;
        for (uint64_t i = 0; i < prefix_len; i++) out[at++] = prefix[i];
        for (uint64_t c = 0; c < n_columns; c++) {
            out[at++] = '\t';
            at += put_number(out + at, numbers[c * n_rows + r], decimals[c]);
        }
        out[at++] = '\n';
    }
    *written = at;
    return BK_OK;
}
