// What goes wrong, with one function for each kind, and what recovers by itself.
#include "tests/sim/check.h"

#include <assert.h>

enum {
    SECOND = 1000,
    MINUTE = 60 * SECOND,
    HOUR = 60 * MINUTE,
    PURPOSE_SCHEDULE = 2,
    STEPS_A_DAY = 560
};

const struct fault_fact fault_facts[FAULT_KINDS] = {
    [FAULT_KILL] = {"kill", 10},
    [FAULT_KILL_INSIDE] = {"kill inside", 12},
    [FAULT_FREEZE] = {"freeze", 7},
    [FAULT_DEAF] = {"deaf", 6},
    [FAULT_REBALANCE] = {"rebalance", 8},
    [FAULT_CLOCK] = {"clock", 6},
    [FAULT_BROKER_CLOCK] = {"broker clock", 4},
    [FAULT_COMMIT] = {"commit", 16},
    [FAULT_CUT] = {"cut", 5},
    [FAULT_POSTGRES_DOWN] = {"postgres down", 4},
    [FAULT_FAIL_OVER] = {"fail-over", 3},
    [FAULT_LOSE_COMMITS] = {"lost commits", 0},
    [FAULT_KAFKA_DOWN] = {"kafka down", 4},
    [FAULT_BATCH] = {"batch", 14},
    [FAULT_LATE] = {"late", 30},
    [FAULT_TIME_OUT] = {"time-out", 5},
    [FAULT_STUCK] = {"stuck", 5},
    [FAULT_ID_EXPIRED] = {"id expired", 4},
    [FAULT_OFFSET_GONE] = {"offset gone", 6},
    [FAULT_OFFSET_BACK] = {"offset back", 3},
    [FAULT_POSITION_STALE] = {"offset stale", 6},
    [FAULT_ROWS_LOST] = {"rows lost", 8},
    [FAULT_ROWS_EXPIRED] = {"rows expired", 3},
    [FAULT_OUTPUTS_GONE] = {"outputs gone", 0},
    [FAULT_REDELIVER] = {"redeliver", 4},
    [FAULT_RETENTION] = {"retention", 3},
    [FAULT_RETENTION_SHORT] = {"retention too short", 0},
    [FAULT_REGISTRY_DOWN] = {"registry down", 3},
    [FAULT_PARAMETERS] = {"parameters", 2},
    [FAULT_BOOK] = {"price book", 2},
    [FAULT_PARTITIONS] = {"partitions added", 0},
};

// ---- the schedule ----

// Faults that few worlds have, because they end a world.
struct luck {
    bool loses_commits, loses_records, loses_outputs, gets_partitions;
};

static enum fault_kind draw_kind(struct dice *d, const struct luck *luck)
{
    if (luck->loses_commits && dice_hit(d, 10))
        return FAULT_LOSE_COMMITS;
    if (luck->loses_records && dice_hit(d, 5))
        return FAULT_RETENTION_SHORT;
    if (luck->loses_outputs && dice_hit(d, 5))
        return FAULT_OUTPUTS_GONE;
    if (luck->gets_partitions && dice_hit(d, 5))
        return FAULT_PARTITIONS;
    int total = 0;
    for (int k = 0; k < FAULT_KINDS; k++)
        total += fault_facts[k].weight;
    int64_t at = dice_below(d, total);
    int kind = 0;
    while (at >= fault_facts[kind].weight)
        at -= fault_facts[kind++].weight;
    return (enum fault_kind)kind;
}

static int by_step(const void *a, const void *b)
{
    const struct fault *x = a, *y = b;
    if (x->step != y->step)
        return x->step < y->step ? -1 : 1;
    return x->number - y->number;
}

void schedule_draw(struct schedule *schedule, uint64_t seed)
{
    struct dice d = dice_of(seed, PURPOSE_SCHEDULE, 0);
    struct luck luck = {dice_hit(&d, 10), dice_hit(&d, 4), dice_hit(&d, 4), dice_hit(&d, 4)};
    int64_t steps = (int64_t)script_days(seed) * STEPS_A_DAY;
    schedule->count = (size_t)dice_between(&d, 6, FAULTS_MAX);
    for (size_t i = 0; i < schedule->count; i++) {
        struct fault *f = &schedule->faults[i];
        *f = (struct fault){.step = 1 + dice_below(&d, steps), .kind = draw_kind(&d, &luck)};
        // Faults come in groups.
        if (i > 0 && dice_hit(&d, 35))
            f->step = schedule->faults[i - 1].step + dice_below(&d, 60);
        f->chance = dice_next(&d);
        f->number = (int)i;
    }
    qsort(schedule->faults, schedule->count, sizeof *schedule->faults, by_step);
}

