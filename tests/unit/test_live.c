// Threads that look at a fold while another one owns it.
#include "consumer/daemon/live.h"

#include "consumer/shard/shard_parts.h"
#include "consumer/system/clock.h"

// The name is taken by <sys/socket.h>.
#define accept fixture_accept
#include "fold_fixture.h"

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

enum { CALLS = 30000, BATCH_OF = 50, LOOKERS = 3 };

// A shard that runs: its fold is the fixture's.
struct setting {
    struct bench *b;
    struct shard shard;
    struct live *live;
    atomic_int sent; // calls, each of 100 leads
    atomic_bool ended;
};

static void begin(struct setting *s)
{
    struct error e;
    *s = (struct setting){.b = bench_create()};
    s->shard.fold = s->b->fold;
    s->shard.state = SHARD_RUNNING;
    assert_int_equal(live_create(2, &s->live, &e), 0);
}

static void end(struct setting *s)
{
    live_destroy(s->live);
    bench_destroy(s->b);
}

static void show(struct setting *s)
{
    live_hold(s->live, 1);
    live_show(s->live, 1, &s->shard);
    live_let_go(s->live, 1);
}

static void hide(struct setting *s, const struct shard *hidden)
{
    live_hold(s->live, 1);
    live_hide(s->live, 1, hidden);
    live_let_go(s->live, 1);
}

static enum live_result take(struct setting *s, int64_t ms, struct preview **out)
{
    struct live_taken taken;
    struct live_question question = {.shard = 1,
                                     .account_id = slice_text("acme"),
                                     .now_ms = at(s->b, 0, HOUR),
                                     .until_ms = clock_monotonic_ms() + ms};
    enum live_result result = live_take(s->live, &question, &taken);
    *out = taken.preview;
    return result;
}

static void add_calls(struct setting *s, int count)
{
    char id[16];
    for (int i = 0; i < count; i++) {
        snprintf(id, sizeof id, "c%d", (int)s->sent);
        accept(s->b, INPUT_CALLS, call(s->b, "acme", id, 100, at(s->b, 0, HOUR)));
        s->sent++;
    }
}

// ---- two threads ----

static void *look_on(void *context)
{
    struct setting *s = context;
    struct preview *preview;
    struct error e;
    int64_t looks = 0, last = 0;
    while (!s->ended) {
        int before = s->sent;
        enum live_result result = take(s, 10000, &preview);
        if (result != LIVE_TAKEN)
            return NULL;
        int after = s->sent + BATCH_OF;
        int failed = preview_settle(preview, &e);
        const struct preview_result *got = preview_result(preview);
        int64_t calls = got->known ? got->days[0].calls : 0;
        // Those of a moment between, and never fewer than before.
        bool right = !failed && calls >= before - BATCH_OF && calls <= after && calls >= last &&
                     (calls == 0 || got->days[0].amount == calls * 100 * 1000);
        preview_destroy(preview);
        if (!right)
            return NULL;
        last = calls;
        looks++;
    }
    return looks > 0 ? s : NULL;
}

// The owner never stops, and lets go only between two batches: the others have their looks all the
// same, and see what is so at one moment.
static void test_looks_while_calls_come(void **state)
{
    static struct setting s;
    pthread_t lookers[LOOKERS];
    (void)state;
    begin(&s);
    show(&s);
    for (int i = 0; i < LOOKERS; i++)
        assert_int_equal(pthread_create(&lookers[i], NULL, look_on, &s), 0);
    live_hold(s.live, 1);
    while (s.sent < CALLS) {
        add_calls(&s, BATCH_OF);
        live_let_look(s.live, 1);
    }
    live_let_go(s.live, 1);
    usleep(10000);
    s.ended = true;
    for (int i = 0; i < LOOKERS; i++) {
        void *well;
        pthread_join(lookers[i], &well);
        assert_ptr_equal(well, &s);
    }
    hide(&s, &s.shard);
    end(&s);
}

