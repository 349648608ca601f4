// A shard with a past: rows first, then the calls log up to the committed position, with the
// recorded verdicts.
#include "consumer/base/memory.h"
#include "consumer/core/fold_state.h"

#include <assert.h>
#include <inttypes.h>

int fold_restore_state(struct fold *fold, const struct fold_state *state, struct error *e)
{
    assert(fold->ledger.account_count == 0); // a fresh one
    assert(fold->calls.count == 0);
    assert(!fold->replay.active);
    assert(!state->held || !state->released);
    for (int i = 0; i < INPUT_COUNT; i++) {
        const struct log_state *log = &state->log[i];
        if (log->from > log->next ||
            log->accepted + log->duplicates + log->rejected + log->voids != log->next - log->from)
            return error_set(
                e, ERROR_CONFIG,
                "shard %" PRId32
                ": the recorded counts of input %d do not add up to its offsets %" PRId64
                "..%" PRId64 "; the shard's row was changed by hand: restore it from a backup",
                fold->options.shard, i, log->from, log->next);
    }
    fold->state = *state;
    fold_open_day(fold, state->day);
    if (state->released)
        fold_cut_released(fold);
    fold->replay.active = true;
    fold->replay.next = fold->replay.from = state->calls_from;
    return 0;
}

static uint32_t known_account(struct fold *fold, struct slice id)
{
    struct account_hash hash;
    identity_of_account(&fold->key, id, &hash);
    return ledger_account(fold, hash, id);
}

int fold_restore_account(struct fold *fold, const struct account *account, uint32_t *index,
                         struct error *e)
{
    struct account_hash hash;
    identity_of_account(&fold->key, account->id, &hash);
    if (ledger_find_account(fold, hash) != ACCOUNT_NONE)
        return error_set(e, ERROR_BUG, "account %.*s is restored twice", (int)account->id.size,
                         account->id.data);
    uint32_t number = ledger_account(fold, hash, account->id);
    struct account *restored = &fold->ledger.accounts[number];
    struct slice id = restored->id;
    *restored = *account;
    restored->id = id;
    restored->touched = false;
    restored->recorded = true;
    restored->changed = restored->unlisted = false;
    restored->first_package = 0;
    restored->spans = NULL;
    restored->span_count = restored->span_capacity = 0;
    if (index)
        *index = number;
    return 0;
}

int fold_restore_span(struct fold *fold, struct slice account_id, struct span span, struct error *e)
{
    uint32_t number = known_account(fold, account_id);
    struct account *account = &fold->ledger.accounts[number];
    if (span.from > span.to || (span.to == INT64_MAX && account->state != ACCOUNT_SUSPENDED))
        return error_set(e, ERROR_CONFIG, "account %.*s: its status changes contradict its status",
                         (int)account_id.size, account_id.data);
    ledger_add_span(account, span);
    return 0;
}

int fold_restore_package(struct fold *fold, struct slice account_id, const struct package *package,
                         struct error *e)
{
    struct package restored = *package;
    if (ledger_is_gone(fold, package)) {
        fold_restore_left_out(fold);
        return 0;
    }
    restored.account = known_account(fold, account_id);
    struct account_hash hash = fold->ledger.account_hashes[restored.account];
    // R60: one whose id is forgotten may share it with a later one, and rows come in any order.
    if (ledger_is_known(fold, package) &&
        ledger_find_package(fold, hash, restored.account, restored.id) != INDEX_NONE)
        return error_set(e, ERROR_BUG, "package %.*s of account %.*s is restored twice",
                         (int)package->id.size, package->id.data, (int)account_id.size,
                         account_id.data);
    ledger_add_package(fold, &restored);
    return 0;
}

void fold_restore_left_out(struct fold *fold)
{
    fold->ledger.packages_left_out = true;
}

