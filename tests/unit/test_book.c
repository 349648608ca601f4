#include "tests/unit/books.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define A SERVICE_AUDIENCE_INSIGHT
#define P SERVICE_PURCHASE_INTENT

static const char first_services[] =
    "name: Prices\n"
    "currency: CNY\n"
    "time_zone: Asia/Shanghai\n"
    "effective_from: 2027-01-01\n"
    "services:\n"
    "  AUDIENCE_INSIGHT:\n" // line 6
    "    name: 人群特征洞察服务\n"
    "    unit: call\n"
    "    unit_price: 2200\n"
    // line 10
    "    packages: [{units: 50, price: 100000}, {units: 100, price: 150000}]\n"
    "    custom: {minimum: 301, step: 1, price_per_step: 500}\n"
    "  PURCHASE_INTENT:\n"
    "    name: 购车意向预判服务\n"
    "    unit: lead\n"
    "    tiers:\n" // line 15
    "      - {from: 0, below: 10000, unit_price: 10}\n"
    "      - {from: 10000, below: 20000, unit_price: 8}\n"
    "      - {from: 20000, unit_price: 2.5}\n"
    "    custom: {minimum: 801000, step: 1000, price_per_step: 1500}\n";

// The same, and of each service that came later a section behind them, where it moves no line.
static char base[4096];
static size_t base_size; // with its end

static void write_base(void)
{
    size_t used = sizeof first_services - 1;
    memcpy(base, first_services, sizeof first_services);
    for (enum service s = P + 1; s < SERVICE_COUNT; s++) {
        used += (size_t)snprintf(base + used, sizeof base - used,
                                 "  %s:\n    name: Later\n    unit: %s\n    unit_price: 1\n",
                                 service_symbol(s), billed_unit_symbol(service_unit(s)));
        assert_true(used < sizeof base);
    }
    base_size = used + 1;
}

static int last_line(void)
{
    int line = 1;
    for (size_t i = 0; i < base_size; i++)
        line += base[i] == '\n';
    return line;
}

static struct error error;

static int parse(const char *text, struct book *out)
{
    error = (struct error){0};
    return book_parse("book.yaml", text, strlen(text), out, &error);
}

// ---- what a good book says ----

static void the_repositorys_book(void **state)
{
    (void)state;
    struct book book = load_apcas();
    assert_string_equal(book.name, "汽车精准获客服务");
    assert_string_equal(book.currency, "CNY");
    assert_string_equal(book.time_zone, "Asia/Shanghai");
    assert_int_equal(book.offset_ms, 8 * 3600000);
    assert_int_equal(book.effective_from, DAY_NONE);
    assert_int_equal(book.services[A].unit, UNIT_CALL);
    assert_int_equal(book.services[P].unit, UNIT_LEAD);
    assert_int_equal(book.services[P].custom.minimum, 801000);
    assert_int_equal(book.services[P].custom.step, 1000);
    assert_int_equal(book.services[P].custom.price_per_step, 150000);
}

static void a_later_version(void **state)
{
    (void)state;
    struct book book;
    assert_int_equal(parse(base, &book), 0);
    char day[DAY_TEXT_SIZE];
    assert_string_equal(calendar_format_day(book.effective_from, day), "2027-01-01");
    assert_int_equal(book.services[A].offers[1].price, 15000000);
    assert_int_equal(book.services[P].tiers[2].from, 20000);
    assert_int_equal(book.services[P].tiers[2].unit_price, 250);
    assert_int_equal(book.services[P].offer_count, 0);
}

static void the_sha256_is_that_of_the_bytes(void **state)
{
    (void)state;
    char hex[65];
    book_sha256("", 0, hex);
    assert_string_equal(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    book_sha256("abc", 3, hex);
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    struct book book;
    assert_int_equal(parse(base, &book), 0);
    book_sha256(base, strlen(base), hex);
    assert_string_equal(book.sha256, hex);
}

static void symbols_of_services(void **state)
{
    (void)state;
    enum service service;
    assert_string_equal(service_symbol(A), "AUDIENCE_INSIGHT");
    assert_string_equal(service_symbol(P), "PURCHASE_INTENT");
    assert_true(service_parse("PURCHASE_INTENT", &service) && service == P);
    assert_true(service_parse("AUDIENCE_INSIGHT", &service) && service == A);
    assert_false(service_parse("purchase_intent", &service));
    assert_false(service_parse("", &service));
}

// ---- one change to a good book ----

struct edit {
    const char *find, *put;
    const char *text; // of the error; NULL: the book stays good
};

static char *edited(const struct edit *edit)
{
    const char *at = strstr(base, edit->find);
    assert_non_null(at);
    size_t before = (size_t)(at - base), found = strlen(edit->find), put = strlen(edit->put);
    char *text = malloc(base_size + put);
    assert_non_null(text);
    memcpy(text, base, before);
    memcpy(text + before, edit->put, put);
    memcpy(text + before + put, at + found, base_size - before - found);
    return text;
}

static void check_edits(const struct edit *edits, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char *text = edited(&edits[i]);
        struct book book;
        int result = parse(text, &book);
        free(text);
        assert_int_equal(result, edits[i].text ? -1 : 0);
        if (!edits[i].text)
            continue;
        assert_int_equal(error.kind, ERROR_CONFIG);
        assert_string_equal(error.text, edits[i].text);
    }
}

