/* What an alignment says of its tags: MD as text, and the counts that NM and AS are made of. */
#include "alignment.h"

#include <string.h>

/* Text that is counted, and written where it has a place and room is left. */
struct sink {
    uint8_t *p; /* NULL: only count */
    uint64_t n, room;
};

static void put(struct sink *s, uint8_t character) {
    if (s->p && s->n < s->room) s->p[s->n] = character;
    s->n++;
}

static void put_number(struct sink *s, uint64_t value) {
    uint8_t digit[20];
    unsigned n = 0;
    do digit[n++] = (uint8_t)('0' + value % 10);
    while (value /= 10);
    while (n) put(s, digit[--n]);
}

static void put_base(struct sink *s, uint8_t code) {
    put(s, (uint8_t) "=ACMGRSVTWYHKDBN"[code & 15]);
}

static void put_md(struct sink *s, struct walk *w, const struct bk_mismatches *m,
                   const uint8_t *reference, uint64_t i) {
    uint64_t matches = 0, next = m->first[i], last = m->first[i + 1];
    uint64_t until = next < last ? m->gap[next] : UINT64_MAX;
    while (walk_op(w)) {
        if (w->kind == IN_BOTH) {
            uint64_t left = w->run;
            while (until < left) {
                put_number(s, matches + until);
                put_base(s, m->ref[next++]);
                left -= until + 1;
                matches = 0;
                until = next < last ? m->gap[next] : UINT64_MAX;
            }
            matches += left;
            if (next < last) until -= left;
        } else if (w->run && walk_is_deletion(w)) {
            put_number(s, matches);
            put(s, '^');
            for (uint64_t k = 0; w->kind == GAP && k < w->run; k++)
                put_base(s, reference[w->at + k]);
            matches = 0;
        }
    }
    put_number(s, matches);
}

/* MD of the records that `wanted` (n) marks, as samtools calmd writes it, but without the bases of
 * deletions above 1,000; empty where a record is not aligned. Out: lengths of the marked ones,
 * their sum; text (room bytes), or NULL to measure. */
BK_EXPORT int bk_md(const struct bk_placement *p, const struct bk_mismatches *m,
                    const uint8_t *reference, const uint8_t *wanted, uint64_t room,
                    uint32_t *lengths, uint64_t *bytes, uint8_t *text) {
    struct walk w = walk_all(p);
    struct sink s = {text, 0, room};
    uint64_t k = 0;
    for (uint64_t i = 0; i < p->n; i++) {
        uint64_t before = s.n;
        walk_record(&w, i);
        if (!wanted[i])
            while (walk_op(&w)) continue;
        else if (p->aligned[i])
            put_md(&s, &w, m, reference, i);
        if (wanted[i]) lengths[k++] = (uint32_t)(s.n - before);
    }
    *bytes = s.n;
    return text && s.n > room ? BK_ERR_COLUMN_LENGTH : BK_OK;
}

/* Of each record: bases that match, mismatches but N, N, insertions and deletions, and the bases in
 * them: counts (5 rows of n), all 0 where it is not aligned. */
BK_EXPORT int bk_alignment_counts(const struct bk_placement *p, const struct bk_mismatches *m,
                                  uint32_t *counts) {
    struct walk w = walk_all(p);
    uint64_t n = p->n;
    for (uint64_t i = 0; i < n; i++) {
        uint32_t both = 0, gaps = 0, in_gaps = 0, unknown = 0;
        walk_record(&w, i);
        while (walk_op(&w)) {
            int gap = walk_is_deletion(&w) || (w.op[-1] & 15) == 1;
            if (w.kind == IN_BOTH) both += (uint32_t)w.run;
            gaps += (uint32_t)gap;
            in_gaps += gap ? (uint32_t)w.run : 0;
        }
        uint32_t mismatches = (uint32_t)(m->first[i + 1] - m->first[i]);
        for (uint64_t k = m->first[i]; k < m->first[i + 1]; k++) unknown += m->symbol[k] == 4;
        counts[i] = both - mismatches;
        counts[n + i] = mismatches - unknown;
        counts[2 * n + i] = unknown;
        counts[3 * n + i] = gaps;
        counts[4 * n + i] = in_gaps;
    }
    return BK_OK;
}
