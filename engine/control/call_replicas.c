/* Requests to change what one broker without an authorizer cannot: AlterPartitionReassignments
 * (45), AlterReplicaLogDirs (34), CreateAcls (30), DeleteAcls (31). Where the wish is what is there
 * already it is granted, so that tools which write out a whole plan come through; everything else
 * is refused by name. Nothing here waits or changes anything. */
#include "engine/control/control_internal.h"

static enum rc
no_items(struct control *control, struct control_call *call)
{
    (void)control;
    (void)call;
    return RC_OK;
}

/* A visible partition of a topic, which may be NULL. */
static bool
is_there(const struct control *control, const struct topic *topic, int32_t partition)
{
    return topic != NULL && partition >= 0 &&
           (uint32_t)partition < control__visible(control, topic);
}

/* ---- AlterPartitionReassignments */

static void
reassign_one(const struct control *control,
             const struct topic *topic,
             const struct kafka_alter_partition_reassignments_request_partition *asked,
             struct kafka_alter_partition_reassignments_response_partition *result)
{
    kafka_alter_partition_reassignments_response_partition_defaults(result);
    result->index = asked->index;
    if (!is_there(control, topic, asked->index)) {
        result->error = KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION;
        result->error_message = control__text("no such partition");
    } else if (asked->replicas.at == NULL) {
        result->error = KAFKA_ERROR_NO_REASSIGNMENT_IN_PROGRESS;
        result->error_message = control__text("there is nothing to cancel");
    } else if (asked->replicas.count != 1 || asked->replicas.at[0] != control->config.node_id) {
        result->error = KAFKA_ERROR_INVALID_REPLICA_ASSIGNMENT;
        result->error_message = control__text("this broker is the only one: a partition has one "
                                              "replica, and that is here");
    }
}

static void *
reassign_finish(struct control *control, struct control_call *call, struct kafka_arena *arena)
{
    const struct kafka_alter_partition_reassignments_request *request = call->message;
    struct kafka_alter_partition_reassignments_response *response = kafka_arena_take(
        arena, sizeof(*response));
    struct kafka_alter_partition_reassignments_response_topic *topics = kafka_arena_take(
        arena, sizeof(*topics) * (request->topics.count + 1));

    if (response == NULL || topics == NULL)
        return NULL;
    kafka_alter_partition_reassignments_response_defaults(response);
    response->allow_replication_factor_change = request->allow_replication_factor_change;
    response->responses.at = topics;
    response->responses.count = request->topics.count;
    for (uint32_t i = 0; i < request->topics.count; i++) {
        const struct kafka_alter_partition_reassignments_request_topic *asked =
            &request->topics.at[i];
        const struct topic *topic = topic_store_find(&control->store, asked->name);
        struct kafka_alter_partition_reassignments_response_partition *results = kafka_arena_take(
            arena, sizeof(*results) * (asked->partitions.count + 1));
        if (results == NULL)
            return NULL;
        kafka_alter_partition_reassignments_response_topic_defaults(&topics[i]);
        topics[i].name = asked->name;
        topics[i].partitions.at = results;
        topics[i].partitions.count = asked->partitions.count;
        for (uint32_t k = 0; k < asked->partitions.count; k++)
            reassign_one(control, topic, &asked->partitions.at[k], &results[k]);
    }
    return response;
}

const struct control_api control__api_alter_partition_reassignments = {
    .key = KAFKA_ALTER_PARTITION_REASSIGNMENTS,
    .begin = no_items,
    .finish = reassign_finish,
};

/* ---- AlterReplicaLogDirs: there is one directory */

static bool
move_topic(const struct control *control,
           const struct kafka_alter_replica_log_dirs_request_topic *asked,
           bool is_ours,
           struct kafka_arena *arena,
           struct kafka_alter_replica_log_dirs_response_topic *ret)
{
    const struct topic *topic = topic_store_find(&control->store, asked->name);
    struct kafka_alter_replica_log_dirs_response_partition *results = kafka_arena_take(
        arena, sizeof(*results) * (asked->partitions.count + 1));

