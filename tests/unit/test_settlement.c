// Compares the settlement with the billing rules written a second time, without columns, counting
// sort or linked lists: here every call looks through every package. In random worlds both must
// agree on every line.
#include "consumer/core/preview.h"
#include "fold_fixture.h"

#include <time.h>

enum {
    SEEDS = 60,
    DAYS = 12,
    CALLS = 3000,
    PACKAGES = 600,
    LINES = 400,
    SPANS = 64,
    LATE_DAYS = 7
};

static uint64_t seed_state;

static int64_t pick(int64_t below)
{
    seed_state = seed_state * 6364136223846793005u + 1442695040888963407u;
    return (int64_t)((seed_state >> 33) % (uint64_t)below);
}

// ---- the rules again ----

static const struct {
    int64_t from;
    fen_t price;
} lead_tiers[] = {{0, 1000},    {10000, 800},  {20000, 500},
                  {50000, 400}, {100000, 300}, {500000, 250}};

static const char *const account_ids[] = {"B", "a", "ab", "客户"}; // in byte order
enum { ACCOUNTS = 4 };

struct model_call {
    struct event event;
    int account;
    enum service service;
    int64_t units, at;
    day_t day; // usage day
    bool settled;
    char id[16];
};

struct model_package {
    int account;
    enum service service;
    int64_t remaining, from, until;
    char id[16];
};

struct model_line {
    day_t day;
    enum service service;
    enum charge charge;
    const char *package;
    int64_t tier, calls, units;
    fen_t price;
    int64_t begun;
};

struct model_account {
    fen_t balance, credits, adjustments;
    bool suspended;
    int64_t sequence;
    int span_count;
    struct span spans[SPANS];
};

struct model {
    struct bench *b;
    int call_count, package_count, credit_count, line_count;
    struct model_call calls[CALLS];
    struct model_package packages[PACKAGES];
    struct model_account accounts[ACCOUNTS];
    struct model_line lines[LINES];
};

static day_t local_day(int64_t ms)
{
    return (day_t)((ms + 8 * HOUR) / DAY_MS);
}

// By the C library's calendar.
static int64_t a_year_later(int64_t ms)
{
    time_t seconds = ms / 1000 + 8 * 3600;
    struct tm tm;
    gmtime_r(&seconds, &tm);
    if (tm.tm_mon == 1 && tm.tm_mday == 29)
        tm.tm_mday = 28;
    tm.tm_year++;
    return ((int64_t)timegm(&tm) - 8 * 3600) * 1000 + ms % 1000;
}

static struct model_line *model_line(struct model *m, day_t day, enum service service,
                                     enum charge charge, const char *package, int64_t tier,
                                     fen_t price)
{
    for (int i = 0; i < m->line_count; i++) {
        struct model_line *line = &m->lines[i];
        if (line->day == day && line->service == service && line->charge == charge &&
            line->tier == tier && (!package || strcmp(package, line->package) == 0))
            return line;
    }
    assert_true(m->line_count < LINES);
    m->lines[m->line_count] =
        (struct model_line){day, service, charge, package, tier, 0, 0, price, 0};
    return &m->lines[m->line_count++];
}

// The package that the rules choose next for this call, or NULL.
static struct model_package *next_package(struct model *m, const struct model_call *c)
{
    struct model_package *best = NULL;
    for (int i = 0; i < m->package_count; i++) {
        struct model_package *p = &m->packages[i];
        if (p->account != c->account || p->service != c->service || p->remaining == 0 ||
            c->at < p->from || c->at >= p->until)
            continue;
        if (!best || p->until < best->until || (p->until == best->until && p->from < best->from) ||
            (p->until == best->until && p->from == best->from && strcmp(p->id, best->id) < 0))
            best = p;
    }
    return best;
}

