// The life of a fold, its logs and its days.
//
//   log   OPEN ── record with T >= due, the day not held ─────────────► CUT (RECORD)
//         OPEN ── position reaches the end asked for when due ────────► CUT (CLOCK)
//         OPEN ── the held day is released ───────────────────────────► CUT (RELEASE)
//         CUT  ── the day is found to be held ────────────────────────► OPEN
//         CUT  ── the day is settled ─────────────────────────────────► OPEN (the next day)
//   day   each log CUT, or the calls stopped by rejects, and too many rejects on one ─► HELD
//         HELD, and a decision brings them below their shares ─► released
#include "consumer/base/memory.h"
#include "consumer/core/fold_state.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

enum {
    PPM = 1000000,
};

struct fold *fold_create(const struct fold_options *options, const struct policy *policy)
{
    assert(options->shard >= 0);
    assert(policy->count > 0);
    assert(policy->shelf.count > 0);
    struct fold *fold = calloc(1, sizeof *fold);
    if (!fold)
        return NULL;
    fold->options = *options;
    identity_key_expand(&fold->key, options->id_key);
    ledger_create(&fold->ledger);
    if (!step_create(&fold->step)) {
        fold_destroy(fold);
        return NULL;
    }
    for (int i = 0; i < INPUT_COUNT; i++)
        fold->log[i].clock_end = -1;
    fold->state.day = policy->fixed.first_day;
    fold->state.horizon = DAY_NONE;
    fold_set_policy(fold, policy);
    return fold;
}

void fold_destroy(struct fold *fold)
{
    if (!fold)
        return;
    account_calls_drop(&fold->chains);
    calls_free(&fold->calls);
    ledger_free(&fold->ledger);
    if (fold->step.arena)
        step_release(&fold->step);
    free(fold->overrides);
    for (int i = 0; i < INPUT_COUNT; i++)
        free(fold->refusals[i]);
    for (size_t i = 0; i < fold->named_count; i++)
        free(fold->named[i]);
    free(fold->named);
    free(fold->replay.cutoffs);
    free(fold->replay.rejects);
    free(fold);
}

void fold_open_day(struct fold *fold, day_t day)
{
    fold->state.day = day;
    // R53: a day has its own parameters.
    fold->parameters = policy_at(fold->policy, day);
    fold->floor = policy_floor(fold->policy, day);
    fold->credit_floor = policy_credit_floor(fold->policy, day);
    // R46: a day ends at its 24:00 plus the grace.
    fold->due_at = calendar_day_start(day + 1, fold->zone_ms) + fold->parameters->grace_ms;
}

void fold_set_policy(struct fold *fold, const struct policy *policy)
{
    fold->policy = policy;
    fold->zone_ms = policy->shelf.books[0]->offset_ms;
    fold_open_day(fold, fold->state.day);
}

const struct policy *fold_policy(const struct fold *fold)
{
    return fold->policy;
}

// R70
int64_t fold_first_instant(const struct policy *policy, enum input input)
{
    day_t first = policy->fixed.first_day;
    const struct parameters *p = policy_at(policy, first);
    if (input != INPUT_CALLS)
        first -= p->credit_days;
    return calendar_day_start(first, policy->shelf.books[0]->offset_ms) - p->future_tolerance_ms;
}

void fold_begin(struct fold *fold, const int64_t starts[INPUT_COUNT])
{
    assert(fold->ledger.account_count == 0); // a fresh one
    assert(fold->calls.count == 0);
    assert(!fold->replay.active);
    for (int i = 0; i < INPUT_COUNT; i++)
        fold->state.log[i] =
            (struct log_state){.next = starts[i], .from = starts[i], .last_offset = -1};
    fold->state.calls_from = starts[INPUT_CALLS];
    // the first month may be one of a few days
    fold->state.month = calendar_month_end(fold->state.day);
    fold->step.moved = true;
}

// ---- what others may see ----

const struct fold_state *fold_state(const struct fold *fold)
{
    return &fold->state;
}

