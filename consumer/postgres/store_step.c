// What a step's lists become in the tables: one table and one encoder a list. Whether rows go by
// COPY or as statements is not decided here.
#include "consumer/postgres/store_step.h"

#include "consumer/output/encode.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static_assert(SQL_ROW_TEXT_SIZE >= (int)OUTPUT_ID_SIZE, "the id of an output fits");
static_assert(SQL_ROW_TEXT_SIZE >= (int)REJECT_DETAIL_SIZE, "the detail of a reject fits");

day_t step_day(const struct commit *c)
{
    return c->step->closed ? c->step->close.day : fold_state(c->fold)->day;
}

static struct slice account_id(const struct commit *c, uint32_t account)
{
    return fold_account(c->fold, account)->id;
}

static const struct table rejects_table = {
    "settled.rejects",
    "topic, partition, kafka_offset, reason, detail, account_id, record_id, received_at, sequence, "
    "schema_id, decision, business_day",
    12, NULL, PARTS_MONTHS};

static bool encode_rejects(void *context, size_t i, struct sql_row *row)
{
    const struct commit *c = context;
    const struct step_reject *r = &c->step->rejects[i];
    // Cut at a size, it may end within a character.
    struct sql_value detail = sql_clean(r->detail, row->text, REJECT_DETAIL_SIZE);
    sql_row_set(row, SQL_PARAMS(sql_text(c->store->topics[r->input]), sql_int4(c->shard),
                                sql_int8(r->offset), sql_text(reject_symbol(r->reason)), detail,
                                sql_slice(r->account_id), sql_slice(r->record_id),
                                sql_time(r->timestamp), sql_int8(c->sequences[EMIT_REJECT][i]),
                                sql_given(r->schema_id >= 0, sql_int8(r->schema_id)),
                                sql_given(r->decision != 0, sql_int8(r->decision)),
                                sql_day(step_day(c))));
    return true;
}

static const struct table credits_table = {
    "settled.credits",
    "account_id, credit_id, kafka_offset, kind, amount, credited_at, received_at, reason,"
    " reference, shard, position, balance, business_day",
    13, NULL, PARTS_MONTHS};

static bool encode_credits(void *context, size_t i, struct sql_row *row)
{
    const struct commit *c = context;
    const struct step_credit *credit = &c->step->credits[i];
    sql_row_set(row,
                SQL_PARAMS(sql_slice(account_id(c, credit->account)), sql_slice(credit->credit_id),
                           sql_int8(credit->offset), sql_text(credit_kind_symbol(credit->kind)),
                           sql_int8(credit->amount), sql_time(credit->credited_at),
                           sql_time(credit->received_at), sql_slice(credit->reason),
                           sql_slice(credit->reference), sql_int4(c->shard),
                           sql_int8(credit->position), sql_int8(credit->balance),
                           sql_day(step_day(c))));
    return true;
}

static const struct table statuses_table = {
    "settled.status_changes",
    "account_id, account_sequence, status, cause, settlement_id, credit_id,"
    " balance, effective_at, shard, sequence, suspended_since, business_day",
    12, NULL, PARTS_MONTHS};

static bool encode_statuses(void *context, size_t i, struct sql_row *row)
{
    const struct commit *c = context;
    const struct step_status *status = &c->step->statuses[i];
    struct slice account = account_id(c, status->account);
    bool arrears = status->cause == CAUSE_ARREARS;
    sql_row_set(
        row,
        SQL_PARAMS(
            sql_slice(account), sql_int8(status->account_sequence),
            sql_text(account_state_symbol(status->state)), sql_text(cause_symbol(status->cause)),
            sql_given(arrears, sql_text(settlement_id(account, status->settlement_day, row->text))),
            sql_given(!arrears, sql_slice(status->credit_id)), sql_int8(status->balance),
            sql_time(status->effective_at), sql_int4(c->shard),
            sql_int8(c->sequences[EMIT_STATUS][i]),
            sql_given(status->state == ACCOUNT_ACTIVE, sql_time(status->suspended_since)),
            sql_day(step_day(c))));
    return true;
}

