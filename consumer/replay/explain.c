#include "consumer/replay/explain.h"

#include "consumer/base/memory.h"
#include "consumer/base/text.h"
#include "consumer/kafka/fetch_record.h"
#include "consumer/replay/replay_decoder.h"
#include "consumer/system/progress.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { PATIENCE_MS = 15000, POSITIONS_INITIAL = 64 };

// An accepted call of the account, by its place in its usage day.
struct call_place {
    day_t day;
    int64_t ordinal, offset;
    char *call_id, *request_id;
};

struct explain_job {
    const struct config *config;
    const struct explain_question *question;
    struct slice account_id;
    struct deployment *recorded;
    struct store *store;
    struct replay_decoder *decoder;
    struct record_fetcher *peek;
    struct fold *fold;
    struct explanation *out;
    struct progress progress;
    bool done;
    size_t place_count, place_capacity;
    // in order of offset while the calls are read, then by day and ordinal
    struct call_place *places;
};

// ---- reading the calls again ----

static bool is_of_account(const struct explain_job *job, const struct event *event)
{
    const struct value *account = &event->record.field[CALL_ACCOUNT_ID];
    return event->fault == REJECT_NONE && account->data &&
           (size_t)account->number == job->account_id.size &&
           memcmp(account->data, job->account_id.data, job->account_id.size) == 0;
}

// NULL stays NULL.
static char *copy_text(const char *text)
{
    char *copy = text ? strdup(text) : NULL;
    if (text && !copy)
        abort(); // out of memory
    return copy;
}

// Of any text, what is UTF-8: nobody has looked at a request's id.
static char *copy_value(const struct value *text)
{
    size_t size = (size_t)text->number;
    char *copy = memory_grow(NULL, 3 * size + 1, 1);
    copy[text_repair((struct slice){text->data, size}, copy)] = '\0';
    return copy;
}

static void add_place(struct explain_job *job, const struct event *event, day_t day,
                      int64_t ordinal)
{
    const struct record *record = &event->record;
    if (job->place_count > 0)
        assert(job->places[job->place_count - 1].offset < event->offset);
    job->places =
        memory_reserve(job->places, job->place_count, &job->place_capacity, sizeof *job->places);
    bool asked = !(record->nulls & 1u << CALL_REQUEST_ID);
    job->places[job->place_count++] = (struct call_place){
        .day = day,
        .ordinal = ordinal,
        .offset = event->offset,
        .call_id = copy_value(&record->field[CALL_CALL_ID]),
        .request_id = asked ? copy_value(&record->field[CALL_REQUEST_ID]) : NULL};
}

// Below the cutoff before the day's own one, calls of earlier days are on earlier settlements.
static bool may_be_traced(const struct explain_job *job, const struct event *event, day_t day)
{
    return day == job->question->day ||
           event->offset >= job->out->recorded.cutoffs[INPUT_CALLS].from_offset;
}

static int replay_one(void *context, const rd_kafka_message_t *message, struct error *e)
{
    struct explain_job *job = context;
    if (!message)
        return fold_replay_reached(job->fold, job->out->to_offset, &job->done, e);
    if (job->question->stop && atomic_load(job->question->stop))
        return error_set(e, ERROR_UNAVAILABLE, "the process stops");
    if (job->question->shows_progress)
        progress_at(&job->progress, message->offset - job->out->from_offset);
    struct event *event;
    if (replay_decoder_event(job->decoder, INPUT_CALLS, message, false, &event, e))
        return -1;
    if (!is_of_account(job, event))
        return fold_replay(job->fold, event, 1, &job->done, e);
    day_t day = calendar_day(event->record.field[CALL_OCCURRED_AT].number, job->out->zone_ms);
    int64_t before = fold_calls_of_day(job->fold, day);
    if (fold_replay(job->fold, event, 1, &job->done, e))
        return -1;
    if (fold_calls_of_day(job->fold, day) == before)
        return 0; // a reject or a duplicate
    if (may_be_traced(job, event, day))
        add_place(job, event, day, before);
    return 0;
}

