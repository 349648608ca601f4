// Closes, and what operators decide.
#include "consumer/shard/shard_parts.h"

#include "consumer/system/fault.h"
#include "consumer/system/log.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

enum {
    REQUESTS_MS = 1000,
    REQUESTS_MAX = 64,
    UNDECIDED_MAX = 64, // kinds of rejects that a line about a held day is made of
    NOTE_MS = 5000, // the same waiting record is noted again, as the answer may be another
};

void shard_end_drained_logs(struct shard *shard, int64_t now_ms)
{
    for (enum input i = 0; i < INPUT_COUNT; i++)
        if (shard->log[i].ended && shard->log[i].stop != FOLD_AHEAD &&
            shard->log[i].stop != FOLD_REJECTS)
            shard_end_log(shard, i, fold_state(shard->fold)->log[i].next, now_ms);
}

bool shard_follow_policy(struct shard *shard)
{
    const struct policy *current = shard->host->policy(shard->host->context);
    if (fold_policy(shard->fold) == current)
        return true;
    if (fold_step(shard->fold)->moved) {
        shard->must_commit = true;
        return false;
    }
    assert(!shard->built); // it was encoded by the parameters of before
    fold_set_policy(shard->fold, current);
    return true;
}

// The next day begins on each log where the settled one ended.
static void check_close(const struct shard *shard, day_t day)
{
    const struct fold_state *state = fold_state(shard->fold);
    const struct step *step = fold_step(shard->fold);
    assert(step->closed);
    assert(step->close.day == day); // I9
    assert(state->day == day + 1); // I9
    assert(!state->held);
    for (int i = 0; i < INPUT_COUNT; i++) {
        assert(state->log[i].from == step->close.cutoffs[i].to_offset); // I7
        assert(state->log[i].next == state->log[i].from);
    }
}

// The next day opens by the parameters that are recorded now: the commit checks that none came in
// between.
void shard_close_when_due(struct shard *shard, int64_t mono_ms)
{
    struct error e;
    // R75: a month's statements stand between two closes.
    if (step_is_whole(fold_step(shard->fold)) || !fold_close_due(shard->fold) ||
        fold_month_due(shard->fold) || mono_ms < shard->retry_at)
        return;
    enum store_result result = shard->host->refresh_policy(shard->host->context, &e);
    if (!shard_answered(shard, result, mono_ms, "parameters", &e) || !shard_follow_policy(shard))
        return;
    for (enum input i = 0; i < INPUT_COUNT; i++)
        shard_count_log(shard, i);
    fault_point(close_before);
    day_t day = fold_state(shard->fold)->day;
    if (fold_close(shard->fold, &e))
        shard_halt(shard, &e);
    else
        check_close(shard, day);
    fault_point(close_after);
}

// ---- held days ----

struct hold_line {
    char reasons[256], schemas[128], first[160];
    size_t reasons_used, schemas_used;
    int64_t first_offset; // -1: none yet
};

// Cut where there is no more room: what is most frequent comes first.
__attribute__((format(printf, 4, 5))) static void append(char *text, size_t size, size_t *used,
                                                         const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int length = vsnprintf(text + *used, size - *used, format, args);
    va_end(args);
    if (length < 0 || (size_t)length >= size - *used)
        text[*used] = '\0';
    else
        *used += (size_t)length;
}

static void add_to_line(struct hold_line *line, const struct undecided_rejects *rejects)
{
    append(line->reasons, sizeof line->reasons, &line->reasons_used, "%s%s %" PRId64,
           line->reasons_used ? ", " : "", reject_symbol(rejects->reason), rejects->count);
    if (rejects->schema_id >= 0)
        append(line->schemas, sizeof line->schemas, &line->schemas_used, "%s%" PRId64,
               line->schemas_used ? ", " : "", rejects->schema_id);
    if (line->first_offset < 0 || rejects->first_offset < line->first_offset)
        line->first_offset = rejects->first_offset;
}

static void tell_one_hold(const struct shard *shard, enum input input, enum reject_group group,
                          const struct undecided_rejects *rejects, size_t count)
{
    const struct fold_state *state = fold_state(shard->fold);
    const struct hold *hold = &state->holds[input][group];
    const char *topic = shard->host->input_topics[input];
    struct hold_line line = {.first_offset = -1};
    char day[DAY_TEXT_SIZE];
    for (size_t i = 0; i < count; i++)
        if (rejects[i].input == input && reject_group_of(rejects[i].reason) == group)
            add_to_line(&line, &rejects[i]);
    snprintf(line.first, sizeof line.first, "%s/%" PRId32 "/%" PRId64, topic, shard->id,
             line.first_offset);
    log_event(LOG_ERROR,
              "the day is held: too many rejects on a log; settled rejects requeue or accept",
              LOG_FIELDS(log_int("shard", shard->id),
                         log_text("day", calendar_format_day(state->day, day)),
                         log_text("topic", topic), log_text("group", reject_group_symbol(group)),
                         log_int("rejects", hold->rejects), log_int("of_records", hold->records),
                         log_int("undecided", state->log[input].undecided_of[group]),
                         log_text("reasons", line.reasons), log_text("schemas", line.schemas),
                         log_text("first", line.first)));
}

