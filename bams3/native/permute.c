/* Random tables with given margins, as shuffling all items of a table among its lines makes them.
 *
 * Stacks ascend by their totals. The items of a small one are placed one by one: a line is picked
 * by its total, and a place in it, until that is empty. Of each larger one but the last, every line
 * takes a binomial number of the places that it has left, with p = stack / items not yet placed, as
 * if each item chose its stack by itself; the last stack takes the rest. Then the totals are
 * repaired: while one stack has too many items and another too few, an item of the first, any with
 * the same probability, moves to the second. Items that choose by themselves are, given the totals
 * that come out, labelled uniformly, and moving one that is picked uniformly leaves them so: the
 * tables are exact for any p, which only sets how many moves there are (about sqrt(total) / 2).
 *
 * Binomials come from alias tables (Walker 1977, made as in Vose 1991): one for each number of
 * places below 256, and for each multiple of 256 up to 65,536, made when first needed; more places
 * are made up of those. One number of 32 random bits picks entry and side, so that a probability is
 * off by at most 2^-32 of an entry's. Random numbers are xoshiro256++ (Blackman and Vigna 2021).
 */
#include <math.h>
#include <string.h>

#include "tables.h"

#define FEW_ITEMS 24
#define DIGIT 256u
#define POOL_ENTRIES (1u << 17)
#define HALF_SUPPORT 2048
#define LEAST_WEIGHT 0x1p-50 /* to the likeliest number's: what is rarer is never drawn */

#define ROUNDING 1e-6 /* of distances, far more than theirs */

struct entry {
    uint32_t threshold, alias;
};

struct alias {
    uint32_t at, size, low; /* its entries in the pool, and the number that the first stands for */
    uint32_t padding;       /* makes places to look up: a fifth faster */
};

/* Binomials of one p, by places: small[n], and large[n] of n * DIGIT; size 0: not made yet. */
struct binomials {
    double p, odds;
    uint32_t used; /* entries of the pool */
    struct alias small[DIGIT], large[DIGIT + 1];
    struct entry pool[POOL_ENTRIES];
    double weight[2 * HALF_SUPPORT];
    uint32_t waiting[2 * HALF_SUPPORT];
};

struct random {
    uint64_t s[4];
};

struct dealer {
    const struct margins *m;
    struct random random;
    uint64_t n_few, n_touched; /* stacks that are placed one by one; lines where they are */
    int is_narrow;             /* no line has DIGIT places */
    double far, usual;         /* distances: of a table that counts, and of most */
    double stride[MAX_COLUMNS][MAX_COLUMNS]; /* how far a move between two stacks goes at most */
    struct binomials *binomials;
    double *term;
    struct entry *lines; /* picks a line by its total */
    int32_t *total, *cell[MAX_COLUMNS];
    uint32_t touched[MAX_COLUMNS * FEW_ITEMS];
};

static inline uint64_t rotated(uint64_t x, int k) { return x << k | x >> (64 - k); }

static inline uint64_t next(struct random *r) {
    uint64_t *s = r->s, out = rotated(s[0] + s[3], 23) + s[0], t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotated(s[3], 45);
    return out;
}

/* The u-th of 2^32 equal steps of 0 .. n - 1. */
static inline uint32_t scaled(uint32_t u, uint32_t n) { return (uint32_t)((uint64_t)u * n >> 32); }

/* ---- alias tables ---- */

static inline uint32_t pick(const struct entry *entries, uint32_t size, uint32_t u) {
    uint64_t at = (uint64_t)u * size;
    uint32_t i = (uint32_t)(at >> 32);
    struct entry e = entries[i];
    /* without a branch, which could not be foretold */
    uint32_t own = 0u - ((uint32_t)at < e.threshold);
    return e.alias ^ ((e.alias ^ i) & own);
}

/* Entries that pick i in proportion to weight[i]; the weights are used up. */
static void make_entries(double *weight, uint32_t size, uint32_t *waiting, struct entry *entries) {
    double sum = 0;
    for (uint32_t i = 0; i < size; i++) sum += weight[i];
    double scale = size / sum;
    uint32_t n_low = 0, first_high = size; /* those below and above the mean wait at either end */
    for (uint32_t i = 0; i < size; i++) {
        weight[i] *= scale;
        entries[i] = (struct entry){UINT32_MAX, i};
        if (weight[i] < 1)
            waiting[n_low++] = i;
        else
            waiting[--first_high] = i;
    }
    while (n_low && first_high < size) {
        uint32_t low = waiting[--n_low], high = waiting[first_high];
        entries[low] = (struct entry){(uint32_t)(weight[low] * 0x1p32), high};
        weight[high] -= 1 - weight[low];
        if (weight[high] < 1) {
            first_high++;
            waiting[n_low++] = high;
        }
    }
}