// ---- cures ----

static void cure_later(struct world *w, struct cure cure, int64_t after_ms)
{
    cure.at = w->now + after_ms;
    *list_add(&w->cures) = cure;
}

static void fail_over(struct world *w, bool lossy)
{
    if (lossy && !w->postgres.lags)
        return; // another one came before
    world_say(w, "fail-over%s", lossy ? " that loses commits" : "");
    if (!lossy) {
        bool lags = w->postgres.lags;
        w->postgres.lags = false;
        postgres_fail_over(&w->postgres);
        w->postgres.lags = lags;
    } else {
        postgres_fail_over(&w->postgres);
        w->lost_commits = true;
        check_failed_over(w);
    }
    for (int p = 0; p < w->process_count; p++) {
        w->processes[p].session.cut_until = w->now + 1;
        memset(w->processes[p].session.seen, 0, sizeof w->processes[p].session.seen);
    }
}

static void apply_cure(struct world *w, const struct cure *cure)
{
    switch (cure->kind) {
    case FAULT_CLOCK:
        w->processes[cure->process].skew = 0;
        break;
    case FAULT_BROKER_CLOCK:
        w->kafka.logs[cure->shard][cure->input].skew = 0;
        break;
    case FAULT_COMMIT:
        postgres_end_zombies(&w->postgres);
        break;
    case FAULT_POSTGRES_DOWN:
        w->postgres.down = false;
        break;
    case FAULT_LOSE_COMMITS:
        fail_over(w, true);
        break;
    case FAULT_KAFKA_DOWN:
        w->kafka.down = false;
        break;
    case FAULT_STUCK:
        w->kafka.coordinators[cure->shard].stuck = false;
        break;
    case FAULT_REGISTRY_DOWN:
        w->registry_down = false;
        w->registry_generation++;
        break;
    default:
        break;
    }
}

void world_cure(struct world *w)
{
    for (size_t i = 0; i < w->cures.count;) {
        struct cure cure = w->cures.at[i];
        if (!w->healed && cure.at > w->now) {
            i++;
            continue;
        }
        w->cures.at[i] = w->cures.at[--w->cures.count];
        apply_cure(w, &cure);
    }
}

// ---- faults ----

// Mostly short, so that whatever waits for the end is still under way then; sometimes long.
static int64_t a_while(struct dice *d)
{
    switch (dice_below(d, 10)) {
    case 0:
        return dice_below(d, 3 * HOUR);
    case 1:
    case 2:
    case 3:
        return dice_below(d, MINUTE);
    default:
        return dice_below(d, 5 * SECOND);
    }
}

static int64_t clock_error(struct dice *d)
{
    static const int64_t most[] = {2 * SECOND, 2 * SECOND, MINUTE, 10 * MINUTE, 30 * HOUR};
    return dice_between(d, -1, 1) * dice_below(d, most[dice_below(d, 5)]);
}

static void kill_process(struct world *w, struct process *p, struct dice *d)
{
    if (dice_hit(d, 30)) {
        process_stop(p);
        w->member[p->number] = false;
        world_rebalance(w);
    } else {
        process_kill(p);
    }
    p->back_at = w->now + a_while(d);
}

static void break_broker_clock(struct world *w, int32_t shard, struct dice *d)
{
    int64_t skew = dice_hit(d, 10) ? 400 * DAY_MS : clock_error(d), until = dice_below(d, HOUR);
    bool all = dice_hit(d, 50);
    enum input one = (enum input)dice_below(d, INPUT_COUNT);
    for (enum input i = 0; i < INPUT_COUNT; i++) {
        if (!all && i != one)
            continue;
        w->kafka.logs[shard][i].skew = skew;
        cure_later(w, (struct cure){.kind = FAULT_BROKER_CLOCK, .shard = shard, .input = i}, until);
    }
}

static int64_t needed_from(const struct rows *rows, enum input input)
{
    if (!rows->begun)
        return 0;
    int64_t next = rows->state.log[input].next;
    return input == INPUT_CALLS && rows->state.calls_from < next ? rows->state.calls_from : next;
}

