#include "tests/sim/check.h"

#include <assert.h>
#include <stdio.h>

enum {
    TURNS = 4,
    BLOCK_RECORDS = 8,
    REFRESH_MS = 5000,
    SESSION_MS = 6000,
    MAX_CALLS = 1000000,
    PURPOSE_BESIDE = 7,
    PURPOSE_DISK = 9
};

static const char *const topics[INPUT_COUNT] = {"call-records", "package-purchases",
                                                "account-credits"};

int64_t process_clock(const struct process *p)
{
    return p->world->now + p->skew;
}

// ---- the database ----

bool process_is_gone(struct process *p, struct error *e)
{
    if (p->dies_after > 0 && --p->dies_after == 0)
        p->dies = true;
    if (p->dies)
        error_set(e, ERROR_UNAVAILABLE, "killed");
    return p->dies;
}

static enum store_result answer(struct process *p, enum store_result result, struct error *e)
{
    return process_is_gone(p, e) ? STORE_UNAVAILABLE : result;
}

static enum store_result host_claim(void *context, int32_t shard, struct shard_row *out,
                                    struct error *e)
{
    struct process *p = context;
    struct world *w = p->world;
    if (process_is_gone(p, e))
        return STORE_UNAVAILABLE;
    return answer(p, postgres_claim(&w->postgres, &p->session, w->now, shard, out, e), e);
}

static enum store_result host_restore(void *context, int32_t shard, const struct shard_row *row,
                                      struct fold *fold, struct error *e)
{
    struct process *p = context;
    struct world *w = p->world;
    if (process_is_gone(p, e))
        return STORE_UNAVAILABLE;
    return answer(p, postgres_restore(&w->postgres, &p->session, w->now, shard, row, fold, e), e);
}

static enum store_result commit_by(struct process *p, struct session *session, int32_t shard,
                                   struct shard_row *row, const struct commit_request *request,
                                   struct error *e)
{
    struct world *w = p->world;
    if (process_is_gone(p, e))
        return STORE_UNAVAILABLE;
    struct shard_row was = *row;
    const struct step *step = fold_step(request->fold);
    const struct commit_of commit = {row, request->fold, request->outbox, request->now_ms};
    enum store_result result = postgres_commit(&w->postgres, session, w->now, shard, &commit, e);
    if (result == STORE_OK && !was.begun)
        check_first(p, shard, request->fold);
    if (result == STORE_OK && step->closed)
        check_close(p, shard, &step->close);
    world_say(w, "process %d: commit of shard %d: %s", p->number, shard,
              result == STORE_OK ? "well" : e->text);
    if (!process_is_gone(p, e))
        return result;
    *row = was;
    return STORE_UNAVAILABLE;
}

static enum store_result host_commit(void *context, int32_t shard, struct shard_row *row,
                                     const struct commit_request *request, struct error *e)
{
    struct process *p = context;
    return commit_by(p, &p->session, shard, row, request, e);
}

static void end_beside(struct process *p, const struct long_step *step)
{
    struct beside *b = &p->beside;
    b->done = true;
    b->result = STORE_FAILED;
    if (!step->build || step->build(step->shard, world_encoder(), &b->error) == 0)
        b->result = commit_by(p, &b->session, b->shard, &b->row, &step->request, &b->error);
}

// When it is done and when that is told of has nothing to do with each other.
static enum commit_progress host_commit_beside(void *context, int32_t shard, struct shard_row *row,
                                               const struct long_step *step,
                                               enum store_result *result, struct error *e)
{
    struct process *p = context;
    struct beside *b = &p->beside;
    if (b->under_way && b->shard != shard) {
        b->refused = true;
        return COMMIT_BUSY;
    }
    // A worker runs its shards in turn, so the one that was committed does not begin again before
    // the others had theirs.
    if (!b->under_way && b->refused && b->shard == shard) {
        b->refused = false;
        return COMMIT_BUSY;
    }
    if (!b->under_way) {
        *b = (struct beside){
            .session = b->session, .dice = b->dice, .under_way = true, .shard = shard, .row = *row};
        b->looks = (int)dice_below(&b->dice, 5);
        if (dice_hit(&b->dice, 50))
            end_beside(p, step);
        return COMMIT_GOES_ON;
    }
    if (b->looks-- > 0)
        return COMMIT_GOES_ON;
    if (!b->done)
        end_beside(p, step);
    b->under_way = false;
    *row = b->row;
    *result = b->result;
    *e = b->error;
    return COMMIT_ENDED;
}

