// Prints the records of a topic, decoded, a line of JSON each: partition by partition, each from
// its beginning, or from a time on, to where it ends now.
#include "consumer/base/text.h"
#include "consumer/cli/cli_fail.h"
#include "consumer/decisions/decisions_open.h"
#include "consumer/kafka/framing.h"
#include "consumer/kafka/scan.h"
#include "consumer/replay/replay_decoder.h"
#include "consumer/views/record_json.h"
#include "consumer/views/views.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct reading {
    struct config config;
    struct store *store;
    struct deployment *recorded;
    const char *topic;
    enum input input; // INPUT_COUNT: it is an output
    enum output output; // OUTPUT_COUNT: it is an input
    const char *account; // NULL: all
    int64_t since_ms; // INT64_MIN: from the beginning
    int64_t left; // lines that may still be printed
    int32_t first, last; // partitions
    int32_t offset_ms;
    struct record_form *form;
    struct replay_decoder *decoder; // of an input
};

// ---- what is asked for ----

static int refuse_topic(const struct reading *r, const char *topic, struct error *e)
{
    char list[ERROR_TEXT_SIZE];
    size_t used = 0;
    list[0] = '\0';
    for (int i = 0; i < INPUT_COUNT + OUTPUT_COUNT && used < sizeof list; i++)
        used += (size_t)snprintf(list + used, sizeof list - used, "%s%s", i ? ", " : "",
                                 i < INPUT_COUNT ? r->config.input_topics[i]
                                                 : r->config.output_topics[i - INPUT_COUNT]);
    return error_set(e, ERROR_USAGE, "'%s' is none of this deployment's topics: %s", topic, list);
}

static int find_topic(struct reading *r, const char *topic, struct error *e)
{
    for (r->input = 0; r->input < INPUT_COUNT; r->input++)
        if (strcmp(r->config.input_topics[r->input], topic) == 0)
            break;
    for (r->output = 0; r->input == INPUT_COUNT && r->output < OUTPUT_COUNT; r->output++)
        if (strcmp(r->config.output_topics[r->output], topic) == 0)
            break;
    r->topic = topic;
    if (r->input < INPUT_COUNT) {
        r->output = OUTPUT_COUNT;
        return 0;
    }
    return r->output < OUTPUT_COUNT ? 0 : refuse_topic(r, topic, e);
}

static int read_since(struct reading *r, const char *text, struct error *e)
{
    day_t day;
    r->since_ms = INT64_MIN;
    if (!text || calendar_parse_instant(text, &r->since_ms))
        return 0;
    if (!calendar_parse_day(text, &day))
        return error_set(e, ERROR_USAGE,
                         "option --from: '%s' is neither a date (2026-11-01) nor an instant "
                         "(2026-11-01T10:00:00+08:00)",
                         text);
    r->since_ms = calendar_day_start(day, r->offset_ms);
    return 0;
}

// The records of an account are in one partition, but for those that were sent into another one.
static int choose_partitions(struct reading *r, const struct args *args, struct error *e)
{
    const struct fixed_parameters *fixed = &r->recorded->policy.fixed;
    int64_t partition;
    if (args_integer(args, "partition", 0, fixed->partitions - 1, -1, &partition, e))
        return -1;
    if (partition < 0 && r->account)
        partition =
            partition_of(fixed->partitioner, r->account, strlen(r->account), fixed->partitions);
    r->first = partition < 0 ? 0 : (int32_t)partition;
    r->last = partition < 0 ? fixed->partitions - 1 : (int32_t)partition;
    return 0;
}

static int open_reading(struct reading *r, const struct args *args, struct error *e)
{
    const struct decisions_opening opening = {args, STORE_READS, ": 'settled run' does that"};
    if (decisions_open(&opening, &r->config, &r->store, &r->recorded, e) ||
        find_topic(r, args->operands[0], e))
        return -1;
    r->account = args_get(args, "account");
    if (r->account && r->output == OUTPUT_DAY_CLOSES)
        return error_set(e, ERROR_USAGE, "option --account: %s has no records of accounts",
                         r->topic);
    r->offset_ms = r->recorded->policy.shelf.books[0]->offset_ms;
    if (read_since(r, args_get(args, "from"), e) || choose_partitions(r, args, e) ||
        args_integer(args, "limit", 1, INT64_MAX, INT64_MAX, &r->left, e))
        return -1;
    if (r->input == INPUT_COUNT)
        return record_form_of_output(r->output, r->offset_ms, &r->form, e);
    return record_form_of_input(r->input, r->offset_ms, &r->form, e) ||
                   replay_decoder_create(&r->config, &r->recorded->policy.fixed, &r->decoder, e)
               ? -1
               : 0;
}

static void close_reading(struct reading *r)
{
    record_form_destroy(r->form);
    replay_decoder_destroy(r->decoder);
    decisions_close(&r->config, r->store, r->recorded);
}

// ---- a record ----

static json_t *text_or_null(const void *data, size_t size)
{
    return data ? record_json_text((struct slice){data, size}) : json_null();
}