int fold_restore_credit(struct fold *fold, const struct restored_credit *credit, struct error *e)
{
    // R60: its id is forgotten.
    if (credit->credited_at < credit_start(fold))
        return 0;
    uint32_t number = known_account(fold, credit->account_id);
    struct account_hash hash = fold->ledger.account_hashes[number];
    struct identity id;
    identity_of(&fold->key, credit->id, &id);
    if (ledger_find_credit(fold, hash, number, id))
        return error_set(e, ERROR_BUG, "credit %.*s of account %.*s is restored twice",
                         (int)credit->id.size, credit->id.data, (int)credit->account_id.size,
                         credit->account_id.data);
    ledger_add_credit(fold, hash,
                      &(struct credit_entry){.half = {id.half[0], id.half[1]},
                                             .uuid = id.uuid,
                                             .account = number,
                                             .kind = (uint8_t)credit->kind,
                                             .amount = credit->amount,
                                             .credited_at = credit->credited_at});
    return 0;
}

void fold_restore_hold(struct fold *fold, enum input input, enum reject_group group,
                       struct hold hold)
{
    assert(hold.rejects > 0);
    assert(hold.records >= hold.rejects);
    fold->state.holds[input][group] = hold;
}

int fold_restore_cutoff(struct fold *fold, day_t day, int64_t to_offset, struct error *e)
{
    struct replay *replay = &fold->replay;
    const struct recorded_cutoff *last =
        replay->cutoff_count ? &replay->cutoffs[replay->cutoff_count - 1] : NULL;
    if (day >= fold->state.day || (last && (last->day >= day || last->to_offset > to_offset)))
        return error_set(e, ERROR_CONFIG,
                         "shard %" PRId32
                         ": the recorded cutoffs are out of order at offset %" PRId64,
                         fold->options.shard, to_offset);
    replay->cutoffs = memory_reserve(replay->cutoffs, replay->cutoff_count,
                                     &replay->cutoff_capacity, sizeof *replay->cutoffs);
    replay->cutoffs[replay->cutoff_count++] =
        (struct recorded_cutoff){.day = day, .to_offset = to_offset};
    return 0;
}

void fold_restore_count(struct fold *fold, int64_t from_offset, int64_t judged)
{
    assert(fold->replay.cutoff_count > 0); // it is the last one's
    struct recorded_cutoff *last = &fold->replay.cutoffs[fold->replay.cutoff_count - 1];
    assert(!last->counted);
    last->counted = true;
    last->from_offset = from_offset;
    last->judged = judged;
}

int fold_restore_reject(struct fold *fold, int64_t offset, struct error *e)
{
    struct replay *replay = &fold->replay;
    if (replay->reject_count && replay->rejects[replay->reject_count - 1] >= offset)
        return error_set(e, ERROR_BUG,
                         "shard %" PRId32
                         ": the recorded rejects are out of order at offset %" PRId64,
                         fold->options.shard, offset);
    replay->rejects = memory_reserve(replay->rejects, replay->reject_count,
                                     &replay->reject_capacity, sizeof *replay->rejects);
    replay->rejects[replay->reject_count++] = offset;
    return 0;
}

int fold_restore_decision(struct fold *fold, const struct decision *decision, bool since_last_close,
                          struct error *e)
{
    if (decision->number < 1 || decision->number > fold->state.decisions)
        return error_set(e, ERROR_CONFIG,
                         "shard %" PRId32 ": decision %" PRId64
                         " is recorded, but the shard's row counts %" PRId64
                         "; it was changed by hand: restore it from a backup",
                         fold->options.shard, decision->number, fold->state.decisions);
    // What was judged is not judged again: a replay goes by the recorded verdicts.
    for (size_t i = 0; i < decision->count; i++) {
        int64_t offset = decision->offsets[i];
        if (offset < fold->state.log[decision->input].next)
            continue;
        if (decision->kind == DECISION_PASS)
            fold_add_override(fold, decision->input, offset, decision->as_of);
        if (decision->kind == DECISION_REFUSE)
            fold_add_refusal(fold, decision->input, (struct refusal){offset, decision->number});
    }
    if (since_last_close)
        fold_name_decision(fold, decision);
    return 0;
}

