/* Codec aligned: bases as differences from the reference that the records of a row group imply,
 * which is made from MD tags where there are any, else from what most reads say.
 *
 *   counts    of each aligned record: its mismatches
 *   gaps      of each mismatch: aligned bases between it and the one before, or the record's first
 *   symbols   of each mismatch: 1 to 3: (base - reference) & 3 in the order ACGT; 4: N; 16 + 4-bit
 * code loose     bases that are inserted, clipped or of records that are not aligned, in file order
 */
#include "alignment.h"

#include <string.h>

/* 4-bit base code (=ACMGRSVTWYHKDBN) to 2 bits; 4 = another. */
static const uint8_t two_bits[16] = {4, 0, 1, 4, 2, 4, 4, 4, 3, 4, 4, 4, 4, 4, 4, 4};
static const uint8_t four_bits[4] = {1, 2, 4, 8};

/* Which records are aligned (n); the blocks of all: contig << 32 | position, and length, at most
 * one a record and one for each N and long D; and how many bases are loose. */
BK_EXPORT int bk_blocks(const struct bk_columns *c, uint64_t max_blocks, uint8_t *aligned,
                        uint64_t *place, uint32_t *length, uint64_t *n_blocks, uint64_t *n_loose) {
    uint64_t blocks = 0, ops = 0, loose = 0;
    for (uint64_t i = 0; i < c->n; i++) {
        const uint32_t *op = c->cigar + ops, *end = op + c->cigar_len[i];
        uint64_t query = 0, reference = 0, unplaced = 0;
        if (c->cigar_len[i] > c->cigar_ops - ops) return BK_ERR_COLUMN_LENGTH;
        ops += c->cigar_len[i];
        for (const uint32_t *o = op; o < end; o++) {
            enum kind kind = kind_of(*o);
            if (kind == IN_BOTH || kind == IN_READ) query += *o >> 4;
            if (kind == IN_READ) unplaced += *o >> 4;
            if (kind == IN_BOTH || kind == GAP || kind == CUT) reference += *o >> 4;
        }
        aligned[i] = c->contig[i] >= 0 && c->pos[i] >= 0 && c->seq_len[i] > 0 &&
                     query == c->seq_len[i] && reference <= INT32_MAX;
        loose += aligned[i] ? unplaced : c->seq_len[i];
        if (!aligned[i]) continue;
        uint64_t at = (uint64_t)c->contig[i] << 32 | (uint64_t)c->pos[i], start = at;
        for (;; op++) {
            enum kind kind = op == end ? CUT : kind_of(*op);
            if (kind == CUT) {
                if (at > start) {
                    if (blocks == max_blocks) return BK_ERR_TOO_MANY;
                    place[blocks] = start;
                    length[blocks++] = (uint32_t)(at - start);
                }
                if (op == end) break;
                start = at + (*op >> 4);
            }
            if (kind == IN_BOTH || kind == GAP || kind == CUT) at += *op >> 4;
        }
    }
    *n_blocks = blocks;
    *n_loose = loose;
    return ops == c->cigar_ops ? BK_OK : BK_ERR_COLUMN_LENGTH;
}

static void unpack(const uint8_t *bases, uint64_t len, uint8_t *codes) {
    for (uint64_t j = 0; j < len / 2; j++) {
        codes[2 * j] = bases[j] >> 4;
        codes[2 * j + 1] = bases[j] & 15;
    }
    if (len & 1) codes[len - 1] = bases[len / 2] >> 4;
}

static void pack(const uint8_t *codes, uint64_t len, uint8_t *bases) {
    for (uint64_t j = 0; j < len / 2; j++)
        bases[j] = (uint8_t)(codes[2 * j] << 4 | codes[2 * j + 1]);
    if (len & 1) bases[len / 2] = (uint8_t)(codes[len - 1] << 4);
}

/* ---- the reference ---- */

static int has_zero(const uint8_t *p) {
    uint64_t word;
    memcpy(&word, p, 8);
    return ((word - 0x0101010101010101u) & ~word & 0x8080808080808080u) != 0;
}

/* Take n bases that a record and its MD agree on, where the reference is not known yet: in deep
 * data it nearly always is, so whole words are passed over. */
