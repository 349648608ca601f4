#include "consumer/registry/registry.h"

#include "consumer/registry/registry_answer.h"
#include "consumer/registry/registry_dir.h"
#include "consumer/registry/registry_references.h"

#include <assert.h>
#include <curl/curl.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

enum {
    ROUNDS = 3, // over all URLs, while there is hope
    BACKOFF_MS = 200,
    TIMEOUT_MS = 5000,
    ANSWER_MAX = 2 * REGISTRY_TEXT_MAX, // bytes; a schema's quotes are escaped in it
    BASE_MAX = 1000, // bytes of a base URL
    PATH_SIZE = 1024,
    RETRY_AFTER_MAX_S = 60, // it may ask to be left alone for so long
};

struct endpoint {
    char *base; // without credentials and trailing slash: fit to be shown
    char *user, *password;
    int64_t quiet_until; // monotonic ms: it asked not to be asked before
};

struct registry {
    char *directory;
    size_t count, preferred; // preferred: the one that answered last
    struct endpoint endpoints[REGISTRY_URLS_MAX];
    char *ca_file;
    long timeout_ms;
    int backoff_ms;
    bool global; // libcurl's global state is held
    CURL *curl;
    struct curl_slist *headers;
    int stop_fd; // becomes readable when interrupted
    atomic_bool stopped;
};

// ---- creation ----

static char *copy(const char *text)
{
    return text ? strdup(text) : NULL;
}

static char *url_part(CURLU *url, CURLUPart part)
{
    char *text = NULL, *out = NULL;
    if (curl_url_get(url, part, &text, CURLU_URLDECODE) == CURLUE_OK)
        out = copy(text);
    curl_free(text);
    return out;
}

static bool is_plain(CURLU *url)
{
    char *scheme = url_part(url, CURLUPART_SCHEME), *query = url_part(url, CURLUPART_QUERY);
    char *fragment = url_part(url, CURLUPART_FRAGMENT);
    bool plain = scheme && (strcmp(scheme, "http") == 0 || strcmp(scheme, "https") == 0) &&
                 !query && !fragment;
    free(scheme);
    free(query);
    free(fragment);
    return plain;
}

static bool parse_url(CURLU *url, const char *text, struct endpoint *out)
{
    char *base = NULL;
    if (curl_url_set(url, CURLUPART_URL, text, 0) != CURLUE_OK || !is_plain(url))
        return false;
    out->user = url_part(url, CURLUPART_USER);
    out->password = url_part(url, CURLUPART_PASSWORD);
    curl_url_set(url, CURLUPART_USER, NULL, 0);
    curl_url_set(url, CURLUPART_PASSWORD, NULL, 0);
    if (curl_url_get(url, CURLUPART_URL, &base, 0) == CURLUE_OK)
        out->base = copy(base);
    curl_free(base);
    if (!out->base || strlen(out->base) > BASE_MAX)
        return false;
    for (size_t length = strlen(out->base); length > 0 && out->base[length - 1] == '/'; length--)
        out->base[length - 1] = '\0';
    return true;
}

static int add_endpoint(struct registry *r, const struct registry_options *options, size_t i,
                        struct error *e)
{
    struct endpoint *endpoint = &r->endpoints[r->count++];
    CURLU *url = curl_url();
    bool taken = url && parse_url(url, options->urls[i], endpoint);
    curl_url_cleanup(url);
    if (!taken) // the text may hold a password: it is not shown
        return error_set(e, ERROR_CONFIG,
                         "schema registry URL number %zu is not of the form "
                         "http(s)://HOST:PORT/PATH without a query",
                         i + 1);
    if (!endpoint->user) {
        endpoint->user = copy(options->user);
        endpoint->password = copy(options->password);
    }
    return 0;
}

