#include "consumer/audit/store_audit_rows.h"

#include "consumer/audit/store_audit_sql.h"
#include "consumer/base/arena.h"
#include "consumer/base/memory.h"
#include "consumer/base/text.h"
#include "consumer/postgres/store_relay.h"
#include "consumer/postgres/store_step.h"

#include <assert.h>
#include <endian.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    FETCH_ROWS = 4096,
    QUERY_SIZE = 4096,
    COLUMNS_MAX = 32,
    VALUE_SIZE = 320,
    KEY_SIZE = 512,
    NAME_SIZE = 64
};

// A row's values, each after its length, as bytes_values writes them.
struct cells {
    const unsigned char *data;
    size_t size, key_size;
    size_t message; // expected: the number of its message; SIZE_MAX: none
};

struct cells_list {
    size_t count, capacity;
    struct cells *list;
};

struct side {
    const struct table *table;
    int keys; // leading columns that make the key
    int account, sequence; // their columns; -1: none
    bool verdicts; // the recorded ones rule the fold
    unsigned ignored; // bit i: column i is not compared
    int column_count;
    char names[COLUMNS_MAX][NAME_SIZE];
    Oid types[COLUMNS_MAX]; // known once a row was asked for
    struct arena *arena; // of both lists
    struct cells_list recorded, expected;
    // The cursor: the next row is rows[at] of what was fetched last.
    bool open, ended;
    PGresult *rows;
    int at;
    size_t verdict; // how far audit_rows_verdict has come in `recorded`
};

struct audit_rows {
    struct store *store;
    struct audit_range range;
    struct side windowed[AUDIT_WINDOWED];
    size_t compared;
    struct bytes scratch;
};

// ---- where each table's rows come from ----

// $1 the shard, $2 and $3 the bounds of `at`, $4 the input's topic, $5 the account when it is
// one's, $6 and $7 the bounds of the business day, the latter null for none. Most rejects are
// decided after they were judged, so that their decisions are compared with the decisions
// themselves, and not here.
#define WITHIN_DAYS "business_day >= $6 and ($7 is null or business_day <= $7)"
// The statements of a month are written in the day after its last one, which is theirs.
#define DAY_AFTER "(business_day - date '1970-01-01' + 1)"
#define WITHIN_DAYS_AFTER "business_day >= $6 - 1 and ($7 is null or business_day < $7)"
static const struct {
    enum step_load load;
    int keys;
    const char *at, *from, *order;
    const char *ignored; // columns that a fold cannot give
    const char *within; // NULL: WITHIN_DAYS
} origins[AUDIT_WINDOWED] = {
    [AUDIT_CALL_REJECTS] = {STEP_REJECTS, 3, "kafka_offset",
                            "settled.rejects where partition = $1 and topic = $4", "kafka_offset",
                            "decision", NULL},
    [AUDIT_PURCHASE_REJECTS] = {STEP_REJECTS, 3, "kafka_offset",
                                "settled.rejects where partition = $1 and topic = $4",
                                "kafka_offset", "decision", NULL},
    [AUDIT_CREDIT_REJECTS] = {STEP_REJECTS, 3, "kafka_offset",
                              "settled.rejects where partition = $1 and topic = $4", "kafka_offset",
                              "decision", NULL},
    [AUDIT_CREDITS] = {STEP_CREDITS, 3, "kafka_offset", "settled.credits where shard = $1",
                       "kafka_offset", "", NULL},
    [AUDIT_SETTLEMENTS] = {STEP_SETTLEMENTS, 2, "(business_day - date '1970-01-01')",
                           "settled.settlements where shard = $1", "business_day, account_id", "",
                           NULL},
    // A line has no shard of its own: it belongs to the shard of its settlement, or else of its
    // account. A line with neither counts to shard 0.
    [AUDIT_LINES] =
        {STEP_LINES, 3, "(business_day - date '1970-01-01')",
         "settled.settlement_lines left join (select account_id as a, business_day as d, shard as s"
         " from settled.settlements where " WITHIN_DAYS ") o on a = account_id and d = business_day"
         " left join (select account_id as b, shard as t from settled.accounts) p on b = account_id"
         " where coalesce(s, t, 0) = $1",
         "business_day, account_id, line_no", "", NULL},
    [AUDIT_STATUSES] = {STEP_STATUSES, 2, "sequence", "settled.status_changes where shard = $1",
                        "sequence", "", NULL},
    [AUDIT_NOTICES] = {STEP_NOTICES, 3, "(business_day - date '1970-01-01')",
                       "settled.notices where shard = $1", "business_day, account_id, notice_id",
                       "", NULL},
    [AUDIT_CUTOFFS] = {STEP_CUTOFFS, 3, "(business_day - date '1970-01-01')",
                       "settled.day_cutoffs where shard = $1", "business_day", "", NULL},
    [AUDIT_STATEMENTS] = {STEP_STATEMENTS, 2, DAY_AFTER,
                          "settled.month_statements where shard = $1", "business_day, account_id",
                          "", WITHIN_DAYS_AFTER},
    // Likewise of the shard of their statement, or else of their account.
    [AUDIT_MONTH_LINES] =
        {STEP_MONTH_LINES, 3, DAY_AFTER,
         "settled.month_statement_lines left join (select account_id as a, business_day as d,"
         " shard as s from settled.month_statements where " WITHIN_DAYS_AFTER
         ") o on a = account_id and d = business_day"
         " left join (select account_id as b, shard as t from settled.accounts) p on b = account_id"
         " where coalesce(s, t, 0) = $1",
         "business_day, account_id, line_no", "", WITHIN_DAYS_AFTER},
    [AUDIT_CLOSES] = {STEP_CLOSES, 2, "(business_day - date '1970-01-01')",
                      "settled.day_closes where shard = $1", "business_day", "closed_at", NULL},
};

