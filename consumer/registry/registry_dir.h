// A directory that serves as schema registry: ID.avsc holds the schema of an id. People manage it
// by hand; the program never writes there.
#pragma once

#include "consumer/registry/registry.h"

enum { REGISTRY_TEXT_MAX = 1 << 20 }; // bytes of one schema, here and from a registry

enum registry_result registry_dir_fetch(const char *directory, int64_t id, char **text,
                                        struct error *e);
// The lowest id whose file has exactly this text.
enum registry_result registry_dir_lookup(const char *directory, const char *text, int64_t *id,
                                         struct error *e);
