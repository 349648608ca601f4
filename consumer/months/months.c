#include "consumer/months/months.h"

#include "consumer/base/memory.h"
#include "consumer/postgres/store_deployment.h"
#include "consumer/postgres/store_sql.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct month_reader {
    PGresult *accounts, *lines; // of the page; texts stay in them
    size_t count, capacity, line_count, line_capacity;
    struct month_statement *statements;
    struct month_line *list;
};

// ---- the queries ----

// $1 the shard, $2 and $3 the month's first and last day, $4 the account before, $5 how many
// accounts, $6 the topic of the purchases. The rows of a month are told by their business day: that
// of a credit is the one that was open when it was taken, so it lies within the cutoffs of those
// days. A purchase has none, and is found by its offset.
//
// An account of a page is looked for by name only, and most have something in a month. So the
// months' indexes, which begin with the account, give what belongs to it.
#define PAGE                                                                                       \
    "with bounds as (select min(from_offset) as low, max(to_offset) as high"                       \
    "  from settled.day_cutoffs where shard = $1 and topic = $6"                                   \
    "   and business_day between $2 and $3),"                                                      \
    " page as (select account_id from ("                                                           \
    "   (select account_id from settled.accounts where shard = $1 and account_id > $4"             \
    "    order by account_id limit $5)"                                                            \
    "   union (select distinct account_id from settled.packages, bounds"                           \
    "    where shard = $1 and account_id > $4 and kafka_offset >= low and kafka_offset < high"     \
    "    order by account_id limit $5)) as a"                                                      \
    "  order by account_id limit $5)"

// The balance after the month is the present one without what came later: months before may be
// retired, those after it are not. So is the status: changes alternate.
static const char accounts_query[] =
    PAGE " select p.account_id, s.settlements, s.calls, s.amount, c.count, c.credits,"
         " c.adjustments, k.bought, k.amount,"
         " coalesce(a.balance, 0) + later.settled - later.credited,"
         " coalesce(next.status, a.status, 'ACTIVE')"
         " from page p left join settled.accounts a using (account_id)"
         " cross join lateral (select count(*) as settlements,"
         "  coalesce(sum(calls), 0)::int8 as calls, coalesce(sum(amount), 0)::int8 as amount"
         "  from settled.settlements where account_id = p.account_id"
         "   and business_day between $2 and $3) as s"
         " cross join lateral (select count(*) as count,"
         "  coalesce(sum(amount) filter (where kind = 'TOP_UP'), 0)::int8 as credits,"
         "  coalesce(sum(amount) filter (where kind = 'ADJUSTMENT'), 0)::int8 as adjustments"
         "  from settled.credits where account_id = p.account_id"
         "   and business_day between $2 and $3) as c"
         " cross join lateral (select count(*) as bought,"
         "  coalesce(sum(amount), 0)::int8 as amount from settled.packages, bounds"
         "  where account_id = p.account_id and kafka_offset >= low and kafka_offset < high) as k"
         " cross join lateral (select coalesce((select sum(amount) from settled.settlements"
         "   where account_id = p.account_id and business_day > $3), 0)::int8 as settled,"
         "  coalesce((select sum(amount) from settled.credits"
         "   where account_id = p.account_id and business_day > $3), 0)::int8 as credited) as later"
         " left join lateral (select case status when 'ACTIVE' then 'SUSPENDED'"
         "   else 'ACTIVE' end as status from settled.status_changes"
         "  where account_id = p.account_id and business_day > $3"
         "  order by account_sequence limit 1) as next on true"
         " order by p.account_id";

static const char lines_query[] =
    PAGE " select l.account_id, service, charge, package_id, tier_from, unit_price,"
         " sum(calls)::int8, sum(units)::int8, sum(amount)::int8"
         " from page p join settled.settlement_lines l on l.account_id = p.account_id"
         "  and business_day between $2 and $3"
         " group by l.account_id, service, charge, package_id, tier_from, unit_price"
         " order by l.account_id";

enum { ACCOUNT, SETTLEMENTS, CALLS, AMOUNT, CREDIT_COUNT, CREDITS, ADJUSTMENTS, BOUGHT, PAID };
enum { BALANCE = PAID + 1, STATUS };

// ---- rows into statements ----

static int read_month_line(struct store *store, const PGresult *rows, int i, struct month_line *out,
                           struct error *e)
{
    *out = (struct month_line){
        .package_id = get_slice(rows, i, 3),
        .tier_from = get_null(rows, i, 4) ? -1 : get_int8(rows, i, 4),
        .unit_price = get_int8(rows, i, 5),
        .calls = get_int8(rows, i, 6),
        .units = get_int8(rows, i, 7),
        .amount = get_int8(rows, i, 8),
    };
    if (!service_parse(get_string(rows, i, 1), &out->service))
        return store_unknown(store, "service", get_string(rows, i, 1), e);
    if (!charge_parse(get_string(rows, i, 2), &out->charge))
        return store_unknown(store, "charge", get_string(rows, i, 2), e);
    return 0;
}

