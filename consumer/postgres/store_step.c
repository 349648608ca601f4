// What a step's lists become in the tables: one table and one encoder a list. Whether rows go by
// COPY or as statements is not decided here.
#include "consumer/postgres/store_step.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SETTLEMENT_ID_SIZE = 192 };

static struct slice account_id(const struct commit *c, uint32_t account)
{
    return fold_account(c->fold, account)->id;
}

static void put_settlement_id(struct row *row, struct slice account, day_t day)
{
    char text[SETTLEMENT_ID_SIZE], date[DAY_TEXT_SIZE];
    int size = snprintf(text, sizeof text, "%.*s/%s", (int)account.size, account.data,
                        calendar_format_day(day, date));
    assert(size > 0 && (size_t)size < sizeof text); // an account_id has at most 128 bytes
    put_bytes(row, text, (size_t)size);
}

static const struct table rejects_table = {
    "settled.rejects",
    "topic, partition, kafka_offset, reason, detail, account_id, record_id, received_at, sequence",
    9, NULL};

static bool encode_rejects(void *context, size_t i, struct row *row)
{
    const struct commit *c = context;
    const struct step_reject *r = &c->step->rejects[i];
    put_string(row, c->store->topics[r->input]);
    put_int4(row, c->shard);
    put_int8(row, r->offset);
    put_string(row, reject_symbol(r->reason));
    // Cut at a size, it may end within a character.
    put_clean(row, (struct slice){r->detail, strlen(r->detail)}, REJECT_DETAIL_SIZE);
    put_slice(row, r->account_id);
    put_slice(row, r->record_id);
    put_time(row, r->timestamp);
    put_int8(row, c->sequences[EMIT_REJECT][i]);
    return true;
}

static const struct table credits_table = {
    "settled.credits",
    "account_id, credit_id, kind, amount, credited_at, received_at, reason,"
    " reference, kafka_offset, shard, position, balance",
    12, NULL};

static bool encode_credits(void *context, size_t i, struct row *row)
{
    const struct commit *c = context;
    const struct step_credit *credit = &c->step->credits[i];
    put_slice(row, account_id(c, credit->account));
    put_slice(row, credit->credit_id);
    put_string(row, credit_kind_symbol(credit->kind));
    put_int8(row, credit->amount);
    put_time(row, credit->credited_at);
    put_time(row, credit->received_at);
    put_slice(row, credit->reason);
    put_slice(row, credit->reference);
    put_int8(row, credit->offset);
    put_int4(row, c->shard);
    put_int8(row, credit->position);
    put_int8(row, credit->balance);
    return true;
}

static const struct table statuses_table = {
    "settled.status_changes",
    "account_id, account_sequence, status, cause, settlement_id, credit_id,"
    " balance, effective_at, shard, sequence",
    10, NULL};

static bool encode_statuses(void *context, size_t i, struct row *row)
{
    const struct commit *c = context;
    const struct step_status *status = &c->step->statuses[i];
    struct slice account = account_id(c, status->account);
    put_slice(row, account);
    put_int8(row, status->account_sequence);
    put_string(row, account_state_symbol(status->state));
    put_string(row, cause_symbol(status->cause));
    if (status->cause == CAUSE_ARREARS) {
        put_settlement_id(row, account, status->settlement_day);
        put_null(row);
    } else {
        put_null(row);
        put_slice(row, status->credit_id);
    }
    put_int8(row, status->balance);
    put_time(row, status->effective_at);
    put_int4(row, c->shard);
    put_int8(row, c->sequences[EMIT_STATUS][i]);
    return true;
}

static const struct table settlements_table = {
    "settled.settlements",
    "account_id, business_day, settlement_id, calls, calls_while_suspended, amount, "
    "opening_balance, credits,"
    " adjustments, closing_balance, status, shard, sequence, position",
    14, NULL};

static bool encode_settlements(void *context, size_t i, struct row *row)
{
    const struct commit *c = context;
    const struct settlement *s = &c->step->settlements[i];
    struct slice account = account_id(c, s->account);
    put_slice(row, account);
    put_day(row, s->day);
    put_settlement_id(row, account, s->day);
    put_int8(row, s->calls);
    put_int8(row, s->calls_while_suspended);
    put_int8(row, s->amount);
    put_int8(row, s->opening_balance);
    put_int8(row, s->credits);
    put_int8(row, s->adjustments);
    put_int8(row, s->closing_balance);
    put_string(row, account_state_symbol(s->state));
    put_int4(row, c->shard);
    put_int8(row, c->sequences[EMIT_SETTLEMENT][i]);
    put_int8(row, s->position);
    return true;
}

