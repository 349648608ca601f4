#include "consumer/avro/plan_program.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

// Our timestamps are in milliseconds: rounded down, before 1970 too.
static inline int64_t floor_millis(int64_t micros)
{
    return micros / 1000 - (micros % 1000 < 0);
}

static inline bool store_enum(const struct plan *plan, const struct plan_step *step, struct wire *w,
                              struct record *out)
{
    uint32_t symbol = 0;
    if (!wire_index(w, step->count, &symbol))
        return false;
    int32_t number = plan->symbols[step->first + symbol];
    if (number < 0)
        out->unknown |= 1U << step->field;
    out->field[step->field].number = number;
    return true;
}

static inline bool store_int(struct wire *w, struct value *value)
{
    const uint8_t *start = w->at;
    if (!wire_long(w, &value->number))
        return false;
    return (value->number >= INT32_MIN && value->number <= INT32_MAX) ||
           wire_fail(w, start, "an int of more than 32 bits");
}

// *last is the step that ran: a union's branch takes its place.
static inline bool run(const struct plan *plan, const struct plan_step *step, struct wire *w,
                       struct record *out, const struct plan_step **last)
{
    if (step->code == STEP_UNION) {
        uint32_t branch = 0;
        if (!wire_index(w, step->count, &branch))
            return false;
        step = &plan->branches[step->first + branch];
        *last = step;
    }
    struct value *value = &out->field[step->field];
    switch (step->code) {
    case STEP_TEXT:
        return wire_text(w, &value->data, &value->number);
    case STEP_LONG:
        return wire_long(w, &value->number);
    case STEP_INT:
        return store_int(w, value);
    case STEP_MICROS:
        if (!wire_long(w, &value->number))
            return false;
        value->number = floor_millis(value->number);
        return true;
    case STEP_ENUM:
        return store_enum(plan, step, w, out);
    case STEP_NULL:
        out->nulls |= 1U << step->field;
        return true;
    case STEP_SKIP:
        return skip_value(&plan->shapes, step->first, w, 0);
    case STEP_REFUSED:
    case STEP_UNION: // none directly in another
        break;
    }
    return wire_fail(w, w->at, "a branch of the writer's union that does not resolve");
}

__attribute__((cold, noinline)) static enum plan_result undecodable(const struct wire *w,
                                                                    const uint8_t *body,
                                                                    const struct plan_step *step,
                                                                    char *detail)
{
    assert(w->fault);
    assert(w->at >= body);
    assert(w->at <= w->end);
    snprintf(detail, REJECT_DETAIL_SIZE, "%.120s: %s at byte %td of %td",
             step ? step->name : "record", w->fault, w->at - body, w->end - body);
    return PLAN_UNDECODABLE;
}

enum plan_result plan_decode(const struct plan *plan, const void *body, size_t size,
                             struct record *out, char *detail)
{
    static const uint8_t nothing[1];
    const uint8_t *start = body ? body : nothing;
    struct wire w = {.at = start, .end = start + (body ? size : 0)};
    uint32_t branch = 0;
    if (plan->is_union && !wire_index(&w, plan->program_count, &branch))
        return undecodable(&w, start, NULL, detail);
    const struct program *program = &plan->programs[branch];
    const struct plan_step *steps = plan->steps + program->first;
    *out = program->initial;
    for (uint32_t i = 0; i < program->count; i++) {
        const struct plan_step *step = &steps[i];
        if (__builtin_expect(!run(plan, step, &w, out, &step), false))
            return undecodable(&w, start, step, detail);
    }
    assert(w.at <= w.end);
    if (w.at == w.end)
        return PLAN_OK;
    w.fault = "bytes left over";
    return undecodable(&w, start, NULL, detail);
}
