/* Records of one name: links, mates, and what follows from them.
 *
 * prev[i] is the number of the last record before i, in its row group, that has the same name, or
 * -1. The records that are linked so are a chain. The mate of a read 1 is the first primary read 2
 * of its chain, and the other way round.
 */
#include "kernels.h"

#include <string.h>

enum { PAIRED = 1, PROPER = 2, UNMAPPED = 4, MATE_UNMAPPED = 8, REVERSE = 16, MATE_REVERSE = 32 };
enum {
    READ1 = 64,
    READ2 = 128,
    SECONDARY = 256,
    FAILED = 512,
    DUPLICATE = 1024,
    SUPPLEMENT = 2048
};

static uint64_t hash_name(const uint8_t *name, uint64_t len, uint64_t seed) {
    uint64_t hash = len ^ seed;
    for (; len >= 8; len -= 8, name += 8) {
        uint64_t word;
        memcpy(&word, name, 8);
        hash = (hash ^ word) * 0x9e3779b97f4a7c15u;
        hash ^= hash >> 32;
    }
    uint64_t word = 0;
    memcpy(&word, name, (size_t)len);
    hash = (hash ^ word) * 0x9e3779b97f4a7c15u;
    return hash ^ hash >> 29;
}

/* Links of n names, cut from names by name_at (n + 1 offsets). seed: any number that who chose the
 * names does not know, so that none can make them collide. slots: scratch, zeros, a power of two of
 * them, more than n. Out: prev (n). */
BK_EXPORT int bk_links_find(const uint8_t *names, const uint64_t *name_at, uint64_t n,
                            uint64_t seed, uint32_t *slots, uint64_t n_slots, int32_t *prev) {
    if (n >= n_slots || n > INT32_MAX) return BK_ERR_TOO_MANY;
    for (uint64_t i = 0; i < n; i++) {
        const uint8_t *name = names + name_at[i];
        uint64_t len = name_at[i + 1] - name_at[i],
                 slot = hash_name(name, len, seed) & (n_slots - 1);
        prev[i] = -1;
        for (; slots[slot]; slot = (slot + 1) & (n_slots - 1)) {
            uint32_t other = slots[slot] - 1;
            if (name_at[other + 1] - name_at[other] == len &&
                memcmp(names + name_at[other], name, len) == 0) {
                prev[i] = (int32_t)other;
                break;
            }
        }
        slots[slot] = (uint32_t)i + 1;
    }
    return BK_OK;
}

/* prev from the distance of each record to the next of its chain (0: none): `first` holds those of
 * records that begin a chain, `later` those of the others. Out: prev (n); where: the record. */
BK_EXPORT int bk_links_join(const uint32_t *first, uint64_t n_first, const uint32_t *later,
                            uint64_t n_later, uint64_t n, int32_t *prev, uint64_t *where) {
    uint64_t firsts = 0, laters = 0;
    for (uint64_t i = 0; i < n; i++) prev[i] = -1;
    for (uint64_t i = 0; i < n; i++) {
        uint32_t distance;
        *where = i;
        if (prev[i] < 0 ? firsts == n_first : laters == n_later) return BK_ERR_COLUMN_LENGTH;
        distance = prev[i] < 0 ? first[firsts++] : later[laters++];
        if (distance == 0) continue;
        if (distance >= n - i || prev[i + distance] >= 0) return BK_ERR_BAD_LINK;
        prev[i + distance] = (int32_t)i;
    }
    return firsts == n_first && laters == n_later ? BK_OK : BK_ERR_COLUMN_LENGTH;
}

