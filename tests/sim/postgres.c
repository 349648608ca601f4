#include "tests/sim/postgres.h"

#include <assert.h>
#include <stdio.h>

const char *const breakage_names[BREAKAGES] = {"nothing", "epoch",   "outbox", "resolve", "lock",
                                               "rejects", "credits", "spans",  "fencing", "ends",
                                               "late",    "spent",   "early",  "blind"};

// ---- rows ----

bool decision_is_about(const struct decision *decision, int64_t offset)
{
    for (size_t i = 0; i < decision->count; i++)
        if (decision->offsets[i] == offset)
            return true;
    return false;
}

void rows_free(struct rows *rows)
{
    list_free(&rows->accounts);
    list_free(&rows->packages);
    list_free(&rows->credits);
    list_free(&rows->statuses);
    list_free(&rows->settlements);
    list_free(&rows->lines);
    list_free(&rows->notices);
    list_free(&rows->statements);
    list_free(&rows->month_lines);
    list_free(&rows->rejects);
    list_free(&rows->closes);
    list_free(&rows->decisions);
    list_free(&rows->outbox);
    list_free(&rows->holds);
    list_free(&rows->marks);
    list_free(&rows->asks);
}

static void rows_copy(struct rows *to, const struct rows *from)
{
    *to = *from;
    list_copy(&to->accounts, &from->accounts);
    list_copy(&to->packages, &from->packages);
    list_copy(&to->credits, &from->credits);
    list_copy(&to->statuses, &from->statuses);
    list_copy(&to->settlements, &from->settlements);
    list_copy(&to->lines, &from->lines);
    list_copy(&to->notices, &from->notices);
    list_copy(&to->statements, &from->statements);
    list_copy(&to->month_lines, &from->month_lines);
    list_copy(&to->rejects, &from->rejects);
    list_copy(&to->closes, &from->closes);
    list_copy(&to->decisions, &from->decisions);
    list_copy(&to->outbox, &from->outbox);
    list_copy(&to->holds, &from->holds);
    list_copy(&to->marks, &from->marks);
    list_copy(&to->asks, &from->asks);
}

void postgres_init(struct postgres *pg, const struct policy *first)
{
    pg->arena = arena_create();
    assert(pg->arena);
    for (int s = 0; s < SHARDS_MAX; s++)
        pg->rows[s].outbox_first = 1;
    struct policy *copy = memory_grow(NULL, 1, sizeof *copy);
    memcpy(copy, first, sizeof *copy);
    *list_add(&pg->policies) = (struct recorded){copy};
    pg->policy = copy;
}

void postgres_free(struct postgres *pg)
{
    for (int s = 0; s < SHARDS_MAX; s++) {
        rows_free(&pg->rows[s]);
        rows_free(&pg->replica[s]);
        rows_free(&pg->zombies[s].after);
    }
    for (size_t i = 0; i < pg->policies.count; i++)
        free(pg->policies.at[i].policy);
    for (size_t i = 0; i < pg->books.count; i++)
        free(pg->books.at[i].book);
    list_free(&pg->policies);
    list_free(&pg->books);
    arena_destroy(pg->arena);
}

static struct slice keep(struct postgres *pg, struct slice text)
{
    if (!text.data)
        return text;
    return (struct slice){arena_copy(pg->arena, text.data, text.size), text.size};
}

