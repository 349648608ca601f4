#include "consumer/config/config_table.h"

#include "pricing/nearest.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <libpq-fe.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void *field(struct config *config, const struct config_key *key)
{
    return (char *)config + key->offset;
}

// Fields are `char *` and `const char *`; both are read and written by copy.
static void store_text(void *at, char *text)
{
    char *old;
    memcpy(&old, at, sizeof old);
    free(old);
    memcpy(at, &text, sizeof text);
}

static void clear_dsns(struct config *config)
{
    for (size_t i = 0; i < config->dsn_count; i++)
        store_text(&config->dsns[i], NULL);
    config->dsn_count = 0;
}

static void clear_urls(struct config *config)
{
    for (size_t i = 0; i < config->registry.url_count; i++)
        store_text(&config->registry.urls[i], NULL);
    config->registry.url_count = 0;
}

void config_clear(struct config *config, const struct config_key *key)
{
    switch (key->kind) {
    case VALUE_TEXT:
    case VALUE_TOPIC:
    case VALUE_PATH:
    case VALUE_LISTEN:
        store_text(field(config, key), NULL);
        break;
    case VALUE_DSNS:
        clear_dsns(config);
        break;
    case VALUE_URLS:
        clear_urls(config);
        break;
    case VALUE_THRESHOLDS:
        memset(field(config, key), 0, sizeof(struct thresholds));
        break;
    case VALUE_PROPERTIES:
        for (size_t i = 0; i < config->property_count; i++) {
            store_text(&config->property_names[i], NULL);
            store_text(&config->property_values[i], NULL);
        }
        config->property_count = 0;
        break;
    default:
        break;
    }
}

// The path as it can be opened: malloc'ed.
static char *resolve_path(const char *config_file, const char *path)
{
    const char *slash = strrchr(config_file, '/');
    char *beside;
    if (*path && *path != '/' && slash &&
        asprintf(&beside, "%.*s/%s", (int)(slash - config_file), config_file, path) >= 0) {
        if (access(beside, F_OK) == 0)
            return beside;
        free(beside);
    }
    return strdup(path);
}

// Digits only, so no sign, blank or hexadecimal gets through. False on overflow.
static bool parse_digits(const char *text, size_t size, int64_t *out)
{
    int64_t number = 0;
    if (size == 0)
        return false;
    for (size_t i = 0; i < size; i++) {
        if (!isdigit((unsigned char)text[i]))
            return false;
        if (__builtin_mul_overflow(number, 10, &number) ||
            __builtin_add_overflow(number, text[i] - '0', &number))
            return false;
    }
    *out = number;
    return true;
}

