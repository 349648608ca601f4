// What the paths answer. Not for users of the API.
#pragma once

#include "consumer/api/api_call.h"

// tell_accounts.c
int tell_account(struct api_call *call, struct error *e);
int tell_accounts(struct api_call *call, struct error *e);
int tell_status_changes(struct api_call *call, struct error *e);
int tell_packages(struct api_call *call, struct error *e);
int tell_deductions(struct api_call *call, struct error *e);
// tell_settlements.c
int tell_settlements(struct api_call *call, struct error *e);
int tell_settlement(struct api_call *call, struct error *e);
// tell_statement.c
int tell_statement(struct api_call *call, struct error *e);
// tell_prices.c
int tell_prices(struct api_call *call, struct error *e);
int tell_quote(struct api_call *call, struct error *e);
// tell_operators.c
int tell_shards(struct api_call *call, struct error *e);
int tell_closed_days(struct api_call *call, struct error *e);
int tell_decisions(struct api_call *call, struct error *e);
int tell_rejects(struct api_call *call, struct error *e);
int tell_reject_groups(struct api_call *call, struct error *e);
