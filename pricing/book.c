// Reads a price book through libyaml's document API: its nodes know their place, so every error can
// name it.
#include "pricing/book.h"

#include "pricing/nearest.h"

#include <assert.h>
#include <inttypes.h>
#include <openssl/sha.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <yaml.h>

struct book_reader {
    const char *file;
    yaml_document_t *document;
    struct error *e;
};

struct key {
    const char *name;
    bool required;
};
enum { KEYS_MAX = 8 };

static int complain_at(struct book_reader *r, yaml_mark_t mark, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static int complain_at(struct book_reader *r, yaml_mark_t mark, const char *format, ...)
{
    char text[ERROR_TEXT_SIZE];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return error_set(r->e, ERROR_CONFIG, "%s:%zu:%zu: %s", r->file, mark.line + 1, mark.column + 1,
                     text);
}

// Always returns -1, which clang's analyser does not see in a variadic function.
#define complain_at(...) (complain_at(__VA_ARGS__), -1)
#define complain(r, node, ...) complain_at((r), (node)->start_mark, __VA_ARGS__)

// ---- scalars ----

static const char *kind_of(const yaml_node_t *node)
{
    switch (node->type) {
    case YAML_MAPPING_NODE:
        return "a mapping";
    case YAML_SEQUENCE_NODE:
        return "a list";
    default:
        return node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE ? "a plain value" : "quoted text";
    }
}

// A scalar's text as a terminated string; NULL when there is a NUL or another control character in
// it.
static const char *scalar_text(const yaml_node_t *node)
{
    const char *text = (const char *)node->data.scalar.value;
    for (size_t i = 0; i < node->data.scalar.length; i++)
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
            return NULL;
    return text;
}

static int check_tag(struct book_reader *r, const yaml_node_t *node, const char *expected)
{
    if (strcmp((const char *)node->tag, expected) == 0)
        return 0;
    return complain(r, node, "the tag %.40s has no meaning here; remove it",
                    (const char *)node->tag);
}

static int read_scalar(struct book_reader *r, const yaml_node_t *node, const char *name,
                       const char **out)
{
    if (node->type != YAML_SCALAR_NODE)
        return complain(r, node, "%s is %s; write a single value", name, kind_of(node));
    if (check_tag(r, node, YAML_STR_TAG) != 0)
        return -1;
    *out = scalar_text(node);
    if (!*out)
        return complain(r, node, "%s holds a control character; remove it", name);
    if (**out == '\0' ||
        (node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE && strcmp(*out, "~") == 0))
        return complain(r, node, "%s is empty; give it a value or remove the key", name);
    return 0;
}

static int read_text(struct book_reader *r, const yaml_node_t *node, const char *name, char *out,
                     size_t size)
{
    const char *text;
    if (read_scalar(r, node, name, &text) != 0)
        return -1;
    if (strlen(text) >= size)
        return complain(r, node, "%s has %zu bytes; the most is %zu", name, strlen(text), size - 1);
    snprintf(out, size, "%s", text);
    return 0;
}

// Numbers are plain decimals: "10" in quotes is text, and 010, 0x10, 1_000 and 1e3 mean other
// things to other readers.
static int read_number(struct book_reader *r, const yaml_node_t *node, const char *name,
                       const char **out)
{
    if (read_scalar(r, node, name, out) != 0)
        return -1;
    if (node->data.scalar.style != YAML_PLAIN_SCALAR_STYLE)
        return complain(r, node, "%s is quoted text; write the number without quotes", name);
    if ((*out)[0] == '0' && (*out)[1] >= '0' && (*out)[1] <= '9')
        return complain(
            r, node,
            "%s is %.40s, which some readers take for octal; write it without leading zeros", name,
            *out);
    return 0;
}

// Takes digits into *n, saturating far above every bound; false when there is none.
static bool take_digits(const char **text, int64_t *n)
{
    const int64_t enough = INT64_C(100000000000000000);
    const char *p = *text;
    *n = 0;
    for (; *p >= '0' && *p <= '9'; p++)
        *n = *n >= enough ? enough : *n * 10 + (*p - '0');
    bool some = p != *text;
    *text = p;
    return some;
}

static int read_units(struct book_reader *r, const yaml_node_t *node, const char *name, int64_t min,
                      int64_t *out)
{
    const char *text;
    if (read_number(r, node, name, &text) != 0)
        return -1;
    const char *p = text;
    bool negative = *p == '-';
    p += negative;
    if (!take_digits(&p, out) || *p != '\0')
        return complain(r, node, "%s is \"%.40s\"; write a whole number in decimal digits", name,
                        text);
    if (negative || *out < min || *out > UNITS_OF_RECORD_MAX)
        return complain(r, node, "%s is %.40s; it must lie within %" PRId64 " and %" PRId64, name,
                        text, min, UNITS_OF_RECORD_MAX);
    return 0;
}

// R1: yuan with at most two decimals that count, into fen: 2.5 is 250. Never a floating point
// number.
static int read_price(struct book_reader *r, const yaml_node_t *node, const char *name, fen_t max,
                      fen_t *out)
{
    const char *text;
    if (read_number(r, node, name, &text) != 0)
        return -1;
    const char *p = text;
    bool negative = *p == '-', whole = true;
    p += negative;
    int64_t yuan, fen = 0;
    bool good = take_digits(&p, &yuan);
    if (good && *p == '.') {
        good = *++p >= '0' && *p <= '9';
        for (int scale = 10; *p >= '0' && *p <= '9'; p++, scale /= 10) {
            fen += (*p - '0') * scale;
            whole = whole && (scale > 0 || *p == '0');
        }
    }
    if (!good || *p != '\0')
        return complain(r, node, "%s is \"%.40s\"; write yuan in decimal digits, such as 2.5", name,
                        text);
    if (!whole)
        return complain(r, node,
                        "%s is %.40s yuan, not a whole number of fen; round it to two decimals",
                        name, text);
    *out = yuan > max / 100 ? max + 1 : yuan * 100 + fen;
    if (negative || *out < 1 || *out > max) {
        char most[MONEY_TEXT_SIZE];
        return complain(r, node, "%s is %.40s yuan; it must lie within 0.01 and %s", name, text,
                        money_format_yuan(max, most));
    }
    return 0;
}

// ---- mappings and lists ----

static int key_index(const struct key *keys, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(keys[i].name, name) == 0)
            return (int)i;
    return -1;
}

