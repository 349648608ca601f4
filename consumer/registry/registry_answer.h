// What a schema registry's answers hold, and what they mean. Pure: bytes in, values out. The sender
// is not trusted.
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { ANSWER_MESSAGE_SIZE = 300 };

// ---- what an answer means ----

enum answer_meaning {
    ANSWER_TAKEN, // it holds what was asked for
    ANSWER_ABSENT, // this address does not have it
    ANSWER_WAIT, // it may be different in a moment: asked again
    ANSWER_CONFIG, // it will be the same again until an operator mends it; another URL may be right
    ANSWER_REFUSED, // what was asked for is wrong: no URL will take it
};

// What is seen of a body. An object is also coded when it has an error_code that is a number.
enum answer_body { ANSWER_ANY, ANSWER_OBJECT, ANSWER_CODED };

// One X(first, last, body, meaning, shown, what) a row; of those that fit, the first rules.
// Statuses are from `first` to `last`. `shown` and `what` are the row of the table in
// schemas/README.md. How a body is sent (chunked, compressed, at once) makes no difference.
#define ANSWER_ROWS(X)                                                                             \
    X(200, 299, ANSWER_OBJECT, ANSWER_TAKEN, "2xx, a JSON object",                                 \
      "the schema; without a text in `schema`: wait")                                              \
    X(200, 299, ANSWER_ANY, ANSWER_WAIT, "2xx, any other body",                                    \
      "wait: a page of a proxy, or a body that was cut off")                                       \
    X(300, 399, ANSWER_ANY, ANSWER_CONFIG, "3xx",                                                  \
      "configuration: redirects are not followed, as credentials go nowhere else")                 \
    X(401, 401, ANSWER_ANY, ANSWER_CONFIG, "401", "configuration: user and password")              \
    X(403, 403, ANSWER_ANY, ANSWER_CONFIG, "403", "configuration: the user's role")                \
    X(404, 404, ANSWER_CODED, ANSWER_ABSENT, "404, a JSON object with an `error_code`",            \
      "no such id, whatever the number, if the address answers `/subjects` with a list of texts; " \
      "else configuration: a wrong address")                                                       \
    X(404, 404, ANSWER_ANY, ANSWER_CONFIG, "404, any other body",                                  \
      "configuration: a wrong address")                                                            \
    X(408, 408, ANSWER_ANY, ANSWER_WAIT, "408", "wait")                                            \
    X(409, 409, ANSWER_ANY, ANSWER_REFUSED, "409",                                                 \
      "what is registered is not compatible; for an id: configuration")                            \
    X(422, 422, ANSWER_ANY, ANSWER_REFUSED, "422",                                                 \
      "what is registered is no schema; for an id: configuration")                                 \
    X(425, 425, ANSWER_ANY, ANSWER_WAIT, "425", "wait")                                            \
    X(429, 429, ANSWER_ANY, ANSWER_WAIT, "429",                                                    \
      "wait, for as long as `Retry-After` says, up to a minute")                                   \
    X(400, 499, ANSWER_ANY, ANSWER_CONFIG, "4xx, any other",                                       \
      "configuration: this is no registry's answer to such a question")                            \
    X(0, 999, ANSWER_ANY, ANSWER_WAIT, "5xx, any other",                                           \
      "wait, for as long as `Retry-After` says, up to a minute")

enum answer_meaning answer_meaning(long status, const json_t *answer);

// ---- what it holds ----

// The object that an answer is; NULL when it is none. Owned by the caller (json_decref). The
// readers below take NULL.
json_t *answer_parse(const char *bytes, size_t size);
// Whether an answer to /subjects is a registry's: a list of texts. `whole` false: the bytes are
// only its beginning.
bool answer_is_list(const char *bytes, size_t size, bool whole);
// Of an error answer: its code (0: none), and the registry's own words in a form that fits one line
// of a log.
int64_t answer_code(const json_t *answer);
char *answer_message(const json_t *answer, char out[ANSWER_MESSAGE_SIZE]);
// Of the answer to GET /schemas/ids/ID: the schema's text, malloc'ed; NULL when there is none. A
// text that is not a self-contained Avro schema comes as an object that registry_foreign
// (registry.h) recognises; `why` says what is wrong with its references, NULL: nothing.
char *answer_schema(const json_t *answer, const char *why);
// Of the answer to a posted schema: its id; false if there is none.
bool answer_id(const json_t *answer, int64_t *id);
// Of the answer to the question for the compatibility level; NULL when there is none.
const char *answer_level(const json_t *answer);
