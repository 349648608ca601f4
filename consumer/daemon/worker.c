#include "consumer/daemon/worker.h"

#include "consumer/daemon/long_commits.h"
#include "consumer/daemon/snapshot_files.h"
#include "consumer/months/months.h"
#include "consumer/system/clock.h"
#include "consumer/system/log.h"
#include "consumer/system/thread.h"

#include <assert.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    INTAKE_BYTES = 16 << 20, // of blocks, a worker: few enough to stay in a cache while they wait
    LONG_ROWS = 2000, // of a step that is committed beside: from some 20 ms on
    STILL_MS = 60000, // when a log that has more, but gives no record, is reported
    FIGURES_MS = 1000,
    // looked at for a step of month statements: some 20 ms, in which the other shards wait
    MONTH_ACCOUNTS = 500,
    SNAPSHOT_RECORDS = 1000000, // replayed within a second
    // there is no signal when an assignment is confirmed, or when the last worker has joined
    UNCONFIRMED_MS = 20,
    SLOW_FIGURES_MS = 5000,
    // for the fold thread to finish its step, and again after its statement was interrupted
    STOP_MS = 5000,
    LEAVE_MS = 5000, // for the consumer to leave the group
};

struct worker {
    struct worker_shared *shared;
    int number;
    struct intake *intake;
    struct store *store;
    struct long_commits *long_commits;
    struct snapshot_files *snapshots; // NULL: none are kept
    struct relay *relay;
    struct encoder *encoder;
    struct month_reader *months;
    size_t deployment_count;
    // in the order in which they were loaded; the last is in force, and folds may still use the
    // others
    struct deployment **deployments;
    struct decoder_scratch *scratch;
    struct shard_host host;
    struct shard **shards; // by partition; NULL: never assigned
    int32_t running; // the shard that is held; -1: none
    bool *assigned; // by partition, as of `assignment`
    uint64_t assignment; // seen; shards not assigned yet while `unconfirmed`
    bool unconfirmed;
    int64_t joined_at, figures_at, slow_figures_at;
    struct intake_position *told; // for commit_to_group
    int64_t resident_calls; // the share in shared->resident_calls
    pthread_t thread;
    pthread_t folder; // the same, set and read by the fold thread itself
    bool started;
    atomic_bool stopping;
    pthread_mutex_t lock;
    pthread_cond_t bell;
    // Under the lock:
    bool rung;
    struct worker_status status;
    bool *owned; // by partition
};

int64_t run_clock_ms(void *clock)
{
    const struct run_clock *run = clock;
    assert(run->speed >= 0);
    if (!run->set)
        return clock_wall_ms();
    return run->at_ms + run->speed * (clock_monotonic_ms() - run->since_ms);
}

static void ring(void *context)
{
    struct worker *worker = context;
    pthread_mutex_lock(&worker->lock);
    worker->rung = true;
    pthread_cond_signal(&worker->bell);
    pthread_mutex_unlock(&worker->lock);
}

static void fail_worker(struct worker *worker, const struct error *e)
{
    pthread_mutex_lock(&worker->lock);
    if (!worker->status.failed)
        worker->status.error = *e;
    worker->status.failed = true;
    pthread_mutex_unlock(&worker->lock);
}

// Shards, their store and their blocks have no lock: they belong to the fold thread while it runs.
static void check_folder(const struct worker *worker)
{
    assert(pthread_equal(pthread_self(), worker->folder));
}

// ---- the world, as shards see it ----

static int64_t host_clock(void *context)
{
    return run_clock_ms(((struct worker *)context)->shared->clock);
}

static int64_t host_monotonic_us(void *context)
{
    (void)context;
    return clock_monotonic_us();
}

// Others look at the shard while the database is waited for.
static struct store *begin_wait(struct worker *worker)
{
    check_folder(worker);
    if (worker->running >= 0)
        live_let_go(worker->shared->live, worker->running);
    return worker->store;
}

static enum store_result end_wait(struct worker *worker, enum store_result result)
{
    if (worker->running >= 0)
        live_hold(worker->shared->live, worker->running);
    return result;
}

static enum store_result host_claim(void *context, int32_t shard, struct shard_row *out,
                                    struct error *e)
{
    struct store *store = begin_wait(context);
    return end_wait(context, store_claim(store, shard, out, e));
}

