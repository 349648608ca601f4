#include "consumer/answers/asking.h"

#include "consumer/answers/answers.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { AFTER_SIZE = 512 };

// One page. `after`: "" for the first one.
struct page {
    const char *below;
    const struct http_parameter *parameters;
    bool csv;
    char after[AFTER_SIZE]; // of this page, and then of the next one
    struct http_answer answer;
};

static struct http_request request_of(const struct asking *asking, const struct page *page)
{
    struct http_request request = {.segment_count = 4,
                                   .segments = {"v1", "accounts", asking->account_id, page->below}};
    for (const struct http_parameter *p = page->parameters; p->name; p++)
        request.parameters[request.parameter_count++] = *p;
    if (page->after[0])
        request.parameters[request.parameter_count++] =
            (struct http_parameter){"after", page->after};
    assert(request.parameter_count <= HTTP_PARAMETERS_MAX);
    return request;
}

// `after` is the last parameter of the next page's target. Positions of lists have no characters
// that need escapes.
static void turn_page(struct page *page)
{
    const char *next = page->answer.next ? strstr(page->answer.next, "after=") : NULL;
    snprintf(page->after, sizeof page->after, "%s", next ? next + strlen("after=") : "");
}

static int ask_page(const struct asking *asking, struct page *page, struct error *e)
{
    struct api_fixed fixed;
    const char *captured[2];
    const struct http_request request = request_of(asking, page);
    const struct api_path *path = api_find_path(&answers_paths, &request, captured);
    assert(path);
    page->answer = (struct http_answer){0};
    if (api_fix(asking->recorded, &fixed, e))
        return -1;
    struct api_call call = {.request = &request,
                            .out = &page->answer,
                            .store = asking->store,
                            .fixed = &fixed,
                            .account = asking->account_id,
                            .shard = partition_of(fixed.partitioner, asking->account_id,
                                                  strlen(asking->account_id), fixed.partitions),
                            .csv = page->csv};
    int failed = path->answer(&call, e);
    json_decref(call.as_of);
    json_decref(call.final_through);
    turn_page(page);
    free(page->answer.next);
    return failed;
}

int ask_json(const struct asking *asking, const char *below,
             const struct http_parameter *parameters, json_t **out, struct error *e)
{
    struct page page = {.below = below, .parameters = parameters};
    *out = NULL;
    do {
        int failed = ask_page(asking, &page, e);
        json_t *body = failed ? NULL : json_loads(page.answer.body, 0, NULL);
        free(page.answer.body);
        if (!failed && *out)
            json_array_extend(json_object_get(*out, "items"), json_object_get(body, "items"));
        else if (!failed)
            *out = json_incref(body);
        json_decref(body);
        if (failed) {
            json_decref(*out);
            *out = NULL;
            return -1;
        }
    } while (page.after[0]);
    return 0;
}

// Where the record that begins here ends, before its line break, which ends none within quotes.
static const char *end_of_record(const char *csv)
{
    bool quoted = false;
    for (; *csv && (quoted || strncmp(csv, "\r\n", 2) != 0); csv++)
        quoted = quoted != (*csv == '"');
    return csv;
}

// Each record with one more cell. A later page repeats the names.
static void print_records(const char *csv, bool first, const struct ask_cell *cell)
{
    for (bool names = true; *csv; names = false) {
        const char *end = end_of_record(csv);
        if (first || !names)
            printf("%.*s,%s\r\n", (int)(end - csv), csv, names ? cell->name : cell->value);
        csv = *end ? end + 2 : end;
    }
}

int ask_csv(const struct asking *asking, const char *below, const struct http_parameter *parameters,
            const struct ask_cell *cell, struct error *e)
{
    struct page page = {.below = below, .parameters = parameters, .csv = true};
    bool first = true;
    do {
        int failed = ask_page(asking, &page, e);
        if (!failed)
            print_records(page.answer.body, first, cell);
        free(page.answer.body);
        if (failed)
            return -1;
        first = false;
    } while (page.after[0]);
    return 0;
}
