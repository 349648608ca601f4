// A fold by what is recorded: cutoffs, verdicts and decisions come from rows, only the records come
// from the logs.
#include "consumer/core/fold_state.h"

#include <assert.h>
#include <stdio.h>

void fold_audit_decision(struct fold *fold, const struct decision *decision,
                         const enum reject_reason *reasons)
{
    assert(!fold->replay.active);
    assert(!fold->step.closed);
    int64_t next = fold->state.log[decision->input].next;
    fold->state.decisions = decision->number;
    fold_name_decision(fold, decision);
    for (size_t i = 0; i < decision->count; i++) {
        int64_t offset = decision->offsets[i];
        if (decision->kind == DECISION_PASS)
            fold_add_override(fold, decision->input, offset, decision->as_of);
        else if (decision->kind == DECISION_REFUSE && offset >= next)
            fold_add_refusal(fold, decision->input, (struct refusal){offset, decision->number});
        else if (decision->kind != DECISION_REFUSE && reasons[i] != REJECT_NONE)
            fold_resolve(&fold->state.log[decision->input], offset, reasons[i]);
    }
}

int64_t fold_judged_at(const struct fold *fold, enum input input, int64_t offset, int64_t timestamp)
{
    const struct timestamp_override *override = fold_find_override(fold, input, offset);
    return override ? override->as_of : timestamp;
}

int fold_audit_record(struct fold *fold, enum input input, const struct event *event,
                      struct recorded_verdict recorded, struct audit_verdict *out, struct error *e)
{
    struct log_state *log = &fold->state.log[input];
    assert(!fold->replay.active);
    assert(!fold->step.closed);
    assert(fold->log[input].cut == CUT_NONE);
    assert(event->offset >= log->next);
    assert(!fold->withhold);
    fold_void_to(fold, input, event->offset);
    int64_t at_ms = fold_judged_at(fold, input, event->offset, event->timestamp);
    struct verdict verdict;
    verdict.error = e;
    fold->withhold = recorded.reason != REJECT_NONE;
    verdict.decision = fold_refused_by(fold, input, event->offset);
    judge(fold, input, event, NULL, at_ms, &verdict);
    fold->withhold = false;
    if (verdict.broken)
        return -1;
    *out = (struct audit_verdict){
        .reason = verdict.reason,
        .duplicate = verdict.duplicate,
        .lacks_override = !event->stamped && !fold_find_override(fold, input, event->offset),
        .beyond_due = at_ms >= fold->due_at,
    };
    if (recorded.reason != REJECT_NONE && verdict.reason == REJECT_NONE) {
        verdict.reason = recorded.reason;
        verdict.duplicate = false;
        snprintf(verdict.detail, sizeof verdict.detail, "%s", recorded.detail);
        judge_add_reject(fold, input, event, &verdict);
    }
    fold_count(log, &verdict);
    fold_drop_override(fold, input, event->offset);
    fold_check_log(log);
    fold_remember(log, event);
    fold->step.moved = true;
    return 0;
}

void fold_audit_cut(struct fold *fold, enum input input, int64_t offset, enum cut_by cut_by)
{
    assert(fold->log[input].cut == CUT_NONE);
    fold_void_to(fold, input, offset);
    fold_check_log(&fold->state.log[input]);
    fold->log[input].cut = cut_by;
}