// ---- settling again ----

static int compare_places(const void *a, const void *b)
{
    const struct call_place *x = a, *y = b;
    if (x->day != y->day)
        return x->day < y->day ? -1 : 1;
    return (x->ordinal > y->ordinal) - (x->ordinal < y->ordinal);
}

// The close traces each call once or more, ordered by day and then by time, but the calls were read
// in the order of their offsets. So they are sorted by day and ordinal, to be found again.
static void sort_places(struct explain_job *job)
{
    if (job->place_count > 0)
        qsort(job->places, job->place_count, sizeof *job->places, compare_places);
}

static const struct call_place *find_place(const struct explain_job *job, day_t day,
                                           uint64_t ordinal)
{
    const struct call_place wanted = {.day = day, .ordinal = (int64_t)ordinal};
    assert(job->place_count > 0);
    const struct call_place *found =
        bsearch(&wanted, job->places, job->place_count, sizeof wanted, compare_places);
    assert(found);
    return found;
}

static struct explained_line *find_line(struct explain_job *job,
                                        const struct settlement_line *piece)
{
    struct explanation *out = job->out;
    for (size_t i = 0; i < out->line_count; i++) {
        const struct recorded_line *line = &out->lines[i].line;
        if (line->usage_day == piece->usage_day && line->service == piece->service &&
            line->charge == piece->charge && line->tier_from == piece->tier_from &&
            (piece->charge != CHARGE_PACKAGE || out->lines[i].package == piece->package))
            return &out->lines[i];
    }
    return NULL;
}

static void take_piece(void *context, const struct settlement_line *piece, int64_t occurred_at,
                       int64_t units, uint64_t ordinal)
{
    struct explain_job *job = context;
    const struct package *package =
        piece->charge == CHARGE_PACKAGE ? fold_package(job->fold, piece->package) : NULL;
    struct explained_line *line = find_line(job, piece);
    if (!line) {
        struct explanation *out = job->out;
        out->lines = memory_grow(out->lines, out->line_count + 1, sizeof *out->lines);
        line = &out->lines[out->line_count++];
        *line = (struct explained_line){
            .line = {.usage_day = piece->usage_day,
                     .service = piece->service,
                     .charge = piece->charge,
                     .package_id = package ? strdup(package->id.data) : NULL,
                     .tier_from = piece->tier_from,
                     .unit_price = piece->unit_price,
                     .package_units = package ? package->units : -1,
                     .package_amount = package ? package->amount : -1},
            .package = piece->package};
    }
    const struct call_place *place = find_place(job, piece->usage_day, ordinal);
    line->calls =
        memory_reserve(line->calls, line->call_count, &line->call_capacity, sizeof *line->calls);
    line->calls[line->call_count++] =
        (struct explained_call){.call_id = copy_text(place->call_id),
                                .request_id = copy_text(place->request_id),
                                .occurred_at = occurred_at,
                                .offset = place->offset,
                                .units = units};
}

// Puts the traced pieces in the order of the settlement's lines, and compares their sums with those
// of the lines.
static int arrange_lines(struct explain_job *job, const struct step *step, struct error *e)
{
    struct explanation *out = job->out;
    const struct settlement *s = &out->settlement;
    struct explained_line *ordered = memory_grow(NULL, out->line_count + 1, sizeof *ordered);
    size_t count = 0;
    for (size_t i = 0; i < s->line_count; i++) {
        const struct settlement_line *line = &step->lines[s->first_line + i];
        struct explained_line *found = find_line(job, line);
        if (!found)
            break;
        assert(found->call_count == (size_t)line->calls);
        found->line.calls = line->calls;
        found->line.units = line->units;
        found->line.amount = line->amount;
        ordered[count++] = *found;
    }
    bool whole = count == s->line_count && count == out->line_count;
    if (whole) {
        free(out->lines);
        out->lines = ordered;
        return 0;
    }
    free(ordered);
    return error_set(e, ERROR_BUG, "the trace of %zu lines does not cover the settlement's %zu",
                     out->line_count, s->line_count);
}

