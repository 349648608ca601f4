// A month's rows in files: DIRECTORY/2025-03/TABLE.csv, and manifest.json, which names each file
// with its rows, bytes and SHA-256. A file is complete when it has its name, and the manifest comes
// last. Files of another month's rows are never overwritten.
#pragma once

#include "consumer/retire/store_retire.h"

struct archived_file {
    char name[64]; // "settlements.csv"
    int64_t rows, bytes;
    char sha256[65];
};

// Writes the files of a detached month, reads them again, and writes the manifest, whose path goes
// to `manifest`. `group`: the deployment's. An archive of the same rows, from a run that was
// interrupted, is left as it is. ERROR_CONFIG: the directory, or what is in it.
int archive_month(struct store *store, const struct retired_month *month, const char *directory,
                  const char *group, char manifest[RETIRED_PATH_SIZE], struct error *e);