static void host_await_commit(void *context, int32_t shard)
{
    struct beside *b = &((struct process *)context)->beside;
    if (b->shard == shard)
        b->looks = 0;
}

// REJECT_NONE: there is no such reject, or it is decided.
static enum reject_reason open_reason(const struct rows *rows, enum input input, int64_t offset)
{
    for (size_t k = 0; k < rows->rejects.count; k++) {
        const struct reject_row_of *row = &rows->rejects.at[k];
        if (row->reject.input == input && row->reject.offset == offset && row->decision == 0)
            return row->reject.reason;
    }
    return REJECT_NONE;
}

static enum store_result host_load_month(void *context, int32_t shard, day_t month,
                                         const char *after, struct month_page *out, struct error *e)
{
    struct process *p = context;
    if (process_is_gone(p, e))
        return STORE_UNAVAILABLE;
    enum store_result result = postgres_ready(&p->world->postgres, &p->session, p->world->now, e);
    if (result == STORE_OK)
        postgres_month(&p->world->postgres, shard, month, after, out);
    return result;
}

static enum store_result host_load_requests(void *context, int32_t shard, struct request *out,
                                            size_t capacity, size_t *count, struct error *e)
{
    struct process *p = context;
    struct world *w = p->world;
    *count = 0;
    if (process_is_gone(p, e))
        return STORE_UNAVAILABLE;
    enum store_result result = postgres_ready(&w->postgres, &p->session, w->now, e);
    const struct rows *rows = &w->postgres.rows[shard];
    for (size_t i = 0; i < rows->asks.count && *count < capacity && result == STORE_OK; i++) {
        if (rows->asks.at[i].state != REQUEST_WAITING)
            continue;
        struct request *request = &out[(*count)++];
        *request = rows->asks.at[i].request;
        const struct decision *decision = &request->decision;
        enum reject_reason *reasons =
            arena_alloc(w->postgres.arena, decision->count * sizeof *reasons);
        for (size_t d = 0; d < decision->count; d++)
            reasons[d] = open_reason(rows, decision->input, decision->offsets[d]);
        request->reasons = reasons;
    }
    return answer(p, result, e);
}

// In a log line only.
static enum store_result host_load_undecided(void *context, int32_t shard,
                                             struct undecided_rejects *out, size_t capacity,
                                             size_t *count, struct error *e)
{
    struct process *p = context;
    (void)shard;
    (void)out;
    (void)capacity;
    *count = 0;
    if (process_is_gone(p, e))
        return STORE_UNAVAILABLE;
    return answer(p, postgres_ready(&p->world->postgres, &p->session, p->world->now, e), e);
}

// Notes are for people: nothing here goes by them.
static enum store_result host_note_waiting(void *context, int32_t shard, int64_t epoch,
                                           const struct waiting_record *record, struct error *e)
{
    (void)context;
    (void)shard;
    (void)epoch;
    (void)record;
    (void)e;
    return STORE_OK;
}