static const struct table settlements_table = {
    "settled.settlements",
    "account_id, business_day, settlement_id, " SETTLEMENT_FIGURE_NAMES
    "status, shard, sequence, position",
    7 + SETTLEMENT_FIGURE_COUNT, NULL, PARTS_MONTHS};

#define FIGURE_PARAM(name) sql_int8(s->name),

static bool encode_settlements(void *context, size_t i, struct sql_row *row)
{
    const struct commit *c = context;
    const struct settlement *s = &c->step->settlements[i];
    struct slice account = account_id(c, s->account);
    sql_row_set(row, SQL_PARAMS(sql_slice(account), sql_day(s->day),
                                sql_text(settlement_id(account, s->day, row->text)),
                                SETTLEMENT_FIGURES(FIGURE_PARAM)
                                    sql_text(account_state_symbol(s->state)),
                                sql_int4(c->shard), sql_int8(c->sequences[EMIT_SETTLEMENT][i]),
                                sql_int8(s->position)));
    return true;
}

static const struct table lines_table = {
    "settled.settlement_lines",
    "account_id, business_day, line_no, usage_day, service, charge, package_id,"
    " tier_from, calls, units, unit_price, amount, package_units, package_amount, package_offset,"
    " calls_begun",
    16, NULL, PARTS_MONTHS};

static bool encode_lines(void *context, size_t i, struct sql_row *row)
{
    const struct commit *c = context;
    const struct settlement_line *line = &c->step->lines[i];
    const struct settlement *s = &c->step->settlements[c->line_owners[i]];
    assert(i - s->first_line < s->line_count);
    static const struct package none;
    bool drawn = line->charge == CHARGE_PACKAGE;
    const struct package *package = drawn ? fold_package(c->fold, line->package) : &none;
    sql_row_set(row,
                SQL_PARAMS(sql_slice(account_id(c, s->account)), sql_day(s->day),
                           sql_int4((int32_t)(i - s->first_line + 1)), sql_day(line->usage_day),
                           sql_text(service_symbol(line->service)),
                           sql_text(charge_symbol(line->charge)), sql_slice(package->id),
                           sql_given(line->tier_from >= 0, sql_int8(line->tier_from)),
                           sql_int8(line->calls), sql_int8(line->units), sql_int8(line->unit_price),
                           sql_int8(line->amount), sql_given(drawn, sql_int8(package->units)),
                           sql_given(drawn, sql_int8(package->amount)),
                           sql_given(drawn, sql_int8(package->offset)), sql_int8(line->begun)));
    return true;
}

static const struct table notices_table = {
    "settled.notices",
    "account_id, notice_id, business_day, kind, package_id, service, units, remaining,"
    " valid_until, balance, threshold, shard, sequence",
    13, NULL, PARTS_MONTHS};

static bool encode_notices(void *context, size_t i, struct sql_row *row)
{
    const struct commit *c = context;
    const struct step_notice *notice = &c->step->notices[i];
    static const struct package none;
    bool balance = notice->kind == NOTICE_BALANCE_LOW;
    const struct package *p = balance ? &none : fold_package(c->fold, notice->package);
    day_t day = c->step->close.day;
    sql_row_set(row, SQL_PARAMS(sql_slice(account_id(c, notice->account)),
                                sql_text(notice_id(c->fold, notice, day, row->text)), sql_day(day),
                                sql_text(notice_symbol(notice->kind)), sql_slice(p->id),
                                sql_given(!balance, sql_text(service_symbol(p->service))),
                                sql_given(!balance, sql_int8(p->units)),
                                sql_given(!balance, sql_int8(p->remaining)),
                                sql_given(!balance, sql_time(p->valid_until)),
                                sql_given(balance, sql_int8(notice->balance)),
                                sql_given(notice->kind != NOTICE_PACKAGE_EXPIRED,
                                          sql_int8(notice->threshold)),
                                sql_int4(c->shard), sql_int8(c->sequences[EMIT_NOTICE][i])));
    return true;
}

