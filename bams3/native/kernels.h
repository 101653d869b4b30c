/* Kernels of bams3: what no library does. C99, nothing but arithmetic on the caller's arrays.
 *
 * Rules (CONTRIBUTING.md says how to add one):
 *   - no allocation, no globals, no input or output, no Python;
 *   - lengths are uint64_t, and a declared length meets the real one in exactly one function;
 *   - measure first, then fill arrays that the caller sized, checking again while filling;
 *   - outputs come last; `where` is always the byte offset at which an error was seen;
 *   - every function returns BK_OK or one of the codes below (bams3/kernels.py names them).
 */
#ifndef BAMS3_KERNELS_H
#define BAMS3_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#define BK_EXPORT __attribute__((visibility("default")))

enum bk_status {
    BK_OK = 0,
    BK_ERR_TRUNCATED = 1,        /* the data ends inside a record */
    BK_ERR_SHORT_RECORD = 2,     /* block_size below the fixed part of a record */
    BK_ERR_NEGATIVE_LENGTH = 3,  /* a length field above INT32_MAX */
    BK_ERR_FIELDS_OVERRUN = 4,   /* name, CIGAR, sequence and qualities do not fit the record */
    BK_ERR_BAD_NAME = 5,         /* a read name without room for its NUL */
    BK_ERR_REFERENCE_RANGE = 6,  /* refID or next_refID outside the contig table */
    BK_ERR_CIGAR_MISMATCH = 7,   /* CIGAR and sequence differ in length */
    BK_ERR_CIGAR_TOO_LONG = 8,   /* a CIGAR covers more than 2^31 - 1 reference bases */
    BK_ERR_BAD_TAG = 9,          /* an optional field of unknown type, or one that overruns */
    BK_ERR_UNSORTED = 10,        /* a record before its predecessor in coordinate order */
    BK_ERR_TOO_MANY = 11,        /* more tag layouts or tags than the caller's tables hold */
    BK_ERR_COLUMN_LENGTH = 12,   /* a column is shorter or longer than the records need */
    BK_ERR_RECORD_TOO_LONG = 13, /* columns that would make a record above INT32_MAX bytes */
    BK_ERR_BAD_CODE = 14,        /* a stored code that names nothing */
    BK_ERR_SHORT_STREAM = 15,    /* a stream that ends before its last symbol */
    BK_ERR_BAD_FREQUENCIES = 16, /* frequencies that do not add up to 4,096, or out of order */
    BK_ERR_LONG_STREAM = 17,     /* a stream that goes on behind its last symbol */
    BK_ERR_BAD_LINK = 18         /* a link to a record that is not there, or is taken */
};

/* Size of the fixed part of a BAM record after block_size, SAMv1 section 4.2. */
#define BK_FIXED_BYTES 32u

/* The type of the marker that stands in a layout for a CG tag whose array went into the CIGAR
 * column (SAMv1 section 4.2.2: CIGARs above 65,535 operations). */
#define BK_SUBTYPE_IN_CIGAR '*'

/* One tag of a layout: tag[0] | tag[1] << 8 | type << 16 | subtype << 24 (subtype 0 unless B). */
typedef uint32_t bk_tag_key;

/* The distinct tag layouts of a row group: layout s is keys[start[s]] .. keys[start[s + 1] - 1]. */
struct bk_layouts {
    bk_tag_key *keys;  /* max_keys entries */
    uint16_t *columns; /* max_keys entries: the tag column of each key */
    uint32_t *start;   /* max_layouts + 1 entries */
    uint64_t max_keys;
    uint64_t max_layouts;
    uint64_t n_layouts;
};

/* The tag columns of a row group, one per tag and type. */
struct bk_tags {
    bk_tag_key *key;      /* max_columns entries */
    uint64_t *n_values;   /* occurrences */
    uint64_t *n_bytes;    /* payload: values, or characters without NUL, or array elements */
    uint64_t max_columns; /* at most 65,535 */
    uint64_t n_columns;
};

