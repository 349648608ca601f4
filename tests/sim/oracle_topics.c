// Compares the topics with the rows: this file writes the bodies a second time, by hand, for the
// schemas in schemas/avro.
#include "tests/sim/oracle.h"

#include <stdio.h>

struct text {
    size_t size;
    char bytes[8192];
};

static void put_long(struct text *t, int64_t value)
{
    uint64_t rest = (uint64_t)value << 1 ^ (uint64_t)(value >> 63);
    for (; rest > 0x7f; rest >>= 7)
        t->bytes[t->size++] = (char)(rest | 0x80);
    t->bytes[t->size++] = (char)rest;
}

static void put_text(struct text *t, struct slice text)
{
    if (t->size + text.size + 20 > sizeof t->bytes)
        abort();
    put_long(t, (int64_t)text.size);
    if (text.size > 0)
        memcpy(t->bytes + t->size, text.data, text.size);
    t->size += text.size;
}

static void put_string(struct text *t, const char *text)
{
    put_text(t, (struct slice){text, strlen(text)});
}

// A union of null and string.
static void put_maybe(struct text *t, struct slice text)
{
    put_long(t, text.data != NULL);
    if (text.data)
        put_text(t, text);
}

static void put_maybe_long(struct text *t, bool given, int64_t number)
{
    put_long(t, given);
    if (given)
        put_long(t, number);
}

static const char *settlement_name(struct slice account, day_t day, char out[160])
{
    char date[DAY_TEXT_SIZE];
    snprintf(out, 160, "%.*s/%s", (int)account.size, account.data, calendar_format_day(day, date));
    return out;
}

static void put_line(struct text *t, const struct line_row *row)
{
    const struct settlement_line *l = &row->line;
    put_long(t, l->usage_day);
    put_long(t, 1 + (int)l->service); // 0 is UNKNOWN
    put_long(t, l->charge == CHARGE_PACKAGE ? 1 : 2);
    put_maybe(t, row->package);
    put_maybe_long(t, l->tier_from >= 0, l->tier_from);
    put_long(t, l->calls);
    put_long(t, l->units);
    put_long(t, l->unit_price);
    put_long(t, l->amount);
    put_maybe_long(t, row->package.data, row->package_units);
    put_maybe_long(t, row->package.data, row->package_amount);
}

static void put_settlement(const struct oracle *o, struct text *t, const struct settlement_row *row,
                           int64_t sequence)
{
    const struct settlement *s = &row->settlement;
    char name[160];
    put_string(t, settlement_name(row->account, s->day, name));
    put_text(t, row->account);
    put_long(t, s->day);
    put_string(t, "CNY");
    put_long(t, s->calls);
    put_long(t, s->calls_while_suspended);
    put_long(t, s->amount);
    put_long(t, s->opening_balance);
    put_long(t, s->credits);
    put_long(t, s->adjustments);
    put_long(t, s->closing_balance);
    put_long(t, s->state == ACCOUNT_ACTIVE ? 1 : 2);
    put_string(t, shelf_at(&o->policy->shelf, s->day)->sha256);
    put_long(t, o->shard);
    put_long(t, sequence);
    if (s->line_count > 0)
        put_long(t, (int64_t)s->line_count);
    for (size_t i = 0; i < s->line_count; i++)
        put_line(t, &o->rows->lines.at[s->first_line + i]);
    put_long(t, 0);
}

static void put_status(const struct oracle *o, struct text *t, const struct status_row *row)
{
    const struct step_status *s = &row->status;
    char name[160], settlement[160];
    bool arrears = s->cause == CAUSE_ARREARS;
    struct slice none = {NULL, 0};
    snprintf(name, sizeof name, "%.*s/%d", (int)row->account.size, row->account.data,
             (int)s->account_sequence);
    settlement_name(row->account, s->settlement_day, settlement);
    put_string(t, name);
    put_text(t, row->account);
    put_long(t, s->account_sequence);
    put_long(t, s->state == ACCOUNT_ACTIVE ? 1 : 2);
    put_long(t, arrears ? 1 : s->cause == CAUSE_CREDIT ? 2 : 3);
    put_maybe(t, arrears ? (struct slice){settlement, strlen(settlement)} : none);
    put_maybe(t, arrears ? none : s->credit_id);
    put_long(t, s->balance);
    put_long(t, s->effective_at);
    put_long(t, o->shard);
    put_long(t, row->sequence);
}