#define ACCOUNT_COLUMNS                                                                            \
    "account_id, shard, balance, status, account_sequence, opening, credits, adjustments, "        \
    "position, suspended_since"

// Most accounts of a first day: a COPY straight into the table takes half as long as one that has
// to look for rows that may be there.
static const struct table new_accounts_table = {"settled.accounts", ACCOUNT_COLUMNS, 10, NULL,
                                                PARTS_NONE};

static const struct table accounts_table = {
    "settled.accounts", ACCOUNT_COLUMNS, 10,
    "on conflict (account_id) do update set balance = excluded.balance, status = excluded.status,"
    " account_sequence = excluded.account_sequence, opening = excluded.opening, credits = "
    "excluded.credits,"
    " adjustments = excluded.adjustments, position = excluded.position,"
    " suspended_since = excluded.suspended_since",
    PARTS_NONE};

void step_set_account(struct sql_row *row, int32_t shard, const struct account *a)
{
    bool suspended = a->state == ACCOUNT_SUSPENDED;
    assert(!suspended || a->span_count > 0); // I8
    sql_row_set(row,
                SQL_PARAMS(sql_slice(a->id), sql_int4(shard), sql_int8(account_balance(a)),
                           sql_text(account_state_symbol(a->state)), sql_int8(a->account_sequence),
                           sql_int8(a->opening), sql_int8(a->credits), sql_int8(a->adjustments),
                           sql_int8(a->position),
                           sql_given(suspended,
                                     sql_time(suspended ? a->spans[a->span_count - 1].from : 0))));
}

static bool encode_new_accounts(void *context, size_t i, struct sql_row *row)
{
    const struct commit *c = context;
    step_set_account(row, c->shard, fold_account(c->fold, c->accounts[i]));
    return true;
}

static bool encode_accounts(void *context, size_t i, struct sql_row *row)
{
    const struct commit *c = context;
    return encode_new_accounts(context, c->new_account_count + i, row);
}

static const struct table packages_table = {
    "settled.packages",
    "account_id, package_id, kafka_offset, service, units, remaining, amount, valid_from, "
    "valid_until, shard, used",
    11,
    "on conflict (account_id, package_id, kafka_offset) do update set remaining = "
    "excluded.remaining",
    PARTS_NONE};

void step_set_package(struct sql_row *row, int32_t shard, const struct fold *fold,
                      const struct package *p)
{
    sql_row_set(row, SQL_PARAMS(sql_slice(fold_account(fold, p->account)->id), sql_slice(p->id),
                                sql_int8(p->offset), sql_text(service_symbol(p->service)),
                                sql_int8(p->units), sql_int8(p->remaining), sql_int8(p->amount),
                                sql_time(p->valid_from), sql_time(p->valid_until), sql_int4(shard),
                                sql_int8(p->used)));
}

static bool encode_packages(void *context, size_t i, struct sql_row *row)
{
    const struct commit *c = context;
    step_set_package(row, c->shard, c->fold, fold_package(c->fold, c->step->touched_packages[i]));
    return true;
}

static const struct table outbox_table = {
    "settled.outbox", "shard, sequence, output, key, ce_id, ce_time_ms, body, hash, business_day",
    9, NULL, PARTS_DAYS};

static bool encode_outbox(void *context, size_t i, struct sql_row *row)
{
    const struct commit *c = context;
    const struct outbox_row *out = &c->outbox->rows[i];
    sql_row_set(row, SQL_PARAMS(sql_int4(c->shard), sql_int8(out->sequence),
                                sql_int2((int16_t)out->output),
                                sql_bytea(out->key.data, out->key.size), sql_text(out->ce_id),
                                sql_int8(out->ce_time), sql_bytea(out->body.data, out->body.size),
                                sql_bytea(out->hash, sizeof out->hash), sql_day(step_day(c))));
    return true;
}

