// Months: what the database answers when a shard asks for a month's statements, and what an oracle
// that has judged every record expects of them.
#include "tests/sim/oracle.h"

// ---- the database ----

struct month_of {
    day_t first, last;
    int64_t from[INPUT_COUNT], to[INPUT_COUNT]; // offsets within its cutoffs
    int64_t closed; // sequence of its last close
};

static struct month_of month_of(const struct rows *rows, day_t last)
{
    struct month_of month = {.first = calendar_month_start(last), .last = last};
    bool begun = false;
    for (size_t i = 0; i < rows->closes.count; i++) {
        const struct day_close *close = &rows->closes.at[i].close;
        if (close->day < month.first || close->day > last)
            continue;
        for (int in = 0; in < INPUT_COUNT; in++) {
            if (!begun)
                month.from[in] = close->cutoffs[in].from_offset;
            month.to[in] = close->cutoffs[in].to_offset;
        }
        begun = true;
        month.closed = rows->closes.at[i].sequence;
    }
    return month;
}

static bool lies_in(const struct month_of *month, enum input input, int64_t offset)
{
    return offset >= month->from[input] && offset < month->to[input];
}

struct page_of {
    LIST(struct month_statement) statements;
    LIST(struct month_line) lines;
};

static bool is_line_of(const struct month_line *line, const struct line_row *row)
{
    return line->service == row->line.service && line->charge == row->line.charge &&
           line->tier_from == row->line.tier_from && line->unit_price == row->line.unit_price &&
           oracle_same(line->package_id, row->package);
}

static int compare_lines(const void *a, const void *b)
{
    const struct month_line *x = a, *y = b;
    if (x->service != y->service)
        return (int)x->service - (int)y->service;
    if (x->charge != y->charge)
        return (int)x->charge - (int)y->charge;
    int order = oracle_order(x->package_id, y->package_id);
    if (order || x->tier_from != y->tier_from)
        return order ? order : x->tier_from < y->tier_from ? -1 : 1;
    return (x->unit_price > y->unit_price) - (x->unit_price < y->unit_price);
}

static void add_line(struct page_of *page, size_t first, const struct line_row *row)
{
    size_t at = first;
    while (at < page->lines.count && !is_line_of(&page->lines.at[at], row))
        at++;
    if (at == page->lines.count)
        *list_add(&page->lines) = (struct month_line){.service = row->line.service,
                                                      .charge = row->line.charge,
                                                      .package_id = row->package,
                                                      .tier_from = row->line.tier_from,
                                                      .unit_price = row->line.unit_price};
    struct month_line *line = &page->lines.at[at];
    line->calls += row->line.calls;
    line->units += row->line.units;
    line->amount += row->line.amount;
}

// What lies in the month, and from where the ledger stands now what came after it.
static void add_settlements(const struct rows *rows, const struct month_of *month,
                            struct page_of *page, struct month_statement *s)
{
    for (size_t i = 0; i < rows->settlements.count; i++) {
        const struct settlement_row *row = &rows->settlements.at[i];
        const struct settlement *settled = &row->settlement;
        if (!oracle_same(row->account, s->account_id) || settled->day < month->first)
            continue;
        if (settled->day > month->last) {
            s->closing_balance += settled->amount;
            continue;
        }
        s->settlements++;
        s->calls += settled->calls;
        s->amount += settled->amount;
        for (size_t l = 0; l < settled->line_count; l++)
            add_line(page, s->first_line, &rows->lines.at[settled->first_line + l]);
    }
    s->line_count = page->lines.count - s->first_line;
    if (s->line_count > 1)
        qsort(&page->lines.at[s->first_line], s->line_count, sizeof *page->lines.at, compare_lines);
}

// How many of them lie in the month.
static int64_t add_credits(const struct rows *rows, const struct month_of *month,
                           struct month_statement *s)
{
    int64_t count = 0;
    for (size_t i = 0; i < rows->credits.count; i++) {
        const struct step_credit *credit = &rows->credits.at[i].credit;
        if (!oracle_same(rows->credits.at[i].account, s->account_id))
            continue;
        if (credit->offset >= month->to[INPUT_CREDITS])
            s->closing_balance -= credit->amount;
        if (!lies_in(month, INPUT_CREDITS, credit->offset))
            continue;
        count++;
        *(credit->kind == CREDIT_TOP_UP ? &s->credits : &s->adjustments) += credit->amount;
    }
    return count;
}

