// Posts an ADJUSTMENT to the credits, and says what became of it.
//
// The record depends on the command line alone: its time is the start of the date, its id is given
// or derived from date, account, amount, reason and reference. So the same command sends the same
// record, however often it is repeated after a failure, and the fold books one of them (R30).
#include "consumer/base/format.h"
#include "consumer/base/text.h"
#include "consumer/cli/cli_fail.h"
#include "consumer/config/config.h"
#include "consumer/decisions/decisions.h"
#include "consumer/decisions/decisions_open.h"
#include "consumer/kafka/client.h"
#include "consumer/kafka/refusal.h"
#include "consumer/postgres/store.h"
#include "consumer/preflight/schema_ids.h"
#include "consumer/system/clock.h"
#include "consumer/workload/input_encode.h"
#include "pricing/money.h"

#include <assert.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    SEND_MS = 30000,
    ASK_PARTITIONS_MS = 15000,
    LOOK_MS = 200,
    REASON_MAX = 1000, // bytes of a reason or reference
    DERIVED_DIGITS = 16, // hex digits of the digest in an id
    VALUE_SIZE = 4096,
    WAIT_MAX_S = 86400,
};

struct adjustment {
    const struct args *args;
    struct config config;
    struct store *store;
    struct deployment *recorded;
    const char *account, *reason, *reference;
    day_t day;
    fen_t amount;
    char id[ID_SIZE_MAX + 1];
    int64_t wait_s;
    int64_t credited_at; // ms
    int32_t partition;
    bool delivered;
    rd_kafka_resp_err_t delivery;
    int64_t offset; // where the record stands; -1: not sent
};

// ---- the command line ----

// "-1234.50", "+30", "0.5": yuan with up to two decimals.
static bool parse_yuan(const char *text, fen_t *out)
{
    const char *at = text;
    bool negative = *at == '-';
    fen_t fen = 0;
    int decimals = -1; // behind the point; -1: before it
    if (*at == '-' || *at == '+')
        at++;
    if (*at < '0' || *at > '9')
        return false;
    for (; *at; at++) {
        if (*at == '.' && decimals < 0) {
            decimals = 0;
            continue;
        }
        if (*at < '0' || *at > '9' || decimals == 2 || fen > AMOUNT_MAX)
            return false;
        fen = fen * 10 + (*at - '0');
        decimals += decimals >= 0;
    }
    if (decimals == 0) // a point without digits
        return false;
    for (int digits = decimals < 0 ? 0 : decimals; digits < 2; digits++)
        fen *= 10;
    *out = negative ? -fen : fen;
    return fen <= AMOUNT_MAX;
}

static int read_amount(struct adjustment *a, struct error *e)
{
    const char *text = args_get(a->args, "amount");
    if (!text)
        return error_set(e, ERROR_USAGE,
                         "say by how much: --amount YUAN, negative to take from the account");
    if (!parse_yuan(text, &a->amount))
        return error_set(e, ERROR_USAGE,
                         "option --amount: '%s' is not an amount in yuan with up to two decimals, "
                         "such as -120.50, up to 100,000,000,000",
                         text);
    if (a->amount == 0)
        return error_set(e, ERROR_USAGE, "option --amount: an adjustment by 0 changes nothing");
    return 0;
}

// A text for people, on one line.
static int check_note(const char *option, const char *text, struct error *e)
{
    const char *end = text + strlen(text);
    if (!*text || end - text > REASON_MAX)
        return error_set(e, ERROR_USAGE, "option --%s: 1 to %d bytes are allowed", option,
                         REASON_MAX);
    for (const char *at = text; at < end;) {
        int size = text_sequence(at, end);
        if (size < 0 || (unsigned char)*at < 0x20 || *at == 0x7f)
            return error_set(e, ERROR_USAGE,
                             "option --%s: it is not UTF-8, or has a control character", option);
        at += size;
    }
    return 0;
}

static int read_notes(struct adjustment *a, struct error *e)
{
    a->reason = args_get(a->args, "reason");
    a->reference = args_get(a->args, "reference");
    if (!a->reason)
        return error_set(e, ERROR_USAGE, "say why: --reason TEXT; statements show it");
    if (check_note("reason", a->reason, e))
        return -1;
    return a->reference ? check_note("reference", a->reference, e) : 0;
}