static const struct table lines_table = {
    "settled.settlement_lines",
    "account_id, business_day, line_no, usage_day, service, charge, package_id,"
    " tier_from, calls, units, unit_price, amount",
    12, NULL};

static bool encode_lines(void *context, size_t i, struct row *row)
{
    const struct commit *c = context;
    const struct settlement_line *line = &c->step->lines[i];
    const struct settlement *s = &c->step->settlements[c->line_owners[i]];
    assert(i - s->first_line < s->line_count);
    put_slice(row, account_id(c, s->account));
    put_day(row, s->day);
    put_int4(row, (int32_t)(i - s->first_line + 1));
    put_day(row, line->usage_day);
    put_string(row, service_symbol(line->service));
    put_string(row, charge_symbol(line->charge));
    put_slice(row, line->charge == CHARGE_PACKAGE ? fold_package(c->fold, line->package)->id
                                                  : (struct slice){0});
    if (line->tier_from < 0)
        put_null(row);
    else
        put_int8(row, line->tier_from);
    put_int8(row, line->calls);
    put_int8(row, line->units);
    put_int8(row, line->unit_price);
    put_int8(row, line->amount);
    return true;
}

static const struct table accounts_table = {
    "settled.accounts",
    "account_id, shard, balance, status, account_sequence, opening, credits, adjustments, position",
    9,
    "on conflict (account_id) do update set balance = excluded.balance, status = excluded.status,"
    " account_sequence = excluded.account_sequence, opening = excluded.opening, credits = "
    "excluded.credits,"
    " adjustments = excluded.adjustments, position = excluded.position"};

void step_put_account(struct row *row, int32_t shard, const struct account *a)
{
    put_slice(row, a->id);
    put_int4(row, shard);
    put_int8(row, account_balance(a));
    put_string(row, account_state_symbol(a->state));
    put_int8(row, a->account_sequence);
    put_int8(row, a->opening);
    put_int8(row, a->credits);
    put_int8(row, a->adjustments);
    put_int8(row, a->position);
}

static bool encode_accounts(void *context, size_t i, struct row *row)
{
    const struct commit *c = context;
    step_put_account(row, c->shard, fold_account(c->fold, c->step->touched_accounts[i]));
    return true;
}

static const struct table packages_table = {
    "settled.packages",
    "account_id, package_id, service, units, remaining, amount, valid_from, valid_until, "
    "kafka_offset, shard, used",
    11, "on conflict (account_id, package_id) do update set remaining = excluded.remaining"};

void step_put_package(struct row *row, int32_t shard, const struct fold *fold,
                      const struct package *p)
{
    put_slice(row, fold_account(fold, p->account)->id);
    put_slice(row, p->id);
    put_string(row, service_symbol(p->service));
    put_int8(row, p->units);
    put_int8(row, p->remaining);
    put_int8(row, p->amount);
    put_time(row, p->valid_from);
    put_time(row, p->valid_until);
    put_int8(row, p->offset);
    put_int4(row, shard);
    put_int8(row, p->used);
}

static bool encode_packages(void *context, size_t i, struct row *row)
{
    const struct commit *c = context;
    step_put_package(row, c->shard, c->fold, fold_package(c->fold, c->step->touched_packages[i]));
    return true;
}

static const struct table outbox_table = {
    "settled.outbox", "shard, sequence, output, key, ce_id, ce_time_ms, body, hash", 8, NULL};

static bool encode_outbox(void *context, size_t i, struct row *row)
{
    const struct commit *c = context;
    const struct outbox_row *out = &c->outbox->rows[i];
    put_int4(row, c->shard);
    put_int8(row, out->sequence);
    put_int2(row, (int16_t)out->output);
    put_slice(row, out->key);
    put_string(row, out->ce_id);
    put_int8(row, out->ce_time);
    put_bytes(row, out->body.data, out->body.size);
    put_bytes(row, out->hash, sizeof out->hash);
    return true;
}

static const struct table closes_table = {
    "settled.day_closes",
    "shard, business_day, late, zero_unit_calls, settlements, amount, price_book, parameters, "
    "content_digest,"
    " previous_digest, digest, sequence, calls_from, closed_at",
    14, NULL};

