// A snapshot: the calls of a shard as a file, so that a start need not replay them from the topic.
// Bytes only; who has files reads and writes them (daemon/snapshot_files.h).
//
//   magic, version │ section │ section │ … │ END
//   section        kind, size, digest │ payload
//   HEAD           which state this is: struct snapshot_head
//   ACCOUNTS       in the order of their numbers: keyed hash, and the id of one without a row
//   DAY            a usage day, and behind it its BLOCKs: the columns, as they lie in memory
//   END            how many sections and calls there were
//
// A digest is the XXH3 of the payload, seeded with kind, size and the digest before it. So no byte
// can be another one, and no section be missing, be another file's, or stand elsewhere, unnoticed.
//
// The index of identities is not in it: it is made again from the columns, which is as quick as
// reading it would be, and is then right by itself. Neither are the deployment's key, nor money:
// rows come from the database, which stays the truth. Numbers of accounts are those of the process
// that wrote it; a reader finds its own by the hashes.
#pragma once

#include "consumer/usage/calls.h"
#include "pricing/error.h"

enum { SNAPSHOT_KEY_SIZE = 16, SNAPSHOT_HASH_SIZE = 32 };

// Of the shard's row, at the commit whose state the snapshot has.
struct snapshot_row {
    int64_t epoch, step, sequence;
    uint8_t hash[SNAPSHOT_HASH_SIZE]; // of the outbox row `sequence`
};

// As it is written: no padding, the machine's (little-endian) order.
struct snapshot_head {
    uint8_t key[SNAPSHOT_KEY_SIZE]; // of snapshot_fingerprint
    struct snapshot_row row;
    int32_t shard;
    day_t day; // the open one
    // The calls log: struct log_state
    int64_t next, from, accepted, duplicates, rejected;
    int64_t last_offset, last_timestamp;
    uint64_t last_hash;
    int64_t decisions;
    int64_t calls; // that it has
};

// Tells one deployment's key from another's, and does not tell the key.
void snapshot_fingerprint(const uint8_t id_key[32], uint8_t out[SNAPSHOT_KEY_SIZE]);

// ---- writing ----

struct snapshot;

// Takes hold of the calls as they are now; they may go on growing, and forgetting. Costs no more
// than the list of the blocks. `head` without its count of calls.
struct snapshot *snapshot_create(const struct snapshot_head *head, const struct calls *calls);
void snapshot_free(struct snapshot *snapshot); // NULL: nothing
const struct snapshot_head *snapshot_head_of(const struct snapshot *snapshot);
// The next account in the order of numbers. `id`: of one that no row tells of, copied; else with
// data NULL. All accounts of the calls must be there before the first snapshot_next.
void snapshot_add_account(struct snapshot *snapshot, struct account_hash hash, struct slice id);
size_t snapshot_accounts(const struct snapshot *snapshot);
// The next bytes of the file, at most 1 MB, valid until the next call. False: it has all of them.
// From here on another thread may have the snapshot.
bool snapshot_next(struct snapshot *snapshot, struct slice *out);

// ---- reading ----

// What a reader compares the head with, and where the calls go.
struct snapshot_target {
    struct calls *calls; // none yet
    const struct identity_key *key;
    uint8_t fingerprint[SNAPSHOT_KEY_SIZE];
    int32_t shard;
    struct snapshot_row row; // as it is now
    day_t floor; // calls of days below it are left out
    void *context;
    // Whether the head's log is the recorded one. 0, or -1 with *e.
    int (*check)(void *context, const struct snapshot_head *head, struct error *e);
    // The number of an account; INDEX_NONE: not known. Unknown ones get the next numbers, in the
    // order in which they come, from `accounts` on.
    uint32_t (*find_account)(void *context, struct account_hash hash);
    uint32_t accounts;
};

struct snapshot_reader;

struct snapshot_reader *snapshot_reader_create(const struct snapshot_target *target);
// Also after an error: then the target has some of the calls, which are to be dropped.
void snapshot_reader_free(struct snapshot_reader *reader); // NULL: nothing
// Where the next bytes of the file belong, and how many at most.
void *snapshot_room(struct snapshot_reader *reader, size_t *size);
// So many bytes are there; 0: the file has no more. 0, or -1 with *e, which says why the snapshot
// is no good.
int snapshot_take(struct snapshot_reader *reader, size_t size, struct error *e);
// The whole file was good.
bool snapshot_is_whole(const struct snapshot_reader *reader);
const struct snapshot_head *snapshot_read_head(const struct snapshot_reader *reader);
// Accounts that find_account did not know, in the order of the numbers that they were given.
size_t snapshot_new_accounts(const struct snapshot_reader *reader);
struct slice snapshot_new_account(const struct snapshot_reader *reader, size_t i,
                                  struct account_hash *hash);
