// What tests/bench/instructions.py counts under callgrind: one operation, as often as it is said,
// in the function `counted`, outside which nothing is counted.
//   count_instructions decode|judge_new|judge_duplicate|close|draw_down
// prints how often, and by which compiler the program was built. Everything that the operation
// reads is made before, the same in each run.
#include "consumer/avro/plan.h"
#include "schemas/embedded.h"
#include "tests/bench/made_calls.h"
#include "tests/lib/avro_bytes.h"

enum {
    ACCOUNTS = 1000,
    BATCHES = 256,
    CALLS = BATCHES * MADE_BATCH,
    BODY_MAX = 128,
    DISORDER_MS = 60000,
    PACKAGES = 3, // an account: more leads than its calls have
    PACKAGE_LEADS = 800000,
    PACKAGE_FEN = 160000000,
};

struct world {
    struct policy policy;
    struct fold *fold;
    int64_t when; // ms, within the open day
    struct made_batch batches[BATCHES];
};

static struct plan *plan;
static uint8_t bodies[CALLS][BODY_MAX];
static size_t body_sizes[CALLS];

// ---- what is counted ----

typedef void operation(struct world *w);

// A compiler that looked into it could give its name to nothing, or to a part of it.
#if defined(__clang__)
#define KEPT_AS_IT_IS __attribute__((noinline, optnone))
#else
#define KEPT_AS_IT_IS __attribute__((noipa))
#endif

KEPT_AS_IT_IS static void counted(operation *what, struct world *w)
{
    what(w);
}

static void decode(struct world *w)
{
    (void)w;
    for (int i = 0; i < CALLS; i++) {
        struct record record;
        char detail[REJECT_DETAIL_SIZE];
        if (plan_decode(plan, bodies[i], body_sizes[i], &record, detail) != PLAN_OK)
            made_fail("decode", detail);
    }
}

static void judge(struct world *w)
{
    struct error e = {0};
    for (int i = 0; i < BATCHES; i++) {
        size_t consumed;
        struct event_batch batch = {w->batches[i].events, MADE_BATCH};
        if (fold_records(w->fold, INPUT_CALLS, batch, w->when, &consumed, &e) != FOLD_MORE)
            made_fail("judge", e.text);
    }
}

static void close_day(struct world *w)
{
    struct error e = {0};
    if (fold_close(w->fold, &e) != 0)
        made_fail("close", e.text);
}

// ---- what it needs ----

static void make_plan(struct world *w)
{
    struct error e;
    const struct embedded *schema = embedded_avro;
    while (strcmp(schema->name, "CallRecord.avsc") != 0)
        schema++;
    if (plan_compile(INPUT_CALLS, schema->text, strlen(schema->text), &plan, &e) != 0)
        made_fail("plan", e.text);
    for (int i = 0; i < CALLS; i++) {
        const struct record *record = &w->batches[i / MADE_BATCH].events[i % MADE_BATCH].record;
        struct avro_bytes body = {0};
        put_text(&body, record->field[CALL_CALL_ID].data);
        put_text(&body, record->field[CALL_ACCOUNT_ID].data);
        put_long(&body, record->field[CALL_SERVICE].number);
        put_long(&body, 1); // the lead count is there
        put_long(&body, record->field[CALL_LEAD_COUNT].number);
        put_long(&body, record->field[CALL_OCCURRED_AT].number);
        put_long(&body, 0); // no request_id
        assert(body.size <= BODY_MAX);
        memcpy(bodies[i], body.data, body.size);
        body_sizes[i] = body.size;
    }
}

// As they come from many gateways: a close has to sort them where a package may cover them.
static void make_disordered_calls(struct world *w)
{
    for (int i = 0; i < BATCHES; i++) {
        make_calls(&w->batches[i], (int64_t)i * MADE_BATCH, ACCOUNTS, w->when);
        for (int k = 0; k < MADE_BATCH; k++)
            w->batches[i].events[k].record.field[CALL_OCCURRED_AT].number -=
                (int64_t)(made_random() % DISORDER_MS);
    }
}

static void make_fold(struct world *w)
{
    w->fold = fold_create(&(struct fold_options){.id_key = {7}, .max_resident_calls = INT64_MAX},
                          &w->policy);
    assert(w->fold);
    fold_begin(w->fold, (int64_t[INPUT_COUNT]){0, 0, 0});
}