/* Plain columns of one row group of n records. Split fills them, join reads them. */
struct bk_columns {
    uint64_t n;
    int32_t *contig;
    int32_t *pos;
    uint16_t *flag;
    uint8_t *mapq;
    uint32_t *ref_len;
    int32_t *mate_contig;
    int32_t *mate_pos;
    int32_t *tlen;
    uint32_t *seq_len;
    uint32_t *layout;
    uint32_t *cigar_len; /* operations */
    uint32_t *name_len;  /* characters, without NUL */
    uint32_t *cigar;
    uint64_t cigar_ops;
    uint8_t *name;
    uint64_t name_bytes;
    uint8_t *bases; /* 4 bits each, a record starts at a byte, as in BAM */
    uint64_t bases_bytes;
    uint8_t *quals;
    uint64_t quals_bytes;
    /* Tag column c holds values at data[data_at[c]] .. data[data_at[c + 1] - 1] and, for the
     * types Z, H and B, their lengths in bytes at lengths[lengths_at[c]] ... */
    uint8_t *tag_data;
    uint64_t *tag_data_at; /* n_columns + 1 */
    uint32_t *tag_lengths;
    uint64_t *tag_lengths_at; /* n_columns + 1 */
};

static inline uint16_t bk_u16(const uint8_t *p) { return (uint16_t)(p[0] | p[1] << 8); }

static inline uint32_t bk_u32(const uint8_t *p) {
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static inline void bk_put_u16(uint8_t *p, uint32_t v) {
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
}

static inline void bk_put_u32(uint8_t *p, uint32_t v) {
    bk_put_u16(p, v & 0xffffu);
    bk_put_u16(p + 2, v >> 16);
}

/* A BAM record's variable fields, located and checked against its block_size by bk_fields. */
struct bk_record {
    const uint8_t *fixed; /* the 32 bytes after block_size */
    const uint8_t *name;
    const uint8_t *cigar;
    const uint8_t *bases;
    const uint8_t *quals;
    const uint8_t *tags;
    const uint8_t *end;
    uint32_t name_len; /* without NUL */
    uint32_t n_cigar;
    uint32_t seq_len;
};

/* Whether the name has no NUL in the file: the joined record is a byte longer. */
static inline uint64_t bk_lacks_nul(const struct bk_record *rec) {
    return (uint64_t)(rec->cigar - rec->name) == rec->name_len;
}

/* records.c */
int bk_fields(const uint8_t *buf, uint64_t len, uint64_t at, struct bk_record *rec);
/* tags.c: bytes of one tag value of this type at p (0: malformed); *header is 4 for arrays' count
 * and subtype, else 0. */
uint64_t bk_tag_value_bytes(const uint8_t *p, const uint8_t *end, uint8_t type);
static inline unsigned bk_type_width(uint32_t type) {
    switch (type) {
    case 'A':
    case 'c':
    case 'C':
        return 1;
    case 's':
    case 'S':
        return 2;
    case 'i':
    case 'I':
    case 'f':
        return 4;
    case 'd':
        return 8;
    default:
        return 0;
    }
}

static inline bk_tag_key bk_key(const uint8_t *p) {
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16;
}

static inline uint32_t bk_key_type(bk_tag_key key) { return key >> 16 & 0xffu; }
static inline uint32_t bk_key_subtype(bk_tag_key key) { return key >> 24; }

/* The CIGAR that htslib would use: the field, or the array of a CG tag that replaces it. */
struct bk_cigar {
    const uint8_t *ops;
    uint32_t n_ops;
    uint64_t ref_len;
    uint64_t query_len;
    int from_tag; /* the CG tag is of the one form that join can make again, so it may go */
};

int bk_real_cigar(const struct bk_record *rec, struct bk_cigar *cigar);

#endif
