#include "consumer/commands/commands.h"

#include <libpq-fe.h>
#include <librdkafka/rdkafka.h>
#include <stdio.h>

int cmd_version(const struct args *args)
{
    (void)args;
    int pq = PQlibVersion();
    printf("settled %s (%s)\nlibrdkafka %s\navro-c %s\nlibpq %d.%d\n", SETTLED_VERSION,
           SETTLED_COMMIT, rd_kafka_version_str(), SETTLED_AVRO_VERSION, pq / 10000, pq % 10000);
    return 0;
}