static void bill_call(struct model *m, const struct model_call *c)
{
    int64_t rest = c->units;
    for (struct model_package *p; rest > 0 && (p = next_package(m, c));) {
        int64_t taken = rest < p->remaining ? rest : p->remaining;
        struct model_line *line = model_line(m, c->day, c->service, CHARGE_PACKAGE, p->id, -1, 0);
        line->calls++;
        line->begun += rest == c->units;
        line->units += taken;
        p->remaining -= taken;
        rest -= taken;
    }
    if (rest == 0 && c->units > 0)
        return;
    int64_t tier = -1;
    fen_t price = 220000;
    if (c->service == SERVICE_PURCHASE_INTENT)
        for (size_t i = 0;
             i < sizeof lead_tiers / sizeof *lead_tiers && lead_tiers[i].from <= c->units; i++) {
            tier = lead_tiers[i].from;
            price = lead_tiers[i].price;
        }
    struct model_line *line = model_line(m, c->day, c->service, CHARGE_POSTPAID, NULL, tier, price);
    line->calls++;
    line->begun += rest == c->units;
    line->units += rest;
}

static int compare_calls(const void *a, const void *b)
{
    const struct model_call *x = *(const struct model_call *const *)a,
                            *y = *(const struct model_call *const *)b;
    if (x->at != y->at)
        return x->at < y->at ? -1 : 1;
    return x->event.offset < y->event.offset ? -1 : 1;
}

static int compare_lines(const void *a, const void *b)
{
    const struct model_line *x = a, *y = b;
    if (x->day != y->day)
        return x->day < y->day ? -1 : 1;
    if (x->service != y->service)
        return x->service < y->service ? -1 : 1;
    if (x->charge != y->charge)
        return x->charge < y->charge ? -1 : 1;
    if (x->charge == CHARGE_PACKAGE)
        return strcmp(x->package, y->package);
    return x->tier < y->tier ? -1 : 1;
}

// ---- what happens in a world ----

static void add_credit(struct model *m)
{
    struct bench *b = m->b;
    int account = (int)pick(ACCOUNTS);
    struct model_account *a = &m->accounts[account];
    enum credit_kind kind = pick(3) ? CREDIT_TOP_UP : CREDIT_ADJUSTMENT;
    fen_t amount = 1 + pick(a->balance < 0 ? 2 * -a->balance : 10000000);
    if (a->balance < 0 && pick(5) == 0)
        amount = -a->balance; // to zero, which is not enough
    if (kind == CREDIT_ADJUSTMENT && pick(2))
        amount = -amount;
    if (amount > AMOUNT_MAX || amount < -AMOUNT_MAX)
        return;
    char id[16];
    snprintf(id, sizeof id, "k%d", m->credit_count++);
    accept(b, INPUT_CREDITS, credit(b, account_ids[account], id, kind, amount, b->now));
    a->balance += amount;
    *(kind == CREDIT_TOP_UP ? &a->credits : &a->adjustments) += amount;
    if (!a->suspended || a->balance <= 0)
        return;
    struct span *span = &a->spans[a->span_count - 1];
    a->suspended = false;
    a->sequence++;
    span->to = b->now > span->from ? b->now : span->from;
}

static void add_purchase(struct model *m)
{
    struct bench *b = m->b;
    struct model_package *p = &m->packages[m->package_count];
    snprintf(p->id, sizeof p->id, "p%d", m->package_count);
    assert_true(++m->package_count <= PACKAGES);
    p->account = (int)pick(ACCOUNTS);
    p->service = pick(2) ? SERVICE_AUDIENCE_INSIGHT : SERVICE_PURCHASE_INTENT;
    int64_t units = p->service == SERVICE_AUDIENCE_INSIGHT ? 50 : 10000;
    p->remaining = pick(p->service == SERVICE_AUDIENCE_INSIGHT ? 8 : 8000);
    // Now, or so long ago that the package ends in these days; often several at one instant.
    p->from = b->now - pick(2) * 365 * DAY_MS + pick(3) * DAY_MS - 2 * DAY_MS;
    if (pick(2))
        p->from -= p->from % HOUR;
    p->until = a_year_later(p->from);
    struct event ev =
        purchase(b, account_ids[p->account], p->id, p->service, units,
                 p->service == SERVICE_AUDIENCE_INSIGHT ? 10000000 : 7000000, p->from);
    ev.record.field[PURCHASE_USED] = number(units - p->remaining);
    ev.timestamp = b->now;
    accept(b, INPUT_PURCHASES, ev);
}

