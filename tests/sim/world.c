// Time, the consumer group, the operator, and the turns of the processes' threads.
#include "tests/sim/oracle.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

enum {
    SECOND = 1000,
    MINUTE = 60 * SECOND,
    HOUR = 60 * MINUTE,
    PURPOSE_WORLD = 4,
    PURPOSE_POLICY = 5,
    SESSION_MS = 6000, // after which the group gives up on a member
    HALTS_MAX = 6, // of processes that are started again, before it counts as halted for good
    SETTLING_STEPS = 60000, // I10: within so many steps all is settled once the faults are over
};

// ---- what is said ----

void world_fail(struct world *w, const char *format, ...)
{
    if (w->failure[0])
        return;
    int used = snprintf(w->failure, sizeof w->failure, "step %d: ", (int)w->step);
    va_list args;
    va_start(args, format);
    vsnprintf(w->failure + used, sizeof w->failure - (size_t)used, format, args);
    va_end(args);
}

void world_say(const struct world *w, const char *format, ...)
{
    if (!w->options.trace)
        return;
    char at[INSTANT_TEXT_SIZE];
    printf("%6d %s ", (int)w->step, calendar_format_instant(w->now, world_book()->offset_ms, at));
    va_list args;
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    putchar('\n');
}

// ---- the group ----

void world_rebalance(struct world *w)
{
    int members[PROCESSES_MAX], count = 0;
    for (int p = 0; p < w->process_count; p++)
        if (w->member[p])
            members[count++] = p;
    w->generation++;
    int first = count ? (int)dice_below(&w->dice, count) : 0;
    for (int s = 0; s < w->kafka.shards; s++)
        w->owner[s] = count ? members[(first + s) % count] : -1;
    world_say(w, "the group deals its shards: generation %d, %d members", (int)w->generation,
              count);
}

static void follow_members(struct world *w)
{
    if (w->kafka.down)
        return;
    for (int i = 0; i < w->process_count; i++) {
        const struct process *p = &w->processes[i];
        bool here = p->alive && w->now >= p->frozen_until && w->now >= p->deaf_until;
        if (here)
            w->heard_at[i] = w->mono;
        bool stays = here || (w->member[i] && w->mono - w->heard_at[i] <= SESSION_MS);
        if (stays == w->member[i])
            continue;
        w->member[i] = stays;
        world_rebalance(w);
    }
}

// ---- processes that end and come again ----

static void start(struct world *w, int number, bool draining)
{
    process_start(&w->processes[number], w, number, draining);
    w->member[number] = false; // a new member, whatever the group still knows of the old one
    world_say(w, "process %d starts", number);
}

static void start_again(struct world *w)
{
    for (int i = 0; i < w->process_count; i++) {
        const struct process *p = &w->processes[i];
        if (!p->alive && w->now >= p->back_at && !w->kafka.down && !w->postgres.down)
            start(w, i, false);
    }
}

// It ended by itself. It may do so if it says why and has a cause.
static void take_end(struct world *w, struct process *p)
{
    bool excused = w->lost_commits || w->moved_retention || w->lost_outputs ||
                   w->kafka.partitions != w->kafka.shards;
    for (int32_t s = 0; s < w->kafka.shards; s++)
        excused = excused || check_cannot_mend(w, s);
    world_say(w, "process %d halts: %s", p->number, p->why.text);
    if (p->why.text[0] == '\0')
        world_fail(w, "I10: process %d halts and does not say why", p->number);
    if (!excused)
        world_fail(w, "I10: process %d halts without a cause: %s", p->number, p->why.text);
    if (w->healed)
        w->halts++;
    for (int32_t s = 0; s < w->kafka.shards && w->lost_commits; s++)
        w->contradicted = w->contradicted || check_contradicts(w, s);
    process_kill(p);
    p->back_at = w->now + dice_below(&w->dice, 5 * SECOND);
}

// ---- one turn of one thread ----

static int32_t pick_shard(struct world *w, const struct process *p)
{
    int32_t shard = (int32_t)dice_below(&w->dice, w->kafka.shards);
    for (int32_t i = 0; i < w->kafka.shards && !p->shards[shard]; i++)
        shard = (shard + 1) % w->kafka.shards;
    return shard;
}

