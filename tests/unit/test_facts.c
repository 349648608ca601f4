// Some facts stand once in the program and are repeated in schemas and documents. These tests check
// that they agree: whoever adds a row to a table of the program is told what is missing elsewhere.
#include "consumer/config/config_table.h"
#include "consumer/core/fold.h"
#include "consumer/core/reject_reason.h"
#include "consumer/usage/calls.h"
#include "pricing/error.h"
#include "pricing/service.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { DOCUMENT_SIZE = 1 << 18, SENTENCE_SIZE = 2048 };

// A file of the source. Each run of blanks and newlines becomes one blank, and the marks of code
// are removed, since neither changes the meaning.
static const char *document(const char *path)
{
    static char text[DOCUMENT_SIZE];
    char full[512];
    size_t size = 0;
    snprintf(full, sizeof full, "%s/%s", SOURCE_DIR, path);
    FILE *file = fopen(full, "r");
    assert_non_null(file);
    for (int c = getc(file); c != EOF; c = getc(file)) {
        bool blank = c == ' ' || c == '\n';
        if (c == '`' || (blank && size > 0 && text[size - 1] == ' '))
            continue;
        assert_true(size + 1 < sizeof text);
        text[size++] = blank ? ' ' : (char)c;
    }
    fclose(file);
    text[size] = '\0';
    return text;
}

static void says(const char *path, const char *sentence)
{
    if (!strstr(document(path), sentence))
        fail_msg("%s does not say: %s", path, sentence);
}

// A list for people: "A, B or C".
struct list {
    size_t count;
    const char *items[64];
};

static void add(struct list *list, const char *item)
{
    assert_true(list->count < sizeof list->items / sizeof *list->items);
    list->items[list->count++] = item;
}

static const char *join(const struct list *list, const char *between, const char *last,
                        char out[SENTENCE_SIZE])
{
    size_t used = 0;
    for (size_t i = 0; i < list->count; i++) {
        const char *joint = i == 0 ? "" : i + 1 == list->count ? last : between;
        used += (size_t)snprintf(out + used, SENTENCE_SIZE - used, "%s%s", joint, list->items[i]);
        assert_true(used < SENTENCE_SIZE);
    }
    return out;
}

// ---- reject reasons ----

struct reason_row {
    const char *symbol;
    enum reject_group group;
    const char *since, *means;
};
#define REASON_ROW(symbol, group, since, means) {#symbol, group, since, means},
static const struct reason_row reasons[] = {REJECT_ROWS(REASON_ROW)};
enum { REASONS = sizeof reasons / sizeof *reasons };

static void reasons_are_told_by_the_schema(void **state)
{
    (void)state;
    char names[SENTENCE_SIZE], sentence[SENTENCE_SIZE + 64];
    struct list list = {0};
    for (int i = 0; i < REASONS; i++)
        add(&list, reasons[i].symbol);
    snprintf(sentence, sizeof sentence,
             "\"name\": \"reason\", \"type\": \"string\", \"doc\": \"%s; more may come.\"",
             join(&list, ", ", " or ", names));
    says("schemas/avro/Reject.avsc", sentence);
}

static void append(char *text, size_t size, const char *more)
{
    size_t used = strlen(text);
    assert_true(used + strlen(more) < size);
    snprintf(text + used, size - used, "%s", more);
}

// The table in the document has these rows, in this order, and no others.
static void reasons_are_explained(void **state)
{
    (void)state;
    char row[SENTENCE_SIZE], rows[2 * SENTENCE_SIZE] = "|---|---|---|---|";
    for (int i = 0; i < REASONS; i++) {
        snprintf(row, sizeof row, " | %s | %s | %s | %s |", reasons[i].symbol,
                 reasons[i].group == REJECTS_NEVER ? "never"
                                                   : reject_group_symbol(reasons[i].group),
                 reasons[i].since, reasons[i].means);
        says("schemas/README.md", row + 1);
        append(rows, sizeof rows, row);
    }
    append(rows, sizeof rows, " account_id and record_id are given");
    says("schemas/README.md", rows);
}

static void groups_of_reasons_are_told_by_the_runbook(void **state)
{
    (void)state;
    char names[SENTENCE_SIZE], sentence[SENTENCE_SIZE + 64];
    struct list list = {0};
    for (int i = 0; i < REASONS; i++)
        if (reasons[i].group == REJECTS_BROKEN)
            add(&list, reasons[i].symbol);
    snprintf(sentence, sizeof sentence, "were broken (%s) and nobody has decided",
             join(&list, ", ", ", ", names));
    says("deploy/RUNBOOK.md", sentence);
    list.count = 0;
    for (int i = 0; i < REASONS; i++)
        if (reasons[i].group == REJECTS_REFUSED)
            add(&list, reasons[i].symbol);
    snprintf(sentence, sizeof sentence, "were refused (%s) and nobody has decided",
             join(&list, ", ", ", ", names));
    says("deploy/RUNBOOK.md", sentence);
}