static const struct table closes_table = {
    "settled.day_closes",
    "shard, business_day, late, zero_unit_calls, settlements, amount, price_book, parameters, "
    "content_digest,"
    " previous_digest, digest, sequence, calls_from, closed_at",
    14, NULL, PARTS_NONE};

static bool encode_closes(void *context, size_t i, struct sql_row *row)
{
    const struct commit *c = context;
    const struct day_close *close = &c->step->close;
    sql_row_set(row,
                SQL_PARAMS(sql_int4(c->shard), sql_day(close->day), sql_int8(close->late),
                           sql_int8(close->zero_unit_calls), sql_int8(close->settlements),
                           sql_int8(close->amount), sql_text(close->price_book),
                           sql_text(close->parameters), sql_text(c->outbox->content_digest),
                           sql_text(c->row->chain.previous_digest), sql_text(c->outbox->digest),
                           sql_int8(c->sequences[EMIT_DAY_CLOSE][i]),
                           sql_int8(fold_state(c->fold)->calls_from), sql_time(c->now_ms)));
    return true;
}

static const struct table cutoffs_table = {"settled.day_cutoffs",
                                           "shard, business_day, topic, from_offset, to_offset, "
                                           "cut_by, accepted, duplicates, rejected, void",
                                           10, NULL, PARTS_NONE};

static bool encode_cutoffs(void *context, size_t i, struct sql_row *row)
{
    const struct commit *c = context;
    const struct cutoff *cut = &c->step->close.cutoffs[i];
    sql_row_set(row, SQL_PARAMS(sql_int4(c->shard), sql_day(c->step->close.day),
                                sql_text(c->store->topics[i]), sql_int8(cut->from_offset),
                                sql_int8(cut->to_offset), sql_text(cut_symbol(cut->cut_by)),
                                sql_int8(cut->accepted), sql_int8(cut->duplicates),
                                sql_int8(cut->rejected), sql_int8(cut->voids)));
    return true;
}

static const struct table holds_table = {
    "settled.holds",
    "shard, business_day, topic, reasons, rejects, records, at_offset, after_decision, held_at", 9,
    NULL, PARTS_NONE};

static bool encode_holds(void *context, size_t i, struct sql_row *row)
{
    const struct commit *c = context;
    const struct step_hold *hold = &c->step->holds[i];
    assert(hold->records >= hold->rejects && hold->rejects > 0);
    sql_row_set(row, SQL_PARAMS(sql_int4(c->shard), sql_day(hold->day),
                                sql_text(c->store->topics[hold->input]),
                                sql_text(reject_group_symbol(hold->group)), sql_int8(hold->rejects),
                                sql_int8(hold->records), sql_int8(hold->at),
                                sql_int8(hold->after_decision), sql_time(c->now_ms)));
    return true;
}

static const struct table decisions_table = {
    "settled.decisions",
    "shard, number, operator, kind, content, topic, as_of,"
    " business_day, calls_at, purchases_at, credits_at, request, decided_at",
    13, NULL, PARTS_NONE};

static bool encode_decisions(void *context, size_t i, struct sql_row *row)
{
    const struct commit *c = context;
    const struct decision *d = &c->step->decisions[i];
    sql_row_set(row, SQL_PARAMS(sql_int4(c->shard), sql_int8(d->number), sql_text(d->operator_name),
                                sql_text(decision_symbol(d->kind)), sql_text(d->content),
                                sql_text(c->store->topics[d->input]), sql_time(d->as_of),
                                sql_day(d->day), sql_int8(d->at[INPUT_CALLS]),
                                sql_int8(d->at[INPUT_PURCHASES]), sql_int8(d->at[INPUT_CREDITS]),
                                sql_int8(d->request), sql_time(c->now_ms)));
    return true;
}