static int complain_unknown(struct book_reader *r, const yaml_node_t *node, const char *what,
                            const struct key *keys, size_t count, const char *name)
{
    const char *names[KEYS_MAX];
    char known[256] = "";
    size_t used = 0;
    for (size_t i = 0; i < count; i++) {
        names[i] = keys[i].name;
        used += (size_t)snprintf(known + used, sizeof known - used, "%s%s", i ? ", " : "",
                                 keys[i].name);
        assert(used < sizeof known);
    }
    const char *near = nearest(name, names, count);
    if (near)
        return complain(r, node, "unknown key %.64s in %s; did you mean %s?", name, what, near);
    return complain(r, node, "unknown key %.64s in %s; known are %s", name, what, known);
}

// Finds the value node of each key, NULL where a key that is not required is absent. `what` names
// the mapping.
static int read_mapping(struct book_reader *r, const yaml_node_t *node, const char *what,
                        const struct key *keys, size_t count, const yaml_node_t **values)
{
    assert(count <= KEYS_MAX);
    if (node->type != YAML_MAPPING_NODE)
        return complain(r, node, "%s is %s; write a mapping of keys to values", what,
                        kind_of(node));
    if (check_tag(r, node, YAML_MAP_TAG) != 0)
        return -1;
    const yaml_node_t *seen[KEYS_MAX] = {NULL};
    for (size_t i = 0; i < count; i++)
        values[i] = NULL;
    for (const yaml_node_pair_t *pair = node->data.mapping.pairs.start;
         pair < node->data.mapping.pairs.top; pair++) {
        const yaml_node_t *key = yaml_document_get_node(r->document, pair->key);
        const char *name;
        if (read_scalar(r, key, "a key", &name) != 0)
            return -1;
        int i = key_index(keys, count, name);
        if (i < 0)
            return complain_unknown(r, key, what, keys, count, name);
        if (seen[i])
            return complain(r, key, "key %s is given again in %s, first in line %zu; remove one",
                            name, what, seen[i]->start_mark.line + 1);
        seen[i] = key;
        values[i] = yaml_document_get_node(r->document, pair->value);
    }
    for (size_t i = 0; i < count; i++)
        if (keys[i].required && !values[i])
            return complain(r, node, "key %s is missing in %s; add it", keys[i].name, what);
    return 0;
}

