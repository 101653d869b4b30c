/* Walks over aligned records, shared by alignment.c and md.c.
 *
 * A record is aligned if it has a contig and a position from 0 on, and its CIGAR consumes exactly
 * its sequence, which is not empty. Its M, = and X, and D of at most 1,000, cover positions; N, and
 * longer D, cut what it covers into blocks. The reference of a row group holds one base (BAM's
 * 4-bit code, one a byte, always A, C, G or T) for each position that any block covers, in order of
 * contig and position; block_at[b] says where block b, of all blocks in file order, begins in it.
 */
#ifndef BAMS3_ALIGNMENT_H
#define BAMS3_ALIGNMENT_H

#include "kernels.h"

#define LONG_GAP 1000u

enum kind { IN_BOTH, IN_READ, GAP, CUT, NEITHER };

/* MIDNSHP=X (SAMv1 section 1.4.6). */
static inline enum kind kind_of(uint32_t op) {
    switch (op & 15) {
    case 0:
    case 7:
    case 8:
        return IN_BOTH;
    case 1:
    case 4:
        return IN_READ;
    case 2:
        return op >> 4 <= LONG_GAP ? GAP : CUT;
    case 3:
        return CUT;
    default:
        return NEITHER;
    }
}

/* What bk_blocks found, and where the blocks lie in the reference. */
struct bk_placement {
    uint64_t n;
    const uint8_t *aligned;              /* n */
    const uint32_t *seq_len, *cigar_len; /* n */
    const uint32_t *cigar;
    const uint32_t *block_at; /* one a block */
};

/* Mismatches: those of record i are first[i] to first[i + 1] - 1. gap counts the aligned bases
 * between one and the one before it in the record, or the record's first. */
struct bk_mismatches {
    const uint64_t *first; /* n + 1 */
    const uint32_t *gap;
    const uint8_t *symbol; /* 1 to 3: (base - reference) & 3; 4: N; 16 + code: another */
    const uint8_t *ref;    /* 4-bit code */
};

struct walk {
    const struct bk_placement *p;
    uint64_t record;
    const uint32_t *op, *end; /* of the record at hand */
    const uint32_t *block_at; /* the next block */
    uint64_t at;              /* where the operation begins in the reference, for IN_BOTH and GAP */
    uint64_t run;             /* bases of the operation */
    uint64_t next_at;
    int in_block;
    enum kind kind;
};

static inline struct walk walk_all(const struct bk_placement *p) {
    return (struct walk){.p = p, .op = p->cigar, .end = p->cigar, .block_at = p->block_at};
}

/* Begin record i, which must be the one after the last. */
static inline void walk_record(struct walk *w, uint64_t i) {
    w->record = i;
    w->op = w->end;
    w->end += w->p->cigar_len[i];
    w->in_block = 0;
    if (!w->p->aligned[i]) w->op = w->end;
}

/* The next operation of the record; 0 behind the last. bk_blocks cut the same operations into
 * blocks by the same rules, so there is a block whenever one begins. */
static inline int walk_op(struct walk *w) {
    if (w->op == w->end) return 0;
    uint32_t op = *w->op++;
    w->kind = kind_of(op);
    w->run = op >> 4;
    if (w->kind == CUT) w->in_block = 0;
    if ((w->kind == IN_BOTH || w->kind == GAP) && w->run) {
        if (!w->in_block) w->next_at = *w->block_at++;
        w->in_block = 1;
        w->at = w->next_at;
        w->next_at += w->run;
    }
    return 1;
}

static inline int walk_is_deletion(const struct walk *w) { return (w->op[-1] & 15) == 2; }

#endif
