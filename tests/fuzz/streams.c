/* Fuzz entries of codecs that know one column (fuzz.h).
 *
 *   rans        bk_rans_decode; bk_histogram, bk_rans_encode
 *   qualities   bk_qualities_read_tables, _decode, _restore; _orient, _count, _tables, _encode
 *   dictionary  bk_dict_measure, bk_dict_decode; bk_dict_encode
 *   names       bk_names_measure, bk_names_join
 *   bases2      bk_bases_unpack; bk_bases_measure, bk_bases_pack
 */
#include "fuzz.h"

#ifdef FUZZ_rans
#include "../../bams3/native/rans.c"

static void fuzz(struct input *in) {
    uint64_t where = 0, size = 0;
    uint32_t n = pick(in, 5000), counts[256];
    size_t n_packed = in->left;
    uint8_t *packed = bytes(in, n_packed), *plain = room(n), *out = room(2 * n_packed + 1024);
    bk_rans_decode(packed, n_packed, n, plain, &where);
    must(where <= n_packed);
    bk_histogram(packed, n_packed, counts);
    must(bk_rans_encode(packed, n_packed, counts, 2 * n_packed + 1024, out, &size) == BK_OK);
    uint8_t *exact = room(size), *back = room(n_packed);
    memcpy(exact, out, size);
    if (n_packed) must(bk_rans_decode(exact, size, n_packed, back, &where) == BK_OK);
    same(back, packed, n_packed);
    free(packed), free(plain), free(out), free(exact), free(back);
}
#endif

#ifdef FUZZ_qualities
#include "../../bams3/native/quals.c"
#include "../../bams3/native/rans.c"

struct reads {
    uint32_t n, *seq_len;
    uint16_t *flag;
    uint64_t n_values;
};

static int decode(const struct reads *r, const struct bk_quality_form *f, const uint8_t *tables,
                  size_t n_tables, const uint8_t *lanes, size_t n_bytes, const uint32_t *lane_bytes,
                  uint32_t n_lanes, uint8_t *values) {
    uint64_t where, contexts = n_contexts(f);
    uint16_t *freq = room(2 * contexts * f->n_values);
    uint8_t *slots = room(contexts << RANS_BITS);
    uint32_t *of_value = room(4 * contexts * f->n_values);
    int status = bk_qualities_read_tables(tables, n_tables, f, freq, &where);
    if (!status)
        status = bk_qualities_decode(lanes, n_bytes, lane_bytes, n_lanes, r->seq_len, r->n, f, freq,
                                     slots, of_value, r->n_values, values, &where);
    free(freq), free(slots), free(of_value);
    return status;
}

static void encode_and_back(const struct reads *r, const struct bk_quality_form *f,
                            const uint8_t *quals, uint32_t n_lanes) {
    uint64_t contexts = n_contexts(f), size, n_tables;
    uint8_t number_of[256] = {0}, alphabet[128];
    uint8_t *values = room(r->n_values), *tables = room(2 * contexts * f->n_values + contexts);
    uint8_t *payload = room(2 * r->n_values + 4 * n_lanes), *back = room(r->n_values);
    uint32_t *counts = room(4 * contexts * f->n_values), *lane_bytes = room(4 * n_lanes);
    uint16_t *freq = room(2 * contexts * f->n_values);
    struct rans_symbol *symbols = room(sizeof *symbols * contexts * f->n_values);
    for (unsigned q = 0; q < 256; q++) number_of[q] = (uint8_t)(q % f->n_values);
    for (unsigned v = 0; v < f->n_values; v++) alphabet[v] = (uint8_t)v;
    must(!bk_qualities_orient(quals, r->n_values, r->seq_len, r->flag, r->n, number_of, values));
    must(!bk_qualities_count(values, r->seq_len, r->n, 1, f, counts));
    must(!bk_qualities_tables(counts, f, freq, tables, &n_tables));
    must(!bk_qualities_encode(values, r->seq_len, r->n, f, freq, symbols, n_lanes, payload, &size,
                              lane_bytes));
    must(!decode(r, f, tables, n_tables, payload, size, lane_bytes, n_lanes, back));
    same(back, values, r->n_values);
    must(!bk_qualities_restore(back, r->n_values, r->seq_len, r->flag, r->n, alphabet));
    for (uint64_t k = 0; k < r->n_values; k++) must(back[k] == number_of[quals[k]]);
    free(values), free(tables), free(payload), free(back), free(counts), free(lane_bytes);
    free(freq), free(symbols);
}

