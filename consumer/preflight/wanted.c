#include "consumer/preflight/wanted.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { ASK_MS = 15000 };

static int count_partitions(const struct config *config, rd_kafka_t *client, int32_t *out,
                            struct error *e)
{
    int32_t partitions[INPUT_COUNT];
    for (int i = 0; i < INPUT_COUNT; i++)
        if (client_partitions(client, config->input_topics[i], ASK_MS, &partitions[i], e))
            return -1;
    for (int i = 1; i < INPUT_COUNT; i++)
        if (partitions[i] != partitions[0])
            return error_set(e, ERROR_CONFIG,
                             "topic %s has %" PRId32 " partitions and %s has %" PRId32
                             "; the three inputs need one count",
                             config->input_topics[0], partitions[0], config->input_topics[i],
                             partitions[i]);
    assert(partitions[0] > 0); // a topic without partitions was refused
    *out = partitions[0];
    return 0;
}

static int ask_id(rd_kafka_t *client, char *out, size_t size, struct error *e)
{
    char *cluster = rd_kafka_clusterid(client, ASK_MS);
    if (!cluster)
        return error_set(e, ERROR_UNAVAILABLE, "Kafka does not tell the id of its cluster");
    snprintf(out, size, "%s", cluster);
    rd_kafka_mem_free(client, cluster);
    return 0;
}

int wanted_ask_cluster(const struct config *config, struct wanted *wanted, struct error *e)
{
    struct deployment *out = &wanted->deployment;
    const char *pairs[CONFIG_PAIRS_MAX][2];
    struct client_properties properties = config_properties(config, pairs);
    rd_kafka_conf_t *conf = client_conf(NULL, &properties, e);
    rd_kafka_t *client = conf ? client_create(RD_KAFKA_CONSUMER, conf, e) : NULL;
    if (!client)
        return -1;
    int failed = count_partitions(config, client, &out->policy.fixed.partitions, e) ||
                 ask_id(client, out->cluster_id, sizeof out->cluster_id, e);
    rd_kafka_destroy(client);
    return failed ? -1 : 0;
}

static void fill(const struct config *config, const struct book *book, struct deployment *out)
{
    struct policy *policy = &out->policy;
    policy->fixed.first_day = config->first_day;
    policy->fixed.timestamps = config->timestamps;
    policy->fixed.partitioner = config->partitioner;
    policy->fixed.framing = config->framing;
    snprintf(policy->fixed.time_zone, sizeof policy->fixed.time_zone, "%s", book->time_zone);
    policy->count = 1;
    policy->rows[0] = config->parameters;
    policy->rows[0].from_day = DAY_NONE;
    memcpy(policy->rows[0].book_sha256, book->sha256, sizeof book->sha256);
    snprintf(out->group, sizeof out->group, "%s", config->group);
    for (int i = 0; i < INPUT_COUNT; i++)
        snprintf(out->topics[i], sizeof out->topics[i], "%s", config->input_topics[i]);
}

int wanted_read(const struct config *config, struct wanted *out, struct error *e)
{
    memset(out, 0, sizeof *out);
    out->book = malloc(sizeof *out->book);
    if (!out->book)
        return error_set(e, ERROR_RESTART, "memory is short");
    if (config_read_book(config, out->book, &out->book_text, &out->book_size, e))
        return -1;
    fill(config, out->book, &out->deployment);
    return 0;
}

void wanted_free(struct wanted *wanted)
{
    shelf_clear(&wanted->deployment.policy.shelf);
    free(wanted->book_text);
    free(wanted->book);
    wanted->book_text = NULL;
    wanted->book = NULL;
}

int wanted_record(struct wanted *wanted, struct store *store, enum record_mode mode,
                  struct recorded_change *change, struct error *e)
{
    struct recording recording = {mode, wanted->book_text, wanted->book_size};
    return store_record_deployment(store, &wanted->deployment, &recording, change, e) == STORE_OK
               ? 0
               : -1;
}

static void name_book(const struct book *book, char out[RECORDED_TEXT_SIZE])
{
    snprintf(out, RECORDED_TEXT_SIZE, "%s (%s)", book->sha256, book->name);
}

size_t wanted_compare(const struct parameters *configured, const struct book *book,
                      const struct policy *recorded, struct recorded_value out[RECORDED_VALUES_MAX])
{
    assert(recorded->count > 0);
    assert(recorded->shelf.count > 0);
    const struct book *last = recorded->shelf.books[recorded->shelf.count - 1];
    size_t count = config_compare_parameters(configured, &recorded->rows[recorded->count - 1], out);
    assert(count < RECORDED_VALUES_MAX);
    struct recorded_value *value = &out[count++];
    snprintf(value->key, sizeof value->key, "pricing.book");
    value->differs = strcmp(book->sha256, last->sha256) != 0;
    name_book(book, value->configured);
    name_book(last, value->recorded);
    return count;
}
