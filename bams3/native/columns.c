/* Records to columns and back. bk_split and bk_join are exact inverses, `bin` apart, which is
 * computed from position and reference length (SAMv1 section 4.2.1).
 */
#include "kernels.h"

#include <string.h>

static int has_lengths(bk_tag_key key) {
    uint32_t type = bk_key_type(key);
    return type == 'Z' || type == 'H' || type == 'B';
}

static void split_fixed(const struct bk_record *rec, uint64_t ref_len, uint64_t i,
                        struct bk_columns *c) {
    const uint8_t *f = rec->fixed;
    c->contig[i] = (int32_t)bk_u32(f);
    c->pos[i] = (int32_t)bk_u32(f + 4);
    c->mapq[i] = f[9];
    c->flag[i] = bk_u16(f + 14);
    c->seq_len[i] = rec->seq_len;
    c->mate_contig[i] = (int32_t)bk_u32(f + 20);
    c->mate_pos[i] = (int32_t)bk_u32(f + 24);
    c->tlen[i] = (int32_t)bk_u32(f + 28);
    c->ref_len[i] = (uint32_t)ref_len;
    c->name_len[i] = rec->name_len;
}

/* data_at and lengths_at hold each column's cursor; measure made them fit, checked here again. */
static int split_tags(const struct bk_record *rec, const struct bk_layouts *layouts, uint64_t i,
                      struct bk_columns *c, uint64_t *data_at, uint64_t *lengths_at) {
    const uint8_t *p = rec->tags;
    uint32_t k = layouts->start[c->layout[i]], last = layouts->start[c->layout[i] + 1];
    for (; k < last; k++) {
        uint32_t column = layouts->columns[k];
        bk_tag_key key = layouts->keys[k];
        uint64_t bytes = bk_tag_value_bytes(p + 3, rec->end, p[2]);
        if (bytes == 0) return BK_ERR_BAD_TAG;
        const uint8_t *payload = p + 3;
        uint64_t n = bytes;
        if (bk_key_type(key) == 'B') {
            payload += 5;
            n -= 5;
        } else if (has_lengths(key)) {
            n -= 1;
        }
        p += 3 + bytes;
        if (bk_key_subtype(key) == BK_SUBTYPE_IN_CIGAR) continue;
        if (data_at[column] + n > c->tag_data_at[column + 1]) return BK_ERR_COLUMN_LENGTH;
        memcpy(c->tag_data + data_at[column], payload, n);
        data_at[column] += n;
        if (!has_lengths(key)) continue;
        if (lengths_at[column] >= c->tag_lengths_at[column + 1]) return BK_ERR_COLUMN_LENGTH;
        c->tag_lengths[lengths_at[column]++] = (uint32_t)n;
    }
    return p == rec->end ? BK_OK : BK_ERR_COLUMN_LENGTH;
}

/* Split c->n whole records at buf into c, whose arrays are sized by bk_measure and whose layout is
 * filled by it. data_at, lengths_at: copies of c->tag_data_at and c->tag_lengths_at, used up. */