static int read_list(struct book_reader *r, const yaml_node_t *node, const char *name, size_t max,
                     size_t *count)
{
    if (node->type != YAML_SEQUENCE_NODE)
        return complain(r, node, "%s is %s; write a list", name, kind_of(node));
    if (check_tag(r, node, YAML_SEQ_TAG) != 0)
        return -1;
    *count = (size_t)(node->data.sequence.items.top - node->data.sequence.items.start);
    if (*count == 0)
        return complain(r, node, "%s is an empty list; fill it or remove the key", name);
    if (*count > max)
        return complain(r, node, "%s has %zu entries; the most is %zu", name, *count, max);
    return 0;
}

static const yaml_node_t *list_item(const struct book_reader *r, const yaml_node_t *node, size_t i)
{
    return yaml_document_get_node(r->document, node->data.sequence.items.start[i]);
}

// ---- prices of a service ----

enum { TIER_FROM, TIER_BELOW, TIER_PRICE, TIER_KEYS };
static const struct key tier_keys[TIER_KEYS] = {
    [TIER_FROM] = {"from", true},
    [TIER_BELOW] = {"below", false}, // the last tier is open
    [TIER_PRICE] = {"unit_price", true},
};

// R56: a tier must begin where the one before it ends, which is `expected`; *end is where this one
// ends, -1 for never.
static int read_tier(struct book_reader *r, const yaml_node_t *node, struct tier *tier,
                     int64_t previous_from, int64_t expected, int64_t *end)
{
    const yaml_node_t *at[TIER_KEYS];
    if (read_mapping(r, node, "a tier", tier_keys, TIER_KEYS, at) != 0 ||
        read_units(r, at[TIER_FROM], "from", 0, &tier->from) != 0)
        return -1;
    if (tier->from < previous_from)
        return complain(r, at[TIER_FROM],
                        "tiers are in disorder: from %" PRId64 " comes after from %" PRId64
                        "; sort them",
                        tier->from, previous_from);
    if (tier->from == previous_from || expected < 0 || tier->from < expected)
        return complain(r, at[TIER_FROM],
                        "tiers overlap: calls of %" PRId64 " units have a price already; let each "
                        "tier begin at the `below` of the one before it",
                        tier->from);
    if (tier->from > expected)
        return complain(r, at[TIER_FROM],
                        "tiers leave a gap: calls of %" PRId64 " to %" PRId64
                        " units have no price; "
                        "let this tier begin at %" PRId64,
                        expected, tier->from - 1, expected);
    *end = -1;
    if (at[TIER_BELOW]) {
        if (read_units(r, at[TIER_BELOW], "below", 1, end) != 0)
            return -1;
        if (*end <= tier->from)
            return complain(r, at[TIER_BELOW],
                            "the tier is empty: below %" PRId64 " is not above from %" PRId64, *end,
                            tier->from);
    }
    if (read_price(r, at[TIER_PRICE], "unit_price", BOOK_PRICE_MAX, &tier->unit_price) != 0)
        return -1;
    // R62: neither factor is beyond 10^9.
    if (tier->from * tier->unit_price > AMOUNT_MAX)
        return complain(r, at[TIER_PRICE],
                        "a call of %" PRId64 " units would cost more than 10^13 fen, so that every "
                        "call of this tier would be rejected; lower the price or remove the tier",
                        tier->from);
    return 0;
}

static int read_tiers(struct book_reader *r, const yaml_node_t *node, struct service_prices *out)
{
    if (read_list(r, node, "tiers", BOOK_TIERS_MAX, &out->tier_count) != 0)
        return -1;
    int64_t previous_from = -1, end = 0;
    for (size_t i = 0; i < out->tier_count; i++) {
        if (read_tier(r, list_item(r, node, i), &out->tiers[i], previous_from, end, &end) != 0)
            return -1;
        previous_from = out->tiers[i].from;
    }
    if (end >= 0)
        return complain(r, list_item(r, node, out->tier_count - 1),
                        "tiers leave a gap: calls of %" PRId64 " units and "
                        "more have no price; remove `below` from the last tier",
                        end);
    return 0;
}

