/* What tools ask: describe, list and delete groups; and views for pages and metrics. */
#include "engine/group/group_inner.h"

const char *
group_state_name(enum group_state state)
{
    static const char *const names[GROUP_STATES] = {
        [GROUP_EMPTY] = "Empty",
        [GROUP_PREPARING] = "PreparingRebalance",
        [GROUP_COMPLETING] = "CompletingRebalance",
        [GROUP_STABLE] = "Stable",
        [GROUP_DEAD] = "Dead",
        [GROUP_RECONCILING] = "Reconciling",
    };

    return names[state];
}

static struct bytes
admin_text(const char *text)
{
    return (struct bytes){(const uint8_t *)text, strlen(text)};
}

/* ---- DescribeGroups */

static bool
describe_members(const struct groups *groups,
                 const struct group *group,
                 struct kafka_arena *arena,
                 struct kafka_describe_groups_response_group *ret)
{
    bool is_formed = group->state == GROUP_STABLE || group->state == GROUP_COMPLETING;
    struct kafka_describe_groups_response_group_member *list = kafka_arena_take(
        arena, group->member_count * sizeof(*list) + 8);
    uint32_t count = 0;

    if (list == NULL)
        return false;
    for (uint32_t idx = group->member_first; idx != SLAB_NONE;) {
        const struct member *member = member__at(groups, idx);
        idx = member->after;
        if ((member->flags & MEMBER_PENDING) != 0)
            continue;
        struct bytes metadata = is_formed ? member__protocol(member, group->protocol)
                                          : (struct bytes){0};
        list[count++] = (struct kafka_describe_groups_response_group_member){
            .member_id = member->id,
            .group_instance_id = member->instance,
            .client_id = bytes__or_empty(member->client_id),
            .client_host = bytes__or_empty(member->client_host),
            .member_metadata = bytes__or_empty(metadata),
            .member_assignment = bytes__or_empty(group->state == GROUP_STABLE ? member->assignment
                                                                              : (struct bytes){0}),
        };
    }
    ret->members.at = list;
    ret->members.count = count;
    return true;
}

static void
describe_one(const struct groups *groups,
             int16_t version,
             struct kafka_arena *arena,
             struct kafka_describe_groups_response_group *ret)
{
    const struct group *group = group__find(groups, ret->group_id);

    /* For tools that do not know ConsumerGroupDescribe; those that do ask that first. */
    if (group != NULL && group->kind == GROUP_CONSUMER) {
        consumer__describe_classic(groups, group, arena, ret);
        return;
    }
    enum group_state state = group == NULL ? GROUP_DEAD : group->state;
    bool is_formed = state == GROUP_STABLE || state == GROUP_COMPLETING;

    ret->authorized_operations = INT32_MIN;
    ret->group_state = admin_text(group_state_name(state));
    ret->protocol_type = bytes__or_empty(group == NULL ? (struct bytes){0} : group->protocol_type);
    ret->protocol_data = bytes__or_empty(is_formed ? group->protocol : (struct bytes){0});
    if (group == NULL && version >= 6) {
        ret->error = KAFKA_ERROR_GROUP_ID_NOT_FOUND;
        ret->error_message = admin_text("no such group");
    }
    if (group != NULL && !describe_members(groups, group, arena, ret))
        ret->error = KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE;
}

void
groups_describe(struct groups *groups,
                const struct group_call *call,
                const struct kafka_describe_groups_request *request)
{
    struct kafka_arena arena = groups->config.hooks.scratch(groups->config.hooks.ctx);
    struct kafka_describe_groups_response response;
    uint32_t count = request->groups.count;
    struct kafka_describe_groups_response_group *list = kafka_arena_take(&arena,
                                                                         count * sizeof(*list) + 8);

    kafka_describe_groups_response_defaults(&response);
    for (uint32_t i = 0; list != NULL && i < count; i++) {
        list[i].group_id = request->groups.at[i];
        describe_one(groups, call->version, &arena, &list[i]);
    }
    response.groups.at = list;
    response.groups.count = list != NULL ? count : 0;
    groups__answer(groups, call->token, &response);
}

/* ---- ListGroups */

