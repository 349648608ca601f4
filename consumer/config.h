// The configuration file (YAML), the environment (SETTLED_SECTION_KEY, SETTLED_SECTION_KEY_FILE for secrets) that wins
// over it, and -X overrides. One table (config.c) drives keys, types, defaults, bounds, help and `settled run --help`.
#pragma once

#include "consumer/core/policy.h"
#include "consumer/io/encode.h"
#include "consumer/io/log.h"
#include "consumer/io/registry.h"

enum { CONFIG_PROPERTIES_MAX = 128 };

struct config {
    char *file;
    char *brokers, *group;
    size_t property_count; // kafka.properties and -X, for every librdkafka client
    char *property_names[CONFIG_PROPERTIES_MAX], *property_values[CONFIG_PROPERTIES_MAX];
    char *input_topics[INPUT_COUNT], *output_topics[OUTPUT_COUNT];
    enum partitioner partitioner;
    struct registry_options registry; // its strings are owned by the config
    char *dsn;
    char *book; // path; relative to the config file's folder, else to the working directory
    day_t first_day;
    struct parameters parameters; // grace, late_days, future_tolerance, max_reject_share
    enum timestamps timestamps;
    int workers; // run.workers; 0: one a core
    int64_t max_calls_held; // run.max_calls_held, a process
    char *http_listen; // "127.0.0.1:9464"; "": off
    enum log_level log_level;
    enum log_format log_format;
};

// Reads, overlays the environment, validates. Every mistake is an ERROR_CONFIG with "FILE:LINE:COLUMN: KEY: reason"
// and the nearest known key for an unknown one. `overrides`: "key=value" of -X. Unsafe librdkafka properties are
// refused with the reason. Free with config_free, also after an error.
int config_load(const char *file, size_t override_count, const char *const *overrides, struct config *out,
                struct error *e);
void config_free(struct config *config);