static void fuzz(struct input *in) {
    struct reads r = {.n = pick(in, 40)};
    struct bk_quality_form f = {
        1 + pick(in, 12), 1 + pick(in, 6), pick(in, 8), 1 + pick(in, 6), {0}};
    uint32_t n_lanes = 1 + pick(in, 9), n_tables = pick(in, 600);
    r.seq_len = small(in, r.n, 40);
    r.flag = room(2 * r.n);
    for (uint32_t i = 0; i < r.n; i++) {
        r.flag[i] = (uint16_t)(pick(in, 2) * 16);
        r.n_values += r.seq_len[i];
    }
    for (uint32_t v = 0; v < f.n_values; v++)
        f.class_of[v] = (uint8_t)(v * f.n_classes / f.n_values);
    uint32_t *lane_bytes = small(in, n_lanes, 64);
    uint8_t *tables = bytes(in, n_tables), *values = room(r.n_values);
    size_t n_bytes = in->left;
    uint8_t *payload = bytes(in, n_bytes);
    decode(&r, &f, tables, n_tables, payload, n_bytes, lane_bytes, n_lanes, values);
    struct input again = {payload, n_bytes};
    uint8_t *quals = bytes(&again, r.n_values);
    encode_and_back(&r, &f, quals, n_lanes);
    free(r.seq_len), free(r.flag), free(lane_bytes), free(tables), free(values), free(payload);
    free(quals);
}
#endif

#ifdef FUZZ_dictionary
#include "../../bams3/native/codecs.c"

static void decode(const uint8_t *code, uint64_t n, const uint64_t *entry_at, uint64_t n_entries,
                   const uint8_t *entries, const uint32_t *rest_len, uint64_t n_rest,
                   const uint8_t *rest, uint64_t rest_bytes, const uint32_t *lengths,
                   const uint8_t *expected) {
    uint32_t *found = room(4 * n);
    uint64_t size;
    int status = bk_dict_measure(code, n, entry_at, n_entries, rest_len, n_rest, found, &size);
    must(!status || !expected);
    if (!status && size <= MOST_BYTES) {
        uint8_t *out = room(size);
        status = bk_dict_decode(code, n, entry_at, entries, rest, rest_bytes, found, size, out);
        must(!status || !expected);
        if (expected) same(found, lengths, 4 * n), same(out, expected, size);
        free(out);
    }
    free(found);
}

static void fuzz(struct input *in) {
    uint32_t n = pick(in, 600), n_entries = pick(in, 255), n_rest = pick(in, 40);
    uint32_t *entry_len = small(in, n_entries, 6), *rest_len = small(in, n_rest, 6),
             *lengths = small(in, n, 3);
    uint64_t *entry_at = offsets(entry_len, n_entries), *rest_at = offsets(rest_len, n_rest);
    uint64_t *at = offsets(lengths, n), first[255], first_at[255], found, rests, rest_bytes;
    uint8_t *entries = bytes(in, entry_at[n_entries]), *rest = bytes(in, rest_at[n_rest]);
    uint8_t *data = bytes(in, at[n]), *code = bytes(in, n), *left = room(at[n]);
    uint16_t *slots = room(2048);
    uint32_t *left_len = room(4 * n);
    decode(code, n, entry_at, n_entries, entries, rest_len, n_rest, rest, rest_at[n_rest], NULL,
           NULL);
    must(!bk_dict_encode(data, at[n], lengths, n, slots, code, first, first_at, &found, left_len,
                         left, &rests, &rest_bytes));
    uint32_t *made_len = room(4 * found);
    for (uint64_t k = 0; k < found; k++) made_len[k] = lengths[first[k]];
    uint64_t *made_at = offsets(made_len, found);
    uint8_t *made = room(made_at[found]);
    for (uint64_t k = 0; k < found; k++) memcpy(made + made_at[k], data + first_at[k], made_len[k]);
    decode(code, n, made_at, found, made, left_len, rests, left, rest_bytes, lengths, data);
    free(entry_len), free(rest_len), free(lengths), free(entry_at), free(rest_at), free(at),
        free(entries);
    free(rest), free(data), free(code), free(left), free(slots), free(left_len), free(made_len);
    free(made_at), free(made);
}
#endif