// ---- the calls log again ----

int64_t fold_replay_position(const struct fold *fold)
{
    return fold->replay.next;
}

void fold_replay_only(struct fold *fold, struct slice account_id)
{
    assert(fold->replay.active);
    assert(fold->calls.count == 0);
    fold->replay.only = account_id;
}

static int contradiction(const struct fold *fold, int64_t offset, const char *what, struct error *e)
{
    return error_set(e, ERROR_CONFIG,
                     "shard %" PRId32
                     ": the calls log contradicts the recorded verdicts at offset %" PRId64
                     ": %s; the topic or the database was changed after the fact: see the runbook, "
                     "nothing was written",
                     fold->options.shard, offset, what);
}

static const char *drift(int64_t found, int64_t recorded)
{
    if (found < recorded)
        return "records are gone";
    return found > recorded ? "records show that were not there" : "records are others";
}

// A broker that takes an aborted transaction for a committed one, or the other way round, changes a
// log without a trace at its ends. Of the day in which the replay begins only a part is read again,
// so its count says nothing.
static int check_count(const struct fold *fold, const struct recorded_cutoff *cutoff,
                       struct error *e)
{
    char day[DAY_TEXT_SIZE];
    int64_t found = fold->replay.judged;
    if (!cutoff->counted || cutoff->from_offset < fold->state.calls_from || found == cutoff->judged)
        return 0;
    return error_set(e, ERROR_CONFIG,
                     "shard %" PRId32 ": of %s the calls log has %" PRId64
                     " accepted calls and duplicates in offsets %" PRId64 "..%" PRId64
                     ", but %" PRId64 " are recorded (%s); the topic or the database was changed "
                     "after the fact: see the runbook, nothing was written",
                     fold->options.shard, calendar_format_day(cutoff->day, day), found,
                     cutoff->from_offset, cutoff->to_offset, cutoff->judged,
                     drift(found, cutoff->judged));
}

// R24, R49: at a recorded cutoff the calls of its day and before are on a settlement, for ever.
static int pass_cutoffs(struct fold *fold, int64_t offset, struct error *e)
{
    struct replay *replay = &fold->replay;
    assert(replay->cutoff_at <= replay->cutoff_count);
    for (; replay->cutoff_at < replay->cutoff_count &&
           replay->cutoffs[replay->cutoff_at].to_offset <= offset;
         replay->cutoff_at++) {
        const struct recorded_cutoff *cutoff = &replay->cutoffs[replay->cutoff_at];
        if (check_count(fold, cutoff, e) != 0)
            return -1;
        replay->judged = 0;
        for (size_t i = 0; i < fold->calls.day_count; i++) {
            struct usage_day *day = &fold->calls.days[i];
            if (day->day <= cutoff->day)
                day->settled = day->count;
        }
    }
    return 0;
}

// Whether the record was rejected, by what is recorded.
static int recorded_reject(struct fold *fold, int64_t offset, bool *rejected, struct error *e)
{
    struct replay *replay = &fold->replay;
    assert(replay->reject_at <= replay->reject_count);
    *rejected = false;
    if (replay->reject_at == replay->reject_count || replay->rejects[replay->reject_at] > offset)
        return 0;
    if (replay->rejects[replay->reject_at] < offset)
        return contradiction(fold, replay->rejects[replay->reject_at],
                             "a rejected record is not there any more", e);
    replay->reject_at++;
    *rejected = true;
    return 0;
}

bool fold_replay_needs(const struct fold *fold, int64_t offset)
{
    const struct replay *replay = &fold->replay;
    if (offset >= fold->state.log[INPUT_CALLS].next)
        return false;
    size_t i = replay->reject_at;
    while (i < replay->reject_count && replay->rejects[i] < offset)
        i++;
    return i == replay->reject_count || replay->rejects[i] > offset;
}

