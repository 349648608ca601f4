// accept, pass, requeue: asks for a decision, which the shard's owner takes in a step of its fold.
#include "consumer/cli/args.h"
#include "consumer/decisions/rejects.h"

#include "consumer/kafka/fetch_record.h"
#include "consumer/kafka/requeue.h"
#include "consumer/system/clock.h"
#include "consumer/system/fault.h"

#include <assert.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { READ_TIMEOUT_MS = 10000, LOOK_AGAIN_MS = 200 };

// A request that is recorded, or will be.
struct item {
    struct coordinates at;
    int64_t request; // 0: not asked yet
};

struct items {
    size_t count, capacity;
    struct item *list;
};

struct deciding {
    struct rejects *r;
    enum decision_kind kind;
    char operator_name[256];
    struct items chosen, half_way;
    struct client_properties properties;
    const char *pairs[CONFIG_PAIRS_MAX][2];
    struct record_fetcher *peek; // of a requeue, as the next
    struct requeue *sender;
    size_t refused; // records that could not be decided; the others went on
};

static void add_item(struct items *items, struct item item)
{
    if (items->count == items->capacity) {
        items->capacity = items->capacity ? 2 * items->capacity : 64;
        items->list = realloc(items->list, items->capacity * sizeof *items->list);
        if (!items->list)
            abort(); // out of memory
    }
    items->list[items->count++] = item;
}

static const char *where(const struct deciding *d, struct coordinates at, char out[320])
{
    snprintf(out, 320, "%s/%" PRId32 "/%" PRId64, d->r->recorded->topics[at.input], at.partition,
             at.offset);
    return out;
}

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
        add_item(&d->chosen, (struct item){{row->input, row->shard, row->offset}, 0});
    return 0;
}

