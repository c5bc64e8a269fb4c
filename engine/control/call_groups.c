/* Requests of consumer groups (8, 9, 11 to 16, 28, 42, 47) and FindCoordinator (10): handed to the
 * coordinator whole, which answers now or later. Until its log is read they are told to try again.
 */
#include "engine/control/control_internal.h"

#include <stdio.h>

uint64_t
control__call_token(const struct control *control, const struct control_call *call)
{
    return (uint64_t)(call - control->calls) + 1;
}

void
control__group_answer(void *ctx, uint64_t token, const void *response)
{
    struct control *control = ctx;
    struct control_call *call = control__call(control, (uint32_t)(token - 1));

    CHECK(call->state == CALL_PARKED);
    control__call_finish(control, call, response);
}

#define HOST_BYTES_MAX 48u

/* As Kafka's InetAddress.toString() says it: "/127.0.0.1", "/0:0:0:0:0:0:0:1"; empty when it is not
 * known. */
static struct bytes
host_text(const uint8_t peer[16], char text[HOST_BYTES_MAX])
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    static const uint8_t none[16];
    int count = 0;

    if (memcmp(peer, none, sizeof(none)) == 0)
        return (struct bytes){0};
    if (memcmp(peer, mapped, sizeof(mapped)) == 0)
        count = snprintf(
            text, HOST_BYTES_MAX, "/%u.%u.%u.%u", peer[12], peer[13], peer[14], peer[15]);
    else
        count = snprintf(text,
                         HOST_BYTES_MAX,
                         "/%x:%x:%x:%x:%x:%x:%x:%x",
                         get_u16_be(peer),
                         get_u16_be(peer + 2),
                         get_u16_be(peer + 4),
                         get_u16_be(peer + 6),
                         get_u16_be(peer + 8),
                         get_u16_be(peer + 10),
                         get_u16_be(peer + 12),
                         get_u16_be(peer + 14));
    return (struct bytes){(const uint8_t *)text, (size_t)count};
}

/* host: memory for the text, which the coordinator copies. */
static struct group_call
group_call(const struct control *control,
           const struct control_call *call,
           char host[HOST_BYTES_MAX])
{
    return (struct group_call){
        .token = control__call_token(control, call),
        .version = call->header.api_version,
        .client_id = call->header.client_id,
        .client_host = host_text(call->peer, host),
    };
}

/* ---- while there is no coordinator: every answer of these APIs that has one error field */

/* What tools ask, and what can be answered without a member or an offset: of a log that was never
 * made, that there is nothing. */
static bool
only_looks(const struct control_call *call)
{
    switch (call->header.api_key) {
    case KAFKA_OFFSET_FETCH:
    case KAFKA_DESCRIBE_GROUPS:
    case KAFKA_CONSUMER_GROUP_DESCRIBE:
    case KAFKA_LIST_GROUPS:
    case KAFKA_DELETE_GROUPS:
    case KAFKA_OFFSET_DELETE:
        return true;
    default:
        return false;
    }
}

/* Members look for the coordinator anew at "not available", which makes the log; tools may take it
 * for the end of the broker, so they are told that it loads. */
static int16_t
group_unready_error(const struct control *control, const struct control_call *call)
{
    enum internal_log_state state = control->internal[INTERNAL_LOG_GROUPS].state;

    if (only_looks(call) && state != INTERNAL_LOG_FAILED)
        return KAFKA_ERROR_COORDINATOR_LOAD_IN_PROGRESS;
    switch (state) {
    case INTERNAL_LOG_NONE:
    case INTERNAL_LOG_CREATING:
    case INTERNAL_LOG_FAILED:
        return KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE;
    default:
        return KAFKA_ERROR_COORDINATOR_LOAD_IN_PROGRESS;
    }
}

