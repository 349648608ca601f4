// How far long work is, on stderr: a bar that is drawn over itself on a terminal, else a line every
// few seconds.
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
// Cheap enough to be called for every few hundred items; shows itself when it is time.
void progress_at(struct progress *progress, int64_t done);
// Shows the end where anything was shown before, and leaves the line.
void progress_end(struct progress *progress, int64_t done);
