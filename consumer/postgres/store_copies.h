// The copies of what is recorded at home, in the other parts. Not for users of the store.
#pragma once

#include "consumer/postgres/store_connection.h"

// ERROR_CONFIG when a part has something that home has not: another deployment's, or changed by
// hand. That a part lacks something is an error only where the store cannot copy it.
enum store_result store_check_copies(struct store *home, struct error *e);
