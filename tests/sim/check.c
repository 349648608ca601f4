#include "tests/sim/check.h"

#include <assert.h>
#include <string.h>

static bool same(struct slice a, struct slice b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

// ---- the database ----

static void check_logs(struct world *w, int32_t shard, const struct rows *before,
                       const struct rows *after)
{
    bool closed = after->closes.count > before->closes.count;
    for (int i = 0; i < INPUT_COUNT; i++) {
        const struct log_state *old = &before->state.log[i], *new = &after->state.log[i];
        if (new->accepted + new->duplicates + new->rejected + new->voids != new->next - new->from)
            world_fail(w, "I1: shard %d, input %d: verdicts do not add up to the offsets", shard,
                       i);
        if (before->begun && new->next < old->next)
            world_fail(w, "I1: shard %d, input %d: the position went back", shard, i);
        if (before->begun && !closed && new->from != old->from)
            world_fail(w, "I7: shard %d, input %d: the cutoff moved without a close", shard, i);
        if (new->next > w->kafka.logs[shard][i].stable)
            world_fail(w, "I1: shard %d, input %d: read beyond the end", shard, i);
    }
}

static void check_closes(struct world *w, int32_t shard, const struct rows *before,
                         const struct rows *after)
{
    if (after->closes.count == before->closes.count) {
        if (before->begun && after->state.day != before->state.day)
            world_fail(w, "I9: shard %d opened another day without a close", shard);
        return;
    }
    size_t n = after->closes.count;
    assert(n > 0 && after->closes.at);
    const struct day_close *close = &after->closes.at[n - 1].close;
    const struct day_close *last = n > 1 ? &after->closes.at[n - 2].close : NULL;
    day_t due = last ? last->day + 1 : w->first_policy.fixed.first_day;
    if (n != before->closes.count + 1 || close->day != due || after->state.day != due + 1)
        world_fail(w, "I9: shard %d closed day %d, not %d", shard, close->day, due);
    for (int i = 0; i < INPUT_COUNT; i++) {
        const struct cutoff *cut = &close->cutoffs[i];
        int64_t from = last ? last->cutoffs[i].to_offset : 0;
        if (cut->cut_by == CUT_NONE || cut->to_offset < cut->from_offset ||
            (last && cut->from_offset != from) || after->state.log[i].from != cut->to_offset)
            world_fail(w, "I7: shard %d, day %d, input %d: cutoffs do not follow one another",
                       shard, close->day, i);
        if (cut->accepted + cut->duplicates + cut->rejected + cut->voids !=
            cut->to_offset - cut->from_offset)
            world_fail(w, "I1: shard %d, day %d, input %d: the cutoff's counts do not add up",
                       shard, close->day, i);
    }
}

static void check_settlements(struct world *w, int32_t shard, const struct rows *before,
                              const struct rows *after)
{
    for (size_t n = before->settlements.count; n < after->settlements.count; n++) {
        const struct settlement_row *row = &after->settlements.at[n];
        const struct settlement *s = &row->settlement;
        fen_t opening = 0;
        for (size_t i = 0; i < n; i++) {
            const struct settlement_row *old = &after->settlements.at[i];
            if (!same(old->account, row->account))
                continue;
            if (old->settlement.day == s->day)
                world_fail(w, "I2: shard %d: day %d of an account is settled twice", shard, s->day);
            opening = old->settlement.closing_balance;
        }
        if (s->opening_balance != opening ||
            s->opening_balance + s->credits + s->adjustments - s->amount != s->closing_balance)
            world_fail(w, "I4: shard %d: a settlement of day %d does not add up", shard, s->day);
    }
}

static void check_balances(struct world *w, int32_t shard, const struct rows *after)
{
    for (size_t a = 0; a < after->accounts.count; a++) {
        const struct account_row *account = &after->accounts.at[a];
        fen_t sum = 0;
        int64_t rows = 0;
        for (size_t i = 0; i < after->credits.count; i++)
            if (same(after->credits.at[i].account, account->id)) {
                sum += after->credits.at[i].credit.amount;
                rows++;
            }
        for (size_t i = 0; i < after->settlements.count; i++)
            if (same(after->settlements.at[i].account, account->id)) {
                sum -= after->settlements.at[i].settlement.amount;
                rows++;
            }
        if (sum != account->opening + account->credits + account->adjustments ||
            rows != account->position)
            world_fail(w, "I4: shard %d: the ledger of %.*s does not add up to its balance", shard,
                       (int)account->id.size, account->id.data);
    }
}

static void check_statuses(struct world *w, int32_t shard, const struct rows *before,
                           const struct rows *after)
{
    for (size_t n = before->statuses.count; n < after->statuses.count; n++) {
        const struct status_row *row = &after->statuses.at[n];
        enum account_state last = ACCOUNT_ACTIVE;
        int64_t sequence = 0;
        for (size_t i = 0; i < n; i++) {
            if (!same(after->statuses.at[i].account, row->account))
                continue;
            last = after->statuses.at[i].status.state;
            sequence = after->statuses.at[i].status.account_sequence;
        }
        if (row->status.state == last || row->status.account_sequence != sequence + 1)
            world_fail(w, "I8: shard %d: status changes do not alternate", shard);
    }
}

static void check_outbox(struct world *w, int32_t shard, const struct rows *before,
                         const struct rows *after)
{
    if (after->chain.sequence != (int64_t)after->outbox.count)
        world_fail(w, "I3: shard %d counts %d outbox rows and has %d", shard,
                   (int)after->chain.sequence, (int)after->outbox.count);
    for (size_t i = before->outbox.count; i < after->outbox.count; i++)
        if (after->outbox.at[i].sequence != (int64_t)i + 1)
            world_fail(w, "I3: shard %d: outbox row %d has sequence %d", shard, (int)i + 1,
                       (int)after->outbox.at[i].sequence);
}

// Whether the first `count` rows of the outbox lack the highest row that subscribers have seen. Its
// hash covers all rows below it.
static bool contradicts(const struct world *w, int32_t shard, size_t count)
{
    size_t n = w->seen[shard].count;
    if (n == 0 || n > count)
        return n > 0;
    return memcmp(w->postgres.rows[shard].outbox.at[n - 1].hash,
                  w->seen[shard].at[n - 1].message.hash, RELAY_HASH_SIZE) != 0;
}

bool check_contradicts(const struct world *w, int32_t shard)
{
    return contradicts(w, shard, w->postgres.rows[shard].outbox.count);
}

void check_commit(void *context, int32_t shard, int64_t epoch, const struct rows *before)
{
    struct world *w = context;
    const struct rows *after = &w->postgres.rows[shard];
    if (epoch != after->epoch)
        world_fail(w, "I5: epoch %d commits for shard %d while %d owns it", (int)epoch, shard,
                   (int)after->epoch);
    if (after->step != before->step + 1) {
        world_fail(w, "I5: shard %d: a commit was written over", shard);
        return;
    }
    if (after->outbox.count > before->outbox.count && contradicts(w, shard, before->outbox.count))
        world_fail(w, "I3: shard %d writes rows upon others than those that are published", shard);
    check_logs(w, shard, before, after);
    check_closes(w, shard, before, after);
    check_settlements(w, shard, before, after);
    check_balances(w, shard, after);
    check_statuses(w, shard, before, after);
    check_outbox(w, shard, before, after);
}

void check_first(struct process *p, int32_t shard, const struct fold *fold)
{
    struct world *w = p->world;
    const struct policy *policy = w->postgres.policy;
    const struct step *step = fold_step(fold);
    day_t day = policy->fixed.first_day;
    int64_t looked_back = policy_at(policy, day)->credit_days * (int64_t)DAY_MS;
    int64_t since = calendar_day_start(day, world_book()->offset_ms) -
                    policy_at(policy, day)->future_tolerance_ms;
    for (enum input i = 0; i < INPUT_COUNT; i++) {
        const struct input_topic_log *log = &w->kafka.logs[shard][i];
        int64_t from =
            step->closed ? step->close.cutoffs[i].from_offset : fold_state(fold)->log[i].from;
        const struct question *q = &p->questions[shard][i];
        int64_t lowest = q->lowest_first, last = q->last_first;
        for (int64_t at = log->low; at < from; at++)
            if (log->entries.at[at].timestamp >= since - (i == INPUT_CALLS ? 0 : looked_back))
                world_fail(w, "R70: shard %d, input %d begins at %d, behind what may be billed",
                           shard, i, (int)from);
        if (p->draining && p->drain[shard][i] < lowest)
            lowest = p->drain[shard][i];
        // A shard that is parked keeps what it began with.
        if (q->firsts == 0 || from < lowest || from > last)
            world_fail(w, "R70: shard %d, input %d begins at %d, not at %d", shard, i, (int)from,
                       (int)last);
    }
}

// A transaction was open at the offset, and nothing has moved there for as long as a cutoff waits.
static bool stood_still(const struct world *w, const struct input_topic_log *log, int64_t offset)
{
    if (offset >= (int64_t)log->entries.count)
        return false;
    const struct entry *first = &log->entries.at[offset];
    int64_t since = first->appended_at;
    if (offset > 0 && log->entries.at[offset - 1].stable_at > since)
        since = log->entries.at[offset - 1].stable_at;
    return first->transaction != 0 && w->now - since >= OPEN_TRANSACTION_WAIT_MS;
}

void check_close(struct process *p, int32_t shard, const struct day_close *close)
{
    struct world *w = p->world;
    const struct due_seen *seen = &w->due[p->number][shard];
    int day = close->day - w->first_policy.fixed.first_day;
    if (p->draining)
        return;
    for (int i = 0; i < INPUT_COUNT; i++) {
        if (close->cutoffs[i].cut_by != CUT_CLOCK || day >= DUE_DAYS)
            continue;
        if (day >= seen->days || close->cutoffs[i].to_offset < seen->stable[day][i])
            world_fail(w, "I7: shard %d, day %d, input %d was cut by the clock before its end",
                       shard, close->day, i);
        // A top-up of before the end may lie behind the transaction.
        if (i != INPUT_CALLS && day < seen->days &&
            close->cutoffs[i].to_offset < seen->end[day][i] &&
            !stood_still(w, &w->kafka.logs[shard][i], close->cutoffs[i].to_offset))
            world_fail(w, "I7: shard %d, day %d, input %d was cut before an open transaction",
                       shard, close->day, i);
    }
}

// ---- the topics ----

static struct seen_row *seen_row(struct world *w, int32_t shard, int64_t sequence)
{
    while ((int64_t)w->seen[shard].count < sequence)
        *list_add(&w->seen[shard]) = (struct seen_row){.seen = false};
    return &w->seen[shard].at[sequence - 1];
}

// Published rows are one chain, whatever happened to the database meanwhile. Topics are read
// independently, so the chain is checked up to the first row that is not seen yet.
static void follow_chain(struct world *w, int32_t shard)
{
    uint8_t *hash = w->published_hash[shard];
    struct chain_hasher *hasher = chain_hasher_create();
    while (w->published[shard] < (int64_t)w->seen[shard].count) {
        const struct seen_row *next = &w->seen[shard].at[w->published[shard]];
        const struct message *m = &next->message;
        if (!next->seen)
            break;
        const struct outbox_row row = {
            .sequence = m->sequence, .output = m->output, .key = m->key, .body = m->body};
        chain_hash(hasher, hash, &row, hash);
        if (memcmp(hash, m->hash, RELAY_HASH_SIZE) != 0)
            world_fail(w,
                       "I3: sequence %d of shard %d does not follow what was published before it",
                       (int)m->sequence, shard);
        w->published[shard]++;
    }
    chain_hasher_free(hasher);
}

void check_message(void *context, int32_t shard, const struct message *message)
{
    struct world *w = context;
    const struct output_topic_log *log = &w->kafka.outputs[shard][message->output];
    int64_t last = log->messages.count > 0 ? log->messages.at[log->messages.count - 1].sequence : 0;
    struct seen_row *row = seen_row(w, shard, message->sequence);
    if (row->seen && !row->lost)
        world_fail(w, "I2: sequence %d of shard %d is published twice", (int)message->sequence,
                   shard);
    if (row->lost && memcmp(row->message.hash, message->hash, RELAY_HASH_SIZE) != 0)
        world_fail(w, "I2: sequence %d of shard %d is published again as another row",
                   (int)message->sequence, shard);
    if (message->sequence <= last)
        world_fail(w, "I3: sequence %d of shard %d is published after %d of its topic",
                   (int)message->sequence, shard, (int)last);
    w->came_again += row->lost;
    *row = (struct seen_row){.seen = true, .message = *message};
    follow_chain(w, shard);
    // It may have been sent before commits were lost, and arrive afterwards.
    if (!w->lost_commits && check_contradicts(w, shard))
        world_fail(w, "I2: shard %d: PostgreSQL does not hold what is published up to %d", shard,
                   (int)w->seen[shard].count);
}

static const struct message *find_staged(const struct coordinator *c, int64_t sequence)
{
    for (int o = 0; o < OUTPUT_COUNT; o++)
        for (size_t i = 0; i < c->staged[o].count; i++)
            if (c->staged[o].at[i].sequence == sequence)
                return &c->staged[o].at[i];
    return NULL;
}

// Whoever ends a transaction, and whenever: it has a position only if all rows up to that position
// are published with it or before it.
void check_position(void *context, int32_t shard, const struct coordinator *c)
{
    struct world *w = context;
    const struct published_to *position = &c->staged_position;
    for (int64_t n = w->published[shard] + 1; n <= position->n; n++) {
        bool seen = n <= (int64_t)w->seen[shard].count && w->seen[shard].at[n - 1].seen;
        if (seen || find_staged(c, n))
            continue;
        world_fail(w, "I3: shard %d: the offset says %d, and row %d is not published", shard,
                   (int)position->n, (int)n);
        return;
    }
    if (position->n == 0)
        return;
    const struct message *staged = find_staged(c, position->n);
    const uint8_t *hash = staged ? staged->hash : w->seen[shard].at[position->n - 1].message.hash;
    if (memcmp(position->hash, hash, RELAY_HASH_SIZE) != 0)
        world_fail(w, "I3: shard %d: the offset says %d, and is that of another row", shard,
                   (int)position->n);
}

void check_touch(void *context, const struct txn_request *request)
{
    struct world *w = context;
    const struct coordinator *c = &w->kafka.coordinators[request->shard];
    if (w->options.breakage == BREAK_LATE)
        return; // what comes of it must show in the topics
    world_fail(w, "I2: shard %d: a request of kind %d of transaction %d changes transaction %d",
               request->shard, request->kind, request->transaction, c->transaction);
}

void check_lost(struct world *w, int32_t shard, const struct message *message)
{
    w->seen[shard].at[message->sequence - 1].lost = true;
    w->lost_rows++;
}

int64_t check_missing(const struct world *w, int32_t shard)
{
    for (size_t i = 0; i < w->seen[shard].count; i++)
        if (w->seen[shard].at[i].lost)
            return (int64_t)i + 1;
    return 0;
}

bool check_cannot_mend(const struct world *w, int32_t shard)
{
    for (size_t i = 0; i < w->seen[shard].count; i++) {
        const struct seen_row *row = &w->seen[shard].at[i];
        const struct output_topic_log *log = &w->kafka.outputs[shard][row->message.output];
        size_t count = log->messages.count;
        if (row->lost && count > 0 && log->messages.at[count - 1].sequence > row->message.sequence)
            return true;
    }
    return false;
}

// ---- all the time ----

void check_failed_over(struct world *w)
{
    for (int32_t s = 0; s < w->kafka.shards; s++)
        w->epochs[s] = w->postgres.rows[s].epoch;
}

// Each process's clock reaches the end of a day at its own time; what is in the logs then belongs
// to the day.
static void note_due(struct world *w, const struct process *p, int32_t shard)
{
    const struct policy *policy = w->postgres.policy;
    struct due_seen *seen = &w->due[p->number][shard];
    for (; p->alive && seen->days < DUE_DAYS; seen->days++) {
        day_t day = policy->fixed.first_day + seen->days;
        int64_t end = calendar_day_start(day + 1, world_book()->offset_ms);
        if (process_clock(p) < end + policy_at(policy, day)->grace_ms)
            return;
        for (int i = 0; i < INPUT_COUNT; i++) {
            seen->stable[seen->days][i] = w->kafka.logs[shard][i].stable;
            seen->end[seen->days][i] = (int64_t)w->kafka.logs[shard][i].entries.count;
        }
    }
}

void check_step(struct world *w)
{
    for (int p = 0; p < w->process_count; p++)
        for (int32_t s = 0; s < w->kafka.shards; s++)
            note_due(w, &w->processes[p], s);
    for (int32_t s = 0; s < w->kafka.shards; s++) {
        const struct rows *rows = &w->postgres.rows[s];
        if (rows->epoch < w->epochs[s])
            world_fail(w, "I5: the epoch of shard %d went down", s);
        w->epochs[s] = rows->epoch;
        if ((int64_t)rows->outbox.count != rows->chain.sequence)
            world_fail(w, "I3: shard %d counts %d outbox rows and has %d", s,
                       (int)rows->chain.sequence, (int)rows->outbox.count);
        if (w->lost_commits)
            continue; // what is published is a chain: follow_chain
        if ((int64_t)w->seen[s].count > rows->chain.sequence)
            world_fail(w, "I3: Kafka has %d rows of shard %d, PostgreSQL %d", (int)w->seen[s].count,
                       s, (int)rows->chain.sequence);
        if (rows->relayed > w->published[s])
            world_fail(w, "I3: shard %d is marked as published up to %d, and is up to %d", s,
                       (int)rows->relayed, (int)w->published[s]);
    }
}
