#include "consumer/core/step_build.h"

#include "consumer/base/memory.h"

#include <stdlib.h>
#include <string.h>

static const char *const cuts[] = {"NONE", "RECORD", "CLOCK", "RELEASE"};
static const char *const charges[] = {"PACKAGE", "POSTPAID"};
static const char *const states[] = {"ACTIVE", "SUSPENDED"};
static const char *const causes[] = {"ARREARS", "CREDIT", "ADJUSTMENT"};
static const char *const kinds[] = {"TOP_UP", "ADJUSTMENT"};
static const char *const decisions[] = {"ACCEPT", "REQUEUE", "PASS"};

const char *cut_symbol(enum cut_by cut)
{
    return cuts[cut];
}

const char *charge_symbol(enum charge charge)
{
    return charges[charge];
}

const char *account_state_symbol(enum account_state state)
{
    return states[state];
}

const char *cause_symbol(enum cause cause)
{
    return causes[cause];
}

const char *credit_kind_symbol(enum credit_kind kind)
{
    return kinds[kind];
}

const char *decision_symbol(enum decision_kind kind)
{
    return decisions[kind];
}

bool decision_parse(const char *symbol, enum decision_kind *out)
{
    for (size_t i = 0; i < sizeof decisions / sizeof *decisions; i++) {
        if (strcmp(decisions[i], symbol) != 0)
            continue;
        *out = (enum decision_kind)i;
        return true;
    }
    return false;
}

// Appends a zeroed element to a list of the step and evaluates to its address.
#define APPEND(step, name, list)                                                                   \
    ((step)->list = memory_reserve((step)->list, (step)->name##_count, &(step)->name##_capacity,   \
                                   sizeof *(step)->list),                                          \
     memset(&(step)->list[(step)->name##_count], 0, sizeof *(step)->list),                         \
     &(step)->list[(step)->name##_count++])

static void emit(struct step *step, enum emission_kind kind, size_t index)
{
    struct emission *emission = APPEND(step, emission, emissions);
    *emission = (struct emission){.kind = kind, .index = (uint32_t)index};
}

struct step_reject *step_add_reject(struct step *step)
{
    struct step_reject *reject = APPEND(step, reject, rejects);
    emit(step, EMIT_REJECT, step->reject_count - 1);
    return reject;
}

struct step_credit *step_add_credit(struct step *step)
{
    return APPEND(step, credit, credits);
}

struct step_status *step_add_status(struct step *step)
{
    struct step_status *status = APPEND(step, status, statuses);
    emit(step, EMIT_STATUS, step->status_count - 1);
    return status;
}

struct settlement *step_add_settlement(struct step *step)
{
    struct settlement *settlement = APPEND(step, settlement, settlements);
    emit(step, EMIT_SETTLEMENT, step->settlement_count - 1);
    return settlement;
}

struct settlement_line *step_add_line(struct step *step)
{
    return APPEND(step, line, lines);
}

struct decision *step_add_decision(struct step *step)
{
    return APPEND(step, decision, decisions);
}

void step_emit_close(struct step *step)
{
    step->closed = true;
    emit(step, EMIT_DAY_CLOSE, 0);
}

void step_touch_account(struct step *step, struct account *account, uint32_t number)
{
    if (account->touched)
        return;
    account->touched = true;
    *APPEND(step, touched_account, touched_accounts) = number;
}

void step_touch_package(struct step *step, struct package *package, uint32_t number)
{
    if (package->touched)
        return;
    package->touched = true;
    *APPEND(step, touched_package, touched_packages) = number;
}

struct slice step_copy(struct step *step, struct slice from)
{
    if (!from.data)
        return from;
    return (struct slice){arena_copy(step->arena, from.data, from.size), from.size};
}

bool step_create(struct step *step)
{
    *step = (struct step){.arena = arena_create()};
    return step->arena != NULL;
}

void step_clear(struct step *step)
{
    arena_reset(step->arena);
    step->reject_count = step->credit_count = step->status_count = step->settlement_count = 0;
    step->line_count = step->decision_count = step->emission_count = 0;
    step->touched_account_count = step->touched_package_count = 0;
    step->closed = step->held = step->moved = false;
    step->close = (struct day_close){0};
}

void step_release(struct step *step)
{
    arena_destroy(step->arena);
    free(step->rejects);
    free(step->credits);
    free(step->statuses);
    free(step->settlements);
    free(step->lines);
    free(step->decisions);
    free(step->emissions);
    free(step->touched_accounts);
    free(step->touched_packages);
    *step = (struct step){0};
}
