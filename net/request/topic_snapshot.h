/* What a gate must know of a topic to route its records: sent by the control tile on every change,
 * immutable. */
#ifndef EAGRE_NET_REQUEST_TOPIC_SNAPSHOT_H
#define EAGRE_NET_REQUEST_TOPIC_SNAPSHOT_H

#include "net/request/request.h"

#define TOPIC_NAME_MAX 249u

struct topic_snapshot {
    uint8_t id[16];
    uint8_t name_count; /* bytes of name */
    char name[TOPIC_NAME_MAX + 1];
    bool gone; /* deleted: forget it */
    uint32_t partition_count;
    uint32_t batch_bytes_max;          /* max.message.bytes */
    bool is_memory;                    /* eagre.durability = memory */
    bool is_closed;                    /* the server's own records: producers are refused */
    struct partition_ref partitions[]; /* [partition_count] */
};

#endif
