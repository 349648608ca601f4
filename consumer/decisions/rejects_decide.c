// accept, pass, refuse, requeue: asks for decisions, which the shards' owners take in steps of
// their folds. One request covers all records of a partition.
#include "consumer/cli/args.h"
#include "consumer/decisions/rejects.h"
#include "consumer/decisions/rejects_send.h"

#include "consumer/system/clock.h"
#include "consumer/system/fault.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { LOOK_AGAIN_MS = 200 };

struct deciding {
    struct rejects *r;
    enum decision_kind kind;
    bool dry_run;
    struct batches chosen;
    struct sender *sender; // of a requeue
    size_t refused; // records and requests that could not be decided; the others went on
};

// ---- which records ----

static bool parse_number(const char *text, const char *end, int64_t max, int64_t *out)
{
    char *stop;
    if (text == end || *text < '0' || *text > '9')
        return false;
    *out = strtoll(text, &stop, 10);
    return stop == end && *out <= max;
}

static int parse_coordinates(const struct deciding *d, const char *text, struct coordinates *out,
                             struct error *e)
{
    const char *first = strchr(text, '/'), *second = first ? strchr(first + 1, '/') : NULL;
    int64_t partition, offset;
    if (!second ||
        !parse_number(first + 1, second, d->r->recorded->policy.fixed.partitions - 1, &partition) ||
        !parse_number(second + 1, text + strlen(text), INT64_MAX - 1, &offset))
        return error_set(e, ERROR_USAGE,
                         "'%s' is not TOPIC/PARTITION/OFFSET, as 'settled rejects list' shows them",
                         text);
    for (enum input i = 0; i < INPUT_COUNT; i++)
        if (strlen(d->r->recorded->topics[i]) == (size_t)(first - text) &&
            memcmp(d->r->recorded->topics[i], text, (size_t)(first - text)) == 0) {
            *out = (struct coordinates){i, (int32_t)partition, offset};
            return 0;
        }
    return error_set(e, ERROR_USAGE, "'%s': there is no such input topic", text);
}

static int choose_row(void *context, const struct reject_row *row, struct error *e)
{
    struct deciding *d = context;
    (void)e;
    // What is refused waits; what is accepted or requeued is a reject.
    if (row->request == 0 && row->waiting == (d->kind == DECISION_REFUSE))
        batches_add(&d->chosen, (struct coordinates){row->input, row->shard, row->offset}, 0);
    return 0;
}

static int choose(struct deciding *d, struct error *e)
{
    const struct args *args = d->r->args;
    struct reject_filter filter = d->r->filter;
    for (size_t i = 1; i < args->operand_count; i++) {
        struct coordinates at;
        if (parse_coordinates(d, args->operands[i], &at, e))
            return -1;
        batches_add(&d->chosen, at, 0);
    }
    if (args->operand_count > 1 && d->r->filtered)
        return error_set(e, ERROR_USAGE, "name records or filter them, not both");
    if (args->operand_count > 1)
        return 0;
    if (d->kind == DECISION_PASS)
        return error_set(e, ERROR_USAGE,
                         "pass needs the record that waits, as TOPIC/PARTITION/OFFSET");
    if (!d->r->filtered && !args_get(args, "all"))
        return error_set(e, ERROR_USAGE,
                         "name the records (TOPIC/PARTITION/OFFSET), filter them, or say --all");
    filter.open_only = true;
    filter.waiting = d->kind == DECISION_REFUSE;
    return rejects_stored(store_list_rejects(d->r->store, &filter, choose_row, d, e));
}

// ---- asking ----

static struct ask ask_of(const struct deciding *d, const struct batch *batch)
{
    return (struct ask){
        .kind = d->kind,
        .input = batch->input,
        .shard = batch->partition,
        .count = batch->count,
        .offsets = batch->offsets,
        .now_ms = clock_wall_ms(),
        .patience_ms = d->r->config.patience_ms,
    };
}

static void tell(const struct deciding *d, const struct batch *batch, enum request_state state)
{
    char name[BATCH_NAME_SIZE];
    printf("%s: %s, request %" PRId64 ": %s\n", batch_name(d->r, batch, name),
           decision_symbol(d->kind), batch->request,
           state == REQUEST_WAITING ? "waits for the owner of the shard"
                                    : request_state_symbol(state));
}

static int try_batch(struct deciding *d, const struct batch *batch, struct error *e)
{
    char name[BATCH_NAME_SIZE], content[DECISION_CONTENT_SIZE];
    const struct ask question = ask_of(d, batch);
    if (rejects_stored(store_try_request(d->r->store, &question, e)))
        return -1;
    decision_content(&(struct decided_records){d->r->recorded->topics[batch->input],
                                               batch->partition, batch->count, batch->offsets},
                     content);
    printf("%s: %s %s: nothing is written, as --dry-run says\n", batch_name(d->r, batch, name),
           decision_symbol(d->kind), content);
    return 0;
}

