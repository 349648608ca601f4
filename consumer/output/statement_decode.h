// A published month statement, read back: what settled.month_statements and the statement's lines
// had is all in it, as in no other message.
#pragma once

#include "consumer/base/arena.h"
#include "consumer/core/step.h"

// A page of this one statement, by the schema of schemas/avro. Texts stay in the body; the rest is
// in the arena. ERROR_CONFIG: it is none of them, or has a symbol that this program does not know.
// Whether it is right is for the caller, who encodes it again.
int statement_decode(struct slice body, struct arena *arena, struct month_page *out,
                     struct error *e);
