/* The smaller structs of this folder: committed offsets, their topics, answers that wait for
 * records. See group_inner.h. */
#ifndef EAGRE_ENGINE_GROUP_GROUP_PARTS_H
#define EAGRE_ENGINE_GROUP_GROUP_PARTS_H

#include "engine/base/bytes.h"

/* A topic that offsets are committed for. */
struct group_topic {
    struct bytes name;
    uint32_t uses;
    uint32_t next;
};

struct group_offset {
    uint32_t group;
    uint32_t topic;
    uint32_t partition;
    int32_t leader_epoch;
    int64_t offset;
    int64_t commit_ms;
    struct bytes metadata;
    uint32_t before; /* in the group's list */
    uint32_t after;
    uint32_t next; /* in its bucket */
};

/* An answer that waits for a record. */
enum group_wait_kind {
    GROUP_WAIT_SYNC,
    GROUP_WAIT_COMMIT,
    GROUP_WAIT_DELETE,
    GROUP_WAIT_DELETE_OFFSETS,
};
struct group_wait {
    uint64_t number;
    uint64_t token;
    const void *request;
    uint8_t kind; /* enum group_wait_kind */
    int16_t version;
    uint32_t group;    /* SLAB_NONE: none, or several */
    uint32_t promised; /* COMMIT: places in the table of offsets kept for it */
    int16_t *errors;   /* [error_count] per item, in the request's order */
    uint32_t error_count;
    uint32_t next;
    int64_t wall_ms;
};

struct group;
struct groups;
struct group_offset_new;

/* group_record.c; false: no room in the log's buffer now */
bool record__append_group(struct groups *groups,
                          const struct group *group,
                          uint64_t *ret_number) MUST_USE;
bool record__append_group_gone(struct groups *groups,
                               const struct group *group,
                               uint64_t *ret_number) MUST_USE;
bool record__append_offset(struct groups *groups,
                           const struct group *group,
                           const struct group_offset_new *new,
                           uint64_t *ret_number) MUST_USE;
bool record__append_offset_gone(struct groups *groups,
                                const struct group *group,
                                struct bytes topic,
                                uint32_t partition,
                                uint64_t *ret_number) MUST_USE;

#endif
