/* Codec alternatives: XA tags (bwa: other places where the read aligns), "name,strand
 * POS,CIGAR,NM;" each.
 *
 * Reads that lie together have their alternatives at the same distances, in any order. A distance
 * is the contig's name, whether the strand is the read's own, and POS - 1 - pos where it is, else
 * POS - 1 + pos + ref_len (32 bits, wrapping). The 255 distances that were met last are kept, the
 * latest first.
 *
 *   counts    of each value: its alternatives, 0 where it is not of this form and kept as text
 *   ranks     of each alternative: which of the kept distances, 255: a new one
 *   same      of each alternative: 1 where its CIGAR is the record's, turned around on the other
 * strand edits     of each alternative: NM less that of the one before it in its value (0 before
 * the first) new       names, and strand << 32 | distance as two lists, of the new distances
 */
#include "kernels.h"

#include <string.h>

#define KEPT 255u
#define NEW 255u

struct text {
    const uint8_t *p;
    uint64_t n;
};

struct distance {
    struct text name;
    uint32_t apart;
    uint8_t own_strand;
};

/* The kept distances: order[r] is the slot of rank r. */
struct kept {
    struct distance slot[KEPT];
    uint8_t order[KEPT];
    unsigned n;
};

static void keep_first(struct kept *k, unsigned rank) {
    uint8_t slot = k->order[rank];
    memmove(k->order + 1, k->order, rank);
    k->order[0] = slot;
}

/* Put a new distance first; where 255 are kept, the last one goes. */
static void keep_new(struct kept *k, struct distance d) {
    unsigned last = k->n < KEPT ? k->n++ : KEPT - 1;
    k->slot[k->order[last]] = d;
    keep_first(k, last);
}

static void keep_none(struct kept *k) {
    k->n = 0;
    for (unsigned i = 0; i < KEPT; i++) k->order[i] = (uint8_t)i;
}

static unsigned rank_of(const struct kept *k, const struct distance *d) {
    for (unsigned rank = 0; rank < k->n; rank++) {
        const struct distance *other = k->slot + k->order[rank];
        if (other->apart == d->apart && other->own_strand == d->own_strand &&
            other->name.n == d->name.n && memcmp(other->name.p, d->name.p, d->name.n) == 0)
            return rank;
    }
    return NEW;
}

/* The records that have the tag, one a value, and what is needed of them. */
struct bk_reads {
    uint64_t n;
    const int32_t *pos;
    const uint32_t *ref_len;
    const uint16_t *flag;
    const uint64_t *op_at; /* n + 1: where each CIGAR begins in ops */
    const uint32_t *ops;
    const uint32_t *text_len; /* of the CIGAR as SAM text */
};

static uint32_t apart(const struct bk_reads *r, uint64_t i, int own_strand, uint32_t place) {
    uint32_t pos = (uint32_t)r->pos[i];
    return own_strand ? place - pos : place + pos + r->ref_len[i];
}

/* Where the alternative lies, 0-based, from its distance. */
static uint32_t place_of(const struct bk_reads *r, uint64_t i, const struct distance *d) {
    uint32_t pos = (uint32_t)r->pos[i];
    return d->own_strand ? d->apart + pos : d->apart - pos - r->ref_len[i];
}

static unsigned n_digits(uint32_t value) {
    unsigned n = 1;
    for (; value >= 10; value /= 10) n++;
    return n;
}

static void write_number(uint8_t *p, uint32_t value, unsigned n) {
    for (; n; value /= 10) p[--n] = (uint8_t)('0' + value % 10);
}

/* The CIGAR as text, turned around on the other strand. */
static void write_cigar(const struct bk_reads *r, uint64_t i, int own_strand, uint8_t *p) {
    uint64_t begin = r->op_at[i], end = r->op_at[i + 1];
    if (begin == end) *p = '*';
    for (uint64_t k = begin; k < end; k++) {
        uint32_t op = r->ops[own_strand ? k : begin + end - 1 - k];
        unsigned n = n_digits(op >> 4);
        write_number(p, op >> 4, n);
        p[n] = (uint8_t) "MIDNSHP=X???????"[op & 15];
        p += n + 1;
    }
}

/* ---- splitting ---- */