static int ask_batch(struct deciding *d, struct batch *batch, struct error *e)
{
    struct asked asked;
    const struct ask question = ask_of(d, batch);
    if (rejects_stored(store_add_request(d->r->store, &question, &asked, e)))
        return -1;
    batch->request = asked.id;
    fault_point(requeue_asked);
    // What an earlier program left half-way was completed, but for what cannot be sent.
    if (asked.made && d->kind == DECISION_REQUEUE)
        return sender_send(d->sender, batch, e);
    tell(d, batch, asked.state);
    return 0;
}

// If one request cannot be made, the others still are; if a service fails, everything stops.
static int refuse(struct deciding *d, const struct batch *batch, const struct error *e)
{
    char name[BATCH_NAME_SIZE];
    assert(e->kind != ERROR_NONE);
    if (e->kind != ERROR_CONFIG)
        return -1;
    fprintf(stderr, "settled rejects: %s\n", e->text);
    if (batch->count > 1)
        fprintf(stderr, "settled rejects: so nothing is decided about %s\n",
                batch_name(d->r, batch, name));
    d->refused++;
    return 0;
}

static int ask_all(struct deciding *d, struct error *e)
{
    for (size_t i = 0; i < d->chosen.count; i++) {
        struct batch *batch = &d->chosen.list[i];
        if (batch->count == 0)
            continue; // none of them can be sent
        int status = d->dry_run ? try_batch(d, batch, e) : ask_batch(d, batch, e);
        if (status && refuse(d, batch, e))
            return -1;
    }
    return 0;
}

// The records are read first: a requeue that cannot be sent must not be recorded.
static int prepare_requeue(struct deciding *d, struct error *e)
{
    if (sender_open(d->r, &d->sender, e) ||
        (!d->dry_run && sender_begin(d->sender, &d->refused, e)))
        return -1;
    for (size_t i = 0; i < d->chosen.count; i++)
        if (sender_check(d->sender, &d->chosen.list[i], &d->refused, e))
            return -1;
    return 0;
}

// ---- waiting for the answers ----

static int take_answer(struct deciding *d, const struct batch *batch, bool *open, struct error *e)
{
    struct request_answer answer;
    char name[BATCH_NAME_SIZE];
    if (rejects_stored(store_load_answer(d->r->store, batch->request, &answer, e)))
        return -1;
    *open = answer.state != REQUEST_DONE && answer.state != REQUEST_REFUSED;
    if (answer.state == REQUEST_DONE)
        printf("%s: decision %" PRId64 "\n", batch_name(d->r, batch, name), answer.decision);
    if (answer.state == REQUEST_REFUSED) {
        fprintf(stderr, "settled rejects: %s: refused: %s\n", batch_name(d->r, batch, name),
                answer.text);
        d->refused++;
    }
    return 0;
}

// *left: how many requests are still without an answer when the time is up.
static int await_answers(struct deciding *d, int64_t wait_ms, size_t *left, struct error *e)
{
    int64_t end = clock_wall_ms() + wait_ms;
    *left = 0;
    for (size_t i = 0; i < d->chosen.count; i++) {
        bool open = d->chosen.list[i].request != 0;
        while (open) {
            if (take_answer(d, &d->chosen.list[i], &open, e))
                return -1;
            if (!open || clock_wall_ms() >= end)
                break;
            nanosleep(&(struct timespec){.tv_nsec = LOOK_AGAIN_MS * 1000000L}, NULL);
        }
        *left += open;
    }
    return 0;
}

int rejects_decide(struct rejects *r, enum decision_kind kind, int *status, struct error *e)
{
    struct deciding d = {.r = r, .kind = kind, .dry_run = args_get(r->args, "dry-run") != NULL};
    int64_t wait_s;
    size_t left = 0;
    int failed = args_integer(r->args, "wait", 0, 86400, 0, &wait_s, e);
    if (!failed)
        failed = choose(&d, e);
    if (!failed && kind == DECISION_REQUEUE)
        failed = prepare_requeue(&d, e);
    if (!failed)
        failed = ask_all(&d, e);
    if (!failed && wait_s > 0)
        failed = await_answers(&d, wait_s * 1000, &left, e);
    if (!failed && d.chosen.count == 0)
        puts("no open rejects without a request");
    if (left > 0)
        fprintf(stderr,
                "settled rejects: %zu without an answer after %" PRId64 " s; is settled run up?\n",
                left, wait_s);
    *status = d.refused ? error_exit_status(ERROR_CONFIG)
              : left    ? error_exit_status(ERROR_RESTART)
                        : 0;
    sender_close(d.sender);
    batches_free(&d.chosen);
    return failed;
}
