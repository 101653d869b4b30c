/* Optional fields of records: their types and lengths, the layouts that a row group uses, and the
 * CG tag that holds a long CIGAR.
 *
 * A layout is the ordered list of (tag, type) of a record. A row group has few of them; a record
 * stores the number of its layout, and each (tag, type) is a column of its own.
 */
#include "kernels.h"

#include <string.h>

uint64_t bk_tag_value_bytes(const uint8_t *p, const uint8_t *end, uint8_t type) {
    uint64_t room = (uint64_t)(end - p);
    unsigned width = bk_type_width(type);
    if (width) return width <= room ? width : 0;
    if (type == 'Z' || type == 'H') {
        const uint8_t *nul = room ? memchr(p, 0, (size_t)room) : NULL;
        return nul ? (uint64_t)(nul - p) + 1 : 0;
    }
    if (type != 'B' || room < 5) return 0;
    unsigned item = p[0] == 'A' ? 0 : bk_type_width(p[0]);
    uint64_t bytes = 5 + (uint64_t)bk_u32(p + 1) * item;
    return item && bytes <= room ? bytes : 0;
}

static void cigar_lengths(struct bk_cigar *c) {
    /* Two bits an operation: 1 consumes the query, 2 the reference (MIDNSHP=X, then unknown). */
    static const uint8_t consumes[16] = {3, 1, 2, 2, 1, 0, 0, 3, 3};
    c->ref_len = c->query_len = 0;
    for (uint32_t i = 0; i < c->n_ops; i++) {
        uint32_t op = bk_u32(c->ops + 4 * (uint64_t)i);
        uint32_t how = consumes[op & 15];
        if (how & 1) c->query_len += op >> 4;
        if (how & 2) c->ref_len += op >> 4;
    }
}

/* htslib's rule (bam_tag2cigar): a mapped record whose CIGAR begins with a soft clip of the whole
 * sequence and whose first CG tag is an array of 32-bit integers, not shorter than that CIGAR. */
int bk_real_cigar(const struct bk_record *rec, struct bk_cigar *cigar) {
    cigar->ops = rec->cigar;
    cigar->n_ops = rec->n_cigar;
    cigar->from_tag = 0;
    cigar_lengths(cigar);
    int32_t contig = (int32_t)bk_u32(rec->fixed), pos = (int32_t)bk_u32(rec->fixed + 4);
    if (rec->n_cigar == 0 || contig < 0 || pos < 0) return BK_OK;
    uint32_t first = bk_u32(rec->cigar);
    if ((first & 15) != 4 || first >> 4 != rec->seq_len) return BK_OK;
    const uint8_t *p = rec->tags;
    while (rec->end - p >= 3) {
        uint64_t bytes = bk_tag_value_bytes(p + 3, rec->end, p[2]);
        if (bytes == 0) return BK_ERR_BAD_TAG;
        if (p[0] == 'C' && p[1] == 'G') break;
        p += 3 + bytes;
    }
    if (rec->end - p < 3 || p[2] != 'B' || (p[3] != 'I' && p[3] != 'i')) return BK_OK;
    uint32_t n_ops = bk_u32(p + 4);
    if (n_ops < rec->n_cigar || n_ops >= 1u << 29) return BK_OK;
    struct bk_cigar real = {.ops = p + 8, .n_ops = n_ops};
    cigar_lengths(&real);
    *cigar = real;
    cigar->from_tag = rec->n_cigar == 2 && p[3] == 'I' &&
                      bk_u32(rec->cigar + 4) == (real.ref_len << 4 | 3) && real.ref_len < 1u << 28;
    return BK_OK;
}

/* ---- tables of layouts and tag columns, open addressing over the caller's scratch ---- */

static int find_column(struct bk_tags *tags, uint16_t *slots, bk_tag_key key, uint16_t *column) {
    uint32_t slot = key * 2654435761u >> 20; /* 4096 slots */
    while (slots[slot]) {
        *column = (uint16_t)(slots[slot] - 1);
        if (tags->key[*column] == key) return BK_OK;
        slot = (slot + 1) & 4095;
    }
    if (tags->n_columns >= tags->max_columns) return BK_ERR_TOO_MANY;
    *column = (uint16_t)tags->n_columns++;
    slots[slot] = (uint16_t)(*column + 1);
    tags->key[*column] = key;
    tags->n_values[*column] = tags->n_bytes[*column] = 0;
    return BK_OK;
}

/* The record's keys lie behind the last layout, from `start` on: they become the next layout unless
 * an equal one is there. */
