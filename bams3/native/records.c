/* Records of a BAM stream: where they begin, whether they hold together, where row groups end.
 *
 *   block_size u32 | refID i32 | pos i32 | l_read_name u8 | mapq u8 | bin u16 | n_cigar_op u16
 *   | flag u16 | l_seq u32 | next_refID i32 | next_pos i32 | tlen i32 | read_name | cigar
 *   | seq (4 bits a base) | qual | tags                                   (SAMv1 section 4.2)
 */
#include "kernels.h"

/* The one place where a record's declared lengths meet its real length. */
int bk_fields(const uint8_t *buf, uint64_t len, uint64_t at, struct bk_record *rec) {
    if (len - at < 4) return BK_ERR_TRUNCATED;
    uint64_t block = bk_u32(buf + at);
    if (block > INT32_MAX) return BK_ERR_NEGATIVE_LENGTH;
    if (block < BK_FIXED_BYTES) return BK_ERR_SHORT_RECORD;
    if (block > len - at - 4) return BK_ERR_TRUNCATED;
    const uint8_t *fixed = buf + at + 4;
    uint64_t name = fixed[8];
    uint64_t n_cigar = bk_u16(fixed + 12);
    uint64_t seq = bk_u32(fixed + 16);
    if (seq > INT32_MAX) return BK_ERR_NEGATIVE_LENGTH;
    if (name == 0) return BK_ERR_BAD_NAME;
    uint64_t need = BK_FIXED_BYTES + name + 4 * n_cigar + (seq + 1) / 2 + seq;
    if (need > block) return BK_ERR_FIELDS_OVERRUN;
    rec->fixed = fixed;
    rec->name = fixed + BK_FIXED_BYTES;
    rec->cigar = rec->name + name;
    rec->bases = rec->cigar + 4 * n_cigar;
    rec->quals = rec->bases + (seq + 1) / 2;
    rec->tags = rec->quals + seq;
    rec->end = fixed + block;
    /* htslib adds a missing NUL where there is room for one: so do we. */
    rec->name_len = (uint32_t)(rec->name[name - 1] == 0 ? name - 1 : name);
    if (rec->name_len > 254) return BK_ERR_BAD_NAME;
    rec->n_cigar = (uint32_t)n_cigar;
    rec->seq_len = (uint32_t)seq;
    return BK_OK;
}

/* State of a scan, an int64_t array that the caller keeps between calls. The caller sets S_SECTION
 * to INT64_MIN before the first record, and S_RECORDS and S_BYTES to 0 where a row group begins. */
enum { S_SECTION, S_WINDOW, S_CONTIG, S_POS, S_RECORDS, S_BYTES };

enum bk_stop { BK_STOP_NEED_MORE = 0, BK_STOP_SPAN = 1, BK_STOP_FULL = 2 };

/* Walk records from `at` until the data ends, the next record belongs to another span, or the row
 * group is full.
 *
 * contig_section[c] is the section of contig c; contig_span[c] its span in bp (0: the whole contig
 * is one span, shared by its section). n_contigs is also the section of unplaced reads' contig -1.
 * Out: next is the offset of the first record not taken; stop is a bk_stop. */
BK_EXPORT int bk_scan(const uint8_t *buf, uint64_t len, uint64_t at, const int32_t *contig_section,
                      const int64_t *contig_span, uint64_t n_contigs, uint64_t max_records,
                      uint64_t max_bytes, int64_t *state, uint64_t *next, int32_t *stop,
                      uint64_t *where) {
    struct bk_record rec;
    *stop = BK_STOP_NEED_MORE;
    for (;;) {
        *next = *where = at;
        int status = bk_fields(buf, len, at, &rec);
        if (status == BK_ERR_TRUNCATED) return BK_OK;
        if (status) return status;
        int64_t contig = (int32_t)bk_u32(rec.fixed);
        int64_t pos = (int32_t)bk_u32(rec.fixed + 4);
        int64_t mate = (int32_t)bk_u32(rec.fixed + 20);
        if (contig < -1 || contig >= (int64_t)n_contigs || mate < -1 || mate >= (int64_t)n_contigs)
            return BK_ERR_REFERENCE_RANGE;
        int64_t rank = contig < 0 ? INT64_MAX : contig;
        int64_t last = state[S_CONTIG] < 0 ? INT64_MAX : state[S_CONTIG];
        int64_t section = contig < 0 ? -1 : contig_section[contig];
        int64_t span = contig < 0 ? 0 : contig_span[contig];
        int64_t window = span > 0 && pos > 0 ? pos / span : 0;
        if (state[S_SECTION] != INT64_MIN &&
            (rank < last || (rank == last && contig >= 0 && pos < state[S_POS])))
            return BK_ERR_UNSORTED;
        if (state[S_RECORDS] > 0 && (section != state[S_SECTION] || window != state[S_WINDOW])) {
            *stop = BK_STOP_SPAN;
            return BK_OK;
        }
        uint64_t read = (uint64_t)(rec.end - rec.fixed) + 4, size = read + bk_lacks_nul(&rec);
        if (state[S_RECORDS] > 0 && ((uint64_t)state[S_RECORDS] + 1 > max_records ||
                                     (uint64_t)state[S_BYTES] + size > max_bytes)) {
            *stop = BK_STOP_FULL;
            return BK_OK;
        }
        state[S_SECTION] = section;
        state[S_WINDOW] = window;
        state[S_CONTIG] = contig;
        state[S_POS] = pos;
        state[S_RECORDS] += 1;
        state[S_BYTES] += (int64_t)size;
        at += read;
    }
}