#define CHECK_EDITS(edits) check_edits((edits), sizeof(edits) / sizeof *(edits))

static void forms_that_are_good(void **state)
{
    (void)state;
    static const struct edit edits[] = {
        {"name: Prices", "name: \"Prices: 2027\"", NULL},
        {"name: Prices", "name: 2027", NULL}, // a name is text, whatever it looks like
        {"currency: CNY", "currency: 'CNY'", NULL},
        {"2027-01-01", "\"2027-01-01\"", NULL},
        {"effective_from: 2027-01-01\n", "", NULL},
        {"unit_price: 2200", "unit_price: 2200.5", NULL},
        {"unit_price: 2200", "unit_price: 2200.50", NULL},
        {"unit_price: 2200", "unit_price: 2200.5000", NULL}, // still whole fen
        {"unit_price: 2200", "unit_price: 0.01", NULL},
        {"unit_price: 2200", "unit_price: 10000000", NULL},
        {"    custom: {minimum: 301, step: 1, price_per_step: 500}\n", "", NULL},
        {"from: 0,", "from: &zero 0,", NULL}, // an anchor changes nothing
        {"Asia/Shanghai", "UTC", NULL},
        {"name: Prices\n", "%YAML 1.1\n---\nname: Prices\n", NULL},
    };
    CHECK_EDITS(edits);
}

// R1
static void prices_are_fen_without_rounding(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        fen_t fen;
    } rows[] = {
        {"0.01", 1},
        {"0.1", 10},
        {"0.29", 29}, // 0.29 * 100 is 28.999... in binary
        {"2.5", 250},
        {"2.50", 250},
        {"2.500000000000000000000", 250},
        {"1.15", 115},
        {"4.35", 435},
        {"9999999.99", 999999999},
        {"10000000", 1000000000},
        {"10000000.00", 1000000000},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char put[64];
        snprintf(put, sizeof put, "unit_price: %s", rows[i].text);
        char *text = edited(&(struct edit){"unit_price: 2200", put, NULL});
        struct book book;
        assert_int_equal(parse(text, &book), 0);
        free(text);
        assert_int_equal(book.services[A].tiers[0].unit_price, rows[i].fen);
    }
}

static void a_service_that_nobody_knows(void **state)
{
    (void)state;
    char text[512] = "book.yaml:12:3: unknown key LOAN_INTENT in services; known are";
    for (enum service s = 0; s < SERVICE_COUNT; s++) {
        size_t used = strlen(text);
        snprintf(text + used, sizeof text - used, "%s %s", s ? "," : "", service_symbol(s));
    }
    CHECK_EDITS(((const struct edit[]){{"  PURCHASE_INTENT", "  LOAN_INTENT", text}}));
}

static void keys(void **state)
{
    (void)state;
    static const struct edit edits[] = {
        {"currency:", "curency:",
         "book.yaml:2:1: unknown key curency in the price book; did you mean currency?"},
        {"currency:", "money:",
         "book.yaml:2:1: unknown key money in the price book; known are name, currency, time_zone, "
         "effective_from, "
         "services"},
        {"custom: {minimum: 301", "custom: {minimun: 301",
         "book.yaml:11:14: unknown key minimun in custom; did you mean minimum?"},
        {"price: 150000", "pricee: 150000",
         "book.yaml:10:57: unknown key pricee in a package; did you mean price?"},
        {"below: 20000", "to: 20000",
         "book.yaml:17:23: unknown key to in a tier; known are from, below, unit_price"},
        {"AUDIENCE_INSIGHT", "AUDIENCE_INSIGHTS",
         "book.yaml:6:3: unknown key AUDIENCE_INSIGHTS in services; did you mean "
         "AUDIENCE_INSIGHT?"},
        {"currency: CNY", "name: Again\ncurrency: CNY",
         "book.yaml:2:1: key name is given again in the price book, first in line 1; remove one"},
        {"units: 100, price", "units: 100, units: 100, price",
         "book.yaml:10:57: key units is given again in a package, first in line 10; remove one"},
        {"  PURCHASE_INTENT", "  AUDIENCE_INSIGHT",
         "book.yaml:12:3: key AUDIENCE_INSIGHT is given again in services, first in line 6; remove "
         "one"},
        {"currency: CNY\n", "", "book.yaml:1:1: key currency is missing in the price book; add it"},
        {"name: Prices\n", "", "book.yaml:1:1: key name is missing in the price book; add it"},
        {"    unit: call\n", "", "book.yaml:7:5: key unit is missing in AUDIENCE_INSIGHT; add it"},
        {"units: 100, ", "", "book.yaml:10:44: key units is missing in a package; add it"},
        {"from: 10000, ", "", "book.yaml:17:9: key from is missing in a tier; add it"},
        {"step: 1000, ", "", "book.yaml:19:13: key step is missing in custom; add it"},
        {"name: Prices", "[a, b]: Prices", "book.yaml:1:1: a key is a list; write a single value"},
        {"name: Prices", "\"na\\0me\": Prices",
         "book.yaml:1:1: a key holds a control character; remove it"},
    };
    CHECK_EDITS(edits);
}

