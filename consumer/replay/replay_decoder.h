// Decodes one raw record at a time into an event, for commands that read logs again. Writers'
// schemas come from PostgreSQL, and from the registry only if they are missing there; they are not
// stored.
#pragma once

#include "consumer/config/config.h"
#include "consumer/core/record.h"

struct replay_decoder;

// `config` must outlive it.
int replay_decoder_create(const struct config *config, const struct fixed_parameters *recorded,
                          struct replay_decoder **out, struct error *e);
void replay_decoder_destroy(struct replay_decoder *decoder);

// The event is valid until the next call. `unknown`: no schema is looked for, because none was
// found when the record was judged. ERROR_UNAVAILABLE when a schema cannot be asked for.
int replay_decoder_event(struct replay_decoder *decoder, enum input input,
                         const rd_kafka_message_t *message, bool unknown, struct event **out,
                         struct error *e);
