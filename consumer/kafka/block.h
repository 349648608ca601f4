// Raw records of one log in one piece of memory, as intake hands them to the shard: appended by one
// thread, then read by another, with no allocation and no lock a record.
#pragma once

#include "consumer/core/record.h"
#include "consumer/kafka/id_header.h"

#include <assert.h>
#include <librdkafka/rdkafka.h>
#include <stddef.h>
#include <string.h>

enum { BLOCK_BYTES = 256 * 1024 }; // a record that is larger gets a block of its own

enum raw_kind {
    RAW_RECORD,
    RAW_END, // nothing more was delivered below `offset`, the end of the log as it then was
};

#define RAW_NULL UINT32_MAX // size of an absent key or value

// One entry; the key's bytes follow, then the value's, then padding to a multiple of 8.
struct raw {
    int64_t offset;
    int64_t timestamp; // ms
    uint32_t key_size, value_size;
    uint8_t kind;
    uint8_t log_append; // the broker set the timestamp
    uint8_t stamped; // there is a timestamp at all
    uint8_t id_header; // id_header_of(): where the id of its schema stands instead; 0: nowhere
    uint8_t unused[4];
};

static_assert(sizeof(struct raw) % 8 == 0, "the next entry of a block is aligned");

struct block {
    struct block *next;
    int64_t first_offset;
    int64_t read_at; // monotonic ms: all of its records were read by then
    size_t capacity, used; // bytes of `data`
    _Alignas(8) char data[];
};
static_assert(offsetof(struct block, data) % 8 == 0, "the first entry of a block is aligned");

static inline size_t raw_bytes(uint32_t key_size, uint32_t value_size)
{
    size_t size = sizeof(struct raw) + (key_size == RAW_NULL ? 0 : key_size) +
                  (value_size == RAW_NULL ? 0 : value_size);
    return (size + 7) & ~(size_t)7;
}

static inline const struct raw *block_at(const struct block *block, size_t at)
{
    return (const struct raw *)(const void *)(block->data + at);
}

// Fills an entry that has the message's offset and sizes already.
static inline void raw_fill(struct raw *raw, const rd_kafka_message_t *message)
{
    rd_kafka_timestamp_type_t type;
    raw->timestamp = rd_kafka_message_timestamp(message, &type);
    raw->stamped = type != RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
    raw->log_append = type == RD_KAFKA_TIMESTAMP_LOG_APPEND_TIME;
    raw->id_header = id_header_of(message);
    char *bytes = (char *)(raw + 1);
    if (message->key) {
        memcpy(bytes, message->key, message->key_len);
        bytes += message->key_len;
    }
    if (message->payload)
        memcpy(bytes, message->payload, message->len);
}

static inline struct slice raw_key(const struct raw *raw)
{
    if (raw->key_size == RAW_NULL)
        return (struct slice){NULL, 0};
    return (struct slice){(const char *)(raw + 1), raw->key_size};
}

static inline struct slice raw_value(const struct raw *raw)
{
    if (raw->value_size == RAW_NULL)
        return (struct slice){NULL, 0};
    return (struct slice){(const char *)(raw + 1) + (raw->key_size == RAW_NULL ? 0 : raw->key_size),
                          raw->value_size};
}