const struct account *fold_account(const struct fold *fold, uint32_t index)
{
    assert(index < fold->ledger.account_count);
    return &fold->ledger.accounts[index];
}

const struct package *fold_package(const struct fold *fold, uint32_t index)
{
    assert(index < fold->ledger.package_count);
    return &fold->ledger.packages[index];
}

size_t fold_account_count(const struct fold *fold)
{
    return fold->ledger.account_count;
}

size_t fold_package_count(const struct fold *fold)
{
    return fold->ledger.package_count;
}

int64_t fold_resident_calls(const struct fold *fold)
{
    return fold->calls.count;
}

int64_t fold_calls_of_day(const struct fold *fold, day_t usage_day)
{
    const struct usage_day *day = calls_day(&fold->calls, usage_day);
    return day ? day->count : 0;
}

size_t fold_memory(const struct fold *fold)
{
    return sizeof *fold + calls_memory(&fold->calls) + account_calls_memory(&fold->chains) +
           ledger_memory(&fold->ledger) + arena_used(fold->step.arena);
}

int64_t fold_oldest_credit(const struct fold *fold)
{
    return credit_start(fold);
}

int64_t fold_oldest_call(const struct fold *fold)
{
    return call_start(fold);
}

int64_t fold_due_at(const struct fold *fold)
{
    return fold->due_at;
}

enum day_phase fold_phase(const struct fold *fold, int64_t now_ms)
{
    if (fold->state.held)
        return DAY_HELD;
    if (now_ms >= fold->due_at)
        return DAY_CLOSING;
    return now_ms >= fold->due_at - fold->parameters->grace_ms ? DAY_GRACE : DAY_OPEN;
}

enum cut_by fold_cut(const struct fold *fold, enum input input)
{
    return fold->log[input].cut;
}

// ---- shares of rejects ----

static const int64_t hold_minimum[INPUT_COUNT] = {[INPUT_CALLS] = FOLD_HOLD_MIN_CALLS,
                                                  [INPUT_PURCHASES] = FOLD_HOLD_MIN_OTHERS,
                                                  [INPUT_CREDITS] = FOLD_HOLD_MIN_OTHERS};

static int64_t records_of(const struct log_state *log)
{
    return log->accepted + log->duplicates + log->rejected;
}

// R45, R50: each group has its own share.
static bool is_more_than_share(const struct fold *fold, enum reject_group group, int64_t rejects,
                               int64_t records)
{
    int64_t share_ppm = group == REJECTS_BROKEN ? fold->parameters->max_reject_share_ppm
                                                : fold->parameters->max_refused_share_ppm;
    assert(group < REJECT_GROUPS);
    // A log has less than 2^63 / 10^6 records since a cutoff: at a million a second, for 106 days.
    assert(rejects <= INT64_MAX / PPM);
    assert(records <= INT64_MAX / PPM);
    return rejects * PPM > records * share_ppm;
}

// R50: both the number and the share.
bool fold_beyond_share(const struct fold *fold, enum input input, enum reject_group group,
                       int64_t rejects, int64_t records)
{
    return rejects >= hold_minimum[input] && is_more_than_share(fold, group, rejects, records);
}

static bool is_beyond(const struct fold *fold, enum input input, enum reject_group group)
{
    const struct log_state *log = &fold->state.log[input];
    return fold_beyond_share(fold, input, group, log->undecided_of[group], records_of(log));
}

bool fold_must_hold(const struct fold *fold)
{
    // R50: any of the three logs, either group.
    for (enum input i = 0; i < INPUT_COUNT; i++)
        for (enum reject_group g = 0; g < REJECT_GROUPS; g++)
            if (is_beyond(fold, i, g))
                return true;
    return false;
}

