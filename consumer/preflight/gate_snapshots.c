// Whether snapshots can be written.
#include "consumer/preflight/gates.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void gate_snapshots(struct gates *g)
{
    const char *folder = g->config->snapshots;
    char *path;
    if (!folder[0])
        return;
    if (asprintf(&path, "%s/check-XXXXXX", folder) < 0) {
        gates_find(g, FINDING_ERROR, ERROR_RESTART, "memory is short for a path");
        return;
    }
    int file = mkstemp(path);
    if (file < 0) {
        WRONG(g,
              "run.snapshots: no file can be made in %s: %s. Make the folder and give it to the "
              "user that settled runs as, or leave run.snapshots empty",
              folder, strerror(errno));
    } else {
        close(file);
        (void)unlink(path);
    }
    free(path);
}