static int read_account(struct adjustment *a, struct error *e)
{
    const char *why;
    a->account = a->args->operands[0];
    if (text_is_id(slice_text(a->account), &why))
        return 0;
    return error_set(e, ERROR_USAGE, "the account %s", why);
}

// ---- what is recorded ----

static const struct book *book_of(const struct adjustment *a)
{
    assert(a->recorded->policy.shelf.count > 0);
    return a->recorded->policy.shelf.books[0];
}

static int read_date(struct adjustment *a, struct error *e)
{
    int32_t offset_ms = book_of(a)->offset_ms;
    day_t today = calendar_day(clock_wall_ms(), offset_ms);
    if (args_day(a->args, "date", &a->day, e))
        return -1;
    if (a->day == DAY_NONE)
        a->day = today;
    if (a->day > today)
        return error_set(e, ERROR_USAGE,
                         "option --date: that day has not begun; an adjustment counts once it is "
                         "in the topic, whatever its date");
    a->credited_at = calendar_day_start(a->day, offset_ms);
    return 0;
}

static void hash_text(EVP_MD_CTX *md, const char *text)
{
    // Its length first, so that no two lists of texts are the same bytes.
    uint64_t size = text ? strlen(text) : UINT64_MAX;
    EVP_DigestUpdate(md, &size, sizeof size);
    if (text)
        EVP_DigestUpdate(md, text, strlen(text));
}

// Two equal adjustments of one date are one, unless they are given different ids.
static int read_credit_id(struct adjustment *a, struct error *e)
{
    const char *given = args_get(a->args, "id"), *why;
    unsigned char digest[EVP_MAX_MD_SIZE];
    char day[DAY_TEXT_SIZE];
    if (given && !text_is_id(slice_text(given), &why))
        return error_set(e, ERROR_USAGE, "option --id: it %s", why);
    if (given) {
        snprintf(a->id, sizeof a->id, "%s", given);
        return 0;
    }
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    if (!md || !EVP_DigestInit_ex(md, EVP_sha256(), NULL))
        abort(); // out of memory
    hash_text(md, a->account);
    hash_text(md, a->reason);
    hash_text(md, a->reference);
    EVP_DigestUpdate(md, &a->amount, sizeof a->amount);
    EVP_DigestFinal_ex(md, digest, NULL);
    EVP_MD_CTX_free(md);
    int used = snprintf(a->id, sizeof a->id, "adjust-%s-", calendar_format_day(a->day, day));
    for (int i = 0; i < DERIVED_DIGITS / 2; i++)
        used += snprintf(a->id + used, sizeof a->id - (size_t)used, "%02x", digest[i]);
    return 0;
}

// ---- what the account has ----

static int find(struct adjustment *a, struct found_credit *out, struct error *e)
{
    return store_find_credit(a->store, a->account, a->id, out, e) == STORE_OK ? 0 : -1;
}

// *done: this very adjustment is accepted already.
static int check_account(struct adjustment *a, bool *done, struct error *e)
{
    struct found_credit found;
    char yuan[MONEY_TEXT_SIZE];
    if (find(a, &found, e))
        return -1;
    *done = found.accepted;
    if (found.accepted && (found.amount != a->amount || found.kind != CREDIT_ADJUSTMENT))
        return error_set(e, ERROR_CONFIG,
                         "%s has a credit with the id %s already, a%s of %s yuan: give this one "
                         "another --id",
                         a->account, a->id,
                         found.kind == CREDIT_ADJUSTMENT ? "n adjustment" : " top-up",
                         money_format_yuan(found.amount, yuan));
    if (found.known || args_get(a->args, "new-account"))
        return 0;
    return error_set(e, ERROR_CONFIG,
                     "there is no account %s yet: mend its name, or say --new-account to begin it "
                     "with this adjustment",
                     a->account);
}

// ---- Kafka ----

static void on_adjusted(rd_kafka_t *client, const rd_kafka_message_t *message, void *opaque)
{
    struct adjustment *a = opaque;
    (void)client;
    a->delivered = true;
    a->delivery = message->err;
    a->offset = message->offset;
}

