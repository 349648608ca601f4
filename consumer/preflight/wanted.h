// What a configuration wants to be recorded of the deployment, and how that differs from what is.
// The first `settled run` records it; later only `settled parameters apply` records changes.
#pragma once

#include "consumer/config/config_recorded.h"
#include "consumer/postgres/store.h"

struct wanted {
    // One row of parameters, and no books: the store shelves the book among those that are
    // recorded.
    struct deployment deployment;
    struct book *book;
    char *book_text;
    size_t book_size;
};

// Reads the price book; partitions and cluster are not known yet. ERROR_CONFIG. Free with
// wanted_free, also after an error.
int wanted_read(const struct config *config, struct wanted *out, struct error *e);
void wanted_free(struct wanted *wanted);
// Asks the cluster for its id and for the partitions of the inputs, which must be of one count.
// ERROR_CONFIG, ERROR_UNAVAILABLE.
int wanted_ask_cluster(const struct config *config, struct wanted *wanted, struct error *e);

// Records it, or compares (store_record_deployment); *change says what was added. What is recorded
// then is loaded into wanted->deployment.
int wanted_record(struct wanted *wanted, struct store *store, enum record_mode mode,
                  struct recorded_change *change, struct error *e);

// The parameters of a configuration and its book, against what is recorded: the last row, and the
// last version of the book. A version that is recorded and was followed by another differs, for
// what it says is not, or will not be, in force.
size_t wanted_compare(const struct parameters *configured, const struct book *book,
                      const struct policy *recorded,
                      struct recorded_value out[RECORDED_VALUES_MAX]);
