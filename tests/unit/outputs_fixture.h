// A small closed day of shard 3, for the tests of encode and outbox. The two accessors of the fold
// that they use are defined here, so that no history has to be folded to get there.
#pragma once

#include "consumer/output/outbox.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <string.h>

#define DAY_OF_TEST 20758 // 2026-11-01
#define BOOK_OF_TEST "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
#define PARAMETERS_OF_TEST "ffeeddccbbaa99887766554433221100ffeeddccbbaa99887766554433221100"

struct fold {
    struct account accounts[2];
    struct package packages[1];
    struct step step;
};

const struct account *fold_account(const struct fold *fold, uint32_t index)
{
    assert_true(index < 2);
    return &fold->accounts[index];
}

const struct package *fold_package(const struct fold *fold, uint32_t index)
{
    assert_int_equal(index, 0);
    return &fold->packages[index];
}

const struct step *fold_step(const struct fold *fold)
{
    return &fold->step;
}

static inline struct slice text_slice(const char *text)
{
    return (struct slice){text, strlen(text)};
}

static struct settlement_line fixture_lines[] = {
    {.usage_day = DAY_OF_TEST - 1,
     .service = SERVICE_AUDIENCE_INSIGHT,
     .charge = CHARGE_POSTPAID,
     .tier_from = -1,
     .calls = 1,
     .units = 1,
     .unit_price = 220000,
     .amount = 220000},
    {.usage_day = DAY_OF_TEST,
     .service = SERVICE_PURCHASE_INTENT,
     .charge = CHARGE_PACKAGE,
     .package = 0,
     .tier_from = -1,
     .calls = 1,
     .units = 3000},
    {.usage_day = DAY_OF_TEST,
     .service = SERVICE_PURCHASE_INTENT,
     .charge = CHARGE_POSTPAID,
     .tier_from = 0,
     .calls = 2,
     .units = 13000,
     .unit_price = 1000,
     .amount = 13000000},
};

static struct settlement fixture_settlements[] = {
    {.account = 0,
     .day = DAY_OF_TEST,
     .calls = 3,
     .calls_while_suspended = 1,
     .amount = 13220000,
     .opening_balance = 5000000,
     .credits = 2000000,
     .adjustments = -1000,
     .closing_balance = -6221000,
     .state = ACCOUNT_SUSPENDED,
     .first_line = 0,
     .line_count = 3},
    {.account = 1,
     .day = DAY_OF_TEST,
     .calls = 1,
     .amount = 220000,
     .opening_balance = 0,
     .credits = 1000000,
     .closing_balance = 780000,
     .state = ACCOUNT_ACTIVE,
     .first_line = 0,
     .line_count = 1},
};

static struct step_status fixture_statuses[] = {
    {.account = 0,
     .account_sequence = 1,
     .state = ACCOUNT_SUSPENDED,
     .cause = CAUSE_ARREARS,
     .settlement_day = DAY_OF_TEST,
     .balance = -6221000,
     .effective_at = INT64_C(1793548800000)},
    {.account = 1,
     .account_sequence = 2,
     .state = ACCOUNT_ACTIVE,
     .cause = CAUSE_CREDIT,
     .credit_id = {"credit-7", 8},
     .balance = 1000000,
     .effective_at = INT64_C(1793500000000)},
};

static struct step_reject fixture_rejects[] = {
    {.input = INPUT_CREDITS,
     .offset = 41,
     .timestamp = INT64_C(1793500000001),
     .reason = REJECT_REFUND,
     .detail = "a top-up of -5 fen",
     .account_id = {"acc-b", 5},
     .record_id = {"credit-6", 8},
     .has_occurred_at = true,
     .occurred_at = INT64_C(1793499999999),
     .key = {"acc-b", 5},
     .value = {"\1\2\3", 3}},
};

static const char *fixture_decisions[] = {
    "1 ACCEPT operator call-records 1 "
    "bf916bbf88fe00a50bda7b68d8a1617df32e619f711475b081dfdbf11a84d2bc"};

static struct emission fixture_emissions[] = {{EMIT_REJECT, 0},     {EMIT_STATUS, 1},
                                              {EMIT_SETTLEMENT, 0}, {EMIT_STATUS, 0},
                                              {EMIT_SETTLEMENT, 1}, {EMIT_DAY_CLOSE, 0}};

static struct step_notice fixture_notices[] = {
    {.kind = NOTICE_PACKAGE_LOW, .account = 0, .package = 0, .threshold = 5},
    {.kind = NOTICE_PACKAGE_EXPIRED, .account = 0, .package = 0},
    {.kind = NOTICE_BALANCE_LOW,
     .account = 1,
     .package = PACKAGE_NONE,
     .threshold = 1000000,
     .balance = 780000},
};

static struct emission fixture_emissions_with_notices[] = {
    {EMIT_REJECT, 0},     {EMIT_STATUS, 1}, {EMIT_SETTLEMENT, 0},
    {EMIT_STATUS, 0},     {EMIT_NOTICE, 0}, {EMIT_NOTICE, 1},
    {EMIT_SETTLEMENT, 1}, {EMIT_NOTICE, 2}, {EMIT_DAY_CLOSE, 0}};

static inline struct fold fixture_fold(void)
{
    struct fold fold = {
        .accounts = {{.id = {"acc-a", 5}}, {.id = {"\xe8\xbd\xa6-b", 5}}},
        .packages = {{.id = {"package-1", 9},
                      .service = SERVICE_PURCHASE_INTENT,
                      .units = 10000,
                      .used = 400,
                      .remaining = 500,
                      .amount = 9000000,
                      .valid_until = INT64_C(1793548800000)}},
        .step = {.rejects = fixture_rejects,
                 .reject_count = 1,
                 .statuses = fixture_statuses,
                 .status_count = 2,
                 .settlements = fixture_settlements,
                 .settlement_count = 2,
                 .lines = fixture_lines,
                 .line_count = 3,
                 .emissions = fixture_emissions,
                 .emission_count = 6,
                 .closed = true},
    };
    fold.step.close = (struct day_close){
        .day = DAY_OF_TEST,
        .cutoffs = {{.from_offset = 100,
                     .to_offset = 110,
                     .cut_by = CUT_RECORD,
                     .accepted = 4,
                     .duplicates = 3,
                     .rejected = 2,
                     .voids = 1},
                    {.from_offset = 5, .to_offset = 5, .cut_by = CUT_CLOCK},
                    {.from_offset = 40,
                     .to_offset = 42,
                     .cut_by = CUT_RELEASE,
                     .accepted = 1,
                     .rejected = 1}},
        .late = 1,
        .zero_unit_calls = 0,
        .settlements = 2,
        .amount = 13440000,
        .price_book = BOOK_OF_TEST,
        .parameters = PARAMETERS_OF_TEST,
        .decision_count = 1,
        .decisions = fixture_decisions,
    };
    return fold;
}

// The same day, on which account holders are told something.
static inline struct fold fixture_fold_with_notices(void)
{
    struct fold fold = fixture_fold();
    fold.step.notices = fixture_notices;
    fold.step.notice_count = 3;
    fold.step.emissions = fixture_emissions_with_notices;
    fold.step.emission_count = 9;
    return fold;
}

static inline struct encode_context fixture_context(void)
{
    return (struct encode_context){
        .shard = 3,
        .shards = 8,
        .input_topics = {"call-records", "package-purchases", "account-credits"},
        .currency = "CNY",
        .offset_ms = 28800000,
        .price_book = BOOK_OF_TEST};
}
