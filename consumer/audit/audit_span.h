// Which part of a shard's output topics an audit of some days reads: from the last row before the
// day before the first one, up to the first row behind the day after the last one. Rows stand in
// the order of their numbers, so the beginning is found by halving the log. A record out of order
// can mislead that search; a row that is missed then is looked for in front of what was read.
#pragma once

#include "consumer/config/config.h"
#include "consumer/output/encode.h"

struct span_finder; // reads single records; for all shards

int span_finder_open(const struct config *config, const struct output_framing *framing,
                     struct span_finder **out, struct error *e);
void span_finder_close(struct span_finder *finder);

// The offset of the last row of each output that is numbered `sequence` or below; where there is
// none, the first offset that the log keeps.
int span_find(struct span_finder *finder, int32_t shard, int64_t sequence,
              int64_t from[OUTPUT_COUNT], struct error *e);
