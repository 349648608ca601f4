// Why a day was held, against what its logs say: the records at the place of the hold, and whether
// decisions brought it below its shares.
#include "consumer/audit/audit_shard.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

enum { TEXT_SIZE = 200 };

static void tell_hold(struct audit_shard *w, const struct step_hold *hold, const char *field,
                      const char *recorded, const char *folded)
{
    char key[TEXT_SIZE], day[DAY_TEXT_SIZE];
    snprintf(key, sizeof key, "%" PRId32 "/%s/%s/%s", w->shard, calendar_format_day(hold->day, day),
             w->deployment->topics[hold->input], reject_group_symbol(hold->group));
    report_difference(w->report, &(struct difference){.where = "holds",
                                                      .key = key,
                                                      .day = hold->day,
                                                      .field = field,
                                                      .recorded = recorded,
                                                      .folded = folded});
}

static void compare_number(struct audit_shard *w, const struct step_hold *hold, const char *field,
                           int64_t recorded, int64_t folded)
{
    char a[32], b[32];
    if (recorded == folded)
        return;
    snprintf(a, sizeof a, "%" PRId64, recorded);
    snprintf(b, sizeof b, "%" PRId64, folded);
    tell_hold(w, hold, field, a, b);
}

void audit_holds_open(struct audit_shard *w, day_t day)
{
    const struct audit_snapshot *s = &w->snapshot;
    w->first_hold = 0;
    while (w->first_hold < s->hold_count && s->holds[w->first_hold].day < day)
        w->first_hold++;
    w->hold_count = 0;
    while (w->first_hold + w->hold_count < s->hold_count &&
           s->holds[w->first_hold + w->hold_count].day == day)
        w->hold_count++;
    assert(w->hold_count <= INPUT_COUNT * REJECT_GROUPS); // the key of the table
    w->checked_holds = 0;
}

// The decisions of the whole day are taken off already: some came after the hold.
static int64_t decided_of(const struct audit_shard *w, const struct step_hold *hold)
{
    int64_t count = 0;
    for (size_t i = 0; i < w->snapshot.decision_count; i++) {
        const struct audit_decision *d = &w->snapshot.decisions[i];
        count += d->decision.day == hold->day && d->decision.kind != DECISION_PASS &&
                 d->decision.input == hold->input && d->reason != REJECT_NONE &&
                 reject_group_of(d->reason) == hold->group;
    }
    return count;
}

static void check_place(struct audit_shard *w, const struct step_hold *hold)
{
    const struct log_state *log = &fold_state(w->fold)->log[hold->input];
    int64_t least = log->undecided_of[hold->group], most = least + decided_of(w, hold);
    compare_number(w, hold, "records", hold->records,
                   log->accepted + log->duplicates + log->rejected);
    if (hold->rejects < least)
        compare_number(w, hold, "rejects", hold->rejects, least);
    if (hold->rejects > most)
        compare_number(w, hold, "rejects", hold->rejects, most);
    if (!fold_beyond_share(w->fold, hold->input, hold->group, hold->rejects, hold->records))
        tell_hold(w, hold, NULL, "a reason to hold the day", "none: they are within the share");
}

void audit_holds_reach(struct audit_shard *w, enum input input, int64_t offset)
{
    for (size_t i = 0; i < w->hold_count; i++) {
        const struct step_hold *hold = &w->snapshot.holds[w->first_hold + i];
        if (hold->input != input || hold->at > offset || (w->checked_holds & 1u << i))
            continue;
        check_place(w, hold);
        w->checked_holds |= 1u << i;
    }
}

void audit_holds_close(struct audit_shard *w, bool released)
{
    for (size_t i = 0; i < w->hold_count; i++) {
        const struct step_hold *hold = &w->snapshot.holds[w->first_hold + i];
        int64_t undecided = fold_state(w->fold)->log[hold->input].undecided_of[hold->group];
        if (!(w->checked_holds & 1u << i))
            tell_hold(w, hold, "at_offset", "an offset outside the day", "one within it");
        if (!released)
            tell_hold(w, hold, NULL, "a day that was held", "one that was cut as any other");
        else if (fold_beyond_share(w->fold, hold->input, hold->group, undecided, hold->records))
            tell_hold(w, hold, "rejects", "a day that was released",
                      "so many undecided rejects that it must be held still");
    }
}
