// A fold that reads the workload must find exactly what the workload's tally says.
#include "consumer/workload/workload.h"

#include "consumer/avro/plan.h"
#include "schemas/embedded.h"
#include "tests/unit/fold_fixture.h"

#include <openssl/sha.h>

static const char *schema_text(const char *name)
{
    for (const struct embedded *e = embedded_avro; e->name; e++)
        if (strcmp(e->name, name) == 0)
            return e->text;
    fail_msg("no %s", name);
    return NULL;
}

struct world {
    struct bench *bench;
    struct plan *plans[INPUT_COUNT];
    int64_t sent[INPUT_COUNT]; // offsets
    // What the fold found.
    int64_t rejected[REJECT_REASONS], accepted[INPUT_COUNT], duplicates, late, settled_calls;
    int64_t units[SERVICE_COUNT];
    int days_closed;
};

static int set_up(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    w->bench = bench_create();
    w->bench->policy.rows[0].max_reject_share_ppm = 1000000; // holds no day
    static const char *const names[] = {"CallRecord.avsc", "PackagePurchase.avsc",
                                        "AccountCredit.avsc"};
    struct error e;
    for (int i = 0; i < INPUT_COUNT; i++) {
        const char *schema = schema_text(names[i]);
        assert_int_equal(plan_compile((enum input)i, schema, strlen(schema), &w->plans[i], &e), 0);
    }
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    for (int i = 0; i < INPUT_COUNT; i++)
        plan_destroy(w->plans[i]);
    bench_destroy(w->bench);
    free(w);
    return 0;
}

enum { HEAD = 5 }; // bytes before each body

static struct workload_options options_of(const struct world *w)
{
    const struct parameters *row = &w->bench->policy.rows[0];
    return (struct workload_options){
        .seed = 7,
        .accounts = 50,
        .days = 4,
        .calls = 3000,
        .purchases = 20,
        .credits = 40,
        .duplicates_ppm = 30000,
        .late_ppm = 40000,
        .broken_ppm = 60000,
        .from_day = w->bench->first_day,
        .first_day = w->bench->first_day,
        .late_days = row->late_days,
        .future_tolerance_ms = row->future_tolerance_ms,
        .book = w->bench->policy.shelf.books[0],
        .partitions = 1,
        .framing = {{FRAMING_CONFLUENT, 11}, {FRAMING_CONFLUENT, 12}, {FRAMING_CONFLUENT, 13}},
    };
}

static void collect(struct world *w)
{
    const struct step *step = fold_step(w->bench->fold);
    for (size_t i = 0; i < step->reject_count; i++) {
        assert_int_equal(step->rejects[i].input, INPUT_CALLS); // purchases and credits are all good
        w->rejected[step->rejects[i].reason]++;
    }
    for (size_t i = 0; i < step->settlement_count; i++)
        w->settled_calls += step->settlements[i].calls;
    for (size_t i = 0; i < step->line_count; i++)
        w->units[step->lines[i].service] += step->lines[i].units;
    if (step->closed) {
        w->days_closed++;
        w->late += step->close.late;
        w->duplicates += step->close.cutoffs[INPUT_CALLS].duplicates;
        for (int i = 0; i < INPUT_COUNT; i++)
            w->accepted[i] += step->close.cutoffs[i].accepted;
    }
    fold_step_done(w->bench->fold);
}

static void close_day(struct world *w, int64_t now)
{
    struct error e;
    for (int i = 0; i < INPUT_COUNT; i++)
        fold_clock_end(w->bench->fold, (enum input)i, w->sent[i], now);
    assert_true(fold_close_due(w->bench->fold));
    assert_int_equal(fold_close(w->bench->fold, &e), 0);
    collect(w);
}

