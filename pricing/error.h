// Errors with a kind, so that the edge can choose the exit code, and a text that grows on the way
// up. Part of the pure core: it formats, it never prints.
#pragma once

// One X(kind, status, text) each: the exit status of the process (conventions of sysexits.h), and
// what it means, as help and manual say it.
#define ERROR_ROWS(X)                                                                              \
    X(ERROR_NONE, 0, "done")                                                                       \
    X(ERROR_USAGE, 64, "the command line is wrong")                                                \
    X(ERROR_UNAVAILABLE, 69, "a broker, the registry or the database is not reachable")            \
    X(ERROR_BUG, 70, "a bug in settled")                                                           \
    X(ERROR_RESTART, 75, "stop and start again, or another process owns the work")                 \
    X(ERROR_CONFIG, 78,                                                                            \
      "configuration, topics, schemas or recorded state that an operator must mend")

#define ERROR_ENUMERATOR(kind, status, text) kind,
enum error_kind { ERROR_ROWS(ERROR_ENUMERATOR) };
#define ERROR_KINDS (ERROR_CONFIG + 1)

enum { ERROR_TEXT_SIZE = 1024 };

struct error {
    enum error_kind kind;
    char text[ERROR_TEXT_SIZE]; // always terminated; truncated at the end when too long
};

// Sets kind and text: names the thing, the reason and the remedy. Always returns -1. `e` may be
// NULL.
int error_set(struct error *e, enum error_kind kind, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

// Puts "CONTEXT: " before the text of an error on its way up, if the text does not begin with it
// already. Always returns -1.
int error_context(struct error *e, const char *format, ...) __attribute__((format(printf, 2, 3)));

int error_exit_status(enum error_kind kind);
const char *error_exit_text(enum error_kind kind);

#ifdef __clang_analyzer__
// The analyser reads one file at a time. Without this it would follow paths on which error_set
// returns 0.
#define error_set(...) (error_set(__VA_ARGS__), -1)
#define error_context(...) (error_context(__VA_ARGS__), -1)
#endif