static json_t *headers_json(const rd_kafka_message_t *message)
{
    rd_kafka_headers_t *headers;
    const char *name;
    const void *value;
    size_t size;
    json_t *array = json_array();
    if (rd_kafka_message_headers(message, &headers))
        return array;
    for (size_t i = 0; !rd_kafka_header_get_all(headers, i, &name, &value, &size); i++)
        json_array_append_new(array,
                              json_pack("{s:o, s:o}", "name", record_json_text(slice_text(name)),
                                        "value", text_or_null(value, size)));
    return array;
}

static void put_fault(json_t *line, const char *fault, const char *detail)
{
    json_object_set_new(line, "fault", json_string(fault));
    json_object_set_new(line, "detail",
                        detail ? record_json_text(slice_text(detail)) : json_null());
}

static int put_input(struct reading *r, const rd_kafka_message_t *message, json_t *line,
                     struct error *e)
{
    struct event *event;
    if (replay_decoder_event(r->decoder, r->input, message, false, &event, e))
        return -1;
    bool good = event->fault == REJECT_NONE;
    json_object_set_new(line, "schema_id",
                        event->schema_id < 0 ? json_null() : json_integer(event->schema_id));
    json_object_set_new(line, "value",
                        good ? record_json_decoded(r->form, &event->record) : json_null());
    if (!good)
        put_fault(line, reject_symbol(event->fault), event->fault_detail);
    return 0;
}

static void put_output(const struct reading *r, const rd_kafka_message_t *message, json_t *line)
{
    int64_t id = -1;
    struct slice body;
    const char *why = "it has another framing, or none";
    json_t *value = NULL;
    if (framing_take_off(r->recorded->policy.fixed.framing,
                         (struct slice){message->payload, message->len}, &id, &body))
        value = record_json_body(r->form, body, &why);
    json_object_set_new(line, "schema_id", id < 0 ? json_null() : json_integer(id));
    json_object_set_new(line, "value", value ? value : json_null());
    if (why)
        put_fault(line, value ? "LONGER" : "UNDECODABLE", why);
}

static bool is_of_account(const struct reading *r, const rd_kafka_message_t *message,
                          const json_t *line)
{
    const char *found =
        json_string_value(json_object_get(json_object_get(line, "value"), "account_id"));
    return !r->account || (found && strcmp(found, r->account) == 0) ||
           slice_same((struct slice){message->key, message->key_len}, slice_text(r->account));
}

static int print_record(struct reading *r, const rd_kafka_message_t *message, struct error *e)
{
    rd_kafka_timestamp_type_t type;
    int64_t timestamp = rd_kafka_message_timestamp(message, &type);
    json_t *time = type == RD_KAFKA_TIMESTAMP_NOT_AVAILABLE
                       ? json_null()
                       : record_json_instant(timestamp, r->offset_ms);
    json_t *line = json_pack("{s:s, s:i, s:I, s:o, s:o, s:o}", "topic", r->topic, "partition",
                             (int)message->partition, "offset", (json_int_t)message->offset,
                             "timestamp", time, "key", text_or_null(message->key, message->key_len),
                             "headers", headers_json(message));
    int failed = 0;
    if (r->input < INPUT_COUNT)
        failed = put_input(r, message, line, e);
    else
        put_output(r, message, line);
    if (!failed && is_of_account(r, message, line)) {
        json_dumpf(line, stdout, JSON_COMPACT);
        putchar('\n');
        r->left--;
        if (ferror(stdout))
            failed = error_set(e, ERROR_RESTART, "standard output cannot be written");
    }
    json_decref(line);
    return failed;
}

// ---- the topic ----

static int print_partition(struct reading *r, struct scan *scan, struct error *e)
{
    const rd_kafka_message_t *message;
    while (r->left > 0) {
        if (scan_look(scan, 0, 0, &message, e))
            return -1;
        if (!message)
            return 0;
        if (print_record(r, message, e))
            return -1;
        scan_take(scan, 0);
    }
    return 0;
}

static int print_topic(struct reading *r, struct error *e)
{
    const char *pairs[CONFIG_PAIRS_MAX][2];
    struct client_properties properties = config_properties(&r->config, pairs);
    const struct scan_log log = {r->topic, r->since_ms == INT64_MIN ? SCAN_BEGINNING : SCAN_SINCE,
                                 r->since_ms};
    for (int32_t p = r->first; p <= r->last && r->left > 0; p++) {
        const struct scan_options options = {.properties = &properties,
                                             .group = r->recorded->group,
                                             .cluster_id = r->recorded->cluster_id,
                                             .partitions = r->recorded->policy.fixed.partitions,
                                             .partition = p,
                                             .count = 1,
                                             .logs = &log};
        struct scan *scan = NULL;
        int failed = scan_open(&options, &scan, e) || print_partition(r, scan, e);
        scan_close(scan);
        if (failed)
            return -1;
    }
    return 0;
}

int cmd_read(const struct args *args)
{
    struct reading reading = {0};
    struct error e = {0};
    int failed = open_reading(&reading, args, &e) || print_topic(&reading, &e);
    close_reading(&reading);
    return failed ? cli_fail("read", &e) : 0;
}