// What cannot be decoded is judged, and refused there.
static bool is_foreign(const struct replay *replay, const struct event *event)
{
    const struct value *account = &event->record.field[CALL_ACCOUNT_ID];
    return replay->only.data && event->fault == REJECT_NONE &&
           !slice_same(replay->only, (struct slice){account->data, (size_t)account->number});
}

static int replay_event(struct fold *fold, const struct event *event, const struct lookup *lookup,
                        struct error *e)
{
    struct replay *replay = &fold->replay;
    const struct log_state *log = &fold->state.log[INPUT_CALLS];
    if (pass_cutoffs(fold, event->offset, e) != 0)
        return -1;
    if (event->offset == log->last_offset) {
        if (event->timestamp != log->last_timestamp || fold_record_hash(event) != log->last_hash)
            return contradiction(fold, event->offset,
                                 "this is not the record that was read (topic made again?)", e);
        replay->proved = true;
    }
    bool rejected, open = event->offset >= log->from;
    if (recorded_reject(fold, event->offset, &rejected, e) != 0 || rejected)
        return rejected ? 0 : -1;
    replay->judged++;
    if (is_foreign(replay, event)) {
        replay->foreign += open;
        return 0;
    }
    struct call call;
    uint64_t hash;
    if (!judge_recorded_call(fold, event, lookup, &call, &hash))
        return contradiction(fold, event->offset, "the record was accepted, but it is broken", e);
    bool retained = call.day >= fold->floor;
    enum call_match match = retained ? calls_match(&fold->calls, hash, &call) : CALL_SAME;
    if (match == CALL_OTHER)
        return contradiction(fold, event->offset,
                             "the record was accepted, but its call_id is another's", e);
    if (match == CALL_NEW) {
        calls_add(&fold->calls, hash, &call, event->offset);
        if (open)
            replay->accepted++;
    } else if (open) {
        replay->others++;
    }
    return 0;
}

// Who is suspended is so from an instant on that his status changes tell.
static int check_suspended(const struct fold *fold, struct error *e)
{
    for (size_t a = 0; a < fold->ledger.account_count; a++) {
        const struct account *account = &fold->ledger.accounts[a];
        if (account->state == ACCOUNT_ACTIVE)
            continue;
        if (account->span_count == 0 || account->spans[account->span_count - 1].to != INT64_MAX)
            return error_set(e, ERROR_CONFIG,
                             "account %.*s: its status changes contradict its status",
                             (int)account->id.size, account->id.data);
    }
    return 0;
}

static int finish_restore(struct fold *fold, bool *done, struct error *e)
{
    struct replay *replay = &fold->replay;
    const struct log_state *log = &fold->state.log[INPUT_CALLS];
    if (check_suspended(fold, e) != 0 || pass_cutoffs(fold, log->next, e) != 0)
        return -1;
    if (log->last_offset >= replay->from && !replay->proved)
        return contradiction(fold, log->last_offset,
                             "the last record that was read is not there any more", e);
    if (replay->reject_at < replay->reject_count && replay->rejects[replay->reject_at] < log->next)
        return contradiction(fold, replay->rejects[replay->reject_at],
                             "a rejected record is not there any more", e);
    // Of other accounts it is not known which records were duplicates.
    int64_t judged = replay->accepted + replay->others + replay->foreign;
    if (judged != log->accepted + log->duplicates ||
        (!replay->only.data && replay->accepted != log->accepted))
        return error_set(e, ERROR_CONFIG,
                         "shard %" PRId32 ": the calls log has %" PRId64
                         " accepted calls and %" PRId64 " duplicates in offsets %" PRId64
                         "..%" PRId64 ", but %" PRId64 " and %" PRId64
                         " are recorded (%s); the topic or the database was changed after the "
                         "fact: see the runbook, "
                         "nothing was written",
                         fold->options.shard, replay->accepted + replay->foreign, replay->others,
                         log->from, log->next, log->accepted, log->duplicates,
                         drift(judged, log->accepted + log->duplicates));
    ledger_check(&fold->ledger);
    ledger_check_packages(&fold->ledger);
    calls_check(&fold->calls);
    replay->active = false;
    *done = true;
    return 0;
}

