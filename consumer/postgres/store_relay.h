// Rows of the outbox in the form of the tables, for relay and audit. Not for users of the store.
#pragma once

#include "consumer/postgres/store_connection.h"

// The output whose number a row of the outbox has.
int outbox_output(const struct store *store, int16_t number, enum output *out, struct error *e);
