// Shows on stderr how far a long command is: on a terminal as a bar that is drawn over itself,
// otherwise as a line every few seconds.
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct progress {
    const char *what; // "records sent"
    int64_t total; // 0: not known
    int64_t started_ms, shown_ms;
    bool terminal, shown;
};

void progress_start(struct progress *progress, const char *what, int64_t total);
// Cheap enough to be called for every few hundred items; it decides by itself when to show
// something.
void progress_at(struct progress *progress, int64_t done);
// Shows the end where anything was shown before, and leaves the line.
void progress_end(struct progress *progress, int64_t done);
