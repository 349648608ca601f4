// The records of an output topic, against what a window expects.
#pragma once

#include "consumer/audit/audit_window.h"

// Reads the topic up to the window's end, or to the topic's own end.
int records_read(struct messages *messages, enum output output, int64_t limit, struct error *e);
// Those that stand before their turn and were kept until the window of their number: no more
// windows come.
void records_judge_early(struct messages *messages);
// Looks for rows that are missing in front of where the topic was begun to be read. `scan`: the
// outputs from their beginnings.
int records_look_back(struct messages *messages, enum output output, struct scan *scan,
                      struct error *e);
void records_release(struct messages_topic *topic);
