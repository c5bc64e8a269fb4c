/* The table of drivers. A broker is added by one row here and one file driver_*.c. */
#include "perf/load/drivers.h"

#include <stdio.h>

static const struct driver_ops *const drivers[] = {
    &driver_kafka_raw,
    &driver_native,
    &driver_rdkafka,
    &driver_redis,
#ifdef HAS_LIBNATS
    &driver_nats,
#endif
#ifdef HAS_LIBRABBITMQ
    &driver_rabbitmq,
#endif
};

const struct driver_ops *
driver_find(const char *name)
{
    for (size_t i = 0; i < ARRAY_COUNT(drivers); i++)
        if (strcmp(drivers[i]->name, name) == 0)
            return drivers[i];
    return NULL;
}

void
driver_list(void)
{
    for (size_t i = 0; i < ARRAY_COUNT(drivers); i++)
        printf("%-14s %s\n", drivers[i]->name, drivers[i]->label);
#ifndef HAS_LIBNATS
    printf("# nats is not built in: libnats was not found\n");
#endif
#ifndef HAS_LIBRABBITMQ
    printf("# rabbitmq is not built in: librabbitmq was not found\n");
#endif
}