/* Answers in the form of the API with that error and nothing else. */
static void *
group_unready(struct control *control, const struct control_call *call, struct kafka_arena *arena)
{
    const struct kafka_type *type = call->header.api->response;
    int16_t error = group_unready_error(control, call);
    uint8_t *response = kafka_arena_take(arena, type->struct_bytes);

    if (response == NULL)
        return NULL;
    kafka_defaults(type, response);
    for (uint32_t i = 0; i < type->field_count; i++) {
        const struct kafka_field *field = &type->fields[i];
        /* The only 16-bit field of these answers is their error. */
        if (field->kind == KAFKA_KIND_I16)
            put_u16_le(response + field->offset, (uint16_t)error);
    }
    return response;
}

/* Answers that carry their errors deeper. */
static void *
commit_unready(struct control *control, struct control_call *call, struct kafka_arena *arena)
{
    const struct kafka_offset_commit_request *request = call->message;
    struct kafka_offset_commit_response *response = kafka_arena_take(arena, sizeof(*response));
    struct kafka_offset_commit_response_topic *topics = kafka_arena_take(
        arena, request->topics.count * sizeof(*topics) + 8);

    if (topics == NULL)
        return NULL;
    kafka_offset_commit_response_defaults(response);
    for (uint32_t t = 0; t < request->topics.count; t++) {
        uint32_t count = request->topics.at[t].partitions.count;
        struct kafka_offset_commit_response_partition *partitions = kafka_arena_take(
            arena, count * sizeof(*partitions) + 8);
        if (partitions == NULL)
            return NULL;
        for (uint32_t p = 0; p < count; p++) {
            partitions[p].index = request->topics.at[t].partitions.at[p].index;
            partitions[p].error = group_unready_error(control, call);
        }
        topics[t].name = request->topics.at[t].name;
        topics[t].partitions.at = partitions;
        topics[t].partitions.count = count;
    }
    response->topics.at = topics;
    response->topics.count = request->topics.count;
    return response;
}

static void *
txn_commit_unready(struct control *control, struct control_call *call, struct kafka_arena *arena)
{
    const struct kafka_txn_offset_commit_request *request = call->message;
    struct kafka_txn_offset_commit_response *response = kafka_arena_take(arena, sizeof(*response));
    struct kafka_txn_offset_commit_response_topic *topics = kafka_arena_take(
        arena, request->topics.count * sizeof(*topics) + 8);

    if (topics == NULL)
        return NULL;
    kafka_txn_offset_commit_response_defaults(response);
    for (uint32_t t = 0; t < request->topics.count; t++) {
        uint32_t count = request->topics.at[t].partitions.count;
        struct kafka_txn_offset_commit_response_partition *partitions = kafka_arena_take(
            arena, count * sizeof(*partitions) + 8);
        if (partitions == NULL)
            return NULL;
        for (uint32_t p = 0; p < count; p++) {
            partitions[p].index = request->topics.at[t].partitions.at[p].index;
            partitions[p].error = kafka_error_for_version(group_unready_error(control, call),
                                                          KAFKA_TXN_OFFSET_COMMIT,
                                                          call->header.api_version);
        }
        topics[t].name = request->topics.at[t].name;
        topics[t].partitions.at = partitions;
        topics[t].partitions.count = count;
    }
    response->topics.at = topics;
    response->topics.count = request->topics.count;
    return response;
}

static void *
fetch_unready(struct control *control, struct control_call *call, struct kafka_arena *arena)
{
    const struct kafka_offset_fetch_request *request = call->message;
    struct kafka_offset_fetch_response *response = kafka_arena_take(arena, sizeof(*response));
    struct kafka_offset_fetch_response_group *list = kafka_arena_take(
        arena, request->groups.count * sizeof(*list) + 8);

    if (list == NULL)
        return NULL;
    kafka_offset_fetch_response_defaults(response);
    response->error = group_unready_error(control, call);
    for (uint32_t i = 0; i < request->groups.count; i++) {
        list[i].group_id = request->groups.at[i].group_id;
        list[i].error = response->error;
    }
    response->groups.at = list;
    response->groups.count = request->groups.count;
    return response;
}