static void move_start(struct world *w, int32_t shard, bool too_far, struct dice *d)
{
    enum input input = (enum input)dice_below(d, INPUT_COUNT);
    struct input_topic_log *log = &w->kafka.logs[shard][input];
    int64_t low = needed_from(&w->postgres.rows[shard], input);
    if (w->generation == 0)
        low = dice_below(d, log->stable + 1); // before the first start anything may go
    if (w->postgres.lags) {
        int64_t behind = needed_from(&w->postgres.replica[shard], input);
        if (behind < low)
            low = behind;
    }
    low += too_far ? 1 + dice_below(d, 20) : -dice_below(d, 4);
    if (low > log->stable)
        low = log->stable;
    if (low <= log->low)
        return;
    log->low = low;
    w->moved_retention = true;
    w->short_retention = w->short_retention || too_far;
}

static struct book dearer_book(int times)
{
    struct book book = *world_book();
    for (int s = 0; s < SERVICE_COUNT; s++) {
        struct service_prices *prices = &book.services[s];
        for (size_t i = 0; i < prices->tier_count; i++)
            prices->tiers[i].unit_price *= times;
        for (size_t i = 0; i < prices->offer_count; i++)
            prices->offers[i].price *= times;
        prices->custom.price_per_step *= times;
    }
    book_sha256(&times, sizeof times, book.sha256);
    return book;
}

static void record(struct world *w, bool with_book, struct dice *d)
{
    static const int64_t graces[] = {0, SECOND, MINUTE, 5 * MINUTE};
    const struct policy *last = w->postgres.policy;
    struct parameters next = last->rows[last->count - 1];
    next.grace_ms = graces[dice_below(d, 4)];
    next.late_days = (int32_t)dice_between(d, 0, 4);
    if (dice_hit(d, 30))
        next.credit_days = (int32_t)dice_between(d, 1, 6);
    next.future_tolerance_ms = dice_between(d, 0, 2) * MINUTE;
    if (dice_hit(d, 50))
        next.notices = world_limits(d);
    // By some of them the largest calls cost more than a call may.
    struct book dearer =
        dearer_book(((int)w->postgres.books.count + 2) * (dice_hit(d, 30) ? 25 : 1));
    if (with_book)
        memcpy(next.book_sha256, dearer.sha256, sizeof next.book_sha256);
    bool recorded = postgres_record(&w->postgres, &next, with_book ? &dearer : NULL);
    world_say(w, "parameters %s", recorded ? "recorded" : "not recorded");
}

// Only the hash beside the offset of the last row shows that PostgreSQL lost published rows and
// wrote others instead. So no world loses both.
static bool has_witnesses(const struct world *w)
{
    for (int32_t s = 0; s < w->kafka.shards; s++) {
        const struct published_to *position = &w->kafka.coordinators[s].position;
        if (w->seen[s].count > 0 &&
            (!position->has_hash || position->n < (int64_t)w->seen[s].count))
            return false;
    }
    return true;
}

// A connection breaks under one request, or under all that are under way.
static void break_connection(struct process *p, struct dice *d)
{
    int kind = (int)dice_below(d, TXN_KINDS + 3);
    if (kind == TXN_KINDS)
        kind = TXN_END;
    for (int k = 0; k < TXN_KINDS; k++)
        if (kind == k || kind > TXN_KINDS)
            p->copies[k] += (int)dice_between(d, 1, 2);
}

static void on_process(struct world *w, struct process *p, enum fault_kind kind, struct dice *d)
{
    switch (kind) {
    case FAULT_KILL:
        kill_process(w, p, d);
        break;
    case FAULT_KILL_INSIDE:
        p->dies_after = (int)dice_between(d, 1, 12);
        p->back_at = w->now + a_while(d);
        break;
    case FAULT_FREEZE:
        p->frozen_until = w->now + a_while(d);
        break;
    case FAULT_DEAF:
        p->deaf_until = w->now + a_while(d);
        break;
    case FAULT_CLOCK:
        p->skew = clock_error(d);
        cure_later(w, (struct cure){.kind = kind, .process = p->number}, dice_below(d, HOUR));
        break;
    case FAULT_COMMIT:
        p->session.next = (enum commit_fate)dice_between(d, 1, COMMIT_FATES - 1);
        cure_later(w, (struct cure){.kind = kind}, dice_below(d, 20 * SECOND));
        break;
    case FAULT_CUT:
        p->session.cut_until = w->now + a_while(d);
        memset(p->session.seen, 0, sizeof p->session.seen);
        break;
    case FAULT_BATCH:
        p->batch_fate = (enum batch_fate)dice_between(d, 1, BATCH_FATES - 1);
        break;
    case FAULT_LATE:
        break_connection(p, d);
        break;
    case FAULT_REDELIVER:
        process_redeliver(p, d);
        break;
    default:
        break;
    }
}

