/* The drivers; those of optional libraries are there where CMakeLists.txt found them. */
#ifndef EAGRE_PERF_LOAD_DRIVERS_H
#define EAGRE_PERF_LOAD_DRIVERS_H

#include "perf/load/bench.h"

extern const struct driver_ops driver_kafka_raw;
extern const struct driver_ops driver_native;
extern const struct driver_ops driver_nats;
extern const struct driver_ops driver_rabbitmq;
extern const struct driver_ops driver_rdkafka;
extern const struct driver_ops driver_redis;

#endif
