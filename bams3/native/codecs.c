/* Exact transforms that make columns small before they are compressed (FORMAT.md, "Codecs"). */
#include "kernels.h"

#include <string.h>

/* ---- bases: A, C, G, T in two bits, all others as exceptions ---- */

/* 4-bit base code (SAMv1 section 4.2.3, =ACMGRSVTWYHKDBN) to 2 bits; 4 = an exception. */
static const uint8_t two_bits[16] = {4, 0, 1, 4, 2, 4, 4, 4, 3, 4, 4, 4, 4, 4, 4, 4};
static const uint8_t four_bits[4] = {1, 2, 4, 8};

/* Out: packed_bytes that bk_bases_pack will write, n_exceptions, and padded = 1 if a record of odd
 * length has something in its last four bits (then the two-bit form would lose it). */
BK_EXPORT int bk_bases_measure(const uint8_t *bases, uint64_t bases_bytes, const uint32_t *seq_len,
                               uint64_t n, uint64_t *packed_bytes, uint64_t *n_exceptions,
                               uint8_t *padded) {
    uint64_t at = 0, packed = 0, exceptions = 0;
    *padded = 0;
    for (uint64_t i = 0; i < n; i++) {
        uint64_t len = seq_len[i], bytes = (len + 1) / 2;
        if (bytes > bases_bytes - at) return BK_ERR_COLUMN_LENGTH;
        for (uint64_t j = 0; j < len / 2; j++) {
            uint8_t b = bases[at + j];
            exceptions += (two_bits[b >> 4] >> 2) + (two_bits[b & 15] >> 2);
        }
        if (len & 1) {
            uint8_t b = bases[at + bytes - 1];
            exceptions += two_bits[b >> 4] >> 2;
            if (b & 15) *padded = 1;
        }
        at += bytes;
        packed += (len + 3) / 4;
    }
    *packed_bytes = packed;
    *n_exceptions = exceptions;
    return at == bases_bytes ? BK_OK : BK_ERR_COLUMN_LENGTH;
}

/* Out: packed, four bases a byte, the first in the low bits, a record starts at a byte; the gap of
 * each exception from the base after the one before, counted over the whole row group, and its
 * 4-bit code. */
BK_EXPORT int bk_bases_pack(const uint8_t *bases, const uint32_t *seq_len, uint64_t n,
                            uint64_t packed_bytes, uint64_t n_exceptions, uint8_t *packed,
                            uint32_t *gap, uint8_t *code) {
    uint64_t out = 0, found = 0, base = 0, next = 0;
    for (uint64_t i = 0; i < n; i++) {
        uint64_t len = seq_len[i];
        if ((len + 3) / 4 > packed_bytes - out) return BK_ERR_COLUMN_LENGTH;
        uint8_t byte = 0;
        for (uint64_t j = 0; j < len; j++, base++) {
            unsigned four = bases[j / 2] >> (j & 1 ? 0 : 4) & 15u, two = two_bits[four];
            if (two == 4) {
                if (found == n_exceptions || base - next > UINT32_MAX) return BK_ERR_TOO_MANY;
                gap[found] = (uint32_t)(base - next);
                code[found++] = (uint8_t)four;
                next = base + 1;
                two = 0;
            }
            byte = (uint8_t)(byte | two << 2 * (j & 3));
            if ((j & 3) == 3) {
                packed[out++] = byte;
                byte = 0;
            }
        }
        if (len & 3) packed[out++] = byte;
        bases += (len + 1) / 2;
    }
    return out == packed_bytes && found == n_exceptions ? BK_OK : BK_ERR_COLUMN_LENGTH;
}

