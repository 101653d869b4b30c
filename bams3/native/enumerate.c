/* All tables with given margins.
 *
 * One stack after the other is spread over the places that the lines have left; the last takes the
 * rest. A line with f places left takes x items in C(f, x) ways, so the probability of a table is
 * proportional to the product of C(f, x) over its cells but the last stack's. Each item is weighed
 * by its stack's odds besides: that is the same for all tables, and keeps products below e^(1.4 *
 * items), as the last stack is the largest.
 */
#include "tables.h"

struct search {
    const struct margins *m;
    double *empty; /* places left in each line */
    double all, far;
};

/* A table: all stacks but the last are placed. */
static void found(struct search *s, double weight, double spread) {
    s->all += weight;
    if (spread >= s->m->far) s->far += weight;
}

/* How much the spread of line i grows by x items of stack j, which the last stack loses. */
static double grown(const struct search *s, uint64_t i, uint64_t j, double x) {
    const struct margins *m = s->m;
    double gain = m->per_stack[j] * x * x;
    double loss = m->per_stack[m->stacks - 1] * x * (2 * s->empty[i] - x);
    return m->per_line[i] * (gain - loss);
}

/* Place what is left of stack j, in lines `from` and behind; `behind` items are of later stacks. */
static void place(struct search *s, uint64_t j, uint64_t from, int64_t items, int64_t behind,
                  double weight, double spread) {
    const struct margins *m = s->m;
    if (items == 0) {
        if (++j == m->stacks - 1) {
            found(s, weight, spread);
            return;
        }
        from = 0;
        items = m->stack[j];
        behind -= items;
    }
    double odds = (double)m->stack[j] / (double)behind;
    int is_last = items == 1 && j + 2 == m->stacks;
    for (uint64_t i = from; i < m->lines; i++) {
        double f = s->empty[i], ways = weight;
        if (is_last) {
            if (f > 0) found(s, weight * f * odds, spread + grown(s, i, j, 1));
            continue;
        }
        int64_t most = (double)items < f ? items : (int64_t)f;
        for (int64_t x = 1; x <= most; x++) {
            ways *= (f - (double)x + 1) / (double)x * odds;
            double more = grown(s, i, j, (double)x);
            s->empty[i] = f - (double)x;
            place(s, j, i + 1, items - x, behind, ways, spread + more);
            s->empty[i] = f;
        }
    }
}

double enumerate_tables(const struct margins *m, double *empty) {
    struct search s = {.m = m, .empty = empty};
    double spread = 0;
    for (uint64_t i = 0; i < m->lines; i++) {
        double all = (double)m->line[i];
        s.empty[i] = all;
        spread += m->per_line[i] * m->per_stack[m->stacks - 1] * all * all;
    }
    place(&s, 0, 0, m->stack[0], m->total - m->stack[0], 1, spread);
    return s.far / s.all;
}