/* Binomials of n places. */
static __attribute__((noinline)) void make_alias(struct binomials *b, uint32_t n, struct alias *a) {
    double *w = b->weight + HALF_SUPPORT; /* by distance from the likeliest number */
    uint32_t mode = (uint32_t)((n + 1.0) * b->p);
    int first = 0, last = 0;
    w[0] = 1;
    for (double x = mode; x > 0 && w[first] > LEAST_WEIGHT && first > -HALF_SUPPORT; x--, first--)
        w[first - 1] = w[first] * x / ((n - x + 1) * b->odds);
    for (double x = mode; x < n && w[last] > LEAST_WEIGHT && last < HALF_SUPPORT - 1; x++, last++)
        w[last + 1] = w[last] * (n - x) * b->odds / (x + 1);
    uint32_t size = (uint32_t)(last - first + 1);
    if (b->used + size > POOL_ENTRIES) { /* begin again */
        memset(b->small, 0, sizeof b->small);
        memset(b->large, 0, sizeof b->large);
        b->used = 0;
    }
    make_entries(w + first, size, b->waiting, b->pool + b->used);
    *a = (struct alias){b->used, size, mode - (uint32_t)-first, 0};
    b->used += size;
}

static inline uint32_t of_alias(struct binomials *b, uint32_t n, struct alias *a, uint32_t u) {
    if (!a->size) make_alias(b, n, a);
    return a->low + pick(b->pool + a->at, a->size, u);
}

static uint32_t of_many(struct binomials *b, uint32_t n, struct random *r) {
    uint32_t x = 0;
    for (; n >= DIGIT * DIGIT; n -= DIGIT * DIGIT)
        x += of_alias(b, DIGIT * DIGIT, &b->large[DIGIT], (uint32_t)next(r));
    uint64_t u = next(r);
    if (n >= DIGIT) x += of_alias(b, n - n % DIGIT, &b->large[n / DIGIT], (uint32_t)(u >> 32));
    return x + of_alias(b, n % DIGIT, &b->small[n % DIGIT], (uint32_t)u);
}

/* ---- one table ---- */

static void place_item(struct dealer *d, int32_t *cell, uint32_t *line, int32_t *empty) {
    int32_t *left = d->cell[d->m->stacks - 1];
    uint32_t i, place;
    do {
        uint64_t u = next(&d->random);
        i = pick(d->lines, (uint32_t)d->m->lines, (uint32_t)u);
        place = scaled((uint32_t)(u >> 32), (uint32_t)d->total[i]);
    } while (place >= (uint32_t)left[i]);
    cell[i]++;
    *empty = left[i]--;
    *line = i;
    d->touched[d->n_touched++] = i;
}

/* Place the small stacks; gives by how much the spread grows if the last stack takes the rest. */
static double place_few(struct dealer *d) {
    const struct margins *m = d->m;
    double per_last = m->per_stack[m->stacks - 1], grown = 0;
    for (uint64_t j = 0; j < d->n_few; j++) {
        for (int64_t k = 0; k < m->stack[j]; k++) {
            uint32_t i;
            int32_t empty;
            place_item(d, d->cell[j], &i, &empty);
            double gain = m->per_stack[j] * (2.0 * d->cell[j][i] - 1);
            grown += m->per_line[i] * (gain - per_last * (2.0 * empty - 1));
        }
    }
    return grown;
}

/* Take the small stacks off again. */
static void clear_few(struct dealer *d) {
    for (; d->n_touched; d->n_touched--) {
        uint32_t i = d->touched[d->n_touched - 1];
        for (uint64_t j = 0; j < d->n_few; j++) d->cell[j][i] = 0;
        d->cell[d->m->stacks - 1][i] = d->total[i];
    }
}