static int prepare_curl(struct registry *r, struct error *e)
{
    r->global = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
    r->curl = r->global ? curl_easy_init() : NULL;
    r->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    r->headers = curl_slist_append(NULL, "Content-Type: application/vnd.schemaregistry.v1+json");
    struct curl_slist *more = r->headers;
    if (more)
        more = curl_slist_append(
            more, "Accept: application/vnd.schemaregistry.v1+json, application/json");
    if (more)
        more = curl_slist_append(more, "Expect:");
    if (!r->curl || r->stop_fd < 0 || !more)
        return error_set(e, ERROR_UNAVAILABLE,
                         "schema registry: libcurl cannot be set up: no memory or descriptors");
    return 0;
}

int registry_create(const struct registry_options *options, struct registry **out, struct error *e)
{
    if ((options->directory != NULL) == (options->url_count > 0) ||
        options->url_count > REGISTRY_URLS_MAX)
        return error_set(e, ERROR_CONFIG, "schemas: give one to %d registry URLs, or a directory",
                         REGISTRY_URLS_MAX);
    struct registry *r = calloc(1, sizeof *r);
    if (!r)
        return error_set(e, ERROR_UNAVAILABLE, "schema registry: no memory");
    r->stop_fd = -1;
    r->directory = copy(options->directory);
    r->ca_file = copy(options->ca_file);
    r->timeout_ms = options->timeout_ms > 0 ? options->timeout_ms : TIMEOUT_MS;
    r->backoff_ms = options->backoff_ms > 0 ? options->backoff_ms : BACKOFF_MS;
    int failed = r->directory ? 0 : prepare_curl(r, e);
    for (size_t i = 0; i < options->url_count && !failed; i++)
        failed = add_endpoint(r, options, i, e);
    if (failed) {
        registry_destroy(r);
        return -1;
    }
    *out = r;
    return 0;
}

void registry_destroy(struct registry *r)
{
    if (!r)
        return;
    if (r->stop_fd >= 0)
        close(r->stop_fd);
    curl_slist_free_all(r->headers);
    curl_easy_cleanup(r->curl);
    if (r->global)
        curl_global_cleanup();
    for (size_t i = 0; i < r->count; i++) {
        free(r->endpoints[i].base);
        free(r->endpoints[i].user);
        free(r->endpoints[i].password);
    }
    free(r->ca_file);
    free(r->directory);
    free(r);
}

void registry_interrupt(struct registry *r)
{
    const uint64_t one = 1;
    r->stopped = true;
    if (r->stop_fd >= 0 && write(r->stop_fd, &one, sizeof one) < 0)
        return; // readable already
}

// ---- one request to one URL ----

static int64_t monotonic_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

struct registry_request {
    const char *method;
    char path[PATH_SIZE]; // from the base URL on
    char *body; // NULL: none
    // A 404 in a registry's form says that it does not have it. Of an id, only an address that is a
    // registry may say so.
    bool may_be_absent, is_of_id;
    bool is_list; // of /subjects: its beginning tells enough
};

struct registry_reply {
    long status;
    json_t *json; // an object, or NULL
    char *bytes;
    size_t size;
    bool too_large, is_list;
    int64_t retry_after_s;
};

static void answer_clear(struct registry_reply *a)
{
    json_decref(a->json);
    free(a->bytes);
    *a = (struct registry_reply){0};
}

static size_t take(char *data, size_t size, size_t count, void *context)
{
    struct registry_reply *a = context;
    size_t more = size * count;
    assert(a->size <= ANSWER_MAX); // what is left of it is a difference
    a->too_large = a->too_large || more > ANSWER_MAX - a->size;
    if (a->too_large && a->is_list)
        return more; // read, and left
    char *grown = a->too_large ? NULL : realloc(a->bytes, a->size + more + 1);
    if (!grown)
        return 0;
    memcpy(grown + a->size, data, more);
    a->bytes = grown;
    a->size += more;
    return more;
}

static int watch(void *context, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    (void)a;
    (void)b;
    (void)c;
    (void)d;
    return atomic_load(&((struct registry *)context)->stopped);
}