static void learn(uint8_t *reference, const uint8_t *codes, uint64_t n) {
    for (uint64_t k = 0; k < n;) {
        if (n - k >= 8 && !has_zero(reference + k)) {
            k += 8;
            continue;
        }
        uint64_t end = n - k >= 8 ? k + 8 : n;
        for (; k < end; k++)
            if (reference[k] == 0 && two_bits[codes[k]] < 4) reference[k] = codes[k];
    }
}

static uint8_t code_of_letter(uint8_t letter) {
    return letter == 'A' ? 1 : letter == 'C' ? 2 : letter == 'G' ? 4 : letter == 'T' ? 8 : 0;
}

static int is_letter(uint8_t character) {
    uint8_t lower = character | 32;
    return lower >= 'a' && lower <= 'z';
}

struct md {
    const uint8_t *p, *end;
    uint64_t matches; /* left of the number at hand */
};

/* Skip numbers that are used up; 0 at the end. */
static int md_token(struct md *md) {
    while (md->matches == 0 && md->p < md->end && *md->p >= '0' && *md->p <= '9')
        for (; md->p < md->end && *md->p >= '0' && *md->p <= '9'; md->p++)
            if (md->matches < UINT32_MAX) md->matches = md->matches * 10 + (uint64_t)(*md->p - '0');
    return md->matches || md->p < md->end;
}

/* One aligned stretch of n bases; 0 where MD does not go with the CIGAR. */
static int learn_stretch(struct md *md, uint8_t *reference, const uint8_t *codes, uint64_t n) {
    while (n) {
        if (!md_token(md)) return 0;
        uint64_t step = 1;
        if (md->matches) {
            step = md->matches < n ? md->matches : n;
            learn(reference, codes, step);
            md->matches -= step;
        } else {
            if (!is_letter(*md->p)) return 0;
            uint8_t code = code_of_letter(*md->p++);
            if (*reference == 0) *reference = code;
        }
        reference += step;
        codes += step;
        n -= step;
    }
    return 1;
}

/* A deletion of n bases; reference is NULL where it is not covered. */
static int learn_deletion(struct md *md, uint8_t *reference, uint64_t n) {
    if (!md_token(md) || md->matches || *md->p++ != '^') return 0;
    for (uint64_t k = 0; k < n; k++, md->p++) {
        if (md->p == md->end || !is_letter(*md->p)) return 0;
        if (reference && reference[k] == 0) reference[k] = code_of_letter(*md->p);
    }
    return 1;
}

/* What MD tags say of the reference (zeros before; 0 stays where none does). md_of is the number of
 * each record's MD, -1 for none, in those that md_at cuts from md. codes: scratch for a read. */
BK_EXPORT int bk_reference_learn(const struct bk_placement *p, const uint8_t *bases,
                                 const int32_t *md_of, const uint8_t *md, const uint64_t *md_at,
                                 uint8_t *codes, uint8_t *reference) {
    struct walk w = walk_all(p);
    for (uint64_t i = 0; i < p->n; bases += ((uint64_t)p->seq_len[i] + 1) / 2, i++) {
        walk_record(&w, i);
        int32_t k = md_of[i];
        struct md text = {0};
        int good = p->aligned[i] && k >= 0;
        if (good) text = (struct md){.p = md + md_at[k], .end = md + md_at[k + 1]};
        if (good) unpack(bases, p->seq_len[i], codes);
        for (uint64_t q = 0; walk_op(&w);) { /* to the end, so that blocks keep step */
            if (good && w.kind == IN_BOTH)
                good = learn_stretch(&text, reference + w.at, codes + q, w.run);
            if (good && w.run && (w.kind == GAP || w.kind == CUT) && walk_is_deletion(&w))
                good = learn_deletion(&text, w.kind == GAP ? reference + w.at : NULL, w.run);
            if (w.kind == IN_BOTH || w.kind == IN_READ) q += w.run;
        }
    }
    return BK_OK;
}

/* Positions that are 0 become what most reads say there (Boyer and Moore, "MJRTY", 1981: the low
 * two bits hold a candidate, the others its lead); A where no read says anything. votes: covered
 * zeros. */
