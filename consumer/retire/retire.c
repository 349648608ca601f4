#include "consumer/retire/retire.h"

#include "consumer/retire/archive.h"
#include "consumer/system/fault.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

// A close or a backup holds the tables for a while. In between there is time for others.
enum { TRIES = 100, PAUSE_US = 300000 };

struct retiring {
    struct store *store;
    const struct retire_options *options;
    const char *group;
    retire_visit *visit;
    void *context;
};

static int too_busy(day_t month, struct error *e)
{
    char day[DAY_TEXT_SIZE];
    return error_set(e, ERROR_RESTART,
                     "the tables of %.7s are in use all the time, by an audit or a backup: run the "
                     "same command again when that has ended",
                     calendar_format_day(month, day));
}

static int detach(const struct retiring *r, struct retired_month *month, struct error *e)
{
    bool busy = true;
    fault_point(detach_before);
    for (int i = 0; i < TRIES && busy; i++) {
        if (retire_detach(r->store, month->month, &busy, e))
            return -1;
        if (busy)
            usleep(PAUSE_US);
    }
    fault_point(detach_after);
    month->detached = !busy;
    return busy ? too_busy(month->month, e) : 0;
}

static int archive(const struct retiring *r, const struct retired_month *month, struct error *e)
{
    char manifest[RETIRED_PATH_SIZE];
    bool busy = true;
    if (archive_month(r->store, month, r->options->archive, r->group, manifest, e))
        return -1;
    fault_point(drop_before);
    for (int i = 0; i < TRIES && busy; i++) {
        if (retire_drop(r->store, month, manifest, &busy, e))
            return -1;
        if (busy)
            usleep(PAUSE_US);
    }
    fault_point(drop_after);
    if (busy)
        return too_busy(month->month, e);
    r->visit(r->context, month, RETIRE_ARCHIVED, manifest);
    return 0;
}

static int retire_one(const struct retiring *r, struct retired_month *month, struct error *e)
{
    bool news = !month->detached;
    if (r->options->dry_run) {
        r->visit(r->context, month, RETIRE_WOULD, NULL);
        return 0;
    }
    if (news && detach(r, month, e))
        return -1;
    if (r->options->archive)
        return archive(r, month, e);
    if (news)
        r->visit(r->context, month, RETIRE_DETACHED, NULL);
    return 0;
}

// The lines of what stands in the way are one text of the error.
static int check(const struct retiring *r, struct error *e)
{
    char *lines = NULL, day[DAY_TEXT_SIZE];
    if (retire_troubles(r->store, r->options->before, &lines, e))
        return -1;
    int failed = 0;
    if (*lines)
        failed = error_set(e, ERROR_CONFIG, "months before %.7s are still needed:\n  %s",
                           calendar_format_day(r->options->before, day), lines);
    free(lines);
    return failed;
}

static int retire_part(const struct retiring *r, struct error *e)
{
    struct retired_month *months = NULL;
    size_t count = 0;
    int failed = retire_lock(r->store, e) || check(r, e) ||
                 retire_months(r->store, r->options->before, &months, &count, e);
    // The oldest first: no month stays before one that is gone.
    for (size_t i = 0; i < count && !failed; i++)
        failed = retire_one(r, &months[i], e);
    free(months);
    return failed ? -1 : 0;
}

// Each of several databases has its own months, and its own folder for them.
static int retire_all(const struct retiring *r, struct store *stores, struct error *e)
{
    int failed = 0, parts = store_parts(stores);
    for (int i = 0; i < parts && !failed; i++) {
        struct retiring part = *r;
        struct retire_options options = *r->options;
        char folder[RETIRED_PATH_SIZE];
        part.store = store_part(stores, i);
        part.options = &options;
        if (options.archive && parts > 1) {
            snprintf(folder, sizeof folder, "%s/database-%d", options.archive, i + 1);
            if (!options.dry_run && mkdir(folder, 0750) != 0 && errno != EEXIST)
                return error_set(e, ERROR_CONFIG, "%s: %s", folder, strerror(errno));
            options.archive = folder;
        }
        failed = retire_part(&part, e);
        if (failed && parts > 1)
            error_context(e, "database %d of %d", i + 1, parts);
    }
    return failed;
}

static int check_directory(const char *directory, struct error *e)
{
    if (directory && access(directory, W_OK | X_OK) != 0)
        return error_set(e, ERROR_CONFIG, "--archive %s: %s", directory, strerror(errno));
    return 0;
}

int retire(const struct config *config, const struct retire_options *options, retire_visit *visit,
           void *context, struct error *e)
{
    struct retiring r = {.options = options, .visit = visit, .context = context};
    struct store *stores = NULL;
    struct deployment *deployment = calloc(1, sizeof *deployment);
    bool recorded = false;
    if (!deployment)
        abort(); // out of memory
    int failed = check_directory(options->archive, e) ||
                 store_open_all(config->dsns, config->dsn_count, STORE_WRITES, &stores, e) ||
                 store_check_version(stores, e) ||
                 store_load_deployment(stores, deployment, &recorded, e) != STORE_OK;
    if (!failed && !recorded)
        failed = error_set(e, ERROR_CONFIG,
                           "nothing is recorded in the database yet: 'settled run' does that");
    r.group = deployment->group;
    if (!failed)
        failed = retire_all(&r, stores, e);
    store_close(stores);
    shelf_clear(&deployment->policy.shelf);
    free(deployment);
    return failed ? -1 : 0;
}
