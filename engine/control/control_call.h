/* A Kafka request under way, its items, and how an API is described. See control_internal.h. */
#ifndef EAGRE_ENGINE_CONTROL_CONTROL_CALL_H
#define EAGRE_ENGINE_CONTROL_CONTROL_CALL_H

#include "engine/control/control_parts.h"
#include "net/kafka/kafka_error.h"
#include "net/kafka/kafka_frame.h"

struct control_operation;

/* What a setting belongs to; numbers of the Kafka protocol (ConfigResource). */
enum control_resource { CONTROL_RESOURCE_TOPIC = 2, CONTROL_RESOURCE_BROKER = 4 };

/* ---- calls */

enum call_state {
    CALL_FREE,
    CALL_RUNNING, /* items are issued or awaited */
    CALL_PARKED,  /* handed to a coordinator, which answers it */
};

struct control_item {
    struct bytes message; /* in the call's memory, or static; at NULL: none */
    uint8_t id[16];
    int64_t offset;
    int64_t timestamp_ms;
    int32_t leader_epoch;
    uint32_t place; /* partition in the store */
    int16_t error;
    uint8_t waits; /* an operation or a log tile owes its result */
};
_Static_assert(sizeof(struct control_item) <= 64, "CONTROL_CALL_FACTOR");

/* A request of a gate. */
struct control_call {
    uint8_t state; /* enum call_state */
    bool is_ready; /* stands in the queue of calls that can go on */
    uint32_t gate;
    uint64_t ctx; /* the gate's */
    struct bytes frame;
    struct bytes body;
    uint8_t *reply;
    uint32_t reply_capacity;
    uint8_t peer[16]; /* as in struct request */
    struct kafka_request_header header;
    uint8_t *block;             /* of the pool: message and items */
    uint8_t *extra;             /* of the pool: items that the request does not name; or NULL */
    struct kafka_arena arena;   /* what is left of it */
    void *message;              /* decoded request */
    struct control_item *items; /* [item_count] */
    uint32_t item_count;
    uint32_t next_item; /* first one not yet issued */
    uint32_t outstanding;
    int64_t producer_id;
    uint64_t spent_ns; /* core time, up to the last poll that worked on it */
    uint64_t serial;   /* of this call, never reused */
};

/* One API: how its request becomes items, what each item needs, and the answer. */
struct control_api {
    int16_t key;
    /* Fills items; KAFKA errors of items that need nothing more. RC_OK, or refuses the whole
     * request. */
    enum rc (*begin)(struct control *control, struct control_call *call);
    /* Starts item call->next_item. False: no room now, offer it again. NULL: nothing to start. */
    bool (*issue)(struct control *control, struct control_call *call, uint32_t item);
    /* A log tile's answer to an item. NULL: never asks. */
    void (*answered)(struct control *control,
                     struct control_call *call,
                     uint32_t item,
                     const struct response *response);
    /* Builds the answer in arena; the result is a struct of the API's response type. */
    void *(*finish)(struct control *control, struct control_call *call, struct kafka_arena *arena);
    /* Upper bound of the answer's bytes where doing it twice would show; NULL: harmless to do
     * again. */
    uint64_t (*reply_bound)(const struct control_call *call);
    /* Hands the whole call to somebody who answers it by control__call_finish(), perhaps at once.
     * NULL: it goes item by item. */
    void (*dispatch)(struct control *control, struct control_call *call);
    /* Whether this call is dispatched; NULL: each is. */
    bool (*dispatches)(const struct control_call *call);
};

/* call_alter.c: what a call's item makes of a topic's overrides, by what it finds now. An error
 * other than 0: refused, the reason is in trail. */
int16_t control__altered_config(const struct control *control,
                                const struct control_call *call,
                                uint32_t item,
                                struct topic_config *config,
                                struct diag_trail *trail);