// Just after all have looked; and what is sent next comes before anybody looks again.
static void add_partitions(struct world *w, struct dice *d)
{
    for (int i = 0; i < w->process_count && w->kafka.partitions == w->kafka.shards; i++)
        if (w->processes[i].alive && w->processes[i].counted_at >= 0)
            process_counted(&w->processes[i]);
    size_t soon = w->sent + (size_t)dice_between(d, 1, 30);
    w->kafka.partitions += (int32_t)dice_between(d, 1, 3);
    for (size_t i = w->sent; i < soon && i < w->script.sends.count; i++)
        if (w->script.sends.at[i].at > w->now)
            w->script.sends.at[i].at = w->now;
}

void world_inject(struct world *w, const struct fault *f)
{
    struct dice dice = {f->chance}, *d = &dice;
    struct process *p = &w->processes[dice_below(d, w->process_count)];
    int32_t shard = (int32_t)dice_below(d, w->kafka.shards);
    world_say(w, "fault %d: %s (process %d, shard %d)", f->number, fault_facts[f->kind].name,
              p->number, shard);
    w->injected[f->kind]++;
    switch (f->kind) {
    case FAULT_REBALANCE:
        world_rebalance(w);
        break;
    case FAULT_BROKER_CLOCK:
        break_broker_clock(w, shard, d);
        break;
    case FAULT_POSTGRES_DOWN:
        w->postgres.down = true;
        cure_later(w, (struct cure){.kind = f->kind}, a_while(d));
        break;
    case FAULT_FAIL_OVER:
        fail_over(w, false);
        break;
    case FAULT_LOSE_COMMITS:
        if (!has_witnesses(w))
            break;
        postgres_lag(&w->postgres);
        cure_later(w, (struct cure){.kind = f->kind}, a_while(d));
        break;
    case FAULT_KAFKA_DOWN:
        w->kafka.down = true;
        cure_later(w, (struct cure){.kind = f->kind}, a_while(d));
        break;
    case FAULT_STUCK:
        w->kafka.coordinators[shard].stuck = true;
        cure_later(w, (struct cure){.kind = f->kind, .shard = shard}, a_while(d));
        break;
    case FAULT_RETENTION:
    case FAULT_RETENTION_SHORT:
        move_start(w, shard, f->kind == FAULT_RETENTION_SHORT, d);
        break;
    case FAULT_REGISTRY_DOWN:
        w->registry_down = true;
        cure_later(w, (struct cure){.kind = f->kind}, a_while(d));
        break;
    case FAULT_PARTITIONS:
        add_partitions(w, d);
        break;
    case FAULT_PARAMETERS:
    case FAULT_BOOK:
        record(w, f->kind == FAULT_BOOK, d);
        break;
    default:
        if (!world_inject_topics(w, f->kind, shard, d) && p->alive)
            on_process(w, p, f->kind, d);
        break;
    }
}

void world_heal(struct world *w)
{
    w->healed = true;
    world_cure(w);
    postgres_end_zombies(&w->postgres);
    for (int i = 0; i < w->process_count; i++) {
        struct process *p = &w->processes[i];
        p->frozen_until = p->deaf_until = 0;
        p->dies_after = 0;
        p->session.next = COMMIT_WELL;
        p->session.cut_until = 0;
        p->batch_fate = BATCH_WELL;
        memset(p->copies, 0, sizeof p->copies);
        if (p->back_at > w->now)
            p->back_at = w->now;
    }
    // What a requeue has sent again may lie behind a transaction, and a held day may wait for that
    // requeue: brokers leave no transaction open for ever.
    const struct script *script = &w->script;
    int64_t sent = w->sent < script->sends.count ? script->sends.at[script->sends.count - 1].at : 0;
    int64_t end = sent > w->now ? sent : w->now;
    for (size_t i = w->ended; i < script->endings.count; i++)
        if (script->endings.at[i].at > end)
            script->endings.at[i].at = end;
}
