#include "consumer/base/format.h"
#include "consumer/cli/args.h"
#include "consumer/decisions/reject_view.h"
#include "consumer/decisions/rejects.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

struct listing {
    enum { FORMAT_TABLE, FORMAT_JSON, FORMAT_CSV } format;
    size_t count;
};

static void print_csv_text(const char *text, char end)
{
    if (text && text[strcspn(text, ",\"\r\n")]) {
        putchar('"');
        for (; *text; text++) {
            if (*text == '"')
                putchar('"');
            putchar(*text);
        }
        putchar('"');
    } else if (text) {
        fputs(text, stdout);
    }
    putchar(end);
}

static void print_csv(const struct reject_row *row, const char *time, const char *state)
{
    print_csv_text(row->topic, ',');
    printf("%" PRId32 ",%" PRId64 ",%s,%s,", row->shard, row->offset, time, row->reason);
    print_csv_text(row->account_id, ',');
    print_csv_text(row->record_id, ',');
    print_csv_text(state, ',');
    print_csv_text(row->detail, '\n');
}

static void print_object(json_t *object, bool first)
{
    if (!object)
        abort(); // out of memory: the database's texts are UTF-8
    fputs(first ? "\n " : ",\n ", stdout);
    json_dumpf(object, stdout, 0);
    json_decref(object);
}

// The text comes from somebody else's record and is shown on a terminal: nothing in it may move the
// cursor.
static void print_safe(const char *text)
{
    for (; *text; text++)
        putchar((unsigned char)*text < ' ' || *text == 0x7f ? '?' : *text);
}

static void print_row(const struct reject_row *row, const char *time, const char *state)
{
    char where[320];
    snprintf(where, sizeof where, "%s/%" PRId32 "/%" PRId64, row->topic, row->shard, row->offset);
    printf("%-32s %s %-19s %-26s ", where, time, row->reason, state);
    print_safe(row->account_id ? row->account_id : "-");
    putchar(' ');
    print_safe(row->record_id ? row->record_id : "-");
    fputs("  ", stdout);
    print_safe(row->detail);
    putchar('\n');
}

static int check_output(struct error *e)
{
    return ferror(stdout) ? error_set(e, ERROR_RESTART, "standard output cannot be written") : 0;
}

static int visit(void *context, const struct reject_row *row, struct error *e)
{
    struct listing *listing = context;
    char time[INSTANT_TEXT_SIZE], state[48];
    calendar_format_instant(row->received_at, 0, time);
    reject_state(row, state);
    if (listing->format == FORMAT_TABLE)
        print_row(row, time, state);
    else if (listing->format == FORMAT_CSV)
        print_csv(row, time, state);
    else
        print_object(reject_json(row, 0), listing->count == 0);
    listing->count++;
    return check_output(e);
}

// ---- groups ----

// Where a reject stands, and when it came.
static const char *print_place(const struct reject_row *row, char out[400])
{
    char time[INSTANT_TEXT_SIZE];
    snprintf(out, 400, "%s/%" PRId32 "/%" PRId64 " (%s)", row->topic, row->shard, row->offset,
             calendar_format_instant(row->received_at, 0, time));
    return out;
}

static void print_group(const struct reject_group_row *group)
{
    char number[NUMBER_SIZE], place[400];
    printf("%12s  ", format_count(group->count, number));
    print_safe(group->key);
    if (strcmp(group->key, group->reasons) != 0)
        printf("  %s", group->reasons);
    printf("  accounts %s", format_count(group->accounts, number));
    printf("  first %s", print_place(&group->first, place));
    printf(" last %s  ", print_place(&group->last, place));
    print_safe(group->first.account_id ? group->first.account_id : "-");
    putchar(' ');
    print_safe(group->first.record_id ? group->first.record_id : "-");
    fputs("  ", stdout);
    print_safe(group->first.detail);
    putchar('\n');
}

static void print_place_csv(const struct reject_row *row)
{
    char time[INSTANT_TEXT_SIZE];
    print_csv_text(row->topic, ',');
    printf("%" PRId32 ",%" PRId64 ",%s,", row->shard, row->offset,
           calendar_format_instant(row->received_at, 0, time));
}

static void print_group_csv(const struct reject_group_row *group)
{
    print_csv_text(group->key, ',');
    printf("%" PRId64 ",%" PRId64 ",%s,", group->count, group->accounts, group->reasons);
    print_place_csv(&group->first);
    print_place_csv(&group->last);
    print_csv_text(group->first.account_id, ',');
    print_csv_text(group->first.record_id, ',');
    print_csv_text(group->first.detail, '\n');
}

static int visit_group(void *context, const struct reject_group_row *group, struct error *e)
{
    struct listing *listing = context;
    if (listing->format == FORMAT_TABLE)
        print_group(group);
    else if (listing->format == FORMAT_CSV)
        print_group_csv(group);
    else
        print_object(reject_group_json(group, 0), listing->count == 0);
    listing->count++;
    return check_output(e);
}

// ---- the action ----

static void begin_listing(const struct listing *listing, bool groups)
{
    if (listing->format == FORMAT_CSV)
        puts(groups
                 ? "group,count,accounts,reasons,first_topic,first_partition,first_offset,"
                   "first_received_at,last_topic,last_partition,last_offset,last_received_at,"
                   "first_account_id,first_record_id,first_detail"
                 : "topic,partition,offset,received_at,reason,account_id,record_id,state,detail");
    if (listing->format == FORMAT_JSON)
        putchar('[');
}

int rejects_list(struct rejects *r, struct error *e)
{
    const char *format = args_get(r->args, "format"), *by = args_get(r->args, "group-by");
    struct listing listing = {.format = FORMAT_TABLE};
    if (r->args->operand_count > 1)
        return error_set(e, ERROR_USAGE, "list takes options to filter by, not '%s'",
                         r->args->operands[1]);
    if (format && strcmp(format, "json") == 0)
        listing.format = FORMAT_JSON;
    if (format && strcmp(format, "csv") == 0)
        listing.format = FORMAT_CSV;
    begin_listing(&listing, by);
    r->filter.waiting = true;
    enum store_result result =
        by ? store_group_rejects(r->store, &r->filter, by, visit_group, &listing, e)
           : store_list_rejects(r->store, &r->filter, visit, &listing, e);
    if (rejects_stored(result))
        return -1;
    if (listing.format == FORMAT_JSON)
        puts(listing.count ? "\n]" : "]");
    if (listing.format == FORMAT_TABLE && listing.count == 0)
        puts(r->filter.open_only ? "no open rejects" : "no rejects");
    return 0;
}
