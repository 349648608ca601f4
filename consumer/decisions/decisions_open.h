// The deployment that an operator decides about: the configuration, the database, and what is
// recorded there.
#pragma once

#include "consumer/cli/args.h"
#include "consumer/config/config.h"
#include "consumer/postgres/store.h"

struct decisions_opening {
    const struct args *args;
    enum store_access access;
    const char *absence; // what follows when nothing is recorded yet, for the error; or ""
};

// Loads all three; the configuration's group must be the recorded one. The three are empty before,
// and are closed by decisions_close, also after an error.
int decisions_open(const struct decisions_opening *opening, struct config *config,
                   struct store **store, struct deployment **recorded, struct error *e);
void decisions_close(struct config *config, struct store *store, struct deployment *recorded);