// The batches once more, at the offsets behind those that were judged.
static void move_on(struct world *w)
{
    for (int i = 0; i < BATCHES; i++)
        for (int k = 0; k < MADE_BATCH; k++)
            w->batches[i].events[k].offset += CALLS;
}

static void buy_packages(struct world *w)
{
    struct error e = {0};
    for (int i = 0; i < ACCOUNTS * PACKAGES; i++) {
        char id[32], account[16];
        int id_size = snprintf(id, sizeof id, "purchase-%d", i);
        int size = snprintf(account, sizeof account, "acct-%06d", i % ACCOUNTS);
        struct event ev = {.offset = i, .timestamp = w->when, .stamped = true};
        ev.key = ev.value = (struct slice){account, (size_t)size};
        ev.record.field[PURCHASE_PURCHASE_ID] = (struct value){id, id_size};
        ev.record.field[PURCHASE_ACCOUNT_ID] = (struct value){account, size};
        ev.record.field[PURCHASE_SERVICE].number = SERVICE_PURCHASE_INTENT;
        ev.record.field[PURCHASE_UNITS].number = PACKAGE_LEADS;
        ev.record.field[PURCHASE_AMOUNT].number = PACKAGE_FEN;
        ev.record.field[PURCHASE_CURRENCY] = (struct value){"CNY", 3};
        ev.record.field[PURCHASE_PURCHASED_AT].number = w->when - DISORDER_MS;
        size_t consumed;
        fold_records(w->fold, INPUT_PURCHASES, (struct event_batch){&ev, 1}, w->when, &consumed,
                     &e);
    }
    if (fold_package_count(w->fold) != (size_t)ACCOUNTS * PACKAGES)
        made_fail("packages", "not all of them were accepted");
}

static void end_day(struct world *w)
{
    fold_step_done(w->fold);
    for (enum input i = 0; i < INPUT_COUNT; i++)
        fold_clock_end(w->fold, i, fold_state(w->fold)->log[i].next, fold_due_at(w->fold));
}

// ---- the operations ----

static void run_decode(struct world *w)
{
    make_plan(w);
    counted(decode, w);
    plan_destroy(plan);
}

static void run_judge_new(struct world *w)
{
    counted(judge, w);
    if (fold_resident_calls(w->fold) != CALLS)
        made_fail("judge_new", "not all calls were accepted");
}

static void run_judge_duplicate(struct world *w)
{
    judge(w);
    move_on(w);
    counted(judge, w);
    if (fold_state(w->fold)->log[INPUT_CALLS].duplicates != CALLS)
        made_fail("judge_duplicate", "not all calls were duplicates");
}

// Settles a day; returns what all accounts owe for it, in fen.
static fen_t settle(struct world *w)
{
    judge(w);
    end_day(w);
    counted(close_day, w);
    const struct step *step = fold_step(w->fold);
    if (step->settlement_count != ACCOUNTS)
        made_fail("close", "not all accounts were settled");
    fen_t owed = 0;
    for (size_t i = 0; i < step->settlement_count; i++)
        owed += step->settlements[i].amount;
    return owed;
}

static void run_close(struct world *w)
{
    if (settle(w) == 0)
        made_fail("close", "the calls cost nothing");
}

static void run_draw_down(struct world *w)
{
    buy_packages(w);
    if (settle(w) != 0)
        made_fail("draw_down", "the packages did not cover all calls");
}

static const struct {
    const char *name;
    void (*run)(struct world *w);
} operations[] = {{"decode", run_decode},
                  {"judge_new", run_judge_new},
                  {"judge_duplicate", run_judge_duplicate},
                  {"close", run_close},
                  {"draw_down", run_draw_down}};

int main(int argc, char **argv)
{
    static struct world w;
    size_t count = sizeof operations / sizeof operations[0], chosen = count;
    for (size_t i = 0; argc == 2 && i < count; i++)
        if (strcmp(argv[1], operations[i].name) == 0)
            chosen = i;
    if (chosen == count) {
        fputs("usage: count_instructions decode|judge_new|judge_duplicate|close|draw_down\n",
              stderr);
        return 64;
    }
    make_policy(&w.policy);
    w.when = calendar_day_start(w.policy.fixed.first_day, 28800000) + 3600000;
    make_disordered_calls(&w);
    make_fold(&w);
    operations[chosen].run(&w);
    printf("{\"calls\": %d, \"compiler\": \"" __VERSION__ "\"}\n", CALLS);
    fold_destroy(w.fold);
    shelf_clear(&w.policy.shelf);
    return 0;
}
