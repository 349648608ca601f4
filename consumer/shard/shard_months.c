// The statements of a month whose last day is closed: a page of accounts at a time, each in a step
// of its own, between the other steps of the shard. How far they have come stands in its row, so
// that whoever has the shard next goes on there.
#include "consumer/shard/shard_parts.h"

#include "consumer/system/fault.h"
#include "consumer/system/log.h"

#include <assert.h>

static bool may_begin(const struct shard *shard, int64_t mono_ms)
{
    return !shard->built && !shard->committing && !fold_step(shard->fold)->moved &&
           fold_month_due(shard->fold) && mono_ms >= shard->retry_at;
}

static void log_month(const struct shard *shard, const struct month_page *page)
{
    char month[DAY_TEXT_SIZE];
    if (!page->last.data)
        log_event(LOG_INFO, "the month's statements are written",
                  LOG_FIELDS(log_int("shard", shard->id),
                             log_text("month", calendar_format_month(page->month, month))));
}

void shard_write_month(struct shard *shard, int64_t mono_ms)
{
    const struct shard_host *host = shard->host;
    const struct fold_state *state = fold_state(shard->fold);
    struct month_page page;
    struct error e;
    if (!may_begin(shard, mono_ms) || !shard_is_compared(shard))
        return;
    enum store_result result =
        host->load_month(host->context, shard->id, state->month, state->month_after, &page, &e);
    if (!shard_answered(shard, result, mono_ms, "a month's statements", &e))
        return;
    if (fold_check_month(&page, &e)) {
        shard_halt(shard, &e);
        return;
    }
    fold_take_month(shard->fold, &page);
    log_month(shard, &page);
    fault_point(month_taken);
    shard->must_commit = true;
    shard_commit_when_due(shard, true, mono_ms);
}