/* Let every line take a binomial number of what it has left, which is less than DIGIT. */
static void take_small(struct dealer *d, struct binomials *b, int32_t *cell, const int32_t *left) {
    struct random r = d->random; /* in registers */
    uint64_t u = 0;
    for (uint64_t i = 0; i < d->m->lines; i++) {
        u = i & 1 ? u >> 32 : next(&r);
        uint32_t n = (uint32_t)left[i];
        cell[i] = (int32_t)of_alias(b, n, &b->small[n], (uint32_t)u);
    }
    d->random = r;
}

/* Give stack j binomial numbers of what the lines have left; gives how many those are in all. */
static int64_t take(struct dealer *d, uint64_t j) {
    int32_t *cell = d->cell[j], *left = d->cell[d->m->stacks - 1];
    uint64_t n = d->m->lines;
    int32_t taken = 0; /* as all of them are below 2^31 */
    if (d->is_narrow)
        take_small(d, &d->binomials[j], cell, left);
    else
        for (uint64_t i = 0; i < n; i++)
            cell[i] = (int32_t)of_many(&d->binomials[j], (uint32_t)left[i], &d->random);
    for (uint64_t i = 0; i < n; i++) {
        left[i] -= cell[i];
        taken += cell[i];
    }
    return taken;
}

/* n items, any with the same probability, move from a stack that has `all` to another. */
struct repair {
    uint64_t from, to;
    int64_t all, n;
};

static void move(struct dealer *d, struct repair it) {
    int32_t *from = d->cell[it.from], *to = d->cell[it.to];
    int64_t all = it.all, n = it.n;
    uint32_t lines = (uint32_t)d->m->lines;
    int32_t most = 0;
    for (uint32_t i = 0; i < lines; i++) most = from[i] > most ? from[i] : most;
    if ((int64_t)most * lines <= 8 * all) { /* any line, accepted by its items */
        struct random r = d->random;
        while (n) {
            uint64_t u = next(&r);
            uint32_t i = scaled((uint32_t)u, lines);
            int is_taken = scaled((uint32_t)(u >> 32), (uint32_t)most) < (uint32_t)from[i];
            from[i] -= is_taken;
            to[i] += is_taken;
            n -= is_taken;
        }
        d->random = r;
        return;
    }
    for (; n; n--, all--) { /* few lines have most of them */
        int64_t item = scaled((uint32_t)(next(&d->random) >> 32), (uint32_t)all);
        uint32_t i = 0;
        while (item >= from[i]) item -= from[i++];
        from[i]--;
        to[i]++;
    }
}

/* Take the larger stacks; gives how the totals are to be repaired. */
static uint64_t take_many(struct dealer *d, struct repair *repair) {
    uint64_t stacks = d->m->stacks, n_repairs = 0;
    int64_t excess[MAX_COLUMNS] = {0};
    for (uint64_t j = d->n_few; j < stacks - 1; j++) {
        int64_t taken = take(d, j);
        excess[j] = taken - d->m->stack[j];
        excess[stacks - 1] -= excess[j];
    }
    for (uint64_t a = d->n_few; a < stacks; a++) {
        int64_t all = d->m->stack[a] + excess[a];
        for (uint64_t b = d->n_few; b < stacks && excess[a] > 0; b++) {
            if (excess[b] >= 0) continue;
            int64_t n = excess[a] < -excess[b] ? excess[a] : -excess[b];
            repair[n_repairs++] = (struct repair){a, b, all, n};
            excess[a] -= n;
            excess[b] += n;
            all -= n;
        }
    }
    return n_repairs;
}

static double spread_of(struct dealer *d) {
    const struct margins *m = d->m;
    uint64_t n = m->lines, i = 0;
    memset(d->term, 0, n * sizeof *d->term);
    for (uint64_t j = 0; j < m->stacks; j++) {
        const int32_t *cell = d->cell[j];
        double per = m->per_stack[j];
        for (uint64_t k = 0; k < n; k++) d->term[k] += per * ((double)cell[k] * (double)cell[k]);
    }
    double sum[4] = {0};
    for (; i + 4 <= n; i += 4)
        for (uint64_t k = 0; k < 4; k++) sum[k] += m->per_line[i + k] * d->term[i + k];
    for (; i < n; i++) sum[0] += m->per_line[i] * d->term[i];
    return sum[0] + sum[1] + (sum[2] + sum[3]);
}

/* Whether moves leave the table nearer than the far ones. Tables are points whose squared distance
 * from the expected one is the spread less 1, and no move goes further than its stride. */