static int64_t some_leads(void)
{
    static const int64_t edges[] = {0, 1, 10000, 20000, 50000, 100000, 500000};
    int64_t leads = pick(3) ? edges[pick(7)] - pick(2) : pick(30000);
    return leads < 0 ? 0 : leads;
}

static bool billable(const struct model *m, day_t day)
{
    day_t open = fold_state(m->b->fold)->day;
    return day >= m->b->first_day && day >= open - LATE_DAYS;
}

static void add_call(struct model *m)
{
    struct bench *b = m->b;
    struct model_call *c = &m->calls[m->call_count];
    *c = (struct model_call){.account = (int)pick(ACCOUNTS), .service = (enum service)pick(2)};
    snprintf(c->id, sizeof c->id, "c%d", m->call_count);
    c->at = b->now + pick(6) * MINUTE - pick(3) * pick(5) * 20 * HOUR;
    if (pick(2))
        c->at -= c->at % HOUR; // where packages begin and end, and calls meet
    c->day = local_day(c->at);
    c->units = c->service == SERVICE_AUDIENCE_INSIGHT ? 1 : some_leads();
    c->event = call(b, account_ids[c->account], c->id,
                    c->service == SERVICE_AUDIENCE_INSIGHT ? -1 : c->units, c->at);
    c->event.timestamp = b->now;
    if (!billable(m, c->day)) {
        reject(b, INPUT_CALLS, c->event, REJECT_TOO_LATE);
        return;
    }
    accept(b, INPUT_CALLS, c->event);
    assert_true(++m->call_count < CALLS);
}

// One of the earlier calls once more.
static void repeat_call(struct model *m)
{
    if (m->call_count == 0)
        return;
    const struct model_call *c = &m->calls[pick(m->call_count)];
    struct event ev = c->event;
    ev.offset = m->b->offsets[INPUT_CALLS]++;
    ev.timestamp = m->b->now;
    if (billable(m, c->day))
        duplicate(m->b, INPUT_CALLS, ev);
    else
        reject(m->b, INPUT_CALLS, ev, REJECT_TOO_LATE);
}

// ---- comparing ----

static void compare_settlement(struct model *m, int account, const struct settlement *s,
                               int64_t calls, int64_t suspended)
{
    struct model_account *a = &m->accounts[account];
    const struct step *step = fold_step(m->b->fold);
    fen_t amount = 0;
    qsort(m->lines, (size_t)m->line_count, sizeof *m->lines, compare_lines);
    assert_int_equal(s->line_count, m->line_count);
    for (int i = 0; i < m->line_count; i++) {
        const struct settlement_line *line = &step->lines[s->first_line + (size_t)i];
        const struct model_line *want = &m->lines[i];
        assert_int_equal(line->usage_day, want->day);
        assert_int_equal(line->service, want->service);
        assert_int_equal(line->charge, want->charge);
        if (want->package)
            assert_string_equal(fold_package(m->b->fold, line->package)->id.data, want->package);
        assert_int_equal(line->tier_from, want->tier);
        assert_int_equal(line->calls, want->calls);
        assert_int_equal(line->begun, want->begun);
        assert_int_equal(line->units, want->units);
        assert_int_equal(line->unit_price, want->price);
        assert_int_equal(line->amount, want->units * want->price);
        amount += want->units * want->price;
    }
    assert_int_equal(s->calls, calls);
    assert_int_equal(s->calls_while_suspended, suspended);
    assert_int_equal(s->amount, amount);
    assert_int_equal(s->credits, a->credits);
    assert_int_equal(s->adjustments, a->adjustments);
    assert_int_equal(s->opening_balance, a->balance - a->credits - a->adjustments);
    a->balance -= amount;
    a->credits = a->adjustments = 0;
    assert_int_equal(s->closing_balance, a->balance);
    if (a->balance < 0 && !a->suspended) {
        a->suspended = true;
        a->sequence++;
        assert_true(a->span_count < SPANS);
        a->spans[a->span_count++] =
            (struct span){calendar_day_start(s->day + 1, 8 * 3600000), INT64_MAX};
    }
    assert_int_equal(s->state, a->suspended ? ACCOUNT_SUSPENDED : ACCOUNT_ACTIVE);
    assert_int_equal(fold_account(m->b->fold, s->account)->account_sequence, a->sequence);
}