// ---- columns ----

static void name_columns(struct side *side, const char *ignored)
{
    const char *at = side->table->columns;
    side->account = side->sequence = -1;
    while (*at) {
        size_t size = strcspn(at, ", ");
        int column = side->column_count++;
        assert(column < COLUMNS_MAX && size < NAME_SIZE);
        snprintf(side->names[column], NAME_SIZE, "%.*s", (int)size, at);
        if (strcmp(side->names[column], "account_id") == 0)
            side->account = column;
        if (strcmp(side->names[column], "sequence") == 0)
            side->sequence = column;
        if (strcmp(side->names[column], "sequence") == 0 ||
            strcmp(side->names[column], ignored) == 0)
            side->ignored |= 1u << column;
        at += size;
        at += strspn(at, ", ");
    }
    assert(side->column_count == side->table->column_count);
}

static void side_create(struct side *side, enum step_load load, int keys, const char *ignored)
{
    assert(keys > 0);
    assert(keys < step_table(load)->column_count);
    *side = (struct side){.table = step_table(load), .keys = keys, .arena = arena_create()};
    if (!side->arena)
        abort();
    name_columns(side, ignored);
}

static void side_release(struct side *side)
{
    PQclear(side->rows);
    arena_destroy(side->arena);
    free(side->recorded.list);
    free(side->expected.list);
}

// The value of one column; data NULL for null.
static struct slice cell(const struct cells *cells, int column)
{
    const unsigned char *at = cells->data;
    assert(column >= 0);
    for (;; column--) {
        uint32_t wire;
        memcpy(&wire, at, sizeof wire);
        int32_t length = (int32_t)be32toh(wire);
        at += sizeof wire;
        if (column == 0)
            return length < 0 ? (struct slice){0}
                              : (struct slice){(const char *)at, (size_t)length};
        at += length < 0 ? 0 : length;
    }
}

static int64_t cell_number(struct slice value)
{
    if (!value.data)
        return 0;
    uint64_t number = value.data[0] & 0x80 ? UINT64_MAX : 0;
    for (size_t i = 0; i < value.size; i++)
        number = number << 8 | (unsigned char)value.data[i];
    return (int64_t)number;
}

