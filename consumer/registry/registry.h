// The schema registry (Confluent REST interface) or a directory of ID.avsc. Blocking calls with
// bounded time; used from a side thread by the daemon. Fail-over over several URLs, retries with
// back-off. One registry belongs to one thread. A schema's identity is its text. No error text
// holds a secret.
#pragma once

#include "pricing/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct registry;

enum { REGISTRY_URLS_MAX = 8 };

struct registry_options {
    size_t url_count;
    // http or https; may carry a path, and USER:PASSWORD@ that wins over `user`
    const char *urls[REGISTRY_URLS_MAX];
    const char *directory; // instead of URLs: holds ID.avsc
    const char *user, *password; // basic auth; NULL: none
    const char *ca_file; // NULL: the system's
    int timeout_ms; // of one request; 0: 5 s
    int backoff_ms; // before it is asked a second time, doubled before each further one; 0: 200 ms
};

enum registry_result {
    REGISTRY_FOUND,
    REGISTRY_ABSENT, // every URL (or the directory) answers that it does not have it
    REGISTRY_UNAVAILABLE, // at least one URL could not be asked: nothing is known
};

int registry_create(const struct registry_options *options, struct registry **out, struct error *e);
void registry_destroy(struct registry *registry);
// Ends another thread's running call soon, and every later one at once (shutdown); safe from any
// thread.
void registry_interrupt(struct registry *registry);

// The schema text of an id. *text is malloc'ed, for the caller to free. On REGISTRY_UNAVAILABLE *e
// says which URL and why. A text that is not a self-contained Avro schema (another schemaType,
// references that cannot be put together) comes as an object that registry_foreign recognises.
enum registry_result registry_fetch(struct registry *registry, int64_t id, char **text,
                                    struct error *e);
// The id under which exactly this text is registered in a subject (or the directory's file that
// holds it).
enum registry_result registry_lookup(struct registry *registry, const char *subject,
                                     const char *text, int64_t *id, struct error *e);
// Whether a text that registry_fetch gave is no self-contained Avro schema; `why` (`size` bytes)
// then says what it is.
bool registry_foreign(const char *text, char *why, size_t size);
// Registers text under the subject, or finds it there already (idempotent). -1 with *e; 409 is
// ERROR_CONFIG. A directory is managed by hand: a text that is not there is ERROR_CONFIG.
int registry_register(struct registry *registry, const char *subject, const char *text, int64_t *id,
                      struct error *e);
// Sets the subject's compatibility level ("FULL_TRANSITIVE"). A directory has none: nothing is
// done.
int registry_set_compatibility(struct registry *registry, const char *subject, const char *level,
                               struct error *e);
// Reads the subject's level, falling back to the global one; malloc'ed. NULL for a directory.
int registry_compatibility(struct registry *registry, const char *subject, char **level,
                           struct error *e);
