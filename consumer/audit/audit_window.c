#include "consumer/audit/audit_window.h"

#include <assert.h>

struct expected *messages_find(struct messages *m, enum output output, struct slice ce_id)
{
    struct expected *x = expected_find(m->window, output, ce_id);
    return x ? x : expected_find(m->carried, output, ce_id);
}

void messages_take_number(struct messages *m, int64_t sequence, uint32_t who)
{
    if (sequence <= m->base || sequence > m->base + (int64_t)expected_count(m->window))
        return;
    assert(m->numbers != NULL);
    uint32_t *number = &m->numbers[sequence - m->base - 1];
    if (*number == NUMBER_FREE || *number == NUMBER_TAKEN)
        *number = who;
}
