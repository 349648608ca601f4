// Decodes the raw records of one log, block after block, into events. Framing (kafka/framing.h):
// 00, the id of the writer's schema, then the Avro body.
#pragma once

#include "consumer/core/record.h"
#include "consumer/decode/writer_schemas.h"
#include "consumer/kafka/block.h"
#include "consumer/kafka/framing.h"

// Decoded records on their way into a fold.
enum { DECODER_BATCH = 256 };
struct decoder_scratch {
    struct event events[DECODER_BATCH];
    size_t after[DECODER_BATCH]; // where in the block the record ends
    size_t detail_count;
    char details[DECODER_BATCH][REJECT_DETAIL_SIZE];
};

// Where a record decoder gets writers' schemas from, and where it puts decoded records.
struct decoder_source {
    void *context;
    enum framing framing;
    struct writer (*find_writer)(void *context, enum input input, int64_t id);
    struct decoder_scratch *scratch;
};

struct record_decoder {
    enum input input;
    bool log_append; // the timestamps that count; others are not judged
    struct block *block; // NULL: none
    size_t at; // in it: the next entry
    // The last schema that will not change its answer any more.
    bool cached;
    int64_t cached_id;
    struct writer writer;
};

// The next entry, NULL at the block's end.
const struct raw *record_decoder_peek(const struct record_decoder *reader);
// Decodes entries from reader->at into the scratch, at most DECODER_BATCH. It stops at the next end
// mark, at `limit` (an offset, exclusive), or after a record whose schema is pending. Does not move
// the reader: scratch->after[i] is its place after event i was taken.
size_t record_decoder_decode(struct record_decoder *reader, const struct decoder_source *source,
                             int64_t limit);
