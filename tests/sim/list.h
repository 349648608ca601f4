// A growing array of plain elements.
#pragma once

#include "consumer/base/memory.h"

#include <stdlib.h>
#include <string.h>

#define LIST(type)                                                                                 \
    struct {                                                                                       \
        type *at;                                                                                  \
        size_t count, capacity;                                                                    \
    }

// The new last element, not set.
#define list_add(list)                                                                             \
    ((list)->at =                                                                                  \
         memory_reserve((list)->at, (list)->count, &(list)->capacity, sizeof *(list)->at),         \
     &(list)->at[(list)->count++])

#define list_free(list) (free((list)->at), (list)->at = NULL, (list)->count = (list)->capacity = 0)

// `to` becomes a list of its own with the elements of `from`.
#define list_copy(to, from)                                                                        \
    do {                                                                                           \
        *(to) = *(from);                                                                           \
        (to)->capacity = (to)->count;                                                              \
        (to)->at = NULL;                                                                           \
        if ((to)->count > 0) {                                                                     \
            (to)->at = memory_grow(NULL, (to)->count, sizeof *(to)->at);                           \
            memcpy((to)->at, (from)->at, (to)->count * sizeof *(to)->at);                          \
        }                                                                                          \
    } while (0)
