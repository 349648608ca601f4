#include "consumer/api/api.h"

#include "consumer/api/api_accept.h"
#include "consumer/api/api_paths.h"
#include "consumer/api/api_shards.h"
#include "consumer/http/http_client.h"
#include "consumer/http/http_target.h"
#include "consumer/http/http_tokens.h"
#include "consumer/system/log.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

// A connection to PostgreSQL for each of the server's threads, opened at need.
struct connection {
    struct store *store; // under the lock of the api when it is set
    struct http_client *client; // to other processes
};

struct api {
    struct api_now now;
    const struct api_paths *paths;
    char *const *dsns;
    size_t dsn_count;
    const char *tokens_file;
    struct api_shards shards;
    pthread_mutex_t lock; // of all that follows but what a connection's own thread keeps
    bool everybody; // without tokens: only this machine can ask
    bool stopping;
    struct http_tokens *tokens; // NULL: there is no file
    bool known; // `fixed` is, and does not change any more
    struct api_fixed fixed;
    struct connection connections[HTTP_THREADS];
};

// ---- life ----

int api_read_tokens(struct api *api, struct error *e)
{
    if (!api->tokens_file || !api->tokens_file[0])
        return 0;
    struct http_tokens *tokens = http_tokens_read(api->tokens_file, e);
    if (!tokens)
        return -1;
    pthread_mutex_lock(&api->lock);
    struct http_tokens *old = api->tokens;
    api->tokens = tokens;
    pthread_mutex_unlock(&api->lock);
    http_tokens_free(old);
    return 0;
}

int api_create(const struct api_options *options, struct api **out, struct error *e)
{
    struct api *api = calloc(1, sizeof *api);
    *out = NULL;
    if (!api)
        return error_set(e, ERROR_RESTART, "memory is short");
    api->now = options->now;
    api->paths = options->paths;
    api->dsns = options->dsns;
    api->dsn_count = options->dsn_count;
    api->tokens_file = options->tokens;
    api_shards_init(&api->shards);
    pthread_mutex_init(&api->lock, NULL);
    if (api_read_tokens(api, e)) {
        api_destroy(api);
        return -1;
    }
    *out = api;
    return 0;
}

void api_trust_everybody(struct api *api)
{
    pthread_mutex_lock(&api->lock);
    api->everybody = true;
    pthread_mutex_unlock(&api->lock);
}

void api_interrupt(struct api *api)
{
    pthread_mutex_lock(&api->lock);
    api->stopping = true;
    for (int i = 0; i < HTTP_THREADS; i++)
        if (api->connections[i].store)
            store_interrupt(api->connections[i].store);
    pthread_mutex_unlock(&api->lock);
}

void api_destroy(struct api *api)
{
    if (!api)
        return;
    for (int i = 0; i < HTTP_THREADS; i++) {
        store_close(api->connections[i].store);
        http_client_destroy(api->connections[i].client);
    }
    http_tokens_free(api->tokens);
    api_shards_release(&api->shards);
    pthread_mutex_destroy(&api->lock);
    free(api);
}

// ---- the connection ----

static int open_store(struct api *api, struct connection *connection, struct error *e)
{
    struct store *store;
    if (store_open_all(api->dsns, api->dsn_count, STORE_ANSWERS, &store, e))
        return -1;
    pthread_mutex_lock(&api->lock);
    connection->store = store;
    if (api->stopping)
        store_interrupt(store);
    pthread_mutex_unlock(&api->lock);
    return 0;
}

int api_fix(const struct deployment *deployment, struct api_fixed *out, struct error *e)
{
    const struct policy *policy = &deployment->policy;
    static_assert(sizeof out->topics == sizeof deployment->topics, "all names fit");
    memcpy(out->topics, deployment->topics, sizeof out->topics);
    out->partitioner = policy->fixed.partitioner;
    out->partitions = policy->fixed.partitions;
    memcpy(out->currency, policy->shelf.books[0]->currency, sizeof out->currency);
    if (!calendar_zone_offset(policy->fixed.time_zone, &out->offset_ms))
        return error_set(e, ERROR_BUG, "the recorded time zone %s is not known",
                         policy->fixed.time_zone);
    return 0;
}

static int read_fixed(struct store *store, struct api_fixed *out, struct error *e)
{
    struct deployment *deployment = calloc(1, sizeof *deployment);
    bool recorded = false;
    if (!deployment)
        return error_set(e, ERROR_UNAVAILABLE, "memory is short");
    int failed = api_stored(store_load_deployment(store, deployment, &recorded, e));
    if (!failed && !recorded)
        failed = error_set(e, ERROR_UNAVAILABLE, "nothing is recorded yet");
    if (!failed)
        failed = api_fix(deployment, out, e);
    shelf_clear(&deployment->policy.shelf);
    free(deployment);
    return failed;
}

// Read once in a process. Those who ask first may read it side by side.
static int know_fixed(struct api *api, struct store *store, struct error *e)
{
    struct api_fixed fixed;
    pthread_mutex_lock(&api->lock);
    bool known = api->known;
    pthread_mutex_unlock(&api->lock);
    if (known)
        return 0;
    if (read_fixed(store, &fixed, e))
        return -1;
    pthread_mutex_lock(&api->lock);
    if (!api->known)
        api->fixed = fixed;
    api->known = true;
    pthread_mutex_unlock(&api->lock);
    return 0;
}