BK_EXPORT int bk_reference_vote(const struct bk_placement *p, const uint8_t *bases,
                                uint64_t covered, uint8_t *codes, uint8_t *votes,
                                uint8_t *reference) {
    struct walk w = walk_all(p);
    for (uint64_t i = 0; i < p->n; bases += ((uint64_t)p->seq_len[i] + 1) / 2, i++) {
        walk_record(&w, i);
        if (p->aligned[i]) unpack(bases, p->seq_len[i], codes);
        for (uint64_t q = 0; walk_op(&w);) {
            for (uint64_t k = 0; w.kind == IN_BOTH && k < w.run; k++) {
                uint8_t two = two_bits[codes[q + k]], *vote = votes + w.at + k;
                if (two > 3 || reference[w.at + k]) continue;
                if (*vote < 4)
                    *vote = (uint8_t)(4 | two);
                else if ((*vote & 3) != two)
                    *vote = (uint8_t)(*vote - 4);
                else if (*vote < 252)
                    *vote = (uint8_t)(*vote + 4);
            }
            if (w.kind == IN_BOTH || w.kind == IN_READ) q += w.run;
        }
    }
    for (uint64_t k = 0; k < covered; k++)
        if (reference[k] == 0) reference[k] = four_bits[votes[k] & 3];
    return BK_OK;
}

/* ---- differences ---- */

static uint8_t symbol_of(uint8_t code, uint8_t reference) {
    if (two_bits[code] < 4) return (uint8_t)((two_bits[code] - two_bits[reference]) & 3);
    return code == 15 ? 4 : (uint8_t)(16 + code);
}

struct found {
    uint32_t *gap;
    uint8_t *symbol, *ref;
    uint64_t n, room, since; /* since: aligned bases since the last mismatch of the record */
};

static int find_mismatches(const uint8_t *codes, const uint8_t *reference, uint64_t n,
                           struct found *f) {
    for (uint64_t k = 0; k < n;) {
        if (n - k >= 8 && memcmp(codes + k, reference + k, 8) == 0) {
            k += 8;
            f->since += 8;
            continue;
        }
        uint64_t end = n - k >= 8 ? k + 8 : n;
        for (; k < end; k++, f->since++) {
            if (codes[k] == reference[k]) continue;
            if (f->n == f->room) return 0;
            f->gap[f->n] = (uint32_t)f->since;
            f->symbol[f->n] = symbol_of(codes[k], reference[k]);
            f->ref[f->n++] = reference[k];
            f->since = UINT64_MAX; /* 0 behind this base */
        }
    }
    return 1;
}

/* Out: counts (n; 0 of records that are not aligned), mismatches (at most room of them, else
 * BK_ERR_TOO_MANY), loose bases as 4-bit codes, one a byte (n_loose of bk_blocks), and padded
 * = 1 where a record of odd length has something in its last four bits: this form would lose it. */
BK_EXPORT int bk_bases_differ(const struct bk_placement *p, const uint8_t *bases,
                              const uint8_t *reference, uint8_t *codes, uint64_t room,
                              uint32_t *counts, uint32_t *gap, uint8_t *symbol, uint8_t *ref,
                              uint64_t *n_mismatches, uint8_t *loose, uint8_t *padded) {
    struct walk w = walk_all(p);
    struct found f = {gap, symbol, ref, 0, room, 0};
    uint8_t *out = loose;
    *padded = 0;
    for (uint64_t i = 0; i < p->n; i++) {
        uint64_t len = p->seq_len[i], before = f.n, q = 0;
        walk_record(&w, i);
        unpack(bases, len, codes);
        if (len & 1 && bases[len / 2] & 15) *padded = 1;
        bases += (len + 1) / 2;
        f.since = 0;
        while (walk_op(&w)) {
            if (w.kind == IN_BOTH && !find_mismatches(codes + q, reference + w.at, w.run, &f))
                return BK_ERR_TOO_MANY;
            if (w.kind == IN_READ) {
                memcpy(out, codes + q, w.run);
                out += w.run;
            }
            if (w.kind == IN_BOTH || w.kind == IN_READ) q += w.run;
        }
        if (!p->aligned[i]) {
            memcpy(out, codes, len);
            out += len;
        }
        counts[i] = (uint32_t)(f.n - before);
    }
    *n_mismatches = f.n;
    return BK_OK;
}

struct given {
    const struct bk_mismatches *m;
    uint64_t next, last; /* mismatches of the record that are still to come */
    uint64_t until;      /* aligned bases before the next one */
};