    if (results == NULL)
        return false;
    kafka_alter_replica_log_dirs_response_topic_defaults(ret);
    ret->topic_name = asked->name;
    ret->partitions.at = results;
    ret->partitions.count = asked->partitions.count;
    for (uint32_t i = 0; i < asked->partitions.count; i++) {
        results[i].index = asked->partitions.at[i];
        if (!is_ours)
            results[i].error = KAFKA_ERROR_LOG_DIR_NOT_FOUND;
        else if (!is_there(control, topic, asked->partitions.at[i]))
            results[i].error = KAFKA_ERROR_REPLICA_NOT_AVAILABLE;
        else
            results[i].error = KAFKA_ERROR_NONE;
    }
    return true;
}

static uint32_t
move_count(const struct kafka_alter_replica_log_dirs_request *request)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < request->dirs.count; i++)
        count += request->dirs.at[i].topics.count;
    return count;
}

static void *
move_finish(struct control *control, struct control_call *call, struct kafka_arena *arena)
{
    const struct kafka_alter_replica_log_dirs_request *request = call->message;
    struct kafka_alter_replica_log_dirs_response *response = kafka_arena_take(arena,
                                                                              sizeof(*response));
    struct kafka_alter_replica_log_dirs_response_topic *results = kafka_arena_take(
        arena, sizeof(*results) * (move_count(request) + 1));

    if (response == NULL || results == NULL)
        return NULL;
    kafka_alter_replica_log_dirs_response_defaults(response);
    response->results.at = results;
    for (uint32_t i = 0; i < request->dirs.count; i++) {
        const struct kafka_alter_replica_log_dirs_request_dir *dir = &request->dirs.at[i];
        bool is_ours = control__same(dir->path, control__text(control->config.data));
        for (uint32_t k = 0; k < dir->topics.count; k++) {
            if (!move_topic(control,
                            &dir->topics.at[k],
                            is_ours,
                            arena,
                            &results[response->results.count++]))
                return NULL;
        }
    }
    return response;
}

const struct control_api control__api_alter_replica_log_dirs = {
    .key = KAFKA_ALTER_REPLICA_LOG_DIRS,
    .begin = no_items,
    .finish = move_finish,
};

/* ---- CreateAcls, DeleteAcls: there is no authorizer */

static const char no_acls[] = "there are no access control lists here";

static void *
create_finish(struct control *control, struct control_call *call, struct kafka_arena *arena)
{
    const struct kafka_create_acls_request *request = call->message;
    struct kafka_create_acls_response *response = kafka_arena_take(arena, sizeof(*response));
    struct kafka_create_acls_response_result *results = kafka_arena_take(
        arena, sizeof(*results) * (request->creations.count + 1));

    (void)control;
    if (response == NULL || results == NULL)
        return NULL;
    kafka_create_acls_response_defaults(response);
    response->results.at = results;
    response->results.count = request->creations.count;
    for (uint32_t i = 0; i < request->creations.count; i++) {
        kafka_create_acls_response_result_defaults(&results[i]);
        results[i].error = KAFKA_ERROR_SECURITY_DISABLED;
        results[i].error_message = control__text(no_acls);
    }
    return response;
}

const struct control_api control__api_create_acls = {
    .key = KAFKA_CREATE_ACLS,
    .begin = no_items,
    .finish = create_finish,
};

static void *
delete_finish(struct control *control, struct control_call *call, struct kafka_arena *arena)
{
    const struct kafka_delete_acls_request *request = call->message;
    struct kafka_delete_acls_response *response = kafka_arena_take(arena, sizeof(*response));
    struct kafka_delete_acls_response_result *results = kafka_arena_take(
        arena, sizeof(*results) * (request->filters.count + 1));

    (void)control;
    if (response == NULL || results == NULL)
        return NULL;
    kafka_delete_acls_response_defaults(response);
    response->filter_results.at = results;
    response->filter_results.count = request->filters.count;
    for (uint32_t i = 0; i < request->filters.count; i++) {
        kafka_delete_acls_response_result_defaults(&results[i]);
        results[i].error = KAFKA_ERROR_SECURITY_DISABLED;
        results[i].error_message = control__text(no_acls);
        results[i].matching_acls.at = (const void *)results; /* empty, not null */
    }
    return response;
}

const struct control_api control__api_delete_acls = {
    .key = KAFKA_DELETE_ACLS,
    .begin = no_items,
    .finish = delete_finish,
};