static void add_packages(const struct rows *rows, const struct month_of *month,
                         struct month_statement *s)
{
    for (size_t i = 0; i < rows->packages.count; i++) {
        const struct package *package = &rows->packages.at[i].package;
        if (!oracle_same(rows->packages.at[i].account, s->account_id) ||
            !lies_in(month, INPUT_PURCHASES, package->offset))
            continue;
        s->packages_bought++;
        s->packages_amount += package->amount;
    }
}

// Changes by then have lower sequences than the close.
static void find_state(const struct rows *rows, const struct month_of *month,
                       struct month_statement *s)
{
    for (size_t i = 0; i < rows->statuses.count; i++)
        if (rows->statuses.at[i].sequence < month->closed &&
            oracle_same(rows->statuses.at[i].account, s->account_id))
            s->state = rows->statuses.at[i].status.state;
}

static void state_account(const struct rows *rows, const struct month_of *month, struct slice id,
                          struct page_of *page)
{
    struct month_statement s = {.account_id = id, .first_line = page->lines.count};
    for (size_t i = 0; i < rows->accounts.count; i++)
        if (oracle_same(rows->accounts.at[i].id, id))
            s.closing_balance = rows->accounts.at[i].opening + rows->accounts.at[i].credits +
                                rows->accounts.at[i].adjustments;
    add_settlements(rows, month, page, &s);
    int64_t credits = add_credits(rows, month, &s);
    add_packages(rows, month, &s);
    find_state(rows, month, &s);
    s.opening_balance = s.closing_balance + s.amount - s.credits - s.adjustments;
    if (s.settlements + credits + s.packages_bought > 0)
        *list_add(&page->statements) = s;
}

// The next account in byte order; data NULL: there is none.
static struct slice next_account(const struct rows *rows, struct slice after)
{
    struct slice next = {NULL, 0};
    for (size_t i = 0; i < rows->accounts.count + rows->packages.count; i++) {
        struct slice id = i < rows->accounts.count
                              ? rows->accounts.at[i].id
                              : rows->packages.at[i - rows->accounts.count].account;
        if (oracle_order(id, after) > 0 && (!next.data || oracle_order(id, next) < 0))
            next = id;
    }
    return next;
}

void postgres_month(struct postgres *pg, int32_t shard, day_t month, const char *after,
                    struct month_page *out)
{
    enum { ACCOUNTS = 2 }; // so that a month has several pages
    const struct rows *rows = &pg->rows[shard];
    struct month_of within = month_of(rows, month);
    struct page_of page = {0};
    struct slice id = {after, strlen(after)};
    *out = (struct month_page){.month = month};
    for (int i = 0; i < ACCOUNTS; i++) {
        id = next_account(rows, id);
        if (!id.data)
            break;
        state_account(rows, &within, id, &page);
    }
    out->last = id;
    out->count = page.statements.count;
    out->line_count = page.lines.count;
    out->statements = (const void *)arena_copy(pg->arena, (const char *)page.statements.at,
                                               page.statements.count * sizeof *out->statements);
    out->lines = (const void *)arena_copy(pg->arena, (const char *)page.lines.at,
                                          page.lines.count * sizeof *out->lines);
    list_free(&page.statements);
    list_free(&page.lines);
}

// ---- the oracle ----

// The ledger as it was when the month's last day was settled.
void oracle_keep_month(struct oracle *o)
{
    for (size_t i = 0; i < o->accounts.count; i++)
        *list_add(&o->months) = (struct known_month){
            .month = o->day,
            .account = o->accounts.at[i].id,
            .balance = oracle_balance(&o->accounts.at[i]),
            .state = o->accounts.at[i].state,
        };
}

static struct known_month ledger_of(const struct oracle *o, struct slice id, day_t month)
{
    for (size_t i = 0; i < o->months.count; i++)
        if (o->months.at[i].month == month && oracle_same(o->months.at[i].account, id))
            return o->months.at[i];
    return (struct known_month){.state = ACCOUNT_ACTIVE};
}