// R45: too many rejects: the calls are read no further until an operator has decided. Purchases and
// credits always are: no deployment may keep a top-up from its account.
static bool is_stopped(const struct fold *fold, enum input input)
{
    const struct log_state *log = &fold->state.log[input];
    if (input != INPUT_CALLS)
        return false;
    for (enum reject_group g = 0; g < REJECT_GROUPS; g++)
        if (log->undecided_of[g] > FOLD_PAUSE_MIN &&
            is_more_than_share(fold, g, log->undecided_of[g], records_of(log)))
            return true;
    return false;
}

// ---- cutoffs ----

// R50: each log and group with too many rejects becomes a reason to hold the day, with its numbers
// as they are now.
static void add_holds(struct fold *fold)
{
    for (enum input i = 0; i < INPUT_COUNT; i++) {
        for (enum reject_group g = 0; g < REJECT_GROUPS; g++) {
            struct hold *hold = &fold->state.holds[i][g];
            const struct log_state *log = &fold->state.log[i];
            if (hold->records > 0 || !is_beyond(fold, i, g))
                continue;
            *hold = (struct hold){log->undecided_of[g], records_of(log), log->next};
            assert(hold->records >= hold->rejects);
            *step_add_hold(&fold->step) =
                (struct step_hold){.day = fold->state.day,
                                   .input = i,
                                   .group = g,
                                   .rejects = hold->rejects,
                                   .records = hold->records,
                                   .at = hold->at,
                                   .after_decision = fold->state.decisions};
            fold->step.moved = true;
        }
    }
}

static void hold_day(struct fold *fold)
{
    assert(!fold->state.held);
    assert(!fold->state.released);
    add_holds(fold);
    assert(fold->step.hold_count > 0);
    fold->state.held = true;
    for (int i = 0; i < INPUT_COUNT; i++)
        fold->log[i] = (struct log_progress){.clock_end = -1};
}

// R51: records that come after the day was held do not count, or a good afternoon would release a
// broken morning. Rejects that come later do.
static bool is_still_held(const struct fold *fold)
{
    for (enum input i = 0; i < INPUT_COUNT; i++)
        for (enum reject_group g = 0; g < REJECT_GROUPS; g++) {
            int64_t records = fold->state.holds[i][g].records;
            if (records > 0 &&
                fold_beyond_share(fold, i, g, fold->state.log[i].undecided_of[g], records))
                return true;
        }
    return false;
}

// R50: judged when the day is due and each log has come to its cutoff, or the calls to a stop: the
// others must not wait for a log that rejects have stopped, or broken calls would stop top-ups.
static void hold_if_due(struct fold *fold)
{
    bool due = false;
    for (enum input i = 0; i < INPUT_COUNT; i++) {
        if (fold->log[i].cut == CUT_NONE && !is_stopped(fold, i))
            return;
        due = due || fold->log[i].cut != CUT_NONE;
    }
    if (due && fold_must_hold(fold))
        hold_day(fold);
}

static void cut(struct fold *fold, enum input input, enum cut_by by)
{
    assert(fold->log[input].cut == CUT_NONE); // I7
    assert(by != CUT_NONE);
    assert(!fold->state.held); // a held day reads on
    fold->log[input].cut = by;
    hold_if_due(fold);
}

// R51: the day is cut where its logs stand.
void fold_cut_released(struct fold *fold)
{
    assert(fold->state.released);
    for (enum input i = 0; i < INPUT_COUNT; i++) {
        assert(fold->log[i].cut == CUT_NONE); // I7
        fold->log[i].cut = CUT_RELEASE;
    }
}

// What was below its share of the fewer records of then is so of those of now, too.
static void release(struct fold *fold)
{
    assert(!fold_must_hold(fold));
    fold->state.held = false;
    fold->state.released = fold->step.released = true;
    fold_cut_released(fold);
}

// R48: a day is settled when all three logs are cut.
bool fold_close_due(const struct fold *fold)
{
    for (int i = 0; i < INPUT_COUNT; i++)
        if (fold->log[i].cut == CUT_NONE)
            return false;
    return true;
}