/* The same for the broker's settings: fills broker_id and broker of the record. */
int16_t control__altered_broker(const struct control *control,
                                const struct control_call *call,
                                uint32_t item,
                                struct topic_record *record,
                                struct diag_trail *trail);

/* call_quotas.c: what a call's item makes of a client id's limits, by what it finds now. False:
 * nothing changes. */
bool control__altered_quota(const struct control *control,
                            const struct control_call *call,
                            uint32_t item,
                            struct quota_entity *ret_quota);

/* call_offsets.c: what is asked of the log tile of a partition */
enum control_item_wait { CONTROL_ITEM_NOTHING, CONTROL_ITEM_ASK };
/* Finds a visible partition that this call has not named before: the item's place and
 * CONTROL_ITEM_ASK, or its error. item->offset is the incarnation meant, until the answer. */
void control__item_locate(struct control *control,
                          struct control_call *call,
                          struct bytes name,
                          int32_t partition,
                          struct control_item *item);
/* Sends a located item's question; false: no room now. A partition that was deleted meanwhile is
 * an error of the item. */
bool control__item_ask(struct control *control,
                       struct control_call *call,
                       uint32_t idx,
                       struct request *request);

/* call.c */
/* begin() of calls that have no items. */
enum rc control__begin_whole(struct control *control, struct control_call *call);
void control__calls_poll(struct control *control);
void control__call_answered(struct control *control,
                            uint32_t idx,
                            uint32_t item,
                            const struct response *response);
void control__call_operation_done(struct control *control,
                                  const struct control_operation *operation,
                                  const uint8_t *topic_id);
/* Answers a call that was dispatched; message is a struct of the API's response type. */
void control__call_finish(struct control *control, struct control_call *call, const void *message);
void control__item_message(struct control_call *call, struct control_item *item, const char *text);
/* The item is settled with an error and needs nothing more. */
void control__item_refuse(struct control_call *call,
                          struct control_item *item,
                          int16_t error,
                          const char *why);
/* Takes cleared items out of the call's memory; false: there is not enough of it. */
bool control__items_take(struct control_call *call, uint32_t count);
const struct control_api *control__api(int16_t key);
extern const struct control_api control__api_metadata;
extern const struct control_api control__api_create_topics;
extern const struct control_api control__api_delete_topics;
extern const struct control_api control__api_create_partitions;
extern const struct control_api control__api_describe_configs;
extern const struct control_api control__api_list_offsets;
extern const struct control_api control__api_epoch_end;
extern const struct control_api control__api_init_producer;
extern const struct control_api control__api_find_coordinator;
extern const struct control_api control__api_describe_cluster;
extern const struct control_api control__api_alter_configs;
extern const struct control_api control__api_delete_records;
extern const struct control_api control__api_incremental_alter_configs;
extern const struct control_api control__api_describe_log_dirs;
extern const struct control_api control__api_elect_leaders;
extern const struct control_api control__api_list_partition_reassignments;
extern const struct control_api control__api_describe_acls;
extern const struct control_api control__api_list_config_resources;
extern const struct control_api control__api_describe_topic_partitions;
extern const struct control_api control__api_create_acls;
extern const struct control_api control__api_delete_acls;
extern const struct control_api control__api_alter_replica_log_dirs;
extern const struct control_api control__api_alter_partition_reassignments;
extern const struct control_api control__api_describe_client_quotas;
extern const struct control_api control__api_alter_client_quotas;
extern const struct control_api control__api_write_txn_markers;
extern const struct control_api control__api_describe_producers;
extern const struct control_api control__apis_of_groups[];
extern const uint32_t control__apis_of_groups_count;
extern const struct control_api control__apis_of_transactions[];
extern const uint32_t control__apis_of_transactions_count;

/* call_transactions.c: InitProducerId with a transactional id */
bool control__is_transactional(const struct control_call *call);
void control__transaction_dispatch(struct control *control, struct control_call *call);

#endif
