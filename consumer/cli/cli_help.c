#include "consumer/cli/cli_help.h"

#include "pricing/error.h"

#include <assert.h>
#include <ctype.h>
#include <stdio.h>
#include <string.h>

static void print_usage(const struct verb *verb)
{
    printf("settled %s", verb->name);
    if (verb->config & TAKES_CONFIG)
        fputs(verb->config & CONFIG_REQUIRED ? " -c FILE" : " [-c FILE]", stdout);
    if (verb->options)
        fputs(" [OPTION...]", stdout);
    if (verb->actions)
        printf(strchr(verb->actions, '|') ? " (%s)" : " %s", verb->actions);
    if (verb->operands)
        printf(" %s", verb->operands);
}

void cli_print_overview(const struct verb *verbs)
{
    puts("settled bills API calls from Kafka: one settlement for each account and business day.\n\n"
         "Usage: settled VERB [OPTION...]\n\nVerbs:");
    for (const struct verb *v = verbs; v->name; v++)
        if (!v->hidden)
            printf("  %-10s %s\n", v->name, v->summary);
    puts("\n'settled VERB --help' explains one. Exit status:");
    for (enum error_kind k = ERROR_NONE; k < ERROR_KINDS; k++)
        printf("  %-2d  %s\n", error_exit_status(k), error_exit_text(k));
}

// Prints text in lines of at most 100 columns under a hanging indent; the cursor is at column
// `indent`.
static void print_wrapped(const char *text, int indent)
{
    enum { COLUMNS = 100 };
    int column = indent;
    while (*text) {
        int size = (int)strcspn(text, " \n");
        if (column > indent && column + 1 + size > COLUMNS) {
            printf("\n%*s", indent, "");
            column = indent;
        }
        if (column > indent)
            column += printf(" ");
        column += printf("%.*s", size, text);
        text += size;
        if (*text == '\n') {
            printf("\n%*s", indent, "");
            column = indent;
        }
        if (*text)
            text++;
    }
    putchar('\n');
}

static void print_options(const struct option_spec *list)
{
    for (; list && list->name; list++) {
        char left[96];
        snprintf(left, sizeof left, "%s%c%s--%s%s%s", list->letter ? "-" : " ",
                 list->letter ? list->letter : ' ', list->letter ? ", " : "  ", list->name,
                 list->value ? " " : "", list->value ? list->value : "");
        printf("  %-28s ", left);
        if (strlen(left) > 28)
            printf("\n%31s", "");
        print_wrapped(list->help, 31);
    }
}

void cli_print_verb_help(const struct verb *verb)
{
    fputs("Usage: ", stdout);
    print_usage(verb);
    printf("\n\n%c%s.\n", toupper((unsigned char)*verb->summary), verb->summary + 1);
    if (verb->about) {
        putchar('\n');
        print_wrapped(verb->about, 0);
    }
    puts("\nOptions:");
    print_options(verb->options);
    if (verb->config & TAKES_CONFIG)
        print_options(verb_config_options);
    print_options(verb_common_options);
}

// roff: a backslash and a hyphen mean something, and a line must not begin with a full stop or an
// apostrophe.
static void print_roff(const char *text)
{
    bool start = true;
    for (; *text; text++) {
        if (start && (*text == '.' || *text == '\''))
            fputs("\\&", stdout);
        if (*text == '\\')
            fputs("\\e", stdout);
        else if (*text == '-')
            fputs("\\-", stdout);
        else
            putchar(*text);
        start = *text == '\n';
    }
}

static void man_options(const struct option_spec *list)
{
    for (; list && list->name; list++) {
        puts(".TP");
        if (list->letter)
            printf("\\fB\\-%c\\fR, ", list->letter);
        fputs("\\fB\\-\\-", stdout);
        print_roff(list->name);
        fputs("\\fR", stdout);
        if (list->value)
            printf(" \\fI%s\\fR", list->value);
        putchar('\n');
        print_roff(list->help);
        puts(".");
    }
}

