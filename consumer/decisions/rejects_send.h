// Sends rejected records again. A record is read where it stands, or, where its topic has lost it,
// from the topic of rejects, which keeps its key and its value.
#pragma once

#include "consumer/decisions/rejects.h"

struct sender;

int sender_open(struct rejects *r, struct sender **out, struct error *e);
void sender_close(struct sender *sender);

// Takes out of the batch what cannot be sent, says why, and adds to *left_out. Nothing is written.
int sender_check(struct sender *sender, struct batch *batch, size_t *left_out, struct error *e);
// Fences other programs that send, and completes the requests that they left half-way. Needed
// before sender_send.
int sender_begin(struct sender *sender, size_t *left_out, struct error *e);
// Sends each record of a request that was recorded, and notes it.
int sender_send(struct sender *sender, const struct batch *batch, struct error *e);