/* The field up to `stop`; 0 where it is empty or has no end. */
static int field(const uint8_t **p, const uint8_t *end, uint8_t stop, struct text *out) {
    out->p = *p;
    while (*p < end && **p != ',' && **p != ';') ++*p;
    out->n = (uint64_t)(*p - out->p);
    return out->n && *p < end && *(*p)++ == stop;
}

/* A number of up to 2^31 - 1, in the one way that it is written. */
static int number(struct text t, uint32_t *value) {
    uint64_t sum = 0;
    if (t.n == 0 || t.n > 10 || (t.n > 1 && t.p[0] == '0')) return 0;
    for (uint64_t k = 0; k < t.n; k++) {
        if (t.p[k] < '0' || t.p[k] > '9') return 0;
        sum = sum * 10 + (uint64_t)(t.p[k] - '0');
    }
    *value = (uint32_t)sum;
    return sum <= INT32_MAX;
}

struct alternative {
    struct text name, cigar;
    uint32_t place, edits; /* 0-based */
    int reverse;
};

static int parse(const uint8_t **p, const uint8_t *end, struct alternative *a) {
    struct text place, edits;
    if (!field(p, end, ',', &a->name) || !field(p, end, ',', &place) ||
        !field(p, end, ',', &a->cigar) || !field(p, end, ';', &edits))
        return 0;
    a->reverse = place.p[0] == '-';
    if (place.p[0] != '+' && place.p[0] != '-') return 0;
    place.p++;
    place.n--;
    if (!number(place, &a->place) || !number(edits, &a->edits) || a->place == 0) return 0;
    a->place--;
    return 1;
}

/* Out, of alternatives: all with room for one in 9 bytes of text. */
struct bk_alternatives {
    uint8_t *ranks, *same;
    uint32_t *edits;
    uint64_t n;
    /* Of new distances, and of CIGARs that are not the record's: offsets and lengths in the text.
     */
    uint8_t *own_strand;
    uint32_t *apart;
    uint64_t *name_at, *cigar_at;
    uint32_t *name_len, *cigar_len;
    uint64_t n_new, n_cigars;
};

static int is_text(struct text t, const uint8_t *p, uint64_t n) {
    return t.n == n && memcmp(t.p, p, n) == 0;
}

/* Split values, cut from text by lengths, one for each read. cigar: scratch of the longest CIGAR as
 * text. Out: counts (n, 0: kept as text) and alternatives. */
BK_EXPORT int bk_alternatives_split(const struct bk_reads *r, const uint8_t *text,
                                    const uint32_t *lengths, uint8_t *cigar, uint8_t *counts,
                                    struct bk_alternatives *out) {
    struct kept kept;
    keep_none(&kept);
    const uint8_t *p = text;
    for (uint64_t i = 0; i < r->n; i++) {
        const uint8_t *begin = p, *end = p + lengths[i];
        struct alternative a;
        unsigned count = 0;
        int whole = 1;
        for (; p < end && whole && count < 256; count++) whole = parse(&p, end, &a);
        counts[i] = (uint8_t)(whole && p == end && count < 256 ? count : 0);
        p = counts[i] ? begin : end;
        uint32_t edits = 0;
        for (unsigned k = 0; k < counts[i]; k++, out->n++) {
            parse(&p, end, &a);
            int own = a.reverse == ((r->flag[i] & 16) != 0);
            struct distance d = {a.name, apart(r, i, own, a.place), (uint8_t)own};
            out->ranks[out->n] = (uint8_t)rank_of(&kept, &d);
            if (out->ranks[out->n] == NEW) {
                out->own_strand[out->n_new] = d.own_strand;
                out->apart[out->n_new] = d.apart;
                out->name_at[out->n_new] = (uint64_t)(a.name.p - text);
                out->name_len[out->n_new++] = (uint32_t)a.name.n;
                keep_new(&kept, d);
            } else {
                keep_first(&kept, out->ranks[out->n]);
            }
            out->same[out->n] = 0;
            if (a.cigar.n == r->text_len[i]) { /* else it is another, and may be far shorter */
                write_cigar(r, i, own, cigar);
                out->same[out->n] = (uint8_t)is_text(a.cigar, cigar, r->text_len[i]);
            }
            if (!out->same[out->n]) {
                out->cigar_at[out->n_cigars] = (uint64_t)(a.cigar.p - text);
                out->cigar_len[out->n_cigars++] = (uint32_t)a.cigar.n;
            }
            out->edits[out->n] = a.edits - edits;
            edits = a.edits;
        }
    }
    return BK_OK;
}