BK_EXPORT int bk_split(const uint8_t *buf, uint64_t len, const struct bk_layouts *layouts,
                       struct bk_columns *c, uint64_t *data_at, uint64_t *lengths_at,
                       uint64_t *where) {
    uint64_t at = 0, ops = 0, names = 0, bases = 0, quals = 0;
    for (uint64_t i = 0; i < c->n; i++) {
        struct bk_record rec;
        struct bk_cigar cigar;
        *where = at;
        int status = bk_fields(buf, len, at, &rec);
        if (status) return status;
        if ((status = bk_real_cigar(&rec, &cigar))) return status;
        split_fixed(&rec, cigar.ref_len, i, c);
        const uint8_t *from = cigar.from_tag ? cigar.ops : rec.cigar;
        uint32_t n_ops = cigar.from_tag ? cigar.n_ops : rec.n_cigar;
        uint64_t packed = (uint64_t)(rec.quals - rec.bases);
        if (ops + n_ops > c->cigar_ops || names + rec.name_len > c->name_bytes ||
            bases + packed > c->bases_bytes || quals + rec.seq_len > c->quals_bytes ||
            c->layout[i] >= layouts->n_layouts)
            return BK_ERR_COLUMN_LENGTH;
        c->cigar_len[i] = n_ops;
        memcpy(c->cigar + ops, from, 4 * (uint64_t)n_ops);
        memcpy(c->name + names, rec.name, rec.name_len);
        memcpy(c->bases + bases, rec.bases, packed);
        memcpy(c->quals + quals, rec.quals, rec.seq_len);
        ops += n_ops;
        names += rec.name_len;
        bases += packed;
        quals += rec.seq_len;
        if ((status = split_tags(&rec, layouts, i, c, data_at, lengths_at))) return status;
        at += (uint64_t)(rec.end - rec.fixed) + 4;
    }
    return BK_OK;
}

/* Cursors of a join over the columns with lengths. */
struct cursor {
    uint64_t ops, names, bases, quals;
};

/* Bytes of the tags of record i; moves the columns' cursors past them. */
static int tags_bytes(const struct bk_layouts *layouts, const struct bk_columns *c, uint64_t i,
                      uint64_t *data_at, uint64_t *lengths_at, uint64_t *bytes) {
    if (c->layout[i] >= layouts->n_layouts) return BK_ERR_BAD_CODE;
    uint32_t k = layouts->start[c->layout[i]], last = layouts->start[c->layout[i] + 1];
    *bytes = 0;
    for (; k < last; k++) {
        bk_tag_key key = layouts->keys[k];
        uint32_t column = layouts->columns[k];
        if (bk_key_subtype(key) == BK_SUBTYPE_IN_CIGAR) {
            *bytes += 8 + 4 * (uint64_t)c->cigar_len[i];
            continue;
        }
        uint64_t n = bk_type_width(bk_key_type(key));
        if (has_lengths(key)) {
            if (lengths_at[column] >= c->tag_lengths_at[column + 1]) return BK_ERR_COLUMN_LENGTH;
            n = c->tag_lengths[lengths_at[column]++];
            *bytes += bk_key_type(key) == 'B' ? 5 : 1;
            unsigned width = bk_type_width(bk_key_subtype(key));
            if (bk_key_type(key) == 'B' && (width == 0 || n % width)) return BK_ERR_COLUMN_LENGTH;
        }
        if (n > c->tag_data_at[column + 1] - data_at[column]) return BK_ERR_COLUMN_LENGTH;
        data_at[column] += n;
        *bytes += 3 + n;
    }
    return BK_OK;
}

static int record_in_tag(const struct bk_layouts *layouts, uint32_t layout) {
    for (uint32_t k = layouts->start[layout]; k < layouts->start[layout + 1]; k++)
        if (bk_key_subtype(layouts->keys[k]) == BK_SUBTYPE_IN_CIGAR) return 1;
    return 0;
}

/* Check every length of the columns against the others, and measure the records to be joined.
 *
 * keep (n bytes, or NULL for all): which records are wanted. data_at, lengths_at: as in bk_split.
 * Out: size, in bytes, of the wanted records; where is the record at which an error was seen. */
