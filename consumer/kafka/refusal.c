#include "consumer/kafka/refusal.h"

#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { NAME_SIZE = 300, WORD_SIZE = 2 * NAME_SIZE, SCRAM_MENDED = 0x020601ff };

// ---- the client ----

// "" where the property is not set.
static void property(const rd_kafka_t *client, const char *name, char out[NAME_SIZE])
{
    size_t size = NAME_SIZE;
    // librdkafka only reads it
    rd_kafka_t *asked = (rd_kafka_t *)(uintptr_t)client;
    if (rd_kafka_conf_get(rd_kafka_conf(asked), name, out, &size) != RD_KAFKA_CONF_OK)
        out[0] = '\0';
    out[NAME_SIZE - 1] = '\0';
}

// What the brokers call the client; false: only they know (Kerberos, a token, a certificate).
static bool principal(const rd_kafka_t *client, char out[NAME_SIZE + 8])
{
    char name[NAME_SIZE], protocol[NAME_SIZE], file[NAME_SIZE], store[NAME_SIZE];
    property(client, "sasl.username", name);
    property(client, "security.protocol", protocol);
    property(client, "ssl.certificate.location", file);
    property(client, "ssl.keystore.location", store);
    bool named = name[0] && strncmp(protocol, "sasl", 4) == 0;
    bool nobody = strncmp(protocol, "sasl", 4) != 0 && !file[0] && !store[0];
    snprintf(out, NAME_SIZE + 8, "User:%s", named ? name : nobody ? "ANONYMOUS" : "NAME");
    return named || nobody;
}

// ---- the command ----