static const char *show(const struct side *side, const struct cells *cells, int column,
                        int32_t zone_ms, char out[VALUE_SIZE])
{
    struct slice value = cell(cells, column);
    char text[INSTANT_TEXT_SIZE];
    int64_t number = cell_number(value);
    if (!value.data)
        return "null";
    switch (side->types[column]) {
    case SQL_INT2:
    case SQL_INT4:
    case SQL_INT8:
        snprintf(out, VALUE_SIZE, "%" PRId64, number);
        break;
    case SQL_DATE:
        snprintf(out, VALUE_SIZE, "%s",
                 calendar_format_day((day_t)number + STORE_EPOCH_DAYS, text));
        break;
    case SQL_TIMESTAMPTZ:
        number = number / STORE_MICROS + STORE_EPOCH_DAYS * DAY_MS;
        snprintf(out, VALUE_SIZE, "%s", calendar_format_instant(number, zone_ms, text));
        break;
    default:
        text_show(value, out, VALUE_SIZE);
    }
    return out;
}

// ---- lists ----

static size_t key_size(const struct side *side, const unsigned char *data)
{
    struct cells cells = {.data = data};
    struct slice last = cell(&cells, side->keys - 1);
    return (size_t)((const unsigned char *)last.data - data) + last.size;
}

static void add(struct side *side, struct cells_list *list, const struct bytes *row, size_t message)
{
    unsigned char *data = arena_alloc(side->arena, row->used);
    memcpy(data, row->data, row->used);
    list->list = memory_reserve(list->list, list->count, &list->capacity, sizeof *list->list);
    list->list[list->count++] = (struct cells){data, row->used, key_size(side, data), message};
}

static bool is_wanted(const struct audit_rows *rows, const struct side *side,
                      const unsigned char *data)
{
    if (!rows->range.account_id.data)
        return true;
    struct cells cells = {.data = data};
    return side->account >= 0 && slice_same(cell(&cells, side->account), rows->range.account_id);
}

static void add_recorded(struct audit_rows *rows, struct side *side, const PGresult *result, int i,
                         int first)
{
    rows->scratch.used = 0;
    for (int c = 0; c < side->column_count; c++)
        bytes_field(&rows->scratch, get_slice(result, i, first + c));
    // The recorded verdicts of all accounts are needed, whichever account is compared.
    if (side->verdicts || is_wanted(rows, side, rows->scratch.data))
        add(side, &side->recorded, &rows->scratch, SIZE_MAX);
}

static void add_expected(struct audit_rows *rows, struct side *side, const struct sql_row *row,
                         size_t message)
{
    assert(row->count == side->column_count);
    rows->scratch.used = 0;
    bytes_values(&rows->scratch, sql_row_params(row));
    if (is_wanted(rows, side, rows->scratch.data))
        add(side, &side->expected, &rows->scratch, message);
}

static void empty(struct side *side)
{
    side->recorded.count = side->expected.count = side->verdict = 0;
    arena_reset(side->arena);
}

// ---- cursors ----

static enum store_result open_cursor(struct audit_rows *rows, enum audit_table table,
                                     struct error *e)
{
    char query[QUERY_SIZE];
    struct side *side = &rows->windowed[table];
    const struct audit_range *range = &rows->range;
    const char *topic =
        table <= AUDIT_CREDIT_REJECTS ? rows->store->topics[table - AUDIT_CALL_REJECTS] : "";
    bool one_account = range->account_id.data && side->account >= 0 && !side->verdicts;
    assert(PQtransactionStatus(rows->store->conn) == PQTRANS_INTRANS); // the snapshot
    int size = snprintf(query, sizeof query,
                        "declare audit_%d no scroll cursor for select %s::int8, %s from %s and %s "
                        ">= $2 and %s < $3 and %s%s order by %s",
                        (int)table, origins[table].at, side->table->columns, origins[table].from,
                        origins[table].at, origins[table].at,
                        origins[table].within ? origins[table].within : WITHIN_DAYS,
                        one_account ? " and account_id = $5" : "", origins[table].order);
    assert(size > 0 && (size_t)size < sizeof query);
    enum store_result result = sql_run(
        rows->store, query,
        SQL_PARAMS(sql_int4(range->shard), sql_int8(range->from[table]), sql_int8(range->to[table]),
                   sql_text(topic), sql_slice(range->account_id), sql_day(range->first_day),
                   sql_given(range->last_day != DAY_NONE, sql_day(range->last_day))),
        NULL, e);
    side->open = result == STORE_OK;
    return result;
}