BK_EXPORT int bk_join_measure(const struct bk_layouts *layouts, const struct bk_columns *c,
                              const uint8_t *keep, uint64_t *data_at, uint64_t *lengths_at,
                              uint64_t *size, uint64_t *where) {
    struct cursor end = {0, 0, 0, 0};
    *size = 0;
    for (uint64_t i = 0; i < c->n; i++) {
        *where = i;
        uint64_t tags = 0, packed = ((uint64_t)c->seq_len[i] + 1) / 2;
        int status = tags_bytes(layouts, c, i, data_at, lengths_at, &tags);
        if (status) return status;
        end.ops += c->cigar_len[i];
        end.names += c->name_len[i];
        end.bases += packed;
        end.quals += c->seq_len[i];
        if (end.ops > c->cigar_ops || end.names > c->name_bytes || end.bases > c->bases_bytes ||
            end.quals > c->quals_bytes)
            return BK_ERR_COLUMN_LENGTH;
        int in_tag = record_in_tag(layouts, c->layout[i]);
        if (c->name_len[i] > 254 || (!in_tag && c->cigar_len[i] > UINT16_MAX))
            return BK_ERR_COLUMN_LENGTH;
        uint64_t ops = in_tag ? 2 : c->cigar_len[i];
        uint64_t bytes =
            BK_FIXED_BYTES + c->name_len[i] + 1 + 4 * ops + packed + c->seq_len[i] + tags;
        if (bytes > INT32_MAX) return BK_ERR_RECORD_TOO_LONG;
        if (!keep || keep[i]) *size += bytes + 4;
    }
    *where = c->n;
    return end.ops == c->cigar_ops && end.names == c->name_bytes && end.bases == c->bases_bytes &&
                   end.quals == c->quals_bytes
               ? BK_OK
               : BK_ERR_COLUMN_LENGTH;
}

/* The BAI bin of [begin, end), SAMv1 section 5.3. */
static uint32_t region_bin(int64_t begin, int64_t end) {
    --end;
    for (int shift = 14, first = 4681; shift <= 26; shift += 3, first = (first - 1) / 8)
        if (begin >> shift == end >> shift) return (uint32_t)(first + (begin >> shift));
    return 0;
}

static uint8_t *join_fixed(uint8_t *out, const struct bk_columns *c, uint64_t i, uint32_t n_ops) {
    uint32_t ref = c->flag[i] & 4 ? 0 : c->ref_len[i];
    uint32_t bin = region_bin(c->pos[i], c->pos[i] + (int64_t)(ref ? ref : 1));
    bk_put_u32(out, (uint32_t)c->contig[i]);
    bk_put_u32(out + 4, (uint32_t)c->pos[i]);
    out[8] = (uint8_t)(c->name_len[i] + 1);
    out[9] = c->mapq[i];
    bk_put_u16(out + 10, bin);
    bk_put_u16(out + 12, n_ops);
    bk_put_u16(out + 14, c->flag[i]);
    bk_put_u32(out + 16, c->seq_len[i]);
    bk_put_u32(out + 20, (uint32_t)c->mate_contig[i]);
    bk_put_u32(out + 24, (uint32_t)c->mate_pos[i]);
    bk_put_u32(out + 28, (uint32_t)c->tlen[i]);
    return out + BK_FIXED_BYTES;
}

static uint8_t *join_tags(uint8_t *out, const struct bk_layouts *layouts,
                          const struct bk_columns *c, uint64_t i, const uint8_t *ops,
                          uint64_t *data_at, uint64_t *lengths_at, int emit) {
    uint32_t k = layouts->start[c->layout[i]], last = layouts->start[c->layout[i] + 1];
    for (; k < last; k++) {
        bk_tag_key key = layouts->keys[k];
        uint32_t column = layouts->columns[k], type = bk_key_type(key);
        int in_cigar = bk_key_subtype(key) == BK_SUBTYPE_IN_CIGAR;
        uint64_t n = in_cigar ? 4 * (uint64_t)c->cigar_len[i] : bk_type_width(type);
        if (!in_cigar && has_lengths(key)) n = c->tag_lengths[lengths_at[column]++];
        const uint8_t *from = in_cigar ? ops : c->tag_data + data_at[column];
        if (!in_cigar) data_at[column] += n;
        if (!emit) continue;
        *out++ = (uint8_t)key;
        *out++ = (uint8_t)(key >> 8);
        *out++ = (uint8_t)type;
        if (type == 'B') {
            uint32_t subtype = in_cigar ? 'I' : bk_key_subtype(key);
            *out++ = (uint8_t)subtype;
            bk_put_u32(out, (uint32_t)(n / bk_type_width(subtype)));
            out += 4;
        }
        memcpy(out, from, n);
        out += n;
        if (type == 'Z' || type == 'H') *out++ = 0;
    }
    return out;
}