static int settle(struct explain_job *job, struct error *e)
{
    int64_t due = fold_due_at(job->fold);
    for (enum input i = 0; i < INPUT_COUNT; i++)
        fold_clock_end(job->fold, i, fold_state(job->fold)->log[i].next, due);
    assert(fold_close_due(job->fold)); // no reject is counted here, so the day cannot be held
    sort_places(job);
    fold_set_trace(job->fold, job->account_id, take_piece, job);
    if (fold_close(job->fold, e))
        return -1;
    const struct step *step = fold_step(job->fold);
    for (size_t i = 0; i < step->settlement_count; i++) {
        struct slice id = fold_account(job->fold, step->settlements[i].account)->id;
        if (id.size != job->account_id.size || memcmp(id.data, job->account_id.data, id.size) != 0)
            continue;
        job->out->settlement = step->settlements[i];
        return arrange_lines(job, step, e);
    }
    return error_set(
        e, ERROR_CONFIG,
        "%s/%" PRId32
        " has no call of account %s for this day any more, but a settlement is recorded",
        job->recorded->topics[INPUT_CALLS], job->out->shard, job->account_id.data);
}

// ---- the job ----

static int open_job(struct explain_job *job, struct error *e)
{
    bool recorded = false;
    job->recorded = memory_grow(NULL, 1, sizeof *job->recorded);
    memset(job->recorded, 0, sizeof *job->recorded);
    if (store_open_all(job->config->dsns, job->config->dsn_count, STORE_READS, &job->store, e) ||
        store_check_version(job->store, e) ||
        store_load_deployment(job->store, job->recorded, &recorded, e) != STORE_OK)
        return -1;
    if (!recorded)
        return error_set(e, ERROR_CONFIG,
                         "nothing is recorded in the database yet: 'settled run' does that");
    const struct fixed_parameters *fixed = &job->recorded->policy.fixed;
    job->out->shard = partition_of(fixed->partitioner, job->account_id.data, job->account_id.size,
                                   fixed->partitions);
    job->out->zone_ms = job->recorded->policy.shelf.books[0]->offset_ms;
    struct fold_options options = {.shard = job->out->shard, .max_resident_calls = INT64_MAX};
    memcpy(options.id_key, job->recorded->id_key, sizeof options.id_key);
    job->fold = fold_create(&options, &job->recorded->policy);
    if (!job->fold)
        return error_set(e, ERROR_RESTART, "memory is short");
    return 0;
}

static int open_log(struct explain_job *job, struct error *e)
{
    const struct config *config = job->config;
    const char *pairs[CONFIG_PAIRS_MAX][2];
    struct client_properties properties = config_properties(config, pairs);
    return fetch_record_open(&properties, config->group, &job->peek, e) ||
                   replay_decoder_create(config, &job->recorded->policy.fixed, &job->decoder, e)
               ? -1
               : 0;
}

// Whether the calls are not there any more, once they could not be read.
static bool have_expired(struct explain_job *job, const struct record_range *calls)
{
    struct error e;
    struct partition_ends ends = {.topic = calls->topic, .partition = calls->partition};
    return fetch_record_ends(job->peek, &ends, 1, PATIENCE_MS, &e) == 0 && ends.low > calls->from;
}

static int read_calls(struct explain_job *job, struct error *e)
{
    struct explanation *out = job->out;
    const struct record_range calls = {job->recorded->topics[INPUT_CALLS], out->shard,
                                       out->from_offset, out->to_offset};
    if (job->question->shows_progress)
        progress_start(&job->progress, "calls read", calls.to - calls.from);
    int failed = fetch_record_range(job->peek, &calls, PATIENCE_MS, replay_one, job, e);
    if (job->question->shows_progress)
        progress_end(&job->progress, calls.to - calls.from);
    out->expired = failed && e->kind == ERROR_CONFIG && have_expired(job, &calls);
    return failed;
}