enum { OFFER_UNITS, OFFER_PRICE, OFFER_KEYS };
static const struct key offer_keys[OFFER_KEYS] = {
    [OFFER_UNITS] = {"units", true},
    [OFFER_PRICE] = {"price", true},
};

static int read_packages(struct book_reader *r, const yaml_node_t *node, struct service_prices *out)
{
    if (read_list(r, node, "packages", BOOK_OFFERS_MAX, &out->offer_count) != 0)
        return -1;
    int64_t previous = 0;
    for (size_t i = 0; i < out->offer_count; i++) {
        const yaml_node_t *at[OFFER_KEYS];
        struct offer *offer = &out->offers[i];
        if (read_mapping(r, list_item(r, node, i), "a package", offer_keys, OFFER_KEYS, at) != 0 ||
            read_units(r, at[OFFER_UNITS], "units", 1, &offer->units) != 0 ||
            read_price(r, at[OFFER_PRICE], "price", AMOUNT_MAX, &offer->price) != 0)
            return -1;
        // R57: each size once.
        if (offer->units <= previous)
            return complain(r, at[OFFER_UNITS],
                            "packages must rise: %" PRId64 " units come after %" PRId64
                            "; sort them, each size once",
                            offer->units, previous);
        previous = offer->units;
    }
    return 0;
}

enum { CUSTOM_MINIMUM, CUSTOM_STEP, CUSTOM_PRICE, CUSTOM_KEYS };
static const struct key custom_keys[CUSTOM_KEYS] = {
    [CUSTOM_MINIMUM] = {"minimum", true},
    [CUSTOM_STEP] = {"step", true},
    [CUSTOM_PRICE] = {"price_per_step", true},
};

// R57: each size must have only one price, so the custom offer begins above the largest package.
static int read_custom(struct book_reader *r, const yaml_node_t *node, struct service_prices *out)
{
    const yaml_node_t *at[CUSTOM_KEYS];
    struct custom_offer *custom = &out->custom;
    if (read_mapping(r, node, "custom", custom_keys, CUSTOM_KEYS, at) != 0 ||
        read_units(r, at[CUSTOM_MINIMUM], "minimum", 1, &custom->minimum) != 0 ||
        read_units(r, at[CUSTOM_STEP], "step", 1, &custom->step) != 0 ||
        read_price(r, at[CUSTOM_PRICE], "price_per_step", BOOK_PRICE_MAX,
                   &custom->price_per_step) != 0)
        return -1;
    if (custom->minimum % custom->step != 0)
        return complain(r, at[CUSTOM_MINIMUM],
                        "minimum %" PRId64 " is not a multiple of step %" PRId64
                        "; choose one that is",
                        custom->minimum, custom->step);
    // R62: neither factor is beyond 10^9.
    if (custom->minimum / custom->step * custom->price_per_step > AMOUNT_MAX)
        return complain(r, at[CUSTOM_PRICE],
                        "the minimum of %" PRId64 " units would cost more than 10^13 fen, so that "
                        "no purchase would be taken; lower the price or the minimum",
                        custom->minimum);
    int64_t largest = out->offer_count ? out->offers[out->offer_count - 1].units : 0;
    if (custom->minimum <= largest)
        return complain(r, at[CUSTOM_MINIMUM],
                        "minimum %" PRId64 " is not above the largest package of %" PRId64
                        " units; a size must have one price only",
                        custom->minimum, largest);
    return 0;
}

enum {
    SERVICE_NAME,
    SERVICE_UNIT,
    SERVICE_UNIT_PRICE,
    SERVICE_TIERS,
    SERVICE_PACKAGES,
    SERVICE_CUSTOM,
    SERVICE_KEYS
};
static const struct key service_keys[SERVICE_KEYS] = {
    [SERVICE_NAME] = {"name", true},
    [SERVICE_UNIT] = {"unit", true},
    [SERVICE_UNIT_PRICE] = {"unit_price", false},
    [SERVICE_TIERS] = {"tiers", false},
    [SERVICE_PACKAGES] = {"packages", false},
    [SERVICE_CUSTOM] = {"custom", false},
};

