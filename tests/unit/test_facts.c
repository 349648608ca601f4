// What stands once in the program is told by schemas and documents too: they agree, and who adds a
// row to a table of the program is told what is missing elsewhere.
#include "consumer/core/reject_reason.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { DOCUMENT_SIZE = 1 << 18, SENTENCE_SIZE = 2048 };

// A file of the source with each run of blanks and newlines as one blank, and without the marks of
// code, as neither changes what is said.
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
    bool broken;
    const char *since, *means;
};
#define REASON_ROW(symbol, broken, since, means) {#symbol, broken, since, means},
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

// The table in the document has these rows, in this order, and no others.
static void reasons_are_explained(void **state)
{
    (void)state;
    char row[SENTENCE_SIZE], rows[2 * SENTENCE_SIZE] = "|---|---|---|---|";
    for (int i = 0; i < REASONS; i++) {
        snprintf(row, sizeof row, " | %s | %s | %s | %s |", reasons[i].symbol,
                 reasons[i].broken ? "yes" : "no", reasons[i].since, reasons[i].means);
        says("schemas/README.md", row + 1);
        assert_true(strlen(rows) + strlen(row) < sizeof rows);
        strcat(rows, row);
    }
    strcat(rows, " account_id and record_id are given");
    says("schemas/README.md", rows);
}

static void broken_reasons_are_told_by_the_runbook(void **state)
{
    (void)state;
    char names[SENTENCE_SIZE], sentence[SENTENCE_SIZE + 64];
    struct list list = {0};
    for (int i = 0; i < REASONS; i++)
        if (reasons[i].broken)
            add(&list, reasons[i].symbol);
    snprintf(sentence, sizeof sentence, "were broken (%s) and nobody has decided",
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
        assert_int_equal(reject_is_broken(reason), reasons[i].broken);
    }
    assert_false(reject_parse("NONE", &reason));
    assert_false(reject_parse("invalid", &reason));
    assert_false(reject_is_broken(REJECT_NONE));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reasons_are_told_by_the_schema),
        cmocka_unit_test(reasons_are_explained),
        cmocka_unit_test(broken_reasons_are_told_by_the_runbook),
        cmocka_unit_test(each_reason_is_read_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
