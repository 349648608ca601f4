// Which values of the configuration are recorded in PostgreSQL and may change later, and how the
// file differs from what is recorded. A process goes by what is recorded, so that an old file
// brings no old limits back; whoever runs it is told. The table of keys (config_table.c) decides:
// they are the keys whose field is one of struct parameters.
#pragma once

#include "consumer/config/config.h"

enum { RECORDED_VALUES_MAX = 32, RECORDED_TEXT_SIZE = 200 };

struct recorded_value {
    char key[48]; // "billing.late_days"
    bool differs;
    char configured[RECORDED_TEXT_SIZE], recorded[RECORDED_TEXT_SIZE]; // as the file has them
};

// Compares each parameter of two rows. Returns how many there are, in the order of the table.
size_t config_compare_parameters(const struct parameters *configured,
                                 const struct parameters *recorded,
                                 struct recorded_value out[RECORDED_VALUES_MAX]);
