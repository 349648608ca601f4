// The schema registry (Confluent REST interface) or a directory of ID.avsc. Blocking calls with bounded time; used
// from a side thread by the daemon. Fail-over over several URLs, retries with back-off, cache by id.
#pragma once

#include "pricing/error.h"

#include <stddef.h>
#include <stdint.h>

struct registry;

enum { REGISTRY_URLS_MAX = 8 };

struct registry_options {
    size_t url_count;
    const char *urls[REGISTRY_URLS_MAX]; // may carry a path; http or https
    const char *directory; // instead of URLs: holds ID.avsc
    const char *user, *password; // basic auth; NULL: none
    const char *ca_file; // NULL: the system's
    int timeout_ms; // of one request
};

enum registry_result {
    REGISTRY_FOUND,
    REGISTRY_ABSENT, // every URL (or the directory) answers that it does not have it
    REGISTRY_UNAVAILABLE, // at least one URL could not be asked: nothing is known
};

int registry_create(const struct registry_options *options, struct registry **out, struct error *e);
void registry_destroy(struct registry *registry);

// The schema text of an id. *text is malloc'ed, for the caller to free. On REGISTRY_UNAVAILABLE *e says which URL and why.
enum registry_result registry_fetch(struct registry *registry, int32_t id, char **text, struct error *e);
// The id under which exactly this text is registered in a subject (or the directory's file that holds it).
enum registry_result registry_lookup(struct registry *registry, const char *subject, const char *text, int32_t *id,
                                     struct error *e);
// Registers text under the subject, or finds it there already (idempotent). -1 with *e; 409 is ERROR_CONFIG.
int registry_register(struct registry *registry, const char *subject, const char *text, int32_t *id, struct error *e);
// Sets the subject's compatibility level ("FULL_TRANSITIVE").
int registry_set_compatibility(struct registry *registry, const char *subject, const char *level, struct error *e);
// Reads the subject's level, falling back to the global one; malloc'ed.
int registry_compatibility(struct registry *registry, const char *subject, char **level, struct error *e);
