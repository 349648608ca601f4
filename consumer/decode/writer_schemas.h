// Writer schemas of the three inputs, compiled: id -> plan. A lookup never blocks; a side thread
// asks PostgreSQL (which keeps every schema that was ever used, for replays), then the registry,
// and stores what it found before any record is decoded with it.
//
//   (first use) ─► PENDING ─► READY | INCOMPATIBLE            for ever
//                     └─────► UNKNOWN (every URL says "no such id", again after 10 s)
//                                └─► PENDING when asked for after 10 s
//
// While the registry does not answer, an id stays PENDING: the partition waits, and nothing is
// rejected.
#pragma once

#include "consumer/avro/plan.h"
#include "consumer/registry/registry.h"

struct writer_schemas; // one a process, thread-safe

enum writer_state { WRITER_PENDING, WRITER_READY, WRITER_UNKNOWN, WRITER_INCOMPATIBLE };

struct writer {
    enum writer_state state;
    const struct plan *plan; // READY; owned by the writers, for their lifetime
    // INCOMPATIBLE: the reject's detail; UNKNOWN: its beginning; PENDING: what is being waited for;
    // same lifetime
    const char *why;
};

// Starts the side thread with a database connection of its own. The strings of `options` must
// outlive the writers.
int writer_schemas_create(const char *dsn, const struct registry_options *options,
                          struct writer_schemas **out, struct error *e);

enum { WRITER_SCHEMAS_UNKNOWN_MS = 10000 };
struct writer_schemas_options {
    // between the two askings that make an id unknown, and before it is asked for anew
    int64_t unknown_ms;
};
int writer_schemas_create_with(const char *dsn, const struct registry_options *registry,
                               const struct writer_schemas_options *options,
                               struct writer_schemas **out, struct error *e);
// Interrupts a request that is under way and waits for the side thread.
void writer_schemas_destroy(struct writer_schemas *writers);
// Never blocks on I/O. Asking for an unknown id starts the search for it.
struct writer writer_schemas_find(struct writer_schemas *writers, enum input input, int64_t id);
// Number of answers so far: a reader that waits for a PENDING id looks again when this has risen.
uint64_t writer_schemas_generation(const struct writer_schemas *writers);
// Whether the registry failed to answer at the last attempt, and why (for readiness and metrics).
// "" when all is well.
void writer_schemas_trouble(struct writer_schemas *writers, char *out, size_t size);

// What was answered last about an id that is waited for.
void writer_schemas_answer(struct writer_schemas *writers, int64_t id, char *out, size_t size);

// What a schema text means for each input. It depends on the text alone, so a replay gets the same
// result with the same words. Where a plan is NULL, `why` has the reason (malloc'ed); each entry
// must be NULL before the call.
void writer_schemas_compile(const char *text, struct plan *plans[INPUT_COUNT],
                            char *why[INPUT_COUNT]);
extern const char writer_schemas_unknown[]; // the detail of UNKNOWN_SCHEMA, before the id
