#include "consumer/preflight/gates.h"

#include <assert.h>
#include <stdarg.h>
#include <string.h>

// An error takes the place of something less when there is no room, so that no number of warnings
// makes a start look well.
static struct finding *room_for(struct findings *out, enum finding_level level)
{
    if (out->count < FINDINGS_MAX)
        return &out->list[out->count++];
    out->left_out++;
    for (size_t i = FINDINGS_MAX; level == FINDING_ERROR && i-- > 0;)
        if (out->list[i].level < FINDING_ERROR)
            return &out->list[i];
    return NULL;
}

void gates_find(struct gates *g, enum finding_level level, enum error_kind kind, const char *format,
                ...)
{
    assert(kind != ERROR_NONE); // the process ends with it
    if (level == FINDING_ERROR)
        g->out->errors++;
    struct finding *finding = room_for(g->out, level);
    if (!finding)
        return;
    *finding = (struct finding){.level = level, .kind = kind, .gate = g->gate};
    va_list args;
    va_start(args, format);
    vsnprintf(finding->text, sizeof finding->text, format, args);
    va_end(args);
}

void gates_find_error(struct gates *g, const struct error *e)
{
    gates_find(g, FINDING_ERROR, e->kind, "%s", e->text);
}