static enum store_result fetch(struct audit_rows *rows, enum audit_table table, struct error *e)
{
    char text[64];
    struct side *side = &rows->windowed[table];
    PQclear(side->rows);
    side->rows = NULL;
    side->at = 0;
    snprintf(text, sizeof text, "fetch forward %d from audit_%d", FETCH_ROWS, (int)table);
    enum store_result result = sql_run(rows->store, text, SQL_NO_PARAMS, &side->rows, e);
    if (result != STORE_OK)
        return result;
    side->ended = PQntuples(side->rows) == 0;
    for (int c = 0; c < side->column_count; c++)
        side->types[c] = PQftype(side->rows, c + 1);
    return STORE_OK;
}

// For a row of open_cursor: the fold follows the recorded verdict, so a row with an unknown verdict
// cannot be folded.
static int check_verdict(const struct store *store, const PGresult *result, int i, struct error *e)
{
    enum { TOPIC = 1, PARTITION, OFFSET, REASON };
    enum reject_reason reason;
    if (reject_parse(get_string(result, i, REASON), &reason))
        return 0;
    store_unknown(store, "reject reason", get_string(result, i, REASON), e);
    return error_context(e, "the reject of %s/%" PRId32 "/%" PRId64, get_string(result, i, TOPIC),
                         get_int4(result, i, PARTITION), get_int8(result, i, OFFSET));
}

static enum store_result load_table(struct audit_rows *rows, enum audit_table table, int64_t to,
                                    struct error *e)
{
    struct side *side = &rows->windowed[table];
    enum store_result result = side->open ? STORE_OK : open_cursor(rows, table, e);
    while (result == STORE_OK && !side->ended) {
        if (!side->rows || side->at == PQntuples(side->rows)) {
            result = fetch(rows, table, e);
            continue;
        }
        if (get_int8(side->rows, side->at, 0) >= to)
            break;
        if (side->verdicts && check_verdict(rows->store, side->rows, side->at, e))
            return STORE_FAILED;
        add_recorded(rows, side, side->rows, side->at, 1);
        side->at++;
    }
    return result;
}

enum store_result audit_rows_load(struct audit_rows *rows, const int64_t to[AUDIT_WINDOWED],
                                  struct error *e)
{
    enum store_result result = STORE_OK;
    for (enum audit_table t = 0; t < AUDIT_WINDOWED && result == STORE_OK; t++) {
        // When only one account is compared, tables without accounts are left out.
        if (rows->range.account_id.data && rows->windowed[t].account < 0)
            continue;
        result = load_table(rows, t, to[t], e);
    }
    return result;
}

enum reject_reason audit_rows_verdict(struct audit_rows *rows, enum input input, int64_t offset,
                                      const char **detail)
{
    enum { OFFSET = 2, REASON = 3, DETAIL = 4 };
    assert(input < INPUT_COUNT);
    struct side *side = &rows->windowed[AUDIT_CALL_REJECTS + input];
    char symbol[VALUE_SIZE];
    enum reject_reason reason;
    const struct cells *found = NULL;
    for (; side->verdict < side->recorded.count; side->verdict++) {
        found = &side->recorded.list[side->verdict];
        if (cell_number(cell(found, OFFSET)) >= offset)
            break;
    }
    if (side->verdict == side->recorded.count || cell_number(cell(found, OFFSET)) != offset)
        return REJECT_NONE;
    struct slice text = cell(found, DETAIL);
    *detail = arena_copy(side->arena, text.data, text.size);
    text_show(cell(found, REASON), symbol, sizeof symbol);
    bool known = reject_parse(symbol, &reason); // check_verdict has made sure
    assert(known);
    return known ? reason : REJECT_NONE;
}

// ---- what a step would have written ----

static size_t message_of(const struct commit *c, enum audit_table table, size_t i, size_t first)
{
    static const int kinds[AUDIT_WINDOWED] = {
        [AUDIT_CALL_REJECTS] = EMIT_REJECT,
        [AUDIT_PURCHASE_REJECTS] = EMIT_REJECT,
        [AUDIT_CREDIT_REJECTS] = EMIT_REJECT,
        [AUDIT_CREDITS] = -1,
        [AUDIT_SETTLEMENTS] = EMIT_SETTLEMENT,
        [AUDIT_LINES] = -1,
        [AUDIT_STATUSES] = EMIT_STATUS,
        [AUDIT_NOTICES] = EMIT_NOTICE,
        [AUDIT_CUTOFFS] = -1,
        [AUDIT_CLOSES] = EMIT_DAY_CLOSE,
        [AUDIT_STATEMENTS] = EMIT_STATEMENT,
        [AUDIT_MONTH_LINES] = -1,
    };
    if (kinds[table] < 0)
        return SIZE_MAX;
    assert(c->sequences[kinds[table]][i] > c->row->chain.sequence); // I3
    assert(c->sequences[kinds[table]][i] <= c->outbox->after.sequence); // I3
    return first + (size_t)(c->sequences[kinds[table]][i] - c->row->chain.sequence - 1);
}

