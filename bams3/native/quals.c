/* Codec qualities: static rANS in contexts, over reads in sequencing order.
 *
 * A context is the value before, the class of the one before that, and where in the read it is:
 *     context = (q1 * n_classes + class_of[q2]) * n_positions + min(j >> shift, n_positions - 1)
 * with q1 = q2 = 0 before a read's first value, and values numbered by the alphabet of the group.
 * Reads are dealt to lanes in runs: lane k of L has reads k * n / L to (k + 1) * n / L - 1, a state
 * and words of its own, so that a decoder can keep four of them in flight.
 *
 *   tables:   for each context, in order, the frequency of each value: a byte below 128, or two:
 *             128 | f >> 8, f & 255; a zero is followed by a byte: how many zeros follow it in the
 *             context, at most 255. A context whose first byte is 255 is empty: it was never met.
 *   payload:  lane by lane: state >> 16, state & 65535, then its words, u2 each
 */
#include "rans.h"

#include <string.h>

#define MAX_VALUES 128u
#define MAX_CONTEXTS 4096u
#define EMPTY 255u
#define IN_FLIGHT 4u

struct bk_quality_form {
    uint32_t n_values;
    uint32_t n_classes;
    uint32_t shift;
    uint32_t n_positions;
    uint8_t class_of[MAX_VALUES]; /* below n_classes */
};

static uint64_t n_contexts(const struct bk_quality_form *f) {
    return (uint64_t)f->n_values * f->n_classes * f->n_positions;
}

static int bad_form(const struct bk_quality_form *f) {
    int bad = f->n_values == 0 || f->n_values > MAX_VALUES || f->n_classes == 0 ||
              f->n_classes > MAX_VALUES || f->n_positions == 0 || f->n_positions > MAX_CONTEXTS ||
              f->shift > 31 || n_contexts(f) > MAX_CONTEXTS;
    for (uint32_t v = 0; !bad && v < f->n_values; v++) bad = f->class_of[v] >= f->n_classes;
    return bad;
}

static inline uint32_t context(const struct bk_quality_form *f, uint32_t q1, uint32_t q2,
                               uint32_t j) {
    uint32_t position = j >> f->shift;
    if (position >= f->n_positions) position = f->n_positions - 1;
    /* Without classes, which the compiler is told, nothing of q2 is looked at. */
    return (f->n_classes == 1 ? q1 : q1 * f->n_classes + f->class_of[q2]) * f->n_positions +
           position;
}

/* Qualities as numbers of the alphabet (number_of), every read in sequencing order. */
BK_EXPORT int bk_qualities_orient(const uint8_t *quals, uint64_t quals_bytes,
                                  const uint32_t *seq_len, const uint16_t *flag, uint64_t n,
                                  const uint8_t *number_of, uint8_t *values) {
    uint64_t at = 0;
    for (uint64_t i = 0; i < n; i++) {
        uint64_t len = seq_len[i];
        if (len > quals_bytes - at) return BK_ERR_COLUMN_LENGTH;
        const uint8_t *read = quals + at;
        uint8_t *out = values + at;
        if (flag[i] & 16)
            for (uint64_t j = 0; j < len; j++) out[len - 1 - j] = number_of[read[j]];
        else
            for (uint64_t j = 0; j < len; j++) out[j] = number_of[read[j]];
        at += len;
    }
    return at == quals_bytes ? BK_OK : BK_ERR_COLUMN_LENGTH;
}

/* Occurrences of each value in each context (contexts * n_values, zeros), of every step-th read. */
BK_EXPORT int bk_qualities_count(const uint8_t *values, const uint32_t *seq_len, uint64_t n,
                                 uint64_t step, const struct bk_quality_form *f, uint32_t *counts) {
    if (bad_form(f) || step == 0) return BK_ERR_BAD_CODE;
    const struct bk_quality_form form = *f; /* a copy that no store can change stays in registers */
    for (uint64_t i = 0; i < n; values += seq_len[i++]) {
        uint32_t q1 = 0, q2 = 0, len = i % step ? 0 : seq_len[i];
        for (uint32_t j = 0; j < len; j++) {
            counts[(uint64_t)context(&form, q1, q2, j) * form.n_values + values[j]]++;
            q2 = q1;
            q1 = values[j];
        }
    }
    return BK_OK;
}