/* True when the list is empty or names the text, whatever its case. */
static bool
list_wants(const struct kafka_string_list *filter, struct bytes text)
{
    for (uint32_t i = 0; i < filter->count; i++) {
        bool same = filter->at[i].count == text.count;
        for (size_t c = 0; same && c < text.count; c++)
            same = (filter->at[i].at[c] | 0x20) == (text.at[c] | 0x20);
        if (same)
            return true;
    }
    return filter->count == 0;
}

void
groups_list(struct groups *groups,
            const struct group_call *call,
            const struct kafka_list_groups_request *request)
{
    struct kafka_arena arena = groups->config.hooks.scratch(groups->config.hooks.ctx);
    struct kafka_list_groups_response response;
    struct kafka_list_groups_response_listed_group *list = kafka_arena_take(
        &arena, groups->groups.used * sizeof(*list) + 8);
    uint32_t count = 0;

    kafka_list_groups_response_defaults(&response);
    if (list == NULL)
        response.error = KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE;
    for (uint32_t i = 0; list != NULL && i < groups->groups.count; i++) {
        const struct group *group = group__at(groups, i);
        bool is_consumer = group->kind == GROUP_CONSUMER;
        struct bytes state = admin_text(group_state_name(group->state));
        struct bytes type = admin_text(is_consumer ? "Consumer" : "Classic");
        if (group->id.count == 0 || !list_wants(&request->states_filter, state) ||
            !list_wants(&request->types_filter, type))
            continue;
        list[count++] = (struct kafka_list_groups_response_listed_group){
            .group_id = group->id,
            .protocol_type = is_consumer ? admin_text("consumer")
                                         : bytes__or_empty(group->protocol_type),
            .group_state = state,
            .group_type = type,
        };
    }
    response.groups.at = list;
    response.groups.count = count;
    groups__answer(groups, call->token, &response);
}

/* ---- DeleteGroups: answered when the tombstones are durable */

static void
delete_groups_answer(struct groups *groups,
                     uint64_t token,
                     const struct kafka_delete_groups_request *request,
                     const int16_t *errors)
{
    struct kafka_arena arena = groups->config.hooks.scratch(groups->config.hooks.ctx);
    struct kafka_delete_groups_response response;
    uint32_t count = request->groups_names.count;
    struct kafka_delete_groups_response_deletable_group_result *list = kafka_arena_take(
        &arena, count * sizeof(*list) + 8);

    kafka_delete_groups_response_defaults(&response);
    for (uint32_t i = 0; list != NULL && i < count; i++) {
        list[i].group_id = request->groups_names.at[i];
        list[i].error = KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE;
        if (errors != NULL)
            list[i].error = errors[i];
    }
    response.results.at = list;
    response.results.count = list != NULL ? count : 0;
    groups__answer(groups, token, &response);
}

/* Tombstones of a group and all its offsets. */
static int16_t
delete_append(struct groups *groups, struct bytes id, uint64_t *ret_number)
{
    struct group *group = group__find(groups, id);

    if (group == NULL || group->state == GROUP_DEAD)
        return KAFKA_ERROR_GROUP_ID_NOT_FOUND;
    if (group->state != GROUP_EMPTY || group->pending_count > 0 || group->wait_count > 0 ||
        group->pending_first != SLAB_NONE)
        return KAFKA_ERROR_NON_EMPTY_GROUP;
    for (uint32_t idx = group->offset_first; idx != SLAB_NONE;) {
        const struct group_offset *offset = slab_at(&groups->offsets, idx);
        struct bytes topic = offset__topic(groups, offset)->name;
        if (!record__append_offset_gone(groups, group, topic, offset->partition, ret_number))
            return KAFKA_ERROR_COORDINATOR_LOAD_IN_PROGRESS;
        idx = offset->after;
    }
    if (!record__append_group_gone(groups, group, ret_number))
        return KAFKA_ERROR_COORDINATOR_LOAD_IN_PROGRESS;
    group__move(groups, group, GROUP_DEAD);
    return KAFKA_ERROR_NONE;
}