static void set_options(struct registry *r, const struct endpoint *endpoint,
                        const struct registry_request *request, struct registry_reply *answer,
                        char *problem)
{
    CURL *c = r->curl;
    char url[BASE_MAX + PATH_SIZE];
    int length = snprintf(url, sizeof url, "%s%s", endpoint->base, request->path);
    assert(length > 0);
    assert((size_t)length < sizeof url); // one that is cut off would ask for something else
    curl_easy_reset(c); // keeps connections
    curl_easy_setopt(c, CURLOPT_URL, url);
    curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 0L); // credentials go nowhere else
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, r->timeout_ms);
    curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT_MS, r->timeout_ms);
    curl_easy_setopt(c, CURLOPT_USERAGENT, "settled");
    // A proxy may compress what nobody asked to be compressed.
    curl_easy_setopt(c, CURLOPT_ACCEPT_ENCODING, "");
    curl_easy_setopt(c, CURLOPT_HTTPHEADER, r->headers);
    curl_easy_setopt(c, CURLOPT_ERRORBUFFER, problem);
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, take);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, answer);
    curl_easy_setopt(c, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(c, CURLOPT_XFERINFOFUNCTION, watch);
    curl_easy_setopt(c, CURLOPT_XFERINFODATA, r);
    if (r->ca_file)
        curl_easy_setopt(c, CURLOPT_CAINFO, r->ca_file);
    if (endpoint->user) {
        curl_easy_setopt(c, CURLOPT_HTTPAUTH, (long)CURLAUTH_BASIC);
        curl_easy_setopt(c, CURLOPT_USERNAME, endpoint->user);
        curl_easy_setopt(c, CURLOPT_PASSWORD, endpoint->password ? endpoint->password : "");
    }
    if (request->body)
        curl_easy_setopt(c, CURLOPT_POSTFIELDS, request->body);
    curl_easy_setopt(c, CURLOPT_CUSTOMREQUEST, request->method);
}

static bool is_certificate_trouble(CURLcode code)
{
    return code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CACERT_BADFILE ||
           code == CURLE_SSL_ISSUER_ERROR;
}

static enum answer_meaning judge_failure(const struct registry *r, const char *base, CURLcode code,
                                         const char *problem, const struct registry_reply *a,
                                         struct error *e)
{
    const char *why = *problem ? problem : curl_easy_strerror(code);
    if (a->too_large) {
        error_set(e, ERROR_CONFIG,
                  "schema registry %s: answers with more than %d bytes: is this its URL?", base,
                  ANSWER_MAX);
        return ANSWER_CONFIG;
    }
    if (code == CURLE_BAD_CONTENT_ENCODING) {
        error_set(
            e, ERROR_CONFIG,
            "schema registry %s: its answer is compressed in a way that is not known here, or "
            "badly (%s): check the proxy before it",
            base, why);
        return ANSWER_CONFIG;
    }
    if (is_certificate_trouble(code)) {
        error_set(e, ERROR_CONFIG, "schema registry %s: %s; check the CA file", base, why);
        return ANSWER_CONFIG;
    }
    error_set(e, ERROR_UNAVAILABLE, "schema registry %s: %s", base,
              r->stopped ? "stopped while asking it" : why);
    return ANSWER_WAIT;
}

