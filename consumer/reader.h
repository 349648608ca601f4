// Decodes the raw records of one log, block after block, into events. Confluent framing: 00, schema id (4 bytes,
// big-endian), Avro body.
#pragma once

#include "consumer/shard.h"

struct reader {
    enum input input;
    bool log_append; // the timestamps that count; others are not judged
    struct block *block; // NULL: none
    size_t at; // in it: the next entry
    // The last schema that will not change its answer any more.
    bool cached;
    int32_t cached_id;
    struct writer writer;
};

// The next entry, NULL at the block's end.
const struct raw *reader_peek(const struct reader *reader);
// Decodes entries from reader->at into the scratch: at most SHARD_BATCH, up to the next end mark, to `limit` (an
// offset, exclusive) or to a record whose schema is pending, which is the last then. Does not move the reader:
// scratch->after[i] is where it stands once event i was taken.
size_t reader_decode(struct reader *reader, const struct shard_host *host, int64_t limit);