/* ---- joining ---- */

/* What was split, decoded: names and CIGARs as text that *_at (one more than there are) cuts. */
struct bk_alternatives_in {
    const uint8_t *ranks, *same;
    const uint32_t *edits;
    uint64_t n;
    const uint8_t *own_strand;
    const uint32_t *apart;
    uint64_t n_new, n_cigars;
    const uint8_t *names, *cigars;
    const uint64_t *name_at, *cigar_at;
};

static uint8_t *put(uint8_t *p, struct text t, uint8_t stop) {
    memcpy(p, t.p, t.n);
    p[t.n] = stop;
    return p + t.n + 1;
}

static void write_alternative(uint8_t *p, const struct bk_reads *r, uint64_t i,
                              const struct distance *d, uint32_t place, struct text cigar,
                              uint32_t edits) {
    int reverse = d->own_strand ? (r->flag[i] & 16) != 0 : (r->flag[i] & 16) == 0;
    p = put(p, d->name, ',');
    *p++ = reverse ? '-' : '+';
    write_number(p, place, n_digits(place));
    p += n_digits(place);
    *p++ = ',';
    if (cigar.p)
        memcpy(p, cigar.p, cigar.n);
    else
        write_cigar(r, i, d->own_strand, p);
    p[cigar.n] = ',';
    p += cigar.n + 1;
    write_number(p, edits, n_digits(edits));
    p[n_digits(edits)] = ';';
}

/* Join values of counts[i] alternatives each (0: an empty one). Out: lengths (n) and their sum;
 * text (room bytes), or NULL to measure; where: the value. */
BK_EXPORT int bk_alternatives_join(const struct bk_reads *r, const uint8_t *counts,
                                   const struct bk_alternatives_in *in, uint64_t room,
                                   uint32_t *lengths, uint64_t *bytes, uint8_t *text,
                                   uint64_t *where) {
    struct kept kept;
    keep_none(&kept);
    uint64_t at = 0, n_new = 0, n_cigars = 0, written = 0;
    for (uint64_t i = 0; i < r->n; i++) {
        uint64_t before = written;
        uint32_t edits = 0;
        *where = i;
        for (unsigned k = 0; k < counts[i]; k++, at++) {
            if (at == in->n) return BK_ERR_COLUMN_LENGTH;
            if (in->ranks[at] == NEW) {
                if (n_new == in->n_new) return BK_ERR_COLUMN_LENGTH;
                const uint64_t *cut = in->name_at + n_new;
                struct text name = {in->names + cut[0], cut[1] - cut[0]};
                keep_new(&kept, (struct distance){name, in->apart[n_new], in->own_strand[n_new]});
                n_new++;
            } else {
                if (in->ranks[at] >= kept.n) return BK_ERR_BAD_CODE;
                keep_first(&kept, in->ranks[at]);
            }
            const struct distance *d = kept.slot + kept.order[0];
            uint32_t place = place_of(r, i, d) + 1;
            struct text cigar = {NULL, r->text_len[i]};
            if (!in->same[at]) {
                if (n_cigars == in->n_cigars) return BK_ERR_COLUMN_LENGTH;
                const uint64_t *cut = in->cigar_at + n_cigars++;
                cigar = (struct text){in->cigars + cut[0], cut[1] - cut[0]};
            }
            edits += in->edits[at];
            uint64_t size = d->name.n + n_digits(place) + cigar.n + n_digits(edits) + 5;
            if (text && size > room - written) return BK_ERR_COLUMN_LENGTH;
            if (text) write_alternative(text + written, r, i, d, place, cigar, edits);
            written += size;
        }
        lengths[i] = (uint32_t)(written - before);
    }
    *bytes = written;
    return at == in->n && n_new == in->n_new && n_cigars == in->n_cigars ? BK_OK
                                                                         : BK_ERR_COLUMN_LENGTH;
}