static enum store_result host_restore(void *context, int32_t shard, const struct shard_row *row,
                                      struct fold *fold, struct error *e)
{
    struct store *store = begin_wait(context);
    return end_wait(context, store_restore(store, shard, row, fold, e));
}

static enum store_result host_commit(void *context, int32_t shard, struct shard_row *row,
                                     const struct commit_request *request, struct error *e)
{
    struct store *store = begin_wait(context);
    return end_wait(context, store_commit(store, shard, row, request, e));
}

static enum commit_progress host_commit_beside(void *context, int32_t shard, struct shard_row *row,
                                               const struct long_step *step,
                                               enum store_result *result, struct error *e)
{
    check_folder(context);
    return long_commit(((struct worker *)context)->long_commits, shard, row, step, result, e);
}

static void host_await_commit(void *context, int32_t shard)
{
    long_commit_await(((struct worker *)context)->long_commits, shard);
}

static enum store_result host_load_requests(void *context, int32_t shard, struct request *out,
                                            size_t capacity, size_t *count, struct error *e)
{
    struct store *store = begin_wait(context);
    return end_wait(context, store_load_requests(store, shard, out, capacity, count, e));
}

static enum store_result host_load_month(void *context, int32_t shard, day_t month,
                                         const char *after, struct month_page *out, struct error *e)
{
    struct worker *worker = context;
    const struct month_request request = {shard, month, after, MONTH_ACCOUNTS};
    struct store *store = begin_wait(worker);
    return end_wait(worker, months_load(store, &request, worker->months, out, e));
}

static enum store_result host_refuse_request(void *context, int64_t id, const char *why,
                                             struct error *e)
{
    struct store *store = begin_wait(context);
    return end_wait(context, store_refuse_request(store, id, why, e));
}

static enum store_result host_load_undecided(void *context, int32_t shard,
                                             struct undecided_rejects *out, size_t capacity,
                                             size_t *count, struct error *e)
{
    struct store *store = begin_wait(context);
    return end_wait(context, store_load_undecided(store, shard, out, capacity, count, e));
}

static enum store_result host_note_waiting(void *context, int32_t shard, int64_t epoch,
                                           const struct waiting_record *record, struct error *e)
{
    struct worker *worker = context;
    char answer[ERROR_TEXT_SIZE];
    struct waiting_record noted = *record;
    writer_schemas_answer(worker->shared->writers, record->schema_id, answer, sizeof answer);
    noted.answer = answer;
    struct store *store = begin_wait(worker);
    return end_wait(worker, store_note_waiting(store, shard, epoch, &noted, e));
}

static void deployment_free(struct deployment *deployment)
{
    if (!deployment)
        return;
    shelf_clear(&deployment->policy.shelf);
    free(deployment);
}

static const struct deployment *current_deployment(const struct worker *worker)
{
    return worker->deployment_count > 0 ? worker->deployments[worker->deployment_count - 1] : NULL;
}

static enum store_result refresh_policy(struct worker *worker, struct error *e)
{
    bool recorded;
    struct deployment *fresh = calloc(1, sizeof *fresh);
    if (!fresh) {
        error_set(e, ERROR_RESTART, "memory is short for the parameters");
        return STORE_FAILED;
    }
    enum store_result result = store_load_deployment(worker->store, fresh, &recorded, e);
    // A shard is only restored where its database has what is loaded here.
    if (result == STORE_OK && recorded)
        result = store_copy_recorded(worker->store, e);
    // Rows and books are only ever added.
    const struct deployment *known = current_deployment(worker);
    bool news = result == STORE_OK && recorded &&
                (!known || fresh->policy.count != known->policy.count ||
                 fresh->policy.shelf.count != known->policy.shelf.count);
    struct deployment **grown =
        news ? reallocarray(worker->deployments, worker->deployment_count + 1,
                            sizeof(struct deployment *))
             : NULL;
    if (!grown) {
        deployment_free(fresh);
        if (news) {
            error_set(e, ERROR_RESTART, "memory is short for the parameters");
            return STORE_FAILED;
        }
        return result;
    }
    worker->deployments = grown;
    worker->deployments[worker->deployment_count++] = fresh;
    if (known)
        worker->shared->recorded_news++;
    return STORE_OK;
}

static enum store_result host_refresh_policy(void *context, struct error *e)
{
    begin_wait(context);
    return end_wait(context, refresh_policy(context, e));
}

static const struct policy *host_policy(void *context)
{
    assert(current_deployment(context) != NULL);
    return &current_deployment(context)->policy;
}

