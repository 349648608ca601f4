// The declaration of topics (deploy/topics.yaml): the settings that 'settled topics apply' gives
// each topic.
#pragma once

#include "consumer/config/config.h"

enum { TOPIC_COUNT = INPUT_COUNT + OUTPUT_COUNT, TOPIC_SETTINGS_MAX = 32 };

struct topic_wish {
    const char *key; // in the configuration: "calls"
    const char *name; // "call-records", owned by the config
    bool is_input;
    size_t count;
    struct topic_setting {
        char name[64], value[64];
        bool optional; // left out where the broker does not know it
    } settings[TOPIC_SETTINGS_MAX];
};

struct declaration {
    int32_t partitions;
    int replicas; // -1: the cluster's default
    struct topic_wish topics[TOPIC_COUNT]; // inputs, then outputs
};

// Reads a declaration for the topics of `config`. `file` NULL: the one that is part of the binary.
// Errors (ERROR_CONFIG) read "FILE:LINE:COLUMN: reason".
int topics_declare(const char *file, const struct config *config, struct declaration *out,
                   struct error *e);