/* Frequencies of counts, and the tables as bytes: at most 2 * contexts * n_values + contexts. */
BK_EXPORT int bk_qualities_tables(const uint32_t *counts, const struct bk_quality_form *f,
                                  uint16_t *freq, uint8_t *tables, uint64_t *tables_bytes) {
    uint8_t *p = tables;
    if (bad_form(f)) return BK_ERR_BAD_CODE;
    for (uint64_t c = 0; c < n_contexts(f); c++, freq += f->n_values, counts += f->n_values) {
        uint32_t sum = 0;
        bk_rans_normalise(counts, f->n_values, freq);
        for (uint32_t v = 0; v < f->n_values; v++) sum += freq[v];
        if (sum == 0) *p++ = EMPTY;
        for (uint32_t v = 0; sum && v < f->n_values;) {
            if (freq[v] > 127) *p++ = (uint8_t)(128 | freq[v] >> 8);
            *p++ = (uint8_t)freq[v];
            if (freq[v++]) continue;
            uint8_t *more = p++;
            for (*more = 0; v < f->n_values && freq[v] == 0; v++) ++*more;
        }
    }
    *tables_bytes = (uint64_t)(p - tables);
    return BK_OK;
}

/* The inverse: freq (contexts * n_values, zeros before). where is the offset in the tables. */
BK_EXPORT int bk_qualities_read_tables(const uint8_t *tables, uint64_t tables_bytes,
                                       const struct bk_quality_form *f, uint16_t *freq,
                                       uint64_t *where) {
    *where = 0;
    if (bad_form(f)) return BK_ERR_BAD_CODE;
    for (uint64_t c = 0, at = 0; c < n_contexts(f); c++, freq += f->n_values, *where = at) {
        uint32_t sum = 0;
        if (at == tables_bytes) return BK_ERR_SHORT_STREAM;
        if (tables[at] == EMPTY) {
            freq[0] = RANS_TOTAL; /* whoever meets it reads the value 0 */
            at++;
            continue;
        }
        for (uint32_t v = 0; v < f->n_values;) {
            if (at == tables_bytes) return BK_ERR_SHORT_STREAM;
            uint32_t value = tables[at++];
            if (value == 0 || value > 127) {
                if (at == tables_bytes) return BK_ERR_SHORT_STREAM;
                uint32_t next = tables[at++];
                if (value == 0) {
                    if (next >= f->n_values - v) return BK_ERR_BAD_FREQUENCIES;
                    v += 1 + next;
                    continue;
                }
                value = (value & 127) << 8 | next;
            }
            if (value > RANS_TOTAL - sum) return BK_ERR_BAD_FREQUENCIES;
            sum += value;
            freq[v++] = (uint16_t)value;
        }
        if (sum != RANS_TOTAL) return BK_ERR_BAD_FREQUENCIES;
    }
    return *where == tables_bytes ? BK_OK : BK_ERR_LONG_STREAM;
}

/* A lane while it is encoded: backwards, from its last read to its first. */
struct put_lane {
    const uint8_t *value; /* behind the next value to encode */
    uint8_t *word, *end;
    uint64_t read, first;
    uint32_t x, left; /* state; values left of the read at hand */
};

static int end_read(struct put_lane *l, const uint32_t *seq_len) {
    while (l->left == 0 && l->read > l->first) l->left = seq_len[--l->read];
    return l->left > 0;
}

/* The last value of the read that is left, step steps before its end. */
static inline void put_value(struct put_lane *l, const struct bk_quality_form *f,
                             const struct rans_symbol *symbols, uint32_t step) {
    uint32_t j = l->left - 1 - step, value = *--l->value;
    uint32_t q1 = j > 0 ? l->value[-1] : 0, q2 = j > 1 ? l->value[-2] : 0;
    uint64_t c = context(f, q1, q2, j);
    l->x = rans_put(l->x, symbols + c * f->n_values + value, &l->word);
}

static void put_together(struct put_lane *l, uint32_t steps, const struct bk_quality_form *f,
                         const struct rans_symbol *symbols) {
    const struct bk_quality_form form = *f;
    struct put_lane a = l[0], b = l[1], c = l[2], d = l[3];
    for (uint32_t step = 0; step < steps; step++) {
        put_value(&a, &form, symbols, step);
        put_value(&b, &form, symbols, step);
        put_value(&c, &form, symbols, step);
        put_value(&d, &form, symbols, step);
    }
    l[0] = a, l[1] = b, l[2] = c, l[3] = d;
    for (unsigned i = 0; i < IN_FLIGHT; i++) l[i].left -= steps;
}

/* Encode. symbols: scratch of contexts * n_values; room: 2 * n_values + 4 * n_lanes bytes, of which
 * every lane first fills its share from the end. Out: payload, its size, and the bytes of each
 * lane. */
