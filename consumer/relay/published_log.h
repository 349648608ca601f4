// Reads the output topics of one shard back: a read_committed reader of the four partitions that
// the relay writes, from shortly before a mark on. A row counts as published exactly if this reader
// has found it.
#pragma once

#include "consumer/relay/published_position.h"
#include "consumer/relay/published_rows.h"

// One client a relay, used by the threads of all its shards; it reads no more than they write.
struct published_reader;
// Connects nowhere yet. `options` are borrowed. Errors: ERROR_CONFIG for properties that librdkafka
// refuses.
int published_reader_create(const struct publisher_options *options, struct published_reader **out,
                            struct error *e);
// Every log of it must have been closed.
void published_reader_destroy(struct published_reader *reader);

// Of one shard; used by one thread.
struct published_log;

// Called by threads of librdkafka when a message has come: it must not call this module.
struct published_news {
    void (*tell)(void *context);
    void *context;
};
// `mark`: rows up to here are not looked at. Errors: ERROR_CONFIG for a name that is no topic's.
int published_log_open(struct published_reader *reader, int32_t shard, int64_t mark,
                       struct published_news news, struct published_log **out, struct error *e);
void published_log_close(struct published_log *log);

// Reads to the ends that the brokers report now, so a row that is not found is not in the topics.
// `expected`: rows up to here should be published; if some are missing, it makes sure that no open
// transaction hides them. *whole_logs: each log reaches back to the mark. UNAVAILABLE: try again;
// FOREIGN: *e says what an operator must mend.
enum published_result published_log_read(struct published_log *log, int64_t expected,
                                         const atomic_bool *stop, bool *whole_logs,
                                         struct error *e);
// Takes the messages that have come meanwhile, and never waits. False: the log cannot be read
// further, and must be closed and opened anew.
bool published_log_take(struct published_log *log, struct error *e);

const struct published_rows *published_log_rows(const struct published_log *log);
// see published_rows_take_as_read
void published_log_take_as_read(struct published_log *log, int64_t n);

// Records that should not be in the topics, found since the log was opened. Each was logged with
// its coordinates.
struct published_strange {
    int64_t repeated; // a row stands there twice
    int64_t disordered; // behind a row of its topic with a higher sequence
    int64_t foreign; // a record that settled did not write
    char last[200]; // "TOPIC/PARTITION@OFFSET: what is wrong with it"
};
static inline int64_t published_strange_count(const struct published_strange *strange)
{
    return strange->repeated + strange->disordered + strange->foreign;
}
const struct published_strange *published_log_strange(const struct published_log *log);
