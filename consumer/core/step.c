#include "consumer/core/step_build.h"

#include "consumer/base/memory.h"
#include "pricing/book.h"
#include "pricing/symbol.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const cuts[] = {
    [CUT_NONE] = "NONE", [CUT_RECORD] = "RECORD", [CUT_CLOCK] = "CLOCK", [CUT_RELEASE] = "RELEASE"};
static const char *const charges[] = {[CHARGE_PACKAGE] = "PACKAGE", [CHARGE_POSTPAID] = "POSTPAID"};
static const char *const states[] = {
    [ACCOUNT_ACTIVE] = "ACTIVE", [ACCOUNT_SUSPENDED] = "SUSPENDED"};
static const char *const causes[] = {
    [CAUSE_ARREARS] = "ARREARS", [CAUSE_CREDIT] = "CREDIT", [CAUSE_ADJUSTMENT] = "ADJUSTMENT"};
static const char *const kinds[] = {[CREDIT_TOP_UP] = "TOP_UP", [CREDIT_ADJUSTMENT] = "ADJUSTMENT"};
static const char *const decisions[] = {[DECISION_ACCEPT] = "ACCEPT",
                                        [DECISION_REQUEUE] = "REQUEUE",
                                        [DECISION_PASS] = "PASS",
                                        [DECISION_REFUSE] = "REFUSE"};

#define COUNT(symbols) ((int)(sizeof(symbols) / sizeof *(symbols)))

const char *cut_symbol(enum cut_by cut)
{
    assert((size_t)cut < sizeof cuts / sizeof *cuts);
    return cuts[cut];
}

bool cut_parse(const char *symbol, enum cut_by *out)
{
    int found = symbol_find(cuts, COUNT(cuts), symbol);
    if (found <= CUT_NONE)
        return false;
    *out = (enum cut_by)found;
    return true;
}

const char *charge_symbol(enum charge charge)
{
    assert((size_t)charge < sizeof charges / sizeof *charges);
    return charges[charge];
}

bool charge_parse(const char *symbol, enum charge *out)
{
    int found = symbol_find(charges, COUNT(charges), symbol);
    if (found < 0)
        return false;
    *out = (enum charge)found;
    return true;
}

const char *account_state_symbol(enum account_state state)
{
    assert((size_t)state < sizeof states / sizeof *states);
    return states[state];
}

bool account_state_parse(const char *symbol, enum account_state *out)
{
    int found = symbol_find(states, COUNT(states), symbol);
    if (found < 0)
        return false;
    *out = (enum account_state)found;
    return true;
}

const char *cause_symbol(enum cause cause)
{
    assert((size_t)cause < sizeof causes / sizeof *causes);
    return causes[cause];
}

bool cause_parse(const char *symbol, enum cause *out)
{
    int found = symbol_find(causes, COUNT(causes), symbol);
    if (found < 0)
        return false;
    *out = (enum cause)found;
    return true;
}

const char *credit_kind_symbol(enum credit_kind kind)
{
    assert((size_t)kind < sizeof kinds / sizeof *kinds);
    return kinds[kind];
}

bool credit_kind_parse(const char *symbol, enum credit_kind *out)
{
    int found = symbol_find(kinds, COUNT(kinds), symbol);
    if (found < 0)
        return false;
    *out = (enum credit_kind)found;
    return true;
}

const char *decision_symbol(enum decision_kind kind)
{
    assert((size_t)kind < sizeof decisions / sizeof *decisions);
    return decisions[kind];
}

bool decision_parse(const char *symbol, enum decision_kind *out)
{
    int found = symbol_find(decisions, COUNT(decisions), symbol);
    if (found < 0)
        return false;
    *out = (enum decision_kind)found;
    return true;
}

void decision_content(const struct decided_records *records, char out[DECISION_CONTENT_SIZE])
{
    enum { LINE_SIZE = 11 + 1 + 20 + 1 };
    char *text = memory_grow(NULL, records->count * LINE_SIZE + 1, 1), digest[65];
    size_t used = 0;
    for (size_t i = 0; i < records->count; i++) {
        assert(i == 0 || records->offsets[i] > records->offsets[i - 1]);
        used += (size_t)snprintf(text + used, LINE_SIZE + 1, "%" PRId32 "/%" PRId64 "\n",
                                 records->partition, records->offsets[i]);
    }
    book_sha256(text, used, digest);
    free(text);
    int size =
        snprintf(out, DECISION_CONTENT_SIZE, "%s %zu %s", records->topic, records->count, digest);
    assert(size < DECISION_CONTENT_SIZE);
}

// Appends a zeroed element to a list of the step and evaluates to its address.
#define APPEND(step, name, list)                                                                   \
    ((step)->list = memory_reserve((step)->list, (step)->name##_count, &(step)->name##_capacity,   \
                                   sizeof *(step)->list),                                          \
     memset(&(step)->list[(step)->name##_count], 0, sizeof *(step)->list),                         \
     &(step)->list[(step)->name##_count++])

// Everything that goes out is emitted once.
static void check_emissions(const struct step *step)
{
    size_t closes = step->closed ? 1 : 0;
    assert(step->emission_count == step->reject_count + step->status_count +
                                       step->settlement_count + step->notice_count +
                                       step->statement_count + closes);
    assert(step->closed || step->settlement_count + step->notice_count == 0);
}

static void emit(struct step *step, enum emission_kind kind, size_t index)
{
    assert(index < UINT32_MAX);
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

struct step_notice *step_add_notice(struct step *step)
{
    struct step_notice *notice = APPEND(step, notice, notices);
    emit(step, EMIT_NOTICE, step->notice_count - 1);
    return notice;
}

void step_add_month(struct step *step, const struct month_page *page)
{
    step->month = page->month;
    for (size_t i = 0; i < page->line_count; i++) {
        struct month_line *line = APPEND(step, month_line, month_lines);
        *line = page->lines[i];
        line->package_id = step_copy(step, line->package_id);
    }
    for (size_t i = 0; i < page->count; i++) {
        struct month_statement *statement = APPEND(step, statement, statements);
        *statement = page->statements[i];
        statement->account_id = step_copy(step, statement->account_id);
        emit(step, EMIT_STATEMENT, i);
    }
}

struct step_hold *step_add_hold(struct step *step)
{
    assert(step->hold_count < INPUT_COUNT * REJECT_GROUPS); // one for each log and group
    return &step->holds[step->hold_count++];
}

struct decision *step_add_decision(struct step *step)
{
    return APPEND(step, decision, decisions);
}

void step_emit_close(struct step *step)
{
    assert(!step->closed); // I9
    step->closed = true;
    emit(step, EMIT_DAY_CLOSE, 0);
    check_emissions(step);
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
    *step = (struct step){.month = DAY_NONE, .arena = arena_create()};
    return step->arena != NULL;
}

void step_clear(struct step *step)
{
    check_emissions(step);
    arena_reset(step->arena);
    step->reject_count = step->credit_count = step->status_count = step->settlement_count = 0;
    step->line_count = step->notice_count = step->decision_count = step->emission_count = 0;
    step->statement_count = step->month_line_count = 0;
    step->touched_account_count = step->touched_package_count = 0;
    step->hold_count = 0;
    step->closed = step->released = step->moved = false;
    step->month = DAY_NONE;
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
    free(step->notices);
    free(step->statements);
    free(step->month_lines);
    free(step->decisions);
    free(step->emissions);
    free(step->touched_accounts);
    free(step->touched_packages);
    *step = (struct step){0};
}