/* The inverse. Out: bases (bases_bytes), 4 bits each as in BAM. */
BK_EXPORT int bk_bases_unpack(const uint8_t *packed, uint64_t packed_bytes, const uint32_t *gap,
                              const uint8_t *code, uint64_t n_exceptions, const uint32_t *seq_len,
                              uint64_t n, uint64_t bases_bytes, uint8_t *bases) {
    uint64_t in = 0, out = 0, found = 0, base = 0;
    uint64_t next = n_exceptions ? gap[0] : UINT64_MAX;
    for (uint64_t i = 0; i < n; i++) {
        uint64_t len = seq_len[i], bytes = (len + 1) / 2;
        if (bytes > bases_bytes - out || (len + 3) / 4 > packed_bytes - in)
            return BK_ERR_COLUMN_LENGTH;
        for (uint64_t j = 0; j < len; j += 2) {
            uint8_t byte = (uint8_t)(packed[in + j / 4] >> (j & 2 ? 4 : 0));
            uint8_t low = j + 1 < len ? four_bits[byte >> 2 & 3] : 0;
            bases[out + j / 2] = (uint8_t)(four_bits[byte & 3] << 4 | low);
        }
        for (; next < base + len; found++) {
            uint64_t j = next - base, shift = j & 1 ? 0 : 4;
            uint8_t *b = bases + out + j / 2;
            if (code[found] > 15) return BK_ERR_BAD_CODE;
            *b = (uint8_t)((*b & 0xf0 >> shift) | code[found] << shift);
            if (found + 1 == n_exceptions) {
                next = UINT64_MAX;
                found = n_exceptions;
                break;
            }
            next += 1 + (uint64_t)gap[found + 1];
        }
        base += len;
        in += (len + 3) / 4;
        out += bytes;
    }
    return in == packed_bytes && out == bases_bytes && found == n_exceptions ? BK_OK
                                                                             : BK_ERR_COLUMN_LENGTH;
}

/* ---- byte planes: the k-th bytes of all values together ---- */

static inline void split_planes(const uint8_t *restrict values, uint64_t n, uint32_t width,
                                uint8_t *restrict planes) {
    for (uint32_t k = 0; k < width; k++)
        for (uint64_t i = 0; i < n; i++) planes[k * n + i] = values[i * width + k];
}

static inline void join_planes(const uint8_t *restrict planes, uint64_t n, uint32_t width,
                               uint8_t *restrict values) {
    for (uint64_t i = 0; i < n; i++)
        for (uint32_t k = 0; k < width; k++) values[i * width + k] = planes[k * n + i];
}

/* A width that the compiler knows makes loops that it can vectorise. */
BK_EXPORT int bk_planes_split(const uint8_t *values, uint64_t n, uint32_t width, uint8_t *planes) {
    if (width == 4)
        split_planes(values, n, 4, planes);
    else if (width == 2)
        split_planes(values, n, 2, planes);
    else
        split_planes(values, n, width, planes);
    return BK_OK;
}

BK_EXPORT int bk_planes_join(const uint8_t *planes, uint64_t n, uint32_t width, uint8_t *values) {
    if (width == 4)
        join_planes(planes, n, 4, values);
    else if (width == 2)
        join_planes(planes, n, 2, values);
    else
        join_planes(planes, n, width, values);
    return BK_OK;
}

/* ---- dictionary: the first 255 distinct strings get a code of one byte, 255 = not there ---- */

#define DICT_SLOTS 1024u
#define DICT_ESCAPE 255u

/* Strings are data cut by lengths (n of them). slots: scratch, 1,024 zeros.
 * Out: code (n), first (255: the index of each entry's first string), first_at (255: its offset),
 * n_entries; rest_len, rest: the lengths and bytes of strings without a code, in order, and their
 * number and size. rest has room for data_bytes, rest_len for n. */
BK_EXPORT int bk_dict_encode(const uint8_t *data, uint64_t data_bytes, const uint32_t *lengths,
                             uint64_t n, uint16_t *slots, uint8_t *code, uint64_t *first,
                             uint64_t *first_at, uint64_t *n_entries, uint32_t *rest_len,
                             uint8_t *rest, uint64_t *n_rest, uint64_t *rest_bytes) {
    uint64_t at = 0, entries = 0, rests = 0, rest_at = 0;
    for (uint64_t i = 0; i < n; i++) {
        uint64_t len = lengths[i], hash = 1469598103934665603u ^ len;
        if (len > data_bytes - at) return BK_ERR_COLUMN_LENGTH;
        for (uint64_t j = 0; j < len; j++) hash = (hash ^ data[at + j]) * 1099511628211u;
        uint64_t slot = (hash ^ hash >> 32) % DICT_SLOTS;
        unsigned found = DICT_ESCAPE;
        for (; slots[slot]; slot = (slot + 1) % DICT_SLOTS) {
            unsigned entry = slots[slot] - 1u;
            if (lengths[first[entry]] == len &&
                memcmp(data + first_at[entry], data + at, len) == 0) {
                found = entry;
                break;
            }
        }
        if (found == DICT_ESCAPE && entries < DICT_ESCAPE) {
            found = (unsigned)entries++;
            first[found] = i;
            first_at[found] = at;
            slots[slot] = (uint16_t)(found + 1);
        }
        code[i] = (uint8_t)found;
        if (found == DICT_ESCAPE) {
            rest_len[rests++] = lengths[i];
            memcpy(rest + rest_at, data + at, len);
            rest_at += len;
        }
        at += len;
    }
    *n_entries = entries;
    *n_rest = rests;
    *rest_bytes = rest_at;
    return at == data_bytes ? BK_OK : BK_ERR_COLUMN_LENGTH;
}