static enum store_result host_refuse_request(void *context, int64_t id, const char *why,
                                             struct error *e)
{
    struct process *p = context;
    struct world *w = p->world;
    if (process_is_gone(p, e))
        return STORE_UNAVAILABLE;
    enum store_result result = postgres_ready(&w->postgres, &p->session, w->now, e);
    for (int32_t s = 0; s < w->postgres.shards && result == STORE_OK; s++)
        for (size_t i = 0; i < w->postgres.rows[s].asks.count; i++) {
            struct ask_row *ask = &w->postgres.rows[s].asks.at[i];
            if (ask->request.id == id && ask->state == REQUEST_WAITING)
                ask->state = REQUEST_REFUSED;
        }
    world_say(w, "process %d: request %d refused: %s", p->number, (int)id, why);
    return answer(p, result, e);
}

static enum store_result host_refresh_policy(void *context, struct error *e)
{
    struct process *p = context;
    struct world *w = p->world;
    if (process_is_gone(p, e))
        return STORE_UNAVAILABLE;
    enum store_result result = postgres_ready(&w->postgres, &p->session, w->now, e);
    const struct policy *fresh = w->postgres.policy;
    // Rows and books are only added, as in worker.c.
    if (result == STORE_OK &&
        (fresh->count != p->policy->count || fresh->shelf.count != p->policy->shelf.count))
        p->policy = fresh;
    return answer(p, result, e);
}

static const struct policy *host_policy(void *context)
{
    return ((struct process *)context)->policy;
}

// ---- reading ----

static int64_t host_clock(void *context)
{
    return process_clock(context);
}

static int64_t host_monotonic_us(void *context)
{
    return ((struct process *)context)->world->mono * 1000;
}

static void host_ask_ends(void *context, int32_t shard, enum input input, int64_t since_ms)
{
    struct question *question = &((struct process *)context)->questions[shard][input];
    question->since_ms = since_ms;
    if (question->state == QUESTION_SENT)
        return;
    question->state = QUESTION_ASKED;
}

static bool host_take_ends(void *context, int32_t shard, enum input input,
                           struct log_watermarks *out)
{
    struct question *question = &((struct process *)context)->questions[shard][input];
    if (question->state != QUESTION_ANSWERED)
        return false;
    question->state = QUESTION_NONE;
    *out = question->answer;
    return true;
}

// As a leader answers a reader of committed records.
static void find_first(const struct input_topic_log *log, struct question *question)
{
    int64_t at = log->low;
    while (at < log->stable && log->entries.at[at].timestamp < question->since_ms)
        at++;
    question->answer.since_ms = question->since_ms;
    question->answer.first = question->last_first = at < log->stable ? at : question->answer.stable;
    if (question->firsts++ == 0 || question->last_first < question->lowest_first)
        question->lowest_first = question->last_first;
}

void process_ask(struct process *p, int32_t shard, enum input input)
{
    struct question *question = &p->questions[shard][input];
    const struct input_topic_log *log = &p->world->kafka.logs[shard][input];
    bool early = p->world->options.breakage == BREAK_ENDS;
    if (p->world->kafka.down)
        return;
    if (question->state == QUESTION_ASKED) {
        question->state = QUESTION_SENT;
        question->answer = (struct log_watermarks){.low = log->low,
                                                   .stable = log->stable,
                                                   .end = (int64_t)log->entries.count,
                                                   .asked_at = process_clock(p),
                                                   .since_ms = SINCE_NONE};
    } else if (question->state == QUESTION_SENT) {
        question->state = QUESTION_ANSWERED;
        question->answer.low = log->low;
        if (early)
            question->answer.asked_at = process_clock(p);
        else
            question->answer.stable = log->stable;
        if (question->since_ms != SINCE_NONE)
            find_first(log, question);
    }
}

static bool host_counts_right(void *context, int64_t read_at)
{
    struct process *p = context;
    // Within one millisecond nobody knows which was first.
    bool right = p->counted_at > read_at;
    p->count_wanted = p->count_wanted || !right;
    return right;
}

void process_counted(struct process *p)
{
    p->counted_at = p->world->mono;
    p->counted_step = p->world->step;
}