static void feed_message(struct world *w, const struct workload_message *m)
{
    if (m->timestamp >= fold_due_at(w->bench->fold))
        close_day(w, m->timestamp);
    char detail[REJECT_DETAIL_SIZE] = "no value";
    struct event ev = {.offset = w->sent[m->input]++,
                       .timestamp = m->timestamp,
                       .stamped = true,
                       .key = m->key,
                       .value = m->value};
    if (m->value.data) {
        static const uint8_t ids[INPUT_COUNT] = {11, 12, 13};
        assert_memory_equal(m->value.data, ((uint8_t[]){0, 0, 0, 0, ids[m->input]}), HEAD);
    }
    if (!m->value.data || plan_decode(w->plans[m->input], m->value.data + HEAD,
                                      m->value.size - HEAD, &ev.record, detail) != PLAN_OK) {
        ev.fault = REJECT_UNDECODABLE;
        ev.fault_detail = detail;
    }
    size_t consumed = 0;
    struct error e;
    assert_int_equal(fold_records(w->bench->fold, m->input, (struct event_batch){&ev, 1},
                                  m->timestamp, &consumed, &e),
                     FOLD_MORE);
    assert_int_equal(consumed, 1);
    collect(w);
}

static void a_fold_finds_what_the_tally_says(void **state)
{
    struct world *w = *state;
    struct workload_options options = options_of(w);
    struct workload *load;
    struct workload_message m;
    struct error e;
    assert_int_equal(workload_create(&options, &load, &e), 0);
    int64_t records = 0, before = 0;
    for (; workload_next(load, 0, &m); records++) {
        assert_true(m.timestamp >= before);
        before = m.timestamp;
        feed_message(w, &m);
    }
    assert_false(workload_next(load, 0, &m));
    assert_int_equal(records, workload_total(load));
    assert_int_equal(records, 4 * 3060);
    close_day(w, fold_due_at(w->bench->fold));
    assert_int_equal(w->days_closed, options.days);

    const struct workload_tally *t = workload_tally(load);
    assert_int_equal(t->records[INPUT_CALLS], 12000);
    for (int r = 0; r < REJECT_REASONS; r++)
        assert_int_equal(w->rejected[r], t->rejected[r]);
    static const enum reject_reason made[] = {REJECT_UNDECODABLE, REJECT_MISROUTED,
                                              REJECT_INVALID,     REJECT_FROM_FUTURE,
                                              REJECT_TOO_LATE,    REJECT_CONFLICT};
    for (size_t i = 0; i < sizeof made / sizeof *made; i++)
        assert_true(t->rejected[made[i]] > 50);
    assert_true(t->duplicates > 250 && t->late > 250);
    assert_int_equal(w->duplicates, t->duplicates);
    assert_int_equal(w->late, t->late);
    int64_t calls = 0, purchases = 0;
    for (int s = 0; s < SERVICE_COUNT; s++) {
        calls += t->calls[s];
        purchases += t->purchases[s];
    }
    assert_int_equal(w->accepted[INPUT_CALLS], calls);
    assert_int_equal(w->settled_calls, calls);
    for (int s = 0; s < SERVICE_COUNT; s++)
        assert_int_equal(w->units[s], t->units[s]);
    assert_int_equal(w->accepted[INPUT_PURCHASES], 80);
    assert_int_equal(purchases, 80);
    assert_int_equal(w->accepted[INPUT_CREDITS], 160);
    assert_int_equal(t->credits[CREDIT_TOP_UP] + t->credits[CREDIT_ADJUSTMENT], 160);
    workload_destroy(load);
}

static void digest_of(const struct workload_options *options, int64_t now,
                      uint8_t out[SHA256_DIGEST_LENGTH])
{
    struct workload *load;
    struct workload_message m;
    struct error e;
    uint8_t joined[2 * SHA256_DIGEST_LENGTH] = {0};
    assert_int_equal(workload_create(options, &load, &e), 0);
    while (workload_next(load, now, &m)) {
        const struct slice parts[] = {{(const char *)&m.partition, sizeof m.partition},
                                      {(const char *)&m.timestamp, sizeof m.timestamp},
                                      m.key,
                                      m.value};
        for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
            SHA256((const uint8_t *)parts[i].data, parts[i].size, joined + SHA256_DIGEST_LENGTH);
            SHA256(joined, sizeof joined, joined);
        }
    }
    memcpy(out, joined, SHA256_DIGEST_LENGTH);
    workload_destroy(load);
}