#define FIGURE_NAME(name) #name ", "

// The month's rows stand in its own partition, whatever day is open by now.
static const struct table statements_table = {
    "settled.month_statements",
    "account_id, business_day, statement_id, month, " MONTH_MONEY(
        FIGURE_NAME) "status, " MONTH_COUNTS(FIGURE_NAME) "shard, sequence",
    16, NULL, PARTS_MONTHS};

static bool encode_statements(void *context, size_t i, struct sql_row *row)
{
    const struct commit *c = context;
    const struct month_statement *s = &c->step->statements[i];
    day_t month = c->step->month;
    const char *id = statement_id(s->account_id, month, row->text);
    sql_row_set(row, SQL_PARAMS(sql_slice(s->account_id), sql_day(month), sql_text(id),
                                sql_text(id + s->account_id.size + 1),
                                MONTH_MONEY(FIGURE_PARAM) sql_text(account_state_symbol(s->state)),
                                MONTH_COUNTS(FIGURE_PARAM) sql_int4(c->shard),
                                sql_int8(c->sequences[EMIT_STATEMENT][i])));
    return true;
}

static const struct table month_lines_table = {
    "settled.month_statement_lines",
    "account_id, business_day, line_no, service, charge, package_id, tier_from, unit_price, calls,"
    " units, amount",
    11, NULL, PARTS_MONTHS};

static bool encode_month_lines(void *context, size_t i, struct sql_row *row)
{
    const struct commit *c = context;
    const struct month_line *line = &c->step->month_lines[i];
    const struct month_statement *s = &c->step->statements[c->month_owners[i]];
    assert(i - s->first_line < s->line_count);
    sql_row_set(row, SQL_PARAMS(sql_slice(s->account_id), sql_day(c->step->month),
                                sql_int4((int32_t)(i - s->first_line + 1)),
                                sql_text(service_symbol(line->service)),
                                sql_text(charge_symbol(line->charge)), sql_slice(line->package_id),
                                sql_given(line->tier_from >= 0, sql_int8(line->tier_from)),
                                sql_int8(line->unit_price), sql_int8(line->calls),
                                sql_int8(line->units), sql_int8(line->amount)));
    return true;
}

static const struct table logs_table = {
    "settled.shard_logs",
    "shard, topic, next_offset, from_offset, accepted, duplicates, rejected, void, undecided, "
    "undecided_broken, undecided_refused,"
    " last_offset, last_timestamp, last_hash",
    14,
    "on conflict (shard, topic) do update set next_offset = excluded.next_offset, from_offset = "
    "excluded.from_offset,"
    " accepted = excluded.accepted, duplicates = excluded.duplicates, rejected = excluded.rejected,"
    " void = excluded.void, undecided = excluded.undecided, undecided_broken = "
    "excluded.undecided_broken, undecided_refused = excluded.undecided_refused,"
    " last_offset = excluded.last_offset, last_timestamp = excluded.last_timestamp, last_hash = "
    "excluded.last_hash",
    PARTS_NONE};

static bool same_log(const struct log_state *a, const struct log_state *b)
{
    return a->next == b->next && a->from == b->from && a->accepted == b->accepted &&
           a->duplicates == b->duplicates && a->rejected == b->rejected && a->voids == b->voids &&
           a->undecided == b->undecided &&
           memcmp(a->undecided_of, b->undecided_of, sizeof a->undecided_of) == 0 &&
           a->last_offset == b->last_offset && a->last_timestamp == b->last_timestamp &&
           a->last_hash == b->last_hash;
}

