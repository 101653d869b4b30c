/* What all fuzz entries share: arrays taken out of an input, each in a buffer of exactly its size,
 * so that the sanitizer sees every byte too many. One entry a build: clang -DFUZZ_rans streams.c
 * -fsanitize=fuzzer,...
 *
 * An entry makes the checks that bams3/kernels/ makes, measures, then fills. Where the encoder is a
 * kernel too, the input is also encoded, and must come back.
 */
#ifndef BAMS3_FUZZ_H
#define BAMS3_FUZZ_H

#include <stdlib.h>
#include <string.h>

#include "../../bams3/native/kernels.h"

#define MOST_BYTES (1u << 20)

struct input {
    const uint8_t *p;
    size_t left;
};

static uint32_t pick(struct input *in, uint32_t below) {
    uint32_t value = 0;
    for (int i = 0; i < 4 && in->left; i++, in->left--) value = value << 8 | *in->p++;
    return below ? value % below : value;
}

/* n bytes in a buffer of exactly n, zeros where the input has ended. */
static void *bytes(struct input *in, size_t n) {
    uint8_t *out = malloc(n ? n : 1);
    if (!out) abort();
    size_t have = n < in->left ? n : in->left;
    memcpy(out, in->p, have);
    memset(out + have, 0, n - have);
    in->p += have;
    in->left -= have;
    return out;
}

static void *room(size_t n) {
    void *out = calloc(n ? n : 1, 1);
    if (!out) abort();
    return out;
}

/* n numbers below a bound, a byte of the input each. */
static uint32_t *small(struct input *in, size_t n, uint32_t below) {
    uint32_t *out = room(n * sizeof *out);
    for (size_t i = 0; i < n && in->left; i++, in->left--) out[i] = *in->p++ % below;
    return out;
}

static uint64_t *offsets(const uint32_t *lengths, size_t n) {
    uint64_t *out = room((n + 1) * sizeof *out);
    for (size_t i = 0; i < n; i++) out[i + 1] = out[i] + lengths[i];
    return out;
}

static void must(int good) {
    if (!good) abort();
}

static void same(const void *a, const void *b, size_t n) { must(n == 0 || memcmp(a, b, n) == 0); }

static void fuzz(struct input *in);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct input in = {data, size};
    fuzz(&in);
    return 0;
}

#endif