static void cut_at_clock_end(struct fold *fold, enum input input)
{
    struct log_progress *log = &fold->log[input];
    // R47: everything below the end has been read.
    if (log->cut == CUT_NONE && log->clock_end == fold->state.log[input].next)
        cut(fold, input, CUT_CLOCK);
}

// R47: only an end that is asked for when the day is due proves anything.
bool fold_wants_end(const struct fold *fold, enum input input, int64_t now_ms)
{
    const struct log_progress *log = &fold->log[input];
    return log->cut == CUT_NONE && !fold->state.held && log->clock_end < 0 &&
           now_ms >= fold->due_at;
}

void fold_clock_end(struct fold *fold, enum input input, int64_t end, int64_t asked_at_ms)
{
    if (!fold_wants_end(fold, input, asked_at_ms) || end < fold->state.log[input].next)
        return;
    fold->log[input].clock_end = end;
    cut_at_clock_end(fold, input);
}

// ---- positions ----

void fold_check_log(const struct log_state *log)
{
    assert(log->from <= log->next); // I7
    assert(log->accepted + log->duplicates + log->rejected + log->voids ==
           log->next - log->from); // I1
}

void fold_void_to(struct fold *fold, enum input input, int64_t offset)
{
    struct log_state *log = &fold->state.log[input];
    if (offset <= log->next)
        return;
    log->voids += offset - log->next;
    log->next = offset;
    fold->step.moved = true;
}

// R47: nothing was delivered below `offset`. Stops at the clock's end, where the day ends; true
// when it is there.
static bool skip_to(struct fold *fold, enum input input, int64_t offset)
{
    int64_t end = fold->log[input].clock_end;
    assert(end < 0 || end >= fold->state.log[input].next); // I7: never read beyond it
    if (end >= 0 && end <= offset) {
        fold_void_to(fold, input, end);
        cut_at_clock_end(fold, input);
        // else: the day is held now, reading goes on in it
        if (fold->log[input].cut != CUT_NONE)
            return false;
    }
    fold_void_to(fold, input, offset);
    return true;
}

enum fold_stop fold_reached(struct fold *fold, enum input input, int64_t offset)
{
    if (fold->log[input].cut != CUT_NONE)
        return FOLD_CUT;
    return skip_to(fold, input, offset) ? FOLD_MORE : FOLD_CUT;
}

const struct timestamp_override *fold_find_override(const struct fold *fold, enum input input,
                                                    int64_t offset)
{
    for (size_t i = 0; i < fold->override_count; i++)
        if (fold->overrides[i].input == input && fold->overrides[i].offset == offset)
            return &fold->overrides[i];
    return NULL;
}

// A record is judged once: every later one would be compared with the overrides of before.
void fold_drop_override(struct fold *fold, enum input input, int64_t offset)
{
    for (size_t i = 0; i < fold->override_count; i++) {
        if (fold->overrides[i].input != input || fold->overrides[i].offset != offset)
            continue;
        fold->overrides[i] = fold->overrides[--fold->override_count];
        return;
    }
}

