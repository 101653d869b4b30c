/* Read names as fields: what stands between separators, each field a stream of its own.
 *
 *   HWI-ST1:134:C0D8DACXX:2:1101:2458:142498
 *   ^text   ^numbers or texts ...            separators  - : : : : : :
 *
 * A row group has one template: the separators, and which fields are numbers. A name that fits it
 * is regular; all others are kept as they are.
 */
#include "kernels.h"

#include <string.h>

#define MAX_FIELDS 16u
#define MAX_TEXTS 64u /* different texts of one field */

static int is_separator(uint8_t c) {
    return c == ':' || c == '_' || c == '.' || c == '/' || c == '#' || c == '|' || c == '-' ||
           c == '+' || c == ' ';
}

/* The value of 1 to 9 digits without a leading zero; -1 for anything else. */
static int64_t parse_number(const uint8_t *text, uint64_t len) {
    int64_t value = 0;
    if (len == 0 || len > 9 || (len > 1 && text[0] == '0')) return -1;
    for (uint64_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9') return -1;
        value = value * 10 + (text[i] - '0');
    }
    return value;
}

/* Cut a name; 0 where it has more fields than there is room for. end[f] is where field f ends. */
static uint32_t cut(const uint8_t *name, uint32_t len, uint32_t *end) {
    uint32_t fields = 0;
    for (uint32_t i = 0; i < len; i++) {
        if (!is_separator(name[i])) continue;
        if (fields + 1 >= MAX_FIELDS) return 0;
        end[fields++] = i;
    }
    end[fields++] = len;
    return fields;
}

/* Make the template of the first name. Out: n_fields (0: none can be made), separators (n_fields -
 * 1 of 16), is_text (n_fields of 16). */
BK_EXPORT int bk_names_template(const uint8_t *name, uint32_t len, uint32_t *n_fields,
                                uint8_t *separators, uint8_t *is_text) {
    uint32_t end[MAX_FIELDS], start = 0;
    *n_fields = cut(name, len, end);
    for (uint32_t f = 0; f < *n_fields; f++) {
        is_text[f] = parse_number(name + start, end[f] - start) < 0;
        if (f + 1 < *n_fields) separators[f] = name[end[f]];
        start = end[f] + 1;
    }
    return BK_OK;
}

/* The texts of a field: where their first occurrences lie in the names, and how long they are. */
struct texts {
    uint64_t at[MAX_TEXTS];
    uint32_t len[MAX_TEXTS];
    uint32_t n;
};

static int64_t find_text(struct texts *texts, const uint8_t *names, uint64_t at, uint32_t len) {
    for (uint32_t i = 0; i < texts->n; i++)
        if (texts->len[i] == len && memcmp(names + texts->at[i], names + at, len) == 0) return i;
    if (texts->n == MAX_TEXTS) return -1;
    texts->at[texts->n] = at;
    texts->len[texts->n] = len;
    return texts->n++;
}

/* Cut names by the template. Out: regular (n); values, n_fields rows of n, of which the first
 * n_regular are used: a number, or the number of a text; rest_len and rest: the irregular names.
 * text_len, text (64 * 255 bytes a field): the texts of each field, n_texts of them. */
BK_EXPORT int bk_names_split(const uint8_t *names, uint64_t names_bytes, const uint32_t *lengths,
                             uint64_t n, uint32_t n_fields, const uint8_t *separators,
                             const uint8_t *is_text, uint8_t *regular, uint32_t *values,
                             uint64_t *n_regular, uint32_t *rest_len, uint8_t *rest,
                             uint64_t *n_rest, uint64_t *rest_bytes, uint64_t *text_at,
                             uint32_t *text_len, uint32_t *n_texts) {
    struct texts texts[MAX_FIELDS];
    uint64_t at = 0, good = 0, bad = 0, bad_bytes = 0;
    if (n_fields > MAX_FIELDS) return BK_ERR_TOO_MANY;
    for (uint32_t f = 0; f < MAX_FIELDS; f++) texts[f].n = 0;
    for (uint64_t i = 0; i < n; i++) {
        uint32_t end[MAX_FIELDS], start = 0, len = lengths[i];
        if (len > names_bytes - at) return BK_ERR_COLUMN_LENGTH;
        int fits = n_fields > 0 && cut(names + at, len, end) == n_fields;
        for (uint32_t f = 0; fits && f < n_fields; f++) {
            int64_t value = is_text[f] ? find_text(&texts[f], names, at + start, end[f] - start)
                                       : parse_number(names + at + start, end[f] - start);
            fits = value >= 0 && (f + 1 == n_fields || names[at + end[f]] == separators[f]);
            if (fits) values[f * n + good] = (uint32_t)value;
            start = end[f] + 1;
        }
        regular[i] = (uint8_t)fits;
        good += (uint64_t)fits;
        if (!fits) {
            rest_len[bad++] = len;
            memcpy(rest + bad_bytes, names + at, len);
            bad_bytes += len;
        }
        at += len;
    }
    for (uint32_t f = 0; f < n_fields; f++) {
        n_texts[f] = texts[f].n;
        memcpy(text_at + f * MAX_TEXTS, texts[f].at, sizeof texts[f].at);
        memcpy(text_len + f * MAX_TEXTS, texts[f].len, sizeof texts[f].len);
    }
    *n_regular = good;
    *n_rest = bad;
    *rest_bytes = bad_bytes;
    return at == names_bytes ? BK_OK : BK_ERR_COLUMN_LENGTH;
}