BK_EXPORT int bk_qualities_encode(const uint8_t *values, const uint32_t *seq_len, uint64_t n,
                                  const struct bk_quality_form *f, const uint16_t *freq,
                                  struct rans_symbol *symbols, uint32_t n_lanes, uint8_t *payload,
                                  uint64_t *payload_bytes, uint32_t *lane_bytes) {
    uint32_t v = f->n_values;
    uint64_t read = 0, used = 0;
    if (bad_form(f)) return BK_ERR_BAD_CODE;
    for (uint64_t c = 0; c < n_contexts(f); c++)
        for (uint32_t s = 0, before = 0; s < v; before += freq[c * v + s++])
            symbols[c * v + s] = rans_symbol(freq[c * v + s], before);
    uint8_t *share = payload;
    for (uint32_t k = 0; k < n_lanes; k += IN_FLIGHT) {
        struct put_lane lanes[IN_FLIGHT];
        unsigned count = n_lanes - k < IN_FLIGHT ? n_lanes - k : IN_FLIGHT;
        for (unsigned i = 0; i < count; i++) {
            uint64_t first = read, last = (uint64_t)(k + i + 1) * n / n_lanes;
            for (; read < last; read++) {
                values += seq_len[read];
                share += 2 * (uint64_t)seq_len[read];
            }
            share += 4;
            lanes[i] = (struct put_lane){values, share, share, last, first, RANS_LOW, 0};
        }
        for (;;) {
            uint32_t steps = UINT32_MAX;
            for (unsigned i = 0; i < count; i++) {
                uint32_t mine = end_read(lanes + i, seq_len) ? lanes[i].left : 0;
                if (mine < steps) steps = mine;
            }
            if (steps == 0 || count < IN_FLIGHT) break;
            put_together(lanes, steps, f, symbols);
        }
        for (unsigned i = 0; i < count; i++) {
            struct put_lane *l = lanes + i;
            for (; end_read(l, seq_len); l->left--) put_value(l, f, symbols, 0);
            l->word -= 4;
            bk_put_u16(l->word, l->x >> 16);
            bk_put_u16(l->word + 2, l->x & 0xffffu);
            lane_bytes[k + i] = (uint32_t)(l->end - l->word);
            memmove(payload + used, l->word, lane_bytes[k + i]);
            used += lane_bytes[k + i];
        }
    }
    *payload_bytes = used;
    return BK_OK;
}

/* ---- decoding ---- */

struct lane {
    const uint8_t *word, *end;
    uint8_t *out;
    uint64_t read, last; /* reads of the lane that are still to come */
    uint32_t x, left;    /* state; values left of the read at hand */
    uint32_t q1, q2, j;
};

struct tables {
    const struct bk_quality_form *form;
    const uint8_t *slots;     /* value at each of the 4,096 slots of each context */
    const uint32_t *of_value; /* f << 16 | c of each value of each context */
};

static inline void next_value(struct lane *l, const struct tables *t) {
    uint32_t c = context(t->form, l->q1, l->q2, l->j++), slot = l->x & (RANS_TOTAL - 1);
    uint32_t value = t->slots[(uint64_t)c << RANS_BITS | slot];
    uint32_t e = t->of_value[(uint64_t)c * t->form->n_values + value];
    l->x = (e >> 16) * (l->x >> RANS_BITS) + slot - (e & 0xffffu);
    *l->out++ = (uint8_t)value;
    l->q2 = l->q1;
    l->q1 = value;
}

/* The word that a low state needs, read whether it is needed or not: there must be one. */
static inline void next_word(struct lane *l) {
    uint32_t low = l->x < RANS_LOW, with = l->x << 16 | bk_u16(l->word);
    l->x = low ? with : l->x;
    l->word += 2 * low;
}

static int begin_read(struct lane *l, const uint32_t *seq_len) {
    while (l->left == 0 && l->read < l->last) {
        l->left = seq_len[l->read++];
        l->q1 = l->q2 = l->j = 0;
    }
    return l->left > 0;
}

static int finish_lane(struct lane *l, const uint32_t *seq_len, const struct tables *t) {
    while (begin_read(l, seq_len))
        for (; l->left; l->left--) {
            next_value(l, t);
            if (l->x >= RANS_LOW) continue;
            if (l->end - l->word < 2) return BK_ERR_SHORT_STREAM;
            next_word(l);
        }
    return l->word == l->end && l->x == RANS_LOW ? BK_OK : BK_ERR_LONG_STREAM;
}

static void run_together(struct lane *l, const uint32_t *seq_len, const struct tables *t) {
    const struct bk_quality_form form = *t->form;
    const struct tables local = {&form, t->slots, t->of_value};
    for (;;) {
        uint64_t steps = UINT64_MAX;
        for (unsigned i = 0; i < IN_FLIGHT; i++) {
            uint64_t words = (uint64_t)(l[i].end - l[i].word) / 2;
            uint64_t mine = begin_read(l + i, seq_len) ? l[i].left : 0;
            if (words < mine) mine = words;
            if (mine < steps) steps = mine;
        }
        if (steps == 0) return;
        struct lane a = l[0], b = l[1], c = l[2], d = l[3];
        for (uint64_t step = 0; step < steps; step++) {
            next_value(&a, &local);
            next_value(&b, &local);
            next_value(&c, &local);
            next_value(&d, &local);
            next_word(&a);
            next_word(&b);
            next_word(&c);
            next_word(&d);
        }
        l[0] = a, l[1] = b, l[2] = c, l[3] = d;
        for (unsigned i = 0; i < IN_FLIGHT; i++) l[i].left -= (uint32_t)steps;
    }
}

