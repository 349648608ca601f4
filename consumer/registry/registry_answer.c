#include "consumer/registry/registry_answer.h"

#include "consumer/registry/registry.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct answer_row {
    long first, last;
    enum answer_body body;
    enum answer_meaning meaning;
};

#define ANSWER_ROW(first, last, body, meaning, shown, what) {first, last, body, meaning},
static const struct answer_row rows[] = {ANSWER_ROWS(ANSWER_ROW)};

static bool is_coded(const json_t *answer)
{
    return json_is_number(json_object_get(answer, "error_code"));
}

enum answer_meaning answer_meaning(long status, const json_t *answer)
{
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (status < rows[i].first || status > rows[i].last)
            continue;
        if (rows[i].body == ANSWER_ANY || (rows[i].body == ANSWER_OBJECT && answer) ||
            (rows[i].body == ANSWER_CODED && is_coded(answer)))
            return rows[i].meaning;
    }
    return ANSWER_WAIT;
}

static const char *text_of(const json_t *answer, const char *name)
{
    return json_string_value(json_object_get(answer, name));
}

json_t *answer_parse(const char *bytes, size_t size)
{
    json_t *json = size > 0 ? json_loadb(bytes, size, 0, NULL) : NULL;
    if (json_is_object(json))
        return json;
    json_decref(json);
    return NULL;
}

static bool is_list(const char *bytes, size_t size)
{
    json_t *json = json_loadb(bytes, size, 0, NULL), *element;
    bool good = json_is_array(json);
    size_t i;
    json_array_foreach(json, i, element)
    {
        good = good && json_is_string(element);
    }
    json_decref(json);
    return good;
}

bool answer_is_list(const char *bytes, size_t size, bool whole)
{
    static const char blanks[] = " \t\r\n";
    size_t at = 0;
    if (size == 0)
        return false;
    if (whole)
        return is_list(bytes, size);
    while (at < size && memchr(blanks, bytes[at], sizeof blanks - 1))
        at++;
    if (at == size || bytes[at++] != '[')
        return false;
    while (at < size && memchr(blanks, bytes[at], sizeof blanks - 1))
        at++;
    return at < size && bytes[at] == '"';
}

int64_t answer_code(const json_t *answer)
{
    return json_integer_value(json_object_get(answer, "error_code"));
}

char *answer_message(const json_t *answer, char out[ANSWER_MESSAGE_SIZE])
{
    const char *message = text_of(answer, "message");
    snprintf(out, ANSWER_MESSAGE_SIZE, "%s", message ? message : "no message");
    for (char *c = out; *c; c++)
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            *c = ' ';
    return out;
}

char *answer_schema(const json_t *answer, const char *why)
{
    const char *text = text_of(answer, "schema"), *type = text_of(answer, "schemaType");
    json_t *references = json_object_get(answer, "references");
    if (!text)
        return NULL;
    if ((!type || strcmp(type, "AVRO") == 0) && json_array_size(references) == 0)
        return strdup(text);
    json_t *foreign = json_pack("{s:s, s:s, s:O?, s:s?}", "schema", text, "schemaType",
                                type ? type : "AVRO", "references", references, "why", why);
    char *out = foreign ? json_dumps(foreign, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
    json_decref(foreign);
    return out;
}

bool answer_id(const json_t *answer, int64_t *id)
{
    const json_t *number = json_object_get(answer, "id");
    if (!json_is_integer(number) || json_integer_value(number) < 0)
        return false;
    *id = json_integer_value(number);
    return true;
}

const char *answer_level(const json_t *answer)
{
    return text_of(answer, "compatibilityLevel");
}

bool registry_foreign(const char *text, char *why, size_t size)
{
    json_t *json = json_loads(text, 0, NULL);
    const char *type = text_of(json, "schemaType");
    bool foreign = type && text_of(json, "schema") && !json_object_get(json, "type");
    const char *given = text_of(json, "why");
    if (foreign && strcmp(type, "AVRO") == 0)
        snprintf(why, size, "%s; register it as one self-contained text",
                 given ? given : "the schema refers to others");
    else if (foreign)
        snprintf(why, size, "the schema is of type %.32s, not AVRO", type);
    json_decref(json);
    return foreign;
}
