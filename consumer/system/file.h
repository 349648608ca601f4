// Files.
#pragma once

#include "pricing/error.h"

#include <stddef.h>

// A whole file, at most `limit` bytes, terminated; malloc'ed. NULL with *e (ERROR_CONFIG).
char *file_read(const char *path, size_t limit, size_t *size, struct error *e);