void step_set_log(struct sql_row *row, int32_t shard, const char *topic,
                  const struct log_state *log)
{
    sql_row_set(row,
                SQL_PARAMS(sql_int4(shard), sql_text(topic), sql_int8(log->next),
                           sql_int8(log->from), sql_int8(log->accepted), sql_int8(log->duplicates),
                           sql_int8(log->rejected), sql_int8(log->voids), sql_int8(log->undecided),
                           sql_int8(log->undecided_of[REJECTS_BROKEN]),
                           sql_int8(log->undecided_of[REJECTS_REFUSED]), sql_int8(log->last_offset),
                           sql_int8(log->last_timestamp), sql_int8((int64_t)log->last_hash)));
}

static bool encode_logs(void *context, size_t i, struct sql_row *row)
{
    const struct commit *c = context;
    const struct log_state *log = &fold_state(c->fold)->log[i];
    if (c->row->begun && same_log(log, &c->row->state.log[i]))
        return false;
    step_set_log(row, c->shard, c->store->topics[i], log);
    return true;
}

// ---- what the outbox numbered, and which accounts have a row ----

static const enum output outputs_of[] = {
    [EMIT_REJECT] = OUTPUT_REJECTS,         [EMIT_STATUS] = OUTPUT_STATUS,
    [EMIT_SETTLEMENT] = OUTPUT_SETTLEMENTS, [EMIT_NOTICE] = OUTPUT_NOTICES,
    [EMIT_DAY_CLOSE] = OUTPUT_DAY_CLOSES,   [EMIT_STATEMENT] = OUTPUT_STATEMENTS,
};
static_assert(sizeof outputs_of / sizeof *outputs_of == EMIT_KINDS,
              "each kind of emission has its topic");

static void *list_of(size_t count, size_t size)
{
    void *list = calloc(count ? count : 1, size);
    if (!list)
        abort();
    return list;
}

static void part_accounts(struct commit *c)
{
    const struct step *step = c->step;
    size_t count = step->touched_account_count, known = count;
    c->accounts = list_of(count, sizeof *c->accounts);
    c->new_account_count = 0;
    // from behind, so that both parts keep their order
    for (size_t i = count; i-- > 0;)
        if (fold_account(c->fold, step->touched_accounts[i])->recorded)
            c->accounts[--known] = step->touched_accounts[i];
    for (size_t i = 0; i < count; i++)
        if (!fold_account(c->fold, step->touched_accounts[i])->recorded)
            c->accounts[c->new_account_count++] = step->touched_accounts[i];
    assert(c->new_account_count == known);
}

void step_rows_number(struct commit *c)
{
    const struct step *step = c->step;
    step_check_sums(c);
    c->sequences[EMIT_REJECT] = list_of(step->reject_count, sizeof(int64_t));
    c->sequences[EMIT_STATUS] = list_of(step->status_count, sizeof(int64_t));
    c->sequences[EMIT_SETTLEMENT] = list_of(step->settlement_count, sizeof(int64_t));
    c->sequences[EMIT_NOTICE] = list_of(step->notice_count, sizeof(int64_t));
    c->sequences[EMIT_DAY_CLOSE] = list_of(1, sizeof(int64_t));
    c->sequences[EMIT_STATEMENT] = list_of(step->statement_count, sizeof(int64_t));
    for (size_t i = 0; i < step->emission_count; i++) {
        const struct emission *emission = &step->emissions[i];
        const struct outbox_row *row = &c->outbox->rows[i];
        assert(row->output == outputs_of[emission->kind]);
        assert(row->sequence == c->row->chain.sequence + (int64_t)i + 1); // I3
        int64_t *sequence = &c->sequences[emission->kind][emission->index];
        assert(*sequence == 0); // each is told of once
        *sequence = row->sequence;
    }
    part_accounts(c);
    c->line_owners = list_of(step->line_count, sizeof *c->line_owners);
    for (size_t i = 0; i < step->settlement_count; i++)
        for (size_t k = 0; k < step->settlements[i].line_count; k++)
            c->line_owners[step->settlements[i].first_line + k] = (uint32_t)i;
    c->month_owners = list_of(step->month_line_count, sizeof *c->month_owners);
    for (size_t i = 0; i < step->statement_count; i++)
        for (size_t k = 0; k < step->statements[i].line_count; k++)
            c->month_owners[step->statements[i].first_line + k] = (uint32_t)i;
}

