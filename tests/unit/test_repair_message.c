// What messages of the output topics tell a repair, and which texts the program must not guess.
#include "consumer/replay/repair_message.h"
#include "tests/unit/outputs_fixture.h"

#include <stdio.h>
#include <stdlib.h>

static const char *const topics[INPUT_COUNT] = {"call-records", "package-purchases",
                                                "account-credits"};

struct world {
    struct encoder *encoder;
    struct outbox box;
    struct fold fold;
    struct message_reader *reader;
    struct published_row row; // its body is a copy that a test may change
    char body[1024];
    struct error e;
};

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    struct encode_context cx = fixture_context();
    struct chain before = {0};
    memset(before.previous_digest, '0', 64);
    w->fold = fixture_fold();
    if (encoder_create(&w->encoder, &w->e) ||
        message_reader_create(FRAMING_CONFLUENT, &w->reader, &w->e) ||
        outbox_build(&w->box, w->encoder, &cx, &w->fold, &before, &w->e))
        fail_msg("%s", w->e.text);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    w->fold = (struct fold){0};
    outbox_release(&w->box);
    encoder_destroy(w->encoder);
    message_reader_destroy(w->reader);
    free(w);
    return 0;
}

// Row `i` of the fixture: 0 a reject, 1 a resumption by a credit, 3 a suspension, 5 the close.
static void publish(struct world *w, size_t i)
{
    const struct outbox_row *row = &w->box.rows[i];
    assert_true(row->body.size <= sizeof w->body);
    memcpy(w->body, row->body.data, row->body.size);
    w->row = (struct published_row){.output = row->output,
                                    .sequence = row->sequence,
                                    .body = {w->body, row->body.size},
                                    .where = "topic/3/7"};
}

// Writes other bytes of the same length in place of the first that equal `from`.
static void replace(struct world *w, const char *from, const char *to, size_t size)
{
    char *at = memmem(w->body, w->row.body.size, from, size);
    assert_non_null(at);
    memcpy(at, to, size);
}

// An enum is one byte here: the zigzag of its number. The test finds it by the bytes before it.
static void set_symbol(struct world *w, const char *before, size_t size, char symbol)
{
    char *at = memmem(w->body, w->row.body.size, before, size);
    assert_non_null(at);
    at[size] = symbol;
}

static void refused(const struct world *w, const char *words)
{
    assert_int_equal(w->e.kind, ERROR_CONFIG);
    if (!strstr(w->e.text, words) || !strstr(w->e.text, "topic/3/7"))
        fail_msg("\"%s\" does not say \"%s\" and where", w->e.text, words);
}

static void a_reject_tells_record_and_reason(void **state)
{
    struct world *w = *state;
    struct published_reject reject;
    publish(w, 0);
    assert_int_equal(message_reject(w->reader, &w->row, topics, &reject, &w->e), 0);
    assert_int_equal(reject.input, INPUT_CREDITS);
    assert_int_equal(reject.offset, 41);
    assert_int_equal(reject.reason, REJECT_REFUND);
    assert_string_equal(reject.detail, "a top-up of -5 fen");
    replace(w, "REFUND", "REFUNT", 6);
    assert_int_equal(message_reject(w->reader, &w->row, topics, &reject, &w->e), -1);
    refused(w, "has reason \"REFUNT\", which this program does not know: upgrade settled");
    publish(w, 0);
    replace(w, "account-credits", "account-credats", 15);
    assert_int_equal(message_reject(w->reader, &w->row, topics, &reject, &w->e), -1);
    refused(w, "\"account-credats\", which is not an input topic");
}

static void a_status_tells_its_cause(void **state)
{
    struct world *w = *state;
    enum cause cause;
    publish(w, 1);
    assert_int_equal(message_cause(w->reader, &w->row, &cause, &w->e), 0);
    assert_int_equal(cause, CAUSE_CREDIT);
    publish(w, 3);
    assert_int_equal(message_cause(w->reader, &w->row, &cause, &w->e), 0);
    assert_int_equal(cause, CAUSE_ARREARS);
    // event_id, account_id, account_sequence 1, status SUSPENDED; then the cause
    const char before[] = "\x0e"
                          "acc-a/1"
                          "\x0a"
                          "acc-a"
                          "\x02"
                          "\x04";
    set_symbol(w, before, sizeof before - 1, 2 * 9);
    assert_int_equal(message_cause(w->reader, &w->row, &cause, &w->e), -1);
    refused(w, "has cause \"symbol 9\", which this program does not know: upgrade settled");
    set_symbol(w, before, sizeof before - 1, 0);
    assert_int_equal(message_cause(w->reader, &w->row, &cause, &w->e), -1);
    refused(w, "has cause \"UNKNOWN\"");
}

static void a_close_tells_how_its_logs_were_cut(void **state)
{
    struct world *w = *state;
    struct published_close close;
    publish(w, 5);
    assert_int_equal(message_close(w->reader, &w->row, &close, &w->e), 0);
    assert_int_equal(close.day, DAY_OF_TEST);
    assert_int_equal(close.cutoffs[INPUT_CALLS].cut_by, CUT_RECORD);
    assert_int_equal(close.cutoffs[INPUT_CALLS].to_offset, 110);
    assert_int_equal(close.cutoffs[INPUT_PURCHASES].cut_by, CUT_CLOCK);
    assert_int_equal(close.cutoffs[INPUT_CREDITS].cut_by, CUT_RELEASE);
    assert_int_equal(close.last_decision, 1);
    // of the calls: to_offset 110, then how it was cut
    set_symbol(w, "\xdc\x01", 2, 2 * 9);
    assert_int_equal(message_close(w->reader, &w->row, &close, &w->e), -1);
    refused(w, "has cutoffs[1].cut_by \"symbol 9\", which this program does not know");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_reject_tells_record_and_reason, setup, teardown),
        cmocka_unit_test_setup_teardown(a_status_tells_its_cause, setup, teardown),
        cmocka_unit_test_setup_teardown(a_close_tells_how_its_logs_were_cut, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