// The unit is written for readers; the records carry one kind of unit for each service, so there is
// no choice.
static int read_unit(struct book_reader *r, const yaml_node_t *node, enum service service,
                     enum billed_unit *out)
{
    const char *text;
    if (read_scalar(r, node, "unit", &text) != 0)
        return -1;
    *out = service_unit(service);
    if (strcmp(text, billed_unit_symbol(*out)) != 0)
        return complain(r, node, "unit is \"%.40s\"; %s is billed by %s", text,
                        service_symbol(service), billed_unit_symbol(*out));
    return 0;
}

static int read_postpaid(struct book_reader *r, const yaml_node_t *node,
                         const yaml_node_t *const *at, struct service_prices *out)
{
    const yaml_node_t *unit_price = at[SERVICE_UNIT_PRICE], *tiers = at[SERVICE_TIERS];
    if (!unit_price && !tiers)
        return complain(
            r, node,
            "no postpaid price; give unit_price, or tiers for prices by the units of one call");
    if (unit_price && tiers)
        return complain(r, tiers, "unit_price and tiers are both given; remove one");
    if (unit_price) {
        // R5: one price is a tier from 0 without an end.
        out->tier_count = 1;
        return read_price(r, unit_price, "unit_price", BOOK_PRICE_MAX, &out->tiers[0].unit_price);
    }
    if (out->unit == UNIT_CALL)
        return complain(r, tiers, "tiers for a service billed by call; give unit_price");
    out->tiered = true;
    return read_tiers(r, tiers, out);
}

static int read_service(struct book_reader *r, const yaml_node_t *node, enum service service,
                        struct service_prices *out)
{
    const yaml_node_t *at[SERVICE_KEYS];
    if (read_mapping(r, node, service_symbol(service), service_keys, SERVICE_KEYS, at) != 0 ||
        read_text(r, at[SERVICE_NAME], "name", out->name, sizeof out->name) != 0 ||
        read_unit(r, at[SERVICE_UNIT], service, &out->unit) != 0 ||
        read_postpaid(r, node, at, out) != 0)
        return -1;
    if (at[SERVICE_PACKAGES] && read_packages(r, at[SERVICE_PACKAGES], out) != 0)
        return -1;
    if (at[SERVICE_CUSTOM] && read_custom(r, at[SERVICE_CUSTOM], out) != 0)
        return -1;
    return 0;
}

// ---- the book ----

enum { BOOK_NAME, BOOK_CURRENCY, BOOK_TIME_ZONE, BOOK_EFFECTIVE_FROM, BOOK_SERVICES, BOOK_KEYS };
static const struct key book_keys[BOOK_KEYS] = {
    [BOOK_NAME] = {"name", true},           [BOOK_CURRENCY] = {"currency", true},
    [BOOK_TIME_ZONE] = {"time_zone", true}, [BOOK_EFFECTIVE_FROM] = {"effective_from", false},
    [BOOK_SERVICES] = {"services", true},
};

static int read_head(struct book_reader *r, const yaml_node_t *const *at, struct book *out)
{
    const char *text;
    if (read_text(r, at[BOOK_NAME], "name", out->name, sizeof out->name) != 0)
        return -1;
    if (read_scalar(r, at[BOOK_CURRENCY], "currency", &text) != 0)
        return -1;
    if (strcmp(text, "CNY") != 0)
        return complain(r, at[BOOK_CURRENCY], "currency is \"%.40s\"; only CNY is supported", text);
    snprintf(out->currency, sizeof out->currency, "%s", text);
    if (read_text(r, at[BOOK_TIME_ZONE], "time_zone", out->time_zone, sizeof out->time_zone) != 0)
        return -1;
    if (!calendar_zone_offset(out->time_zone, &out->offset_ms))
        return complain(r, at[BOOK_TIME_ZONE],
                        "time_zone %s is not supported; use Asia/Shanghai or UTC", out->time_zone);
    out->effective_from = DAY_NONE;
    if (!at[BOOK_EFFECTIVE_FROM])
        return 0;
    if (read_scalar(r, at[BOOK_EFFECTIVE_FROM], "effective_from", &text) != 0)
        return -1;
    if (!calendar_parse_day(text, &out->effective_from))
        return complain(r, at[BOOK_EFFECTIVE_FROM],
                        "effective_from is \"%.40s\"; write a date of the calendar as "
                        "YYYY-MM-DD",
                        text);
    return 0;
}