static struct month_statement sums_of(const struct oracle *o, struct slice id,
                                      const struct month_of *month)
{
    struct month_statement sums = {0};
    for (size_t i = 0; i < o->rows->settlements.count; i++) {
        const struct settlement_row *row = &o->rows->settlements.at[i];
        if (!oracle_same(row->account, id) || row->settlement.day < month->first ||
            row->settlement.day > month->last)
            continue;
        sums.settlements++;
        sums.calls += row->settlement.calls;
        sums.amount += row->settlement.amount;
    }
    for (size_t i = 0; i < o->packages.count; i++) {
        if (!oracle_same(o->packages.at[i].account, id) ||
            !lies_in(month, INPUT_PURCHASES, o->packages.at[i].offset))
            continue;
        sums.packages_bought++;
        sums.packages_amount += o->packages.at[i].amount;
    }
    return sums;
}

static void check_lines(struct oracle *o, const struct month_statement *s, fen_t amount)
{
    for (size_t i = 0; i < s->line_count; i++) {
        const struct month_line *line = &o->rows->month_lines.at[s->first_line + i];
        amount -= line->amount;
        if (i > 0 && compare_lines(line - 1, line) >= 0)
            oracle_fail(o, "R75: the lines of a statement are not in order");
    }
    if (amount != 0)
        oracle_fail(o, "R75: the lines of a statement do not add up");
}

// By the balances that the judged records gave.
static void check_statement(struct oracle *o, const struct statement_row *row, struct slice id,
                            const struct month_of *month)
{
    const struct month_statement *s = &row->statement;
    struct known_month ledger = ledger_of(o, id, month->last);
    struct month_statement sums = sums_of(o, id, month);
    check_lines(o, s, sums.amount);
    bool same = s->closing_balance == ledger.balance && s->state == ledger.state &&
                s->settlements == sums.settlements && s->calls == sums.calls &&
                s->amount == sums.amount && s->packages_bought == sums.packages_bought &&
                s->packages_amount == sums.packages_amount &&
                s->opening_balance + s->credits + s->adjustments - s->amount == ledger.balance;
    struct known_month before = ledger_of(o, id, month->first - 1);
    if (!same || s->opening_balance != before.balance)
        oracle_fail(o, "R75: the statement of %.*s is another", (int)id.size, id.data);
}

static bool has_part(const struct oracle *o, struct slice id, const struct month_of *month)
{
    for (size_t i = 0; i < o->rows->settlements.count; i++) {
        const struct settlement_row *row = &o->rows->settlements.at[i];
        if (oracle_same(row->account, id) && row->settlement.day >= month->first &&
            row->settlement.day <= month->last)
            return true;
    }
    for (size_t i = 0; i < o->rows->credits.count; i++)
        if (oracle_same(o->rows->credits.at[i].account, id) &&
            lies_in(month, INPUT_CREDITS, o->rows->credits.at[i].credit.offset))
            return true;
    for (size_t i = 0; i < o->packages.count; i++)
        if (oracle_same(o->packages.at[i].account, id) &&
            lies_in(month, INPUT_PURCHASES, o->packages.at[i].offset))
            return true;
    return false;
}

// Each month whose last day is closed, in order; of the last one as many as are written.
void oracle_months(struct oracle *o)
{
    size_t at = 0;
    const struct rows *rows = o->rows;
    day_t month = calendar_month_end(o->policy->fixed.first_day);
    for (; month < rows->state.day; month = calendar_month_end(month + 1)) {
        struct month_of within = month_of(rows, month);
        struct slice id = {"", 0};
        while ((id = next_account(rows, id)).data) {
            bool written = month < rows->state.month ||
                           oracle_order(id, (struct slice){rows->state.month_after,
                                                           strlen(rows->state.month_after)}) <= 0;
            if (!written || !has_part(o, id, &within))
                continue;
            const struct statement_row *row =
                at < rows->statements.count ? &rows->statements.at[at++] : NULL;
            if (!row || row->month != month || !oracle_same(row->statement.account_id, id))
                oracle_fail(o, "R75: %.*s has no statement in its place", (int)id.size, id.data);
            else
                check_statement(o, row, id, &within);
        }
    }
    if (at != rows->statements.count)
        oracle_fail(o, "R75: %d statements, not %d", (int)rows->statements.count, (int)at);
}
