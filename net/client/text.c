/* Result codes as text, and the server's numbers as result codes. */
#include "net/client/client_parts.h"

#include "net/kafka/kafka_error.h"

#include <stdarg.h>
#include <stdio.h>

#ifndef EAGRE_VERSION_TEXT
#define EAGRE_VERSION_TEXT "0.1.0"
#endif

const char *
eagre_rc_text(int rc)
{
    static const char *const texts[] = {
        [EAGRE_OK] = "done",
        [EAGRE_AGAIN] = "not now, poll and try again",
        [EAGRE_TIMED_OUT] = "timed out",
        [EAGRE_INVALID] = "an argument or option is out of its range",
        [EAGRE_NO_MEMORY] = "no memory",
        [EAGRE_LIMIT] = "a limit is reached",
        [EAGRE_TOO_LARGE] = "larger than batch or topic allow",
        [EAGRE_UNREACHABLE] = "nobody answers at the address",
        [EAGRE_DENIED] = "credentials, certificate or rights do not suffice",
        [EAGRE_UNSUPPORTED] = "not supported",
        [EAGRE_NOT_FOUND] = "no such topic or partition",
        [EAGRE_OFFSET_GONE] = "the offset is outside of what is kept",
        [EAGRE_REFUSED] = "the server refused the batch",
        [EAGRE_SEQUENCE_LOST] = "the server forgot this producer; whether it is stored is unknown",
        [EAGRE_CORRUPT] = "received records are damaged",
        [EAGRE_CLOSED] = "closed before it was done",
    };
    if (rc < 0 || (size_t)rc >= ARRAY_COUNT(texts))
        return "an unknown result code";
    return texts[rc];
}

const char *
eagre_version(void)
{
    return EAGRE_VERSION_TEXT;
}

int
client_rc_of_server(int error)
{
    switch (error) {
    case KAFKA_ERROR_NONE:
        return EAGRE_OK;
    case KAFKA_ERROR_OFFSET_OUT_OF_RANGE:
        return EAGRE_OFFSET_GONE;
    case KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION:
    case KAFKA_ERROR_UNKNOWN_TOPIC_ID:
    case KAFKA_ERROR_INCONSISTENT_TOPIC_ID:
        return EAGRE_NOT_FOUND;
    case KAFKA_ERROR_MESSAGE_TOO_LARGE:
    case KAFKA_ERROR_RECORD_LIST_TOO_LARGE:
        return EAGRE_TOO_LARGE;
    case KAFKA_ERROR_INVALID_TOPIC_EXCEPTION:
        return EAGRE_INVALID;
    case KAFKA_ERROR_TOPIC_AUTHORIZATION_FAILED:
    case KAFKA_ERROR_CLUSTER_AUTHORIZATION_FAILED:
        return EAGRE_DENIED;
    case KAFKA_ERROR_UNSUPPORTED_VERSION:
    case KAFKA_ERROR_UNSUPPORTED_COMPRESSION_TYPE:
        return EAGRE_UNSUPPORTED;
    case KAFKA_ERROR_POLICY_VIOLATION:
    case KAFKA_ERROR_THROTTLING_QUOTA_EXCEEDED:
        return EAGRE_LIMIT;
    case KAFKA_ERROR_UNKNOWN_PRODUCER_ID:
        return EAGRE_SEQUENCE_LOST;
    default:
        return EAGRE_REFUSED;
    }
}

bool
client_error_is_passing(int error)
{
    switch (error) {
    case KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION: /* a stale place; asked for again */
    case KAFKA_ERROR_LEADER_NOT_AVAILABLE:
    case KAFKA_ERROR_NOT_LEADER_OR_FOLLOWER:
    case KAFKA_ERROR_REQUEST_TIMED_OUT:
    case KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE:
    case KAFKA_ERROR_KAFKA_STORAGE_ERROR: /* no space, or fenced until a restart */
    case KAFKA_ERROR_FENCED_LEADER_EPOCH:
    case KAFKA_ERROR_UNKNOWN_LEADER_EPOCH:
    case KAFKA_ERROR_OFFSET_NOT_AVAILABLE:
    case KAFKA_ERROR_THROTTLING_QUOTA_EXCEEDED:
    case KAFKA_ERROR_UNKNOWN_TOPIC_ID:
    case KAFKA_ERROR_INCONSISTENT_TOPIC_ID:
        return true;
    default:
        return false;
    }
}

void
client_text(char *to, size_t capacity, const char *format, ...)
{
    va_list arguments;

    if (to == NULL || capacity == 0)
        return;
    va_start(arguments, format);
    vsnprintf(to, capacity, format, arguments);
    va_end(arguments);
}

void
client_say(struct eagre_client *client, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(client->why, sizeof(client->why), format, arguments);
    va_end(arguments);
}