/* Lengths of the decoded strings. Out: lengths (n), data_bytes. entry_at has n_entries + 1 offsets.
 */
BK_EXPORT int bk_dict_measure(const uint8_t *code, uint64_t n, const uint64_t *entry_at,
                              uint64_t n_entries, const uint32_t *rest_len, uint64_t n_rest,
                              uint32_t *lengths, uint64_t *data_bytes) {
    uint64_t rests = 0, bytes = 0;
    for (uint64_t i = 0; i < n; i++) {
        if (code[i] == DICT_ESCAPE) {
            if (rests == n_rest) return BK_ERR_COLUMN_LENGTH;
            lengths[i] = rest_len[rests++];
        } else {
            if (code[i] >= n_entries) return BK_ERR_BAD_CODE;
            lengths[i] = (uint32_t)(entry_at[code[i] + 1] - entry_at[code[i]]);
        }
        bytes += lengths[i];
    }
    *data_bytes = bytes;
    return rests == n_rest ? BK_OK : BK_ERR_COLUMN_LENGTH;
}

BK_EXPORT int bk_dict_decode(const uint8_t *code, uint64_t n, const uint64_t *entry_at,
                             const uint8_t *entries, const uint8_t *rest, uint64_t rest_bytes,
                             const uint32_t *lengths, uint64_t data_bytes, uint8_t *data) {
    uint64_t rest_at = 0, at = 0;
    for (uint64_t i = 0; i < n; i++) {
        uint64_t len = lengths[i];
        if (len > data_bytes - at) return BK_ERR_COLUMN_LENGTH;
        if (code[i] == DICT_ESCAPE) {
            if (len > rest_bytes - rest_at) return BK_ERR_COLUMN_LENGTH;
            memcpy(data + at, rest + rest_at, len);
            rest_at += len;
        } else {
            memcpy(data + at, entries + entry_at[code[i]], len);
        }
        at += len;
    }
    return at == data_bytes && rest_at == rest_bytes ? BK_OK : BK_ERR_COLUMN_LENGTH;
}

/* ---- names: which reads samtools view -s keeps ---- */

/* Keep a read where a 24-bit hash of its name, salted with seed, is below fraction * 2^24: the same
 * reads, and both of a pair, as samtools view -s. Out: keep (n bytes, 0 or 1). */
BK_EXPORT int bk_subsample(const uint8_t *names, uint64_t names_bytes, const uint32_t *lengths,
                           uint64_t n, uint32_t seed, double fraction, uint8_t *keep) {
    uint64_t at = 0;
    for (uint64_t i = 0; i < n; i++) {
        if (lengths[i] > names_bytes - at) return BK_ERR_COLUMN_LENGTH;
        uint32_t key = 0;
        for (uint32_t j = 0; j < lengths[i] && names[at + j]; j++) {
            uint32_t c = (uint32_t)(int8_t)names[at + j];
            key = j ? key * 31 + c : c;
        }
        key ^= seed;
        key += ~(key << 15);
        key ^= key >> 10;
        key += key << 3;
        key ^= key >> 6;
        key += ~(key << 11);
        key ^= key >> 16;
        keep[i] = (double)(key & 0xffffff) / 0x1000000 < fraction;
        at += lengths[i];
    }
    return BK_OK;
}