void process_count(struct process *p)
{
    // Not in ms: a world's time leaps, and what it leaps over would all be looked at again.
    enum { LOOK_STEPS = 300 };
    const struct kafka *kafka = &p->world->kafka;
    bool due =
        p->count_wanted || p->counted_at < 0 || p->world->step - p->counted_step >= LOOK_STEPS;
    if (kafka->down || !due)
        return;
    p->count_wanted = false;
    if (kafka->partitions == kafka->shards)
        process_counted(p);
    else if (p->why.kind == ERROR_NONE)
        error_set(&p->why, ERROR_CONFIG, "the topics have %d partitions, not %d",
                  (int)kafka->partitions, (int)kafka->shards);
}

static struct writer host_find_writer(void *context, enum input input, int64_t id)
{
    struct world *w = ((struct process *)context)->world;
    if (w->registry_down)
        return (struct writer){.state = WRITER_PENDING, .why = "the registry does not answer"};
    enum framing framing = w->first_policy.fixed.framing;
    if (id == script_schema(framing, SCHEMA_KNOWN + 10 * (int32_t)input))
        return (struct writer){.state = WRITER_READY, .plan = world_plan(input)};
    if (id == script_schema(framing, SCHEMA_INCOMPATIBLE))
        return (struct writer){.state = WRITER_INCOMPATIBLE, .why = "it does not resolve"};
    if (w->unknown[input] == UNKNOWN_FOUND)
        return (struct writer){.state = WRITER_UNKNOWN, .why = "no such id"};
    w->unknown[input] = UNKNOWN_ASKED;
    return (struct writer){.state = WRITER_PENDING, .why = "asked for again"};
}

static uint64_t host_writers_generation(void *context)
{
    return ((struct process *)context)->world->registry_generation;
}

static void host_start(void *context, int32_t shard, const int64_t offsets[INPUT_COUNT])
{
    struct process *p = context;
    if (p->heard != p->assignment)
        return;
    for (int i = 0; i < INPUT_COUNT; i++)
        p->lanes[shard][i] = (struct lane){true, offsets[i], offsets[i], offsets[i], -1};
}

static void put_raw(struct block *block, int64_t offset, const struct entry *entry)
{
    struct slice none = {NULL, 0}, key = entry ? entry->fact.key : none,
                 value = entry ? entry->fact.value : none;
    struct raw *raw = (struct raw *)(void *)(block->data + block->used);
    *raw = (struct raw){.offset = offset,
                        .timestamp = entry ? entry->timestamp : 0,
                        .key_size = key.data ? (uint32_t)key.size : RAW_NULL,
                        .value_size = value.data ? (uint32_t)value.size : RAW_NULL,
                        .kind = entry ? RAW_RECORD : RAW_END,
                        .log_append = entry && entry->log_append,
                        .stamped = entry != NULL};
    char *bytes = (char *)(raw + 1);
    if (key.data)
        memcpy(bytes, key.data, key.size);
    if (value.data)
        memcpy(bytes + (key.data ? key.size : 0), value.data, value.size);
    block->used += raw_bytes(raw->key_size, raw->value_size);
}

static struct block *host_next_block(void *context, int32_t shard, enum input input)
{
    enum { RECORD_BYTES = 1024 };
    struct process *p = context;
    struct lane *lane = &p->lanes[shard][input];
    const struct input_topic_log *log = &p->world->kafka.logs[shard][input];
    if (!lane->reading ||
        (lane->next >= lane->fetched && (lane->next < log->stable || lane->told_end == lane->next)))
        return NULL;
    size_t capacity = (BLOCK_RECORDS + 1) * RECORD_BYTES;
    struct block *block = malloc(sizeof *block + capacity);
    assert(block);
    *block =
        (struct block){.first_offset = lane->next, .read_at = p->world->mono, .capacity = capacity};
    for (int count = 0; lane->next < lane->fetched && count < BLOCK_RECORDS; lane->next++) {
        const struct entry *entry = &log->entries.at[lane->next];
        if (entry->marker || entry->fate == FATE_ABORTED)
            continue;
        put_raw(block, lane->next, entry);
        count++;
    }
    if (lane->next == log->stable && lane->told_end != lane->next) {
        put_raw(block, lane->next, NULL);
        lane->told_end = lane->next;
    }
    if (block->used > 0)
        return block;
    free(block);
    return NULL;
}

