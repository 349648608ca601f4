// What the operator decided beforehand: the parameters of `billing` in force day by day, and the
// price books. All of it comes from recorded rows, so a replay judges by what was in force.
#pragma once

#include "consumer/notices/notices.h"
#include "pricing/book.h"

// X(value, symbol) each, as the configuration and settled.deployment have them.
#define PARTITIONER_ROWS(X)                                                                        \
    X(PARTITIONER_MURMUR2, "murmur2")                                                              \
    X(PARTITIONER_CRC32, "crc32")
#define TIMESTAMPS_ROWS(X)                                                                         \
    X(TIMESTAMPS_LOG_APPEND, "log-append")                                                         \
    X(TIMESTAMPS_CREATE, "create")
#define FRAMING_ROWS(X)                                                                            \
    X(FRAMING_CONFLUENT, "confluent")                                                              \
    X(FRAMING_APICURIO, "apicurio")
#define POLICY_VALUE(value, symbol) value,
enum partitioner { PARTITIONER_ROWS(POLICY_VALUE) };
enum timestamps { TIMESTAMPS_ROWS(POLICY_VALUE) };
enum framing { FRAMING_ROWS(POLICY_VALUE) };

const char *partitioner_symbol(enum partitioner partitioner);
bool partitioner_parse(const char *symbol, enum partitioner *out);
const char *timestamps_symbol(enum timestamps timestamps);
bool timestamps_parse(const char *symbol, enum timestamps *out);
const char *framing_symbol(enum framing framing);
bool framing_parse(const char *symbol, enum framing *out);

// "murmur2|crc32", as the configuration takes them.
#define POLICY_CHOICE(value, symbol) "|" symbol
#define PARTITIONER_CHOICES (&(PARTITIONER_ROWS(POLICY_CHOICE))[sizeof "|" - 1])
#define TIMESTAMPS_CHOICES (&(TIMESTAMPS_ROWS(POLICY_CHOICE))[sizeof "|" - 1])
#define FRAMING_CHOICES (&(FRAMING_ROWS(POLICY_CHOICE))[sizeof "|" - 1])

// These never change once recorded (the program refuses others with status 78).
struct fixed_parameters {
    day_t first_day;
    enum timestamps timestamps;
    enum partitioner partitioner;
    enum framing framing; // of what is read and what is written
    int32_t partitions; // of each topic
    char time_zone[64];
};

// These change from a day that no shard has opened.
struct parameters {
    day_t from_day; // the first row: DAY_NONE, in force from the beginning
    int64_t grace_ms;
    int32_t late_days;
    int64_t future_tolerance_ms;
    // Own days of purchases and credits older than that are too late, and their ids are forgotten.
    int32_t credit_days;
    int32_t max_reject_share_ppm; // of broken records (R50); 1% = 10000
    int32_t max_refused_share_ppm; // of refused ones
    struct notice_limits notices; // what account holders are told of
    char book_sha256[65]; // the version configured when this row was recorded
};

enum { PARAMETER_ROWS_MAX = 1024, LATE_DAYS_MAX = 366, CREDIT_DAYS_MAX = 36600 };

struct policy {
    struct fixed_parameters fixed;
    size_t count;
    struct parameters rows[PARAMETER_ROWS_MAX]; // rising from_day; at least one
    struct shelf shelf; // at least the first book
};

const struct parameters *policy_at(const struct policy *policy, day_t day);

// The oldest usage day that may still be billed while `open_day` is open: max(first_day, open day -
// late_days), and it never goes back when late_days is raised. A day whose identities were once
// forgotten stays closed; otherwise a call could be billed twice.
day_t policy_floor(const struct policy *policy, day_t open_day);

// The oldest own day of a purchase or credit that is still taken while `open_day` is open: open day
// - credit_days, never falling when credit_days is raised, for the ids of older ones are forgotten.
day_t policy_credit_floor(const struct policy *policy, day_t open_day);

// The canonical text of the parameters in force on a day (JSON, sorted keys, no blanks;
// pricing/README.md describes each key), and its SHA-256 in hex as `DayClosed.parameters` has it.
enum { PARAMETERS_TEXT_SIZE = 2048 };
char *policy_text(const struct policy *policy, day_t day, char out[PARAMETERS_TEXT_SIZE]);
void policy_sha256(const struct policy *policy, day_t day, char out[65]);

// The partition of a key, as Java's murmur2 or librdkafka's crc32 (consistent) partitioner has it.
// An absent key (NULL, 0) is taken as the empty one, as librdkafka's `murmur2` and `consistent` do:
// 0x106e08d9 % partitions and 0. Java and the `_random` partitioners of librdkafka spread absent
// keys over the partitions (and the latter spread empty keys too), so the partition of such a
// record proves nothing.
int32_t partition_of(enum partitioner partitioner, const void *key, size_t size,
                     int32_t partitions);
