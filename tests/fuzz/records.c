/* Fuzz entries of codecs that predict a record from others (fuzz.h).
 *
 *   links         bk_links_join, bk_mates, bk_flags, bk_tlens; bk_links_find
 *   texts         bk_strings_take, bk_strings_equal, bk_cigar_text_lengths, bk_cigar_texts
 *   codes         bk_codes_unpack; bk_codes_pack
 *   bases         bk_blocks, bk_bases_restore, bk_md, bk_alignment_counts; bk_reference_learn,
 * _vote, bk_bases_differ alternatives  bk_alternatives_join; bk_alternatives_split
 *   bcf           bk_bcf_scan, bk_bcf_pack, bk_plane_counts
 */
#include "fuzz.h"

#ifdef FUZZ_links
#include "../../bams3/native/mates.c"

static void fuzz(struct input *in) {
    uint32_t n = pick(in, 300), n_first = pick(in, 300), n_later = pick(in, 300);
    uint64_t where;
    uint32_t *first = small(in, n_first, 12), *later = small(in, n_later, 12),
             *name_len = small(in, n, 3);
    uint16_t *flag = bytes(in, 2 * n), *again = room(2 * n);
    int32_t *pos = bytes(in, 4 * n), *contig = bytes(in, 4 * n), *mate_pos = bytes(in, 4 * n);
    uint32_t *ref_len = bytes(in, 4 * n), *tlen = bytes(in, 4 * n), *before = room(4 * n);
    int32_t *prev = room(4 * n), *mate = room(4 * n), *scratch = room(12 * n);
    uint64_t *name_at = offsets(name_len, n);
    uint8_t *names = bytes(in, name_at[n]);
    uint32_t *slots = room(4 * 1024);
    must(!bk_links_find(names, name_at, n, 7, slots, 1024, prev));
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
    uint32_t n = 1 + pick(in, 60), n_index = pick(in, 200);
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
    free(lengths), free(n_ops), free(index), free(at), free(op_at), free(data), free(equal),
        free(ops);
    free(text_len), free(out), free(text), free(less);
}
#endif

#ifdef FUZZ_codes
#include "../../bams3/native/alignment.c"