void
groups_delete(struct groups *groups,
              const struct group_call *call,
              const struct kafka_delete_groups_request *request)
{
    struct group_wait wait = {
        .token = call->token,
        .request = request,
        .kind = GROUP_WAIT_DELETE,
        .group = SLAB_NONE,
        .error_count = request->groups_names.count,
    };

    if (wait.error_count > 0 && groups->waits.used < groups->waits.count)
        wait.errors = group_heap_take(&groups->heap, wait.error_count * sizeof(int16_t));
    if (wait.errors == NULL) {
        delete_groups_answer(groups, call->token, request, NULL);
        return;
    }
    for (uint32_t i = 0; i < wait.error_count; i++)
        wait.errors[i] = delete_append(groups, request->groups_names.at[i], &wait.number);
    if (wait.number > 0) {
        wait__add(groups, &wait);
        return;
    }
    delete_groups_answer(groups, call->token, request, wait.errors);
    group_heap_give(&groups->heap, wait.errors, wait.error_count * sizeof(int16_t));
}

void
group__delete_durable(struct groups *groups, struct group_wait *wait, enum rc rc)
{
    const struct kafka_delete_groups_request *request = wait->request;

    for (uint32_t i = 0; i < wait->error_count; i++) {
        struct group *group = group__find(groups, request->groups_names.at[i]);
        if (wait->errors[i] != KAFKA_ERROR_NONE || group == NULL || group->state != GROUP_DEAD)
            continue;
        if (rc == RC_OK) {
            group__remove(groups, group);
        } else {
            group__move(groups, group, GROUP_EMPTY);
            wait->errors[i] = KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE;
        }
    }
    delete_groups_answer(groups, wait->token, request, wait->errors);
}

/* ---- views */

const struct groups_counters *
groups_counters(const struct groups *groups)
{
    return &groups->counters;
}

uint32_t
groups_count(const struct groups *groups, enum group_state state)
{
    return groups->state_counts[state];
}

uint64_t
groups_memory_used(const struct groups *groups)
{
    return groups->heap.used_bytes;
}

uint32_t
groups_pending_offsets(const struct groups *groups)
{
    return groups->pending_offsets;
}

bool
groups_next(const struct groups *groups, uint32_t *cursor, struct group_view *ret)
{
    for (; *cursor < groups->groups.count; (*cursor)++) {
        const struct group *group = group__at(groups, *cursor);
        if (group->id.count == 0)
            continue;
        *ret = (struct group_view){
            .id = group->id,
            .state = group->state,
            .generation = group->generation,
            .member_count = group->member_count,
            .offset_count = group->offset_count,
        };
        (*cursor)++;
        return true;
    }
    return false;
}

bool
groups_next_offset(const struct groups *groups,
                   struct bytes group_id,
                   uint32_t *cursor,
                   struct group_offset_view *ret)
{
    const struct group *group = group__find(groups, group_id);

    if (group == NULL)
        return false;
    uint32_t idx = *cursor == UINT32_MAX
                       ? group->offset_first
                       : ((const struct group_offset *)slab_at(&groups->offsets, *cursor))->after;
    if (idx == SLAB_NONE)
        return false;
    const struct group_offset *offset = slab_at(&groups->offsets, idx);
    *ret = (struct group_offset_view){
        .topic = offset__topic(groups, offset)->name,
        .partition = offset->partition,
        .offset = offset->offset,
        .commit_ms = offset->commit_ms,
    };
    *cursor = idx;
    return true;
}

bool
groups_next_member(const struct groups *groups,
                   struct bytes group_id,
                   uint32_t *cursor,
                   struct group_member_view *ret)
{
    const struct group *group = group__find(groups, group_id);
    uint32_t idx;

    if (group == NULL)
        return false;
    idx = *cursor == UINT32_MAX ? group->member_first : member__at(groups, *cursor)->after;
    while (idx != SLAB_NONE && (member__at(groups, idx)->flags & MEMBER_PENDING) != 0)
        idx = member__at(groups, idx)->after;
    if (idx == SLAB_NONE)
        return false;
    const struct member *member = member__at(groups, idx);
    *ret = (struct group_member_view){
        .id = member->id,
        .instance = member->instance,
        .client_id = member->client_id,
        .client_host = member->client_host,
    };
    *cursor = idx;
    return true;
}
