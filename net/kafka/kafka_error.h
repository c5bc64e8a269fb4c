/* Kafka error codes, and how our result codes become them. Pure; any core; allocates nothing; never
 * blocks.
 *
 * Old clients take a code they do not know for a fatal one, so a code newer than the request's
 * version is replaced by the older code with the same reaction: kafka_error_for_version(), which
 * kafka_error_from_rc() applies. */
#ifndef EAGRE_NET_KAFKA_KAFKA_ERROR_H
#define EAGRE_NET_KAFKA_KAFKA_ERROR_H

#include "engine/base/base.h"
#include "engine/base/rc.h"

enum kafka_error {
#define KAFKA_ERROR(name, code) KAFKA_ERROR_##name = code,
#include "net/kafka/kafka_error.def"
#undef KAFKA_ERROR
};

/* The code that answers rc in a response of this API and version. api_key: enum kafka_api_key. */
int16_t kafka_error_from_rc(enum rc rc, int16_t api_key, int16_t version);

/* The code itself, or the older one that a client of this version understands. */
int16_t kafka_error_for_version(int16_t error, int16_t api_key, int16_t version);

/* "CORRUPT_MESSAGE"; static; "UNLISTED" for codes not in kafka_error.def. */
const char *kafka_error_name(int16_t error);

#endif
