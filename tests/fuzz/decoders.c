/* libFuzzer entries for the decoding kernels, one a build: clang -DFUZZ_rans -fsanitize=fuzzer,...
 *
 * Each takes its arrays out of the input into buffers of exactly their size, so that the sanitizer sees
 * every byte too many; makes the checks that bams3/kernels/ makes; measures, then fills. Where the encoder
 * is a kernel too, the input is also encoded, and must come back.
 *
 *   rans          bk_rans_decode; bk_histogram, bk_rans_encode
 *   qualities     bk_qualities_read_tables, _decode, _restore; _orient, _count, _tables, _encode
 *   links         bk_links_join, bk_mates, bk_flags, bk_tlens; bk_links_find
 *   texts         bk_strings_take, bk_strings_equal, bk_cigar_text_lengths, bk_cigar_texts
 *   bases         bk_blocks, bk_bases_restore, bk_md, bk_alignment_counts; bk_reference_learn, _vote, bk_bases_differ
 *   codes         bk_codes_unpack; bk_codes_pack
 *   alternatives  bk_alternatives_join; bk_alternatives_split
 *   dictionary    bk_dict_measure, bk_dict_decode; bk_dict_encode
 *   names         bk_names_measure, bk_names_join; bk_names_template, bk_names_split
 *   bases2        bk_bases_unpack; bk_bases_measure, bk_bases_pack
 */
#include <stdlib.h>
#include <string.h>

#include "../../bams3/native/kernels.h"

#define MOST_BYTES (1u << 20)

/* ---- the input ---- */

struct input {
    const uint8_t *p;
    size_t left;
};

static uint32_t number(struct input *in, uint32_t below) {
    uint32_t value = 0;
    for (int i = 0; i < 4 && in->left; i++, in->left--) value = value << 8 | *in->p++;
    return below ? value % below : value;
}

/* n bytes in a buffer of exactly n, zeros where the input has ended. */
static void *bytes(struct input *in, size_t n) {
    uint8_t *out = malloc(n ? n : 1);
    if (!out) abort();
    size_t have = n < in->left ? n : in->left;
    memcpy(out, in->p, have);
    memset(out + have, 0, n - have);
    in->p += have;
    in->left -= have;
    return out;
}

static void *room(size_t n) {
    void *out = calloc(n ? n : 1, 1);
    if (!out) abort();
    return out;
}

/* n numbers below a bound, a byte of the input each. */
static uint32_t *small(struct input *in, size_t n, uint32_t below) {
    uint32_t *out = room(n * sizeof *out);
    for (size_t i = 0; i < n && in->left; i++, in->left--) out[i] = *in->p++ % below;
    return out;
}

static uint64_t *offsets(const uint32_t *lengths, size_t n) {
    uint64_t *out = room((n + 1) * sizeof *out);
    for (size_t i = 0; i < n; i++) out[i + 1] = out[i] + lengths[i];
    return out;
}

static void must(int good) {
    if (!good) abort();
}

static void same(const void *a, const void *b, size_t n) { must(n == 0 || memcmp(a, b, n) == 0); }

/* ---- entries ---- */

#ifdef FUZZ_rans
#include "../../bams3/native/rans.c"