static int run_job(struct explain_job *job, struct error *e)
{
    struct explanation *out = job->out;
    if (open_job(job, e))
        return -1;
    const struct past_question question = {out->shard, job->account_id, job->question->day};
    if (store_restore_past(job->store, &question, job->fold, &out->recorded, e) != STORE_OK)
        return -1;
    if (!out->recorded.settled)
        return 0;
    const struct book *book = shelf_at(&job->recorded->policy.shelf, job->question->day);
    for (enum service s = 0; s < SERVICE_COUNT; s++)
        memcpy(out->service_names[s], book->services[s].name, sizeof out->service_names[s]);
    out->from_offset = fold_replay_position(job->fold);
    out->to_offset = out->recorded.cutoffs[INPUT_CALLS].to_offset;
    fold_replay_only(job->fold, job->account_id);
    return open_log(job, e) || read_calls(job, e) || settle(job, e) ? -1 : 0;
}

int explain(const struct config *config, const struct explain_question *question,
            struct explanation *out, struct error *e)
{
    *out = (struct explanation){0};
    struct explain_job job = {.config = config,
                              .question = question,
                              .account_id = slice_text(question->account_id),
                              .out = out};
    int result = run_job(&job, e);
    for (size_t i = 0; i < job.place_count; i++) {
        free(job.places[i].call_id);
        free(job.places[i].request_id);
    }
    free(job.places);
    replay_decoder_destroy(job.decoder);
    fetch_record_close(job.peek);
    fold_destroy(job.fold);
    store_close(job.store);
    if (job.recorded)
        shelf_clear(&job.recorded->policy.shelf);
    free(job.recorded);
    return result;
}

void explanation_release(struct explanation *explanation)
{
    for (size_t i = 0; i < explanation->line_count; i++) {
        struct explained_line *line = &explanation->lines[i];
        for (size_t c = 0; c < line->call_count; c++) {
            free(line->calls[c].call_id);
            free(line->calls[c].request_id);
        }
        free(line->calls);
        free(line->line.package_id);
    }
    free(explanation->lines);
    store_past_release(&explanation->recorded);
    *explanation = (struct explanation){0};
}

// ---- recorded against folded ----

static bool same_line(const struct recorded_line *a, const struct recorded_line *b)
{
    const char *x = a->package_id ? a->package_id : "", *y = b->package_id ? b->package_id : "";
    return a->usage_day == b->usage_day && a->service == b->service && a->charge == b->charge &&
           strcmp(x, y) == 0 && a->tier_from == b->tier_from && a->calls == b->calls &&
           a->units == b->units && a->unit_price == b->unit_price && a->amount == b->amount &&
           a->package_units == b->package_units && a->package_amount == b->package_amount;
}

#define COMPARE_FIGURE(name) {#name, p->name, s->name},

bool explain_difference(const struct explanation *explanation, char *out, size_t size)
{
    const struct past *p = &explanation->recorded;
    const struct settlement *s = &explanation->settlement;
    const struct {
        const char *name;
        int64_t recorded, folded;
    } fields[] = {
        SETTLEMENT_FIGURES(COMPARE_FIGURE) // each of them
        {"status", p->state, s->state},
        {"lines", (int64_t)p->line_count, (int64_t)explanation->line_count},
    };
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        if (fields[i].recorded == fields[i].folded)
            continue;
        snprintf(out, size, "%s is recorded as %" PRId64 ", but the topics give %" PRId64,
                 fields[i].name, fields[i].recorded, fields[i].folded);
        return true;
    }
    for (size_t i = 0; i < p->line_count; i++) {
        if (same_line(&p->lines[i], &explanation->lines[i].line))
            continue;
        snprintf(out, size,
                 "line %zu is recorded with %" PRId64 " units for %" PRId64
                 " fen, but the topics give %" PRId64 " units for %" PRId64,
                 i + 1, p->lines[i].units, p->lines[i].amount, explanation->lines[i].line.units,
                 explanation->lines[i].line.amount);
        return true;
    }
    return false;
}