void shard_tell_hold(struct shard *shard, int64_t mono_ms)
{
    struct undecided_rejects rejects[UNDECIDED_MAX];
    struct error e;
    size_t count = 0;
    if (mono_ms < shard->retry_at)
        return;
    const struct fold_state *state = fold_state(shard->fold);
    enum store_result result = STORE_OK;
    if (state->held)
        result = shard->host->load_undecided(shard->host->context, shard->id, rejects,
                                             UNDECIDED_MAX, &count, &e);
    if (!shard_answered(shard, result, mono_ms, "rejects", &e))
        return;
    shard->untold = false;
    for (enum input i = 0; state->held && i < INPUT_COUNT; i++)
        for (enum reject_group g = 0; g < REJECT_GROUPS; g++)
            if (state->holds[i][g].records > 0)
                tell_one_hold(shard, i, g, rejects, count);
}

// ---- operators ----

// Requeued records are judged before their rejects no longer count, unless the log waits for
// exactly that.
// A record is refused when its log stands before one whose schema is missing; until then it may
// come.
static bool must_wait(const struct shard *shard, const struct request *request)
{
    const struct input_log *log = &shard->log[request->decision.input];
    int64_t next = fold_state(shard->fold)->log[request->decision.input].next;
    if (request->decision.kind == DECISION_REFUSE)
        return log->stop != FOLD_SCHEMA &&
               request->decision.offsets[request->decision.count - 1] >= next;
    return request->decision.kind == DECISION_REQUEUE && log->stop != FOLD_REJECTS &&
           request->new_offset >= next;
}

// Once for each record, and now and then anew, as the answers of a registry change.
void shard_note_waiting(struct shard *shard, int64_t mono_ms)
{
    const struct shard_host *host = shard->host;
    struct error e;
    for (enum input i = 0; i < INPUT_COUNT && shard->state == SHARD_RUNNING; i++) {
        struct input_log *log = &shard->log[i];
        struct waiting_record now = {.input = i, .schema_id = log->schema_id};
        if (log->stop != FOLD_SCHEMA || mono_ms < shard->retry_at)
            continue;
        now.offset = fold_state(shard->fold)->log[i].next;
        bool same = now.offset == log->noted.offset && now.schema_id == log->noted.schema_id;
        if (log->noted_at != 0 && same && mono_ms - log->noted_at < NOTE_MS)
            continue;
        // It may be there in a moment; a note is for who looks later.
        if (log->noted_at == 0 || !same) {
            log->noted = now;
            log->noted_at = mono_ms - NOTE_MS + REQUESTS_MS;
            continue;
        }
        enum store_result result =
            host->note_waiting(host->context, shard->id, shard->row.epoch, &now, &e);
        if (!shard_answered(shard, result, mono_ms, "what waits", &e))
            return;
        log->noted_at = mono_ms;
    }
}

void shard_serve_requests(struct shard *shard, int64_t mono_ms)
{
    const struct shard_host *host = shard->host;
    struct request requests[REQUESTS_MAX];
    struct error e, why;
    size_t count = 0, applied = 0;
    bool ended = shard_all_ended(shard), refused = false;
    if (ended && !shard->decided)
        shard->requests_at = mono_ms; // a drain is done only when it has looked behind its end
    if (mono_ms < shard->requests_at || mono_ms < shard->retry_at ||
        fold_step(shard->fold)->decision_count > 0 || fold_step(shard->fold)->closed)
        return;
    shard->requests_at = mono_ms + REQUESTS_MS;
    enum store_result result =
        host->load_requests(host->context, shard->id, requests, REQUESTS_MAX, &count, &e);
    if (!shard_answered(shard, result, mono_ms, "requests", &e))
        return;
    assert(count <= REQUESTS_MAX);
    for (size_t i = 0; i < count && !refused && shard->state == SHARD_RUNNING; i++) {
        const struct request *request = &requests[i];
        if (must_wait(shard, request))
            continue;
        if (fold_decide(shard->fold, &request->decision, request->reasons, &why) == 0) {
            log_event(LOG_INFO, "operator's decision applied",
                      LOG_FIELDS(log_int("shard", shard->id),
                                 log_text("kind", decision_symbol(request->decision.kind)),
                                 log_text("operator", request->decision.operator_name),
                                 log_text("content", request->decision.content)));
            shard->must_commit = true;
            applied++;
            continue;
        }
        // Refusing ends the validity of the requests' strings: the rest comes with the next look.
        shard_answered(shard, host->refuse_request(host->context, request->id, why.text, &e),
                       mono_ms, "requests", &e);
        refused = true;
    }
    if (shard->fold)
        assert(fold_step(shard->fold)->decision_count == applied);
    shard->decided = ended && applied == 0 && !refused;
    if (refused || (count == REQUESTS_MAX && applied > 0))
        shard->requests_at = mono_ms;
    if (applied > 0)
        shard_resume_logs(shard);
}