static void expect(struct audit_rows *rows, enum audit_table table, const struct load *load,
                   struct commit *c, size_t first)
{
    struct side *side = &rows->windowed[table];
    for (size_t i = 0; i < load->count; i++) {
        if (table <= AUDIT_CREDIT_REJECTS &&
            c->step->rejects[i].input != (enum input)(table - AUDIT_CALL_REJECTS))
            continue;
        struct sql_row row;
        if (load->encode(c, i, &row))
            add_expected(rows, side, &row, message_of(c, table, i, first));
    }
}

void audit_rows_expect(struct audit_rows *rows, const struct fold *fold, const struct chain *before,
                       const struct outbox *outbox, size_t first)
{
    struct shard_row row = {.chain = *before};
    struct commit c = {.store = rows->store,
                       .shard = rows->range.shard,
                       .row = &row,
                       .fold = fold,
                       .step = fold_step(fold),
                       .outbox = outbox};
    struct load loads[STEP_LOADS];
    step_rows_number(&c);
    step_rows(&c, loads);
    for (enum audit_table t = 0; t < AUDIT_WINDOWED; t++)
        expect(rows, t, &loads[origins[t].load], &c, first);
    step_rows_release(&c);
}

// ---- side by side ----

struct comparison {
    struct audit_rows *rows;
    struct side *side;
    day_t day;
    difference_visit *visit;
    audit_number *number;
    void *context;
};

static struct slice key_of(const struct cells *cells)
{
    return (struct slice){(const char *)cells->data, cells->key_size};
}

static int compare_keys(const void *a, const void *b)
{
    return slice_compare(key_of(a), key_of(b));
}

static void tell(const struct comparison *c, const struct cells *row, const char *field,
                 const char *recorded, const char *folded)
{
    const struct side *side = c->side;
    char key[KEY_SIZE], value[VALUE_SIZE];
    size_t used = 0;
    for (int i = 0; i < side->keys && used < sizeof key; i++)
        used += (size_t)snprintf(key + used, sizeof key - used, "%s%s", i ? "/" : "",
                                 show(side, row, i, c->rows->range.zone_ms, value));
    c->visit(c->context,
             &(struct difference){.where = strchr(side->table->name, '.') + 1,
                                  .key = key,
                                  .account_id = side->account < 0 ? (struct slice){0}
                                                                  : cell(row, side->account),
                                  .day = c->day,
                                  .field = field,
                                  .recorded = recorded,
                                  .folded = folded});
}

static void compare_row(const struct comparison *c, const struct cells *recorded,
                        const struct cells *expected)
{
    const struct side *side = c->side;
    char a[VALUE_SIZE], b[VALUE_SIZE];
    for (int i = side->keys; i < side->column_count; i++) {
        if (side->ignored & 1u << i || slice_same(cell(recorded, i), cell(expected, i)))
            continue;
        tell(c, recorded, side->names[i], show(side, recorded, i, c->rows->range.zone_ms, a),
             show(side, expected, i, c->rows->range.zone_ms, b));
    }
    if (c->number && side->sequence >= 0 && expected->message != SIZE_MAX)
        c->number(c->context, expected->message, cell_number(cell(recorded, side->sequence)));
}

