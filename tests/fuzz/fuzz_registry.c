// Any bytes as the registry's answer to each question; if they give a schema, it is handled like a
// writer's schema.
#include "consumer/avro/plan.h"
#include "consumer/registry/registry.h"
#include "consumer/registry/registry_answer.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static void check_schema(const char *text, const json_t *answer)
{
    const char *given = json_string_value(json_object_get(answer, "schema"));
    char why[128] = "";
    struct error e = {0};
    bool as_given = strcmp(text, given) == 0;
    if (registry_foreign(text, why, sizeof why)) {
        assert(why[0] && memchr(why, 0, sizeof why));
        return;
    }
    assert(as_given); // a text that we wrap in an object is always recognised
    for (enum input i = 0; i < INPUT_COUNT; i++) {
        struct plan *plan = NULL;
        if (plan_compile(i, text, strlen(text), &plan, &e) != 0)
            assert(!plan && e.text[0]);
        plan_destroy(plan);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *bytes = malloc(size > 0 ? size : 1); // of exactly this size, for the sanitizer
    if (!bytes)
        abort();
    if (size > 0)
        memcpy(bytes, data, size);
    json_t *answer = answer_parse(bytes, size);
    free(bytes);
    char message[ANSWER_MESSAGE_SIZE];
    int64_t id = -1;
    for (const char *c = answer_message(answer, message); *c; c++)
        assert((unsigned char)*c >= ' ' && *c != 0x7f);
    if (answer_id(answer, &id))
        assert(answer && id >= 0);
    if (answer_code(answer) != 0 || answer_level(answer))
        assert(answer);
    for (long status = 0; status <= 600; status += 100)
        assert(answer_meaning(status + 4, answer) <= ANSWER_REFUSED);
    if (answer_is_list((const char *)data, size, true))
        assert(!answer); // a list is no object
    answer_is_list((const char *)data, size, false);
    char *text = answer_schema(answer, NULL);
    if (text)
        check_schema(text, answer);
    free(text);
    json_decref(answer);
    return 0;
}