void step_rows_release(struct commit *c)
{
    for (int kind = 0; kind < EMIT_KINDS; kind++)
        free(c->sequences[kind]);
    free(c->line_owners);
    free(c->month_owners);
    free(c->accounts);
}

// ---- all of them ----

const struct table *step_table(enum step_load load)
{
    static const struct table *const tables[STEP_LOADS] = {
        [STEP_REJECTS] = &rejects_table,
        [STEP_CREDITS] = &credits_table,
        [STEP_PACKAGES] = &packages_table,
        [STEP_SETTLEMENTS] = &settlements_table,
        [STEP_LINES] = &lines_table,
        [STEP_STATUSES] = &statuses_table,
        [STEP_NOTICES] = &notices_table,
        [STEP_NEW_ACCOUNTS] = &new_accounts_table,
        [STEP_ACCOUNTS] = &accounts_table,
        [STEP_DECISIONS] = &decisions_table,
        [STEP_OUTBOX] = &outbox_table,
        [STEP_CLOSES] = &closes_table,
        [STEP_CUTOFFS] = &cutoffs_table,
        [STEP_LOGS] = &logs_table,
        [STEP_HOLDS] = &holds_table,
        [STEP_STATEMENTS] = &statements_table,
        [STEP_MONTH_LINES] = &month_lines_table,
    };
    assert(load < STEP_LOADS);
    return tables[load];
}

static void set_load(struct load loads[STEP_LOADS], enum step_load which, size_t count,
                     load_encode *encode)
{
    loads[which] = (struct load){.table = step_table(which), .count = count, .encode = encode};
}

void step_rows(const struct commit *c, struct load loads[STEP_LOADS])
{
    const struct step *step = c->step;
    memset(loads, 0, STEP_LOADS * sizeof *loads);
    set_load(loads, STEP_REJECTS, step->reject_count, encode_rejects);
    set_load(loads, STEP_CREDITS, step->credit_count, encode_credits);
    set_load(loads, STEP_PACKAGES, step->touched_package_count, encode_packages);
    set_load(loads, STEP_SETTLEMENTS, step->settlement_count, encode_settlements);
    set_load(loads, STEP_LINES, step->line_count, encode_lines);
    set_load(loads, STEP_STATUSES, step->status_count, encode_statuses);
    set_load(loads, STEP_NOTICES, step->notice_count, encode_notices);
    set_load(loads, STEP_NEW_ACCOUNTS, c->new_account_count, encode_new_accounts);
    set_load(loads, STEP_ACCOUNTS, step->touched_account_count - c->new_account_count,
             encode_accounts);
    set_load(loads, STEP_DECISIONS, step->decision_count, encode_decisions);
    set_load(loads, STEP_OUTBOX, c->outbox->count, encode_outbox);
    set_load(loads, STEP_CLOSES, step->closed ? 1 : 0, encode_closes);
    set_load(loads, STEP_CUTOFFS, step->closed ? INPUT_COUNT : 0, encode_cutoffs);
    set_load(loads, STEP_LOGS, INPUT_COUNT, encode_logs);
    set_load(loads, STEP_HOLDS, step->hold_count, encode_holds);
    set_load(loads, STEP_STATEMENTS, step->statement_count, encode_statements);
    set_load(loads, STEP_MONTH_LINES, step->month_line_count, encode_month_lines);
    for (int i = 0; i < STEP_LOADS; i++) {
        assert(loads[i].table == step_table((enum step_load)i)); // each is set
        loads[i].day = step_day(c);
    }
    loads[STEP_STATEMENTS].day = loads[STEP_MONTH_LINES].day = step->month;
}