// What an answer that is none of ours to take says to people.
static void say_status(const char *base, const struct registry_request *request,
                       const struct registry_reply *a, struct error *e)
{
    char message[ANSWER_MESSAGE_SIZE];
    answer_message(a->json, message);
    if (a->status >= 200 && a->status < 300)
        error_set(e, ERROR_UNAVAILABLE,
                  "schema registry %s: answers %ld with what is no JSON object: is this its URL?",
                  base, a->status);
    else if (a->status == 401 || a->status == 403)
        error_set(e, ERROR_CONFIG,
                  "schema registry %s: refuses access (%ld): check user, password and their role",
                  base, a->status);
    else if (a->status >= 300 && a->status < 400)
        error_set(e, ERROR_CONFIG,
                  "schema registry %s: redirects (%ld), which is not followed: configure the "
                  "address it redirects to",
                  base, a->status);
    else if (a->status == 404 && answer_code(a->json) == 0)
        error_set(e, ERROR_CONFIG,
                  "schema registry %s: has nothing at %s (404): check host and path of the URL",
                  base, request->path);
    else
        error_set(e, ERROR_CONFIG, "schema registry %s: answers %ld to %s %s: %s", base, a->status,
                  request->method, request->path, message);
}

// An answer that asks for another moment: until then this address is left alone.
static void say_wait(struct endpoint *endpoint, const struct registry_reply *a, struct error *e)
{
    char message[ANSWER_MESSAGE_SIZE], until[80] = "";
    answer_message(a->json, message);
    int64_t wait_s = a->retry_after_s < RETRY_AFTER_MAX_S ? a->retry_after_s : RETRY_AFTER_MAX_S;
    if (wait_s > 0) {
        endpoint->quiet_until = monotonic_ms() + wait_s * 1000;
        snprintf(until, sizeof until, "; by its Retry-After it is asked again in %" PRId64 " s",
                 wait_s);
    }
    error_set(e, ERROR_UNAVAILABLE, "schema registry %s: answers %ld: %s%s", endpoint->base,
              a->status, message, until);
}

static enum answer_meaning judge_answer(struct endpoint *endpoint,
                                        const struct registry_request *request,
                                        const struct registry_reply *a, struct error *e)
{
    enum answer_meaning meaning = answer_meaning(a->status, a->json);
    if (meaning == ANSWER_TAKEN || (meaning == ANSWER_ABSENT && request->may_be_absent))
        return meaning;
    if (meaning == ANSWER_WAIT && (a->status < 200 || a->status >= 300))
        say_wait(endpoint, a, e);
    else
        say_status(endpoint->base, request, a, e);
    // Of an id nothing is wrong that another URL could not know better.
    if (meaning == ANSWER_REFUSED && request->is_of_id)
        return ANSWER_CONFIG;
    return meaning == ANSWER_ABSENT ? ANSWER_REFUSED : meaning;
}

// Sends the request and takes the answer, whatever it is. False: there is none, *meaning says so.
static bool exchange(struct registry *r, const struct endpoint *endpoint,
                     const struct registry_request *request, struct registry_reply *a,
                     enum answer_meaning *meaning, struct error *e)
{
    char problem[CURL_ERROR_SIZE] = "";
    curl_off_t retry_after_s = 0;
    answer_clear(a);
    a->is_list = request->is_list;
    set_options(r, endpoint, request, a, problem);
    CURLcode code = curl_easy_perform(r->curl);
    curl_easy_setopt(r->curl, CURLOPT_ERRORBUFFER, NULL);
    if (code != CURLE_OK) {
        *meaning = judge_failure(r, endpoint->base, code, problem, a, e);
        return false;
    }
    curl_easy_getinfo(r->curl, CURLINFO_RESPONSE_CODE, &a->status);
    curl_easy_getinfo(r->curl, CURLINFO_RETRY_AFTER, &retry_after_s);
    a->retry_after_s = retry_after_s;
    a->json = answer_parse(a->bytes, a->size);
    return true;
}

