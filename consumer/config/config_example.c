#include "consumer/config/config_table.h"

#include <ctype.h>
#include <string.h>

static void print_comment(FILE *out, const char *text)
{
    while (*text) {
        size_t size = strcspn(text, "\n");
        fprintf(out, "  # %.*s\n", (int)size, text);
        text += size + (text[size] == '\n');
    }
}

static void print_value(FILE *out, const struct config_key *key)
{
    const char *value = key->text ? key->text : key->example;
    fprintf(out, "  %s%s: %s", key->text || key->required ? "" : "# ", key->name,
            *value ? value : "\"\"");
    if (key->choices) {
        fputs("  # ", out);
        for (const char *c = key->choices; *c; c++) {
            if (*c == '|')
                fputs(", ", out);
            else
                fputc(*c, out);
        }
    }
    if (key->required)
        fputs("  # required, no default", out);
    fputc('\n', out);
}

void config_print_example(FILE *out)
{
    fputs("# Configuration of settled: every key with its default; keys without one are commented "
          "out. Any key may be\n"
          "# left out. The environment wins: SETTLED_KAFKA_BROKERS is kafka.brokers, and "
          "SETTLED_POSTGRES_DSN_FILE\n"
          "# names a file that holds postgres.dsn. 'settled help --config-example' prints this "
          "file, and 'settled\n"
          "# check' checks a configuration.\n",
          out);
    const char *section = "";
    for (const struct config_key *k = config_keys; k->name; k++) {
        if (strcmp(section, k->section) != 0)
            fprintf(out, "\n%s:\n", k->section);
        section = k->section;
        if (k->help)
            print_comment(out, k->help);
        print_value(out, k);
    }
}
