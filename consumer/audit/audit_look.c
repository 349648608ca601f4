// What explains many differences at once. Rows follow from rules and records, so before a row is
// suspected, the rules and the records are.
#include "consumer/audit/audit_shard.h"
#include "consumer/kafka/admin.h"

#include <stdio.h>
#include <string.h>

enum { ADMIN_TIMEOUT_MS = 10000 };

// ---- rules ----

static void note_rules(struct audit_shard *w, enum audit_cause_kind kind, day_t day, const char *by,
                       const char *now)
{
    struct audit_cause cause = {.kind = kind, .first = day, .last = day};
    snprintf(cause.by, sizeof cause.by, "%s", by);
    snprintf(cause.now, sizeof cause.now, "%s", now);
    causes_note(&w->report->causes, &cause);
}

// The digest of the parameters has that of the book in it.
static void look_at_rules(struct audit_shard *w, const struct audit_day *day)
{
    const struct policy *policy = fold_policy(w->fold);
    const struct book *book = shelf_at(&policy->shelf, day->day);
    char parameters[65];
    policy_sha256(policy, day->day, parameters);
    if (strcmp(day->parameters, parameters) == 0)
        return;
    if (strcmp(day->price_book, book->sha256) != 0)
        note_rules(w, AUDIT_OTHER_BOOK, day->day, day->price_book, book->sha256);
    else
        note_rules(w, AUDIT_OTHER_PARAMETERS, day->day, day->parameters, parameters);
}

// ---- records ----

// What was counted of the window's part of a log. A row that does not add up was changed itself,
// and tells nothing.
static bool is_sound(const struct cutoff *cut)
{
    return cut->accepted + cut->duplicates + cut->rejected + cut->voids ==
           cut->to_offset - cut->from_offset;
}

static struct cutoff counted_open(const struct log_state *log)
{
    return (struct cutoff){.from_offset = log->from,
                           .to_offset = log->next,
                           .accepted = log->accepted,
                           .duplicates = log->duplicates,
                           .rejected = log->rejected,
                           .voids = log->voids};
}

static void look_at_log(struct audit_shard *w, enum input input, day_t day,
                        const struct cutoff *recorded)
{
    const struct log_state *log = &fold_state(w->fold)->log[input];
    int64_t gone = log->voids - recorded->voids;
    struct audit_cause cause = {.kind = gone > 0 ? AUDIT_RECORDS_GONE : AUDIT_RECORDS_MORE,
                                .partition = w->shard,
                                .count = gone > 0 ? gone : -gone,
                                .first = day,
                                .last = day};
    if (gone == 0 || !is_sound(recorded) || recorded->from_offset != log->from ||
        recorded->to_offset != log->next)
        return;
    snprintf(cause.by, sizeof cause.by, "%s", w->deployment->topics[input]);
    causes_note(&w->report->causes, &cause);
}

void audit_look_at_window(struct audit_shard *w, const struct window *window)
{
    const struct audit_day *day = audit_snapshot_day(&w->snapshot, window->day);
    if (window->closes)
        look_at_rules(w, day);
    for (enum input i = 0; i < INPUT_COUNT; i++) {
        struct cutoff open = counted_open(&w->snapshot.row.state.log[i]);
        look_at_log(w, i, window->day, window->closes ? &day->cutoffs[i] : &open);
    }
}

// ---- topics ----

static void note_policy(struct audit_shard *w, const struct admin_topic *topic)
{
    const struct admin_setting *policy = admin_setting(&topic->settings, "cleanup.policy");
    struct audit_cause cause = {.kind = AUDIT_COMPACTED, .first = DAY_NONE, .last = DAY_NONE};
    if (!policy || !strstr(policy->value, "compact"))
        return;
    snprintf(cause.by, sizeof cause.by, "%s", topic->name);
    snprintf(cause.now, sizeof cause.now, "%s", policy->value);
    causes_note(&w->report->causes, &cause);
}

static int describe_topics(struct audit_shard *w, struct admin **admin, struct error *e)
{
    const char *pairs[CONFIG_PAIRS_MAX][2], *names[WALK_LOGS];
    struct client_properties properties = config_properties(w->config, pairs);
    struct admin_topic topics[WALK_LOGS] = {0};
    for (int i = 0; i < INPUT_COUNT; i++)
        names[i] = w->deployment->topics[i];
    for (int o = 0; o < OUTPUT_COUNT; o++)
        names[WALK_OUTPUTS + o] = w->config->output_topics[o];
    if (admin_create(&properties, ADMIN_TIMEOUT_MS, admin, e) ||
        admin_describe(*admin, names, WALK_LOGS, topics, e))
        return -1;
    for (int i = 0; i < WALK_LOGS; i++)
        note_policy(w, &topics[i]);
    admin_release(topics, WALK_LOGS);
    return 0;
}

void audit_look_at_topics(struct audit_shard *w)
{
    struct error why;
    struct admin *admin = NULL;
    struct audit_cause unknown = {
        .kind = AUDIT_POLICY_UNKNOWN, .first = DAY_NONE, .last = DAY_NONE};
    if (describe_topics(w, &admin, &why)) {
        snprintf(unknown.now, sizeof unknown.now, "%.*s", (int)sizeof unknown.now - 1, why.text);
        causes_note(&w->report->causes, &unknown);
    }
    if (admin)
        admin_destroy(admin);
}
