/* Statistics of a pair of variants, from what their samples have in common. */
#include <math.h>

#include "ld.h"

__extension__ typedef unsigned __int128 u128;

/* n sum(xy) - sum(x) sum(y), and for x and for y n sum(x^2) - sum(x)^2: their covariance and
 * variances times n^2, whole numbers below 2^54 for up to 2^25 samples. */
struct moments {
    int64_t n, covariance, spread_x, spread_y;
};

static struct moments of_haplotypes(uint64_t h[2][2]) {
    int64_t both = (int64_t)h[1][1], x = both + (int64_t)h[1][0], y = both + (int64_t)h[0][1];
    int64_t n = x + (int64_t)(h[0][0] + h[0][1]);
    return (struct moments){n, n * both - x * y, x * (n - x), y * (n - y)};
}

static struct moments of_genotypes(uint64_t g[3][3]) {
    int64_t n = 0, x = 0, y = 0, xx = 0, yy = 0, xy = 0;
    for (int i = -1; i <= 1; i++)
        for (int j = -1; j <= 1; j++) {
            int64_t of = (int64_t)g[i + 1][j + 1];
            n += of;
            x += i * of;
            y += j * of;
            xx += i * i * of;
            yy += j * j * of;
            xy += i * j * of;
        }
    return (struct moments){n, n * xy - x * y, n * xx - x * x, n * yy - y * y};
}

/* Whether r^2 >= num / den, without rounding. */
static int reaches(const struct moments *m, const struct bk_ld_rule *rule) {
    uint64_t size = m->covariance < 0 ? (uint64_t)-m->covariance : (uint64_t)m->covariance;
    return (u128)size * size * rule->den >= (u128)m->spread_x * (uint64_t)m->spread_y * rule->num;
}

/* ---- haplotypes of samples that are heterozygous at both ---- */

struct known {
    double n[2][2], unsure; /* haplotypes whose phase is known, and samples that give two more */
};

/* Log-likelihood when x of the unsure samples have REF with REF and ALT with ALT. */
static double likelihood(const struct known *k, double x) {
    double rest = k->unsure - x, sum = 0;
    double h[2][2] = {{k->n[0][0] + x, k->n[0][1] + rest}, {k->n[1][0] + rest, k->n[1][1] + x}};
    for (unsigned i = 0; i < 2; i++)
        for (unsigned j = 0; j < 2; j++)
            if (k->n[i][j] > 0) sum += k->n[i][j] * log(h[i][j]);
    return sum + k->unsure * log(h[0][0] * h[1][1] + h[0][1] * h[1][0]);
}

/* How many of the unsure samples EM adds to those with REF with REF, less x: a cubic in x, times a
 * positive number. Its zeros are where the likelihood is stationary. */
static double step(const struct known *k, double x) {
    double rest = k->unsure - x;
    double same = (k->n[0][0] + x) * (k->n[1][1] + x);
    double other = (k->n[0][1] + rest) * (k->n[1][0] + rest);
    return rest * same - x * other;
}

static double zero_between(const struct known *k, double low, double high) {
    double at_low = step(k, low);
    for (int i = 0; i < 100; i++) {
        double middle = low + (high - low) / 2;
        if (middle <= low || middle >= high) break;
        double at = step(k, middle);
        if ((at > 0) == (at_low > 0))
            low = middle;
        else
            high = middle;
    }
    return low + (high - low) / 2;
}

/* Where the cubic may turn inside 0 .. unsure, ascending; its ends are added. */
static unsigned turns_of(const struct known *k, double turn[4]) {
    /* (u - x)(a + x)(d + x) - x (b + u - x)(c + u - x) = -2 x^3 + q x^2 + p x + u a d */
    double u = k->unsure, a = k->n[0][0], b = k->n[0][1], c = k->n[1][0], d = k->n[1][1];
    double q = 3 * u - a - d + b + c, p = u * (a + d) - a * d - (b + u) * (c + u);
    double under = q * q + 6 * p;
    unsigned n = 0;
    turn[n++] = 0;
    if (under > 0) {
        double root = sqrt(under), first = (q - root) / 6, second = (q + root) / 6;
        if (first > 0 && first < u) turn[n++] = first;
        if (second > 0 && second < u) turn[n++] = second;
    }
    turn[n++] = u;
    return n;
}

