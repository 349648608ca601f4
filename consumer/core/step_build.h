// How the fold fills a step. Only the fold uses it.
#pragma once

#include "consumer/base/arena.h"
#include "consumer/core/step.h"

bool step_create(struct step *step); // false when memory is short
void step_clear(struct step *step);
void step_release(struct step *step);

// Each appends a zeroed element, valid until the next one of its list; rejects, status changes,
// settlements, notices and the close are emitted in the order of these calls.
struct step_reject *step_add_reject(struct step *step);
struct step_credit *step_add_credit(struct step *step);
struct step_status *step_add_status(struct step *step);
struct settlement *step_add_settlement(struct step *step);
struct settlement_line *step_add_line(struct step *step);
struct step_notice *step_add_notice(struct step *step);
// All of them, in a step that has no other statements; texts are copied.
void step_add_month(struct step *step, const struct month_page *page);
struct decision *step_add_decision(struct step *step);
struct step_hold *step_add_hold(struct step *step);
void step_emit_close(struct step *step);

void step_touch_account(struct step *step, struct account *account, uint32_t number);
void step_touch_package(struct step *step, struct package *package, uint32_t number);
// Copy in the step's arena; a null slice stays null.
struct slice step_copy(struct step *step, struct slice from);