static void host_release_block(void *context, int32_t shard, enum input input, struct block *block)
{
    (void)context;
    (void)shard;
    (void)input;
    free(block);
}

// ---- snapshots ----

static bool host_begin_snapshot(void *context, int32_t shard)
{
    struct process *p = context;
    bool began = !p->writing.begun;
    if (began)
        p->writing = (struct disk_writing){.begun = true, .shard = shard};
    return began;
}

static void host_write_snapshot(void *context, int32_t shard, struct snapshot *snapshot)
{
    struct process *p = context;
    assert(p->writing.begun);
    assert(p->writing.shard == shard);
    assert(!p->writing.snapshot);
    p->writing.begun = snapshot != NULL;
    p->writing.snapshot = snapshot;
}

static enum snapshot_found host_read_snapshot(void *context, int32_t shard, int back,
                                              struct snapshot_reader *reader,
                                              char name[SNAPSHOT_NAME_SIZE], struct error *e)
{
    struct process *p = context;
    snprintf(name, SNAPSHOT_NAME_SIZE, "snapshot %d of shard %d", back, (int)shard);
    enum snapshot_found found =
        disk_read(&p->world->disks[p->disk], shard, back, reader, &p->disk_dice, e);
    if (found != SNAPSHOT_NONE)
        world_say(p->world, "process %d: %s: %s", p->number, name,
                  found == SNAPSHOT_READ ? "good" : e->text);
    return found;
}

static void write_some(struct process *p)
{
    struct world *w = p->world;
    w->snapshots.written += disk_write(&w->disks[p->disk], &p->writing, &p->disk_dice);
}

// In a part of the worlds, and there each process or not.
static void use_disk(struct process *p)
{
    struct world *w = p->world;
    struct dice d = dice_of(w->options.seed, PURPOSE_DISK, 0);
    bool used = dice_hit(&d, 60), shared = dice_hit(&d, 30);
    p->disk_dice = dice_of(w->options.seed, PURPOSE_DISK, (uint64_t)(w->step + p->number + 1));
    p->disk = shared ? 0 : p->number;
    if (!used || dice_hit(&p->disk_dice, 10))
        return;
    p->host.begin_snapshot = host_begin_snapshot;
    p->host.write_snapshot = host_write_snapshot;
    p->host.read_snapshot = host_read_snapshot;
    p->host.snapshot_records = dice_between(&p->disk_dice, 1, 40);
    for (int i = 0; i < 3 && dice_hit(&p->disk_dice, 25); i++)
        w->snapshots.damaged += disk_damage(&w->disks[p->disk], &p->disk_dice);
}

// One account after the other. What is answered is compared in unit_settlement; here the asking is
// between all else that happens to a shard.
static void host_let_look(void *context, int32_t shard)
{
    struct process *p = context;
    struct shard *s = p->shards[shard];
    struct fold *fold = shard_fold(s);
    size_t accounts = fold ? fold_account_count(fold) : 0;
    struct error e;
    p->looks++;
    if (!p->preview && accounts > 0) {
        uint32_t number = (uint32_t)((size_t)p->looks % accounts);
        p->preview = preview_create(fold_account(fold, number)->id);
        p->previewed = shard;
    }
    if (!p->preview || p->previewed != shard || shard_state(s) != SHARD_RUNNING ||
        !preview_take(p->preview, fold, shard_fold_number(s), (size_t)(1 + p->looks % 5)))
        return;
    if (preview_settle(p->preview, &e) != 0)
        world_fail(p->world, "a preview of shard %d: %s", shard, e.text);
    preview_destroy(p->preview);
    p->preview = NULL;
}