/* Decode numbers of the alphabet, reads in sequencing order; n_values is the sum of seq_len.
 * Scratch: slots (contexts * 4,096, zeros), of_value (contexts * n_values). */
BK_EXPORT int bk_qualities_decode(const uint8_t *payload, uint64_t payload_bytes,
                                  const uint32_t *lane_bytes, uint32_t n_lanes,
                                  const uint32_t *seq_len, uint64_t n,
                                  const struct bk_quality_form *f, const uint16_t *freq,
                                  uint8_t *slots, uint32_t *of_value, uint64_t n_values,
                                  uint8_t *values, uint64_t *where) {
    struct tables t = {f, slots, of_value};
    uint64_t at = 0, value = 0, read = 0;
    *where = 0;
    if (bad_form(f)) return BK_ERR_BAD_CODE;
    for (uint64_t c = 0; c < n_contexts(f); c++)
        for (uint32_t s = 0, before = 0; s < f->n_values; before += freq[c * f->n_values + s++]) {
            uint32_t count = freq[c * f->n_values + s];
            of_value[c * f->n_values + s] = count << 16 | before;
            if (count) memset(slots + (c << RANS_BITS) + before, (int)s, count);
        }
    for (uint32_t k = 0; k < n_lanes; k += IN_FLIGHT) {
        struct lane lanes[IN_FLIGHT];
        uint32_t count = n_lanes - k < IN_FLIGHT ? n_lanes - k : IN_FLIGHT;
        for (uint32_t i = 0; i < count; i++) {
            struct lane *l = lanes + i;
            uint64_t bytes = lane_bytes[k + i], last = (uint64_t)(k + i + 1) * n / n_lanes;
            *where = at;
            if (bytes < 4 || bytes % 2 || bytes > payload_bytes - at) return BK_ERR_SHORT_STREAM;
            const uint8_t *p = payload + at;
            *l = (struct lane){.word = p + 4, .end = p + bytes, .out = values + value};
            l->x = (uint32_t)bk_u16(p) << 16 | bk_u16(p + 2);
            l->read = read;
            l->last = last;
            for (; read < last; read++) {
                if (seq_len[read] > n_values - value) return BK_ERR_COLUMN_LENGTH;
                value += seq_len[read];
            }
            at += bytes;
        }
        if (count == IN_FLIGHT) run_together(lanes, seq_len, &t);
        for (uint32_t i = 0; i < count; i++) {
            int status = finish_lane(lanes + i, seq_len, &t);
            if (status) return status;
        }
    }
    if (value != n_values || at != payload_bytes) return BK_ERR_LONG_STREAM;
    return BK_OK;
}

/* Numbers of the alphabet, in sequencing order, to qualities as in BAM, in place. */
BK_EXPORT int bk_qualities_restore(uint8_t *values, uint64_t n_values, const uint32_t *seq_len,
                                   const uint16_t *flag, uint64_t n, const uint8_t *alphabet) {
    uint64_t at = 0;
    for (uint64_t i = 0; i < n; i++) {
        uint64_t len = seq_len[i];
        if (len > n_values - at) return BK_ERR_COLUMN_LENGTH;
        uint8_t *read = values + at;
        for (uint64_t j = 0; j < len; j++) read[j] = alphabet[read[j]];
        for (uint64_t j = 0; flag[i] & 16 && j < len / 2; j++) {
            uint8_t first = read[j];
            read[j] = read[len - 1 - j];
            read[len - 1 - j] = first;
        }
        at += len;
    }
    return at == n_values ? BK_OK : BK_ERR_COLUMN_LENGTH;
}

/* Sum of the qualities of at least 15 of each read: the ms tag of its mate (samtools fixmate -m).
 */
BK_EXPORT int bk_qualities_sum(const uint8_t *quals, uint64_t quals_bytes, const uint32_t *seq_len,
                               uint64_t n, uint32_t *sums) {
    uint64_t at = 0;
    for (uint64_t i = 0; i < n; i++) {
        uint32_t sum = 0;
        if (seq_len[i] > quals_bytes - at) return BK_ERR_COLUMN_LENGTH;
        for (uint64_t j = 0; j < seq_len[i]; j++) sum += quals[at + j] >= 15 ? quals[at + j] : 0u;
        sums[i] = sum;
        at += seq_len[i];
    }
    return at == quals_bytes ? BK_OK : BK_ERR_COLUMN_LENGTH;
}