// "No such id" rejects records, so it is believed only of an address that is a registry: a gateway
// may have the same form for its own errors.
static enum answer_meaning prove_registry(struct registry *r, struct endpoint *endpoint,
                                          struct error *e)
{
    const struct registry_request request = {.method = "GET", .path = "/subjects", .is_list = true};
    struct registry_reply a = {0};
    enum answer_meaning meaning = ANSWER_ABSENT;
    if (exchange(r, endpoint, &request, &a, &meaning, e) &&
        !(a.status == 200 && answer_is_list(a.bytes, a.size, !a.too_large))) {
        meaning = answer_meaning(a.status, a.json);
        if (meaning == ANSWER_WAIT && a.status != 200) {
            say_wait(endpoint, &a, e);
        } else {
            error_set(e, ERROR_CONFIG,
                      "schema registry %s: says that it does not have the schema, but does not "
                      "answer /subjects with a list, as a registry does (%ld): check host and path "
                      "of the URL, and that the user may list subjects",
                      endpoint->base, a.status);
            meaning = ANSWER_CONFIG;
        }
    }
    answer_clear(&a);
    return meaning;
}

static enum answer_meaning ask_one(struct registry *r, struct endpoint *endpoint,
                                   const struct registry_request *request, struct registry_reply *a,
                                   struct error *e)
{
    enum answer_meaning meaning;
    int64_t quiet_ms = endpoint->quiet_until - monotonic_ms();
    if (quiet_ms > 0) {
        error_set(e, ERROR_UNAVAILABLE,
                  "schema registry %s: by its Retry-After it is asked again in %" PRId64 " s",
                  endpoint->base, (quiet_ms + 999) / 1000);
        return ANSWER_WAIT;
    }
    if (!exchange(r, endpoint, request, a, &meaning, e))
        return meaning;
    meaning = judge_answer(endpoint, request, a, e);
    if (meaning == ANSWER_ABSENT && request->is_of_id)
        meaning = prove_registry(r, endpoint, e);
    return meaning;
}

// ---- fail-over and retries ----

// False when interrupted.
static bool pause_ms(struct registry *r, int ms)
{
    struct pollfd stop = {.fd = r->stop_fd, .events = POLLIN};
    while (poll(&stop, 1, ms) < 0 && errno == EINTR) {}
    return !r->stopped;
}

// How long every address wants to be left alone yet.
static int64_t all_quiet_ms(const struct registry *r)
{
    int64_t least = INT64_MAX, now = monotonic_ms();
    for (size_t i = 0; i < r->count; i++) {
        int64_t left = r->endpoints[i].quiet_until - now;
        least = left < least ? left : least;
    }
    return least > 0 ? least : 0;
}

// One round over all URLs, the preferred one first.
static enum answer_meaning ask_round(struct registry *r, const struct registry_request *request,
                                     struct registry_reply *a, struct error *e)
{
    size_t absent = 0, transient = 0, first = r->preferred;
    assert(r->count > 0); // "all say that they do not have it" needs one that says so
    assert(r->preferred < r->count);
    for (size_t i = 0; i < r->count; i++) {
        size_t at = (first + i) % r->count;
        enum answer_meaning meaning = ask_one(r, &r->endpoints[at], request, a, e);
        if (meaning == ANSWER_TAKEN)
            r->preferred = at;
        if (meaning == ANSWER_TAKEN || meaning == ANSWER_REFUSED)
            return meaning;
        absent += meaning == ANSWER_ABSENT;
        transient += meaning == ANSWER_WAIT;
    }
    if (absent == r->count)
        return ANSWER_ABSENT;
    return transient ? ANSWER_WAIT : ANSWER_CONFIG;
}

static enum answer_meaning ask(struct registry *r, const struct registry_request *request,
                               struct registry_reply *a, struct error *e)
{
    enum answer_meaning meaning = ANSWER_WAIT;
    for (int round = 0; round < ROUNDS && meaning == ANSWER_WAIT; round++) {
        int64_t quiet_ms = round ? all_quiet_ms(r) : 0;
        int backoff_ms = round ? r->backoff_ms << (round - 1) : 0;
        if (quiet_ms > r->timeout_ms)
            break; // the caller comes again
        if (!pause_ms(r, quiet_ms > backoff_ms ? (int)quiet_ms : backoff_ms)) {
            error_set(e, ERROR_UNAVAILABLE, "schema registry: stopped");
            return ANSWER_WAIT;
        }
        meaning = ask_round(r, request, a, e);
    }
    assert(meaning != ANSWER_TAKEN || a->json);
    return meaning;
}