static int find_framing(struct adjustment *a, struct input_framing *out, struct error *e)
{
    struct registry *registry;
    const struct subject subject = subject_of_input(&a->config, INPUT_CREDITS);
    if (registry_create(&a->config.registry, &registry, e))
        return -1;
    out->framing = a->recorded->policy.fixed.framing;
    enum registry_result result =
        schema_id_find(registry, out->framing, &subject, &out->schema_id, e);
    registry_destroy(registry);
    return result == REGISTRY_FOUND ? 0 : -1;
}

static size_t encode(const struct adjustment *a, struct input_framing framing,
                     uint8_t value[VALUE_SIZE])
{
    const struct credit_record record = {
        .credit_id = slice_text(a->id),
        .account_id = slice_text(a->account),
        .kind = CREDIT_ADJUSTMENT,
        .amount = a->amount,
        .currency = book_of(a)->currency,
        .credited_at = a->credited_at,
        .reason = slice_text(a->reason),
        .reference = slice_text(a->reference),
    };
    size_t size = encode_credit(&record, framing, value, VALUE_SIZE);
    assert(size > 0); // ids, reason and reference are bounded
    return size;
}

static int place_adjustment(struct adjustment *a, rd_kafka_t *producer, struct error *e)
{
    const char *topic = a->recorded->topics[INPUT_CREDITS];
    int32_t partitions, recorded = a->recorded->policy.fixed.partitions;
    if (client_partitions(producer, topic, ASK_PARTITIONS_MS, &partitions, e))
        return -1;
    if (partitions != recorded)
        return error_set(e, ERROR_CONFIG,
                         "topic %s has %" PRId32 " partitions, but %" PRId32
                         " are recorded: see the runbook; nothing was sent",
                         topic, partitions, recorded);
    a->partition = partition_of(a->recorded->policy.fixed.partitioner, a->account,
                                strlen(a->account), recorded);
    return 0;
}

static int produce(struct adjustment *a, rd_kafka_t *producer, uint8_t *value, size_t size,
                   struct error *e)
{
    // Where the producers stamp, the date's start is the record's time too: nothing else would be
    // the same when the command is repeated.
    int64_t timestamp =
        a->recorded->policy.fixed.timestamps == TIMESTAMPS_CREATE ? a->credited_at : 0;
    const char *topic = a->recorded->topics[INPUT_CREDITS];
    void *key = (void *)(uintptr_t)a->account; // librdkafka copies it, and takes it without const
    rd_kafka_resp_err_t code = rd_kafka_producev(
        producer, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_PARTITION(a->partition),
        RD_KAFKA_V_KEY(key, strlen(a->account)), RD_KAFKA_V_VALUE(value, size),
        RD_KAFKA_V_TIMESTAMP(timestamp), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END);
    if (!code)
        rd_kafka_flush(producer, SEND_MS);
    if (!code)
        code = a->delivered ? a->delivery : RD_KAFKA_RESP_ERR__TIMED_OUT;
    if (!code)
        return 0;
    // A fatal error hides why.
    char text[256];
    rd_kafka_resp_err_t fatal = rd_kafka_fatal_error(producer, text, sizeof text);
    const struct refusal_call call = {.topic = topic, .operations = REFUSAL_WRITE};
    error_set(e, ERROR_UNAVAILABLE,
              "topic %s did not take the adjustment: %s. Run the same command again: it is booked "
              "once",
              topic, rd_kafka_err2str(fatal ? fatal : code));
    (void)refusal_explain(producer, fatal ? fatal : code, &call, e);
    return -1;
}

static rd_kafka_t *create_producer(struct adjustment *a, struct error *e)
{
    const char *pairs[CONFIG_PAIRS_MAX][2];
    const char *fixed[][2] = {{"enable.idempotence", "true"}, {"message.timeout.ms", "30000"}};
    struct client_properties properties = config_properties(&a->config, pairs);
    struct client_properties ours = {sizeof fixed / sizeof *fixed, fixed};
    rd_kafka_conf_t *conf = client_conf(&properties, &ours, e);
    if (!conf)
        return NULL;
    rd_kafka_conf_set_dr_msg_cb(conf, on_adjusted);
    rd_kafka_conf_set_opaque(conf, a);
    return client_create(RD_KAFKA_PRODUCER, conf, e);
}