static int connect_call(struct api *api, int thread, struct api_call *call, struct error *e)
{
    struct connection *connection = &api->connections[thread];
    assert(thread >= 0 && thread < HTTP_THREADS);
    if (!connection->store && open_store(api, connection, e))
        return -1;
    if (know_fixed(api, connection->store, e))
        return -1;
    if (!connection->client && http_client_create(&connection->client, e))
        return -1;
    call->store = connection->store;
    call->fixed = &api->fixed;
    call->now = &api->now;
    call->shards = &api->shards;
    call->client = connection->client;
    if (call->account)
        call->shard = partition_of(call->fixed->partitioner, call->account, strlen(call->account),
                                   call->fixed->partitions);
    return 0;
}

// ---- who asks ----

// Whoever is on this machine may see everything, but not the page of somebody else that runs in a
// browser here: it would have had its own name resolved to this machine, and asks by that.
static int trust_local(struct api_call *call, struct error *e)
{
    const char *host = call->request->host;
    call->scope.reader = !host || http_is_local_name(host);
    if (call->scope.reader)
        return 0;
    return api_refuse(call, API_FORBIDDEN, e,
                      "without tokens this server is asked by the name of the machine alone, and "
                      "not as %.100s: ask for 127.0.0.1 or localhost, or name a file of tokens "
                      "with http.tokens",
                      host);
}

static int check_token(struct api *api, struct api_call *call, struct error *e)
{
    pthread_mutex_lock(&api->lock);
    bool everybody = api->everybody, tokens = api->tokens != NULL;
    bool found =
        tokens && http_tokens_find(api->tokens, call->request->authorization, &call->scope);
    pthread_mutex_unlock(&api->lock);
    if (!tokens && everybody)
        return trust_local(call, e);
    if (!tokens)
        return api_refuse(call, API_FORBIDDEN, e,
                          "this address can be reached from other machines, and no file of tokens "
                          "is configured: name one with http.tokens, or let http.listen be a "
                          "loopback address");
    if (found)
        return 0;
    return api_refuse(call, API_UNAUTHORIZED, e,
                      "the request carries no token that is known: send the header "
                      "Authorization: Bearer TOKEN with a token of http.tokens");
}

// What is for everybody, asked about one account, is for its holder.
static int check_scope(struct api_call *call, const struct api_path *path, struct error *e)
{
    const struct http_scope *scope = &call->scope;
    if (scope->reader || (path->audience == API_EVERYBODY && !call->account))
        return 0;
    if (path->audience != API_READER && strcmp(scope->account, call->account) == 0)
        return 0;
    return api_refuse(call, API_FORBIDDEN, e,
                      "this token may see the account %s alone: ask for a path below "
                      "/v1/accounts/ with this id, or use a token of scope reader",
                      scope->account);
}

// ---- what is asked ----

static bool is_listed(const char *list, const char *name)
{
    size_t size = strlen(name);
    for (; *list; list += strspn(list, " ")) {
        size_t word = strcspn(list, " ");
        if (word == size && strncmp(list, name, size) == 0)
            return true;
        list += word;
    }
    return false;
}

static int check_parameters(const struct api_call *call, const struct api_path *path,
                            struct error *e)
{
    const struct http_request *request = call->request;
    for (size_t i = 0; i < request->parameter_count; i++) {
        const char *name = request->parameters[i].name;
        if (!is_listed(path->parameters, name))
            return error_set(e, ERROR_USAGE, "parameter '%.100s' is not known here: %s%s", name,
                             path->parameters[0] ? "there are " : "there is none",
                             path->parameters);
        for (size_t k = 0; k < i; k++)
            if (strcmp(request->parameters[k].name, name) == 0)
                return error_set(e, ERROR_USAGE, "parameter %s: it is given twice", name);
    }
    return 0;
}

static int check_request(struct api_call *call, const struct api_path *path, struct error *e)
{
    enum api_form form = api_choose_form(call->request->accept, path->csv);
    call->csv = form == API_FORM_CSV;
    if (form == API_FORM_NONE)
        return api_refuse(call, API_NOT_ACCEPTABLE, e,
                          "the header Accept lets through nothing that there is: ask for "
                          "application/json%s",
                          path->csv ? " or text/csv" : "");
    return check_parameters(call, path, e);
}

static int answer_call(struct api *api, int thread, struct api_call *call, struct error *e)
{
    const char *captured[2];
    if (check_token(api, call, e))
        return -1;
    const struct api_path *path = api_find_path(api->paths, call->request, captured);
    if (!path)
        return api_refuse(call, API_NOT_FOUND, e,
                          "there is nothing at this path: /v1/openapi.json names all that are");
    // Of a path for everybody, the account that it is asked about.
    call->account =
        path->audience == API_EVERYBODY ? http_parameter(call->request, "account") : captured[0];
    call->item = captured[1];
    if (check_scope(call, path, e) || check_request(call, path, e) ||
        connect_call(api, thread, call, e))
        return -1;
    return path->answer(call, e);
}

static void put_failure(const struct api_call *call, const struct error *e)
{
    enum api_problem problem = call->problem ? call->problem : api_problem_of(e->kind);
    free(call->out->body);
    call->out->body = NULL;
    if (problem == API_BUG)
        log_event(LOG_ERROR, "a request is not answered", LOG_FIELDS(log_text("reason", e->text)));
    // What has failed within is for the log, not for whoever asks.
    api_put_problem(problem,
                    problem == API_BUG ? "The log of settled says why; an operator must look at it"
                                       : e->text,
                    call->request, call->out);
}

void api_answer(void *context, int thread, const struct http_request *request,
                struct http_answer *out)
{
    struct error e = {0};
    struct api_call call = {.request = request, .out = out};
    if (answer_call(context, thread, &call, &e))
        put_failure(&call, &e);
    json_decref(call.as_of);
    json_decref(call.final_through);
}

void api_refuse_request(unsigned status, const char *why, struct http_answer *out)
{
    api_put_problem(api_problem_of_status(status), why, NULL, out);
}