// Bills what the account used, and compares. Returns whether it used anything.
static bool settle_account(struct model *m, int account, day_t day, const struct settlement *s)
{
    struct model_call *order[CALLS];
    size_t count = 0;
    int64_t suspended = 0;
    m->line_count = 0;
    for (int i = 0; i < m->call_count; i++)
        if (m->calls[i].account == account && !m->calls[i].settled && m->calls[i].day <= day)
            order[count++] = &m->calls[i];
    if (count == 0)
        return false;
    qsort(order, count, sizeof(struct model_call *), compare_calls);
    for (size_t i = 0; i < count; i++) {
        order[i]->settled = true;
        bill_call(m, order[i]);
        bool within = false;
        for (int n = 0; n < m->accounts[account].span_count; n++) {
            const struct span *span = &m->accounts[account].spans[n];
            within = within || (order[i]->at >= span->from && order[i]->at < span->to);
        }
        suspended += within;
    }
    assert_int_equal(s->day, day);
    struct slice id = fold_account(m->b->fold, s->account)->id;
    assert_string_equal(id.data, account_ids[account]);
    compare_settlement(m, account, s, (int64_t)count, suspended);
    return true;
}

static void settle_day(struct model *m)
{
    day_t day = fold_state(m->b->fold)->day;
    const struct step *step = settle(m->b);
    size_t settled = 0;
    for (int a = 0; a < ACCOUNTS; a++)
        settled += settle_account(
            m, a, day, settled < step->settlement_count ? &step->settlements[settled] : NULL);
    assert_int_equal(step->settlement_count, settled);
    for (int i = 0; i < m->package_count; i++)
        assert_int_equal(fold_package(m->b->fold, (uint32_t)i)->remaining,
                         m->packages[i].remaining);
    fold_step_done(m->b->fold);
}

// ---- previews ----

// Somebody asks about one account after another, and takes a piece at a time while the fold goes
// on.
struct asker {
    struct preview *preview; // NULL: none at hand
    int account;
    uint64_t fold; // the number of the world's
    int64_t compared, with_two_days; // how many
};

// What the rules make of the account's calls up to `day`, and what its balance then is.
static void compare_day(struct model *m, int account, const struct preview_day *got)
{
    struct model_account *a = &m->accounts[account];
    struct model_call *order[CALLS];
    size_t count = 0;
    struct preview_use want[SERVICE_COUNT] = {0};
    fen_t amount = 0;
    m->line_count = 0;
    for (int i = 0; i < m->call_count; i++)
        if (m->calls[i].account == account && !m->calls[i].settled && m->calls[i].day <= got->day)
            order[count++] = &m->calls[i];
    qsort(order, count, sizeof(struct model_call *), compare_calls);
    for (size_t i = 0; i < count; i++) {
        order[i]->settled = true;
        bill_call(m, order[i]);
        want[order[i]->service].calls++;
        want[order[i]->service].units += order[i]->units;
    }
    for (int i = 0; i < m->line_count; i++) {
        want[m->lines[i].service].amount += m->lines[i].units * m->lines[i].price;
        amount += m->lines[i].units * m->lines[i].price;
    }
    for (int service = 0; service < SERVICE_COUNT; service++) {
        assert_int_equal(got->services[service].calls, want[service].calls);
        assert_int_equal(got->services[service].units, want[service].units);
        assert_int_equal(got->services[service].amount, want[service].amount);
    }
    a->balance -= amount;
    a->suspended = a->suspended || (count > 0 && a->balance < 0);
    assert_int_equal(got->calls, count);
    assert_int_equal(got->amount, amount);
    assert_int_equal(got->balance_after, a->balance);
    assert_int_equal(got->state_after, a->suspended ? ACCOUNT_SUSPENDED : ACCOUNT_ACTIVE);
}

static const struct model_package *named_package(const struct model *m, struct slice id)
{
    for (int i = 0; i < m->package_count; i++)
        if (slice_same(slice_text(m->packages[i].id), id))
            return &m->packages[i];
    fail_msg("no package %.*s", (int)id.size, id.data);
    return NULL;
}

