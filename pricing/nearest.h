// The known name that a mistyped one most likely means, for messages.
#pragma once

#include <stddef.h>

// The nearest of `names` by edit distance (insert, delete, replace, swap of neighbours), if it is
// near enough to be a slip: at most a third of the longer name, and 3. On a tie the earlier. NULL:
// none.
const char *nearest(const char *word, const char *const *names, size_t count);