// R75: the order of lines. A null package, or tier, comes first.
static int compare_lines(const void *a, const void *b)
{
    const struct month_line *x = a, *y = b;
    if (x->service != y->service)
        return x->service < y->service ? -1 : 1;
    if (x->charge != y->charge)
        return x->charge < y->charge ? -1 : 1;
    int order = slice_compare(x->package_id, y->package_id);
    if (order != 0)
        return order;
    if (x->tier_from != y->tier_from)
        return x->tier_from < y->tier_from ? -1 : 1;
    return (x->unit_price > y->unit_price) - (x->unit_price < y->unit_price);
}

// The account's lines, which are next among all of the page.
static int take_lines(struct store *store, struct month_reader *r, int *at,
                      struct month_statement *s, struct error *e)
{
    s->first_line = r->line_count;
    for (; *at < PQntuples(r->lines) && slice_same(get_slice(r->lines, *at, 0), s->account_id);
         (*at)++) {
        r->list = memory_reserve(r->list, r->line_count, &r->line_capacity, sizeof *r->list);
        if (read_month_line(store, r->lines, *at, &r->list[r->line_count++], e) != 0)
            return -1;
    }
    s->line_count = r->line_count - s->first_line;
    if (s->line_count > 1)
        qsort(r->list + s->first_line, s->line_count, sizeof *r->list, compare_lines);
    return 0;
}

static int take_account(struct store *store, struct month_reader *r, int i, int *line,
                        struct error *e)
{
    const PGresult *rows = r->accounts;
    struct month_statement s = {
        .account_id = get_slice(rows, i, ACCOUNT),
        .credits = get_int8(rows, i, CREDITS),
        .adjustments = get_int8(rows, i, ADJUSTMENTS),
        .amount = get_int8(rows, i, AMOUNT),
        .closing_balance = get_int8(rows, i, BALANCE),
        .settlements = get_int8(rows, i, SETTLEMENTS),
        .calls = get_int8(rows, i, CALLS),
        .packages_bought = get_int8(rows, i, BOUGHT),
        .packages_amount = get_int8(rows, i, PAID),
    };
    // R75: who had no settlement, credit or purchase gets none.
    if (s.settlements + get_int8(rows, i, CREDIT_COUNT) + s.packages_bought == 0)
        return 0;
    s.opening_balance = s.closing_balance + s.amount - s.credits - s.adjustments;
    if (!account_state_parse(get_string(rows, i, STATUS), &s.state))
        return store_unknown(store, "status of an account", get_string(rows, i, STATUS), e);
    if (take_lines(store, r, line, &s, e) != 0)
        return -1;
    r->statements = memory_reserve(r->statements, r->count, &r->capacity, sizeof *r->statements);
    r->statements[r->count++] = s;
    return 0;
}

// ---- pages ----

struct month_reader *month_reader_create(void)
{
    struct month_reader *reader = memory_grow(NULL, 1, sizeof *reader);
    *reader = (struct month_reader){0};
    return reader;
}

static void empty(struct month_reader *reader)
{
    PQclear(reader->accounts);
    PQclear(reader->lines);
    reader->accounts = reader->lines = NULL;
    reader->count = reader->line_count = 0;
}

void month_reader_free(struct month_reader *reader)
{
    if (!reader)
        return;
    empty(reader);
    free(reader->statements);
    free(reader->list);
    free(reader);
}

static enum store_result ask(struct store *store, const struct month_request *request,
                             struct month_reader *r, struct error *e)
{
    enum store_result result = store_topics(store, e); // asked for once on a connection
    struct sql_params params =
        SQL_PARAMS(sql_int4(request->shard), sql_day(calendar_month_start(request->month)),
                   sql_day(request->month), sql_text(request->after), sql_int8(request->limit),
                   sql_text(store->topics[INPUT_PURCHASES]));
    if (result == STORE_OK)
        result = sql_run(store, accounts_query, params, &r->accounts, e);
    if (result == STORE_OK)
        result = sql_run(store, lines_query, params, &r->lines, e);
    return result;
}

enum store_result months_load_within(struct store *store, const struct month_request *request,
                                     struct month_reader *reader, struct month_page *out,
                                     struct error *e)
{
    store = store_of(store, request->shard);
    assert(request->limit > 0);
    empty(reader);
    *out = (struct month_page){.month = request->month};
    enum store_result result = ask(store, request, reader, e);
    if (result != STORE_OK)
        return result;
    int count = PQntuples(reader->accounts), line = 0;
    for (int i = 0; i < count; i++)
        if (take_account(store, reader, i, &line, e) != 0)
            return STORE_FAILED;
    assert(line == PQntuples(reader->lines)); // each belongs to a statement
    out->count = reader->count;
    out->statements = reader->statements;
    out->line_count = reader->line_count;
    out->lines = reader->list;
    if (count == request->limit)
        out->last = get_slice(reader->accounts, count - 1, ACCOUNT);
    return STORE_OK;
}

enum store_result months_load(struct store *store, const struct month_request *request,
                              struct month_reader *reader, struct month_page *out, struct error *e)
{
    store = store_of(store, request->shard);
    enum store_result result = store_ready(store, e);
    if (result == STORE_OK)
        result = months_load_within(store, request, reader, out, e);
    return store_undo(store, result);
}
