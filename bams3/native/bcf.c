/* Records of BCF2 (VCFv4.3, section 6.3), located and checked.
 *
 * A record is l_shared, l_indiv (u4 each), then l_shared bytes (contig, position, length, quality,
 * numbers of alleles and INFO, numbers of FORMAT and samples, 24 bytes in all; then typed values:
 * id, alleles, FILTER, INFO), then l_indiv bytes: for each FORMAT key its number, a type, and the
 * values of all samples. A typed value is a byte, type | count << 4, where a count of 15 is
 * followed by the real one as a typed value; then the values.
 */
#include "kernels.h"

#define SIZES_BYTES 8u
#define FIXED_SHARED 24u

enum { INT8 = 1, INT16 = 2, INT32 = 3, FLOAT = 5, TEXT = 7 };

/* Where the parts of a record lie in the buffer, all in bytes; lists with no values have count 0.
 */
struct bk_bcf_record {
    uint64_t id_at;
    uint64_t alleles_at; /* of the first allele's typed value */
    uint64_t gt_at;      /* values of GT and PS, n_samples times *_count of them */
    uint64_t ps_at;
    uint32_t id_len;
    uint32_t n_alleles;
    uint32_t gt_type; /* INT8, INT16 or INT32 */
    uint32_t gt_count;
    uint32_t ps_type; /* one of those, or TEXT */
    uint32_t ps_count;
    int32_t contig;
    int32_t pos;
};

static unsigned width_of(uint32_t type) {
    switch (type) {
    case INT8:
    case TEXT:
        return 1;
    case INT16:
        return 2;
    case INT32:
    case FLOAT:
        return 4;
    default:
        return 0;
    }
}

static int32_t integer(const uint8_t *p, uint32_t type) {
    if (type == INT8) return (int8_t)p[0];
    if (type == INT16) return (int16_t)bk_u16(p);
    return (int32_t)bk_u32(p);
}

/* The type byte at *at, which moves behind it and its count. */
static int read_type(const uint8_t *buf, uint64_t end, uint64_t *at, uint32_t *type,
                     uint32_t *count) {
    if (*at >= end) return BK_ERR_FIELDS_OVERRUN;
    *type = buf[*at] & 15u;
    *count = buf[(*at)++] >> 4;
    if (*count < 15) return BK_OK;
    if (*at >= end) return BK_ERR_FIELDS_OVERRUN;
    uint32_t inner = buf[(*at)++];
    unsigned width = width_of(inner & 15u);
    if (inner >> 4 != 1 || width == 0 || (inner & 15u) > INT32) return BK_ERR_BAD_TAG;
    if (width > end - *at) return BK_ERR_FIELDS_OVERRUN;
    int32_t real = integer(buf + *at, inner & 15u);
    if (real < 0) return BK_ERR_NEGATIVE_LENGTH;
    *count = (uint32_t)real;
    *at += width;
    return BK_OK;
}

/* A text at *at, which moves behind it. */
static int read_text(const uint8_t *buf, uint64_t end, uint64_t *at, uint64_t *text_at,
                     uint32_t *len) {
    uint32_t type;
    int status = read_type(buf, end, at, &type, len);
    if (status) return status;
    if (*len && type != TEXT) return BK_ERR_BAD_TAG;
    if (*len > end - *at) return BK_ERR_FIELDS_OVERRUN;
    *text_at = *at;
    *at += *len;
    return BK_OK;
}

/* Fixed fields, id and alleles of a record whose shared part is at .. end. */
static int read_shared(const uint8_t *buf, uint64_t at, uint64_t end, uint32_t n_contigs,
                       struct bk_bcf_record *rec) {
    uint64_t ignored;
    uint32_t len;
    rec->contig = (int32_t)bk_u32(buf + at);
    rec->pos = (int32_t)bk_u32(buf + at + 4);
    rec->n_alleles = bk_u32(buf + at + 16) >> 16;
    if (rec->contig < 0 || (uint32_t)rec->contig >= n_contigs || rec->pos < -1)
        return BK_ERR_REFERENCE_RANGE;
    if (rec->n_alleles == 0) return BK_ERR_SHORT_RECORD;
    at += FIXED_SHARED;
    int status = read_text(buf, end, &at, &rec->id_at, &rec->id_len);
    rec->alleles_at = at;
    for (uint32_t i = 0; i < rec->n_alleles && !status; i++)
        status = read_text(buf, end, &at, &ignored, &len);
    return status;
}

/* GT and PS among the FORMAT keys of a record whose values are at .. end. */
static int read_format(const uint8_t *buf, uint64_t at, uint64_t end, uint32_t n_format,
                       uint32_t n_samples, int32_t gt_key, int32_t ps_key,
                       struct bk_bcf_record *rec) {
    for (uint32_t i = 0; i < n_format; i++) {
        uint32_t type, count;
        int status = read_type(buf, end, &at, &type, &count);
        if (status) return status;
        unsigned width = width_of(type);
        if (count != 1 || width == 0 || type > INT32) return BK_ERR_BAD_TAG;
        if (width > end - at) return BK_ERR_FIELDS_OVERRUN;
        int32_t key = integer(buf + at, type);
        at += width;
        status = read_type(buf, end, &at, &type, &count);
        if (status) return status;
        width = width_of(type);
        if (count && width == 0) return BK_ERR_BAD_TAG;
        uint64_t size = (uint64_t)count * width; /* below 2^33, so that n_samples times it fits */
        if (n_samples && size > (end - at) / n_samples) return BK_ERR_FIELDS_OVERRUN;
        if (key == gt_key) {
            if (count && type > INT32) return BK_ERR_BAD_TAG;
            rec->gt_at = at, rec->gt_type = type, rec->gt_count = count;
        } else if (key == ps_key) {
            if (count && type == FLOAT) return BK_ERR_BAD_TAG;
            rec->ps_at = at, rec->ps_type = type, rec->ps_count = count;
        }
        at += size * n_samples;
    }
    return at == end ? BK_OK : BK_ERR_COLUMN_LENGTH;
}

/* Locate the whole records at the start of a buffer, max_records at most. gt_key, ps_key: numbers
 * of these FORMAT keys, negative: none. A record has calls of n_samples, or of nobody. Out:
 * records, how many, the bytes that they take; where: of the record with an error. */
BK_EXPORT int bk_bcf_scan(const uint8_t *buf, uint64_t len, uint32_t n_samples, uint32_t n_contigs,
                          int32_t gt_key, int32_t ps_key, uint64_t max_records,
                          struct bk_bcf_record *records, uint64_t *n_records, uint64_t *used,
                          uint64_t *where) {
    uint64_t at = 0, n = 0;
    while (n < max_records && len - at >= SIZES_BYTES) {
        uint64_t shared = bk_u32(buf + at), indiv = bk_u32(buf + at + 4);
        struct bk_bcf_record rec = {0};
        *where = at;
        if (shared < FIXED_SHARED) return BK_ERR_SHORT_RECORD;
        if (shared + indiv > len - at - SIZES_BYTES) break;
        uint64_t begin = at + SIZES_BYTES, end = begin + shared;
        uint32_t numbers = bk_u32(buf + begin + 20), calls = numbers & 0xffffffu;
        int status = read_shared(buf, begin, end, n_contigs, &rec);
        if (!status && calls && calls != n_samples) status = BK_ERR_COLUMN_LENGTH;
        if (!status && calls)
            status = read_format(buf, end, end + indiv, numbers >> 24, calls, gt_key, ps_key, &rec);
        if (status) return status;
        records[n++] = rec;
        at = end + indiv;
    }
    *n_records = n;
    *used = at;
    return BK_OK;
}
