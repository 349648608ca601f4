// What must hold of a step before any of it is written, or compared with what is recorded. All of
// it is this program's own arithmetic: no row or record from outside can break it.
#include "consumer/postgres/store_step.h"

#include <assert.h>
#include <string.h>

// ---- sums ----

static void check_line(const struct settlement_line *line)
{
    assert(line->calls > 0);
    assert(line->units >= 0);
    assert(line->amount == line->units * line->unit_price);
    if (line->charge == CHARGE_PACKAGE)
        assert(line->amount == 0); // it was paid with the package
}

static void check_settlement(const struct commit *c, const struct settlement *s)
{
    const struct account *account = fold_account(c->fold, s->account);
    fen_t amount = 0;
    assert(s->first_line + s->line_count <= c->step->line_count);
    for (size_t i = 0; i < s->line_count; i++) {
        check_line(&c->step->lines[s->first_line + i]);
        amount += c->step->lines[s->first_line + i].amount;
    }
    assert(amount == s->amount);
    assert(s->opening_balance + s->credits + s->adjustments - s->amount ==
           s->closing_balance); // I4
    assert(s->calls_while_suspended <= s->calls);
    assert(s->position <= account->position);
    assert(account->touched);
}

static void check_settlements(const struct commit *c)
{
    const struct step *step = c->step;
    fen_t amount = 0;
    size_t lines = 0;
    for (size_t i = 0; i < step->settlement_count; i++) {
        const struct settlement *s = &step->settlements[i];
        check_settlement(c, s);
        assert(s->day == step->close.day);
        assert(s->first_line == lines); // I2: no line belongs to two
        lines += s->line_count;
        amount += s->amount;
    }
    assert(lines == step->line_count);
    if (!step->closed) {
        assert(step->settlement_count == 0);
        return;
    }
    assert(step->close.settlements == (int64_t)step->settlement_count);
    assert(step->close.amount == amount);
}

// An account stands as the last of its status changes says.
static void check_statuses(const struct commit *c)
{
    for (size_t i = 0; i < c->step->status_count; i++) {
        const struct step_status *status = &c->step->statuses[i];
        const struct account *account = fold_account(c->fold, status->account);
        assert(status->account_sequence <= account->account_sequence);
        if (status->account_sequence == account->account_sequence)
            assert(status->state == account->state); // I8
        if (status->cause == CAUSE_ARREARS)
            assert(status->balance < 0);
    }
}

static void check_notices(const struct commit *c)
{
    assert(c->step->closed || c->step->notice_count == 0);
    for (size_t i = 0; i < c->step->notice_count; i++) {
        const struct step_notice *notice = &c->step->notices[i];
        assert((notice->kind == NOTICE_BALANCE_LOW) == (notice->package == PACKAGE_NONE));
        if (notice->package != PACKAGE_NONE)
            assert(fold_package(c->fold, notice->package)->account == notice->account);
    }
}

void step_check_sums(const struct commit *c)
{
    const struct step *step = c->step;
    const struct outbox *outbox = c->outbox;
    assert(outbox->count == step->emission_count);
    assert(outbox->after.sequence == c->row->chain.sequence + (int64_t)outbox->count); // I3
    if (outbox->count > 0)
        assert(memcmp(outbox->after.hash, outbox->rows[outbox->count - 1].hash,
                      sizeof outbox->after.hash) == 0);
    else
        assert(memcmp(outbox->after.hash, c->row->chain.hash, sizeof outbox->after.hash) == 0);
    assert(step->emission_count == step->reject_count + step->status_count +
                                       step->settlement_count + step->notice_count +
                                       step->statement_count + step->closed);
    check_settlements(c);
    check_statuses(c);
    check_notices(c);
}

// ---- on top of the row ----

// What is rejected or credited was read since the last commit, so that nothing is written twice.
static bool is_new(const struct commit *c, enum input input, int64_t offset)
{
    int64_t before = c->row->begun ? c->row->state.log[input].next : 0;
    return offset >= before && offset < fold_state(c->fold)->log[input].next;
}

static void check_records(const struct commit *c)
{
    // A close empties what is counted of the day, not the positions.
    for (size_t i = 0; i < c->step->reject_count; i++)
        assert(is_new(c, c->step->rejects[i].input, c->step->rejects[i].offset)); // I1
    for (size_t i = 0; i < c->step->credit_count; i++) {
        const struct step_credit *credit = &c->step->credits[i];
        assert(is_new(c, INPUT_CREDITS, credit->offset)); // I1
        assert(credit->position <= fold_account(c->fold, credit->account)->position);
    }
}

static void check_logs(const struct commit *c)
{
    for (int i = 0; i < INPUT_COUNT; i++) {
        const struct log_state *log = &fold_state(c->fold)->log[i];
        assert(log->accepted + log->duplicates + log->rejected + log->voids ==
               log->next - log->from); // I1
        assert(log->last_offset < log->next);
        if (!c->row->begun)
            continue;
        assert(log->next >= c->row->state.log[i].next);
        if (!c->step->closed)
            assert(log->from == c->row->state.log[i].from); // I7
    }
}

// The three cutoffs of a day begin where those of the day before ended.
static void check_cutoffs(const struct commit *c)
{
    for (int i = 0; i < INPUT_COUNT; i++) {
        const struct cutoff *cut = &c->step->close.cutoffs[i];
        const struct log_state *log = &fold_state(c->fold)->log[i];
        assert(cut->cut_by != CUT_NONE); // I7
        assert(cut->to_offset >= cut->from_offset); // I7
        assert(cut->to_offset == log->from); // I7
        assert(cut->accepted + cut->duplicates + cut->rejected + cut->voids ==
               cut->to_offset - cut->from_offset); // I1
        if (c->row->begun)
            assert(cut->from_offset == c->row->state.log[i].from); // I7
    }
}

static void check_decisions(const struct commit *c)
{
    int64_t before = c->row->begun ? c->row->state.decisions : 0;
    for (size_t i = 0; i < c->step->decision_count; i++)
        assert(c->step->decisions[i].number == before + (int64_t)i + 1);
    assert(fold_state(c->fold)->decisions == before + (int64_t)c->step->decision_count);
}

void step_check_progress(const struct commit *c)
{
    const struct fold_state *state = fold_state(c->fold);
    assert(c->step->moved);
    check_logs(c);
    check_records(c);
    check_decisions(c);
    if (c->row->begun)
        assert(state->day == c->row->state.day + c->step->closed); // I9
    if (!c->step->closed)
        return;
    assert(state->day == c->step->close.day + 1); // I9
    assert(!state->held);
    assert(memcmp(c->outbox->after.previous_digest, c->outbox->digest, sizeof c->outbox->digest) ==
           0);
    check_cutoffs(c);
}
