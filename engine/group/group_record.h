/* Numbers of the group log's records, for those who write and those who read them back. Their forms
 * are drawn in group_record.c. */
#ifndef EAGRE_ENGINE_GROUP_GROUP_RECORD_H
#define EAGRE_ENGINE_GROUP_GROUP_RECORD_H

#include "engine/base/bytes.h"
#include "engine/base/diag.h"

#define RECORD_KEY_BYTES_MAX 4096u

/* First 16 bits of a key. */
enum record_key {
    RECORD_KEY_OFFSET_OLD = 0,
    RECORD_KEY_OFFSET = 1,
    RECORD_KEY_GROUP = 2,
    RECORD_KEY_PENDING = 1001, /* this broker's own from here on */
    RECORD_KEY_TXN_END = 1002,
    RECORD_KEY_CONSUMER_GROUP = 1003, /* these: group_consumer_record.c */
    RECORD_KEY_CONSUMER_MEMBER = 1004,
};

/* First 16 bits of a value. */
#define RECORD_VALUE_OFFSET 3
#define RECORD_VALUE_GROUP 3
#define RECORD_VALUE_OWN 0 /* of this broker's own kinds */

struct groups;
void record__text(struct writer *writer, struct bytes text); /* i16 length */
void record__blob(struct writer *writer, struct bytes blob); /* i32 length */
/* value NULL: a tombstone. False: no room in the log's buffer now, or a writer failed. */
bool record__append(struct groups *groups,
                    const struct writer *key,
                    const struct writer *value,
                    uint64_t *ret_number) MUST_USE;
/* group_replay.c */
struct bytes replay__text(struct reader *reader);
/* The group of that id, made if need be; NULL: a limit. */
struct group *replay__group(struct groups *groups, struct bytes id, struct diag_trail *trail);

#endif