static void the_seed_decides_every_byte(void **state)
{
    struct workload_options options = options_of(*state);
    uint8_t first[SHA256_DIGEST_LENGTH], again[SHA256_DIGEST_LENGTH], other[SHA256_DIGEST_LENGTH];
    digest_of(&options, 0, first);
    digest_of(&options, 12345, again); // the clock has no say in simulated days
    assert_memory_equal(first, again, sizeof first);
    options.seed++;
    digest_of(&options, 0, other);
    assert_memory_not_equal(first, other, sizeof first);
}

static void records_lie_where_their_key_hashes_to(void **state)
{
    struct workload_options options = options_of(*state);
    options.partitions = 12;
    options.partitioner = PARTITIONER_CRC32;
    struct workload *load;
    struct workload_message m;
    struct error e;
    int64_t elsewhere = 0;
    assert_int_equal(workload_create(&options, &load, &e), 0);
    while (workload_next(load, 0, &m)) {
        assert_in_range(m.partition, 0, 11);
        bool home = partition_of(PARTITIONER_CRC32, m.key.data, m.key.size, 12) == m.partition;
        elsewhere += !home;
        if (m.input != INPUT_CALLS)
            assert_true(home);
    }
    // "nobody" can hash to the account's partition by chance: then the key alone is wrong.
    int64_t misrouted = workload_tally(load)->rejected[REJECT_MISROUTED];
    assert_true(elsewhere <= misrouted && elsewhere > misrouted * 3 / 4);
    workload_destroy(load);
}

static void live_records_are_made_at_the_clock(void **state)
{
    struct world *w = *state;
    struct workload_options options = options_of(w);
    options.from_day = DAY_NONE;
    options.days = 1;
    struct workload *load;
    struct workload_message m;
    struct error e;
    int64_t now = at(w->bench, 3, HOUR);
    assert_int_equal(workload_create(&options, &load, &e), 0);
    assert_true(workload_next(load, now, &m) && m.timestamp == now);
    assert_true(workload_next(load, now + 5, &m) && m.timestamp == now + 5);
    assert_true(workload_next(load, now - 60000, &m) && m.timestamp == now + 5); // a clock set back
    workload_destroy(load);
}

// Top-ups are about equal to the cost of the calls, so that accounts are suspended and resumed.
static void top_ups_are_of_the_size_of_the_bills(void **state)
{
    struct workload_options options = options_of(*state);
    options.credits = 300;
    options.calls = 30000;
    options.broken_ppm = options.late_ppm = options.duplicates_ppm = 0;
    struct workload *load;
    struct workload_message m;
    struct error e;
    assert_int_equal(workload_create(&options, &load, &e), 0);
    fen_t billed = 0;
    while (workload_next(load, 0, &m)) {
        if (m.input != INPUT_CALLS)
            continue;
        struct record record;
        char detail[REJECT_DETAIL_SIZE];
        const struct world *w = *state;
        assert_int_equal(plan_decode(w->plans[INPUT_CALLS], m.value.data + HEAD,
                                     m.value.size - HEAD, &record, detail),
                         PLAN_OK);
        enum service service = (enum service)record.field[CALL_SERVICE].number;
        fen_t amount = 0;
        int64_t units = rate_units(options.book, service, record.field[CALL_LEAD_COUNT].number);
        assert_true(
            money_times(units, rate_tier(options.book, service, units)->unit_price, &amount));
        billed += amount;
    }
    fen_t paid = workload_tally(load)->credited_amount[CREDIT_TOP_UP];
    assert_true(paid > billed * 8 / 10 && paid < billed * 12 / 10);
    workload_destroy(load);
}