static void host_relay_add(void *context, int32_t shard, int64_t epoch, int64_t mark)
{
    relay_add(((struct worker *)context)->relay, shard, epoch, mark);
}

static void host_relay_remove(void *context, int32_t shard)
{
    relay_remove(((struct worker *)context)->relay, shard);
}

static void host_relay_wake(void *context, int32_t shard, int64_t sequence)
{
    relay_wake(((struct worker *)context)->relay, shard, sequence);
}

static struct relay_status host_relay_status(void *context, int32_t shard)
{
    return relay_status(((struct worker *)context)->relay, shard);
}

static void host_ask_ends(void *context, int32_t shard, enum input input, int64_t since_ms)
{
    watermarks_ask(((struct worker *)context)->shared->ends, shard, input, since_ms);
}

static bool host_take_ends(void *context, int32_t shard, enum input input,
                           struct log_watermarks *out)
{
    return watermarks_take(((struct worker *)context)->shared->ends, shard, input, out);
}

static bool host_counts_right(void *context, int64_t read_at)
{
    return topic_counts_right(((struct worker *)context)->shared->counts, read_at);
}

static struct writer host_find_writer(void *context, enum input input, int64_t id)
{
    return writer_schemas_find(((struct worker *)context)->shared->writers, input, id);
}

static uint64_t host_writers_generation(void *context)
{
    return writer_schemas_generation(((struct worker *)context)->shared->writers);
}

static void host_start(void *context, int32_t shard, const int64_t offsets[INPUT_COUNT])
{
    struct worker *worker = context;
    check_folder(worker);
    assert(worker->assigned[shard]);
    intake_start(worker->intake, worker->assignment, shard, offsets);
}

static struct block *host_next_block(void *context, int32_t shard, enum input input)
{
    struct worker *worker = context;
    check_folder(worker);
    struct block *block = intake_next(worker->intake, shard, input);
    if (!block)
        return NULL;
    int64_t none = 0, now = clock_monotonic_ms();
    if (worker->shared->first_read_at == 0)
        atomic_compare_exchange_strong(&worker->shared->first_read_at, &none, now);
    worker->shared->last_read_at = now;
    return block;
}

static void host_release_block(void *context, int32_t shard, enum input input, struct block *block)
{
    struct worker *worker = context;
    intake_release(worker->intake, shard, input, block);
    worker->shared->last_read_at = clock_monotonic_ms();
}

static bool host_begin_snapshot(void *context, int32_t shard)
{
    (void)shard;
    return snapshot_files_begin(((struct worker *)context)->snapshots);
}

static void host_write_snapshot(void *context, int32_t shard, struct snapshot *snapshot)
{
    snapshot_files_write(((struct worker *)context)->snapshots, shard, snapshot);
}

static enum snapshot_found host_read_snapshot(void *context, int32_t shard, int back,
                                              struct snapshot_reader *reader,
                                              char name[SNAPSHOT_NAME_SIZE], struct error *e)
{
    return snapshot_files_read(((struct worker *)context)->snapshots, shard, back, reader, name, e);
}

static void host_let_look(void *context, int32_t shard)
{
    live_let_look(((struct worker *)context)->shared->live, shard);
}

static void host_init(struct worker *worker)
{
    const struct config *config = worker->shared->config;
    worker->host = (struct shard_host){
        .context = worker,
        .clock_ms = host_clock,
        .monotonic_us = host_monotonic_us,
        .claim = host_claim,
        .restore = host_restore,
        .commit = host_commit,
        .long_rows = LONG_ROWS,
        .commit_beside = host_commit_beside,
        .await_commit = host_await_commit,
        .load_requests = host_load_requests,
        .load_month = host_load_month,
        .refuse_request = host_refuse_request,
        .load_undecided = host_load_undecided,
        .note_waiting = host_note_waiting,
        .refresh_policy = host_refresh_policy,
        .policy = host_policy,
        .relay_add = host_relay_add,
        .relay_remove = host_relay_remove,
        .relay_wake = host_relay_wake,
        .relay_status = host_relay_status,
        .ask_ends = host_ask_ends,
        .take_ends = host_take_ends,
        .counts_right = host_counts_right,
        .writer_schemas_generation = host_writers_generation,
        .start = host_start,
        .next_block = host_next_block,
        .release_block = host_release_block,
        .let_look = host_let_look,
        .encoder = worker->encoder,
        .source = {.context = worker,
                   .framing = config->framing,
                   .find_writer = host_find_writer,
                   .scratch = worker->scratch},
        .metrics = worker->shared->metrics,
        .partitions = worker->shared->partitions,
        .max_resident_calls = config->max_calls_held,
        .session_ms = worker->shared->session_ms,
        .open_transaction_wait_ms = config->open_transaction_wait_ms,
    };
    if (worker->snapshots) {
        worker->host.begin_snapshot = host_begin_snapshot;
        worker->host.write_snapshot = host_write_snapshot;
        worker->host.read_snapshot = host_read_snapshot;
        worker->host.snapshot_records = SNAPSHOT_RECORDS;
    }
    memcpy(worker->host.id_key, current_deployment(worker)->id_key, sizeof worker->host.id_key);
    for (int i = 0; i < INPUT_COUNT; i++)
        worker->host.input_topics[i] = config->input_topics[i];
}