#ifdef FUZZ_names
#include "../../bams3/native/names.c"

static void fuzz(struct input *in) {
    uint32_t n = pick(in, 60), n_fields = pick(in, 17), n_rest = pick(in, 20),
             n_regular = pick(in, 60);
    uint32_t *first_text = room(4 * (n_fields + 1)), *texts_of = small(in, n_fields, 5);
    for (uint32_t f = 0; f < n_fields; f++) first_text[f + 1] = first_text[f] + texts_of[f];
    uint32_t n_texts = first_text[n_fields], *text_len = small(in, n_texts, 20);
    uint64_t *text_at = offsets(text_len, n_texts), size, where = 0;
    uint8_t *separators = bytes(in, n_fields ? n_fields - 1 : 0), *is_text = bytes(in, n_fields);
    uint8_t *regular = bytes(in, n), *text = bytes(in, text_at[n_texts]);
    uint32_t *rest_len = small(in, n_rest, 255),
             *values = small(in, (size_t)n_fields * n_regular, 256);
    for (uint32_t k = 0; k < n_fields * n_regular; k++)
        if (values[k] > 250) values[k] = pick(in, 0);
    for (uint32_t i = 0; i < n; i++) regular[i] &= 1;
    uint64_t *rest_at = offsets(rest_len, n_rest);
    uint8_t *rest = bytes(in, rest_at[n_rest]);
    uint32_t *lengths = room(4 * n);
    struct bk_names t = {n_fields, separators, is_text, first_text, text_at, text};
    (void)where;
    if (!bk_names_measure(&t, regular, n, values, n_regular, rest_len, n_rest, lengths, &size)) {
        uint8_t *names = room(size);
        bk_names_join(&t, regular, n, values, n_regular, rest, rest_at[n_rest], lengths, size,
                      names);
        free(names);
    }
    free(first_text), free(texts_of), free(text_len), free(text_at), free(separators),
        free(is_text);
    free(regular), free(text), free(rest_len), free(values), free(rest_at), free(rest),
        free(lengths);
}
#endif

#ifdef FUZZ_bases2
#include "../../bams3/native/codecs.c"

static void fuzz(struct input *in) {
    uint32_t n = pick(in, 40), n_packed = pick(in, 400), n_others = pick(in, 40);
    uint32_t *seq_len = small(in, n, 50), *gap = small(in, n_others, 40);
    uint8_t *packed = bytes(in, n_packed), *code = bytes(in, n_others), padded;
    uint64_t size = 0, n_bytes, found;
    for (uint32_t i = 0; i < n; i++) size += (seq_len[i] + 1) / 2;
    uint8_t *bases = bytes(in, size), *out = room(size);
    if (size <= 2 * n_packed)
        bk_bases_unpack(packed, n_packed, gap, code, n_others, seq_len, n, size, out);
    must(!bk_bases_measure(bases, size, seq_len, n, &n_bytes, &found, &padded));
    uint32_t *gaps = room(4 * found);
    uint8_t *codes = room(found), *made = room(n_bytes);
    must(!bk_bases_pack(bases, seq_len, n, n_bytes, found, made, gaps, codes));
    must(!bk_bases_unpack(made, n_bytes, gaps, codes, found, seq_len, n, size, out));
    if (!padded) same(out, bases, size);
    free(seq_len), free(gap), free(packed), free(code), free(bases), free(out), free(gaps),
        free(codes);
    free(made);
}
#endif