static void compare_side(const struct comparison *c)
{
    struct side *side = c->side;
    struct cells_list *recorded = &side->recorded, *expected = &side->expected;
    size_t r = 0, x = 0;
    if (recorded->count)
        qsort(recorded->list, recorded->count, sizeof *recorded->list, compare_keys);
    if (expected->count)
        qsort(expected->list, expected->count, sizeof *expected->list, compare_keys);
    while (r < recorded->count || x < expected->count) {
        int order = r == recorded->count   ? 1
                    : x == expected->count ? -1
                                           : compare_keys(&recorded->list[r], &expected->list[x]);
        bool wanted = order >= 0 || is_wanted(c->rows, side, recorded->list[r].data);
        if (order < 0 && wanted)
            tell(c, &recorded->list[r], NULL, "a row", NULL);
        else if (order > 0)
            tell(c, &expected->list[x], NULL, NULL, "a row");
        else if (order == 0)
            compare_row(c, &recorded->list[r], &expected->list[x]);
        r += order <= 0;
        x += order >= 0;
        c->rows->compared += wanted;
    }
    assert(r == recorded->count);
    assert(x == expected->count);
    empty(side);
}

void audit_rows_compare(struct audit_rows *rows, day_t day, difference_visit *visit,
                        audit_number *number, void *context)
{
    for (enum audit_table t = 0; t < AUDIT_WINDOWED; t++) {
        struct side *side = &rows->windowed[t];
        compare_side(&(struct comparison){rows, side, day, visit, number, context});
    }
}

size_t audit_rows_compared(const struct audit_rows *rows)
{
    return rows->compared;
}

// ---- accounts, packages, logs ----

struct state_load {
    struct audit_rows *rows;
    struct side *side;
};

static int take_row(void *context, const PGresult *result, int i, struct error *e)
{
    struct state_load *load = context;
    (void)e;
    for (int c = 0; c < load->side->column_count; c++)
        load->side->types[c] = PQftype(result, c);
    add_recorded(load->rows, load->side, result, i, 0);
    return 0;
}

static void expect_accounts(struct audit_rows *rows, struct side *side, const struct fold *fold)
{
    for (uint32_t a = 0; a < fold_account_count(fold); a++) {
        if (fold_account(fold, a)->position == 0)
            continue; // it has calls or packages only: no row
        struct sql_row row;
        step_set_account(&row, rows->range.shard, fold_account(fold, a));
        add_expected(rows, side, &row, SIZE_MAX);
    }
}

static void expect_packages(struct audit_rows *rows, struct side *side, const struct fold *fold)
{
    for (uint32_t p = 0; p < fold_package_count(fold); p++) {
        struct sql_row row;
        step_set_package(&row, rows->range.shard, fold, fold_package(fold, p));
        add_expected(rows, side, &row, SIZE_MAX);
    }
}

// If nothing was read of a log, its last record is not known: then the recorded one is taken.
static void expect_logs(struct audit_rows *rows, struct side *side, const struct fold *fold)
{
    bool unread = false;
    for (int i = 0; i < INPUT_COUNT; i++) {
        const struct log_state *log = &fold_state(fold)->log[i];
        unread = unread || log->last_offset < 0;
        struct sql_row row;
        step_set_log(&row, rows->range.shard, rows->store->topics[i], log);
        add_expected(rows, side, &row, SIZE_MAX);
    }
    for (int c = 0; unread && c < side->column_count; c++)
        if (strncmp(side->names[c], "last_", 5) == 0)
            side->ignored |= 1u << c;
}

static const struct {
    enum step_load load;
    int keys;
    enum input input;
    const char *now, *then_with, *then_columns; // the last two NULL: only now
    void (*expect)(struct audit_rows *rows, struct side *side, const struct fold *fold);
} states[] = {
    {STEP_ACCOUNTS, 1, INPUT_CREDITS, "settled.accounts where shard = $1", ACCOUNTS_THEN,
     "account_id, shard, " ACCOUNTS_THEN_BALANCE
     ", status, account_sequence, opening, credits, adjustments, position, suspended_since"
     " from a",
     expect_accounts},
    {STEP_PACKAGES, 3, INPUT_PURCHASES, "settled.packages where shard = $1", PACKAGES_THEN,
     "account_id, package_id, kafka_offset, service, units, remaining, amount, valid_from, "
     "valid_until, shard, used"
     " from p",
     expect_packages},
    {STEP_LOGS, 2, INPUT_CALLS, "settled.shard_logs where shard = $1", NULL, NULL, expect_logs},
};