// ---- the fold thread ----

static void hold(struct worker *worker, int32_t shard)
{
    assert(worker->running < 0);
    live_hold(worker->shared->live, shard);
    worker->running = shard;
}

static void let_go(struct worker *worker)
{
    live_let_go(worker->shared->live, worker->running);
    worker->running = -1;
}

// The workers of a process join one after the other, and each join deals out all shards anew. Work
// that the first worker began would be wasted. False: wait for the others, for a bounded time.
static bool all_joined(struct worker *worker, int64_t mono_ms)
{
    if (!worker->joined_at) {
        worker->joined_at = mono_ms;
        worker->shared->joined++;
        assert(worker->shared->joined <= worker->shared->workers); // each once
    }
    return worker->shared->joined >= worker->shared->workers ||
           mono_ms - worker->joined_at > worker->shared->session_ms;
}

static void revoke(struct worker *worker, int32_t p, int64_t mono_ms)
{
    if (!worker->shards[p])
        return;
    hold(worker, p);
    shard_revoke(worker->shards[p], mono_ms);
    live_hide(worker->shared->live, p, worker->shards[p]);
    let_go(worker);
}

static void assign(struct worker *worker, int32_t p, int64_t mono_ms)
{
    hold(worker, p);
    shard_assign(worker->shards[p], mono_ms);
    live_show(worker->shared->live, p, worker->shards[p]);
    let_go(worker);
}

static void take_assignment(struct worker *worker, int64_t mono_ms)
{
    bool confirmed;
    uint64_t assignment = intake_assignment(worker->intake, worker->assigned, &confirmed);
    if (assignment == 0)
        return;
    assert(assignment >= worker->assignment);
    if (assignment != worker->assignment) {
        worker->assignment = assignment;
        worker->unconfirmed = true;
        for (int32_t p = 0; p < worker->shared->partitions; p++)
            revoke(worker, p, mono_ms);
    }
    if (!worker->unconfirmed || !confirmed || !all_joined(worker, mono_ms))
        return;
    worker->unconfirmed = false;
    int64_t count = 0;
    struct error e;
    for (int32_t p = 0; p < worker->shared->partitions; p++) {
        if (!worker->assigned[p])
            continue;
        if (!worker->shards[p])
            worker->shards[p] = shard_create(
                &worker->host, p, worker->shared->drain ? worker->shared->drain[p] : NULL);
        if (!worker->shards[p]) {
            error_set(&e, ERROR_RESTART, "memory is short for shard %" PRId32, p);
            fail_worker(worker, &e);
            return;
        }
        assign(worker, p, mono_ms);
        count++;
    }
    log_event(LOG_INFO, "shards assigned",
              LOG_FIELDS(log_int("worker", worker->number), log_int("shards", count)));
}

static void commit_to_group(struct worker *worker)
{
    size_t count = 0;
    for (int32_t p = 0; p < worker->shared->partitions; p++)
        if (worker->shards[p] && shard_positions(worker->shards[p], worker->told[count].offsets))
            worker->told[count++].shard = p;
    if (count > 0)
        intake_commit(worker->intake, worker->told, count);
}

static void check_resident_calls(struct worker *worker)
{
    int64_t own = 0, most = worker->shared->config->max_calls_held;
    for (int32_t p = 0; p < worker->shared->partitions; p++) {
        struct fold *fold = worker->shards[p] ? shard_fold(worker->shards[p]) : NULL;
        if (fold)
            own += fold_resident_calls(fold);
    }
    int64_t all = atomic_fetch_add(&worker->shared->resident_calls, own - worker->resident_calls) +
                  own - worker->resident_calls;
    worker->resident_calls = own;
    assert(own >= 0);
    assert(all >= own); // no other share is below zero
    if (all <= most)
        return;
    struct error e;
    shard_say_full(worker->shared->metrics, all, most, &e);
    fail_worker(worker, &e);
}