// ---- when there is nothing to see ----

static void test_absent(void **state)
{
    static struct setting s;
    struct preview *preview;
    struct shard other = {0};
    (void)state;
    begin(&s);
    assert_int_equal(take(&s, 1000, &preview), LIVE_ABSENT);
    assert_null(preview);
    show(&s);
    assert_int_equal(take(&s, 1000, &preview), LIVE_TAKEN);
    preview_destroy(preview);
    // It is being restored, or handed over.
    s.shard.state = SHARD_REPLAYING;
    assert_int_equal(take(&s, 1000, &preview), LIVE_ABSENT);
    s.shard.state = SHARD_RUNNING;
    // A worker that had it before does not hide that of the next.
    hide(&s, &other);
    assert_int_equal(take(&s, 1000, &preview), LIVE_TAKEN);
    preview_destroy(preview);
    hide(&s, &s.shard);
    assert_int_equal(take(&s, 1000, &preview), LIVE_ABSENT);
    end(&s);
}

static void test_busy(void **state)
{
    static struct setting s;
    struct preview *preview;
    (void)state;
    begin(&s);
    show(&s);
    live_hold(s.live, 1);
    int64_t before = clock_monotonic_ms();
    assert_int_equal(take(&s, 50, &preview), LIVE_BUSY);
    assert_null(preview);
    assert_true(clock_monotonic_ms() - before >= 50);
    live_let_go(s.live, 1);
    assert_int_equal(take(&s, 1000, &preview), LIVE_TAKEN);
    preview_destroy(preview);
    hide(&s, &s.shard);
    end(&s);
}

// Another fold of the same shard: what was copied of the first one is dropped.
static void test_another_fold(void **state)
{
    static struct setting s;
    struct error e;
    (void)state;
    begin(&s);
    add_calls(&s, 10);
    struct preview *preview = preview_create(slice_text("acme"));
    assert_false(preview_take(preview, s.b->fold, 1, 3));
    assert_false(preview_take(preview, s.b->fold, 1, 8));
    struct bench *next = bench_create();
    accept(next, INPUT_CALLS, call(next, "acme", "only", 100, at(next, 0, HOUR)));
    while (!preview_take(preview, next->fold, 2, 3)) {}
    assert_int_equal(preview_settle(preview, &e), 0);
    assert_int_equal(preview_result(preview)->days[0].calls, 1);
    preview_destroy(preview);
    bench_destroy(next);
    end(&s);
}

// ---- what is recorded besides ----

// Whether nothing else is recorded of the account than what is told; *settling: as it is told.
static bool is_whole(struct bench *b, const char *account, bool *settling)
{
    struct preview *preview = preview_create(slice_text(account));
    assert_true(preview_take(preview, b->fold, 1, 1000));
    bool whole = preview_result(preview)->known && preview_result(preview)->whole;
    if (settling)
        *settling = preview_result(preview)->settling;
    preview_destroy(preview);
    return whole;
}

// Of packages nothing is missing until one is used up, or is bought when nothing is left of it.
static void test_packages_recorded_besides(void **state)
{
    struct bench *b = bench_create();
    bool settling;
    (void)state;
    accept(b, INPUT_CALLS, call(b, "acme", "c0", -1, at(b, 0, HOUR)));
    accept(b, INPUT_PURCHASES,
           purchase(b, "acme", "p", SERVICE_AUDIENCE_INSIGHT, 50, 10000000, at(b, 0, HOUR)));
    struct event spent =
        purchase(b, "spent", "p", SERVICE_AUDIENCE_INSIGHT, 50, 10000000, at(b, 0, HOUR));
    spent.record.field[PURCHASE_USED] = number(50);
    accept(b, INPUT_PURCHASES, spent);
    assert_true(is_whole(b, "acme", &settling));
    assert_false(settling);
    assert_false(is_whole(b, "spent", NULL));
    for (int i = 1; i < 49; i++) {
        char id[16];
        snprintf(id, sizeof id, "c%d", i);
        accept(b, INPUT_CALLS, call(b, "acme", id, -1, at(b, 0, 2 * HOUR)));
    }
    settle(b);
    assert_true(is_whole(b, "acme", &settling));
    assert_true(settling); // and not recorded yet
    fold_step_done(b->fold);
    assert_true(is_whole(b, "acme", &settling));
    assert_false(settling);
    accept(b, INPUT_CALLS, call(b, "acme", "last", -1, at(b, 1, HOUR)));
    settle(b);
    fold_step_done(b->fold);
    assert_false(is_whole(b, "acme", NULL));
    bench_destroy(b);
}

