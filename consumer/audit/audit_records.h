// The records of an output topic, against what a window expects.
#pragma once

#include "consumer/audit/audit_window.h"

// Reads the topic up to the window's end, or to the topic's own end.
int records_read(struct messages *messages, enum output output, int64_t limit, struct error *e);
void records_release(struct messages_topic *topic);