static void refresh_figures(struct worker *worker, int64_t mono_ms)
{
    if (mono_ms - worker->figures_at < FIGURES_MS)
        return;
    worker->figures_at = mono_ms;
    check_resident_calls(worker);
    for (int32_t p = 0; p < worker->shared->partitions; p++)
        for (enum input i = 0; worker->assigned[p] && i < INPUT_COUNT; i++) {
            int64_t end = intake_end(worker->intake, p, i);
            if (end > worker->shared->metrics->shards[p].end[i])
                worker->shared->metrics->shards[p].end[i] = end;
        }
    if (mono_ms - worker->slow_figures_at < SLOW_FIGURES_MS)
        return;
    worker->slow_figures_at = mono_ms;
    commit_to_group(worker);
    // New parameters are noticed long before their first day; the close of a day checks that.
    struct error e;
    (void)host_refresh_policy(worker, &e);
}

// Does nothing for a shard that this worker does not have.
static void check_unassigned(const struct shard *shard)
{
    enum shard_state state = shard_state(shard);
    assert(state == SHARD_NONE || state == SHARD_PARKED || state == SHARD_HALTED);
}

// A log that could not be read, and has more.
static bool is_unread(struct worker *worker, struct error *e)
{
    for (int32_t p = 0; p < worker->shared->partitions; p++)
        for (enum input i = 0; worker->assigned[p] && i < INPUT_COUNT; i++) {
            const struct shard_metrics *figures = &worker->shared->metrics->shards[p];
            if (figures->position[i] < figures->end[i] && intake_unread(worker->intake, p, i, e))
                return true;
        }
    return false;
}

// What Kafka does not do for this worker. False: nothing is known to be wrong, which may be so
// though it is no member of the group yet.
static bool find_kafka_trouble(struct worker *worker, bool *member, struct error *e)
{
    *member = intake_is_member(worker->intake, e);
    if (!*member && e->kind != ERROR_NONE)
        return true;
    if (is_unread(worker, e))
        return true;
    for (int32_t p = 0; p < worker->shared->partitions; p++) {
        if (!worker->assigned[p] || !worker->shared->metrics->shards[p].relay_trouble)
            continue;
        struct relay_status relay = relay_status(worker->relay, p);
        if (!relay.kafkas)
            continue;
        error_set(e, relay.error.kind, "publishing: %.1000s", relay.error.text);
        return true;
    }
    return false;
}

// What keeps its shards from their work. NULL: nothing does.
static const char *find_unready(const struct worker *worker, bool member,
                                char out[SHARD_UNREADY_SIZE])
{
    const char *why = NULL;
    if (worker->assignment == 0 || worker->unconfirmed || !member)
        return "it has no assignment yet";
    for (int32_t p = 0; p < worker->shared->partitions && !why; p++)
        if (worker->shards[p] && worker->assigned[p])
            why = shard_unready(worker->shards[p], out);
    return why;
}

static void tell_status(struct worker *worker, int64_t mono_ms)
{
    struct error e, trouble;
    bool running = worker->assignment > 0 && !worker->unconfirmed, drained = running, held = false;
    char unready[SHARD_UNREADY_SIZE];
    bool member, troubled = find_kafka_trouble(worker, &member, &trouble);
    const char *why = troubled ? trouble.text : find_unready(worker, member, unready);
    bool failed = intake_failed(worker->intake, &e);
    for (int32_t p = 0; p < worker->shared->partitions; p++) {
        struct shard *shard = worker->shards[p];
        if (!shard)
            continue;
        if (shard_state(shard) == SHARD_HALTED && !failed) {
            e = *shard_error(shard);
            failed = true;
        }
        if (!worker->assigned[p]) {
            check_unassigned(shard);
            continue;
        }
        bool shard_held;
        running = running && shard_state(shard) == SHARD_RUNNING;
        drained = drained && shard_drained(shard, &shard_held);
        held = held || (drained && shard_held);
    }
    if (failed)
        fail_worker(worker, &e);
    int64_t polled = intake_heartbeat(worker->intake);
    pthread_mutex_lock(&worker->lock);
    assert(worker->assignment >= worker->status.assignment);
    worker->status.assignment = worker->assignment;
    worker->status.ready = !why;
    worker->status.kafka_trouble = troubled;
    snprintf(worker->status.unready, sizeof worker->status.unready, "%s", why ? why : "");
    worker->status.drained = drained && running;
    worker->status.held = held;
    int64_t heartbeat = polled < mono_ms ? polled : mono_ms;
    assert(heartbeat >= worker->status.heartbeat);
    worker->status.heartbeat = heartbeat;
    memcpy(worker->owned, worker->assigned,
           (size_t)worker->shared->partitions * sizeof *worker->owned);
    pthread_mutex_unlock(&worker->lock);
}

