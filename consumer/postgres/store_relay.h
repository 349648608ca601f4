// Rows of the outbox as tables have them: shared by relay and audit. Not for users of the store.
#pragma once

#include "consumer/postgres/store_connection.h"

// The output that a row of the outbox names by its number.
int outbox_output(const struct store *store, int16_t number, enum output *out, struct error *e);