static enum registry_result result_of(enum answer_meaning meaning)
{
    return meaning == ANSWER_TAKEN    ? REGISTRY_FOUND
           : meaning == ANSWER_ABSENT ? REGISTRY_ABSENT
                                      : REGISTRY_UNAVAILABLE;
}

static int malformed(const struct registry *r, const char *what, struct error *e)
{
    return error_set(e, ERROR_UNAVAILABLE, "schema registry %s: its answer has no %s",
                     r->endpoints[r->preferred].base, what);
}

// ---- the calls ----

static void subject_path(const struct registry *r, const char *format, const char *subject,
                         struct registry_request *request)
{
    char *escaped = curl_easy_escape(r->curl, subject, 0);
    assert(escaped);
    const char *slot = strchr(format, '$');
    assert(slot);
    snprintf(request->path, sizeof request->path, "%.*s%s%s", (int)(slot - format), format, escaped,
             slot + 1);
    curl_free(escaped);
}

// A subject's version, also one that was deleted since: schemas that refer to it stay.
static enum registry_result ask_reference(void *context, const char *subject, int64_t version,
                                          json_t **out, struct error *e)
{
    static const char *const forms[] = {"", "?deleted=true"};
    struct registry *r = context;
    struct registry_reply answer = {0};
    enum answer_meaning meaning = ANSWER_ABSENT;
    for (size_t i = 0; i < sizeof forms / sizeof *forms && meaning == ANSWER_ABSENT; i++) {
        struct registry_request request = {.method = "GET", .may_be_absent = true};
        char format[64];
        snprintf(format, sizeof format, "/subjects/$/versions/%" PRId64 "%s", version, forms[i]);
        subject_path(r, format, subject, &request);
        meaning = ask(r, &request, &answer, e);
    }
    if (meaning == ANSWER_ABSENT)
        error_set(e, ERROR_CONFIG,
                  "schema registry %s: the schema refers to version %" PRId64
                  " of subject %.200s, which the registry does not have: register it again",
                  r->endpoints[r->preferred].base, version, subject);
    if (meaning == ANSWER_TAKEN && !json_string_value(json_object_get(answer.json, "schema"))) {
        malformed(r, "schema", e);
        meaning = ANSWER_WAIT;
    }
    *out = meaning == ANSWER_TAKEN ? json_incref(answer.json) : NULL;
    answer_clear(&answer);
    return meaning == ANSWER_TAKEN ? REGISTRY_FOUND : REGISTRY_UNAVAILABLE;
}

static enum registry_result fetch_by_http(struct registry *r, int64_t id, char **text,
                                          struct error *e)
{
    struct registry_request request = {.method = "GET", .may_be_absent = true, .is_of_id = true};
    struct registry_reply answer = {0};
    snprintf(request.path, sizeof request.path, "/schemas/ids/%" PRId64, id);
    enum registry_result result = result_of(ask(r, &request, &answer, e));
    if (result == REGISTRY_FOUND && references_any(answer.json)) {
        result = references_resolve(answer.json, ask_reference, r, text, e);
    } else if (result == REGISTRY_FOUND && !(*text = answer_schema(answer.json, NULL))) {
        malformed(r, "schema", e);
        result = REGISTRY_UNAVAILABLE;
    }
    answer_clear(&answer);
    return result;
}

enum registry_result registry_fetch(struct registry *r, int64_t id, char **text, struct error *e)
{
    *text = NULL;
    if (id < 0)
        return REGISTRY_ABSENT; // registries give out none of these
    enum registry_result result = r->directory ? registry_dir_fetch(r->directory, id, text, e)
                                               : fetch_by_http(r, id, text, e);
    assert((result == REGISTRY_FOUND) == (*text != NULL));
    return result;
}