static void options_that_make_no_workload(void **state)
{
    struct world *w = *state;
    struct book unborn = *options_of(w).book, bare = unborn;
    unborn.effective_from = w->bench->first_day + 1;
    for (int s = 0; s < SERVICE_COUNT; s++) {
        bare.services[s].offer_count = 0;
        bare.services[s].custom.step = 0;
    }
    struct workload_options wrong[9];
    for (int i = 0; i < 9; i++)
        wrong[i] = options_of(w);
    wrong[0].accounts = 0;
    wrong[1].days = 0;
    wrong[2].calls = -1;
    wrong[3].calls = wrong[3].purchases = wrong[3].credits = 0;
    wrong[4].broken_ppm = 999999;
    wrong[5].from_day--;
    wrong[6].book = &unborn;
    wrong[7].book = &bare;
    wrong[8].calls = WORKLOAD_RECORDS_MAX;
    wrong[8].days = 10;
    static const char *const texts[] = {
        "accounts: 0 is not within 1 to 10000000",
        "days: 0 is not within 1 to 3660",
        "calls a day: -1 is not within 0 to 1000000000",
        "records a day: 0 is not within 1 to 3000000000",
        "shares together (millionths): 1069999 is not within 0 to 1000000",
        ("from-day 2026-10-31 lies before billing.first_day 2026-11-01: every call would be too "
         "late"),
        "from-day 2026-11-01 lies before 2026-11-02, when the configured price book begins",
        "purchases: price book 汽车精准获客服务 offers no packages",
        ("units of calls: 1000000000 a day for 10 days of up to 1000000000 each add up to more "
         "than "
         "64 bits; ask for fewer"),
    };
    for (int i = 0; i < 9; i++) {
        struct workload *load;
        struct error e;
        assert_int_equal(workload_create(&wrong[i], &load, &e), -1);
        assert_int_equal(e.kind, ERROR_USAGE);
        assert_string_equal(e.text, texts[i]);
    }
    workload_destroy(NULL);
}

static void a_buffer_too_small_writes_nothing_beyond_it(void **state)
{
    (void)state;
    struct call_record call = {text("c"), text("account"), SERVICE_PURCHASE_INTENT,
                               12000,     INSTANT_MAX,     text("r")};
    struct purchase_record purchase = {
        text("p"), text("account"), SERVICE_PURCHASE_INTENT, 10000, 0, 7000000, "CNY", INSTANT_MAX};
    struct credit_record credit = {text("k"), text("account"), CREDIT_ADJUSTMENT, -5, "CNY",
                                   0,         text("why"),     text("x")};
    for (size_t capacity = 0; capacity < 128; capacity++) {
        uint8_t out[129];
        memset(out, 0xee, sizeof out);
        const struct input_framing framing = {FRAMING_CONFLUENT, 1};
        size_t sizes[] = {encode_call(&call, framing, out, capacity),
                          encode_purchase(&purchase, framing, out, capacity),
                          encode_credit(&credit, framing, out, capacity)};
        for (size_t i = 0; i < 3; i++)
            assert_true(sizes[i] <= capacity);
        for (size_t i = capacity; i < sizeof out; i++)
            assert_int_equal(out[i], 0xee);
        if (capacity < 20)
            assert_int_equal(sizes[0] + sizes[1] + sizes[2], 0);
        if (capacity > 100)
            assert_true(sizes[0] && sizes[1] && sizes[2]);
    }
}

#define IN_WORLD(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_WORLD(a_fold_finds_what_the_tally_says),
        IN_WORLD(the_seed_decides_every_byte),
        IN_WORLD(records_lie_where_their_key_hashes_to),
        IN_WORLD(live_records_are_made_at_the_clock),
        IN_WORLD(top_ups_are_of_the_size_of_the_bills),
        IN_WORLD(options_that_make_no_workload),
        cmocka_unit_test(a_buffer_too_small_writes_nothing_beyond_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
