/* Names of request kinds: the only code of this folder, which is otherwise two headers. */
#include "net/request/request.h"

#include "net/request/topic_snapshot.h"

_Static_assert(offsetof(struct topic_snapshot, partitions) % _Alignof(struct partition_ref) == 0,
               "references follow the fixed part");
_Static_assert(sizeof(struct partition_ref) == 16, "four to a cache line");

const char *
request_kind_name(uint8_t kind)
{
    static const char *const names[] = {
        [REQUEST_PRODUCE] = "PRODUCE",
        [REQUEST_READ] = "READ",
        [REQUEST_ARM] = "ARM",
        [REQUEST_OFFSETS] = "OFFSETS",
        [REQUEST_FIND_TIME] = "FIND_TIME",
        [REQUEST_FIND_MAX_TIME] = "FIND_MAX_TIME",
        [REQUEST_EPOCH_END] = "EPOCH_END",
        [REQUEST_OPEN] = "OPEN",
        [REQUEST_DROP] = "DROP",
        [REQUEST_CONFIGURE] = "CONFIGURE",
        [REQUEST_TRIM] = "TRIM",
        [REQUEST_STOP] = "STOP",
        [REQUEST_TXN_ADMIT] = "TXN_ADMIT",
        [REQUEST_TXN_MARKER] = "TXN_MARKER",
        [REQUEST_PRODUCERS] = "PRODUCERS",
        [REQUEST_KAFKA] = "KAFKA",
        [REQUEST_TOPIC_SEEN] = "TOPIC_SEEN",
        [REQUEST_HTTP] = "HTTP",
    };

    return kind < ARRAY_COUNT(names) && names[kind] != NULL ? names[kind] : "?";
}