static void *
describe_unready(struct control *control, struct control_call *call, struct kafka_arena *arena)
{
    const struct kafka_describe_groups_request *request = call->message;
    struct kafka_describe_groups_response *response = kafka_arena_take(arena, sizeof(*response));
    struct kafka_describe_groups_response_group *list = kafka_arena_take(
        arena, request->groups.count * sizeof(*list) + 8);

    if (list == NULL)
        return NULL;
    kafka_describe_groups_response_defaults(response);
    for (uint32_t i = 0; i < request->groups.count; i++) {
        kafka_describe_groups_response_group_defaults(&list[i]);
        list[i].group_id = request->groups.at[i];
        list[i].error = group_unready_error(control, call);
    }
    response->groups.at = list;
    response->groups.count = request->groups.count;
    return response;
}

static void *
consumer_describe_unready(struct control *control,
                          struct control_call *call,
                          struct kafka_arena *arena)
{
    const struct kafka_consumer_group_describe_request *request = call->message;
    struct kafka_consumer_group_describe_response *response = kafka_arena_take(arena,
                                                                               sizeof(*response));
    struct kafka_consumer_group_describe_response_group *list = kafka_arena_take(
        arena, request->group_ids.count * sizeof(*list) + 8);

    if (list == NULL)
        return NULL;
    kafka_consumer_group_describe_response_defaults(response);
    for (uint32_t i = 0; i < request->group_ids.count; i++) {
        kafka_consumer_group_describe_response_group_defaults(&list[i]);
        list[i].group_id = request->group_ids.at[i];
        list[i].error = group_unready_error(control, call);
    }
    response->groups.at = list;
    response->groups.count = request->group_ids.count;
    return response;
}

static void *
delete_unready(struct control *control, struct control_call *call, struct kafka_arena *arena)
{
    const struct kafka_delete_groups_request *request = call->message;
    struct kafka_delete_groups_response *response = kafka_arena_take(arena, sizeof(*response));
    struct kafka_delete_groups_response_deletable_group_result *list = kafka_arena_take(
        arena, request->groups_names.count * sizeof(*list) + 8);

    if (list == NULL)
        return NULL;
    kafka_delete_groups_response_defaults(response);
    for (uint32_t i = 0; i < request->groups_names.count; i++) {
        list[i].group_id = request->groups_names.at[i];
        list[i].error = group_unready_error(control, call);
    }
    response->results.at = list;
    response->results.count = request->groups_names.count;
    return response;
}

static void *
group_unready_of(struct control *control, struct control_call *call, struct kafka_arena *arena)
{
    switch (call->header.api_key) {
    case KAFKA_OFFSET_COMMIT:
        return commit_unready(control, call, arena);
    case KAFKA_TXN_OFFSET_COMMIT:
        return txn_commit_unready(control, call, arena);
    case KAFKA_OFFSET_FETCH:
        return fetch_unready(control, call, arena);
    case KAFKA_CONSUMER_GROUP_DESCRIBE:
        return consumer_describe_unready(control, call, arena);
    case KAFKA_DESCRIBE_GROUPS:
        return describe_unready(control, call, arena);
    case KAFKA_DELETE_GROUPS:
        return delete_unready(control, call, arena);
    default:
        return group_unready(control, call, arena);
    }
}

/* ---- dispatch */