// As a word of a shell.
static void quote(const char *text, char out[WORD_SIZE])
{
    static const char safe[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                               "._-:,/@%+=";
    size_t used = 0;
    bool plain = *text && text[strspn(text, safe)] == '\0';
    if (plain) {
        snprintf(out, WORD_SIZE, "%s", text);
        return;
    }
    out[used++] = '\'';
    for (; *text && used < WORD_SIZE - 6; text++)
        if (*text == '\'')
            used += (size_t)snprintf(out + used, WORD_SIZE - used, "'\\''");
        else
            out[used++] = *text;
    snprintf(out + used, WORD_SIZE - used, "'");
}

static const struct {
    unsigned operation;
    const char *name; // as kafka-acls has it
    const char *act; // that the user may not do
} operations[] = {
    {REFUSAL_READ, "Read", "read it"},
    {REFUSAL_WRITE, "Write", "write to it"},
    {REFUSAL_DESCRIBE_CONFIGS, "DescribeConfigs", "see its settings"},
};
enum { OPERATIONS = sizeof operations / sizeof *operations };

// Of the call, what the refusal is about.
struct refused {
    const char *kind, *option; // in words; of kafka-acls
    const char *name; // NULL: there is only one
    unsigned operations;
    const char *act;
};

static struct refused of_topic(const struct refusal_call *call)
{
    struct refused r = {"topic", "--topic", call->topic, call->operations, "see it"};
    for (int i = 0; i < OPERATIONS; i++)
        if (call->operations == operations[i].operation)
            r.act = operations[i].act;
    return r;
}

// False: it was not refused for want of a permission.
static bool find_refused(rd_kafka_resp_err_t code, const struct refusal_call *call,
                         struct refused *out)
{
    switch (code) {
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
        *out = of_topic(call);
        break;
    case RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED:
        *out = (struct refused){"group", "--group", call->group, REFUSAL_READ, "use it"};
        break;
    case RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED:
        *out = (struct refused){call->prefix ? "transactional ids with the prefix"
                                             : "transactional id",
                                "--transactional-id", call->transactional_id, REFUSAL_WRITE,
                                call->prefix ? "use them" : "use it"};
        break;
    // An idempotent producer may begin when it may write to any topic.
    case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
        *out = call->cluster ? (struct refused){"the cluster", "--cluster", NULL,
                                                REFUSAL_DESCRIBE_CONFIGS, "see its settings"}
                             : of_topic(call);
        break;
    default:
        return false;
    }
    return out->name || call->cluster;
}

static void write_command(const rd_kafka_t *client, const struct refused *r, bool prefix,
                          char out[REFUSAL_COMMAND_SIZE])
{
    char brokers[NAME_SIZE], user[NAME_SIZE + 8], word[WORD_SIZE];
    property(client, "bootstrap.servers", brokers);
    (void)principal(client, user);
    quote(user, word);
    size_t used = (size_t)snprintf(out, REFUSAL_COMMAND_SIZE,
                                   "kafka-acls --bootstrap-server %.100s --add --allow-principal "
                                   "%.120s",
                                   brokers, word);
    for (int i = 0; i < OPERATIONS && used < REFUSAL_COMMAND_SIZE; i++)
        if (r->operations & operations[i].operation)
            used += (size_t)snprintf(out + used, REFUSAL_COMMAND_SIZE - used, " --operation %s",
                                     operations[i].name);
    quote(r->name ? r->name : "", word);
    if (used < REFUSAL_COMMAND_SIZE)
        snprintf(out + used, REFUSAL_COMMAND_SIZE - used, " %s%s%s%s", r->option,
                 r->name ? " " : "", r->name ? word : "",
                 prefix ? " --resource-pattern-type prefixed" : "");
}

// ---- what is told ----

bool refusal_of_permission(rd_kafka_resp_err_t code)
{
    return code == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED ||
           code == RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED ||
           code == RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED ||
           code == RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED;
}

const char *refusal_command(const rd_kafka_t *client, rd_kafka_resp_err_t code,
                            const struct refusal_call *call, char out[REFUSAL_COMMAND_SIZE])
{
    struct refused r;
    bool found = find_refused(code, call, &r);
    assert(found);
    out[0] = '\0';
    if (found)
        write_command(client, &r, call->prefix && r.name == call->transactional_id, out);
    return out;
}

bool refusal_explain(const rd_kafka_t *client, rd_kafka_resp_err_t code,
                     const struct refusal_call *call, struct error *e)
{
    struct refused r;
    char command[REFUSAL_COMMAND_SIZE], user[NAME_SIZE + 8];
    if (!find_refused(code, call, &r))
        return false;
    bool known = principal(client, user);
    error_set(e, ERROR_CONFIG, "%s%s%.120s: %.120s may not %s; grant it: %s%s", r.kind,
              r.name ? " " : "", r.name ? r.name : "", known ? user : "this user", r.act,
              refusal_command(client, code, call, command),
              known ? "" : " (NAME: what the brokers call this client)");
    return true;
}

// An old librdkafka's SCRAM is not what today's brokers speak, and looks like a wrong password.
static bool scram_fails(const rd_kafka_t *client)
{
    char mechanism[NAME_SIZE];
    property(client, "sasl.mechanism", mechanism);
    return strncmp(mechanism, "SCRAM-", 6) == 0 && rd_kafka_version() < SCRAM_MENDED;
}

void refusal_of_login(const rd_kafka_t *client, const char *reason, struct error *e)
{
    char user[NAME_SIZE + 8];
    bool known = principal(client, user);
    if (scram_fails(client))
        error_set(e, ERROR_CONFIG,
                  "Kafka refuses the login of %.120s (%.300s): librdkafka %s cannot log in by "
                  "SCRAM at brokers of Apache Kafka 3.9 or later, and calls a right password "
                  "invalid; use librdkafka 2.6.1 or later, or SASL/PLAIN over TLS",
                  known ? user : "this user", reason, rd_kafka_version_str());
    else
        error_set(e, ERROR_CONFIG,
                  "Kafka refuses the login of %.120s (%.300s): mend sasl.mechanism, sasl.username "
                  "and sasl.password in kafka.properties",
                  known ? user : "this user", reason);
}
