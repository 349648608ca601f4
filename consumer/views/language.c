#include "consumer/views/language.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ENGLISH(text, english, chinese) [TEXT_##text] = (english),
#define CHINESE(text, english, chinese) [TEXT_##text] = (chinese),
static const char *const texts[][TEXT_COUNT] = {
    [LANGUAGE_EN] = {TEXT_ROWS(ENGLISH)}, [LANGUAGE_ZH] = {TEXT_ROWS(CHINESE)}};

// The first one of these that is set decides, as POSIX has it.
static const char *locale_of_messages(void)
{
    static const char *const names[] = {"LC_ALL", "LC_MESSAGES", "LANG"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *value = getenv(names[i]);
        if (value && *value)
            return value;
    }
    return "C";
}

int language_choose(const struct args *args, enum language *out, struct error *e)
{
    const char *asked = args_get(args, "lang");
    const char *text = asked ? asked : locale_of_messages();
    *out = strncmp(text, "zh", 2) == 0 ? LANGUAGE_ZH : LANGUAGE_EN;
    if (!asked || strcmp(asked, "zh") == 0 || strcmp(asked, "en") == 0)
        return 0;
    return error_set(e, ERROR_USAGE, "option --lang: '%s' is neither zh nor en", asked);
}

const char *language_text(enum language language, enum text text)
{
    return texts[language][text];
}

void language_print(enum language language, enum text text, const char *const *values)
{
    size_t count = 0;
    while (values[count])
        count++;
    for (const char *at = language_text(language, text); *at; at++) {
        if (at[0] == '{' && at[1] >= '1' && at[1] <= '9' && at[2] == '}') {
            assert((size_t)(at[1] - '1') < count);
            fputs(values[at[1] - '1'], stdout);
            at += 2;
        } else {
            putchar(*at);
        }
    }
}

const char *language_service(enum language language, enum service service, const char *name)
{
    return language == LANGUAGE_ZH && name[0] ? name : service_symbol(service);
}
