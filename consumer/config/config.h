// The configuration file (YAML), the environment (SETTLED_SECTION_KEY, SETTLED_SECTION_KEY_FILE for
// secrets) that wins over it, and -X overrides. One table (config_table.c) drives keys, types,
// units, defaults, bounds, help and the example.
#pragma once

#include "consumer/core/policy.h"
#include "consumer/kafka/client.h"
#include "consumer/output/encode.h"
#include "consumer/registry/registry.h"
#include "consumer/system/log.h"

#include <stdio.h>

enum { CONFIG_PROPERTIES_MAX = 128, CONFIG_SECRET_FILES_MAX = 8, CONFIG_DSNS_MAX = 16 };

struct config {
    char *file;
    char *brokers, *group;
    size_t property_count; // kafka.properties and -X, for every librdkafka client
    char *property_names[CONFIG_PROPERTIES_MAX], *property_values[CONFIG_PROPERTIES_MAX];
    char *input_topics[INPUT_COUNT], *output_topics[OUTPUT_COUNT];
    enum partitioner partitioner;
    struct registry_options registry; // its strings are owned by the config
    enum framing framing;
    int64_t patience_ms; // schemas.patience
    // postgres.dsn, one or several: the rows of shard p are in the database p mod dsn_count, and
    // what is recorded once in the first
    size_t dsn_count;
    char *dsns[CONFIG_DSNS_MAX];
    // path; relative to the config file's folder if it is there, else to the working directory
    char *book;
    day_t first_day;
    struct parameters parameters; // grace, late_days, credit_days, tolerance, shares, notices
    enum timestamps timestamps;
    int workers; // run.workers; 0: one a core
    int64_t max_calls_held; // run.max_calls_held, a process
    int64_t open_transaction_wait_ms; // run.open_transaction_wait
    char *snapshots; // run.snapshots: folder; "": none are kept
    char *http_listen; // HOST:PORT; "": off
    char *http_advertise; // HOST:PORT; "": http_listen
    char *http_tokens; // file of tokens; NULL: none
    enum log_level log_level;
    enum log_format log_format;
    // Files that a secret was read from: the configuration itself, those that _FILE variables name.
    size_t secret_file_count;
    char *secret_files[CONFIG_SECRET_FILES_MAX];
};

// Reads, overlays the environment, validates. Every mistake is an ERROR_CONFIG with
// "FILE:LINE:COLUMN: KEY: reason" and the nearest known key for an unknown one; all mistakes are
// reported at once, each on a line of its own. `overrides`: "key=value" of -X. Unsafe librdkafka
// properties are refused with the reason. Paths that are relative count from the config file's
// folder if the file is there, else from the working directory. Free with config_free, also after
// an error.
int config_load(const char *file, size_t override_count, const char *const *overrides,
                struct config *out, struct error *e);
void config_free(struct config *config);

// Reads and parses the configured price book. *text (malloc'ed, *size bytes) is the form in which
// it is recorded; `text` may be NULL. Does not change parameters.book_sha256 of the config.
int config_read_book(const struct config *config, struct book *out, char **text, size_t *size,
                     struct error *e);

// kafka.properties and -X, for every client of librdkafka: bootstrap.servers first. `pairs` and the
// config must outlive the result.
enum { CONFIG_PAIRS_MAX = CONFIG_PROPERTIES_MAX + 1 };
struct client_properties config_properties(const struct config *config,
                                           const char *pairs[CONFIG_PAIRS_MAX][2]);

// An example file with every key, its default and its help: deploy/settled.yaml.
void config_print_example(FILE *out);

// Whether a librdkafka property holds a secret that must never be printed.
bool config_property_is_secret(const char *name);
// Whether its value is the path of a file that does.
bool config_property_names_secret(const char *name);
