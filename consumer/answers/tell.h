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
// tell_calls.c
int tell_calls(struct api_call *call, struct error *e);
// tell_usage.c
int tell_usage(struct api_call *call, struct error *e);
// tell_notices.c
int tell_notices(struct api_call *call, struct error *e);
// tell_months.c
int tell_month_statements(struct api_call *call, struct error *e);
int tell_month_statement(struct api_call *call, struct error *e);
// tell_statement.c
int tell_statement(struct api_call *call, struct error *e);
// tell_prices.c
int tell_prices(struct api_call *call, struct error *e);
int tell_quote(struct api_call *call, struct error *e);
// tell_operators.c
int tell_access(struct api_call *call, struct error *e);
int tell_deployment(struct api_call *call, struct error *e);
int tell_shards(struct api_call *call, struct error *e);
int tell_closed_days(struct api_call *call, struct error *e);
int tell_decisions(struct api_call *call, struct error *e);
int tell_rejects(struct api_call *call, struct error *e);
int tell_reject_groups(struct api_call *call, struct error *e);

// ---- of one settlement, what several paths share: tell_settlements.c ----

// A list of what an account has on days, at most one row a day: the parameters of `sql` are the
// account, the currency, the first and the last day, and how many rows.
int tell_by_day(struct api_call *call, const char *sql, struct error *e);
// The day in the path.
int tell_day_of_path(const struct api_call *call, day_t *out, struct error *e);
// Refuses a day of which nothing is recorded: always -1.
int tell_no_settlement(struct api_call *call, struct error *e);
// A settlement never changes, so this is the same at any time: as_of is when its day was closed.
void tell_closed_at(json_t *body);