static void fuzz(struct input *in) {
    uint32_t n = pick(in, 400), n_others = pick(in, 60);
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

#ifdef FUZZ_bases
#include "../../bams3/native/alignment.c"
#include "../../bams3/native/md.c"

static int by_start(const void *a, const void *b) {
    uint64_t x = **(uint64_t *const *)a, y = **(uint64_t *const *)b;
    return x < y ? -1 : x > y;
}

/* Where blocks begin among the positions that any of them covers, as bams3/kernels/alignment.py
 * does. */
static uint64_t lay_out(uint64_t *start, const uint32_t *length, uint64_t n, uint32_t *at) {
    uint64_t **order = room(n * sizeof *order), reach = 0, covered = 0, island = 0;
    for (uint64_t b = 0; b < n; b++) order[b] = start + b;
    qsort(order, n, sizeof *order, by_start);
    for (uint64_t k = 0; k < n; k++) {
        uint64_t b = (uint64_t)(order[k] - start), end = start[b] + length[b];
        if (k == 0 || start[b] > reach) {
            covered += reach - island;
            island = reach = start[b];
        }
        at[b] = (uint32_t)(covered + start[b] - island);
        if (end > reach) reach = end;
    }
    free(order);
    return covered + reach - island;
}

struct group {
    struct bk_columns c;
    struct bk_placement p;
    uint64_t covered, n_loose, base_bytes, longest, n_bases;
    uint8_t *aligned;
    uint32_t *block_at;
};

static void make_columns(struct input *in, struct bk_columns *c) {
    c->n = pick(in, 12);
    c->contig = room(4 * c->n);
    c->pos = room(4 * c->n);
    c->seq_len = small(in, c->n, 40);
    c->cigar_len = small(in, c->n, 6);
    for (uint64_t i = 0; i < c->n; i++) {
        c->contig[i] = (int32_t)pick(in, 3) - 1;
        c->pos[i] = (int32_t)pick(in, 30) - 1;
        c->cigar_ops += c->cigar_len[i];
    }
    c->cigar = room(4 * c->cigar_ops);
    for (uint64_t i = 0, k = 0; i < c->n; i++) /* often a CIGAR that fits the sequence */
        for (uint32_t left = c->seq_len[i], j = c->cigar_len[i]; j > 0; j--, k++) {
            uint32_t op = pick(in, 16), run = op == 2 || op == 3 ? pick(in, 1003) : pick(in, 30);
            if (j == 1) run = left, op = op & 1 ? 4 : 0;
            c->cigar[k] = run << 4 | op;
            if (op == 0 || op == 1 || op == 4 || op == 7 || op == 8)
                left -= run < left ? run : left;
        }
}

static int make_group(struct input *in, struct group *g) {
    make_columns(in, &g->c);
    struct bk_columns *c = &g->c;
    uint64_t most = c->n + c->cigar_ops, n_blocks = 0;
    uint64_t *start = room(8 * most);
    uint32_t *length = room(4 * most);
    g->aligned = room(c->n);
    g->block_at = room(4 * most);
    must(!bk_blocks(c, most, g->aligned, start, length, &n_blocks, &g->n_loose));
    g->covered = lay_out(start, length, n_blocks, g->block_at);
    for (uint64_t i = 0; i < c->n; i++) {
        g->base_bytes += (c->seq_len[i] + 1) / 2;
        g->n_bases += c->seq_len[i];
        if (c->seq_len[i] > g->longest) g->longest = c->seq_len[i];
    }
    uint32_t *exact = room(4 * n_blocks);
    memcpy(exact, g->block_at, 4 * n_blocks);
    free(g->block_at), free(start), free(length);
    g->block_at = exact;
    g->p = (struct bk_placement){c->n, g->aligned, c->seq_len, c->cigar_len, c->cigar, exact};
    return g->covered <= MOST_BYTES;
}

/* MD and counts of whatever mismatches were accepted. */
static void tags_of(const struct group *g, const struct bk_mismatches *m,
                    const uint8_t *reference) {
    uint8_t *wanted = room(g->c.n);
    uint32_t *lengths = room(4 * g->c.n), *counts = room(20 * g->c.n);
    uint64_t size, again;
    memset(wanted, 1, g->c.n);
    must(!bk_md(&g->p, m, reference, wanted, 0, lengths, &size, NULL));
    if (size <= MOST_BYTES) {
        uint8_t *text = room(size);
        must(!bk_md(&g->p, m, reference, wanted, size, lengths, &again, text) && size == again);
        free(text);
    }
    must(!bk_alignment_counts(&g->p, m, counts));
    free(wanted), free(lengths), free(counts);
}

static void decode(struct input *in, const struct group *g, const uint8_t *reference) {
    uint32_t *per_record = small(in, g->c.n, 4);
    for (uint64_t i = 0; i < g->c.n; i++) per_record[i] *= g->aligned[i];
    uint64_t *first = offsets(per_record, g->c.n), where, n = first[g->c.n];
    uint32_t n_loose = pick(in, 2) ? (uint32_t)g->n_loose : pick(in, 50);
    uint32_t *gap = small(in, n, 20);
    uint8_t *symbol = bytes(in, n), *ref = room(n), *loose = bytes(in, n_loose);
    uint8_t *codes = room(g->longest), *bases = room(g->base_bytes);
    for (uint64_t k = 0; k < n; k++) symbol[k] %= 33;
    struct bk_mismatches m = {first, gap, symbol, ref};
    if (!bk_bases_restore(&g->p, &m, reference, loose, n_loose, codes, bases, ref, &where))
        tags_of(g, &m, reference);
    free(per_record), free(first), free(gap), free(symbol), free(ref), free(loose), free(codes),
        free(bases);
}

static void encode_and_back(struct input *in, const struct group *g, uint8_t *reference) {
    uint32_t *md_len = small(in, g->c.n, 12), *counts = room(4 * g->c.n),
             *gap = room(4 * g->n_bases);
    uint64_t *md_at = offsets(md_len, g->c.n), found, where;
    uint8_t *md = bytes(in, md_at[g->c.n]), *bases = bytes(in, g->base_bytes),
            *votes = room(g->covered);
    uint8_t *symbol = room(g->n_bases), *ref = room(g->n_bases), *loose = room(g->n_loose), padded;
    uint8_t *codes = room(g->longest), *back = room(g->base_bytes);
    int32_t *md_of = room(4 * g->c.n);
    for (uint64_t i = 0; i < g->c.n; i++) md_of[i] = pick(in, 3) ? (int32_t)i : -1;
    for (uint64_t k = 0; k < md_at[g->c.n]; k++)
        md[k] = (uint8_t) "0123456789^ACGTNacgt"[md[k] % 20];
    must(!bk_reference_learn(&g->p, bases, md_of, md, md_at, codes, reference));
    must(!bk_reference_vote(&g->p, bases, g->covered, codes, votes, reference));
    must(!bk_bases_differ(&g->p, bases, reference, codes, g->n_bases, counts, gap, symbol, ref,
                          &found, loose, &padded));
    uint64_t *first = offsets(counts, g->c.n);
    uint8_t *again = room(found);
    struct bk_mismatches m = {first, gap, symbol, again};
    must(!bk_bases_restore(&g->p, &m, reference, loose, g->n_loose, codes, back, again, &where));
    if (!padded) same(back, bases, g->base_bytes);
    same(again, ref, found);
    tags_of(g, &m, reference);
    free(md_len), free(counts), free(gap), free(md_at), free(md), free(bases), free(votes),
        free(symbol);
    free(ref), free(loose), free(codes), free(back), free(md_of), free(first), free(again);
}

static void fuzz(struct input *in) {
    struct group g = {0};
    if (make_group(in, &g)) {
        uint8_t *reference = room(g.covered);
        encode_and_back(in, &g, reference);
        decode(in, &g, reference);
        free(reference);
    }
    free(g.c.contig), free(g.c.pos), free(g.c.seq_len), free(g.c.cigar_len), free(g.c.cigar);
    free(g.aligned), free(g.block_at);
}
#endif

#ifdef FUZZ_alternatives
#include "../../bams3/native/alternatives.c"

static struct bk_reads reads_of(struct input *in) {
    struct bk_reads r = {.n = pick(in, 12)};
    uint32_t *n_ops = small(in, r.n, 4);
    r.op_at = offsets(n_ops, r.n);
    r.ops = bytes(in, 4 * r.op_at[r.n]);
    r.pos = bytes(in, 4 * r.n);
    r.ref_len = bytes(in, 4 * r.n);
    r.flag = bytes(in, 2 * r.n);
    uint32_t *text_len = room(4 * r.n);
    for (uint64_t i = 0; i < r.n; i++) {
        text_len[i] = r.op_at[i] == r.op_at[i + 1];
        for (uint64_t k = r.op_at[i]; k < r.op_at[i + 1]; k++)
            text_len[i] += 1 + n_digits(r.ops[k] >> 4);
    }
    r.text_len = text_len;
    free(n_ops);
    return r;
}

static uint8_t *join(const struct bk_reads *r, const uint8_t *counts,
                     const struct bk_alternatives_in *in, uint64_t *size) {
    uint32_t *lengths = room(4 * r->n);
    uint64_t where, again;
    uint8_t *text = NULL;
    if (!bk_alternatives_join(r, counts, in, 0, lengths, size, NULL, &where) &&
        *size <= MOST_BYTES) {
        text = room(*size);
        must(!bk_alternatives_join(r, counts, in, *size, lengths, &again, text, &where) &&
             again == *size);
    }
    free(lengths);
    return text;
}

static void decode(struct input *in, const struct bk_reads *r) {
    uint32_t n = pick(in, 60), n_new = pick(in, 20), n_cigars = pick(in, 20);
    uint32_t *name_len = small(in, n_new, 4), *cigar_len = small(in, n_cigars, 4);
    uint64_t *name_at = offsets(name_len, n_new), *cigar_at = offsets(cigar_len, n_cigars), size;
    uint8_t *counts = bytes(in, r->n), *ranks = bytes(in, n), *same_cigar = bytes(in, n);
    uint8_t *own = bytes(in, n_new), *names = bytes(in, name_at[n_new]),
            *cigars = bytes(in, cigar_at[n_cigars]);
    uint32_t *edits = bytes(in, 4 * n), *apart = bytes(in, 4 * n_new);
    for (uint32_t k = 0; k < n; k++) ranks[k] = ranks[k] & 1 ? 255 : ranks[k] / 2 % 8;
    for (uint64_t i = 0; i < r->n; i++) counts[i] %= 8;
    struct bk_alternatives_in a = {ranks, same_cigar, edits, n,      own,     apart,
                                   n_new, n_cigars,   names, cigars, name_at, cigar_at};
    free(join(r, counts, &a, &size));
    free(name_len), free(cigar_len), free(name_at), free(cigar_at), free(counts), free(ranks),
        free(own);
    free(same_cigar), free(names), free(cigars), free(edits), free(apart);
}

/* Texts that are often of the form: characters of it, chosen by the input. */
static void encode_and_back(struct input *in, const struct bk_reads *r) {
    uint32_t *lengths = small(in, r->n, 60);
    uint64_t *at = offsets(lengths, r->n), most = at[r->n] / 9 + 1, longest = 1, size;
    uint8_t *text = bytes(in, at[r->n]), *counts = room(r->n);
    static const char form[] = "c,+7,1M,0;c,-7,1M,1;d,+9,2S,10;";
    for (uint64_t k = 0; k < at[r->n]; k++)
        text[k] = (uint8_t)(text[k] < 230 ? form[k % 31] : text[k]);
    for (uint64_t i = 0; i < r->n; i++)
        longest = r->text_len[i] > longest ? r->text_len[i] : longest;
    struct bk_alternatives o = {room(most),
                                room(most),
                                room(4 * most),
                                0,
                                room(most),
                                room(4 * most),
                                room(8 * most),
                                room(8 * most),
                                room(4 * most),
                                room(4 * most),
                                0,
                                0};
    uint8_t *cigar = room(longest);
    must(!bk_alternatives_split(r, text, lengths, cigar, counts, &o));
    uint64_t *name_at = offsets(o.name_len, o.n_new), *cigar_at = offsets(o.cigar_len, o.n_cigars);
    uint8_t *names = room(name_at[o.n_new]), *cigars = room(cigar_at[o.n_cigars]),
            *expected = room(at[r->n]);
    for (uint64_t k = 0; k < o.n_new; k++)
        memcpy(names + name_at[k], text + o.name_at[k], o.name_len[k]);
    for (uint64_t k = 0; k < o.n_cigars; k++)
        memcpy(cigars + cigar_at[k], text + o.cigar_at[k], o.cigar_len[k]);
    uint64_t n_expected = 0;
    for (uint64_t i = 0; i < r->n; i++)
        if (counts[i]) {
            memcpy(expected + n_expected, text + at[i], lengths[i]);
            n_expected += lengths[i];
        }
    struct bk_alternatives_in a = {o.ranks, o.same,     o.edits, o.n,    o.own_strand, o.apart,
                                   o.n_new, o.n_cigars, names,   cigars, name_at,      cigar_at};
    uint8_t *back = join(r, counts, &a, &size);
    must(back && size == n_expected);
    same(back, expected, size);
    free(lengths), free(at), free(text), free(counts), free(o.ranks), free(o.same), free(o.edits);
    free(o.own_strand), free(o.apart), free(o.name_at), free(o.cigar_at), free(o.name_len);
    free(o.cigar_len), free(cigar), free(name_at), free(cigar_at), free(names), free(cigars);
    free(expected), free(back);
}

static void fuzz(struct input *in) {
    struct bk_reads r = reads_of(in);
    encode_and_back(in, &r);
    decode(in, &r);
    free((void *)r.op_at), free((void *)r.ops), free((void *)r.pos), free((void *)r.ref_len);
    free((void *)r.flag), free((void *)r.text_len);
}
#endif

#ifdef FUZZ_bcf
#include "../../bams3/native/bcf.c"
#include "../../bams3/native/panel.c"

static void fuzz(struct input *in) {
    enum { MOST = 64 };
    uint32_t n_samples = pick(in, 140), some = pick(in, 2);
    uint64_t n, used, where, len = in->left;
    uint8_t *buf = bytes(in, len);
    struct bk_bcf_record *records = room(MOST * sizeof *records);
    if (!bk_bcf_scan(buf, len, n_samples, 3, 1, 2, MOST, records, &n, &used, &where)) {
        must(n <= MOST && used <= len);
        struct bk_bcf_calls *calls = room(n * sizeof *calls);
        uint64_t wanted = some ? n_samples / 2 : n_samples, size = 8 * n * ((wanted + 63) / 64);
        uint64_t *planes[5], *tally = room(32 * n), *counts = room(8 * n);
        uint32_t *samples = room(4 * wanted);
        for (uint64_t k = 0; k < wanted; k++) samples[k] = (uint32_t)(2 * k + 1);
        for (int k = 0; k < 5; k++) planes[k] = room(size);
        for (uint64_t v = 0; v < n; v++) {
            must(records[v].id_at + records[v].id_len <= used);
            calls[v] = (struct bk_bcf_calls){records[v].gt_at, records[v].gt_type,
                                             records[v].gt_count, (int32_t)records[v].n_alleles, 1};
        }
        bk_bcf_pack(buf, n, calls, some ? samples : NULL, wanted, planes[0], planes[1], planes[2],
                    planes[3], planes[4], tally, &where);
        must(!bk_plane_counts(n, (wanted + 63) / 64, planes[2], counts));
        for (uint64_t v = 0; v < n; v++) must(counts[v] <= wanted);
        for (int k = 0; k < 5; k++) free(planes[k]);
        free(calls), free(tally), free(counts), free(samples);
    }
    free(buf), free(records);
}
#endif
