// Ids of schemas that stand in headers instead of before the value. Serializers may be told to
// write them so. Such a value has no framing, but may begin with a zero byte as well, and then
// looks as if it had one.
#pragma once

#include <librdkafka/rdkafka.h>
#include <stdint.h>

// X(header, remedy) each, by the names of their makers.
#define ID_HEADER_ROWS(X)                                                                          \
    X("__value_schema_id", "the PrefixSchemaIdSerializer")                                         \
    X("apicurio.value.globalId", "apicurio.registry.headers.enabled=false")                        \
    X("apicurio.value.contentId", "apicurio.registry.headers.enabled=false")                       \
    X("apicurio.value.contentHash", "apicurio.registry.headers.enabled=false")                     \
    X("apicurio.value.artifactId", "apicurio.registry.headers.enabled=false")

// The number of the row whose header the message has, from 1; 0: none of them. The message is one
// that librdkafka has consumed.
uint8_t id_header_of(const rd_kafka_message_t *message);
// The detail of the reject of such a message.
const char *id_header_text(uint8_t number);