static void types(void **state)
{
    (void)state;
    static const struct edit edits[] = {
        {"name: Prices", "name: [Prices]", "book.yaml:1:7: name is a list; write a single value"},
        {"name: Prices", "name: {a: b}", "book.yaml:1:7: name is a mapping; write a single value"},
        {"name: Prices",
         "name:", "book.yaml:1:6: name is empty; give it a value or remove the key"},
        {"name: Prices", "name: ~",
         "book.yaml:1:7: name is empty; give it a value or remove the key"},
        {"name: Prices", "name: ''",
         "book.yaml:1:7: name is empty; give it a value or remove the key"},
        {"name: Prices", "name: \"a\\tb\"",
         "book.yaml:1:7: name holds a control character; remove it"},
        {"name: Prices", "name: \"a\\x7fb\"",
         "book.yaml:1:7: name holds a control character; remove it"},
        {"name: Prices", "name: !!int 3",
         "book.yaml:1:7: the tag tag:yaml.org,2002:int has no meaning here; remove it"},
        {"2027-01-01\nservices:", "2027-01-01\nservices: none\nrest:",
         "book.yaml:6:1: unknown key rest in the price book; known are name, currency, time_zone, "
         "effective_from, "
         "services"},
        {"services:", "services: !prices",
         "book.yaml:5:11: the tag !prices has no meaning here; remove it"},
        {"[{units: 50, price: 100000}, {units: 100, price: 150000}]", "50",
         "book.yaml:10:15: packages is a plain value; write a list"},
        {"[{units: 50, price: 100000}, {units: 100, price: 150000}]", "!!set [1]",
         "book.yaml:10:15: the tag tag:yaml.org,2002:set has no meaning here; remove it"},
        {"[{units: 50, price: 100000}, {units: 100, price: 150000}]", "[]",
         "book.yaml:10:15: packages is an empty list; fill it or remove the key"},
        {"[{units: 50, price: 100000}, {units: 100, price: 150000}]", "[50]",
         "book.yaml:10:16: a package is a plain value; write a mapping of keys to values"},
        {"custom: {minimum: 301, step: 1, price_per_step: 500}", "custom: [301]",
         "book.yaml:11:13: custom is a list; write a mapping of keys to values"},
        {"- {from: 20000, unit_price: 2.5}", "- [20000, 2.5]",
         "book.yaml:18:9: a tier is a list; write a mapping of keys to values"},
        {"units: 100,", "units: '100',",
         "book.yaml:10:52: units is quoted text; write the number without quotes"},
        {"units: 100,", "units: 100.0,",
         "book.yaml:10:52: units is \"100.0\"; write a whole number in decimal digits"},
        {"units: 100,", "units: 1_00,",
         "book.yaml:10:52: units is \"1_00\"; write a whole number in decimal digits"},
        {"units: 100,", "units: 0144,",
         "book.yaml:10:52: units is 0144, which some readers take for octal; write it without "
         "leading zeros"},
        {"units: 100,", "units: 0x64,",
         "book.yaml:10:52: units is \"0x64\"; write a whole number in decimal digits"},
        {"units: 100,", "units: 1e2,",
         "book.yaml:10:52: units is \"1e2\"; write a whole number in decimal digits"},
        {"units: 100,", "units: +100,",
         "book.yaml:10:52: units is \"+100\"; write a whole number in decimal digits"},
        {"units: 100,", "units: [100],", "book.yaml:10:52: units is a list; write a single value"},
        {"units: 100,", "units: -,",
         "book.yaml:10:52: units is \"-\"; write a whole number in decimal digits"},
    };
    CHECK_EDITS(edits);
}