static void ask_brokers(struct process *p, int32_t shard)
{
    process_count(p);
    for (enum input i = 0; i < INPUT_COUNT; i++)
        process_ask(p, shard, i);
}

static void act(struct world *w)
{
    struct process *p = &w->processes[dice_below(&w->dice, w->process_count)];
    int turn = (int)dice_below(&w->dice, 10);
    if (!p->alive || w->now < p->frozen_until)
        return;
    int32_t shard = pick_shard(w, p);
    if (turn < 4)
        process_fold(p, shard);
    else if (turn < 7)
        relay_serve(p, shard);
    else if (turn < 8)
        process_poll(p, &w->dice);
    else
        ask_brokers(p, shard);
    if (p->dies) {
        world_say(w, "process %d is killed", p->number);
        process_kill(p);
    } else if (p->why.kind != ERROR_NONE) {
        take_end(w, p);
    }
}

// ---- the operator ----

// Whether a decision of such a kind was asked for: a bit for each kind.
static bool is_asked(const struct rows *rows, enum input input, int64_t offset, unsigned kinds)
{
    for (size_t i = 0; i < rows->asks.count; i++) {
        const struct decision *decision = &rows->asks.at[i].request.decision;
        if (decision->input == input && decision_is_about(decision, offset) &&
            (kinds & 1U << decision->kind) && rows->asks.at[i].state != REQUEST_REFUSED)
            return true;
    }
    return false;
}

// About records of one log, rising.
struct asked_about {
    enum input input;
    size_t count;
    int64_t offsets[8];
    int64_t new_offset; // of a requeue: the last one in the shard's own partition
};