static bool same(struct slice a, struct slice b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

// ---- what a step writes ----

struct writing {
    struct postgres *pg;
    struct rows *rows;
    const struct fold *fold;
    const struct step *step;
    const struct outbox *outbox;
};

static struct slice account_id(const struct writing *w, uint32_t account)
{
    return keep(w->pg, fold_account(w->fold, account)->id);
}

static struct account_row *find_account(struct rows *rows, struct slice id)
{
    for (size_t i = 0; i < rows->accounts.count; i++)
        if (same(rows->accounts.at[i].id, id))
            return &rows->accounts.at[i];
    return NULL;
}

static void write_accounts(const struct writing *w)
{
    for (size_t i = 0; i < w->step->touched_account_count; i++) {
        const struct account *a = fold_account(w->fold, w->step->touched_accounts[i]);
        struct account_row *row = find_account(w->rows, a->id);
        if (!row)
            row = list_add(&w->rows->accounts);
        *row = (struct account_row){.id = keep(w->pg, a->id),
                                    .opening = a->opening,
                                    .credits = a->credits,
                                    .adjustments = a->adjustments,
                                    .state = a->state,
                                    .account_sequence = a->account_sequence,
                                    .position = a->position};
    }
}

static struct package_row *find_package(struct rows *rows, struct slice account,
                                        const struct package *package)
{
    for (size_t i = 0; i < rows->packages.count; i++)
        if (same(rows->packages.at[i].account, account) &&
            same(rows->packages.at[i].package.id, package->id) &&
            rows->packages.at[i].package.offset == package->offset)
            return &rows->packages.at[i];
    return NULL;
}

static void write_packages(const struct writing *w)
{
    for (size_t i = 0; i < w->step->touched_package_count; i++) {
        const struct package *p = fold_package(w->fold, w->step->touched_packages[i]);
        struct slice account = fold_account(w->fold, p->account)->id;
        struct package_row *known = find_package(w->rows, account, p);
        if (known) {
            known->package.remaining = p->remaining;
            continue;
        }
        struct package_row row = {.account = keep(w->pg, account), .package = *p};
        row.package.id = keep(w->pg, p->id);
        *list_add(&w->rows->packages) = row;
    }
}

static void write_credits(const struct writing *w)
{
    for (size_t i = 0; i < w->step->credit_count; i++) {
        struct credit_row row = {account_id(w, w->step->credits[i].account), w->step->credits[i]};
        row.credit.credit_id = keep(w->pg, row.credit.credit_id);
        row.credit.reason = keep(w->pg, row.credit.reason);
        row.credit.reference = keep(w->pg, row.credit.reference);
        *list_add(&w->rows->credits) = row;
    }
}

static void write_settlement(const struct writing *w, const struct settlement *s, int64_t sequence)
{
    struct settlement_row row = {
        .account = account_id(w, s->account), .settlement = *s, .sequence = sequence};
    row.settlement.first_line = w->rows->lines.count;
    for (size_t i = 0; i < s->line_count; i++) {
        struct line_row line = {.line = w->step->lines[s->first_line + i]};
        if (line.line.charge == CHARGE_PACKAGE) {
            const struct package *package = fold_package(w->fold, line.line.package);
            line.package = keep(w->pg, package->id);
            line.package_units = package->units;
            line.package_amount = package->amount;
        }
        *list_add(&w->rows->lines) = line;
    }
    *list_add(&w->rows->settlements) = row;
}

static void write_notice(const struct writing *w, const struct step_notice *notice,
                         int64_t sequence)
{
    struct notice_row row = {.account = account_id(w, notice->account),
                             .day = w->step->close.day,
                             .notice = *notice,
                             .sequence = sequence};
    if (notice->package != PACKAGE_NONE) {
        row.package = *fold_package(w->fold, notice->package);
        row.package.id = keep(w->pg, row.package.id);
    }
    *list_add(&w->rows->notices) = row;
}

static void write_statement(const struct writing *w, const struct month_statement *s,
                            int64_t sequence)
{
    struct statement_row row = {.month = w->step->month, .statement = *s, .sequence = sequence};
    row.statement.account_id = keep(w->pg, s->account_id);
    row.statement.first_line = w->rows->month_lines.count;
    for (size_t i = 0; i < s->line_count; i++) {
        struct month_line line = w->step->month_lines[s->first_line + i];
        line.package_id = keep(w->pg, line.package_id);
        *list_add(&w->rows->month_lines) = line;
    }
    *list_add(&w->rows->statements) = row;
}

static void write_reject(const struct writing *w, const struct step_reject *r, int64_t sequence)
{
    struct reject_row_of row = {.reject = *r, .sequence = sequence, .decision = r->decision};
    row.reject.detail = arena_copy(w->pg->arena, r->detail, strlen(r->detail));
    row.reject.account_id = keep(w->pg, r->account_id);
    row.reject.record_id = keep(w->pg, r->record_id);
    row.reject.key = row.reject.value = (struct slice){NULL, 0};
    *list_add(&w->rows->rejects) = row;
}

static void write_close(const struct writing *w, int64_t sequence)
{
    struct close_row row = {.close = w->step->close,
                            .sequence = sequence,
                            .calls_from = fold_state(w->fold)->calls_from};
    row.close.decision_count = 0;
    row.close.decisions = NULL;
    memcpy(row.content_digest, w->outbox->content_digest, sizeof row.content_digest);
    memcpy(row.previous_digest, w->rows->chain.previous_digest, sizeof row.previous_digest);
    memcpy(row.digest, w->outbox->digest, sizeof row.digest);
    *list_add(&w->rows->closes) = row;
}

// The rows that are published, with the sequences that the outbox gave them.
static void write_emissions(const struct writing *w)
{
    for (size_t i = 0; i < w->step->emission_count; i++) {
        struct emission emission = w->step->emissions[i];
        int64_t sequence = w->outbox->rows[i].sequence;
        if (emission.kind == EMIT_REJECT)
            write_reject(w, &w->step->rejects[emission.index], sequence);
        if (emission.kind == EMIT_SETTLEMENT)
            write_settlement(w, &w->step->settlements[emission.index], sequence);
        if (emission.kind == EMIT_NOTICE)
            write_notice(w, &w->step->notices[emission.index], sequence);
        if (emission.kind == EMIT_DAY_CLOSE)
            write_close(w, sequence);
        if (emission.kind == EMIT_STATEMENT)
            write_statement(w, &w->step->statements[emission.index], sequence);
        if (emission.kind != EMIT_STATUS)
            continue;
        struct status_row row = {.status = w->step->statuses[emission.index], .sequence = sequence};
        row.account = account_id(w, row.status.account);
        row.status.credit_id = keep(w->pg, row.status.credit_id);
        *list_add(&w->rows->statuses) = row;
    }
}

static void write_decisions(const struct writing *w)
{
    for (size_t i = 0; i < w->step->decision_count; i++) {
        struct decision decision = w->step->decisions[i];
        decision.operator_name =
            arena_copy(w->pg->arena, decision.operator_name, strlen(decision.operator_name));
        decision.content = arena_copy(w->pg->arena, decision.content, strlen(decision.content));
        decision.offsets =
            (const int64_t *)keep(w->pg, (struct slice){(const char *)decision.offsets,
                                                        decision.count * sizeof(int64_t)})
                .data;
        assert(decision.offsets); // at least one record
        *list_add(&w->rows->decisions) = decision;
        for (size_t k = 0; k < w->rows->asks.count; k++)
            if (w->rows->asks.at[k].request.id == decision.request)
                w->rows->asks.at[k].state = REQUEST_DONE;
        for (size_t k = 0; k < w->rows->rejects.count && decision.kind != DECISION_PASS; k++) {
            struct reject_row_of *row = &w->rows->rejects.at[k];
            if (row->reject.input == decision.input &&
                decision_is_about(&decision, row->reject.offset))
                row->decision = decision.number;
        }
    }
}

static void write_holds(const struct writing *w)
{
    for (size_t i = 0; i < w->step->hold_count; i++)
        *list_add(&w->rows->holds) = w->step->holds[i];
}

static void write_outbox(const struct writing *w)
{
    for (size_t i = 0; i < w->outbox->count; i++) {
        struct outbox_row row = w->outbox->rows[i];
        row.key = keep(w->pg, row.key);
        row.body = keep(w->pg, row.body);
        row.ce_id = arena_copy(w->pg->arena, row.ce_id, strlen(row.ce_id));
        *list_add(&w->rows->outbox) = row;
    }
}

static void write_step(struct postgres *pg, struct rows *rows, const struct commit_of *c,
                       bool with_outbox)
{
    struct writing w = {pg, rows, c->fold, fold_step(c->fold), c->outbox};
    assert(w.step->emission_count == c->outbox->count);
    write_accounts(&w);
    write_packages(&w);
    write_credits(&w);
    write_emissions(&w);
    write_decisions(&w);
    write_holds(&w);
    if (with_outbox)
        write_outbox(&w);
    rows->begun = true;
    rows->step++;
    rows->state = *fold_state(c->fold);
    rows->chain = c->outbox->after;
}

// ---- sessions and locks ----

enum store_result postgres_ready(struct postgres *pg, struct session *session, int64_t now,
                                 struct error *e)
{
    if (!pg->down && now >= session->cut_until)
        return STORE_OK;
    error_set(e, ERROR_UNAVAILABLE, "PostgreSQL does not answer");
    memset(session->seen, 0, sizeof session->seen);
    return STORE_UNAVAILABLE;
}

static void cut_session(struct session *session, int64_t until)
{
    session->cut_until = until;
    memset(session->seen, 0, sizeof session->seen);
}

static enum store_result lock(struct postgres *pg, struct session *session, int64_t now,
                              int32_t shard, struct error *e)
{
    enum store_result result = postgres_ready(pg, session, now, e);
    if (result != STORE_OK)
        return result;
    if (!pg->zombies[shard].holds || pg->breakage == BREAK_LOCK)
        return STORE_OK;
    error_set(e, ERROR_UNAVAILABLE, "lock time-out on the row of shard %d", (int)shard);
    return STORE_UNAVAILABLE;
}

static enum store_result fenced(int32_t shard, struct error *e)
{
    error_set(e, ERROR_RESTART, "shard %d: another process owns it", (int)shard);
    return STORE_FENCED;
}

static enum store_result diverged(int32_t shard, const char *what, struct error *e)
{
    error_set(e, ERROR_CONFIG, "shard %d: the database has lost commits (%s)", (int)shard, what);
    return STORE_DIVERGED;
}

void postgres_end_zombies(struct postgres *pg)
{
    for (int32_t s = 0; s < pg->shards; s++) {
        struct zombie *zombie = &pg->zombies[s];
        if (!zombie->holds)
            continue;
        zombie->holds = false;
        struct rows before = pg->rows[s];
        if (zombie->commits) {
            pg->rows[s] = zombie->after;
            zombie->after = (struct rows){0};
            pg->on_commit(pg->context, s, zombie->epoch, &before);
            rows_free(&before);
        }
        rows_free(&zombie->after);
    }
}

// ---- claim ----

static void read_row(const struct rows *rows, struct shard_row *out)
{
    *out = (struct shard_row){
        .epoch = rows->epoch, .step = rows->step, .begun = rows->begun, .state = rows->state};
    out->chain = rows->chain;
    out->relayed = rows->relayed;
    if (!rows->begun) {
        out->state.day = DAY_NONE;
        memset(out->chain.previous_digest, '0', sizeof out->chain.previous_digest - 1);
    }
}

enum store_result postgres_claim(struct postgres *pg, struct session *session, int64_t now,
                                 int32_t shard, struct shard_row *out, struct error *e)
{
    enum store_result result = lock(pg, session, now, shard, e);
    if (result != STORE_OK)
        return result;
    if (session->next == COMMIT_REFUSED || session->next == COMMIT_LOST) {
        session->next = COMMIT_WELL;
        error_set(e, ERROR_UNAVAILABLE, "the claim was refused");
        return STORE_UNAVAILABLE;
    }
    if (pg->rows[shard].epoch == 0)
        memset(pg->rows[shard].chain.previous_digest, '0', 64);
    pg->rows[shard].epoch++;
    if (session->next == COMMIT_UNANSWERED) {
        session->next = COMMIT_WELL;
        cut_session(session, now + 1);
        error_set(e, ERROR_UNAVAILABLE, "the claim was not answered");
        return STORE_UNAVAILABLE;
    }
    read_row(&pg->rows[shard], out);
    return STORE_OK;
}

// ---- restore ----

// Those that store_restore.c asks for: suspensions that ended long ago are left out.
static int restore_spans(const struct postgres *pg, const struct rows *rows, struct fold *fold,
                         struct error *e)
{
    int32_t late_days = 0;
    for (size_t i = 0; i < pg->policy->count; i++)
        if (pg->policy->rows[i].late_days > late_days)
            late_days = pg->policy->rows[i].late_days;
    int64_t oldest = calendar_day_start(rows->state.day - 2 - late_days, 0);
    for (size_t i = 0; i < rows->statuses.count; i++) {
        const struct status_row *from = &rows->statuses.at[i];
        if (from->status.state != ACCOUNT_SUSPENDED)
            continue;
        struct span span = {from->status.effective_at, INT64_MAX};
        for (size_t k = i + 1; k < rows->statuses.count; k++) {
            const struct status_row *to = &rows->statuses.at[k];
            if (!same(to->account, from->account))
                continue;
            span.to = to->status.effective_at;
            break;
        }
        if (span.to < oldest)
            continue;
        if (fold_restore_span(fold, from->account, span, e) != 0)
            return -1;
    }
    return 0;
}

static int restore_ledger(const struct postgres *pg, const struct rows *rows, struct fold *fold,
                          struct error *e)
{
    for (size_t i = 0; i < rows->accounts.count; i++) {
        const struct account_row *row = &rows->accounts.at[i];
        struct account account = {.id = row->id,
                                  .opening = row->opening,
                                  .credits = row->credits,
                                  .adjustments = row->adjustments,
                                  .state = row->state,
                                  .account_sequence = row->account_sequence,
                                  .position = row->position};
        if (fold_restore_account(fold, &account, NULL, e) != 0)
            return -1;
    }
    if (pg->breakage != BREAK_SPANS && restore_spans(pg, rows, fold, e) != 0)
        return -1;
    for (size_t i = 0; i < rows->packages.count; i++)
        if (fold_restore_package(fold, rows->packages.at[i].account, &rows->packages.at[i].package,
                                 e) != 0)
            return -1;
    for (size_t i = 0; i < rows->credits.count && pg->breakage != BREAK_CREDITS; i++) {
        const struct step_credit *c = &rows->credits.at[i].credit;
        const struct restored_credit credit = {rows->credits.at[i].account, c->credit_id, c->kind,
                                               c->amount, c->credited_at};
        if (fold_restore_credit(fold, &credit, e) != 0)
            return -1;
    }
    return 0;
}

static int by_offset(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static int restore_rejects(const struct rows *rows, struct fold *fold, struct error *e)
{
    LIST(int64_t) offsets = {0};
    int result = 0;
    for (size_t i = 0; i < rows->rejects.count; i++)
        if (rows->rejects.at[i].reject.input == INPUT_CALLS &&
            rows->rejects.at[i].reject.offset >= rows->state.calls_from)
            *list_add(&offsets) = rows->rejects.at[i].reject.offset;
    if (offsets.count > 0)
        qsort(offsets.at, offsets.count, sizeof *offsets.at, by_offset);
    for (size_t i = 0; i < offsets.count && result == 0; i++)
        result = fold_restore_reject(fold, offsets.at[i], e);
    list_free(&offsets);
    return result;
}

static int restore_past(const struct postgres *pg, const struct rows *rows, struct fold *fold,
                        struct error *e)
{
    for (size_t i = 0; i < rows->closes.count; i++) {
        const struct day_close *close = &rows->closes.at[i].close;
        if (close->cutoffs[INPUT_CALLS].to_offset < rows->state.calls_from)
            continue;
        if (fold_restore_cutoff(fold, close->day, close->cutoffs[INPUT_CALLS].to_offset, e) != 0)
            return -1;
    }
    if (pg->breakage != BREAK_REJECTS && restore_rejects(rows, fold, e) != 0)
        return -1;
    for (size_t i = 0; i < rows->decisions.count; i++) {
        const struct decision *decision = &rows->decisions.at[i];
        bool about_reject = decision->kind == DECISION_ACCEPT || decision->kind == DECISION_REQUEUE;
        if (about_reject && decision->day < rows->state.day)
            continue;
        if (fold_restore_decision(fold, decision, decision->day >= rows->state.day, e) != 0)
            return -1;
    }
    return 0;
}

enum store_result postgres_restore(struct postgres *pg, struct session *session, int64_t now,
                                   int32_t shard, const struct shard_row *row, struct fold *fold,
                                   struct error *e)
{
    const struct rows *rows = &pg->rows[shard];
    enum store_result result = postgres_ready(pg, session, now, e);
    if (result != STORE_OK)
        return result;
    if (rows->epoch != row->epoch || rows->step != row->step)
        return fenced(shard, e);
    if (fold_restore_state(fold, &row->state, e) != 0 || restore_ledger(pg, rows, fold, e) != 0 ||
        restore_past(pg, rows, fold, e) != 0)
        return STORE_FAILED;
    return STORE_OK;
}

// ---- commit ----

static bool same_position(const struct rows *found, int64_t step, const struct chain *chain,
                          const struct fold_state *state)
{
    bool equal = found->step == step && found->chain.sequence == chain->sequence &&
                 memcmp(found->chain.hash, chain->hash, sizeof chain->hash) == 0;
    for (int i = 0; i < INPUT_COUNT && equal; i++)
        equal = found->state.log[i].next == state->log[i].next;
    return equal;
}

// *done: the row is one step further, and it is this step.
static enum store_result compare(const struct rows *found, const struct commit_of *c, int32_t shard,
                                 bool *done, struct error *e)
{
    *done = false;
    if (found->epoch > c->row->epoch)
        return fenced(shard, e);
    if (found->epoch < c->row->epoch)
        return diverged(shard, "the epoch", e);
    if (same_position(found, c->row->step, &c->row->chain, &c->row->state))
        return STORE_OK;
    *done = same_position(found, c->row->step + 1, &c->outbox->after, fold_state(c->fold));
    return *done ? STORE_OK : diverged(shard, "the position", e);
}

static enum store_result check_last_row(const struct rows *found, const struct commit_of *c,
                                        int32_t shard, struct error *e)
{
    int64_t n = c->row->chain.sequence;
    if (n == 0)
        return STORE_OK;
    bool kept = n >= found->outbox_first && n <= (int64_t)found->outbox.count;
    if (kept &&
        memcmp(found->outbox.at[n - 1].hash, c->row->chain.hash, sizeof c->row->chain.hash) == 0)
        return STORE_OK;
    return diverged(shard, "the last row", e);
}

static day_t reached(const struct fold_state *state)
{
    return state->day > state->horizon ? state->day : state->horizon;
}

static size_t rows_in_force(const struct policy *policy, day_t day)
{
    size_t count = 0;
    while (count < policy->count && policy->rows[count].from_day <= day)
        count++;
    return count;
}

static enum store_result check_parameters(const struct postgres *pg, const struct commit_of *c,
                                          struct error *e)
{
    day_t day = reached(fold_state(c->fold));
    if (rows_in_force(pg->policy, day) == rows_in_force(fold_policy(c->fold), day))
        return STORE_OK;
    error_set(e, ERROR_RESTART, "other parameters are recorded");
    return STORE_FAILED;
}

static enum store_result check_commit(const struct postgres *pg, const struct session *session,
                                      const struct commit_of *c, int32_t shard, bool *done,
                                      struct error *e)
{
    const struct rows *found = &pg->rows[shard];
    *done = false;
    if (pg->breakage == BREAK_EPOCH)
        return STORE_OK;
    enum store_result result = compare(found, c, shard, done, e);
    if (pg->breakage == BREAK_RESOLVE)
        *done = false;
    if (result != STORE_OK || *done)
        return result;
    if (!session->seen[shard])
        result = check_last_row(found, c, shard, e);
    bool new_day = !c->row->begun || reached(fold_state(c->fold)) > reached(&c->row->state);
    return result == STORE_OK && new_day ? check_parameters(pg, c, e) : result;
}

static void apply(struct postgres *pg, int32_t shard, const struct commit_of *c)
{
    struct rows before = pg->rows[shard];
    write_step(pg, &pg->rows[shard], c, pg->breakage != BREAK_OUTBOX);
    pg->on_commit(pg->context, shard, c->row->epoch, &before);
}

static void leave_zombie(struct postgres *pg, int32_t shard, const struct commit_of *c,
                         bool commits)
{
    struct zombie *zombie = &pg->zombies[shard];
    if (zombie->holds)
        return; // BREAK_LOCK
    rows_copy(&zombie->after, &pg->rows[shard]);
    write_step(pg, &zombie->after, c, true);
    zombie->holds = true;
    zombie->commits = commits;
    zombie->epoch = c->row->epoch;
}

static enum store_result lost(struct session *session, int64_t now, int64_t for_ms, struct error *e)
{
    cut_session(session, now + for_ms);
    error_set(e, ERROR_UNAVAILABLE, "the connection was lost");
    return STORE_UNAVAILABLE;
}

// The row is locked and was found to be ours.
static enum store_result try_commit(struct postgres *pg, struct session *session, int64_t now,
                                    int32_t shard, const struct commit_of *c, struct error *e)
{
    enum commit_fate fate = session->next;
    session->next = COMMIT_WELL;
    switch (fate) {
    case COMMIT_REFUSED:
        error_set(e, ERROR_UNAVAILABLE, "could not serialize access");
        return STORE_UNAVAILABLE;
    case COMMIT_LOST:
        return lost(session, now, 1, e);
    case COMMIT_HANGS:
    case COMMIT_HANGS_BACK:
        leave_zombie(pg, shard, c, fate == COMMIT_HANGS);
        return lost(session, now, 1, e);
    case COMMIT_UNANSWERED_TWICE:
        apply(pg, shard, c);
        return lost(session, now, 1000, e);
    // found out behind the lock, on a connection that has not seen the last row yet
    case COMMIT_UNANSWERED:
        apply(pg, shard, c);
        cut_session(session, now);
        return pg->breakage == BREAK_RESOLVE ? lost(session, now, 1, e) : STORE_OK;
    case COMMIT_WELL:
    case COMMIT_FATES:
        break;
    }
    apply(pg, shard, c);
    session->seen[shard] = true;
    return STORE_OK;
}

enum store_result postgres_commit(struct postgres *pg, struct session *session, int64_t now,
                                  int32_t shard, const struct commit_of *c, struct error *e)
{
    bool done;
    enum store_result result = lock(pg, session, now, shard, e);
    if (result == STORE_OK && pg->breakage == BREAK_OUTBOX) {
        struct writing w = {pg, &pg->rows[shard], c->fold, fold_step(c->fold), c->outbox};
        write_outbox(&w);
    }
    if (result == STORE_OK)
        result = check_commit(pg, session, c, shard, &done, e);
    if (result == STORE_OK && !done)
        result = try_commit(pg, session, now, shard, c, e);
    if (result != STORE_OK)
        return result;
    c->row->step++;
    c->row->begun = true;
    c->row->state = *fold_state(c->fold);
    c->row->chain = c->outbox->after;
    return STORE_OK;
}

// ---- the relay's side ----

enum store_result postgres_check_epoch(struct postgres *pg, struct session *session, int64_t now,
                                       int32_t shard, int64_t epoch, int64_t *sequence,
                                       int64_t *relayed, struct error *e)
{
    const struct rows *found = &pg->rows[shard];
    enum store_result result = lock(pg, session, now, shard, e);
    if (result != STORE_OK)
        return result;
    if (sequence)
        *sequence = found->chain.sequence;
    if (relayed)
        *relayed = found->relayed;
    if (found->epoch == epoch || pg->breakage == BREAK_EPOCH)
        return STORE_OK;
    return found->epoch > epoch ? fenced(shard, e) : diverged(shard, "the epoch", e);
}

// Drops rows that were published more than 8 days ago, except row n.
static void drop_old(struct rows *rows, int64_t n, int64_t now_ms)
{
    for (size_t i = 0; i < rows->marks.count; i++) {
        const struct mark_row *mark = &rows->marks.at[i];
        if (mark->published_at >= now_ms - 8 * DAY_MS)
            continue;
        int64_t first = mark->sequence + 1 < n ? mark->sequence + 1 : n;
        if (first > rows->outbox_first)
            rows->outbox_first = first;
    }
}

enum store_result postgres_mark(struct postgres *pg, struct session *session, int64_t now,
                                int32_t shard, int64_t epoch, int64_t n, int64_t now_ms,
                                struct error *e)
{
    enum store_result result = postgres_check_epoch(pg, session, now, shard, epoch, NULL, NULL, e);
    if (result != STORE_OK)
        return result;
    struct rows *rows = &pg->rows[shard];
    if (n > rows->relayed)
        rows->relayed = n;
    bool recent = false;
    for (size_t i = 0; i < rows->marks.count; i++)
        recent = recent || rows->marks.at[i].published_at > now_ms - 60000;
    if (!recent)
        *list_add(&rows->marks) = (struct mark_row){n, now_ms};
    drop_old(rows, n, now_ms);
    return STORE_OK;
}

// ---- fail-over ----

static void drop_replica(struct postgres *pg)
{
    for (int32_t s = 0; s < pg->shards; s++) {
        rows_free(&pg->replica[s]);
        pg->replica[s] = (struct rows){0};
    }
    pg->lags = false;
}

void postgres_lag(struct postgres *pg)
{
    drop_replica(pg);
    for (int32_t s = 0; s < pg->shards; s++)
        rows_copy(&pg->replica[s], &pg->rows[s]);
    pg->replica_policy = pg->policy;
    pg->lags = true;
}

void postgres_fail_over(struct postgres *pg)
{
    for (int32_t s = 0; s < pg->shards; s++) {
        rows_free(&pg->zombies[s].after);
        pg->zombies[s] = (struct zombie){0};
        if (!pg->lags)
            continue;
        rows_free(&pg->rows[s]);
        pg->rows[s] = pg->replica[s];
        pg->replica[s] = (struct rows){0};
    }
    if (pg->lags)
        pg->policy = pg->replica_policy;
    pg->lags = false;
}

// ---- parameters ----

bool postgres_record(struct postgres *pg, const struct parameters *wanted, const struct book *book)
{
    const struct policy *last = pg->policy;
    struct error e;
    day_t from = last->fixed.first_day;
    // A transaction that opens a day shares a lock on the deployment's row, which this would have
    // to wait for.
    for (int32_t s = 0; s < pg->shards; s++)
        if (pg->zombies[s].holds)
            return false;
    if (last->rows[last->count - 1].from_day >= from)
        from = last->rows[last->count - 1].from_day + 1;
    for (int32_t s = 0; s < pg->shards; s++)
        if (pg->rows[s].begun && reached(&pg->rows[s].state) >= from)
            from = reached(&pg->rows[s].state) + 1;
    struct policy *next = memory_grow(NULL, 1, sizeof *next);
    memcpy(next, last, sizeof *next);
    if (book) {
        struct book later = *book;
        later.effective_from = from;
        if (shelf_add(&next->shelf, &later, &e) != 0) {
            free(next);
            return false;
        }
        *list_add(&pg->books) = (struct added){next->shelf.books[next->shelf.count - 1]};
    }
    next->rows[next->count] = *wanted;
    next->rows[next->count++].from_day = from;
    *list_add(&pg->policies) = (struct recorded){next};
    pg->policy = next;
    return true;
}