static void wait_for_bell(struct worker *worker, int64_t until_ms)
{
    struct timespec until = {.tv_sec = until_ms / 1000, .tv_nsec = until_ms % 1000 * 1000000};
    pthread_mutex_lock(&worker->lock);
    while (!worker->rung && !worker->stopping &&
           pthread_cond_timedwait(&worker->bell, &worker->lock, &until) == 0) {}
    worker->rung = false;
    pthread_mutex_unlock(&worker->lock);
}

static void finish(struct worker *worker, int32_t p)
{
    if (!worker->shards[p])
        return;
    hold(worker, p);
    shard_finish(worker->shards[p]);
    live_hide(worker->shared->live, p, worker->shards[p]);
    let_go(worker);
}

static void *fold_main(void *argument)
{
    struct worker *worker = argument;
    int32_t partitions = worker->shared->partitions;
    worker->folder = pthread_self();
    while (!worker->stopping) {
        int64_t now = clock_monotonic_ms(), wake_at = now + FIGURES_MS / 5;
        bool more = false;
        take_assignment(worker, now);
        if (worker->unconfirmed)
            wake_at = now + UNCONFIRMED_MS;
        for (int32_t p = 0; p < partitions && !worker->stopping; p++) {
            if (!worker->shards[p])
                continue;
            hold(worker, p);
            more |= shard_run(worker->shards[p], now);
            let_go(worker);
            int64_t deadline = shard_deadline(worker->shards[p]);
            if (shard_state(worker->shards[p]) != SHARD_NONE && deadline < wake_at)
                wake_at = deadline;
        }
        refresh_figures(worker, now);
        tell_status(worker, now);
        if (!more)
            wait_for_bell(worker, wake_at);
    }
    for (int32_t p = 0; p < partitions; p++)
        finish(worker, p);
    return NULL;
}

// ---- life ----

static int create_relay(struct worker *worker, struct error *e)
{
    const struct worker_shared *shared = worker->shared;
    struct relay_options options = {
        .group = shared->config->group,
        .dsns = shared->config->dsns,
        .dsn_count = shared->config->dsn_count,
        .framing = shared->framing,
        .property_count = shared->properties.count,
        .properties = shared->properties.pairs,
        .clock_ms = run_clock_ms,
        .clock_context = shared->clock,
    };
    for (int i = 0; i < OUTPUT_COUNT; i++)
        options.topics[i] = shared->config->output_topics[i];
    return relay_create(&options, &worker->relay, e);
}

static int create_intake(struct worker *worker, struct error *e)
{
    const struct worker_shared *shared = worker->shared;
    struct intake_options options = {
        .group = shared->config->group,
        .partitions = shared->partitions,
        .properties = shared->properties,
        .memory = INTAKE_BYTES,
        .still_ms = STILL_MS,
        .ring = ring,
        .context = worker,
    };
    for (int i = 0; i < INPUT_COUNT; i++)
        options.topics[i] = shared->config->input_topics[i];
    return intake_create(&options, &worker->intake, e);
}

static void free_worker(struct worker *worker)
{
    for (int32_t p = 0; worker->shards && p < worker->shared->partitions; p++)
        shard_destroy(worker->shards[p]);
    worker->shared->resident_calls -= worker->resident_calls;
    relay_destroy(worker->relay);
    long_commits_destroy(worker->long_commits);
    store_close(worker->store);
    month_reader_free(worker->months);
    encoder_destroy(worker->encoder);
    for (size_t i = 0; i < worker->deployment_count; i++)
        deployment_free(worker->deployments[i]);
    free(worker->deployments);
    pthread_cond_destroy(&worker->bell);
    pthread_mutex_destroy(&worker->lock);
    free(worker->shards);
    free(worker->assigned);
    free(worker->owned);
    free(worker->told);
    free(worker->scratch);
    free(worker);
}