static void each_reason_is_read_back(void **state)
{
    (void)state;
    enum reject_reason reason;
    for (int i = 0; i < REASONS; i++) {
        assert_true(reject_parse(reasons[i].symbol, &reason));
        assert_int_equal(reason, i + 1);
        assert_string_equal(reject_symbol(reason), reasons[i].symbol);
        assert_int_equal(reject_group_of(reason), reasons[i].group);
    }
    assert_false(reject_parse("NONE", &reason));
    assert_false(reject_parse("invalid", &reason));
    enum reject_group group;
    assert_true(reject_group_parse("refused", &group));
    assert_int_equal(group, REJECTS_REFUSED);
    assert_false(reject_group_parse("never", &group));
}

// ---- services ----

struct service_row {
    const char *symbol;
    enum billed_unit unit;
};
#define SERVICE_ROW(symbol, unit) {#symbol, unit},
static const struct service_row services[] = {SERVICE_ROWS(SERVICE_ROW)};

static struct list services_by(enum billed_unit unit)
{
    struct list list = {0};
    for (int s = 0; s < SERVICE_COUNT; s++)
        if (services[s].unit == unit)
            add(&list, services[s].symbol);
    return list;
}

static void symbols_are_the_services(const char *path, const char *before)
{
    char names[SENTENCE_SIZE], sentence[SENTENCE_SIZE + 64];
    struct list list = {0};
    for (int s = 0; s < SERVICE_COUNT; s++)
        add(&list, services[s].symbol);
    snprintf(sentence, sizeof sentence, "\"symbols\": [%s\"%s\"]", before,
             join(&list, "\", \"", "\", \"", names));
    says(path, sentence);
}

static void services_are_the_symbols_of_the_schemas(void **state)
{
    (void)state;
    symbols_are_the_services("schemas/avro/CallRecord.avsc", "");
    symbols_are_the_services("schemas/avro/PackagePurchase.avsc", "");
    symbols_are_the_services("schemas/avro/Settlement.avsc", "\"UNKNOWN\", ");
    symbols_are_the_services("schemas/avro/AccountNotice.avsc", "\"UNKNOWN\", ");
    symbols_are_the_services("schemas/avro/MonthStatement.avsc", "\"UNKNOWN\", ");
}

static void units_are_told_by_the_schemas(void **state)
{
    (void)state;
    const struct list by_call = services_by(UNIT_CALL), by_lead = services_by(UNIT_LEAD);
    char called[SENTENCE_SIZE], led[SENTENCE_SIZE], sentence[2 * SENTENCE_SIZE + 64];
    join(&by_call, ", ", " and ", called);
    join(&by_lead, ", ", " and ", led);
    snprintf(sentence, sizeof sentence, "A billed service. %s %s billed by call, %s by lead.",
             called, by_call.count > 1 ? "are" : "is", led);
    says("schemas/avro/CallRecord.avsc", sentence);
    says("schemas/avro/PackagePurchase.avsc", sentence);
    snprintf(sentence, sizeof sentence, "Required for %s, not looked at for %s.", led, called);
    says("schemas/avro/CallRecord.avsc", sentence);
}

// The page of rules names each service with its unit, and the price book that comes with the
// program sells it by that unit.
static void services_are_explained_and_have_prices(void **state)
{
    (void)state;
    char start[64], section[64];
    for (int s = 0; s < SERVICE_COUNT; s++) {
        const char *unit = billed_unit_symbol(services[s].unit);
        snprintf(start, sizeof start, "| %s | ", services[s].symbol);
        says("pricing/README.md", start);
        const char *row = strstr(document("pricing/README.md"), start), *cell = row + strlen(start);
        cell = strchr(cell, '|') + 2; // behind its name
        if (strncmp(cell, unit, strlen(unit)) != 0)
            fail_msg("pricing/README.md does not say that %s is billed by %s", services[s].symbol,
                     unit);
        snprintf(start, sizeof start, "%s: name: ", services[s].symbol);
        says("pricing/pricebooks/apcas.yaml", start);
        snprintf(section, sizeof section, "unit: %s", unit);
        assert_non_null(strstr(strstr(document("pricing/pricebooks/apcas.yaml"), start), section));
    }
}

static void each_service_is_read_back(void **state)
{
    (void)state;
    enum service service;
    for (int s = 0; s < SERVICE_COUNT; s++) {
        assert_true(service_parse(services[s].symbol, &service));
        assert_int_equal(service, s);
        assert_string_equal(service_symbol(service), services[s].symbol);
        assert_int_equal(service_unit(service), services[s].unit);
    }
    assert_false(service_parse("purchase_intent", &service));
}

// ---- figures ----