static enum store_result compare_state(struct audit_rows *rows, size_t i, const struct fold *fold,
                                       const struct audit_point *then, const struct comparison *how,
                                       struct error *e)
{
    char query[QUERY_SIZE];
    struct side side;
    struct sql_row params;
    side_create(&side, states[i].load, states[i].keys, "");
    if (then) {
        audit_point_parameters(&params, rows->range.shard, then, states[i].input);
        snprintf(query, sizeof query, "%s select %s", states[i].then_with, states[i].then_columns);
    } else {
        sql_row_set(&params, SQL_PARAMS(sql_int4(rows->range.shard)));
        snprintf(query, sizeof query, "select %s from %s", side.table->columns, states[i].now);
    }
    struct state_load load = {rows, &side};
    enum store_result result =
        sql_each(rows->store, query, sql_row_params(&params), take_row, &load, e);
    if (result == STORE_OK) {
        states[i].expect(rows, &side, fold);
        struct comparison c = *how;
        c.side = &side;
        compare_side(&c);
    }
    side_release(&side);
    return result;
}

enum store_result audit_rows_state(struct audit_rows *rows, const struct fold *fold,
                                   const struct audit_point *then, difference_visit *visit,
                                   void *context, struct error *e)
{
    struct comparison how = {.rows = rows, .day = DAY_NONE, .visit = visit, .context = context};
    enum store_result result = STORE_OK;
    for (size_t i = 0; i < sizeof states / sizeof *states && result == STORE_OK; i++) {
        bool lacks = (then && !states[i].then_with) ||
                     (rows->range.account_id.data && states[i].load == STEP_LOGS);
        if (!lacks)
            result = compare_state(rows, i, fold, then, &how, e);
    }
    return result;
}

// ---- outbox ----

static int read_outbox_row(const struct store *store, const PGresult *result, int i,
                           struct outbox_row *out, struct error *e)
{
    *out = (struct outbox_row){
        .sequence = get_int8(result, i, 0),
        .key = get_slice(result, i, 2),
        .ce_id = get_string(result, i, 3),
        .ce_time = get_int8(result, i, 4),
        .body = get_slice(result, i, 5),
    };
    memcpy(out->hash, get_slice(result, i, 6).data, sizeof out->hash);
    if (outbox_output(store, get_int2(result, i, 1), &out->output, e))
        return error_context(e, "row %" PRId64 " of the outbox", out->sequence);
    return 0;
}

// A few at a time, along the primary key: a body may be large.
enum store_result audit_rows_outbox(struct audit_rows *rows, int64_t from, int64_t to,
                                    audit_outbox_visit *visit, void *context, struct error *e)
{
    enum store_result result = STORE_OK;
    for (bool more = true; more && result == STORE_OK;) {
        PGresult *found = NULL;
        result = sql_run(
            rows->store,
            "select sequence, output, key, ce_id, ce_time_ms, body, hash from settled.outbox"
            " where shard = $1 and sequence > $2 and sequence <= $3 order by sequence limit 100",
            SQL_PARAMS(sql_int4(rows->range.shard), sql_int8(from), sql_int8(to)), &found, e);
        int count = result == STORE_OK ? PQntuples(found) : 0;
        for (int i = 0; i < count && result == STORE_OK; i++) {
            struct outbox_row row;
            bool failed =
                read_outbox_row(rows->store, found, i, &row, e) || visit(context, &row, e);
            from = row.sequence;
            if (failed)
                result = STORE_FAILED;
        }
        more = count > 0;
        PQclear(found);
    }
    return result;
}

// ---- life ----

struct audit_rows *audit_rows_open(struct store *store, const struct audit_range *range,
                                   struct error *e)
{
    struct audit_rows *rows = calloc(1, sizeof *rows);
    if (!rows) {
        error_set(e, ERROR_RESTART, "memory is short");
        return NULL;
    }
    rows->store = store;
    rows->range = *range;
    for (enum audit_table t = 0; t < AUDIT_WINDOWED; t++)
        side_create(&rows->windowed[t], origins[t].load, origins[t].keys, origins[t].ignored);
    for (enum input i = 0; i < INPUT_COUNT; i++)
        rows->windowed[AUDIT_CALL_REJECTS + i].verdicts = true;
    return rows;
}

void audit_rows_close(struct audit_rows *rows)
{
    if (!rows)
        return;
    for (enum audit_table t = 0; t < AUDIT_WINDOWED; t++)
        side_release(&rows->windowed[t]);
    bytes_release(&rows->scratch);
    free(rows);
}