static int create_parts(struct worker *worker, struct error *e)
{
    size_t partitions = (size_t)worker->shared->partitions;
    worker->shards = calloc(partitions, sizeof(struct shard *));
    worker->assigned = calloc(partitions, sizeof *worker->assigned);
    worker->owned = calloc(partitions, sizeof *worker->owned);
    worker->scratch = calloc(1, sizeof *worker->scratch);
    worker->told = calloc(partitions, sizeof *worker->told);
    if (!worker->shards || !worker->assigned || !worker->owned || !worker->scratch || !worker->told)
        return error_set(e, ERROR_RESTART, "memory is short for a worker");
    if (store_open_all(worker->shared->config->dsns, worker->shared->config->dsn_count,
                       STORE_WRITES, &worker->store, e) ||
        long_commits_create(worker->shared->config, ring, worker, &worker->long_commits, e) ||
        encoder_create(&worker->encoder, e))
        return -1;
    if (worker->shared->config->snapshots[0] &&
        snapshot_files_create(worker->shared->config->snapshots, worker->shared->metrics,
                              &worker->snapshots, e))
        return -1;
    worker->months = month_reader_create();
    store_advertise(worker->store, worker->shared->address);
    if (refresh_policy(worker, e) != STORE_OK)
        return -1;
    if (!current_deployment(worker))
        return error_set(e, ERROR_BUG, "the deployment is not recorded");
    host_init(worker);
    if (create_relay(worker, e) || create_intake(worker, e))
        return -1;
    if (pthread_create(&worker->thread, NULL, fold_main, worker))
        return error_set(e, ERROR_RESTART, "no thread can be started");
    worker->started = true;
    return 0;
}

int worker_create(struct worker_shared *shared, int number, struct worker **out, struct error *e)
{
    assert(number >= 0);
    assert(number < shared->workers);
    *out = NULL;
    struct worker *worker = calloc(1, sizeof *worker);
    if (!worker)
        return error_set(e, ERROR_RESTART, "memory is short for a worker");
    worker->shared = shared;
    worker->number = number;
    worker->running = -1;
    worker->status.heartbeat = clock_monotonic_ms();
    pthread_mutex_init(&worker->lock, NULL);
    thread_init_condition(&worker->bell);
    if (create_parts(worker, e) == 0) {
        *out = worker;
        return 0;
    }
    intake_destroy(worker->intake, LEAVE_MS);
    snapshot_files_destroy(worker->snapshots);
    free_worker(worker);
    return -1;
}

int worker_join(struct worker *worker, struct error *e)
{
    return intake_join(worker->intake, e);
}

void worker_stop(struct worker *worker)
{
    worker->stopping = true;
    ring(worker);
}

bool worker_destroy(struct worker *worker)
{
    if (!worker)
        return true;
    assert(worker->started);
    worker_stop(worker);
    if (!thread_join_within(worker->thread, STOP_MS)) {
        store_interrupt(worker->store);
        long_commits_interrupt(worker->long_commits);
        if (!thread_join_within(worker->thread, STOP_MS))
            return false;
    }
    long_commits_interrupt(worker->long_commits); // of a shard that halted meanwhile
    // Blocks are given back before the intake is destroyed.
    for (int32_t p = 0; p < worker->shared->partitions; p++) {
        shard_destroy(worker->shards[p]);
        worker->shards[p] = NULL;
    }
    if (!snapshot_files_destroy(worker->snapshots)) {
        log_event(LOG_WARN, "writing a snapshot hangs, ending without it",
                  LOG_FIELDS(log_int("worker", worker->number),
                             log_text("folder", worker->shared->config->snapshots)));
        return false;
    }
    bool left = intake_destroy(worker->intake, LEAVE_MS);
    if (!left)
        log_event(LOG_WARN, "leaving the consumer group hangs, ending without it",
                  LOG_FIELDS(log_int("worker", worker->number)));
    free_worker(worker);
    return left;
}

void worker_status(struct worker *worker, struct worker_status *out, bool *shards)
{
    pthread_mutex_lock(&worker->lock);
    *out = worker->status;
    for (int32_t p = 0; p < worker->shared->partitions; p++)
        shards[p] = shards[p] || worker->owned[p];
    pthread_mutex_unlock(&worker->lock);
}