// Where the refusal of the offset stands, or would.
static size_t place_of_refusal(const struct fold *fold, enum input input, int64_t offset)
{
    size_t low = 0, high = fold->refusal_count[input];
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (fold->refusals[input][middle].offset < offset)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

void fold_add_refusal(struct fold *fold, enum input input, struct refusal refusal)
{
    assert(refusal.offset >= fold->state.log[input].next); // what is judged stays judged
    fold->refusals[input] = memory_reserve(fold->refusals[input], fold->refusal_count[input],
                                           &fold->refusal_capacity[input], sizeof refusal);
    size_t at = place_of_refusal(fold, input, refusal.offset);
    struct refusal *place = fold->refusals[input] + at;
    memmove(place + 1, place, (fold->refusal_count[input]++ - at) * sizeof refusal);
    *place = refusal;
}

int64_t fold_refused_by(const struct fold *fold, enum input input, int64_t offset)
{
    size_t at = place_of_refusal(fold, input, offset);
    if (at == fold->refusal_count[input] || fold->refusals[input][at].offset != offset)
        return 0;
    return fold->refusals[input][at].decision;
}

// Those of records that are judged by now.
static void drop_refusals(struct fold *fold, enum input input)
{
    size_t count = place_of_refusal(fold, input, fold->state.log[input].next);
    if (count == 0)
        return;
    fold->refusal_count[input] -= count;
    memmove(fold->refusals[input], fold->refusals[input] + count,
            fold->refusal_count[input] * sizeof(struct refusal));
}

// Whether the log may take this record now; *at_ms: the time it is judged by.
static enum fold_stop admit(struct fold *fold, enum input input, const struct event *event,
                            int64_t now_ms, int64_t *at_ms)
{
    // R48: a log that is cut waits for the others.
    if (fold->log[input].cut != CUT_NONE || !skip_to(fold, input, event->offset))
        return FOLD_CUT;
    const struct timestamp_override *override = fold_find_override(fold, input, event->offset);
    *at_ms = override ? override->as_of : event->timestamp;
    // R44: what no clock could have stamped waits, unless an operator let it pass.
    if (!override && (!event->stamped || *at_ms > now_ms + fold->parameters->future_tolerance_ms))
        return FOLD_FUTURE;
    // R46: the first record past the grace cuts the log. R51: in a held day it is read.
    if (!fold->state.held && *at_ms >= fold->due_at) {
        if (now_ms < fold->due_at)
            return FOLD_AHEAD;
        cut(fold, input, CUT_RECORD);
        // else: the day is held now, reading goes on in it
        if (fold->log[input].cut != CUT_NONE)
            return FOLD_CUT;
    }
    if (event->schema_pending && !fold_refused_by(fold, input, event->offset))
        return FOLD_SCHEMA;
    if (is_stopped(fold, input)) {
        hold_if_due(fold);
        return FOLD_REJECTS;
    }
    if (step_is_full(&fold->step, STEP_ROWS_MAX))
        return FOLD_STEP_FULL;
    if (input == INPUT_CALLS && fold->calls.count >= fold->options.max_resident_calls)
        return FOLD_FULL;
    return FOLD_MORE;
}

void fold_count(struct log_state *log, const struct verdict *verdict)
{
    if (verdict->duplicate) {
        log->duplicates++;
    } else if (verdict->reason == REJECT_NONE) {
        log->accepted++;
    } else {
        log->rejected++;
        // What an operator refused is decided.
        if (verdict->decision == 0) {
            enum reject_group group = reject_group_of(verdict->reason);
            log->undecided++;
            // R50: refunds are what customers ask for; no number of them is a fault.
            if (group != REJECTS_NEVER)
                log->undecided_of[group]++;
        }
    }
    log->next++;
}

uint64_t fold_record_hash(const struct event *event)
{
    // Of key and value, so that a record moved from one to the other is another record.
    uint64_t key = event->key.data ? XXH3_64bits(event->key.data, event->key.size) : 0;
    return event->value.data ? XXH3_64bits_withSeed(event->value.data, event->value.size, key)
                             : key;
}

void fold_remember(struct log_state *log, const struct event *event)
{
    log->last_offset = event->offset;
    log->last_timestamp = event->timestamp;
    log->last_hash = fold_record_hash(event);
}

// Whether a record that was admitted could be judged.
static enum fold_stop stop_of(const struct verdict *verdict)
{
    if (verdict->broken)
        return FOLD_BROKEN;
    return verdict->uncounted ? FOLD_COUNT : FOLD_MORE;
}

void fold_set_counted(struct fold *fold, enum input input, bool counted)
{
    fold->counted[input] = counted;
}

const struct lookup *fold_look_ahead(const struct fold *fold, struct look_ahead *look,
                                     struct event_batch batch, size_t i)
{
    for (; look->ahead < batch.count && look->ahead < i + LOOK_AHEAD; look->ahead++)
        judge_prefetch(fold, &batch.events[look->ahead], &look->lookups[look->ahead % LOOK_AHEAD]);
    if (i + LOOK_AHEAD / 2 < look->ahead)
        judge_prefetch_account(fold, &look->lookups[(i + LOOK_AHEAD / 2) % LOOK_AHEAD]);
    return &look->lookups[i % LOOK_AHEAD];
}

enum fold_stop fold_records(struct fold *fold, enum input input, struct event_batch batch,
                            int64_t now_ms, size_t *consumed, struct error *e)
{
    assert(!fold->replay.active);
    assert(!fold->step.closed);
    struct log_state *log = &fold->state.log[input];
    const struct event *last = NULL;
    enum fold_stop stop = FOLD_MORE;
    struct verdict verdict;
    int64_t at_ms;
    struct look_ahead look;
    size_t i = 0;
    verdict.error = e;
    look.ahead = 0;
    for (; i < batch.count; i++) {
        const struct event *event = &batch.events[i];
        const struct lookup *lookup =
            input == INPUT_CALLS ? fold_look_ahead(fold, &look, batch, i) : NULL;
        if (event->offset < log->next)
            continue;
        stop = admit(fold, input, event, now_ms, &at_ms);
        if (stop != FOLD_MORE)
            break;
        verdict.decision = fold_refused_by(fold, input, event->offset);
        judge(fold, input, event, lookup, at_ms, &verdict);
        stop = stop_of(&verdict);
        if (stop != FOLD_MORE)
            break;
        fold_count(log, &verdict);
        fold_drop_override(fold, input, event->offset);
        last = event;
    }
    fold_check_log(log);
    drop_refusals(fold, input);
    if (last) {
        assert(log->next > last->offset);
        fold_remember(log, last);
        fold->step.moved = true;
    }
    *consumed = i;
    // The last record of all may be the one that the clock's end waited for.
    if (stop == FOLD_MORE && last) {
        cut_at_clock_end(fold, input);
        if (fold->log[input].cut != CUT_NONE)
            stop = FOLD_CUT;
    }
    return stop;
}

// ---- decisions ----

void fold_add_override(struct fold *fold, enum input input, int64_t offset, int64_t as_of)
{
    fold->overrides = memory_reserve(fold->overrides, fold->override_count,
                                     &fold->override_capacity, sizeof *fold->overrides);
    fold->overrides[fold->override_count++] = (struct timestamp_override){input, offset, as_of};
}

void fold_name_decision(struct fold *fold, const struct decision *decision)
{
    static const char form[] = "%" PRId64 " %s %s %s";
    const char *kind = decision_symbol(decision->kind);
    int size =
        snprintf(NULL, 0, form, decision->number, kind, decision->operator_name, decision->content);
    char *text = memory_grow(NULL, (size_t)size + 1, 1);
    snprintf(text, (size_t)size + 1, form, decision->number, kind, decision->operator_name,
             decision->content);
    fold->named =
        memory_reserve(fold->named, fold->named_count, &fold->named_capacity, sizeof *fold->named);
    fold->named[fold->named_count++] = text;
}

// Why nothing can be decided about the record; NULL: it can.
static const char *undecidable(const struct fold *fold, const struct decision *decision,
                               int64_t offset, enum reject_reason reason)
{
    bool judged = offset < fold->state.log[decision->input].next;
    bool of_what_waits = decision->kind == DECISION_PASS || decision->kind == DECISION_REFUSE;
    if (of_what_waits && judged)
        return "the record was judged already; nothing waits before it";
    if (decision->kind == DECISION_PASS && fold_find_override(fold, decision->input, offset))
        return "it was passed already";
    if (decision->kind == DECISION_REFUSE && fold_refused_by(fold, decision->input, offset))
        return "it was refused already";
    if (!of_what_waits && (!judged || reason == REJECT_NONE))
        return "it is not among the rejects, or was decided already; see settled rejects list";
    return NULL;
}

static int check_decision(const struct fold *fold, const struct decision *decision,
                          const enum reject_reason *reasons, struct error *e)
{
    assert(decision->count > 0);
    for (size_t i = 0; i < decision->count; i++) {
        const char *why =
            undecidable(fold, decision, decision->offsets[i], reasons ? reasons[i] : REJECT_NONE);
        if (why)
            return error_set(e, ERROR_CONFIG, "%.*s/%" PRId32 "/%" PRId64 ": %s",
                             (int)strcspn(decision->content, " "), decision->content,
                             fold->options.shard, decision->offsets[i], why);
    }
    return 0;
}

bool fold_resolve(struct log_state *log, int64_t offset, enum reject_reason reason)
{
    if (offset < log->from)
        return false;
    log->undecided--;
    if (reject_group_of(reason) != REJECTS_NEVER)
        log->undecided_of[reject_group_of(reason)]--;
    return true;
}

static const struct decision *add_decision(struct fold *fold, const struct decision *decision)
{
    struct arena *arena = fold->step.arena;
    struct decision *added = step_add_decision(&fold->step);
    *added = *decision;
    added->number = ++fold->state.decisions;
    added->day = fold->state.day;
    added->operator_name =
        arena_copy(arena, decision->operator_name, strlen(decision->operator_name));
    added->content = arena_copy(arena, decision->content, strlen(decision->content));
    int64_t *offsets = arena_alloc(arena, decision->count * sizeof *offsets);
    memcpy(offsets, decision->offsets, decision->count * sizeof *offsets);
    added->offsets = offsets;
    for (int i = 0; i < INPUT_COUNT; i++)
        added->at[i] = fold->state.log[i].next;
    fold_name_decision(fold, added);
    fold->step.moved = true;
    return added;
}

int fold_decide(struct fold *fold, const struct decision *decision,
                const enum reject_reason *reasons, struct error *e)
{
    if (check_decision(fold, decision, reasons, e) != 0)
        return -1;
    assert(!fold->step.closed); // its close names the decisions before it
    const struct decision *added = add_decision(fold, decision);
    struct log_state *log = &fold->state.log[decision->input];
    bool resolved = false;
    for (size_t i = 0; i < added->count; i++) {
        int64_t offset = added->offsets[i];
        if (added->kind == DECISION_PASS)
            fold_add_override(fold, added->input, offset, added->as_of);
        else if (added->kind == DECISION_REFUSE)
            fold_add_refusal(fold, added->input, (struct refusal){offset, added->number});
        else if (fold_resolve(log, offset, reasons[i]))
            resolved = true;
    }
    if (resolved && fold->state.held) {
        // R51: only decisions release, and none while another log or group is beyond its share.
        add_holds(fold);
        if (!is_still_held(fold))
            release(fold);
    }
    return 0;
}

// ---- steps ----

const struct step *fold_step(const struct fold *fold)
{
    return &fold->step;
}

void fold_step_done(struct fold *fold)
{
    struct step *step = &fold->step;
    for (size_t i = 0; i < step->touched_account_count; i++) {
        assert(step->touched_accounts[i] < fold->ledger.account_count);
        struct account *account = &fold->ledger.accounts[step->touched_accounts[i]];
        assert(account->touched); // each is in the list once
        account->touched = false;
        account->recorded = true;
    }
    for (size_t i = 0; i < step->touched_package_count; i++) {
        assert(step->touched_packages[i] < fold->ledger.package_count);
        struct package *package = &fold->ledger.packages[step->touched_packages[i]];
        assert(package->touched);
        package->touched = false;
    }
    bool closed = step->closed;
    step_clear(step);
    // Not at the close itself: its step tells of packages by their numbers.
    if (closed)
        ledger_forget(fold);
}

// ---- explain ----

void fold_set_trace(struct fold *fold, struct slice account_id, fold_trace *trace, void *context)
{
    fold->trace_account = account_id;
    fold->trace = trace;
    fold->trace_context = context;
}