// R1
static void prices(void **state)
{
    (void)state;
    static const struct edit edits[] = {
        {"unit_price: 2200", "unit_price: 2.555",
         "book.yaml:9:17: unit_price is 2.555 yuan, not a whole number of fen; round it to two "
         "decimals"},
        {"unit_price: 2200", "unit_price: 2.5000001",
         "book.yaml:9:17: unit_price is 2.5000001 yuan, not a whole number of fen; round it to two "
         "decimals"},
        {"unit_price: 2200", "unit_price: 0",
         "book.yaml:9:17: unit_price is 0 yuan; it must lie within 0.01 and 10000000.00"},
        {"unit_price: 2200", "unit_price: 0.00",
         "book.yaml:9:17: unit_price is 0.00 yuan; it must lie within 0.01 and 10000000.00"},
        {"unit_price: 2200", "unit_price: -5",
         "book.yaml:9:17: unit_price is -5 yuan; it must lie within 0.01 and 10000000.00"},
        {"unit_price: 2200", "unit_price: 10000000.01",
         "book.yaml:9:17: unit_price is 10000000.01 yuan; it must lie within 0.01 and 10000000.00"},
        {"unit_price: 2200", "unit_price: 99999999999999999999999999",
         "book.yaml:9:17: unit_price is 99999999999999999999999999 yuan; it must lie within 0.01 "
         "and 10000000.00"},
        {"unit_price: 2200", "unit_price: \"2200\"",
         "book.yaml:9:17: unit_price is quoted text; write the number without quotes"},
        {"unit_price: 2200", "unit_price: 2,200",
         "book.yaml:9:17: unit_price is \"2,200\"; write yuan in decimal digits, such as 2.5"},
        {"unit_price: 2200", "unit_price: .5",
         "book.yaml:9:17: unit_price is \".5\"; write yuan in decimal digits, such as 2.5"},
        {"unit_price: 2200", "unit_price: 5.",
         "book.yaml:9:17: unit_price is \"5.\"; write yuan in decimal digits, such as 2.5"},
        {"unit_price: 2200", "unit_price: 1e3",
         "book.yaml:9:17: unit_price is \"1e3\"; write yuan in decimal digits, such as 2.5"},
        {"unit_price: 2200", "unit_price: 2200 yuan",
         "book.yaml:9:17: unit_price is \"2200 yuan\"; write yuan in decimal digits, such as 2.5"},
        {"unit_price: 2200", "unit_price: 02200",
         "book.yaml:9:17: unit_price is 02200, which some readers take for octal; write it without "
         "leading zeros"},
        {"unit_price: 2200", "unit_price: .inf",
         "book.yaml:9:17: unit_price is \".inf\"; write yuan in decimal digits, such as 2.5"},
        {"price: 150000", "price: 100000000000.01",
         "book.yaml:10:64: price is 100000000000.01 yuan; it must lie within 0.01 and "
         "100000000000.00"},
        {"price_per_step: 1500", "price_per_step: 10000001",
         "book.yaml:19:59: price_per_step is 10000001 yuan; it must lie within 0.01 and "
         "10000000.00"},
        {"unit_price: 8", "unit_price: 8.123",
         "book.yaml:17:49: unit_price is 8.123 yuan, not a whole number of fen; round it to two "
         "decimals"},
    };
    CHECK_EDITS(edits);
}

// R62
static void prices_that_no_record_could_bear(void **state)
{
    (void)state;
    static const struct edit edits[] = {
        {"unit_price: 2.5}", "unit_price: 5000000.01}",
         "book.yaml:18:35: a call of 20000 units would cost more than 10^13 fen, so that every "
         "call "
         "of this tier would be rejected; lower the price or remove the tier"},
        {"minimum: 301, step: 1, price_per_step: 500}",
         "minimum: 10001, step: 1, price_per_step: 10000000}",
         "book.yaml:11:55: the minimum of 10001 units would cost more than 10^13 fen, so that no "
         "purchase would be taken; lower the price or the minimum"},
    };
    CHECK_EDITS(edits);
}

