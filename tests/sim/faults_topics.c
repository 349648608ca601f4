// Faults of what the relays have published: their offsets, their topics, their transactional ids.
#include "tests/sim/check.h"

static void lose_offset(struct world *w, int32_t shard, bool back, struct dice *d)
{
    struct published_to *position = &w->kafka.coordinators[shard].position;
    if (position->n < 0 || w->lost_commits || w->postgres.lags)
        return;
    position->n = back ? dice_below(d, position->n + 1) : -1;
    position->has_hash = false;
}

static void show_old_offset(struct world *w, int32_t shard, struct dice *d)
{
    struct coordinator *c = &w->kafka.coordinators[shard];
    if (c->positions.count == 0 || w->lost_commits || w->postgres.lags)
        return;
    size_t old = (size_t)dice_below(d, (int64_t)c->positions.count);
    if (dice_hit(d, 50))
        c->shows = old + 1;
    else
        c->position = c->positions.at[old];
}

static void cut_log(struct world *w, int32_t shard, enum output output, size_t keep)
{
    const struct output_topic_log *log = &w->kafka.outputs[shard][output];
    for (size_t i = keep; i < log->messages.count; i++)
        check_lost(w, shard, &log->messages.at[i]);
    kafka_cut(&w->kafka, shard, output, keep);
}

// Rows up to here count as published for good: they were read back, and are marked or about to be.
static int64_t read_back_to(const struct world *w, int32_t shard)
{
    int64_t to = w->postgres.rows[shard].relayed;
    for (int i = 0; i < w->process_count; i++) {
        const struct publishing *r = &w->processes[i].publishing[shard];
        enum relay_state state = r->machine.state;
        bool counts = state == RELAY_VERIFY || state == RELAY_IDLE || state == RELAY_PUBLISH ||
                      state == RELAY_MARK;
        if (!w->processes[i].alive || !r->added)
            continue;
        // a fail-over may have taken the mark from PostgreSQL since
        if (r->machine.marked > to)
            to = r->machine.marked;
        if (counts && r->machine.read_back > to)
            to = r->machine.read_back;
    }
    return to;
}

// All topics lose the rows above some row that is below the mark.
static void lose_rows_below_mark(struct world *w, int32_t shard, struct dice *d)
{
    int64_t from = dice_below(d, w->postgres.rows[shard].relayed);
    for (enum output o = 0; o < OUTPUT_COUNT; o++) {
        const struct output_topic_log *log = &w->kafka.outputs[shard][o];
        size_t keep = log->messages.count;
        while (keep > 0 && log->messages.at[keep - 1].sequence > from)
            keep--;
        cut_log(w, shard, o, keep);
    }
    w->lost_outputs = true;
}

// One topic loses rows above the mark. Where rows have expired, it would not be clear which ones
// were lost. If the shard must halt because of them, that cause must last until it halts.
static void lose_rows(struct world *w, int32_t shard, bool below, struct dice *d)
{
    const struct output_topic_log *logs = w->kafka.outputs[shard];
    bool marked = w->postgres.rows[shard].relayed > 0;
    for (int o = 0; o < OUTPUT_COUNT; o++)
        if (logs[o].low > 0)
            return;
    if (check_cannot_mend(w, shard))
        return;
    if (below && marked && !w->lost_commits && !w->postgres.lags)
        lose_rows_below_mark(w, shard, d);
    int64_t kept = read_back_to(w, shard);
    int first = (int)dice_below(d, OUTPUT_COUNT);
    for (int i = 0; i < OUTPUT_COUNT && !below; i++) {
        enum output o = (enum output)((first + i) % OUTPUT_COUNT);
        size_t count = logs[o].messages.count, most = 0;
        while (most < count && logs[o].messages.at[count - 1 - most].sequence > kept)
            most++;
        if (most == 0)
            continue;
        size_t lost = 1 + (size_t)dice_below(d, (int64_t)most);
        world_say(w, "%d rows of output %d are lost", (int)lost, o);
        cut_log(w, shard, o, count - lost);
        return;
    }
}

// The last marked row stays: a shard halts when the topics have no published row at all.
static void expire_rows(struct world *w, int32_t shard, struct dice *d)
{
    int64_t marked = w->postgres.rows[shard].relayed;
    if (w->postgres.lags || check_missing(w, shard) > 0)
        return;
    for (int o = 0; o < OUTPUT_COUNT; o++) {
        struct output_topic_log *log = &w->kafka.outputs[shard][o];
        int64_t below = dice_below(d, marked + 1);
        while (log->low < log->messages.count && log->messages.at[log->low].sequence < below)
            log->low++;
    }
}

// If PostgreSQL was not told that anything was published, either, nobody could know it.
static void lose_outputs(struct world *w, int32_t shard)
{
    if (w->postgres.rows[shard].relayed == 0 || w->lost_commits || w->postgres.lags)
        return;
    w->kafka.coordinators[shard].position = (struct published_to){.n = -1};
    for (enum output o = 0; o < OUTPUT_COUNT; o++) {
        cut_log(w, shard, o, 0);
        w->kafka.outputs[shard][o].low = 0;
    }
    w->lost_outputs = true;
}

bool world_inject_topics(struct world *w, enum fault_kind kind, int32_t shard, struct dice *d)
{
    switch (kind) {
    case FAULT_TIME_OUT:
        for (int32_t s = 0; s < w->kafka.shards; s++)
            kafka_time_out(&w->kafka, s);
        return true;
    case FAULT_ID_EXPIRED:
        kafka_expire_id(&w->kafka, shard);
        return true;
    case FAULT_OFFSET_GONE:
    case FAULT_OFFSET_BACK:
        lose_offset(w, shard, kind == FAULT_OFFSET_BACK, d);
        return true;
    case FAULT_POSITION_STALE:
        show_old_offset(w, shard, d);
        return true;
    case FAULT_ROWS_LOST:
        lose_rows(w, shard, false, d);
        return true;
    case FAULT_ROWS_EXPIRED:
        expire_rows(w, shard, d);
        return true;
    case FAULT_OUTPUTS_GONE:
        if (dice_hit(d, 50))
            lose_outputs(w, shard);
        else
            lose_rows(w, shard, true, d);
        return true;
    default:
        return false;
    }
}