static int stays_near(struct dealer *d, const struct repair *repair, uint64_t n_repairs) {
    double reach = d->far;
    for (uint64_t k = 0; k < n_repairs; k++)
        reach -= (double)repair[k].n * d->stride[repair[k].from][repair[k].to];
    return reach > d->usual && spread_of(d) - 1 < reach * reach;
}

/* The spread of a random table, or 0 where it is known not to be far. */
static double draw(struct dealer *d, double base) {
    double spread = base + place_few(d);
    if (d->n_few < d->m->stacks - 1) {
        struct repair repair[MAX_COLUMNS * MAX_COLUMNS];
        uint64_t n_repairs = take_many(d, repair);
        spread = 0;
        if (!stays_near(d, repair, n_repairs)) {
            for (uint64_t k = 0; k < n_repairs; k++) move(d, repair[k]);
            spread = spread_of(d);
        }
        memcpy(d->cell[d->m->stacks - 1], d->total, d->m->lines * sizeof *d->total);
    }
    clear_few(d);
    return spread;
}

/* ---- many tables ---- */

static uint64_t rounded(uint64_t bytes) { return (bytes + 63) & ~(uint64_t)63; }

uint64_t permute_bytes(uint64_t lines) {
    return rounded(sizeof(struct binomials)) * (MAX_COLUMNS - 1) +
           rounded(lines * (sizeof(double) + sizeof(struct entry) + 4 * (MAX_COLUMNS + 2)));
}

static void lay_out(struct dealer *d, uint8_t *work) {
    uint64_t n = d->m->lines;
    d->binomials = (struct binomials *)(void *)work;
    d->term = (double *)(void *)(work + rounded(sizeof(struct binomials)) * (MAX_COLUMNS - 1));
    d->lines = (struct entry *)(void *)(d->term + n);
    d->total = (int32_t *)(void *)(d->lines + n);
    for (uint64_t j = 0; j < MAX_COLUMNS; j++) d->cell[j] = d->total + (j + 1) * n;
}

static double prepare(struct dealer *d) {
    const struct margins *m = d->m;
    int64_t left = m->total, least = left;
    double base = 0, per_last = m->per_stack[m->stacks - 1];
    d->is_narrow = 1;
    d->far = sqrt(fmax(m->far - 1, 0)) - ROUNDING;
    d->usual = sqrt((double)((m->lines - 1) * (m->stacks - 1)) / (double)m->total);
    for (uint64_t i = 0; i < m->lines; i++) {
        d->total[i] = d->cell[m->stacks - 1][i] = (int32_t)m->line[i];
        d->term[i] = (double)m->line[i];
        d->is_narrow &= m->line[i] < DIGIT;
        least = m->line[i] < least ? m->line[i] : least;
        base += m->per_line[i] * per_last * d->term[i] * d->term[i];
    }
    /* the last row of cells is free until then */
    make_entries(d->term, (uint32_t)m->lines,
                 (uint32_t *)(void *)(d->total + (MAX_COLUMNS + 1) * m->lines), d->lines);
    for (uint64_t a = 0; a < m->stacks; a++)
        for (uint64_t b = 0; b < m->stacks; b++)
            d->stride[a][b] = sqrt((m->per_stack[a] + m->per_stack[b]) / (double)least);
    for (uint64_t j = 0; j < m->stacks - 1; j++) {
        struct binomials *b = &d->binomials[j];
        memset(d->cell[j], 0, m->lines * sizeof *d->cell[j]);
        b->p = (double)m->stack[j] / (double)left;
        left -= m->stack[j];
        b->odds = (double)m->stack[j] / (double)left;
        b->used = 0;
        memset(b->small, 0, sizeof b->small);
        memset(b->large, 0, sizeof b->large);
        d->n_few += m->stack[j] <= FEW_ITEMS;
    }
    return base;
}

struct drawn draw_tables(const struct margins *m, const uint64_t seed[4], uint64_t max_draws,
                         uint64_t stop_at, uint8_t *work) {
    struct dealer d = {.m = m, .random = {{seed[0], seed[1], seed[2], seed[3] | 1}}};
    struct drawn done = {0, 0};
    lay_out(&d, work);
    double base = prepare(&d);
    while (done.draws < max_draws && !(stop_at && done.far == stop_at)) {
        done.draws++;
        done.far += draw(&d, base) >= m->far;
    }
    return done;
}