static int choose(struct deciding *d, struct error *e)
{
    const struct args *args = d->r->args;
    struct reject_filter filter = d->r->filter;
    for (size_t i = 1; i < args->operand_count; i++) {
        struct item item = {0};
        if (parse_coordinates(d, args->operands[i], &item.at, e))
            return -1;
        add_item(&d->chosen, item);
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

static int name_operator(struct deciding *d, struct error *e)
{
    const char *name = args_get(d->r->args, "operator");
    const struct passwd *user = name ? NULL : getpwuid(getuid());
    if (!name)
        name = getenv("SUDO_USER");
    if (!name && user)
        name = user->pw_name;
    if (!name || !*name || strlen(name) >= sizeof d->operator_name)
        return error_set(e, ERROR_USAGE, "who decides is recorded: name yourself with --operator");
    snprintf(d->operator_name, sizeof d->operator_name, "%s", name);
    return 0;
}

// ---- asking ----

static int ask(struct deciding *d, struct item *item, enum request_state *state, struct error *e)
{
    struct ask question = {
        .kind = d->kind,
        .input = item->at.input,
        .shard = item->at.partition,
        .offset = item->at.offset,
        .operator_name = d->operator_name,
        .now_ms = clock_wall_ms(),
        .patience_ms = d->r->config.patience_ms,
    };
    return rejects_stored(store_add_request(d->r->store, &question, &item->request, state, e));
}

static void tell(const struct deciding *d, const struct item *item, enum request_state state)
{
    char text[320];
    printf("%s: %s, request %" PRId64 ": %s\n", where(d, item->at, text), decision_symbol(d->kind),
           item->request,
           state == REQUEST_WAITING ? "waits for the owner of the shard"
                                    : request_state_symbol(state));
}

// If one record cannot be decided, the others still are; if a service fails, everything stops.
static int refuse(struct deciding *d, const struct error *e)
{
    assert(e->kind != ERROR_NONE);
    if (e->kind != ERROR_CONFIG)
        return -1;
    fprintf(stderr, "settled rejects: %s\n", e->text);
    d->refused++;
    return 0;
}

static int ask_all(struct deciding *d, struct error *e)
{
    for (size_t i = 0; i < d->chosen.count; i++) {
        enum request_state state;
        if (ask(d, &d->chosen.list[i], &state, e) == 0)
            tell(d, &d->chosen.list[i], state);
        else if (refuse(d, e))
            return -1;
    }
    return 0;
}

// ---- requeue ----

static int collect_half_way(void *context, const struct reject_row *row, struct error *e)
{
    struct deciding *d = context;
    (void)e;
    if (row->request && row->request_state == REQUEST_SENDING)
        add_item(&d->half_way, (struct item){{row->input, row->shard, row->offset}, row->request});
    return 0;
}

static int read_original(struct deciding *d, struct coordinates at, rd_kafka_message_t **out,
                         struct error *e)
{
    char text[320];
    const struct record_coordinates there = {d->r->recorded->topics[at.input], at.partition,
                                             at.offset};
    if (fetch_record_at(d->peek, there, READ_TIMEOUT_MS, out, e)) {
        if (e->kind == ERROR_CONFIG)
            error_context(e, "it cannot be requeued; its bytes are in the topic of rejects");
        return -1;
    }
    if ((*out)->key)
        return 0;
    rd_kafka_message_destroy(*out);
    return error_set(
        e, ERROR_CONFIG,
        "%s has no key, so it belongs to no partition; let its producer send it again, and "
        "accept this one",
        where(d, at, text));
}

static int record_sent(struct deciding *d, const struct item *item,
                       const struct requeue_position *sent, struct error *e)
{
    char text[320];
    if (rejects_stored(
            store_request_sent(d->r->store, item->request, sent->partition, sent->offset, e)))
        return -1;
    fault_point(requeue_recorded);
    printf("%s: REQUEUE, request %" PRId64 ": sent to %s/%" PRId32 "/%" PRId64 "\n",
           where(d, item->at, text), item->request, d->r->recorded->topics[item->at.input],
           sent->partition, sent->offset);
    return 0;
}

// The request is recorded as being sent. The original record is read again each time, since the
// topic may have lost it meanwhile.
static int send_item(struct deciding *d, const struct item *item,
                     const rd_kafka_message_t *original, struct error *e)
{
    const struct fixed_parameters *fixed = &d->r->recorded->policy.fixed;
    struct requeue_position sent;
    int32_t partition =
        partition_of(fixed->partitioner, original->key, original->key_len, fixed->partitions);
    assert(partition >= 0);
    assert(partition < fixed->partitions);
    // If the topic has the producers' timestamps, the record keeps its own: the time by which it is
    // judged must not change.
    int64_t timestamp =
        fixed->timestamps == TIMESTAMPS_CREATE ? rd_kafka_message_timestamp(original, NULL) : 0;
    const struct requeue_order order = {item->request, original, partition, timestamp};
    if (requeue_send(d->sender, &order, &sent, e))
        return -1;
    return record_sent(d, item, &sent, e);
}

// Requests that an earlier program left half-way: their record was sent exactly if Kafka's position
// names them (requeue.h).
static int settle_half_way(struct deciding *d, struct error *e)
{
    const struct reject_filter all = {.open_only = true};
    const struct requeue_position last = requeue_last(d->sender);
    if (rejects_stored(store_list_rejects(d->r->store, &all, collect_half_way, d, e)))
        return -1;
    for (size_t i = 0; i < d->half_way.count; i++) {
        const struct item *item = &d->half_way.list[i];
        if (item->request != last.request)
            continue;
        if (record_sent(d, item, &last, e))
            return -1;
    }
    for (size_t i = 0; i < d->half_way.count; i++) {
        const struct item *item = &d->half_way.list[i];
        rd_kafka_message_t *original;
        if (item->request == last.request)
            continue;
        if (read_original(d, item->at, &original, e)) {
            if (refuse(d, e))
                return -1;
            continue;
        }
        int status = send_item(d, item, original, e);
        rd_kafka_message_destroy(original);
        if (status)
            return -1;
    }
    return 0;
}

static int requeue_item(struct deciding *d, struct item *item, struct error *e)
{
    enum request_state state;
    rd_kafka_message_t *original;
    // The record is read first: a requeue that cannot be sent must not be recorded.
    if (read_original(d, item->at, &original, e))
        return -1;
    int status = ask(d, item, &state, e);
    fault_point(requeue_asked);
    if (status == 0 && state == REQUEST_SENDING)
        status = send_item(d, item, original, e);
    else if (status == 0)
        tell(d, item, state);
    rd_kafka_message_destroy(original);
    return status;
}

static int requeue_all(struct deciding *d, struct error *e)
{
    d->properties = config_properties(&d->r->config, d->pairs);
    struct requeue_options options = {
        .group = d->r->config.group,
        .position_topic = d->r->recorded->topics[INPUT_CALLS],
        .properties = d->properties,
    };
    if (fetch_record_open(&d->properties, d->r->config.group, &d->peek, e) ||
        requeue_create(&options, &d->sender, e) || settle_half_way(d, e))
        return -1;
    for (size_t i = 0; i < d->chosen.count; i++)
        if (requeue_item(d, &d->chosen.list[i], e) && refuse(d, e))
            return -1;
    return 0;
}

// ---- waiting for the answers ----

static int take_answer(struct deciding *d, const struct item *item, bool *open, struct error *e)
{
    struct request_answer answer;
    char text[320];
    if (rejects_stored(store_load_answer(d->r->store, item->request, &answer, e)))
        return -1;
    *open = answer.state != REQUEST_DONE && answer.state != REQUEST_REFUSED;
    if (answer.state == REQUEST_DONE)
        printf("%s: decision %" PRId64 "\n", where(d, item->at, text), answer.decision);
    if (answer.state == REQUEST_REFUSED) {
        fprintf(stderr, "settled rejects: %s: refused: %s\n", where(d, item->at, text),
                answer.text);
        d->refused++;
    }
    return 0;
}

// *left: how many are still without an answer when the time is up.
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
    struct deciding d = {.r = r, .kind = kind};
    int64_t wait_s;
    size_t left = 0;
    int failed = args_integer(r->args, "wait", 0, 86400, 0, &wait_s, e);
    if (!failed)
        failed = name_operator(&d, e);
    if (!failed)
        failed = choose(&d, e);
    if (!failed)
        failed = kind == DECISION_REQUEUE ? requeue_all(&d, e) : ask_all(&d, e);
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
    requeue_destroy(d.sender);
    fetch_record_close(d.peek);
    free(d.chosen.list);
    free(d.half_way.list);
    return failed;
}
