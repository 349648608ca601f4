// What a table shows of the differences that an audit found.
#include "consumer/findings/audit_causes.h"
#include "consumer/findings/audit_groups.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static const char *text_of(const struct difference *d)
{
    static char text[DIFFERENCE_TEXT_SIZE];
    return difference_text(d, text);
}

static void numbers_have_their_units(void **state)
{
    (void)state;
    struct difference d = {.where = "settlements", .key = "k", .day = DAY_NONE, .recorded = "-5"};
    static const struct {
        const char *field, *folded, *words;
    } cases[] = {
        {"closing_balance", "7", "recorded -5 fen, computed again 7 fen"},
        {"calls", "7", "recorded -5 calls, computed again 7 calls"},
        {"units", "null", "recorded -5 units, computed again null"},
        {"void", "7", "recorded -5 offsets, computed again 7 offsets"},
        {"lines[3].unit_price", "7", "recorded -5 fen, computed again 7 fen"},
        {"position", "7", "recorded -5, computed again 7"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        d.field = cases[i].field;
        d.folded = cases[i].folded;
        char expected[200];
        snprintf(expected, sizeof expected, "-           -  settlements k  %s: %s", d.field,
                 cases[i].words);
        assert_string_equal(text_of(&d), expected);
    }
    d = (struct difference){.where = "rejects", .key = "k", .day = DAY_NONE, .recorded = "a row"};
    assert_string_equal(text_of(&d),
                        "-           -  rejects k: recorded is a row that is not computed again");
    d.recorded = NULL;
    d.folded = "a row";
    assert_string_equal(text_of(&d),
                        "-           -  rejects k: computed again is a row that is not recorded");
}

static void add(struct difference_groups *groups, const char *where, const char *field, int count)
{
    for (int i = 0; i < count; i++)
        groups_add(groups, &(struct difference){.where = where,
                                                .key = "k",
                                                .day = 20000 + i,
                                                .field = field,
                                                .recorded = "1",
                                                .folded = "2",
                                                .published = strchr(where, '/') != NULL});
}

static void print_to(const struct difference_groups *groups, char *out, size_t size)
{
    struct difference_groups shown = *groups;
    fflush(stdout);
    int kept = dup(STDOUT_FILENO);
    FILE *file = tmpfile();
    assert_non_null(file);
    dup2(fileno(file), STDOUT_FILENO);
    groups_print(&shown, true);
    fflush(stdout);
    dup2(kept, STDOUT_FILENO);
    close(kept);
    rewind(file);
    out[fread(out, 1, size - 1, file)] = '\0';
    fclose(file);
}

static void what_may_be_the_cause_comes_first(void **state)
{
    (void)state;
    struct difference_groups groups = {0};
    char text[8192];
    add(&groups, "out/0/17", "amount", 2);
    add(&groups, "out/0/18", "amount", 1); // another message of the same topic
    add(&groups, "out/0/18", "lines[0].units", 1);
    add(&groups, "out/0/18", "lines[12].units", 1);
    add(&groups, "accounts", "balance", 1200);
    add(&groups, "settlements", "amount", 3);
    add(&groups, "credits", "amount", 1);
    add(&groups, "credits", "reason", 4);
    print_to(&groups, text, sizeof text);
    static const char *const order[] = {
        "DIFFERENCES: 1,213 of 6 kinds",
        "\n  credits, reason: 4, 2024-10-04 to 2024-10-07\n",
        "    and 1 more; --all prints each\n",
        "\n  credits, amount: 1, ",
        "\n  settlements, amount: 3, ",
        "\n  accounts, balance: 1,200, 2024-10-04 to 2028-01-16\n",
        "    and 1,197 more; --all prints each\n",
        "\n  messages of out, amount: 3, ",
        "\n  messages of out, lines[].units: 2, ",
    };
    const char *at = text;
    for (size_t i = 0; i < sizeof order / sizeof *order; i++) {
        const char *found = strstr(at, order[i]);
        if (!found)
            fail_msg("no %s in\n%s", order[i], at);
        at = found ? found : at;
    }
    groups_release(&groups);
}

// A cause of many days and shards is one cause.
static void a_cause_is_told_once(void **state)
{
    (void)state;
    struct audit_causes causes = {0};
    char text[CAUSE_TEXT_SIZE];
    for (day_t day = 20003; day >= 20000; day--)
        causes_note(&causes, &(struct audit_cause){.kind = AUDIT_RECORDS_GONE,
                                                   .by = "calls",
                                                   .partition = 2,
                                                   .count = 5,
                                                   .first = day,
                                                   .last = day});
    causes_note(&causes, &(struct audit_cause){.kind = AUDIT_RECORDS_MORE,
                                               .by = "calls",
                                               .partition = 2,
                                               .count = 1,
                                               .first = 20005,
                                               .last = 20005});
    assert_int_equal(causes.count, 2);
    assert_non_null(strstr(cause_text(&causes, 0, NULL, text),
                           "calls/2: 20 records that were judged on 2024-10-04 to 2024-10-07 are "
                           "not in the topic any more: it"));
    assert_non_null(strstr(cause_text(&causes, 1, NULL, text),
                           "calls/2: 1 records are in the topic that were not there when "
                           "2024-10-09 was judged"));
    causes_release(&causes);
}

static void what_a_topic_is_set_to_stands_beside_what_it_lost(void **state)
{
    (void)state;
    struct audit_causes causes = {0};
    char text[CAUSE_TEXT_SIZE];
    causes_note(
        &causes,
        &(struct audit_cause){
            .kind = AUDIT_RECORDS_GONE, .by = "calls", .count = 5, .first = 20000, .last = 20000});
    causes_note(&causes, &(struct audit_cause){.kind = AUDIT_COMPACTED,
                                               .by = "credits",
                                               .now = "compact",
                                               .first = DAY_NONE,
                                               .last = DAY_NONE});
    assert_null(strstr(cause_text(&causes, 0, NULL, text), "cleanup.policy"));
    causes_note(&causes, &(struct audit_cause){.kind = AUDIT_COMPACTED,
                                               .by = "calls",
                                               .now = "compact,delete",
                                               .first = DAY_NONE,
                                               .last = DAY_NONE});
    assert_non_null(strstr(cause_text(&causes, 0, NULL, text),
                           "any more (its cleanup.policy is compact,delete): it was compacted"));
    causes_note(&causes, &(struct audit_cause){.kind = AUDIT_POLICY_UNKNOWN,
                                               .now = "no answer",
                                               .first = DAY_NONE,
                                               .last = DAY_NONE});
    assert_non_null(
        strstr(cause_text(&causes, 3, NULL, text), "could not be looked at: no answer;"));
    causes_release(&causes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_have_their_units),
        cmocka_unit_test(what_may_be_the_cause_comes_first),
        cmocka_unit_test(a_cause_is_told_once),
        cmocka_unit_test(what_a_topic_is_set_to_stands_beside_what_it_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