static void fuzz(struct input *in) {
    uint64_t where = 0, size = 0;
    uint32_t n = number(in, 5000), counts[256];
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
    struct reads r = {.n = number(in, 40)};
    struct bk_quality_form f = {1 + number(in, 12), 1 + number(in, 6), number(in, 8), 1 + number(in, 6), {0}};
    uint32_t n_lanes = 1 + number(in, 9), n_tables = number(in, 600);
    r.seq_len = small(in, r.n, 40);
    r.flag = room(2 * r.n);
    for (uint32_t i = 0; i < r.n; i++) {
        r.flag[i] = (uint16_t)(number(in, 2) * 16);
        r.n_values += r.seq_len[i];
    }
    for (uint32_t v = 0; v < f.n_values; v++) f.class_of[v] = (uint8_t)(v * f.n_classes / f.n_values);
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

#ifdef FUZZ_links
#include "../../bams3/native/mates.c"

static void fuzz(struct input *in) {
    uint32_t n = number(in, 300), n_first = number(in, 300), n_later = number(in, 300);
    uint64_t where;
    uint32_t *first = small(in, n_first, 12), *later = small(in, n_later, 12), *name_len = small(in, n, 3);
    uint16_t *flag = bytes(in, 2 * n), *again = room(2 * n);
    int32_t *pos = bytes(in, 4 * n), *contig = bytes(in, 4 * n), *mate_pos = bytes(in, 4 * n);
    uint32_t *ref_len = bytes(in, 4 * n), *tlen = bytes(in, 4 * n), *before = room(4 * n);
    int32_t *prev = room(4 * n), *mate = room(4 * n), *scratch = room(12 * n);
    uint64_t *name_at = offsets(name_len, n);
    uint8_t *names = bytes(in, name_at[n]);
    uint32_t *slots = room(4 * 1024);
    must(!bk_links_find(names, name_at, n, slots, 1024, prev));
    for (int round = 0; round < 2; round++) {
        if (round && bk_links_join(first, n_first, later, n_later, n, prev, &where)) break;
        must(!bk_mates(prev, flag, n, scratch, mate));
        memcpy(again, flag, 2 * n);
        must(!bk_flags(prev, n, 0, again) && !bk_flags(prev, n, 1, again));
        same(again, flag, 2 * n);
        struct bk_templates t = {n, mate, contig, pos, mate_pos, ref_len, flag};
        for (int form = 0; form < 2; form++) {
            memcpy(before, tlen, 4 * n);
            must(!bk_tlens(&t, form, 0, tlen) && !bk_tlens(&t, form, 1, tlen));
            same(before, tlen, 4 * n);
        }
    }
    free(first), free(later), free(name_len), free(flag), free(again), free(pos), free(contig);
    free(mate_pos), free(ref_len), free(tlen), free(before), free(prev), free(mate), free(scratch);
    free(name_at), free(names), free(slots);
}
#endif

#ifdef FUZZ_texts
#include "../../bams3/native/mates.c"

static void fuzz(struct input *in) {
    uint32_t n = 1 + number(in, 60), n_index = number(in, 200);
    uint32_t *lengths = small(in, n, 20), *n_ops = small(in, n, 6), *index = small(in, n_index, n);
    uint64_t *at = offsets(lengths, n), *op_at = offsets(n_ops, n), size = 0, texts = 0;
    uint8_t *data = bytes(in, at[n]), *equal = room(n_index);
    uint32_t *ops = bytes(in, 4 * op_at[n]), *text_len = room(4 * n);
    must(!bk_cigar_text_lengths(ops, n_ops, n, op_at[n], text_len));
    for (uint32_t k = 0; k < n_index; k++) {
        size += lengths[index[k]];
        texts += text_len[index[k]];
    }
    uint8_t *out = room(size), *text = room(texts), *less = room(texts ? texts - 1 : 0);
    must(!bk_strings_take(data, at, index, n_index, size, out));
    must(!bk_strings_equal(data, at, index, data, at, index, n_index, equal));
    for (uint32_t k = 0; k < n_index; k++) must(equal[k] == 1);
    must(!bk_cigar_texts(ops, op_at, index, n_index, texts, text));
    if (texts) must(bk_cigar_texts(ops, op_at, index, n_index, texts - 1, less));
    free(lengths), free(n_ops), free(index), free(at), free(op_at), free(data), free(equal), free(ops);
    free(text_len), free(out), free(text), free(less);
}
#endif

#ifdef FUZZ_codes
#include "../../bams3/native/alignment.c"

static void fuzz(struct input *in) {
    uint32_t n = number(in, 400), n_others = number(in, 60);
    uint32_t *gap = small(in, n_others, 30), *gaps = room(4 * n);
    uint8_t *other = bytes(in, n_others), *packed = bytes(in, (n + 3) / 4), *codes = room(n);
    uint8_t *plain = bytes(in, n), *others = room(n), *again = room((n + 3) / 4);
    uint64_t found;
    bk_codes_unpack(packed, n, gap, other, n_others, codes);
    for (uint32_t k = 0; k < n; k++) plain[k] &= 15;
    must(!bk_codes_pack(plain, n, n, again, gaps, others, &found));
    must(!bk_codes_unpack(again, n, gaps, others, found, codes));
    same(codes, plain, n);
    free(gap), free(gaps), free(other), free(packed), free(codes), free(plain), free(others);
    free(again);
}
#endif

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct input in = {data, size};
    fuzz(&in);
    return 0;
}
