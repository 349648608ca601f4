// What the other files of the store need to know of the deployment. Not for users of the store.
#pragma once

#include "consumer/postgres/store_connection.h"

// Loads the names of the input topics from the deployment, once.
enum store_result store_topics(struct store *store, struct error *e);
// The part that has the account's rows.
enum store_result store_of_account(struct store *store, struct slice account_id, struct store **out,
                                   struct error *e);
// INPUT_COUNT when the deployment has no such topic.
enum input store_input_of(const struct store *store, const char *topic);