static int read_book(struct book_reader *r, const yaml_node_t *root, struct book *out)
{
    const yaml_node_t *at[BOOK_KEYS], *service_at[SERVICE_COUNT];
    struct key service_symbols[SERVICE_COUNT];
    for (int s = 0; s < SERVICE_COUNT; s++)
        service_symbols[s] = (struct key){service_symbol((enum service)s), true};
    if (read_mapping(r, root, "the price book", book_keys, BOOK_KEYS, at) != 0 ||
        read_head(r, at, out) != 0 ||
        read_mapping(r, at[BOOK_SERVICES], "services", service_symbols, SERVICE_COUNT,
                     service_at) != 0)
        return -1;
    for (int s = 0; s < SERVICE_COUNT; s++)
        if (read_service(r, service_at[s], (enum service)s, &out->services[s]) != 0)
            return -1;
    return 0;
}

// For bytes that are not text, libyaml gives only a byte offset; its marks stop before them.
static yaml_mark_t mark_of_offset(const char *bytes, size_t size, size_t offset)
{
    yaml_mark_t mark = {0};
    for (size_t i = 0; i < offset && i < size; i++) {
        bool continuation = ((unsigned char)bytes[i] & 0xc0) == 0x80;
        mark.column = bytes[i] == '\n' ? 0 : mark.column + !continuation;
        mark.line += bytes[i] == '\n';
    }
    return mark;
}

static int complain_syntax(struct book_reader *r, const yaml_parser_t *parser, const char *bytes,
                           size_t size)
{
    if (parser->error == YAML_MEMORY_ERROR)
        return error_set(r->e, ERROR_RESTART, "%s: no memory", r->file);
    yaml_mark_t mark = parser->error == YAML_READER_ERROR
                           ? mark_of_offset(bytes, size, parser->problem_offset)
                           : parser->problem_mark;
    return complain_at(r, mark, "not YAML: %s%s%s; mend the syntax", parser->problem,
                       parser->context ? ", " : "", parser->context ? parser->context : "");
}

// The whole file is one document.
static int check_end(struct book_reader *r, yaml_parser_t *parser, const char *bytes, size_t size)
{
    yaml_document_t next;
    if (!yaml_parser_load(parser, &next))
        return complain_syntax(r, parser, bytes, size);
    const yaml_node_t *root = yaml_document_get_root_node(&next);
    int result =
        root ? complain(r, root, "a second document; a price book is one, write another file") : 0;
    yaml_document_delete(&next);
    return result;
}

static int parse_document(struct book_reader *r, yaml_parser_t *parser, const char *bytes,
                          size_t size, struct book *out)
{
    yaml_document_t document;
    if (!yaml_parser_load(parser, &document))
        return complain_syntax(r, parser, bytes, size);
    r->document = &document;
    const yaml_node_t *root = yaml_document_get_root_node(&document);
    int result =
        root ? check_end(r, parser, bytes, size)
             : complain_at(r, (yaml_mark_t){0}, "the file holds nothing; write a price book");
    if (result == 0)
        result = read_book(r, root, out);
    yaml_document_delete(&document);
    r->document = NULL;
    return result;
}

int book_parse(const char *file, const char *bytes, size_t size, struct book *out, struct error *e)
{
    struct book_reader r = {.file = file, .e = e};
    if (size > BOOK_FILE_MAX)
        return complain_at(&r, mark_of_offset(bytes, size, BOOK_FILE_MAX),
                           "the file has %zu bytes; the most is %d", size, BOOK_FILE_MAX);
    yaml_parser_t parser;
    if (!yaml_parser_initialize(&parser))
        return error_set(e, ERROR_RESTART, "%s: no memory", file);
    yaml_parser_set_input_string(&parser, (const unsigned char *)bytes, size);
    *out = (struct book){0};
    book_sha256(bytes, size, out->sha256);
    int result = parse_document(&r, &parser, bytes, size, out);
    yaml_parser_delete(&parser);
    return result;
}

void book_sha256(const void *bytes, size_t size, char out[65])
{
    unsigned char digest[SHA256_DIGEST_LENGTH];
    SHA256(bytes, size, digest);
    for (size_t i = 0; i < sizeof digest; i++)
        snprintf(out + 2 * i, 3, "%02x", digest[i]);
}