static uint32_t digits(uint32_t value) {
    uint32_t count = 1;
    while (value >= 10) {
        value /= 10;
        count++;
    }
    return count;
}

/* A decoded template. Text t of field f is text[text_at[k]] .. text[text_at[k + 1] - 1] with k =
 * first_text[f] + t; first_text has n_fields + 1 entries. */
struct bk_names {
    uint32_t n_fields;
    const uint8_t *separators;
    const uint8_t *is_text;
    const uint32_t *first_text;
    const uint64_t *text_at;
    const uint8_t *text;
};

/* Out: lengths (n) and their sum. values: n_fields rows of n_regular. */
BK_EXPORT int bk_names_measure(const struct bk_names *t, const uint8_t *regular, uint64_t n,
                               const uint32_t *values, uint64_t n_regular, const uint32_t *rest_len,
                               uint64_t n_rest, uint32_t *lengths, uint64_t *bytes) {
    uint64_t good = 0, bad = 0, sum = 0;
    for (uint64_t i = 0; i < n; i++) {
        uint64_t len = t->n_fields ? t->n_fields - 1 : 0;
        if (regular[i]) {
            if (good == n_regular || t->n_fields == 0) return BK_ERR_COLUMN_LENGTH;
            for (uint32_t f = 0; f < t->n_fields; f++) {
                uint32_t value = values[f * n_regular + good];
                uint64_t k = (uint64_t)t->first_text[f] + value;
                if (t->is_text[f] && k >= t->first_text[f + 1]) return BK_ERR_BAD_CODE;
                len += t->is_text[f] ? t->text_at[k + 1] - t->text_at[k] : digits(value);
            }
            good++;
        } else {
            if (bad == n_rest) return BK_ERR_COLUMN_LENGTH;
            len = rest_len[bad++];
        }
        if (len > UINT8_MAX) return BK_ERR_BAD_NAME;
        lengths[i] = (uint32_t)len;
        sum += len;
    }
    *bytes = sum;
    return good == n_regular && bad == n_rest ? BK_OK : BK_ERR_COLUMN_LENGTH;
}

/* Write the names that bk_names_measure measured. Out: names (names_bytes). */
BK_EXPORT int bk_names_join(const struct bk_names *t, const uint8_t *regular, uint64_t n,
                            const uint32_t *values, uint64_t n_regular, const uint8_t *rest,
                            uint64_t rest_bytes, const uint32_t *lengths, uint64_t names_bytes,
                            uint8_t *names) {
    uint64_t good = 0, rest_at = 0, out = 0;
    for (uint64_t i = 0; i < n; i++) {
        uint64_t len = lengths[i];
        if (len > names_bytes - out) return BK_ERR_COLUMN_LENGTH;
        uint8_t *p = names + out;
        if (!regular[i]) {
            if (len > rest_bytes - rest_at) return BK_ERR_COLUMN_LENGTH;
            memcpy(p, rest + rest_at, len);
            rest_at += len;
        }
        for (uint32_t f = 0; regular[i] && f < t->n_fields; f++) {
            uint32_t value = values[f * n_regular + good];
            if (f) *p++ = t->separators[f - 1];
            if (t->is_text[f]) {
                uint64_t k = (uint64_t)t->first_text[f] + value;
                uint64_t size = t->text_at[k + 1] - t->text_at[k];
                memcpy(p, t->text + t->text_at[k], size);
                p += size;
            } else {
                uint32_t count = digits(value);
                for (uint32_t j = count; j-- > 0; value /= 10) p[j] = (uint8_t)('0' + value % 10);
                p += count;
            }
        }
        good += regular[i] != 0;
        out += len;
    }
    return out == names_bytes && rest_at == rest_bytes ? BK_OK : BK_ERR_COLUMN_LENGTH;
}