// Bills the days on a copy of the model.
static void compare_preview(const struct model *m, struct asker *asker)
{
    const struct preview_result *got = preview_result(asker->preview);
    const struct model_account *a = &m->accounts[asker->account];
    struct model *copy = malloc(sizeof *copy);
    assert_non_null(copy);
    *copy = *m;
    assert_int_equal(got->day, fold_state(m->b->fold)->day);
    for (int i = 0; i < INPUT_COUNT; i++)
        assert_int_equal(got->next[i], m->b->offsets[i]);
    assert_int_equal(account_balance(&got->account), a->balance);
    assert_int_equal(got->account.state, a->suspended ? ACCOUNT_SUSPENDED : ACCOUNT_ACTIVE);
    assert_int_equal(got->account.account_sequence, a->sequence);
    assert_true(got->day_count > 0);
    for (size_t i = 0; i < got->day_count; i++) {
        assert_int_equal(got->days[i].day, got->day + (int)i);
        compare_day(copy, asker->account, &got->days[i]);
    }
    for (int i = 0; i < copy->call_count; i++)
        assert_true(copy->calls[i].settled || copy->calls[i].account != asker->account);
    for (size_t i = 0; i < got->package_count; i++) {
        struct slice id = got->packages[i].package.id;
        assert_int_equal(got->packages[i].package.remaining, named_package(m, id)->remaining);
        assert_int_equal(got->packages[i].remaining_now, named_package(copy, id)->remaining);
    }
    asker->compared++;
    asker->with_two_days += got->day_count > 1;
    free(copy);
}

static void ask_on(struct model *m, struct asker *asker)
{
    struct error e;
    if (!asker->preview) {
        asker->account = (int)pick(ACCOUNTS);
        asker->preview = preview_create(slice_text(account_ids[asker->account]));
        assert_non_null(asker->preview);
    }
    if (!preview_take(asker->preview, m->b->fold, asker->fold, (size_t)(1 + pick(30))))
        return;
    assert_int_equal(preview_settle(asker->preview, &e), 0);
    if (preview_result(asker->preview)->known)
        compare_preview(m, asker);
    preview_destroy(asker->preview);
    asker->preview = NULL;
}

static void run_world(uint64_t seed, struct asker *asker)
{
    // One of them has packages that were bought on 29 February.
    static const char *const first_days[] = {"2026-11-01", "2029-02-26", "2027-12-28"};
    struct model *m = calloc(1, sizeof *m);
    struct bench *b = m->b = calloc(1, sizeof *b);
    seed_state = seed;
    asker->fold++;
    bench_policy(b);
    assert_true(calendar_parse_day(first_days[seed % 3], &b->first_day));
    b->policy.fixed.first_day = b->first_day;
    b->fold = bench_fold(b);
    fold_begin(b->fold, (int64_t[INPUT_COUNT]){0, 0, 0});
    b->now = at(b, 0, 0);
    for (int day = 0; day < DAYS; day++) {
        for (b->now = at(b, day, 5 * MINUTE); b->now < fold_due_at(b->fold);
             b->now += pick(40) * MINUTE) {
            if (pick(6) == 0)
                add_credit(m);
            if (pick(6) == 0)
                add_purchase(m);
            if (pick(6) == 0)
                repeat_call(m);
            for (int64_t n = pick(4); n > 0; n--)
                add_call(m);
            if (fold_step(b->fold)->moved)
                fold_step_done(b->fold);
            ask_on(m, asker);
        }
        settle_day(m);
    }
    bench_destroy(b);
    free(m);
}

// R4, R6, R8, R12, R13, R14, R15, R16, R19, R20, R25, R33, R34, R35, R38
// What is asked about meanwhile is what the rules make of it at that moment, and changes nothing.
static void random_worlds_are_settled_by_the_rules(void **state)
{
    struct asker asker = {0};
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++)
        run_world(seed, &asker);
    preview_destroy(asker.preview);
    assert_true(asker.compared > 1000);
    assert_true(asker.with_two_days > 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(random_worlds_are_settled_by_the_rules)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
