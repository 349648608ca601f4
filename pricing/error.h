// Errors with a kind, so that the edge can choose the exit code, and a text that grows on the way
// up. Part of the pure core: it formats, it never prints.
#pragma once

enum error_kind {
    ERROR_NONE = 0,
    ERROR_USAGE, // the command line is wrong: exit 64
    ERROR_UNAVAILABLE, // a broker, registry or database is not reachable: exit 69
    ERROR_BUG, // an invariant of ours does not hold: exit 70
    ERROR_RESTART, // stop and start me again, or another process owns it: exit 75
    ERROR_CONFIG, // configuration, schema, topic or recorded state the operator must mend: exit 78
};

enum { ERROR_TEXT_SIZE = 1024 };

struct error {
    enum error_kind kind;
    char text[ERROR_TEXT_SIZE]; // always terminated; truncated at the end when too long
};

// Sets kind and text: names the thing, the reason and the remedy. Always returns -1. `e` may be
// NULL.
int error_set(struct error *e, enum error_kind kind, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

// Puts "CONTEXT: " before the text of an error on its way up. Always returns -1.
int error_context(struct error *e, const char *format, ...) __attribute__((format(printf, 2, 3)));

// The process exit status of a kind (conventions of sysexits.h); 0 for ERROR_NONE.
int error_exit_status(enum error_kind kind);

#ifdef __clang_analyzer__
// It reads one file at a time, and would follow paths on which a failure reports success.
#define error_set(...) (error_set(__VA_ARGS__), -1)
#define error_context(...) (error_context(__VA_ARGS__), -1)
#endif