// One that is over when it is bought is told of from then on, not from when it is recorded.
static void test_package_that_is_over(void **state)
{
    struct bench *b = bench_create();
    struct error e;
    (void)state;
    accept(b, INPUT_PURCHASES,
           purchase(b, "acme", "new", SERVICE_AUDIENCE_INSIGHT, 50, 10000000, at(b, 0, HOUR)));
    struct event over =
        purchase(b, "acme", "over", SERVICE_AUDIENCE_INSIGHT, 50, 10000000, at(b, -380, HOUR));
    over.timestamp = at(b, 0, HOUR);
    accept(b, INPUT_PURCHASES, over);
    for (int round = 0; round < 2; round++) {
        struct preview *preview = preview_create(slice_text("acme"));
        assert_true(preview_take(preview, b->fold, 1, 1000));
        assert_int_equal(preview_settle(preview, &e), 0);
        const struct preview_result *result = preview_result(preview);
        assert_int_equal(result->package_count, round == 0 ? 2 : 1);
        assert_memory_equal(result->packages[0].package.id.data, "new", 3);
        if (round == 0) {
            assert_memory_equal(result->packages[1].package.id.data, "over", 4);
            assert_int_equal(result->packages[1].remaining_now, 50);
        }
        preview_destroy(preview);
        fold_step_done(b->fold); // it is recorded
    }
    bench_destroy(b);
}

static void restore_account(struct fold *fold, enum account_state status)
{
    struct error e;
    const struct account account = {
        .id = text("acme"), .state = status, .account_sequence = 1, .position = 1};
    assert_int_equal(fold_restore_account(fold, &account, NULL, &e), 0);
}

// The last change of status may be older than what is restored, and so may packages be.
static void test_restored_without_all(void **state)
{
    struct bench *b = bench_create();
    struct error e;
    (void)state;
    restore_account(b->fold, ACCOUNT_SUSPENDED);
    assert_int_equal(
        fold_restore_span(b->fold, text("acme"), (struct span){at(b, 0, 0), INT64_MAX}, &e), 0);
    assert_true(is_whole(b, "acme", NULL));
    accept(b, INPUT_CREDITS, credit(b, "acme", "x", CREDIT_TOP_UP, 100, at(b, 0, HOUR)));
    assert_true(is_whole(b, "acme", NULL)); // it was resumed here
    fold_restore_left_out(b->fold);
    assert_false(is_whole(b, "acme", NULL));
    bench_destroy(b);
    b = bench_create();
    restore_account(b->fold, ACCOUNT_ACTIVE);
    assert_int_equal(
        fold_restore_span(b->fold, text("acme"), (struct span){at(b, 0, 0), at(b, 0, 1)}, &e), 0);
    assert_false(is_whole(b, "acme", NULL));
    bench_destroy(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_looks_while_calls_come),
        cmocka_unit_test(test_absent),
        cmocka_unit_test(test_busy),
        cmocka_unit_test(test_another_fold),
        cmocka_unit_test(test_packages_recorded_besides),
        cmocka_unit_test(test_package_that_is_over),
        cmocka_unit_test(test_restored_without_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
