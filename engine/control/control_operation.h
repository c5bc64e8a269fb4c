/* One topic being changed: its states, and the calls between operation.c, metadata.c and publish.c.
 * See control_internal.h. */
#ifndef EAGRE_ENGINE_CONTROL_CONTROL_OPERATION_H
#define EAGRE_ENGINE_CONTROL_CONTROL_OPERATION_H

#include "engine/control/control_parts.h"

#define CONTROL_MESSAGE_MAX 200u

/* ---- operations */

enum operation_kind {
    OPERATION_CREATE,
    OPERATION_GROW,
    OPERATION_DELETE,
    OPERATION_PRODUCERS,
    OPERATION_CLUSTER,
    OPERATION_CONFIGURE, /* always of a call's item, which says what is altered */
    OPERATION_QUOTA,     /* likewise: limits of a client id */
    OPERATION_BROKER,    /* likewise: settings of the broker */
};

enum operation_state {
    OPERATION_FREE,
    OPERATION_WAITING,     /* another operation on that name is under way */
    OPERATION_QUEUED,      /* its record goes into the next metadata batch */
    OPERATION_APPENDING,   /* its record is in the batch under way */
    OPERATION_OPENING,     /* partitions are being opened */
    OPERATION_CONFIGURING, /* log tiles take over the new settings */
    OPERATION_PUBLISHING,  /* its snapshot waits for room in the gates' rings */
    OPERATION_UNDOING,     /* an open failed: its TOPIC_DELETED goes into the next metadata batch */
    OPERATION_UNDO_APPENDING,
    OPERATION_DROPPING, /* answered; partitions are being dropped */
    OPERATION_STATE_COUNT
};

struct control_operation {
    uint8_t kind;       /* enum operation_kind */
    uint8_t state;      /* enum operation_state */
    bool may_exist;     /* CREATE: an existing topic is a success (auto-create) */
    bool tells_topics;  /* BROKER: partitions and gates are to be told */
    bool tells_windows; /* BROKER: gates are to be told of quota.window.* */
    bool holds_name;    /* between QUEUED and the end of PUBLISHING */
    int16_t error;      /* enum kafka_error, 0 so far */
    uint32_t call;      /* CONTROL_NONE: nobody waits */
    uint32_t item;
    uint32_t cursor;                /* next partition to open, configure or drop */
    uint32_t end;                   /* one past the last */
    uint32_t outstanding;           /* requests at log tiles */
    uint64_t order;                 /* operations start in the order of their arrival */
    struct topic_snapshot *dropped; /* what DELETE or an undo drops; with its references */
    struct topic_record record;
    char message[CONTROL_MESSAGE_MAX]; /* for the client; "" none */
};

/* operation.c */
/* Starts an operation for a call's item; CONTROL_NONE: no room now. record: kind, name or id,
 * counts and config as the kind needs. */
struct operation_request {
    enum operation_kind kind;
    bool may_exist;
    uint32_t call;
    uint32_t item;
    const struct topic_record *record;
};
uint32_t control__operation_start(struct control *control, const struct operation_request *request);
void control__operations_poll(struct control *control);
/* The record of an operation is durable (rc RC_OK) or was refused. */
void control__operation_appended(struct control *control, uint32_t idx, enum rc rc);
void control__operation_opened(struct control *control, uint32_t idx, enum rc rc);
void control__operation_configured(struct control *control, uint32_t idx, enum rc rc);
void control__operation_dropped(struct control *control, uint32_t idx);
void
control__operation_fail(struct control *control, uint32_t idx, int16_t error, const char *message);
/* Partitions that gates and clients know; 0: the topic is not published. */
uint32_t control__visible(const struct control *control, const struct topic *topic);

/* publish.c */
/* Takes memory for a snapshot of the first `count` partitions of a topic; NULL: no room now. */
struct topic_snapshot *
control__snapshot_new(struct control *control, const struct topic *topic, uint32_t count);
/* Sends it to every gate and lets go of it; false: no room now, the caller keeps it. */
bool control__publish(struct control *control, struct topic_snapshot *snapshot);
void control__snapshot_keep(struct topic_snapshot *snapshot);
/* A snapshot of either kind. */
void control__snapshot_let_go(struct control *control, const void *snapshot);
/* Tells every gate of the limits of a client id; false: no room now. */
bool control__publish_quota(struct control *control, const struct quota_entity *entity);
bool control__publish_topic(struct control *control, const struct topic *topic, uint32_t count);

#endif