static int post(struct adjustment *a, struct error *e)
{
    uint8_t value[VALUE_SIZE];
    struct input_framing framing;
    if (find_framing(a, &framing, e))
        return -1;
    size_t size = encode(a, framing, value);
    rd_kafka_t *producer = create_producer(a, e);
    if (!producer)
        return -1;
    int failed = place_adjustment(a, producer, e);
    if (!failed)
        failed = produce(a, producer, value, size, e);
    rd_kafka_purge(producer, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
    rd_kafka_destroy(producer);
    return failed;
}

// ---- the answer ----

static int take_reject(void *context, const struct reject_row *row, struct error *e)
{
    (void)context;
    return error_set(e, ERROR_CONFIG, "the adjustment was rejected: %s: %s", row->reason,
                     row->detail);
}

static int look_for_reject(struct adjustment *a, struct error *e)
{
    const struct reject_filter there = {.by_input = true,
                                        .input = INPUT_CREDITS,
                                        .by_shard = true,
                                        .shard = a->partition,
                                        .by_offset = true,
                                        .offset = a->offset};
    return store_list_rejects(a->store, &there, take_reject, a, e) == STORE_OK ? 0 : -1;
}

// Until the shard's owner has judged it, or the time is up.
static int await_verdict(struct adjustment *a, bool *accepted, struct error *e)
{
    int64_t until = clock_monotonic_ms() + a->wait_s * 1000;
    struct found_credit found = {0};
    for (;;) {
        if (find(a, &found, e) || look_for_reject(a, e))
            return -1;
        *accepted = found.accepted;
        if (found.accepted || clock_monotonic_ms() >= until)
            return 0;
        nanosleep(&(struct timespec){.tv_nsec = LOOK_MS * 1000000L}, NULL);
    }
}

static void print_record(const struct adjustment *a)
{
    char yuan[MONEY_TEXT_SIZE], day[DAY_TEXT_SIZE];
    printf("account    %s\namount     %s yuan\ndate       %s\nid         %s\nreason     %s\n",
           a->account, money_format_yuan(a->amount, yuan), calendar_format_day(a->day, day), a->id,
           a->reason);
    if (a->reference)
        printf("reference  %s\n", a->reference);
}

static int print_verdict(struct adjustment *a, struct error *e)
{
    bool accepted = false;
    printf("sent to    %s/%" PRId32 "/%" PRId64 "\n", a->recorded->topics[INPUT_CREDITS],
           a->partition, a->offset);
    fflush(stdout);
    if (a->wait_s == 0)
        return 0;
    if (await_verdict(a, &accepted, e))
        return -1;
    if (!accepted)
        return error_set(e, ERROR_RESTART,
                         "not judged yet after %" PRId64
                         " s: it is in the topic, and is booked when the owner of its shard gets "
                         "there; do not send it under another id",
                         a->wait_s);
    puts("booked");
    return 0;
}

static int adjust(struct adjustment *a, struct error *e)
{
    const struct decisions_opening opening = {a->args, STORE_READS, ""};
    bool done = false;
    if (read_account(a, e) || read_amount(a, e) || read_notes(a, e) ||
        args_integer(a->args, "wait", 0, WAIT_MAX_S, 0, &a->wait_s, e) ||
        decisions_open(&opening, &a->config, &a->store, &a->recorded, e) || read_date(a, e) ||
        read_credit_id(a, e) || check_account(a, &done, e))
        return -1;
    print_record(a);
    if (done) {
        puts("booked already: nothing is sent");
        return 0;
    }
    if (args_get(a->args, "dry-run")) {
        puts("dry run: nothing is sent");
        return 0;
    }
    return post(a, e) ? -1 : print_verdict(a, e);
}

int cmd_adjust(const struct args *args)
{
    struct adjustment a = {.args = args, .offset = -1};
    struct error e = {0};
    int failed = adjust(&a, &e);
    decisions_close(&a.config, a.store, a.recorded);
    return failed ? cli_fail("adjust", &e) : 0;
}