/* Maximum-likelihood haplotypes (Excoffier and Slatkin 1995): the most likely of the cubic's zeros
 * (Hill 1974; Gaunt, Rodriguez and Day 2007), each found between its turns. */
static void find_haplotypes(const struct ld_counts *c, double h[2][2]) {
    struct known k = {{{0}}, (double)c->diploid[1][1]};
    for (unsigned i = 0; i < 3; i++)
        for (unsigned j = 0; j < 3; j++) {
            double n = i == 1 && j == 1 ? 0 : (double)c->diploid[i][j];
            k.n[0][0] += n * (2 - i) * (2 - j) / 2;
            k.n[0][1] += n * (2 - i) * j / 2;
            k.n[1][0] += n * i * (2 - j) / 2;
            k.n[1][1] += n * i * j / 2;
        }
    for (unsigned i = 0; i < 2; i++)
        for (unsigned j = 0; j < 2; j++) k.n[i][j] += (double)c->haplotypes[i][j];
    double turn[4], best = k.unsure / 2, most = -INFINITY;
    unsigned n_turns = turns_of(&k, turn);
    for (unsigned i = 0; i < n_turns && k.unsure > 0; i++) {
        double x = i + 1 < n_turns ? zero_between(&k, turn[i], turn[i + 1]) : turn[i];
        double ends[2] = {x, turn[i]};
        for (unsigned e = 0; e < 2; e++) {
            double found = likelihood(&k, ends[e]);
            if (found > most) most = found, best = ends[e];
        }
    }
    double rest = k.unsure - best;
    h[0][0] = k.n[0][0] + best;
    h[1][1] = k.n[1][1] + best;
    h[0][1] = k.n[0][1] + rest;
    h[1][0] = k.n[1][0] + rest;
}

/* ---- what is told of a pair ---- */

/* D, D' and r of haplotypes (Lewontin 1964; Hill and Robertson 1968). */
static double describe(const double h[2][2], struct bk_ld_pair *pair) {
    double x = h[1][0] + h[1][1], y = h[0][1] + h[1][1], n = x + h[0][0] + h[0][1];
    double d = (h[0][0] * h[1][1] - h[0][1] * h[1][0]) / n, least, other;
    if (d > 0) {
        least = x * (n - y);
        other = (n - x) * y;
    } else {
        least = x * y;
        other = (n - x) * (n - y);
    }
    least = (other < least ? other : least) / n;
    pair->d = d / n;
    pair->dprime = least > 0 ? d / least : NAN;
    double spread = x * (n - x) * y * (n - y);
    return spread > 0 ? d * n / sqrt(spread) : NAN;
}

int ld_weigh(const struct ld_counts *counts, int is_phased, const struct bk_ld_rule *rule,
             struct bk_ld_pair *pair) {
    struct ld_counts c = *counts;
    double h[2][2];
    struct moments m = is_phased ? of_haplotypes(c.haplotypes) : of_genotypes(c.all);
    int is_em = rule->is_em && !is_phased; /* haplotypes vary where all samples are heterozygous */
    if (!is_em && (m.spread_x <= 0 || m.spread_y <= 0 || !reaches(&m, rule))) return 0;
    pair->n = is_phased ? c.samples : (uint64_t)m.n;
    if (is_phased)
        for (unsigned i = 0; i < 4; i++) h[i / 2][i % 2] = (double)c.haplotypes[i / 2][i % 2];
    else
        find_haplotypes(&c, h);
    double r = describe(h, pair), items = (double)m.n;
    if (is_em) {
        items = h[0][0] + h[0][1] + h[1][0] + h[1][1];
        pair->r2 = r * r;
        if (!(pair->r2 >= (double)rule->num / (double)rule->den)) return 0;
    } else {
        double covariance = (double)m.covariance, root = sqrt((double)m.spread_x);
        r = covariance / root / sqrt((double)m.spread_y);
        pair->r2 = covariance / (double)m.spread_x * (covariance / (double)m.spread_y);
    }
    pair->r = r;
    pair->p = erfc(sqrt(items * pair->r2 / 2));
    for (unsigned i = 0; i < 4; i++) pair->haplotypes[i] = h[i / 2][i % 2];
    return pair->p <= rule->max_p;
}