static int by_offset(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static void ask(struct world *w, int32_t shard, enum decision_kind kind, struct asked_about about)
{
    struct rows *rows = &w->postgres.rows[shard];
    char content[DECISION_CONTENT_SIZE], topic[16];
    if (about.count == 0)
        return;
    qsort(about.offsets, about.count, sizeof *about.offsets, by_offset);
    size_t size = about.count * sizeof *about.offsets;
    const int64_t *offsets = memcpy(arena_alloc(w->postgres.arena, size), about.offsets, size);
    snprintf(topic, sizeof topic, "input-%d", about.input);
    decision_content(&(struct decided_records){topic, shard, about.count, offsets}, content);
    struct ask_row row = {.state = REQUEST_WAITING};
    row.request = (struct request){.id = ++w->postgres.last_ask, .new_offset = about.new_offset};
    row.request.decision =
        (struct decision){.request = row.request.id,
                          .kind = kind,
                          .input = about.input,
                          .count = about.count,
                          .offsets = offsets,
                          .as_of = w->now,
                          .operator_name = "operator",
                          .content = arena_copy(w->postgres.arena, content, strlen(content))};
    *list_add(&rows->asks) = row;
    world_say(w, "the operator asks for %s of %s, from offset %d on", decision_symbol(kind),
              content, (int)offsets[0]);
}

static void ask_about_one(struct world *w, int32_t shard, enum decision_kind kind, enum input input,
                          int64_t offset)
{
    ask(w, shard, kind,
        (struct asked_about){.input = input, .count = 1, .offsets = {offset}, .new_offset = -1});
}

// The same bytes once more, through the partitioner. Where they are now, if it is the shard's own
// partition; else -1.
static int64_t send_again(struct world *w, int32_t shard, enum input input, int64_t offset)
{
    struct send again = {.fact = w->kafka.logs[shard][input].entries.at[offset].fact};
    struct slice key = again.fact.key;
    again.partition = partition_of(w->first_policy.fixed.partitioner, key.data,
                                   key.data ? key.size : 0, w->kafka.shards);
    int64_t at = (int64_t)w->kafka.logs[again.partition][input].entries.count;
    kafka_append(&w->kafka, &again, w->now);
    return again.partition == shard ? at : -1;
}

// Chooses rejects of one log that nobody has decided about, several at once: those that hold a day,
// and sometimes any; a record that was let pass may have become one.
static struct asked_about choose_rejects(struct world *w, int32_t shard, enum input input,
                                         size_t most)
{
    static const unsigned final = ~(1U << DECISION_PASS);
    const struct rows *rows = &w->postgres.rows[shard];
    struct asked_about about = {.input = input, .new_offset = -1};
    for (size_t i = 0; i < rows->rejects.count && about.count < most; i++) {
        const struct step_reject *r = &rows->rejects.at[i].reject;
        if (r->input == input && rows->rejects.at[i].decision == 0 &&
            !is_asked(rows, input, r->offset, final) &&
            dice_hit(&w->dice, rows->state.held ? 90 : 1))
            about.offsets[about.count++] = r->offset;
    }
    return about;
}

static void judge_rejects(struct world *w, int32_t shard)
{
    enum { AT_ONCE = sizeof((struct asked_about *)0)->offsets / sizeof(int64_t), ROUNDS = 200 };
    for (enum input input = 0; input < INPUT_COUNT; input++) {
        for (int round = 0; round < ROUNDS; round++) {
            size_t most = (size_t)dice_between(&w->dice, 1, AT_ONCE);
            struct asked_about about = choose_rejects(w, shard, input, most);
            bool again = !w->kafka.down && dice_hit(&w->dice, 20);
            for (size_t i = 0; i < about.count && again; i++) {
                int64_t at = send_again(w, shard, input, about.offsets[i]);
                if (at > about.new_offset)
                    about.new_offset = at;
            }
            ask(w, shard, again ? DECISION_REQUEUE : DECISION_ACCEPT, about);
            if (about.count < most)
                break; // there are no more
        }
    }
}

// The record before which a log waits, if its timestamp is impossible.
static void pass_stuck(struct world *w, int32_t shard, enum input input)
{
    const struct rows *rows = &w->postgres.rows[shard];
    const struct input_topic_log *log = &w->kafka.logs[shard][input];
    int64_t at = rows->begun ? rows->state.log[input].next : log->low;
    while (at < log->stable &&
           (log->entries.at[at].marker || log->entries.at[at].fate == FATE_ABORTED))
        at++;
    if (at >= log->stable || is_asked(rows, input, at, ~0U))
        return;
    const struct entry *entry = &log->entries.at[at];
    if (!entry->log_append || entry->timestamp > w->now + HOUR)
        ask_about_one(w, shard, DECISION_PASS, input, at);
}

// The record that a log stands at, while the registry says nothing. Some come to be judged all the
// same before the owner of the shard has read what was asked.
static void refuse_stuck(struct world *w, int32_t shard, enum input input)
{
    const struct rows *rows = &w->postgres.rows[shard];
    const struct input_topic_log *log = &w->kafka.logs[shard][input];
    int64_t at = rows->state.log[input].next;
    while (at < log->stable &&
           (log->entries.at[at].marker || log->entries.at[at].fate == FATE_ABORTED))
        at++;
    if (!w->registry_down || at >= log->stable || is_asked(rows, input, at, ~0U))
        return;
    // What has no framing needs no schema.
    const struct slice value = log->entries.at[at].fact.value;
    if (value.data && value.data[0] == 0)
        ask_about_one(w, shard, DECISION_REFUSE, input, at);
}

// What was sent again may stand behind a transaction that nobody ends any more, and a held day
// waits for it: when all else is over, an operator has the brokers abort it.
static void abort_what_hangs(struct world *w, int32_t shard)
{
    const struct rows *rows = &w->postgres.rows[shard];
    if (!w->healed || w->ended < w->script.endings.count)
        return;
    for (size_t i = 0; i < rows->asks.count; i++) {
        const struct ask_row *row = &rows->asks.at[i];
        const struct input_topic_log *log = &w->kafka.logs[shard][row->request.decision.input];
        if (row->state != REQUEST_WAITING || row->request.new_offset < log->stable)
            continue;
        const struct entry *entry = &log->entries.at[log->stable];
        if (entry->fate == FATE_PENDING)
            kafka_end_transaction(&w->kafka, entry->transaction, false, w->now);
    }
}

static void operate(struct world *w)
{
    if (w->now < w->operator_at || w->postgres.down)
        return;
    w->operator_at = w->now + dice_between(&w->dice, SECOND, w->healed ? 5 * SECOND : 20 * MINUTE);
    for (int32_t s = 0; s < w->kafka.shards; s++) {
        if (!w->postgres.rows[s].begun)
            continue;
        judge_rejects(w, s);
        abort_what_hangs(w, s);
        for (enum input i = 0; i < INPUT_COUNT; i++) {
            pass_stuck(w, s, i);
            refuse_stuck(w, s, i);
        }
    }
}

// ---- time ----

static void note_next(int64_t now, int64_t at, int64_t *next)
{
    if (at > now && at < *next)
        *next = at;
}

// When something happens next by itself.
static int64_t next_event(const struct world *w)
{
    int64_t next = w->now + 4 * HOUR;
    if (w->sent < w->script.sends.count)
        note_next(w->now, w->script.sends.at[w->sent].at, &next);
    if (w->ended < w->script.endings.count)
        note_next(w->now, w->script.endings.at[w->ended].at, &next);
    for (size_t i = 0; i < w->cures.count; i++)
        note_next(w->now, w->cures.at[i].at, &next);
    for (int p = 0; p < w->process_count; p++) {
        note_next(w->now, w->processes[p].back_at, &next);
        note_next(w->now, w->processes[p].frozen_until, &next);
        note_next(w->now, w->processes[p].deaf_until, &next);
    }
    const struct policy *policy = w->postgres.policy;
    day_t today = calendar_day(w->now, world_book()->offset_ms);
    for (day_t day = today - 1; day <= today; day++)
        note_next(w->now,
                  calendar_day_start(day + 1, world_book()->offset_ms) +
                      policy_at(policy, day)->grace_ms,
                  &next);
    return next;
}

static bool somebody_commits(const struct world *w)
{
    for (int p = 0; p < w->process_count; p++)
        if (w->processes[p].alive && w->processes[p].beside.under_way)
            return true;
    return false;
}

// Mostly a small step, so that new events meet others that are under way; sometimes up to the next
// event.
static void advance(struct world *w)
{
    int64_t by;
    int chance = (int)dice_below(&w->dice, 100);
    // An idle owner notices lost commits only at its next commit, when the next day is due. Days
    // that come faster than they are committed would never end; nor would a drain, which has no
    // owner of before.
    bool far = !w->healed || (w->lost_commits && !w->processes[0].draining && !somebody_commits(w));
    if (chance < 5)
        by = far ? next_event(w) - w->now : dice_below(&w->dice, 10 * SECOND);
    else if (chance < 35)
        by = 0;
    else if (chance < 90)
        by = dice_below(&w->dice, 30);
    else
        by = dice_below(&w->dice, SECOND);
    w->now += by;
    w->mono += by;
}

// Producers go by the partitions that they find. Of those beyond ours nobody reads.
static void send_one(struct world *w, struct send send)
{
    struct slice key = send.fact.key;
    if (w->kafka.partitions != w->kafka.shards) {
        send.by_another_count = true;
        send.partition = partition_of(w->first_policy.fixed.partitioner, key.data,
                                      key.data ? key.size : 0, w->kafka.partitions);
    }
    if (send.partition < w->kafka.shards)
        kafka_append(&w->kafka, &send, w->now);
}

static void send_what_is_due(struct world *w)
{
    const struct script *s = &w->script;
    while (!w->kafka.down) {
        int64_t send_at = w->sent < s->sends.count ? s->sends.at[w->sent].at : INT64_MAX;
        int64_t end_at = w->ended < s->endings.count ? s->endings.at[w->ended].at : INT64_MAX;
        if (send_at > w->now && end_at > w->now)
            return;
        if (send_at <= end_at) {
            send_one(w, s->sends.at[w->sent++]);
        } else {
            const struct ending *ending = &s->endings.at[w->ended++];
            kafka_end_transaction(&w->kafka, ending->transaction, ending->commit, w->now);
        }
    }
}

// Somebody asks the registry again for an id that it did not have; it still has not.
static void answer_registry(struct world *w)
{
    if (w->registry_down || !dice_hit(&w->dice, 20))
        return;
    for (int i = 0; i < INPUT_COUNT; i++) {
        if (w->unknown[i] != UNKNOWN_ASKED)
            continue;
        w->unknown[i] = UNKNOWN_FOUND;
        w->registry_generation++;
    }
}

static void step(struct world *w)
{
    w->step++;
    advance(w);
    world_cure(w);
    kafka_deliver_travelling(&w->kafka, w->step);
    for (int32_t s = 0; s < w->kafka.shards; s++)
        kafka_write_markers(&w->kafka, s, &w->dice);
    send_what_is_due(w);
    answer_registry(w);
    start_again(w);
    follow_members(w);
    operate(w);
    act(w);
    check_step(w);
}

// ---- a world's life ----

static void draw_policy(struct world *w)
{
    static const int64_t graces[] = {SECOND, 30 * SECOND, 5 * MINUTE, HOUR};
    struct dice d = dice_of(w->options.seed, PURPOSE_POLICY, 0);
    struct policy *policy = &w->first_policy;
    struct error e;
    policy->fixed.timestamps = TIMESTAMPS_LOG_APPEND;
    policy->fixed.partitioner = dice_hit(&d, 50) ? PARTITIONER_MURMUR2 : PARTITIONER_CRC32;
    policy->fixed.framing = w->options.seed % 3 == 0 ? FRAMING_APICURIO : FRAMING_CONFLUENT;
    policy->fixed.partitions = (int32_t)dice_between(&d, 1, SHARDS_MAX);
    memcpy(policy->fixed.time_zone, world_book()->time_zone, sizeof policy->fixed.time_zone);
    // Some begin before a 29 February, some at a year's end.
    static const char *const days[] = {"2026-11-01", "2028-02-25", "2026-12-28"};
    if (!calendar_parse_day(days[dice_below(&d, 3)], &policy->fixed.first_day))
        abort();
    if (shelf_add(&policy->shelf, world_book(), &e) != 0)
        abort();
    policy->count = 1;
    policy->rows[0] =
        (struct parameters){.from_day = DAY_NONE,
                            .grace_ms = graces[dice_below(&d, 4)],
                            .late_days = (int32_t)dice_between(&d, 0, 4),
                            .future_tolerance_ms = dice_between(&d, 0, 5) * MINUTE,
                            .max_reject_share_ppm = dice_hit(&d, 70) ? 10000 : 500000,
                            .max_refused_share_ppm = dice_hit(&d, 70) ? 200000 : 20000,
                            .credit_days = dice_hit(&d, 60) ? 400 : (int32_t)dice_between(&d, 1, 5),
                            .notices = world_limits(&d)};
    memcpy(policy->rows[0].book_sha256, world_book()->sha256, sizeof policy->rows[0].book_sha256);
}

static void begin(struct world *w, const struct options *options, const struct schedule *schedule)
{
    *w = (struct world){.options = *options, .schedule = *schedule};
    w->dice = dice_of(options->seed, PURPOSE_WORLD, 0);
    w->arena = arena_create();
    assert(w->arena);
    draw_policy(w);
    script_make(&w->script, &(struct script_options){options->seed, w->arena, &w->first_policy,
                                                     options->records_max});
    w->now = script_day_start(&w->first_policy, -w->script.lead);
    w->mono = MINUTE;
    w->end = script_day_start(&w->first_policy, w->script.days) + 2 * HOUR;
    w->kafka = (struct kafka){.shards = w->script.shards,
                              .partitions = w->script.shards,
                              .fences = options->breakage != BREAK_FENCING,
                              .on_message = check_message,
                              .on_commit = check_position,
                              .on_touch = check_touch,
                              .context = w};
    for (int32_t s = 0; s < SHARDS_MAX; s++)
        w->kafka.coordinators[s].position.n = w->kafka.coordinators[s].staged_position.n = -1;
    w->postgres = (struct postgres){.shards = w->script.shards,
                                    .breakage = options->breakage,
                                    .on_commit = check_commit,
                                    .context = w};
    postgres_init(&w->postgres, &w->first_policy);
    w->process_count = (int)dice_between(&w->dice, 1, PROCESSES_MAX);
    // On logs that are old, the first start comes some time after the first day has begun.
    int64_t begun = script_day_start(&w->first_policy, 0) - w->now;
    for (int i = 0; i < w->process_count; i++) {
        if (w->script.lead > 0 && dice_hit(&w->dice, 80))
            w->processes[i].back_at = w->now + dice_below(&w->dice, begun + DAY_MS);
        else
            start(w, i, false);
    }
}

static bool is_settled(const struct world *w, int32_t s)
{
    const struct rows *rows = &w->postgres.rows[s];
    bool settled = rows->begun &&
                   rows->state.day >= w->first_policy.fixed.first_day + w->script.days &&
                   rows->state.month >= rows->state.day && // no statements are due

                   w->published[s] == rows->chain.sequence && !rows->state.held &&
                   (w->lost_outputs || check_missing(w, s) == 0);
    // If a mark was lost, it may stay low for ever.
    settled = settled && (w->lost_commits || rows->relayed == w->published[s]);
    for (int i = 0; i < INPUT_COUNT; i++)
        settled = settled && rows->state.log[i].next == w->kafka.logs[s][i].stable;
    return settled;
}

static bool all_settled(const struct world *w)
{
    for (int32_t s = 0; s < w->kafka.shards; s++)
        if (!is_settled(w, s))
            return false;
    return true;
}

// Like `settled run --drain`, while the other processes stop properly: it ends by itself once what
// is due is settled and published.
static void drain(struct world *w)
{
    enum { DRAINING_STEPS = 20000 };
    int64_t until = w->step + DRAINING_STEPS;
    for (int i = 0; i < w->process_count; i++) {
        process_stop(&w->processes[i]);
        w->processes[i].back_at = INT64_MAX;
    }
    struct process *p = &w->processes[0];
    start(w, 0, true);
    while (!w->failure[0] && p->alive && !process_drained(p) && w->step < until)
        step(w);
    if (p->alive && !process_drained(p))
        world_fail(w, "I10: a drain does not end");
    for (int32_t s = 0; s < w->kafka.shards && p->alive && !w->lost_commits; s++)
        if (w->postgres.rows[s].relayed < w->postgres.rows[s].chain.sequence)
            world_fail(w, "I10: a drain ends before shard %d has its mark", s);
    world_say(w, "the drain ends");
    for (int i = 0; i < w->process_count; i++)
        w->processes[i].back_at = w->now;
    process_stop(p);
}

// I10: the faults are over, so it settles, or halts for a cause that no restart can mend.
static void settle(struct world *w)
{
    world_heal(w);
    if (dice_hit(&w->dice, 20))
        drain(w);
    int64_t until = w->step + SETTLING_STEPS;
    while (!w->failure[0] && !all_settled(w) && w->halts < HALTS_MAX && w->step < until)
        step(w);
    bool mendable = !w->short_retention && !w->contradicted && !w->lost_outputs &&
                    w->kafka.partitions == w->kafka.shards;
    for (int32_t s = 0; s < w->kafka.shards; s++)
        mendable = mendable && !check_cannot_mend(w, s);
    if (all_settled(w) || (w->halts >= HALTS_MAX && !mendable))
        return;
    for (int32_t s = 0; s < w->kafka.shards; s++) {
        const struct rows *rows = &w->postgres.rows[s];
        if (is_settled(w, s))
            continue;
        world_fail(w,
                   "I10: shard %d does not settle: open day %d of %d, sequence %d, published %d, "
                   "lost %d, marked %d, logs "
                   "at %d/%d/%d of %d/%d/%d",
                   s, rows->state.day - w->first_policy.fixed.first_day, w->script.days,
                   (int)rows->chain.sequence, (int)w->published[s], (int)check_missing(w, s),
                   (int)rows->relayed, (int)rows->state.log[0].next, (int)rows->state.log[1].next,
                   (int)rows->state.log[2].next, (int)w->kafka.logs[s][0].stable,
                   (int)w->kafka.logs[s][1].stable, (int)w->kafka.logs[s][2].stable);
    }
}

void world_run(struct world *w, const struct options *options, const struct schedule *schedule)
{
    begin(w, options, schedule);
    size_t next = 0;
    while (!w->failure[0] && w->now < w->end) {
        for (; next < w->schedule.count && w->schedule.faults[next].step <= w->step; next++)
            world_inject(w, &w->schedule.faults[next]);
        step(w);
    }
    settle(w);
    if (!w->failure[0])
        oracle_check(w);
}

void world_free(struct world *w)
{
    for (int i = 0; i < w->process_count; i++)
        process_kill(&w->processes[i]);
    for (int i = 0; i < PROCESSES_MAX; i++)
        disk_free(&w->disks[i]);
    postgres_free(&w->postgres);
    kafka_free(&w->kafka);
    script_free(&w->script);
    shelf_clear(&w->first_policy.shelf);
    for (int s = 0; s < SHARDS_MAX; s++)
        list_free(&w->seen[s]);
    list_free(&w->cures);
    arena_destroy(w->arena);
}
