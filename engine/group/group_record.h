/* Numbers of the group log's records, for those who write and those who read them back. Their forms
 * are drawn in group_record.c. */
#ifndef EAGRE_ENGINE_GROUP_GROUP_RECORD_H
#define EAGRE_ENGINE_GROUP_GROUP_RECORD_H

#include "engine/base/bytes.h"

/* First 16 bits of a key. */
enum record_key {
    RECORD_KEY_OFFSET_OLD = 0,
    RECORD_KEY_OFFSET = 1,
    RECORD_KEY_GROUP = 2,
    RECORD_KEY_PENDING = 1001, /* this broker's own from here on */
    RECORD_KEY_TXN_END = 1002,
};

/* First 16 bits of a value. */
#define RECORD_VALUE_OFFSET 3
#define RECORD_VALUE_GROUP 3
#define RECORD_VALUE_OWN 0 /* of this broker's own kinds */

void record__text(struct writer *writer, struct bytes text); /* i16 length */
void record__blob(struct writer *writer, struct bytes blob); /* i32 length */

#endif