static void
group_dispatch(struct control *control, struct control_call *call)
{
    char host[HOST_BYTES_MAX];
    struct group_call who = group_call(control, call, host);
    struct group_time time = control__group_time(control);
    struct groups *groups = control->groups;
    struct internal_log *log = &control->internal[INTERNAL_LOG_GROUPS];

    if (log->state != INTERNAL_LOG_READY &&
        !(only_looks(call) && control__internal_log_is_void(control, log))) {
        struct kafka_arena arena = kafka_arena_over(control->build, CONTROL_BUILD_BYTES);
        control__internal_log_want(control, log);
        control__call_finish(control, call, group_unready_of(control, call, &arena));
        return;
    }
    switch (call->header.api_key) {
    case KAFKA_OFFSET_COMMIT:
        groups_commit(groups, &who, call->message, time);
        break;
    case KAFKA_TXN_OFFSET_COMMIT:
        groups_commit_transaction(groups, &who, call->message, time);
        break;
    case KAFKA_OFFSET_FETCH:
        groups_fetch_offsets(groups, &who, call->message);
        break;
    case KAFKA_JOIN_GROUP:
        groups_join(groups, &who, call->message, time);
        break;
    case KAFKA_HEARTBEAT:
        groups_heartbeat(groups, &who, call->message, time);
        break;
    case KAFKA_LEAVE_GROUP:
        groups_leave(groups, &who, call->message, time);
        break;
    case KAFKA_SYNC_GROUP:
        groups_sync(groups, &who, call->message, time);
        break;
    case KAFKA_DESCRIBE_GROUPS:
        groups_describe(groups, &who, call->message);
        break;
    case KAFKA_CONSUMER_GROUP_HEARTBEAT:
        groups_consumer_heartbeat(groups, &who, call->message, time);
        break;
    case KAFKA_CONSUMER_GROUP_DESCRIBE:
        groups_consumer_describe(groups, &who, call->message);
        break;
    case KAFKA_LIST_GROUPS:
        groups_list(groups, &who, call->message);
        break;
    case KAFKA_DELETE_GROUPS:
        groups_delete(groups, &who, call->message);
        break;
    default:
        CHECK(call->header.api_key == KAFKA_OFFSET_DELETE);
        groups_delete_offsets(groups, &who, call->message);
    }
}

/* An answer that needs more room is asked for again, which must not show: commits and deletions are
 * given room for all they may say before anything is done; the others change nothing when repeated.
 */
static uint64_t
group_reply_bound(const struct control_call *call)
{
    return 64 + 4 * call->body.count;
}

const struct control_api control__apis_of_groups[] = {
    {.key = KAFKA_OFFSET_COMMIT,
     .begin = control__begin_whole,
     .dispatch = group_dispatch,
     .reply_bound = group_reply_bound},
    {.key = KAFKA_TXN_OFFSET_COMMIT,
     .begin = control__begin_whole,
     .dispatch = group_dispatch,
     .reply_bound = group_reply_bound},
    {.key = KAFKA_OFFSET_FETCH, .begin = control__begin_whole, .dispatch = group_dispatch},
    {.key = KAFKA_JOIN_GROUP, .begin = control__begin_whole, .dispatch = group_dispatch},
    {.key = KAFKA_HEARTBEAT, .begin = control__begin_whole, .dispatch = group_dispatch},
    {.key = KAFKA_LEAVE_GROUP,
     .begin = control__begin_whole,
     .dispatch = group_dispatch,
     .reply_bound = group_reply_bound},
    {.key = KAFKA_SYNC_GROUP, .begin = control__begin_whole, .dispatch = group_dispatch},
    {.key = KAFKA_DESCRIBE_GROUPS, .begin = control__begin_whole, .dispatch = group_dispatch},
    {.key = KAFKA_CONSUMER_GROUP_HEARTBEAT,
     .begin = control__begin_whole,
     .dispatch = group_dispatch},
    {.key = KAFKA_CONSUMER_GROUP_DESCRIBE,
     .begin = control__begin_whole,
     .dispatch = group_dispatch},
    {.key = KAFKA_LIST_GROUPS, .begin = control__begin_whole, .dispatch = group_dispatch},
    {.key = KAFKA_DELETE_GROUPS,
     .begin = control__begin_whole,
     .dispatch = group_dispatch,
     .reply_bound = group_reply_bound},
    {.key = KAFKA_OFFSET_DELETE,
     .begin = control__begin_whole,
     .dispatch = group_dispatch,
     .reply_bound = group_reply_bound},
};
const uint32_t control__apis_of_groups_count = ARRAY_COUNT(control__apis_of_groups);