// R56
static void tiers(void **state)
{
    (void)state;
    static const struct edit edits[] = {
        {"from: 0,", "from: 1,",
         "book.yaml:16:16: tiers leave a gap: calls of 0 to 0 units have no price; let this tier "
         "begin at "
         "0"}, // gap at the beginning
        {"from: 10000,", "from: 10001,",
         "book.yaml:17:16: tiers leave a gap: calls of 10000 to 10000 units have no price; let "
         "this tier "
         "begin at 10000"}, // gap
        {"from: 20000,", "from: 30000,",
         "book.yaml:18:16: tiers leave a gap: calls of 20000 to 29999 units have no price; let "
         "this tier "
         "begin at 20000"},
        {"from: 10000,", "from: 9999,",
         "book.yaml:17:16: tiers overlap: calls of 9999 units have a price already; let each tier "
         "begin at "
         "the `below` of the one before it"}, // overlap
        {"below: 10000", "below: 10001",
         "book.yaml:17:16: tiers overlap: calls of 10000 units have a price already; let each tier "
         "begin "
         "at the `below` of the one before it"},
        {"from: 10000,", "from: 0,",
         "book.yaml:17:16: tiers overlap: calls of 0 units have a price already; let each tier "
         "begin at "
         "the `below` of the one before it"}, // the same tier again
        {"below: 20000, unit_price: 8", "unit_price: 8",
         "book.yaml:18:16: tiers overlap: calls of 20000 units have a price already; let each tier "
         "begin "
         "at the `below` of the one before it"}, // an open tier in the middle
        {"from: 20000,", "from: 5000,",
         // disorder
         "book.yaml:18:16: tiers are in disorder: from 5000 comes after from 10000; sort them"},
        {"from: 20000,", "from: 20000, below: 30000,",
         "book.yaml:18:9: tiers leave a gap: calls of 30000 units and more have no price; remove "
         "`below` "
         "from the last tier"}, // gap at the end
        {"below: 20000", "below: 10000",
         "book.yaml:17:30: the tier is empty: below 10000 is not above from 10000"}, // empty
        {"below: 20000", "below: 500",
         "book.yaml:17:30: the tier is empty: below 500 is not above from 10000"},
        {"below: 10000", "below: 0",
         "book.yaml:16:26: below is 0; it must lie within 1 and 1000000000"},
        {"from: 0,", "from: -1,",
         "book.yaml:16:16: from is -1; it must lie within 0 and 1000000000"},
        {"below: 20000", "below: 1000000001",
         "book.yaml:17:30: below is 1000000001; it must lie within 1 and 1000000000"},
        {"tiers:\n", "unit_price: 3\n    tiers:\n",
         "book.yaml:17:7: unit_price and tiers are both given; remove one"},
        {"    unit_price: 2200\n", "",
         "book.yaml:7:5: no postpaid price; give unit_price, or tiers for prices by the units of "
         "one call"},
        {"    unit_price: 2200\n", "    tiers: [{from: 0, unit_price: 2200}]\n",
         "book.yaml:9:12: tiers for a service billed by call; give unit_price"},
    };
    CHECK_EDITS(edits);
}

// R57
static void packages_and_custom_offers(void **state)
{
    (void)state;
    static const struct edit edits[] = {
        {"units: 100,", "units: 50,",
         "book.yaml:10:52: packages must rise: 50 units come after 50; sort them, each size once"},
        {"units: 100,", "units: 49,",
         "book.yaml:10:52: packages must rise: 49 units come after 50; sort them, each size once"},
        {"units: 100,", "units: 0,",
         "book.yaml:10:52: units is 0; it must lie within 1 and 1000000000"},
        {"units: 100,", "units: 1000000001,",
         "book.yaml:10:52: units is 1000000001; it must lie within 1 and 1000000000"},
        {"units: 100,", "units: 99999999999999999999999999,",
         "book.yaml:10:52: units is 99999999999999999999999999; it must lie within 1 and "
         "1000000000"},
        {"minimum: 301,", "minimum: 100,",
         "book.yaml:11:23: minimum 100 is not above the largest package of 100 units; a size must "
         "have one price only"},
        {"minimum: 801000,", "minimum: 801,",
         // the slip of unit on the billing page
         "book.yaml:19:23: minimum 801 is not a multiple of step 1000; choose one that is"},
        {"step: 1,", "step: 0,", "book.yaml:11:34: step is 0; it must lie within 1 and 1000000000"},
    };
    CHECK_EDITS(edits);
}