static char *body_of(const char *name, const char *value)
{
    json_t *json = json_pack("{s:s}", name, value);
    char *body = json ? json_dumps(json, JSON_COMPACT) : NULL;
    assert(body); // our own texts are UTF-8
    json_decref(json);
    return body;
}

// Posts a schema and takes the id out of the answer.
static enum answer_meaning post_schema(struct registry *r, struct registry_request *request,
                                       const char *text, int64_t *id, struct error *e)
{
    struct registry_reply answer = {0};
    request->body = body_of("schema", text);
    enum answer_meaning meaning = ask(r, request, &answer, e);
    if (meaning == ANSWER_TAKEN && !answer_id(answer.json, id)) {
        malformed(r, "id", e);
        meaning = ANSWER_WAIT;
    }
    answer_clear(&answer);
    free(request->body);
    return meaning;
}

enum registry_result registry_lookup(struct registry *r, const char *subject, const char *text,
                                     int64_t *id, struct error *e)
{
    *id = -1;
    enum registry_result result;
    if (r->directory) {
        result = registry_dir_lookup(r->directory, text, id, e);
    } else {
        struct registry_request request = {.method = "POST", .may_be_absent = true};
        subject_path(r, "/subjects/$", subject, &request);
        result = result_of(post_schema(r, &request, text, id, e));
    }
    assert(result != REGISTRY_FOUND || *id >= 0);
    return result;
}

int registry_register(struct registry *r, const char *subject, const char *text, int64_t *id,
                      struct error *e)
{
    enum registry_result found = registry_lookup(r, subject, text, id, e);
    if (found == REGISTRY_FOUND)
        return 0;
    if (found == REGISTRY_UNAVAILABLE)
        return -1;
    if (r->directory)
        return error_set(e, ERROR_CONFIG,
                         "schema directory %s: no ID.avsc has exactly the text of %s; it is "
                         "managed by hand: copy the "
                         "schema there under an id that no schema had before",
                         r->directory, subject);
    struct registry_request request = {.method = "POST"};
    subject_path(r, "/subjects/$/versions", subject, &request);
    return post_schema(r, &request, text, id, e) == ANSWER_TAKEN
               ? 0
               : error_context(e, "register %s", subject);
}

int registry_set_compatibility(struct registry *r, const char *subject, const char *level,
                               struct error *e)
{
    if (r->directory)
        return 0;
    struct registry_request request = {.method = "PUT", .body = body_of("compatibility", level)};
    struct registry_reply answer = {0};
    subject_path(r, "/config/$", subject, &request);
    enum answer_meaning meaning = ask(r, &request, &answer, e);
    answer_clear(&answer);
    free(request.body);
    return meaning == ANSWER_TAKEN ? 0 : error_context(e, "set compatibility of %s", subject);
}

int registry_compatibility(struct registry *r, const char *subject, char **level, struct error *e)
{
    *level = NULL;
    if (r->directory)
        return 0;
    struct registry_request request = {.method = "GET", .may_be_absent = true};
    struct registry_reply answer = {0};
    subject_path(r, "/config/$?defaultToGlobal=true", subject, &request);
    enum answer_meaning meaning = ask(r, &request, &answer, e);
    if (meaning == ANSWER_ABSENT) { // a registry that does not know defaultToGlobal
        request = (struct registry_request){.method = "GET", .path = "/config"};
        meaning = ask(r, &request, &answer, e);
    }
    const char *text = answer_level(answer.json);
    int failed = meaning == ANSWER_TAKEN ? 0 : -1;
    if (!failed && !text)
        failed = malformed(r, "compatibilityLevel", e);
    if (!failed)
        *level = strdup(text);
    answer_clear(&answer);
    return failed ? error_context(e, "compatibility of %s", subject) : 0;
}