int fold_replay(struct fold *fold, const struct event *events, size_t count, bool *done,
                struct error *e)
{
    struct replay *replay = &fold->replay;
    int64_t end = fold->state.log[INPUT_CALLS].next;
    *done = !replay->active;
    struct look_ahead look;
    look.ahead = 0;
    for (size_t i = 0; i < count && !*done; i++) {
        const struct lookup *lookup =
            fold_look_ahead(fold, &look, (struct event_batch){events, count}, i);
        if (events[i].offset < replay->next)
            continue;
        if (events[i].offset < end && replay_event(fold, &events[i], lookup, e) != 0)
            return -1;
        replay->next = events[i].offset < end ? events[i].offset + 1 : end;
        if (replay->next >= end && finish_restore(fold, done, e) != 0)
            return -1;
    }
    return 0;
}

int fold_replay_reached(struct fold *fold, int64_t offset, bool *done, struct error *e)
{
    struct replay *replay = &fold->replay;
    int64_t end = fold->state.log[INPUT_CALLS].next;
    *done = !replay->active;
    if (*done)
        return 0;
    if (offset > replay->next)
        replay->next = offset < end ? offset : end;
    return replay->next >= end ? finish_restore(fold, done, e) : 0;
}

// ---- a snapshot in place of a part of it ----

static const struct recorded_cutoff *find_cutoff(const struct replay *replay, day_t day)
{
    for (size_t i = 0; i < replay->cutoff_count; i++)
        if (replay->cutoffs[i].day == day)
            return &replay->cutoffs[i];
    return NULL;
}

static int64_t rejects_between(const struct replay *replay, int64_t from, int64_t to)
{
    int64_t count = 0;
    for (size_t i = 0; i < replay->reject_count && replay->rejects[i] < to; i++)
        count += replay->rejects[i] >= from;
    return count;
}

// The day that was open then is recorded with the same beginning, and with no fewer records.
static bool is_of_recorded_day(const struct fold *fold, const struct snapshot_head *head)
{
    const struct log_state *log = &fold->state.log[INPUT_CALLS];
    int64_t judged = head->accepted + head->duplicates;
    if (head->day == fold->state.day)
        return head->from == log->from && head->accepted <= log->accepted &&
               head->duplicates <= log->duplicates && head->rejected <= log->rejected;
    const struct recorded_cutoff *cutoff = find_cutoff(&fold->replay, head->day);
    return cutoff && head->next <= cutoff->to_offset &&
           (!cutoff->counted || (head->from == cutoff->from_offset && judged <= cutoff->judged));
}

// Who judged other records as rejects was another shard, or lived in a database that lost them.
static bool has_recorded_rejects(const struct fold *fold, const struct snapshot_head *head)
{
    return head->from < fold->state.calls_from ||
           rejects_between(&fold->replay, head->from, head->next) == head->rejected;
}

static bool has_recorded_end(const struct fold *fold, const struct snapshot_head *head)
{
    const struct log_state *log = &fold->state.log[INPUT_CALLS];
    if (log->last_offset >= head->next)
        return true; // the replay comes to it
    return log->last_offset == head->last_offset && log->last_timestamp == head->last_timestamp &&
           log->last_hash == head->last_hash;
}