/* Write the wanted records as BAM records, block_size first, into out, which bk_join_measure sized.
 * A layout's B keys have a subtype with a width: bk_layouts_check says so beforehand. */
BK_EXPORT int bk_join(const struct bk_layouts *layouts, const struct bk_columns *c,
                      const uint8_t *keep, uint64_t *data_at, uint64_t *lengths_at, uint64_t size,
                      uint8_t *out, uint64_t *where) {
    struct cursor at = {0, 0, 0, 0};
    uint8_t *begin = out;
    for (uint64_t i = 0; i < c->n; i++) {
        int emit = !keep || keep[i];
        int in_tag = record_in_tag(layouts, c->layout[i]);
        uint64_t packed = ((uint64_t)c->seq_len[i] + 1) / 2;
        const uint8_t *ops = (const uint8_t *)(c->cigar + at.ops);
        uint8_t *start = out;
        if (emit) {
            uint32_t n_ops = in_tag ? 2 : c->cigar_len[i];
            out = join_fixed(out + 4, c, i, n_ops);
            memcpy(out, c->name + at.names, c->name_len[i]);
            out += c->name_len[i];
            *out++ = 0;
            if (in_tag) {
                bk_put_u32(out, c->seq_len[i] << 4 | 4);
                bk_put_u32(out + 4, c->ref_len[i] << 4 | 3);
            } else {
                memcpy(out, ops, 4 * (uint64_t)n_ops);
            }
            out += 4 * (uint64_t)n_ops;
            memcpy(out, c->bases + at.bases, packed);
            out += packed;
            memcpy(out, c->quals + at.quals, c->seq_len[i]);
            out += c->seq_len[i];
        }
        out = join_tags(out, layouts, c, i, ops, data_at, lengths_at, emit);
        if (emit) bk_put_u32(start, (uint32_t)(out - start - 4));
        at.ops += c->cigar_len[i];
        at.names += c->name_len[i];
        at.bases += packed;
        at.quals += c->seq_len[i];
    }
    *where = (uint64_t)(out - begin);
    return *where == size ? BK_OK : BK_ERR_COLUMN_LENGTH;
}

/* Check a layout table that came from a file: starts in order, columns that exist and have the
 * key's type, types that are known. */
BK_EXPORT int bk_layouts_check(const struct bk_layouts *layouts, const struct bk_tags *tags,
                               uint64_t *where) {
    for (uint64_t s = 0; s < layouts->n_layouts; s++) {
        *where = s;
        if (layouts->start[s + 1] < layouts->start[s] || layouts->start[s + 1] > layouts->max_keys)
            return BK_ERR_BAD_CODE;
    }
    uint32_t n_keys = layouts->start[layouts->n_layouts];
    for (uint32_t k = 0; k < n_keys; k++) {
        bk_tag_key key = layouts->keys[k];
        uint32_t type = bk_key_type(key), subtype = bk_key_subtype(key);
        *where = k;
        if (layouts->columns[k] >= tags->n_columns || tags->key[layouts->columns[k]] != key)
            return BK_ERR_BAD_CODE;
        int plain = subtype == 0 && (bk_type_width(type) || type == 'Z' || type == 'H');
        int array = type == 'B' && subtype != 'A' &&
                    (bk_type_width(subtype) || subtype == BK_SUBTYPE_IN_CIGAR);
        if (!plain && !array) return BK_ERR_BAD_CODE;
    }
    return BK_OK;
}