static void heads(void **state)
{
    (void)state;
    static const struct edit edits[] = {
        {"CNY", "USD", "book.yaml:2:11: currency is \"USD\"; only CNY is supported"},
        {"CNY", "[CNY]", "book.yaml:2:11: currency is a list; write a single value"},
        {"Asia/Shanghai", "Asia/Shanghia",
         "book.yaml:3:12: time_zone Asia/Shanghia is not supported; use Asia/Shanghai or UTC"},
        {"Asia/Shanghai", "[UTC]", "book.yaml:3:12: time_zone is a list; write a single value"},
        {"Asia/Shanghai", "An/Endless/Name/Of/A/Zone/That/Nobody/Could/Ever/Want/To/Have/In/Here",
         "book.yaml:3:12: time_zone has 69 bytes; the most is 63"},
        {"2027-01-01", "2027-02-29",
         "book.yaml:4:17: effective_from is \"2027-02-29\"; write a date of the calendar as "
         "YYYY-MM-DD"},
        {"2027-01-01", "2027-1-1",
         "book.yaml:4:17: effective_from is \"2027-1-1\"; write a date of the calendar as "
         "YYYY-MM-DD"},
        {"2027-01-01", "2027-01-01T00:00:00Z",
         "book.yaml:4:17: effective_from is \"2027-01-01T00:00:00Z\"; write a date of the calendar "
         "as YYYY-MM-DD"},
        {"2027-01-01", "tomorrow",
         "book.yaml:4:17: effective_from is \"tomorrow\"; write a date of the calendar as "
         "YYYY-MM-DD"},
        {"2027-01-01", "",
         "book.yaml:4:16: effective_from is empty; give it a value or remove the key"},
        {"unit: lead", "unit: call",
         "book.yaml:14:11: unit is \"call\"; PURCHASE_INTENT is billed by lead"},
        {"unit: lead", "unit: [lead]", "book.yaml:14:11: unit is a list; write a single value"},
        {"    name: 购车意向预判服务",
         "    name:", "book.yaml:13:10: name is empty; give it a value or remove the key"},
        {"购车意向预判服务", "购车意向预判服务购车意向预判服务购车意向预判服务购车意向预判服务",
         "book.yaml:13:11: name has 96 bytes; the most is 95"},
    };
    CHECK_EDITS(edits);
}

static const char *open_quote(int line, char out[160])
{
    snprintf(out, 160,
             "book.yaml:%d:1: not YAML: found unexpected end of stream, while scanning a quoted "
             "scalar; mend the syntax",
             line);
    return out;
}

static void a_quote_that_nobody_closes(void **state)
{
    (void)state;
    char first[160], second[160];
    const struct edit edits[] = {
        {"currency: CNY", "currency: \"CNY", open_quote(last_line(), first)},
        {"name: Prices\n", "name: Prices\n---\nname: \"Other\n",
         open_quote(last_line() + 2, second)},
    };
    CHECK_EDITS(edits);
}

static void syntax(void **state)
{
    (void)state;
    static const struct edit edits[] = {
        {"currency: CNY", "currency: CNY: x",
         "book.yaml:2:14: not YAML: mapping values are not allowed in this context; mend the "
         "syntax"},
        {"price: 150000}]", "price: 150000}",
         "book.yaml:11:5: not YAML: did not find expected ',' or ']', while parsing a flow "
         "sequence; mend the syntax"},
        {"currency: CNY", "\tcurrency: CNY",
         "book.yaml:2:1: not YAML: found a tab character that violates indentation, while scanning "
         "a plain scalar; "
         "mend the syntax"},
        {"currency: CNY", "currency: *unknown",
         "book.yaml:2:11: not YAML: found undefined alias; mend the syntax"},
        {"currency: CNY", "currency: \xff\xfe",
         "book.yaml:2:11: not YAML: invalid leading UTF-8 octet; mend the syntax"},
        {"人群", "人\xc3群",
         "book.yaml:7:13: not YAML: invalid trailing UTF-8 octet; mend the syntax"},
        {"name: Prices",
         "name: Pri\x01"
         "ces",
         "book.yaml:1:10: not YAML: control characters are not allowed; mend the syntax"},
        {"name: Prices\n", "name: Prices\n---\nname: Other\n",
         "book.yaml:3:1: a second document; a price book is one, write another file"},
    };
    CHECK_EDITS(edits);
}