/* Mates by the links: -1 where there is none. scratch: 3 n. Out: mate (n). */
BK_EXPORT int bk_mates(const int32_t *prev, const uint16_t *flag, uint64_t n, int32_t *scratch,
                       int32_t *mate) {
    int32_t *root = scratch, *read1 = scratch + n, *read2 = scratch + 2 * n;
    for (uint64_t i = 0; i < n; i++) {
        root[i] = prev[i] < 0 ? (int32_t)i : root[prev[i]];
        read1[i] = read2[i] = -1;
        if (flag[i] & (SECONDARY | SUPPLEMENT)) continue;
        int32_t *mine = (flag[i] & (READ1 | READ2)) == READ1   ? read1 + root[i]
                        : (flag[i] & (READ1 | READ2)) == READ2 ? read2 + root[i]
                                                               : NULL;
        if (mine && *mine < 0) *mine = (int32_t)i;
    }
    for (uint64_t i = 0; i < n; i++)
        mate[i] = (flag[i] & (READ1 | READ2)) == READ1   ? read2[root[i]]
                  : (flag[i] & (READ1 | READ2)) == READ2 ? read1[root[i]]
                                                         : -1;
    return BK_OK;
}

static uint16_t flag_of_mate(uint16_t flag) {
    unsigned same = flag & (PAIRED | PROPER | FAILED | DUPLICATE);
    unsigned up = flag & (UNMAPPED | REVERSE | READ1);
    unsigned down = flag & (MATE_UNMAPPED | MATE_REVERSE | READ2);
    return (uint16_t)(same | up << 1 | down >> 1);
}

/* Flags, in place, to what differs (xor) from the prediction by the record before in the chain: its
 * flag as the mate would have it; 0 where there is none. undo: back again. */
BK_EXPORT int bk_flags(const int32_t *prev, uint64_t n, int undo, uint16_t *flag) {
    if (undo)
        for (uint64_t i = 0; i < n; i++) flag[i] ^= prev[i] < 0 ? 0 : flag_of_mate(flag[prev[i]]);
    else
        for (uint64_t i = n; i-- > 0;) flag[i] ^= prev[i] < 0 ? 0 : flag_of_mate(flag[prev[i]]);
    return BK_OK;
}

/* What a TLEN is predicted from; one entry a record. */
struct bk_templates {
    uint64_t n;
    const int32_t *mate, *contig, *pos, *mate_pos;
    const uint32_t *ref_len;
    const uint16_t *flag;
};

/* SAMv1 leaves two readings: from 5' end to 5' end, or (outermost) from the leftmost base to the
 * rightmost. In 64 bits: positions and lengths are any 31-bit numbers. */
static int64_t template_length(const struct bk_templates *t, uint64_t i, uint64_t m,
                               int outermost) {
    int64_t start = t->pos[i], end = start + t->ref_len[i];
    int64_t mate_start = t->pos[m], mate_end = mate_start + t->ref_len[m];
    if (t->contig[i] != t->contig[m] || (t->flag[i] | t->flag[m]) & UNMAPPED) return 0;
    if (outermost) {
        int64_t left = start < mate_start ? start : mate_start;
        int64_t right = end > mate_end ? end : mate_end;
        return start <= mate_start ? right - left : left - right;
    }
    int64_t five = t->flag[i] & REVERSE ? end - 1 : start;
    int64_t mate_five = t->flag[m] & REVERSE ? mate_end - 1 : mate_start;
    return mate_five - five + (mate_five > five) - (mate_five < five);
}

static uint32_t predict_tlen(const struct bk_templates *t, uint64_t i, int outermost,
                             const uint32_t *tlen) {
    int32_t mate = t->mate[i];
    if (mate < 0) return (uint32_t)t->mate_pos[i] - (uint32_t)t->pos[i];
    if ((uint64_t)mate < i) return 0u - tlen[mate];
    return (uint32_t)template_length(t, i, (uint64_t)mate, outermost);
}

/* TLEN, in place, to its difference from the prediction: a mate before: minus its TLEN; a mate
 * behind: the template's length; none: PNEXT - POS. All wraps at 32 bits. undo: back again. */
