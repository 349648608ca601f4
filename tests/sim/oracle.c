#include "tests/sim/oracle.h"

#include <stdarg.h>
#include <stdio.h>

void oracle_fail(struct oracle *o, const char *format, ...)
{
    char text[400];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    world_fail(o->world, "oracle: shard %d, day %d of %d: %s", o->shard,
               o->day - o->policy->fixed.first_day, o->world->script.days, text);
}

bool oracle_same(struct slice a, struct slice b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

int oracle_order(struct slice a, struct slice b)
{
    size_t common = a.size < b.size ? a.size : b.size;
    int order = common > 0 ? memcmp(a.data, b.data, common) : 0;
    return order ? order : (a.size > b.size) - (a.size < b.size);
}

struct known_account *oracle_account(struct oracle *o, struct slice id)
{
    for (size_t i = 0; i < o->accounts.count; i++)
        if (oracle_same(o->accounts.at[i].id, id))
            return &o->accounts.at[i];
    struct known_account *added = list_add(&o->accounts);
    *added = (struct known_account){.id = id};
    return added;
}

fen_t oracle_balance(const struct known_account *account)
{
    return account->opening + account->credits + account->adjustments;
}

int64_t oracle_due(const struct oracle *o)
{
    return calendar_day_start(o->day + 1, world_book()->offset_ms) +
           policy_at(o->policy, o->day)->grace_ms;
}

void oracle_status(struct oracle *o, struct known_account *account, enum cause cause,
                   int64_t effective_at, struct slice credit_id)
{
    account->state = cause == CAUSE_ARREARS ? ACCOUNT_SUSPENDED : ACCOUNT_ACTIVE;
    account->sequence++;
    if (o->status_rows == o->rows->statuses.count) {
        oracle_fail(o, "a status change of %.*s is not there", (int)account->id.size,
                    account->id.data);
        return;
    }
    const struct status_row *row = &o->rows->statuses.at[o->status_rows++];
    const struct step_status *s = &row->status;
    bool same = oracle_same(row->account, account->id) &&
                s->account_sequence == account->sequence && s->state == account->state &&
                s->cause == cause && s->balance == oracle_balance(account) &&
                s->effective_at == effective_at && oracle_same(s->credit_id, credit_id) &&
                (cause != CAUSE_ARREARS || s->settlement_day == o->day);
    if (!same)
        oracle_fail(o, "a status change of %.*s is another", (int)account->id.size,
                    account->id.data);
}

// ---- days ----

static int64_t records_of(const struct log_state *log)
{
    return log->accepted + log->duplicates + log->rejected;
}

// Why a day was held is told with the records that the log had up to there.
static void check_holds_at(struct oracle *o, enum input input, int64_t offset)
{
    for (size_t i = 0; i < o->rows->holds.count; i++) {
        const struct step_hold *hold = &o->rows->holds.at[i];
        if (hold->day == o->day && hold->input == input && hold->at == offset &&
            hold->records != records_of(&o->log[input]))
            oracle_fail(o, "input %d: held for a share of %d records at offset %d, not of %d",
                        input, (int)hold->records, (int)offset, (int)records_of(&o->log[input]));
    }
}

static void judge_log(struct oracle *o, enum input input, int64_t from, int64_t to)
{
    o->log[input] = (struct log_state){.from = from, .next = to};
    for (int64_t offset = from; offset < to && !o->world->failure[0]; offset++) {
        check_holds_at(o, input, offset);
        oracle_judge(o, input, offset);
    }
    check_holds_at(o, input, to);
}

// Where it was cut: at the first record of the next day; a day that was held was cut where its
// release found the logs.
static void check_cutoff(struct oracle *o, enum input input, const struct cutoff *cut)
{
    const struct input_topic_log *log = &o->world->kafka.logs[o->shard][input];
    int64_t due = oracle_due(o);
    for (int64_t at = cut->from_offset; at < cut->to_offset && cut->cut_by != CUT_RELEASE; at++) {
        const struct entry *entry = &log->entries.at[at];
        if (!entry->marker && entry->fate == FATE_COMMITTED && oracle_time(o, input, at) >= due)
            oracle_fail(o, "input %d: offset %d belongs to the next day", input, (int)at);
    }
    // By the broker's time, even if an operator passed the record with an earlier time when its own
    // day had come.
    bool cuts = cut->to_offset < log->stable && (log->entries.at[cut->to_offset].timestamp >= due ||
                                                 oracle_time(o, input, cut->to_offset) >= due);
    if (cut->cut_by == CUT_RECORD && !cuts)
        oracle_fail(o, "input %d: offset %d cuts nothing", input, (int)cut->to_offset);
    const struct log_state *counts = &o->log[input];
    if (cut->accepted != counts->accepted || cut->duplicates != counts->duplicates ||
        cut->rejected != counts->rejected || cut->voids != counts->voids)
        oracle_fail(o, "input %d: %d/%d/%d/%d accepted, duplicate, rejected, void, not %d/%d/%d/%d",
                    input, (int)cut->accepted, (int)cut->duplicates, (int)cut->rejected,
                    (int)cut->voids, (int)counts->accepted, (int)counts->duplicates,
                    (int)counts->rejected, (int)counts->voids);
}

static bool is_broken(enum reject_reason reason)
{
    return reason == REJECT_UNDECODABLE || reason == REJECT_UNKNOWN_SCHEMA ||
           reason == REJECT_INCOMPATIBLE_SCHEMA || reason == REJECT_MISROUTED ||
           reason == REJECT_INVALID;
}

static bool is_of(enum reject_reason reason, enum reject_group group)
{
    if (group == REJECTS_BROKEN)
        return is_broken(reason);
    return reason != REJECT_REFUND && !is_broken(reason);
}

static bool holds(const struct oracle *o, day_t day, enum input input, enum reject_group group,
                  int64_t rejects, int64_t records)
{
    enum { MILLION = 1000000 };
    const struct parameters *row = policy_at(o->policy, day);
    int64_t share =
        group == REJECTS_BROKEN ? row->max_reject_share_ppm : row->max_refused_share_ppm;
    return rejects >= (input == INPUT_CALLS ? 100 : 10) && rejects * MILLION > records * share;
}

// The number of the last decision that the day's close names, or one before it.
static int64_t last_decision(const struct oracle *o, day_t day)
{
    int64_t last = 0;
    for (size_t i = 0; i < o->rows->decisions.count; i++)
        if (o->rows->decisions.at[i].day <= day)
            last = (int64_t)i + 1;
    return last;
}

// Of one log and group: what lies between two offsets, less what the decisions up to a number were
// about.
static int64_t count_undecided(const struct oracle *o, enum input input, enum reject_group group,
                               int64_t from, int64_t to, int64_t after_decision)
{
    int64_t count = 0;
    for (size_t i = 0; i < o->rows->rejects.count; i++) {
        const struct reject_row_of *row = &o->rows->rejects.at[i];
        const struct step_reject *r = &row->reject;
        if (r->input == input && r->offset >= from && r->offset < to && is_of(r->reason, group))
            count += row->decision == 0 || row->decision > after_decision;
    }
    return count;
}

static const struct step_hold *find_hold(const struct oracle *o, day_t day, enum input input,
                                         enum reject_group group)
{
    for (size_t i = 0; i < o->rows->holds.count; i++) {
        const struct step_hold *hold = &o->rows->holds.at[i];
        if (hold->day == day && hold->input == input && hold->group == group)
            return hold;
    }
    return NULL;
}

// No day is settled with more undecided rejects than may be, a share of the records that it was
// held with, or of all where it was not held for these. And none was held that had not as many.
static void check_hold(struct oracle *o, const struct day_close *close)
{
    bool was_held = false;
    for (enum input in = 0; in < INPUT_COUNT; in++) {
        for (enum reject_group g = 0; g < REJECT_GROUPS; g++) {
            const struct cutoff *cut = &close->cutoffs[in];
            const struct step_hold *hold = find_hold(o, close->day, in, g);
            int64_t records = cut->accepted + cut->duplicates + cut->rejected;
            int64_t open = count_undecided(o, in, g, cut->from_offset, cut->to_offset,
                                           last_decision(o, close->day));
            if (holds(o, close->day, in, g, open, hold ? hold->records : records))
                oracle_fail(o, "input %d: settled with %d rejects of %d", in, (int)open,
                            (int)records);
            if (!hold)
                continue;
            was_held = true;
            if (!holds(o, close->day, in, g, hold->rejects, hold->records) ||
                hold->rejects !=
                    count_undecided(o, in, g, cut->from_offset, hold->at, hold->after_decision))
                oracle_fail(o, "input %d: held for %d rejects of %d", in, (int)hold->rejects,
                            (int)hold->records);
        }
    }
    for (enum input in = 0; in < INPUT_COUNT; in++)
        if ((close->cutoffs[in].cut_by == CUT_RELEASE) != was_held)
            oracle_fail(o, "input %d: cut by release, or held, but not both", in);
}

static void check_close_row(struct oracle *o, const struct day_close *close)
{
    if (close->late != o->late || close->zero_unit_calls != o->zero_unit_calls ||
        close->settlements != o->settlements || close->amount != o->amount)
        oracle_fail(o, "its close has other sums");
    if (strcmp(close->price_book, shelf_at(&o->policy->shelf, close->day)->sha256) != 0)
        oracle_fail(o, "its close names another price book");
}

static void judge_days(struct oracle *o)
{
    for (size_t i = 0; i < o->rows->closes.count && !o->world->failure[0]; i++) {
        const struct day_close *close = &o->rows->closes.at[i].close;
        o->day = close->day;
        for (enum input in = 0; in < INPUT_COUNT; in++) {
            judge_log(o, in, close->cutoffs[in].from_offset, close->cutoffs[in].to_offset);
            check_cutoff(o, in, &close->cutoffs[in]);
        }
        check_hold(o, close);
        oracle_settle(o);
        oracle_follows(o, o->rows->closes.at[i].sequence);
        check_close_row(o, close);
        if (o->day == calendar_month_end(o->day))
            oracle_keep_month(o);
    }
    o->day = o->rows->state.day;
    for (enum input in = 0; in < INPUT_COUNT; in++) {
        const struct log_state *log = &o->rows->state.log[in];
        judge_log(o, in, log->from, log->next);
        if (log->accepted != o->log[in].accepted || log->duplicates != o->log[in].duplicates ||
            log->rejected != o->log[in].rejected || log->voids != o->log[in].voids)
            oracle_fail(o, "input %d: other counts in the open day", in);
    }
}

// ---- what is left ----

static void check_accounts(struct oracle *o)
{
    if (o->accounts.count != o->rows->accounts.count)
        oracle_fail(o, "%d accounts, not %d", (int)o->rows->accounts.count, (int)o->accounts.count);
    for (size_t i = 0; i < o->rows->accounts.count; i++) {
        const struct account_row *row = &o->rows->accounts.at[i];
        const struct known_account *a = oracle_account(o, row->id);
        if (row->opening != a->opening || row->credits != a->credits ||
            row->adjustments != a->adjustments || row->state != a->state ||
            row->account_sequence != a->sequence || row->position != a->position)
            oracle_fail(o, "account %.*s is another", (int)row->id.size, row->id.data);
    }
}

static void check_packages(struct oracle *o)
{
    if (o->packages.count != o->rows->packages.count)
        oracle_fail(o, "%d packages, not %d", (int)o->rows->packages.count, (int)o->packages.count);
    for (size_t i = 0; i < o->packages.count && !o->world->failure[0]; i++) {
        const struct known_package *p = &o->packages.at[i];
        bool found = false;
        for (size_t k = 0; k < o->rows->packages.count; k++) {
            const struct package_row *row = &o->rows->packages.at[k];
            const struct package *q = &row->package;
            found = found || (oracle_same(row->account, p->account) && oracle_same(q->id, p->id) &&
                              q->service == p->service && q->units == p->units &&
                              q->used == p->used && q->remaining == p->remaining &&
                              q->amount == p->amount && q->valid_from == p->from &&
                              q->valid_until == p->until && q->offset == p->offset);
        }
        if (!found)
            oracle_fail(o, "package %.*s is missing or another", (int)p->id.size, p->id.data);
    }
}

static void check_rest(struct oracle *o)
{
    check_accounts(o);
    check_packages(o);
    if (o->credit_rows != o->rows->credits.count || o->status_rows != o->rows->statuses.count ||
        o->settlement_rows != o->rows->settlements.count ||
        o->notice_rows != o->rows->notices.count || o->reject_rows != o->rows->rejects.count)
        oracle_fail(o,
                    "there are credits, status changes, settlements, notices or rejects too many");
}

void oracle_check(struct world *w)
{
    for (int32_t s = 0; s < w->kafka.shards && !w->failure[0]; s++) {
        struct oracle o = {
            .world = w, .shard = s, .rows = &w->postgres.rows[s], .policy = w->postgres.policy};
        if (!o.rows->begun)
            continue;
        judge_days(&o);
        if (!w->failure[0])
            check_rest(&o);
        if (!w->failure[0])
            oracle_months(&o);
        if (!w->failure[0])
            oracle_check_topics(&o);
        for (size_t i = 0; i < o.accounts.count; i++)
            list_free(&o.accounts.at[i].spans);
        list_free(&o.calls);
        list_free(&o.packages);
        list_free(&o.months);
        list_free(&o.credits);
        list_free(&o.accounts);
    }
}