static int put_mismatches(struct given *g, uint8_t *codes, uint64_t n, uint8_t *ref) {
    for (; g->next < g->last && g->until < n; g->next++) {
        uint8_t symbol = g->m->symbol[g->next], *code = codes + g->until;
        ref[g->next] = *code;
        if (symbol >= 16 && symbol < 32)
            *code = (uint8_t)(symbol - 16);
        else if (symbol == 4)
            *code = 15;
        else if (symbol < 4 && symbol)
            *code = four_bits[(two_bits[*code] + symbol) & 3];
        else
            return 0;
        if (g->next + 1 < g->last) g->until += 1 + (uint64_t)g->m->gap[g->next + 1];
    }
    g->until -= g->next < g->last ? n : 0;
    return 1;
}

/* The inverse. m->ref is not read: it is made (ref). Out: bases (the records', (seq_len + 1) / 2
 * each), where: the record. */
BK_EXPORT int bk_bases_restore(const struct bk_placement *p, const struct bk_mismatches *m,
                               const uint8_t *reference, const uint8_t *loose, uint64_t n_loose,
                               uint8_t *codes, uint8_t *bases, uint8_t *ref, uint64_t *where) {
    struct walk w = walk_all(p);
    for (uint64_t i = 0; i < p->n; i++) {
        uint64_t len = p->seq_len[i], q = 0, loose_left = p->aligned[i] ? 0 : len;
        struct given g = {m, m->first[i], m->first[i + 1], 0};
        *where = i;
        walk_record(&w, i);
        if (g.next < g.last) g.until = m->gap[g.next];
        for (;;) {
            int more = walk_op(&w);
            if (more && w.kind == IN_BOTH) {
                memcpy(codes + q, reference + w.at, w.run);
                if (!put_mismatches(&g, codes + q, w.run, ref)) return BK_ERR_BAD_CODE;
                q += w.run;
            }
            uint64_t take = !more ? loose_left : w.kind == IN_READ ? w.run : 0;
            if (take > n_loose) return BK_ERR_COLUMN_LENGTH;
            memcpy(codes + q, loose, take);
            loose += take;
            n_loose -= take;
            q += take;
            if (!more) break;
        }
        if (g.next != g.last) return BK_ERR_COLUMN_LENGTH;
        pack(codes, len, bases);
        bases += (len + 1) / 2;
    }
    return n_loose == 0 ? BK_OK : BK_ERR_COLUMN_LENGTH;
}

/* 4-bit codes, one a byte, to two bits, four a byte, the first lowest; n_others (at most room)
 * codes that have no two bits go to `other`, with the codes between each and the one before it. */
BK_EXPORT int bk_codes_pack(const uint8_t *codes, uint64_t n, uint64_t room, uint8_t *packed,
                            uint32_t *gap, uint8_t *other, uint64_t *n_others) {
    uint64_t others = 0, next = 0;
    memset(packed, 0, (size_t)((n + 3) / 4));
    for (uint64_t k = 0; k < n; k++) {
        uint8_t two = two_bits[codes[k] & 15];
        if (two < 4) {
            packed[k / 4] = (uint8_t)(packed[k / 4] | two << 2 * (k & 3));
            continue;
        }
        if (others == room || k - next > UINT32_MAX) return BK_ERR_TOO_MANY;
        gap[others] = (uint32_t)(k - next);
        other[others++] = codes[k];
        next = k + 1;
    }
    *n_others = others;
    return BK_OK;
}

/* The inverse: n codes from (n + 3) / 4 bytes. */
BK_EXPORT int bk_codes_unpack(const uint8_t *packed, uint64_t n, const uint32_t *gap,
                              const uint8_t *other, uint64_t n_others, uint8_t *codes) {
    for (uint64_t k = 0; k < n; k++) codes[k] = four_bits[packed[k / 4] >> 2 * (k & 3) & 3];
    for (uint64_t i = 0, k = 0; i < n_others; i++, k++) {
        if (gap[i] >= n - k) return BK_ERR_COLUMN_LENGTH;
        if (other[i] > 15) return BK_ERR_BAD_CODE;
        k += gap[i];
        codes[k] = other[i];
    }
    return BK_OK;
}