static void man_verb(const struct verb *verb)
{
    printf(".SS settled %s", verb->name);
    if (verb->actions)
        printf(" %s", verb->actions);
    if (verb->operands)
        printf(" %s", verb->operands);
    printf("\n%c", toupper((unsigned char)*verb->summary));
    print_roff(verb->summary + 1);
    puts(".");
    if (verb->about) {
        puts(".PP");
        for (const char *c = verb->about; *c;) { // each line of the text is a paragraph
            char line[2048];
            size_t size = strcspn(c, "\n");
            assert(size + 2 <= sizeof line);
            snprintf(line, sizeof line, "%.*s\n", (int)size, c);
            print_roff(line);
            c += size + (c[size] == '\n');
            if (*c)
                puts(".PP");
        }
    }
    man_options(verb->options);
}

void cli_print_man(const struct verb *verbs)
{
    puts(".TH SETTLED 1\n.SH NAME\nsettled \\- bills API calls from Kafka\n.SH SYNOPSIS\n"
         ".B settled\n.I VERB\n[\\fIOPTION\\fR...]\n.SH DESCRIPTION\n"
         "settled reads call records, package purchases and account credits from Kafka and gives "
         "each account\n"
         "exactly one settlement for a business day, in PostgreSQL and as Kafka records.\n.SH "
         "VERBS");
    for (const struct verb *v = verbs; v->name; v++)
        if (!v->hidden)
            man_verb(v);
    puts(".SH COMMON OPTIONS\nVerbs that read a configuration take the first two.");
    man_options(verb_config_options);
    man_options(verb_common_options);
    puts(".SH EXIT STATUS");
    for (enum error_kind k = ERROR_NONE; k < ERROR_KINDS; k++)
        printf(".TP\n.B %d\n%s.\n", error_exit_status(k), error_exit_text(k));
    puts(".SH ENVIRONMENT\n.TP\n.B SETTLED_SECTION_KEY\nSets a key of the configuration, for "
         "example\n"
         "SETTLED_KAFKA_BROKERS; it wins over the file.\n.TP\n.B SETTLED_SECTION_KEY_FILE\n"
         "Names a file that holds the value, for secrets.");
}

static void completion_options(const struct option_spec *list)
{
    for (; list && list->name; list++)
        printf(" --%s", list->name);
}

static void completion_choices(const char *choices)
{
    const char *choice;
    size_t size;
    while (verb_next_choice(&choices, &choice, &size))
        printf(" %.*s", (int)size, choice);
}

static void completion_values(const struct option_spec *list)
{
    for (; list && list->name; list++) {
        if (!list->value)
            continue;
        if (strchr(list->value, '|')) {
            printf("        --%s) COMPREPLY=($(compgen -W \"", list->name);
            completion_choices(list->value);
            puts("\" -- \"$word\")); return ;;");
        } else if (strcmp(list->value, "FILE") == 0) {
            printf("        --%s", list->name);
            if (list->letter)
                printf("|-%c", list->letter);
            puts(") COMPREPLY=($(compgen -f -- \"$word\")); return ;;");
        }
    }
}

static void completion_verb(const struct verb *verb)
{
    printf("    %s)\n        case $before in\n", verb->name);
    completion_values(verb->options);
    if (verb->config & TAKES_CONFIG)
        completion_values(verb_config_options);
    fputs("        esac\n        words=\"", stdout);
    if (verb->actions)
        completion_choices(verb->actions);
    completion_options(verb->options);
    if (verb->config & TAKES_CONFIG)
        completion_options(verb_config_options);
    completion_options(verb_common_options);
    puts("\" ;;");
}

void cli_print_bash_completion(const struct verb *verbs)
{
    puts("# bash completion for settled\n_settled()\n{\n    local word=${COMP_WORDS[COMP_CWORD]} "
         "before=${COMP_WORDS[COMP_CWORD-1]} words=\n    if [ \"$COMP_CWORD\" -eq 1 ]; then");
    fputs("        COMPREPLY=($(compgen -W \"--help --version", stdout);
    for (const struct verb *v = verbs; v->name; v++)
        if (!v->hidden)
            printf(" %s", v->name);
    puts("\" -- \"$word\"))\n        return\n    fi\n    case ${COMP_WORDS[1]} in");
    for (const struct verb *v = verbs; v->name; v++)
        completion_verb(v);
    puts("    esac\n    COMPREPLY=($(compgen -W \"$words\" -- \"$word\"))\n}\ncomplete -F _settled "
         "settled");
}