static int check_head(void *context, const struct snapshot_head *head, struct error *e)
{
    const struct fold *fold = context;
    const struct log_state *log = &fold->state.log[INPUT_CALLS];
    if (head->next < fold->state.calls_from)
        return error_set(e, ERROR_CONFIG,
                         "it ends at offset %" PRId64
                         " of the calls, before what is needed: %" PRId64,
                         head->next, fold->state.calls_from);
    if (head->next > log->next || head->day > fold->state.day ||
        head->decisions > fold->state.decisions)
        return error_set(e, ERROR_CONFIG,
                         "it ends at offset %" PRId64
                         " of the calls, behind what is recorded: %" PRId64
                         ": the database was set back",
                         head->next, log->next);
    if (head->from > head->next || head->last_offset >= head->next ||
        !is_of_recorded_day(fold, head) || !has_recorded_rejects(fold, head) ||
        !has_recorded_end(fold, head))
        return error_set(e, ERROR_CONFIG,
                         "its counts up to offset %" PRId64
                         " of the calls are not those that are recorded",
                         head->next);
    return 0;
}

static uint32_t find_account(void *context, struct account_hash hash)
{
    return ledger_find_account(context, hash);
}

struct snapshot_reader *fold_read_snapshot(struct fold *fold, const struct snapshot_row *row)
{
    struct snapshot_target target = {
        .calls = &fold->calls,
        .key = &fold->key,
        .shard = fold->options.shard,
        .row = *row,
        .floor = fold->floor,
        .context = fold,
        .check = check_head,
        .find_account = find_account,
        .accounts = (uint32_t)fold->ledger.account_count,
    };
    assert(fold->replay.active);
    assert(fold->replay.next == fold->replay.from); // nothing is replayed yet
    snapshot_fingerprint(fold->options.id_key, target.fingerprint);
    return snapshot_reader_create(&target);
}

void fold_leave_snapshot(struct fold *fold)
{
    assert(fold->replay.next == fold->replay.from);
    calls_free(&fold->calls);
}

void fold_take_snapshot(struct fold *fold, const struct snapshot_reader *reader)
{
    struct replay *replay = &fold->replay;
    assert(snapshot_is_whole(reader));
    const struct snapshot_head *head = snapshot_read_head(reader);
    for (size_t i = 0; i < snapshot_new_accounts(reader); i++) {
        struct account_hash hash;
        struct slice id = snapshot_new_account(reader, i, &hash);
        ledger_account(fold, hash, id);
    }
    replay->from = replay->next = head->next;
    while (replay->reject_at < replay->reject_count &&
           replay->rejects[replay->reject_at] < head->next)
        replay->reject_at++;
    // What was settled by then is so in the snapshot; late calls have come behind it since.
    while (replay->cutoff_at < replay->cutoff_count &&
           replay->cutoffs[replay->cutoff_at].day < head->day)
        replay->cutoff_at++;
    replay->judged = head->accepted + head->duplicates;
    if (head->day == fold->state.day) {
        replay->accepted = head->accepted;
        replay->others = head->duplicates;
    }
    calls_check(&fold->calls);
}

struct snapshot *fold_snapshot(const struct fold *fold, const struct snapshot_row *row)
{
    const struct log_state *log = &fold->state.log[INPUT_CALLS];
    struct snapshot_head head = {
        .row = *row,
        .shard = fold->options.shard,
        .day = fold->state.day,
        .next = log->next,
        .from = log->from,
        .accepted = log->accepted,
        .duplicates = log->duplicates,
        .rejected = log->rejected,
        .last_offset = log->last_offset,
        .last_timestamp = log->last_timestamp,
        .last_hash = log->last_hash,
        .decisions = fold->state.decisions,
    };
    assert(!fold->step.moved);
    assert(!fold->replay.active);
    snapshot_fingerprint(fold->options.id_key, head.key);
    return snapshot_create(&head, &fold->calls);
}

bool fold_snapshot_accounts(const struct fold *fold, struct snapshot *snapshot, size_t most)
{
    const struct ledger *ledger = &fold->ledger;
    size_t from = snapshot_accounts(snapshot), left = ledger->account_count - from,
           count = left < most ? left : most;
    static const struct slice none;
    for (size_t a = from; a < from + count; a++)
        snapshot_add_account(snapshot, ledger->account_hashes[a],
                             ledger->accounts[a].recorded ? none : ledger->accounts[a].id);
    return count == left;
}