static int find_layout(struct bk_layouts *all, uint32_t *slots, uint64_t n_keys, uint64_t hash,
                       uint32_t *layout) {
    uint32_t start = all->start[all->n_layouts];
    uint64_t slot = (hash ^ hash >> 32) & 0x1ffff; /* 131,072 slots */
    while (slots[slot]) {
        *layout = slots[slot] - 1;
        uint32_t begin = all->start[*layout];
        if (all->start[*layout + 1] - begin == n_keys &&
            memcmp(all->keys + begin, all->keys + start, n_keys * sizeof *all->keys) == 0)
            return BK_OK;
        slot = (slot + 1) & 0x1ffff;
    }
    if (all->n_layouts >= all->max_layouts) return BK_ERR_TOO_MANY;
    *layout = (uint32_t)all->n_layouts++;
    slots[slot] = *layout + 1;
    all->start[all->n_layouts] = (uint32_t)(start + n_keys);
    return BK_OK;
}

static int measure_tags(const struct bk_record *rec, int cigar_in_tag, struct bk_layouts *all,
                        struct bk_tags *tags, uint16_t *column_slots, uint32_t *layout_slots,
                        uint32_t *layout) {
    uint64_t start = all->start[all->n_layouts], n_keys = 0, hash = 0;
    const uint8_t *p = rec->tags;
    while (p < rec->end) {
        uint16_t column;
        if (rec->end - p < 4) return BK_ERR_BAD_TAG;
        bk_tag_key key = bk_key(p);
        uint64_t bytes = bk_tag_value_bytes(p + 3, rec->end, p[2]);
        if (bytes == 0) return BK_ERR_BAD_TAG;
        uint64_t payload = bytes;
        if (p[2] == 'B') {
            key |= (uint32_t)p[3] << 24;
            payload -= 5;
            if (cigar_in_tag && p[0] == 'C' && p[1] == 'G') {
                key = (key & 0xffffffu) | (uint32_t)BK_SUBTYPE_IN_CIGAR << 24;
                payload = 0;
                cigar_in_tag = 0;
            }
        } else if (p[2] == 'Z' || p[2] == 'H') {
            payload -= 1;
        }
        if (start + n_keys >= all->max_keys) return BK_ERR_TOO_MANY;
        int status = find_column(tags, column_slots, key, &column);
        if (status) return status;
        tags->n_values[column] += 1;
        tags->n_bytes[column] += payload;
        all->keys[start + n_keys] = key;
        all->columns[start + n_keys] = column;
        n_keys++;
        hash = (hash ^ key) * 0x9e3779b97f4a7c15u;
        hash ^= hash >> 29;
        p += 3 + bytes;
    }
    return find_layout(all, layout_slots, n_keys, hash, layout);
}

/* Measure a run of n whole records that starts at buf.
 *
 * Scratch, zeroed by the caller: column_slots (4096), layout_slots (131,072).
 * Out: layout (n) is each record's layout; sizes holds CIGAR operations, name characters, packed
 * base bytes and quality bytes of the run, and names that lack their NUL. */
BK_EXPORT int bk_measure(const uint8_t *buf, uint64_t len, uint64_t n, uint16_t *column_slots,
                         uint32_t *layout_slots, struct bk_layouts *layouts, struct bk_tags *tags,
                         uint32_t *layout, uint64_t *sizes, uint64_t *where) {
    uint64_t at = 0;
    sizes[0] = sizes[1] = sizes[2] = sizes[3] = sizes[4] = 0;
    layouts->n_layouts = tags->n_columns = 0;
    layouts->start[0] = 0;
    for (uint64_t i = 0; i < n; i++) {
        struct bk_record rec;
        struct bk_cigar cigar;
        *where = at;
        int status = bk_fields(buf, len, at, &rec);
        if (status) return status;
        if ((status = bk_real_cigar(&rec, &cigar))) return status;
        if (cigar.ref_len > INT32_MAX) return BK_ERR_CIGAR_TOO_LONG;
        int mapped = !(bk_u16(rec.fixed + 14) & 4);
        if (rec.seq_len && mapped && cigar.n_ops && cigar.query_len != rec.seq_len)
            return BK_ERR_CIGAR_MISMATCH;
        status = measure_tags(&rec, cigar.from_tag, layouts, tags, column_slots, layout_slots,
                              layout + i);
        if (status) return status;
        sizes[0] += cigar.from_tag ? cigar.n_ops : rec.n_cigar;
        sizes[1] += rec.name_len;
        sizes[2] += (uint64_t)(rec.quals - rec.bases);
        sizes[3] += rec.seq_len;
        sizes[4] += bk_lacks_nul(&rec);
        at += (uint64_t)(rec.end - rec.fixed) + 4;
    }
    *where = at;
    return at == len ? BK_OK : BK_ERR_COLUMN_LENGTH;
}