static void put_notice(const struct oracle *o, struct text *t, const struct notice_row *row)
{
    const struct step_notice *n = &row->notice;
    static const char *const kinds[] = {"PACKAGE_LOW", "PACKAGE_EXPIRING", "PACKAGE_EXPIRED",
                                        "BALANCE_LOW"};
    bool of_package = n->kind != NOTICE_BALANCE_LOW;
    char name[400], date[DAY_TEXT_SIZE];
    snprintf(name, sizeof name, "%.*s/%s/%s%s%.*s", (int)row->account.size, row->account.data,
             calendar_format_day(row->day, date), kinds[n->kind], of_package ? "/" : "",
             (int)row->package.id.size, of_package ? row->package.id.data : "");
    put_string(t, name);
    put_text(t, row->account);
    put_long(t, row->day);
    put_long(t, 1 + (int)n->kind); // 0 is UNKNOWN
    put_maybe(t, of_package ? row->package.id : (struct slice){NULL, 0});
    put_maybe_long(t, of_package, 1 + (int)row->package.service);
    put_maybe_long(t, of_package, row->package.units);
    put_maybe_long(t, of_package, row->package.remaining);
    put_maybe_long(t, of_package, row->package.valid_until);
    put_maybe_long(t, !of_package, n->balance);
    put_maybe_long(t, n->kind != NOTICE_PACKAGE_EXPIRED, n->threshold);
    put_long(t, o->shard);
    put_long(t, row->sequence);
}

// ---- row by row ----

static const struct outbox_row *expect_row(struct oracle *o, int64_t sequence, enum output output,
                                           struct slice key)
{
    const struct outbox_row *row = sequence >= 1 && sequence <= (int64_t)o->rows->outbox.count
                                       ? &o->rows->outbox.at[sequence - 1]
                                       : NULL;
    if (row && row->output == output && oracle_same(row->key, key))
        return row;
    oracle_fail(o, "I2: sequence %d is no record of %s under its key", (int)sequence,
                record_name_of_output(output));
    return NULL;
}

static void expect_body(struct oracle *o, const struct outbox_row *row, const struct text *body)
{
    if (row && !oracle_same(row->body, (struct slice){body->bytes, body->size}))
        oracle_fail(o, "I2: sequence %d says something else than its row", (int)row->sequence);
}

static void check_settlements(struct oracle *o)
{
    for (size_t i = 0; i < o->rows->settlements.count; i++) {
        const struct settlement_row *row = &o->rows->settlements.at[i];
        struct text body = {.size = 0};
        put_settlement(o, &body, row, row->sequence);
        expect_body(o, expect_row(o, row->sequence, OUTPUT_SETTLEMENTS, row->account), &body);
    }
}

static void check_statuses(struct oracle *o)
{
    for (size_t i = 0; i < o->rows->statuses.count; i++) {
        const struct status_row *row = &o->rows->statuses.at[i];
        struct text body = {.size = 0};
        put_status(o, &body, row);
        expect_body(o, expect_row(o, row->sequence, OUTPUT_STATUS, row->account), &body);
    }
}

static void check_notices(struct oracle *o)
{
    for (size_t i = 0; i < o->rows->notices.count; i++) {
        const struct notice_row *row = &o->rows->notices.at[i];
        struct text body = {.size = 0};
        put_notice(o, &body, row);
        expect_body(o, expect_row(o, row->sequence, OUTPUT_NOTICES, row->account), &body);
    }
}