// Like librdkafka, which is configured to fail if a log no longer holds the wanted offset.
static void check_ranges(struct process *p)
{
    for (int32_t s = 0; s < p->world->kafka.shards; s++)
        for (enum input i = 0; i < INPUT_COUNT; i++) {
            const struct lane *lane = &p->lanes[s][i];
            if (!lane->reading || lane->next >= p->world->kafka.logs[s][i].low ||
                p->why.kind != ERROR_NONE)
                continue;
            error_set(&p->why, ERROR_CONFIG, "%s/%d: the log does not hold offset %d any more",
                      topics[i], (int)s, (int)lane->next);
        }
}

static void hear_of_group(struct process *p)
{
    struct world *w = p->world;
    if (w->now < p->deaf_until || !w->member[p->number])
        return;
    p->confirmed = p->heard == w->generation;
    if (p->confirmed)
        return;
    p->heard = w->generation;
    for (int32_t s = 0; s < w->kafka.shards; s++) {
        p->heard_shards[s] = w->owner[s] == p->number;
        for (int i = 0; i < INPUT_COUNT; i++)
            p->lanes[s][i].reading = false;
    }
}

void process_poll(struct process *p, struct dice *dice)
{
    struct world *w = p->world;
    if (w->kafka.down)
        return;
    hear_of_group(p);
    check_ranges(p);
    for (int32_t s = 0; s < w->kafka.shards; s++)
        for (int i = 0; i < INPUT_COUNT; i++) {
            struct lane *lane = &p->lanes[s][i];
            int64_t end = w->kafka.logs[s][i].stable;
            if (!lane->reading || dice_hit(dice, 30))
                continue;
            lane->fetched += dice_between(dice, 1, 12);
            if (lane->fetched > end)
                lane->fetched = end;
        }
}

void process_redeliver(struct process *p, struct dice *dice)
{
    for (int32_t s = 0; s < p->world->kafka.shards; s++)
        for (int i = 0; i < INPUT_COUNT; i++) {
            struct lane *lane = &p->lanes[s][i];
            int64_t to = lane->next - dice_below(dice, 10), low = p->world->kafka.logs[s][i].low;
            if (to < lane->start)
                to = lane->start;
            if (to < low)
                to = low;
            if (lane->reading && to < lane->next)
                lane->next = to;
        }
}

// ---- the fold thread ----

static void take_assignment(struct process *p)
{
    struct world *w = p->world;
    if (p->heard == 0)
        return;
    if (p->heard != p->assignment) {
        p->assignment = p->heard;
        memcpy(p->assigned, p->heard_shards, sizeof p->assigned);
        p->unconfirmed = true;
        for (int32_t s = 0; s < w->kafka.shards; s++)
            if (p->shards[s])
                shard_revoke(p->shards[s], w->mono);
    }
    if (!p->unconfirmed || !p->confirmed)
        return;
    p->unconfirmed = false;
    for (int32_t s = 0; s < w->kafka.shards; s++) {
        if (!p->assigned[s])
            continue;
        if (!p->shards[s])
            p->shards[s] = shard_create(&p->host, s, p->draining ? p->drain[s] : NULL);
        assert(p->shards[s]);
        shard_assign(p->shards[s], w->mono);
    }
}

void process_fold(struct process *p, int32_t shard)
{
    struct world *w = p->world;
    struct error e;
    take_assignment(p);
    if (w->mono - p->refreshed_at > REFRESH_MS) {
        p->refreshed_at = w->mono;
        (void)host_refresh_policy(p, &e);
    }
    write_some(p);
    if (!p->shards[shard])
        return;
    for (int turn = 0; turn < TURNS && !p->dies; turn++)
        if (!shard_run(p->shards[shard], w->mono))
            break;
    if (shard_state(p->shards[shard]) == SHARD_HALTED && !p->dies)
        p->why = *shard_error(p->shards[shard]);
}

