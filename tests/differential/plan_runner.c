// Runs the plan over the cases of fastavro_plan.py, which knows the outcome of each. Reads lines
//   READER JSON <tab> WRITER JSON <tab> BODY in hex
// and prints, for each, one of
//   INCOMPATIBLE <tab> reason
//   UNDECODABLE <tab> detail
//   OK <tab> nulls <tab> unknown {<tab> number[:text in hex]}
#include "consumer/avro/plan_program.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int nibble(char c)
{
    return c <= '9' ? c - '0' : c - 'a' + 10;
}

static void print_record(const struct record *record)
{
    printf("OK\t%" PRIu32 "\t%" PRIu32, record->nulls, record->unknown);
    for (unsigned f = 0; f < RECORD_FIELDS_MAX; f++) {
        const struct value *value = &record->field[f];
        printf("\t%" PRId64, value->number);
        if (value->data)
            putchar(':');
        for (int64_t i = 0; value->data && i < value->number; i++)
            printf("%02x", (unsigned char)value->data[i]);
    }
    putchar('\n');
}

static void run(const char *reader, const char *writer, const char *hex)
{
    struct plan *plan = NULL;
    struct error e = {0};
    if (plan_compile_schemas(reader, strlen(reader), writer, strlen(writer), &plan, &e)) {
        printf("INCOMPATIBLE\t%s\n", e.text);
        return;
    }
    size_t size = strlen(hex) / 2;
    uint8_t *body = malloc(size + 1);
    if (!body)
        abort();
    for (size_t i = 0; i < size; i++)
        body[i] = (uint8_t)(nibble(hex[2 * i]) << 4 | nibble(hex[2 * i + 1]));
    struct record record;
    char detail[REJECT_DETAIL_SIZE];
    if (plan_decode(plan, body, size, &record, detail) == PLAN_OK)
        print_record(&record);
    else
        printf("UNDECODABLE\t%s\n", detail);
    free(body);
    plan_destroy(plan);
}

int main(int argc, char **argv)
{
    FILE *file = argc == 2 ? fopen(argv[1], "r") : NULL;
    if (!file) {
        fprintf(stderr, "plan_runner CASES\n");
        return 64;
    }
    char *line = NULL;
    size_t room = 0;
    while (getline(&line, &room, file) > 0) {
        line[strcspn(line, "\n")] = '\0';
        char *writer = strchr(line, '\t'), *hex = writer ? strchr(writer + 1, '\t') : NULL;
        if (!hex) {
            fprintf(stderr, "plan_runner: a line of fewer than three parts\n");
            return 65;
        }
        *writer++ = *hex++ = '\0';
        run(line, writer, hex);
    }
    free(line);
    fclose(file);
    return 0;
}
