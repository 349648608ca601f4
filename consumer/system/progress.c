#include "consumer/system/progress.h"
#include "consumer/system/clock.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { BAR_WIDTH = 30, TERMINAL_EVERY_MS = 200, LINE_EVERY_MS = 5000 };

void progress_start(struct progress *p, const char *what, int64_t total)
{
    assert(total >= 0);
    int64_t now = clock_monotonic_ms();
    *p = (struct progress){.what = what,
                           .total = total,
                           .started_ms = now,
                           .shown_ms = now,
                           .terminal = isatty(STDERR_FILENO) == 1};
}

static void show(struct progress *p, int64_t done, int64_t now)
{
    int64_t elapsed = now > p->started_ms ? now - p->started_ms : 1, rate = done * 1000 / elapsed;
    if (p->terminal)
        fputc('\r', stderr);
    if (p->total > 0) {
        int64_t share = done < p->total ? done : p->total;
        assert(share >= 0);
        char bar[BAR_WIDTH + 1] = "";
        memset(bar, '.', BAR_WIDTH);
        memset(bar, '#', (size_t)(share * BAR_WIDTH / p->total));
        if (p->terminal)
            fprintf(stderr, "[%s] ", bar);
        fprintf(stderr, "%3" PRId64 "%% ", share * 100 / p->total);
    }
    fprintf(stderr, "%" PRId64 " %s, %" PRId64 " a second", done, p->what, rate);
    fputs(p->terminal ? "\033[K" : "\n", stderr);
    fflush(stderr);
    p->shown = true;
    p->shown_ms = now;
}

void progress_at(struct progress *p, int64_t done)
{
    int64_t now = clock_monotonic_ms();
    if (now - p->shown_ms >= (p->terminal ? TERMINAL_EVERY_MS : LINE_EVERY_MS))
        show(p, done, now);
}

void progress_end(struct progress *p, int64_t done)
{
    if (!p->shown)
        return;
    show(p, done, clock_monotonic_ms());
    if (p->terminal)
        fputc('\n', stderr);
}