bool process_drained(const struct process *p)
{
    bool held;
    if (!p->alive || p->assignment == 0 || p->unconfirmed)
        return false;
    for (int32_t s = 0; s < p->world->kafka.shards; s++)
        if (!p->assigned[s] || !shard_drained(p->shards[s], &held))
            return false;
    return true;
}

// ---- life ----

static void host_init(struct process *p)
{
    p->host = (struct shard_host){
        .context = p,
        .clock_ms = host_clock,
        .monotonic_us = host_monotonic_us,
        .claim = host_claim,
        .restore = host_restore,
        .commit = host_commit,
        .commit_beside = host_commit_beside,
        .await_commit = host_await_commit,
        .load_month = host_load_month,
        .load_requests = host_load_requests,
        .refuse_request = host_refuse_request,
        .load_undecided = host_load_undecided,
        .note_waiting = host_note_waiting,
        .refresh_policy = host_refresh_policy,
        .policy = host_policy,
        .ask_ends = host_ask_ends,
        .take_ends = host_take_ends,
        .counts_right = host_counts_right,
        .writer_schemas_generation = host_writers_generation,
        .start = host_start,
        .next_block = host_next_block,
        .release_block = host_release_block,
        .let_look = host_let_look,
        .encoder = world_encoder(),
        .source = {.context = p,
                   .framing = p->world->first_policy.fixed.framing,
                   .find_writer = host_find_writer,
                   .scratch = world_scratch()},
        .metrics = p->metrics,
        .partitions = p->world->kafka.shards,
        .max_resident_calls = MAX_CALLS,
        .session_ms = SESSION_MS,
        .open_transaction_wait_ms = OPEN_TRANSACTION_WAIT_MS,
    };
    relay_fill_host(&p->host);
    memcpy(p->host.input_topics, topics, sizeof topics);
    memset(p->host.id_key, (int)p->world->options.seed, sizeof p->host.id_key);
}

void process_start(struct process *p, struct world *w, int number, bool draining)
{
    *p = (struct process){
        .number = number, .world = w, .alive = true, .draining = draining, .skew = p->skew};
    p->counted_at = -1;
    p->policy = w->postgres.policy;
    if (metrics_create(w->kafka.shards, topics, &p->metrics))
        abort();
    host_init(p);
    use_disk(p);
    // In a part of the worlds.
    p->beside.dice = dice_of(w->options.seed, PURPOSE_BESIDE, (uint64_t)number);
    if (dice_hit(&p->beside.dice, 30))
        p->host.long_rows = (size_t)dice_between(&p->beside.dice, 1, 4);
    memset(w->due[number], 0, sizeof w->due[number]);
    for (int32_t s = 0; s < w->kafka.shards; s++)
        for (int i = 0; i < INPUT_COUNT; i++)
            p->drain[s][i] = w->kafka.logs[s][i].stable;
}

void process_kill(struct process *p)
{
    if (!p->alive)
        return;
    for (int s = 0; s < SHARDS_MAX; s++) {
        shard_destroy(p->shards[s]);
        p->shards[s] = NULL;
    }
    disk_tear(&p->world->disks[p->disk], &p->writing, &p->disk_dice);
    for (int32_t s = 0; s < p->world->kafka.shards; s++) {
        p->world->snapshots.taken += p->metrics->shards[s].snapshots_taken;
        p->world->snapshots.refused += p->metrics->shards[s].snapshots_refused;
    }
    preview_destroy(p->preview);
    p->preview = NULL;
    metrics_destroy(p->metrics);
    p->metrics = NULL;
    p->alive = false;
}

void process_stop(struct process *p)
{
    for (int s = 0; s < SHARDS_MAX && p->alive; s++)
        if (p->shards[s])
            shard_finish(p->shards[s]);
    process_kill(p);
}
