// `settled retire`: months that nothing needs any more leave the tables.
//
//   in the tables ─detach─► tables of their own ─archive─► files, and the tables are dropped
//
// Each arrow is a transaction; a run that was interrupted is finished by the next one.
#pragma once

#include "consumer/config/config.h"
#include "consumer/retire/store_retire.h"

struct retire_options {
    day_t before; // the first day of a month: those before it are retired
    const char *archive; // an existing directory; NULL: the detached tables stay
    bool dry_run; // only visits
};
enum retire_stage { RETIRE_WOULD, RETIRE_DETACHED, RETIRE_ARCHIVED };
// What became of a month, or would. `archive` is its manifest, with RETIRE_ARCHIVED.
typedef void retire_visit(void *context, const struct retired_month *month, enum retire_stage stage,
                          const char *archive);

// ERROR_CONFIG: the months are still needed, by what, and what to do about it; nothing was changed.
// ERROR_RESTART: another transaction holds the tables for too long, or another retire runs.
int retire(const struct config *config, const struct retire_options *options, retire_visit *visit,
           void *context, struct error *e);