static void books_that_are_no_mapping(void **state)
{
    (void)state;
    static const struct {
        const char *text, *error;
    } rows[] = {
        {"", "book.yaml:1:1: the file holds nothing; write a price book"},
        {"# nothing\n", "book.yaml:1:1: the file holds nothing; write a price book"},
        {"\n\n  prices\n",
         "book.yaml:3:3: the price book is a plain value; write a mapping of keys to values"},
        {"- a\n", "book.yaml:1:1: the price book is a list; write a mapping of keys to values"},
        // contains itself
        {"&a [*a]\n", "book.yaml:1:1: the price book is a list; write a mapping of keys to values"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct book book;
        assert_int_equal(parse(rows[i].text, &book), -1);
        assert_string_equal(error.text, rows[i].error);
    }
}

// ---- bounds ----

static void a_file_too_large(void **state)
{
    (void)state;
    char *text = malloc(BOOK_FILE_MAX + 1);
    assert_non_null(text);
    memset(text, '\n', BOOK_FILE_MAX + 1);
    memcpy(text, base, base_size - 1);
    struct book book;
    assert_int_equal(book_parse("book.yaml", text, BOOK_FILE_MAX, &book, &error), 0);
    assert_int_equal(book_parse("book.yaml", text, BOOK_FILE_MAX + 1, &book, &error), -1);
    assert_int_equal(error.kind, ERROR_CONFIG);
    char want[128];
    size_t lines = 0;
    for (size_t i = 0; i < BOOK_FILE_MAX; i++)
        lines += text[i] == '\n';
    snprintf(want, sizeof want, "book.yaml:%zu:1: the file has 1048577 bytes; the most is 1048576",
             lines + 1);
    assert_string_equal(error.text, want);
    free(text);
}

// Replaces the tiers by `count` of them, 10 units each.
static char *with_tiers(size_t count)
{
    char tiers[8192] = "- {from: 0, below: 10000, unit_price: 10}";
    char *p = tiers;
    for (size_t i = 0; i < count; i++) {
        p += sprintf(p, "%s- {from: %zu, ", i ? "\n      " : "", i * 10);
        p += i + 1 < count ? sprintf(p, "below: %zu, unit_price: 1}", (i + 1) * 10)
                           : sprintf(p, "unit_price: 1}");
    }
    return edited(&(struct edit){"- {from: 0, below: 10000, unit_price: 10}\n"
                                 "      - {from: 10000, below: 20000, unit_price: 8}\n"
                                 "      - {from: 20000, unit_price: 2.5}",
                                 tiers, NULL});
}

static void as_many_tiers_as_fit(void **state)
{
    (void)state;
    struct book book;
    char *text = with_tiers(BOOK_TIERS_MAX);
    assert_int_equal(parse(text, &book), 0);
    assert_int_equal(book.services[P].tier_count, BOOK_TIERS_MAX);
    free(text);
    text = with_tiers(BOOK_TIERS_MAX + 1);
    assert_int_equal(parse(text, &book), -1);
    assert_string_equal(error.text, "book.yaml:16:7: tiers has 33 entries; the most is 32");
    free(text);
}

static void a_name_of_the_longest_kind(void **state)
{
    (void)state;
    char put[BOOK_NAME_MAX + 8] = "name: ";
    memset(put + 6, 'x', BOOK_NAME_MAX - 1);
    char *text = edited(&(struct edit){"name: Prices", put, NULL});
    struct book book;
    assert_int_equal(parse(text, &book), 0);
    assert_int_equal(strlen(book.name), BOOK_NAME_MAX - 1);
    free(text);
    put[6 + BOOK_NAME_MAX - 1] = 'x';
    text = edited(&(struct edit){"name: Prices", put, NULL});
    assert_int_equal(parse(text, &book), -1);
    assert_string_equal(error.text, "book.yaml:1:7: name has 96 bytes; the most is 95");
    free(text);
}

// A book that lacks one byte, or is cut anywhere, is either parsed or refused with a place; nothing
// else may happen.
static void damaged_books_are_refused_with_a_place(void **state)
{
    (void)state;
    char text[sizeof base];
    struct book book;
    for (size_t i = 0; i + 1 < base_size; i++) {
        memcpy(text, base, i);
        memcpy(text + i, base + i + 1, base_size - i - 1);
        for (int cut = 0; cut < 2; cut++) {
            if (cut)
                text[i] = '\0';
            if (parse(text, &book) == 0)
                continue;
            assert_int_equal(error.kind, ERROR_CONFIG);
            const char *place = "book.yaml:";
            assert_memory_equal(error.text, place, strlen(place));
            char *end;
            unsigned long line = strtoul(error.text + strlen(place), &end, 10);
            assert_true(*end == ':' && strtoul(end + 1, &end, 10) >= 1 && *end == ':');
            assert_in_range(line, 1, last_line());
        }
    }
}

// ---- shelves ----

static struct book version(const char *sha, const char *from)
{
    struct book book = load_apcas();
    snprintf(book.sha256, sizeof book.sha256, "%s", sha);
    snprintf(book.name, sizeof book.name, "%s", sha);
    if (from)
        assert_true(calendar_parse_day(from, &book.effective_from));
    return book;
}

static void refused(struct shelf *shelf, struct book book, const char *text)
{
    size_t count = shelf->count;
    struct error e = {0};
    assert_int_equal(shelf_add(shelf, &book, &e), -1);
    assert_int_equal(e.kind, ERROR_CONFIG);
    assert_string_equal(e.text, text);
    assert_int_equal(shelf->count, count);
}

// R54
static void the_version_in_force(void **state)
{
    (void)state;
    struct shelf shelf = {0};
    assert_null(shelf_at(&shelf, 0));
    struct book first = version("v1", NULL), second = version("v2", "2027-01-01"),
                third = version("v3", "2027-01-02");
    assert_int_equal(shelf_add(&shelf, &first, NULL), 0);
    assert_int_equal(shelf_add(&shelf, &second, NULL), 0);
    assert_int_equal(shelf_add(&shelf, &third, NULL), 0);
    day_t day = second.effective_from;
    assert_string_equal(shelf_at(&shelf, 0)->name, "v1");
    assert_string_equal(shelf_at(&shelf, DAY_NONE)->name, "v1");
    assert_string_equal(shelf_at(&shelf, day - 1)->name, "v1");
    assert_string_equal(shelf_at(&shelf, day)->name, "v2");
    assert_string_equal(shelf_at(&shelf, day + 1)->name, "v3");
    assert_string_equal(shelf_at(&shelf, INT32_MAX)->name, "v3");
    assert_int_equal(shelf_add(&shelf, &first, NULL), 0); // there already
    assert_int_equal(shelf.count, 3);
    shelf_clear(&shelf);
    assert_int_equal(shelf.count, 0);
    shelf_clear(&shelf);
}

// R55
static void versions_out_of_order_are_refused(void **state)
{
    (void)state;
    struct shelf shelf = {0};
    refused(&shelf, version("v2", "2027-01-01"),
            "price book v2: the first version recorded has effective_from 2027-01-01, so earlier "
            "days would have no "
            "price; remove effective_from, or record the version before it first");
    struct book first = version("v1", NULL), second = version("v2", "2027-01-01");
    assert_int_equal(shelf_add(&shelf, &first, NULL), 0);
    refused(&shelf, version("v0", NULL),
            "price book v0: a first version is recorded already and recorded versions never "
            "change; give this one the "
            "effective_from from which it applies");
    assert_int_equal(shelf_add(&shelf, &second, NULL), 0);
    refused(&shelf, version("v3", "2027-01-01"),
            "price book v3: effective_from 2027-01-01 is not after 2027-01-01 of the newest "
            "version recorded; choose a "
            "later day");
    refused(&shelf, version("v3", "2026-12-31"),
            "price book v3: effective_from 2026-12-31 is not after 2027-01-01 of the newest "
            "version recorded; choose a "
            "later day");
    struct book elsewhere = version("v3", "2028-01-01");
    snprintf(elsewhere.time_zone, sizeof elsewhere.time_zone, "UTC");
    refused(&shelf, elsewhere,
            "price book v3: time_zone UTC differs from Asia/Shanghai of the versions recorded; it "
            "decides what a day "
            "is and never changes");
    elsewhere = version("v3", "2028-01-01");
    snprintf(elsewhere.currency, sizeof elsewhere.currency, "USD");
    refused(
        &shelf, elsewhere,
        "price book v3: currency USD differs from CNY of the versions recorded; it never changes");
    shelf_clear(&shelf);
}

static void a_full_shelf(void **state)
{
    (void)state;
    struct shelf shelf = {0};
    for (int i = 0; i < BOOK_SHELF_MAX; i++) {
        char name[16];
        snprintf(name, sizeof name, "v%d", i);
        struct book book = version(name, NULL);
        if (i > 0)
            book.effective_from = 20000 + i;
        assert_int_equal(shelf_add(&shelf, &book, NULL), 0);
    }
    refused(&shelf, version("one", "2099-01-01"),
            "price book one: 256 versions are recorded already, the most there can be");
    shelf_clear(&shelf);
}

int main(void)
{
    write_base();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_repositorys_book),
        cmocka_unit_test(a_later_version),
        cmocka_unit_test(the_sha256_is_that_of_the_bytes),
        cmocka_unit_test(symbols_of_services),
        cmocka_unit_test(forms_that_are_good),
        cmocka_unit_test(prices_are_fen_without_rounding),
        cmocka_unit_test(a_service_that_nobody_knows),
        cmocka_unit_test(keys),
        cmocka_unit_test(types),
        cmocka_unit_test(prices),
        cmocka_unit_test(prices_that_no_record_could_bear),
        cmocka_unit_test(tiers),
        cmocka_unit_test(packages_and_custom_offers),
        cmocka_unit_test(heads),
        cmocka_unit_test(a_quote_that_nobody_closes),
        cmocka_unit_test(syntax),
        cmocka_unit_test(books_that_are_no_mapping),
        cmocka_unit_test(a_file_too_large),
        cmocka_unit_test(as_many_tiers_as_fit),
        cmocka_unit_test(a_name_of_the_longest_kind),
        cmocka_unit_test(damaged_books_are_refused_with_a_place),
        cmocka_unit_test(the_version_in_force),
        cmocka_unit_test(versions_out_of_order_are_refused),
        cmocka_unit_test(a_full_shelf),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