static void the_cost_of_a_call_is_told(void **state)
{
    (void)state;
    const struct call_block *block = NULL;
    char sentence[SENTENCE_SIZE];
    assert_int_equal(CALL_BYTES, sizeof *block->half + sizeof *block->account +
                                     sizeof *block->when + sizeof *block->units);
    snprintf(sentence, sizeof sentence,
             "A call costs %d bytes and at most %d of the identity index", CALL_BYTES,
             INDEX_ID_BYTES);
    says("consumer/ARCHITECTURE.md", sentence);
    snprintf(sentence, sizeof sentence, "costs %d bytes in columns and at most %d of the index",
             CALL_BYTES, INDEX_ID_BYTES);
    says("consumer/DECISIONS.md", sentence);
    says("deploy/RUNBOOK.md", "(about " CALL_BYTES_RESIDENT_TEXT " bytes each;");
    says("deploy/settled.yaml", "(about " CALL_BYTES_RESIDENT_TEXT " bytes each)");
}

// ---- defaults and limits ----

static const char *default_of(const char *section, const char *name)
{
    for (const struct config_key *key = config_keys; key->name; key++)
        if (strcmp(key->section, section) == 0 && strcmp(key->name, name) == 0)
            return key->text;
    fail_msg("there is no key %s.%s", section, name);
    return NULL;
}

static void defaults_are_told(void **state)
{
    (void)state;
    char sentence[SENTENCE_SIZE];
    snprintf(sentence, sizeof sentence, "http://%s/healthz/live", default_of("http", "listen"));
    says("README.md", sentence);
    snprintf(sentence, sizeof sentence, "http://%s/metrics", default_of("http", "listen"));
    says("deploy/RUNBOOK.md", sentence);
    for (const struct config_key *key = config_keys; key->name; key++) {
        if (key->kind != VALUE_TOPIC)
            continue;
        says("README.md", key->text);
        bool output = key->offset >= offsetof(struct config, output_topics);
        snprintf(sentence, sizeof sentence, "| %s |", key->text);
        if (output)
            says("schemas/README.md", sentence);
    }
}

// "10,000", as the documents have it.
static const char *grouped(int number, char out[16])
{
    if (number < 1000)
        snprintf(out, 16, "%d", number);
    else
        snprintf(out, 16, "%d,%03d", number / 1000, number % 1000);
    return out;
}

static void limits_of_rejects_are_told(void **state)
{
    (void)state;
    char sentence[SENTENCE_SIZE], number[16];
    snprintf(sentence, sizeof sentence, "%d calls, %d purchases or %d credits", FOLD_HOLD_MIN_CALLS,
             FOLD_HOLD_MIN_OTHERS, FOLD_HOLD_MIN_OTHERS);
    says("deploy/settled.yaml", sentence);
    snprintf(sentence, sizeof sentence, "at least %d calls, or %d purchases or credits",
             FOLD_HOLD_MIN_CALLS, FOLD_HOLD_MIN_OTHERS);
    says("deploy/RUNBOOK.md", sentence);
    says("pricing/README.md", sentence);
    snprintf(sentence, sizeof sentence, "ore than %s calls since the last cutoff, and more than",
             grouped(FOLD_PAUSE_MIN, number));
    says("deploy/RUNBOOK.md", sentence);
    says("pricing/README.md", sentence);
}

// What has expired cannot be replayed: a call may be billed late, and its day be held.
static void calls_stay_longer_than_they_are_billed_late(void **state)
{
    (void)state;
    const char *declared = strstr(document("deploy/topics.yaml"), "calls: #");
    assert_non_null(declared);
    declared = strstr(declared, "retention.ms: ");
    assert_non_null(declared);
    int64_t retention = strtoll(declared + strlen("retention.ms: "), NULL, 10);
    int64_t late_days = strtoll(default_of("billing", "late_days"), NULL, 10);
    assert_true(retention > (late_days + 2) * DAY_MS);
}

// ---- exit status ----

static void exit_statuses_are_told(void **state)
{
    (void)state;
    char row[SENTENCE_SIZE];
    for (enum error_kind kind = ERROR_NONE; kind < ERROR_KINDS; kind++) {
        snprintf(row, sizeof row, "| %d | %s |", error_exit_status(kind), error_exit_text(kind));
        says("README.md", row);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reasons_are_told_by_the_schema),
        cmocka_unit_test(reasons_are_explained),
        cmocka_unit_test(groups_of_reasons_are_told_by_the_runbook),
        cmocka_unit_test(each_reason_is_read_back),
        cmocka_unit_test(services_are_the_symbols_of_the_schemas),
        cmocka_unit_test(units_are_told_by_the_schemas),
        cmocka_unit_test(services_are_explained_and_have_prices),
        cmocka_unit_test(each_service_is_read_back),
        cmocka_unit_test(the_cost_of_a_call_is_told),
        cmocka_unit_test(defaults_are_told),
        cmocka_unit_test(limits_of_rejects_are_told),
        cmocka_unit_test(calls_stay_longer_than_they_are_billed_late),
        cmocka_unit_test(exit_statuses_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
