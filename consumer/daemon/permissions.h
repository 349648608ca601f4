// Whether this user still may do in Kafka what the daemon does, tried again and again on a thread
// of its own. An idle shard reads and publishes nothing, and would find out by its next record
// only.
#pragma once

#include "consumer/config/config.h"
#include "consumer/kafka/client.h"

#include <stdbool.h>

struct permissions; // one a process, thread-safe

// The gates before a start have tried all of it. Both are borrowed.
int permissions_create(const struct config *config, const struct client_properties *properties,
                       struct permissions **out, struct error *e);
// Waits for what is tried just now for at most `timeout_ms`. False: it hangs, and is left behind.
bool permissions_destroy(struct permissions *permissions, int timeout_ms);
// What is missing, with the command that grants it. "" when nothing is.
void permissions_trouble(struct permissions *permissions, char *out, size_t size);
