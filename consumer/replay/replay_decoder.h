// One raw record at a time becomes an event, for who reads logs again: writers' schemas come from
// PostgreSQL, from the registry only where they are missing there, and are not stored.
#pragma once

#include "consumer/config/config.h"
#include "consumer/core/record.h"

struct replay_decoder;

// `config` must outlive it.
int replay_decoder_create(const struct config *config, enum timestamps timestamps,
                          struct replay_decoder **out, struct error *e);
void replay_decoder_destroy(struct replay_decoder *decoder);

// The event is valid until the next call. `unknown`: no schema is looked for, as none was found
// when the record was judged. ERROR_UNAVAILABLE when a schema cannot be asked for.
int replay_decoder_event(struct replay_decoder *decoder, enum input input,
                         const rd_kafka_message_t *message, bool unknown, struct event **out,
                         struct error *e);