static bool encode_closes(void *context, size_t i, struct row *row)
{
    const struct commit *c = context;
    const struct day_close *close = &c->step->close;
    put_int4(row, c->shard);
    put_day(row, close->day);
    put_int8(row, close->late);
    put_int8(row, close->zero_unit_calls);
    put_int8(row, close->settlements);
    put_int8(row, close->amount);
    put_string(row, close->price_book);
    put_string(row, close->parameters);
    put_string(row, c->outbox->content_digest);
    put_string(row, c->row->chain.previous_digest);
    put_string(row, c->outbox->digest);
    put_int8(row, c->sequences[EMIT_DAY_CLOSE][i]);
    put_int8(row, fold_state(c->fold)->calls_from);
    put_time(row, c->now_ms);
    return true;
}

static const struct table cutoffs_table = {"settled.day_cutoffs",
                                           "shard, business_day, topic, from_offset, to_offset, "
                                           "cut_by, accepted, duplicates, rejected, void",
                                           10, NULL};

static bool encode_cutoffs(void *context, size_t i, struct row *row)
{
    const struct commit *c = context;
    const struct cutoff *cut = &c->step->close.cutoffs[i];
    put_int4(row, c->shard);
    put_day(row, c->step->close.day);
    put_string(row, c->store->topics[i]);
    put_int8(row, cut->from_offset);
    put_int8(row, cut->to_offset);
    put_string(row, cut_symbol(cut->cut_by));
    put_int8(row, cut->accepted);
    put_int8(row, cut->duplicates);
    put_int8(row, cut->rejected);
    put_int8(row, cut->voids);
    return true;
}

static const struct table decisions_table = {
    "settled.decisions",
    "shard, number, operator, kind, content, topic, kafka_offset, as_of,"
    " business_day, calls_at, purchases_at, credits_at, request, decided_at",
    14, NULL};

static bool encode_decisions(void *context, size_t i, struct row *row)
{
    const struct commit *c = context;
    const struct decision *d = &c->step->decisions[i];
    put_int4(row, c->shard);
    put_int8(row, d->number);
    put_string(row, d->operator_name);
    put_string(row, decision_symbol(d->kind));
    put_string(row, d->content);
    put_string(row, c->store->topics[d->input]);
    put_int8(row, d->offset);
    put_time(row, d->as_of);
    put_day(row, d->day);
    for (int input = 0; input < INPUT_COUNT; input++)
        put_int8(row, d->at[input]);
    put_int8(row, d->request);
    put_time(row, c->now_ms);
    return true;
}

static const struct table logs_table = {
    "settled.shard_logs",
    "shard, topic, next_offset, from_offset, accepted, duplicates, rejected, void, unresolved, "
    "unresolved_broken,"
    " last_offset, last_timestamp, last_hash",
    13,
    "on conflict (shard, topic) do update set next_offset = excluded.next_offset, from_offset = "
    "excluded.from_offset,"
    " accepted = excluded.accepted, duplicates = excluded.duplicates, rejected = excluded.rejected,"
    " void = excluded.void, unresolved = excluded.unresolved, unresolved_broken = "
    "excluded.unresolved_broken,"
    " last_offset = excluded.last_offset, last_timestamp = excluded.last_timestamp, last_hash = "
    "excluded.last_hash"};

static bool same_log(const struct log_state *a, const struct log_state *b)
{
    return a->next == b->next && a->from == b->from && a->accepted == b->accepted &&
           a->duplicates == b->duplicates && a->rejected == b->rejected && a->voids == b->voids &&
           a->unresolved == b->unresolved && a->unresolved_broken == b->unresolved_broken &&
           a->last_offset == b->last_offset && a->last_timestamp == b->last_timestamp &&
           a->last_hash == b->last_hash;
}

void step_put_log(struct row *row, int32_t shard, const char *topic, const struct log_state *log)
{
    put_int4(row, shard);
    put_string(row, topic);
    put_int8(row, log->next);
    put_int8(row, log->from);
    put_int8(row, log->accepted);
    put_int8(row, log->duplicates);
    put_int8(row, log->rejected);
    put_int8(row, log->voids);
    put_int8(row, log->unresolved);
    put_int8(row, log->unresolved_broken);
    put_int8(row, log->last_offset);
    put_int8(row, log->last_timestamp);
    put_int8(row, (int64_t)log->last_hash);
}

static bool encode_logs(void *context, size_t i, struct row *row)
{
    const struct commit *c = context;
    const struct log_state *log = &fold_state(c->fold)->log[i];
    if (c->row->begun && same_log(log, &c->row->state.log[i]))
        return false;
    step_put_log(row, c->shard, c->store->topics[i], log);
    return true;
}

// ---- what the outbox numbered ----