static const struct {
    const char *unit;
    int64_t ms;
} duration_units[] = {{"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}};
enum { DURATION_UNITS = sizeof duration_units / sizeof *duration_units };

static bool parse_duration(const char *text, int64_t *ms)
{
    size_t digits = strspn(text, "0123456789");
    for (size_t i = 0; i < DURATION_UNITS; i++)
        if (strcmp(text + digits, duration_units[i].unit) == 0)
            return parse_digits(text, digits, ms) &&
                   !__builtin_mul_overflow(*ms, duration_units[i].ms, ms);
    return false;
}

static void format_duration(int64_t ms, char out[32])
{
    size_t i = 0;
    while (ms == 0 ? i < 3 : ms % duration_units[i].ms != 0)
        i++;
    snprintf(out, 32, "%" PRId64 "%s", ms / duration_units[i].ms, duration_units[i].unit);
}

// "1%", "0.25%": parts per million, exactly.
static bool parse_share(const char *text, int64_t *ppm)
{
    enum { DECIMALS = 4 };
    size_t whole = strspn(text, "0123456789"), decimals = 0;
    int64_t fraction = 0;
    if (!parse_digits(text, whole, ppm) || __builtin_mul_overflow(*ppm, 10000, ppm))
        return false;
    text += whole;
    if (*text == '.') {
        decimals = strspn(++text, "0123456789");
        if (decimals > DECIMALS || !parse_digits(text, decimals, &fraction))
            return false;
        text += decimals;
    }
    for (; decimals < DECIMALS; decimals++)
        fraction *= 10;
    *ppm += fraction;
    return strcmp(text, "%") == 0;
}

static void format_share(int64_t ppm, char out[NUMBER_TEXT_SIZE])
{
    int length =
        snprintf(out, NUMBER_TEXT_SIZE, "%" PRId64 ".%04" PRId64, ppm / 10000, ppm % 10000);
    while (out[length - 1] == '0')
        length--;
    length -= out[length - 1] == '.';
    snprintf(out + length, (size_t)(NUMBER_TEXT_SIZE - length), "%%");
}

void config_format_number(const struct config_key *key, int64_t number, char out[NUMBER_TEXT_SIZE])
{
    if (key->kind == VALUE_DURATION || key->kind == VALUE_TIMEOUT)
        format_duration(number, out);
    else if (key->kind == VALUE_SHARE)
        format_share(number, out);
    else
        snprintf(out, NUMBER_TEXT_SIZE, "%" PRId64, number);
}

static const char *check_bounds(const struct config_key *key, int64_t number, char why[WHY_SIZE])
{
    if (number >= key->min && number <= key->max)
        return NULL;
    if (key->kind == VALUE_DURATION || key->kind == VALUE_TIMEOUT) {
        char min[32], max[32];
        format_duration(key->min, min);
        format_duration(key->max, max);
        snprintf(why, WHY_SIZE, "is not within %s to %s", min, max);
    } else if (key->kind == VALUE_SHARE) {
        snprintf(why, WHY_SIZE, "is not within %" PRId64 "%% to %" PRId64 "%%", key->min / 10000,
                 key->max / 10000);
    } else {
        snprintf(why, WHY_SIZE, "is not within %" PRId64 " to %" PRId64, key->min, key->max);
    }
    return why;
}

static const char *set_number(struct config *config, const struct config_key *key, const char *text,
                              char why[WHY_SIZE])
{
    int64_t number;
    switch (key->kind) {
    case VALUE_DURATION:
    case VALUE_TIMEOUT:
        if (!parse_duration(text, &number))
            return "is not a duration; write a whole number and ms, s, m, h or d, as 5m";
        break;
    case VALUE_SHARE:
        if (!parse_share(text, &number))
            return "is not a share; write a percentage with up to four decimals, as 0.5%";
        break;
    default:
        if (!parse_digits(text, strlen(text), &number))
            return "is not a whole number";
    }
    const char *refused = check_bounds(key, number, why);
    if (refused)
        return refused;
    if (key->kind == VALUE_DURATION || key->kind == VALUE_COUNT) {
        memcpy(field(config, key), &number, sizeof number);
    } else {
        assert(number <= INT32_MAX); // by the bounds of the key
        memcpy(field(config, key), &(int){(int)number}, sizeof(int));
    }
    return NULL;
}

static const char *set_choice(struct config *config, const struct config_key *key, const char *text,
                              char why[WHY_SIZE])
{
    unsigned index = 0;
    assert(key->kind == VALUE_CHOICE);
    for (const char *choice = key->choices; *choice; index++) {
        size_t size = strcspn(choice, "|");
        if (size == strlen(text) && memcmp(choice, text, size) == 0) {
            memcpy(field(config, key), &index, sizeof index);
            return NULL;
        }
        choice += size + (choice[size] == '|');
    }
    size_t used = (size_t)snprintf(why, WHY_SIZE, "'%.80s' is none of ", text);
    for (const char *c = key->choices; *c && used + 3 < WHY_SIZE; c++) {
        why[used++] = *c == '|' ? ',' : *c;
        if (*c == '|')
            why[used++] = ' ';
    }
    why[used < WHY_SIZE ? used : WHY_SIZE - 1] = 0;
    return why;
}

static const char *check_topic(const char *text)
{
    static const char legal[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    if (strlen(text) > 249 || text[strspn(text, legal)] || strcmp(text, ".") == 0 ||
        strcmp(text, "..") == 0)
        return "is not a topic name; it has up to 249 of a-z A-Z 0-9 . _ -";
    return NULL;
}

static const char *check_listen(const char *text)
{
    const char *colon = strrchr(text, ':');
    int64_t port;
    if (!*text)
        return NULL;
    if (!colon || colon == text || !parse_digits(colon + 1, strlen(colon + 1), &port) || port < 0 ||
        port > 65535)
        return "is not HOST:PORT; \"\" turns it off";
    bool bracketed = *text == '[' && colon[-1] == ']';
    if (!bracketed && memchr(text, ':', (size_t)(colon - text)))
        return "an IPv6 address stands in brackets, as [::1]:9464";
    return NULL;
}

// libpq's own message may repeat a part of the string, and with it the password.
static const char *check_dsn(const char *text)
{
    PQconninfoOption *options = PQconninfoParse(text, NULL);
    if (!options)
        return "is not a libpq connection string; write postgresql://USER@HOST/DATABASE";
    PQconninfoFree(options);
    return NULL;
}

static const char *set_text(struct config *config, const struct config_key *key, const char *text)
{
    const char *refused = NULL;
    bool may_be_empty = key->kind == VALUE_LISTEN || (key->text && !*key->text);
    if (!*text && !may_be_empty)
        return "is empty";
    if (key->kind == VALUE_TOPIC)
        refused = check_topic(text);
    if (key->kind == VALUE_LISTEN)
        refused = check_listen(text);
    if (refused)
        return refused;
    char *copy = key->kind == VALUE_PATH ? resolve_path(config->file, text) : strdup(text);
    if (!copy)
        return "out of memory";
    store_text(field(config, key), copy);
    return NULL;
}

static bool holds_password(const char *dsn)
{
    PQconninfoOption *options = PQconninfoParse(dsn, NULL);
    bool found = false;
    for (const PQconninfoOption *o = options; o && o->keyword; o++)
        found = found || (o->val && *o->val && strcmp(o->keyword, "password") == 0);
    PQconninfoFree(options);
    return found;
}

bool config_holds_secret(const struct config_key *key, const char *text)
{
    bool found = key->secret;
    char *lines = key->kind == VALUE_DSNS ? strdup(text) : NULL, *rest = lines;
    for (const char *line; rest && (line = strsep(&rest, "\n")) != NULL;)
        found = found || holds_password(line);
    free(lines);
    return found;
}

static const char *add_dsn(struct config *config, const char *text, char why[WHY_SIZE])
{
    const char *refused = *text ? check_dsn(text) : "is empty";
    if (refused)
        return refused;
    for (size_t i = 0; i < config->dsn_count; i++)
        if (strcmp(config->dsns[i], text) == 0)
            return "names the same database twice";
    if (config->dsn_count == CONFIG_DSNS_MAX) {
        snprintf(why, WHY_SIZE, "names more than %d databases", CONFIG_DSNS_MAX);
        return why;
    }
    char *copy = strdup(text);
    if (!copy)
        return "out of memory";
    config->dsns[config->dsn_count++] = copy;
    return NULL;
}

// A connection string may hold commas and blanks, so in one text each has a line of its own.
static const char *set_dsns(struct config *config, const struct config_key *key, const char *text,
                            char why[WHY_SIZE])
{
    const char *refused = NULL;
    char *lines = strdup(text), *rest = lines;
    config_clear(config, key);
    if (!lines)
        return "out of memory";
    for (const char *line; !refused && (line = strsep(&rest, "\n")) != NULL;)
        refused = add_dsn(config, line, why);
    free(lines);
    return refused;
}

static const char *add_url(struct config *config, const char *text, char why[WHY_SIZE])
{
    struct registry_options *r = &config->registry;
    size_t scheme = strncmp(text, "http://", 7) == 0    ? 7
                    : strncmp(text, "https://", 8) == 0 ? 8
                                                        : 0;
    size_t host = strcspn(text + scheme, "/");
    if (memchr(text + scheme, '@', host))
        return "an URL carries no user or password; give them as schemas.user and schemas.password";
    if (!scheme || host == 0 || text[strcspn(text, " \t\n")]) {
        snprintf(why, WHY_SIZE, "'%.100s' is not an URL that begins with http:// or https://",
                 text);
        return why;
    }
    if (r->url_count == REGISTRY_URLS_MAX) {
        snprintf(why, WHY_SIZE, "more than %d URLs", REGISTRY_URLS_MAX);
        return why;
    }
    char *copy = strdup(text);
    if (!copy)
        return "out of memory";
    size_t size = strlen(copy);
    while (copy[size - 1] == '/')
        copy[--size] = 0;
    r->urls[r->url_count++] = copy;
    return NULL;
}

static const char *add_threshold(struct config *config, const struct config_key *key,
                                 const char *text, char why[WHY_SIZE])
{
    struct thresholds *thresholds = field(config, key);
    int64_t number;
    if (!parse_digits(text, strlen(text), &number))
        return "is not a list of whole numbers, as [20, 5]";
    const char *refused = check_bounds(key, number, why);
    if (refused)
        return refused;
    if (thresholds->count == THRESHOLDS_MAX) {
        snprintf(why, WHY_SIZE, "has more than %d numbers", THRESHOLDS_MAX);
        return why;
    }
    if (thresholds_add(thresholds, number))
        return NULL;
    snprintf(why, WHY_SIZE, "has %" PRId64 " twice", number);
    return why;
}

const char *config_add(struct config *config, const struct config_key *key, const char *text,
                       char why[WHY_SIZE])
{
    if (key->kind == VALUE_DSNS)
        return add_dsn(config, text, why);
    return key->kind == VALUE_URLS ? add_url(config, text, why)
                                   : add_threshold(config, key, text, why);
}

// In one text, from the environment or a default, commas separate the elements.
static const char *set_list(struct config *config, const struct config_key *key, const char *text,
                            char why[WHY_SIZE])
{
    const char *end = text + strlen(text);
    config_clear(config, key);
    if (*text == '[' && end[-1] == ']') {
        text++;
        end--;
    }
    while (text < end) {
        char element[1024];
        const char *comma = memchr(text, ',', (size_t)(end - text));
        size_t size = (size_t)((comma ? comma : end) - text);
        if (size >= sizeof element)
            return "has an element that is too long";
        snprintf(element, sizeof element, "%.*s", (int)size, text);
        const char *refused = config_add(config, key, element, why);
        if (refused)
            return refused;
        text = comma ? comma + 1 + strspn(comma + 1, " ") : end;
    }
    return key->kind == VALUE_URLS && config->registry.url_count == 0 ? "is empty" : NULL;
}

const char *config_set(struct config *config, const struct config_key *key, const char *text,
                       char why[WHY_SIZE])
{
    switch (key->kind) {
    case VALUE_TEXT:
    case VALUE_TOPIC:
    case VALUE_PATH:
    case VALUE_LISTEN:
        return set_text(config, key, text);
    case VALUE_DSNS:
        return set_dsns(config, key, text, why);
    case VALUE_URLS:
    case VALUE_THRESHOLDS:
        return set_list(config, key, text, why);
    case VALUE_DATE:
        return calendar_parse_day(text, field(config, key))
                   ? NULL
                   : "is not a date; write it as 2026-11-01";
    case VALUE_CHOICE:
        return set_choice(config, key, text, why);
    case VALUE_PROPERTIES:
        return "is a map of librdkafka properties";
    default:
        return set_number(config, key, text, why);
    }
}