static void put_statement(const struct oracle *o, struct text *t, const struct statement_row *row)
{
    const struct month_statement *s = &row->statement;
    char month[DAY_TEXT_SIZE], name[160];
    calendar_format_day(row->month, month);
    month[7] = '\0'; // YYYY-MM
    snprintf(name, sizeof name, "%.*s/%s", (int)s->account_id.size, s->account_id.data, month);
    put_string(t, name);
    put_text(t, s->account_id);
    put_string(t, month);
    put_string(t, "CNY");
    const int64_t money[] = {s->opening_balance, s->credits, s->adjustments, s->amount,
                             s->closing_balance};
    for (size_t i = 0; i < sizeof money / sizeof *money; i++)
        put_long(t, money[i]);
    put_long(t, s->state == ACCOUNT_ACTIVE ? 1 : 2);
    const int64_t counts[] = {s->settlements, s->calls, s->packages_bought, s->packages_amount};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        put_long(t, counts[i]);
    if (s->line_count > 0)
        put_long(t, (int64_t)s->line_count);
    for (size_t i = 0; i < s->line_count; i++) {
        const struct month_line *line = &o->rows->month_lines.at[s->first_line + i];
        put_long(t, 1 + (int)line->service);
        put_long(t, line->charge == CHARGE_PACKAGE ? 1 : 2);
        put_maybe(t, line->package_id);
        put_maybe_long(t, line->tier_from >= 0, line->tier_from);
        put_long(t, line->unit_price);
        put_long(t, line->calls);
        put_long(t, line->units);
        put_long(t, line->amount);
    }
    put_long(t, 0);
    put_long(t, o->shard);
    put_long(t, row->sequence);
}

// R75: between the close of the month's last day and the next one.
static void check_statements(struct oracle *o)
{
    for (size_t i = 0; i < o->rows->statements.count; i++) {
        const struct statement_row *row = &o->rows->statements.at[i];
        struct text body = {.size = 0};
        put_statement(o, &body, row);
        expect_body(o, expect_row(o, row->sequence, OUTPUT_STATEMENTS, row->statement.account_id),
                    &body);
        for (size_t c = 0; c < o->rows->closes.count; c++)
            if (o->rows->closes.at[c].sequence > row->sequence
                    ? o->rows->closes.at[c].close.day <= row->month
                    : o->rows->closes.at[c].close.day > row->month)
                oracle_fail(o, "R75: a statement stands on the wrong side of a close");
    }
}

static void check_rejects(struct oracle *o)
{
    for (size_t i = 0; i < o->rows->rejects.count; i++) {
        const struct reject_row_of *row = &o->rows->rejects.at[i];
        const struct entry *entry =
            &o->world->kafka.logs[o->shard][row->reject.input].entries.at[row->reject.offset];
        expect_row(o, row->sequence, OUTPUT_REJECTS, entry->fact.key);
    }
}

// content_digest is over the day's settlements without their sequences, and a close names the
// previous one.
static void check_closes(struct oracle *o)
{
    static struct text content, body;
    char key[16], digest[65];
    size_t at = 0;
    snprintf(key, sizeof key, "%d", (int)o->shard);
    for (size_t i = 0; i < o->rows->closes.count; i++) {
        const struct close_row *row = &o->rows->closes.at[i];
        expect_row(o, row->sequence, OUTPUT_DAY_CLOSES, (struct slice){key, strlen(key)});
        content.size = 0;
        for (; at < o->rows->settlements.count &&
               o->rows->settlements.at[at].settlement.day == row->close.day;
             at++) {
            body.size = 0;
            put_settlement(o, &body, &o->rows->settlements.at[at], 0);
            if (content.size + body.size > sizeof content.bytes)
                abort();
            memcpy(content.bytes + content.size, body.bytes, body.size);
            content.size += body.size;
        }
        book_sha256(content.bytes, content.size, digest);
        if (strcmp(digest, row->content_digest) != 0)
            oracle_fail(o, "a close has another digest of its settlements");
        if (i > 0 && strcmp(row->previous_digest, o->rows->closes.at[i - 1].digest) != 0)
            oracle_fail(o, "a close does not name the digest of the one before");
    }
}

void oracle_check_topics(struct oracle *o)
{
    const struct rows *rows = o->rows;
    size_t due = rows->settlements.count + rows->statuses.count + rows->notices.count +
                 rows->rejects.count + rows->closes.count + rows->statements.count;
    if (rows->outbox.count != due)
        oracle_fail(o, "I2: %d outbox rows for %d rows", (int)rows->outbox.count, (int)due);
    check_settlements(o);
    check_statuses(o);
    check_notices(o);
    check_rejects(o);
    check_closes(o);
    check_statements(o);
}