BK_EXPORT int bk_tlens(const struct bk_templates *t, int outermost, int undo, uint32_t *tlen) {
    if (undo)
        for (uint64_t i = 0; i < t->n; i++) tlen[i] += predict_tlen(t, i, outermost, tlen);
    else
        for (uint64_t i = t->n; i-- > 0;) tlen[i] -= predict_tlen(t, i, outermost, tlen);
    return BK_OK;
}

/* ---- strings ---- */

/* out = strings index[0], index[1], ... of those that at cuts from data; their lengths add up to
 * out_bytes, which the caller has summed. */
BK_EXPORT int bk_strings_take(const uint8_t *data, const uint64_t *at, const uint32_t *index,
                              uint64_t n, uint64_t out_bytes, uint8_t *out) {
    uint64_t written = 0;
    for (uint64_t i = 0; i < n; i++) {
        uint64_t len = at[index[i] + 1] - at[index[i]];
        if (len > out_bytes - written) return BK_ERR_COLUMN_LENGTH;
        memcpy(out + written, data + at[index[i]], len);
        written += len;
    }
    return written == out_bytes ? BK_OK : BK_ERR_COLUMN_LENGTH;
}

/* equal[k] = whether string left[k] of one list is string right[k] of another. */
BK_EXPORT int bk_strings_equal(const uint8_t *data, const uint64_t *at, const uint32_t *left,
                               const uint8_t *other, const uint64_t *other_at,
                               const uint32_t *right, uint64_t n, uint8_t *equal) {
    for (uint64_t k = 0; k < n; k++) {
        uint64_t a = at[left[k]], b = other_at[right[k]], len = at[left[k] + 1] - a;
        equal[k] = len == other_at[right[k] + 1] - b && memcmp(data + a, other + b, len) == 0;
    }
    return BK_OK;
}

static uint64_t digits(uint32_t value) {
    uint64_t n = 1;
    for (; value >= 10; value /= 10) n++;
    return n;
}

/* Bytes of each CIGAR as SAM text (* for none): lengths (n). */
BK_EXPORT int bk_cigar_text_lengths(const uint32_t *cigar, const uint32_t *n_ops, uint64_t n,
                                    uint64_t cigar_ops, uint32_t *lengths) {
    uint64_t at = 0;
    for (uint64_t i = 0; i < n; i++) {
        uint64_t bytes = n_ops[i] == 0;
        if (n_ops[i] > cigar_ops - at) return BK_ERR_COLUMN_LENGTH;
        for (uint32_t k = 0; k < n_ops[i]; k++) bytes += 1 + digits(cigar[at++] >> 4);
        lengths[i] = bytes > UINT32_MAX ? UINT32_MAX : (uint32_t)bytes;
    }
    return at == cigar_ops ? BK_OK : BK_ERR_COLUMN_LENGTH;
}

/* The texts of CIGARs index[0], index[1], ..., whose operations begin at op_at[index[k]]; their
 * lengths add up to out_bytes, which the caller has summed. */
BK_EXPORT int bk_cigar_texts(const uint32_t *cigar, const uint64_t *op_at, const uint32_t *index,
                             uint64_t n, uint64_t out_bytes, uint8_t *out) {
    uint64_t room = out_bytes;
    for (uint64_t k = 0; k < n; k++) {
        uint64_t op = op_at[index[k]], end = op_at[index[k] + 1];
        if (op == end) {
            if (room == 0) return BK_ERR_COLUMN_LENGTH;
            *out++ = '*';
            room--;
        }
        for (; op < end; op++) {
            uint32_t value = cigar[op] >> 4;
            uint64_t count = digits(value);
            if (room < count + 1) return BK_ERR_COLUMN_LENGTH;
            for (uint64_t j = count; j-- > 0; value /= 10) out[j] = (uint8_t)('0' + value % 10);
            out[count] = (uint8_t) "MIDNSHP=X???????"[cigar[op] & 15];
            out += count + 1;
            room -= count + 1;
        }
    }
    return room == 0 ? BK_OK : BK_ERR_COLUMN_LENGTH;
}