static const enum output outputs_of[] = {
    [EMIT_REJECT] = OUTPUT_REJECTS,
    [EMIT_STATUS] = OUTPUT_STATUS,
    [EMIT_SETTLEMENT] = OUTPUT_SETTLEMENTS,
    [EMIT_DAY_CLOSE] = OUTPUT_DAY_CLOSES,
};
static_assert(sizeof outputs_of / sizeof *outputs_of == EMIT_DAY_CLOSE + 1,
              "each kind of emission has its topic");

static void *list_of(size_t count, size_t size)
{
    void *list = calloc(count ? count : 1, size);
    if (!list)
        abort();
    return list;
}

void step_rows_number(struct commit *c)
{
    const struct step *step = c->step;
    step_check_sums(c);
    c->sequences[EMIT_REJECT] = list_of(step->reject_count, sizeof(int64_t));
    c->sequences[EMIT_STATUS] = list_of(step->status_count, sizeof(int64_t));
    c->sequences[EMIT_SETTLEMENT] = list_of(step->settlement_count, sizeof(int64_t));
    c->sequences[EMIT_DAY_CLOSE] = list_of(1, sizeof(int64_t));
    for (size_t i = 0; i < step->emission_count; i++) {
        const struct emission *emission = &step->emissions[i];
        const struct outbox_row *row = &c->outbox->rows[i];
        assert(row->output == outputs_of[emission->kind]);
        assert(row->sequence == c->row->chain.sequence + (int64_t)i + 1); // I3
        int64_t *sequence = &c->sequences[emission->kind][emission->index];
        assert(*sequence == 0); // each is told of once
        *sequence = row->sequence;
    }
    c->line_owners = list_of(step->line_count, sizeof *c->line_owners);
    for (size_t i = 0; i < step->settlement_count; i++)
        for (size_t k = 0; k < step->settlements[i].line_count; k++)
            c->line_owners[step->settlements[i].first_line + k] = (uint32_t)i;
}

void step_rows_release(struct commit *c)
{
    for (int kind = 0; kind <= EMIT_DAY_CLOSE; kind++)
        free(c->sequences[kind]);
    free(c->line_owners);
}

// ---- all of them ----

const struct table *step_table(enum step_load load)
{
    static const struct table *const tables[STEP_LOADS] = {
        [STEP_REJECTS] = &rejects_table,   [STEP_CREDITS] = &credits_table,
        [STEP_PACKAGES] = &packages_table, [STEP_SETTLEMENTS] = &settlements_table,
        [STEP_LINES] = &lines_table,       [STEP_STATUSES] = &statuses_table,
        [STEP_ACCOUNTS] = &accounts_table, [STEP_DECISIONS] = &decisions_table,
        [STEP_OUTBOX] = &outbox_table,     [STEP_CLOSES] = &closes_table,
        [STEP_CUTOFFS] = &cutoffs_table,   [STEP_LOGS] = &logs_table,
    };
    assert(load < STEP_LOADS);
    return tables[load];
}

void step_rows(const struct commit *c, struct load loads[STEP_LOADS])
{
    const struct step *step = c->step;
    const struct load all[STEP_LOADS] = {
        [STEP_REJECTS] = {step_table(STEP_REJECTS), step->reject_count, encode_rejects},
        [STEP_CREDITS] = {step_table(STEP_CREDITS), step->credit_count, encode_credits},
        [STEP_PACKAGES] = {step_table(STEP_PACKAGES), step->touched_package_count, encode_packages},
        [STEP_SETTLEMENTS] = {step_table(STEP_SETTLEMENTS), step->settlement_count,
                              encode_settlements},
        [STEP_LINES] = {step_table(STEP_LINES), step->line_count, encode_lines},
        [STEP_STATUSES] = {step_table(STEP_STATUSES), step->status_count, encode_statuses},
        [STEP_ACCOUNTS] = {step_table(STEP_ACCOUNTS), step->touched_account_count, encode_accounts},
        [STEP_DECISIONS] = {step_table(STEP_DECISIONS), step->decision_count, encode_decisions},
        [STEP_OUTBOX] = {step_table(STEP_OUTBOX), c->outbox->count, encode_outbox},
        [STEP_CLOSES] = {step_table(STEP_CLOSES), step->closed ? 1 : 0, encode_closes},
        [STEP_CUTOFFS] = {step_table(STEP_CUTOFFS), step->closed ? INPUT_COUNT : 0, encode_cutoffs},
        [STEP_LOGS] = {step_table(STEP_LOGS), INPUT_COUNT, encode_logs},
    };
    memcpy(loads, all, sizeof all);
}
