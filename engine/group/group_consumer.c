/* ConsumerGroupHeartbeat: joining, going on, leaving, and the answer. Everything that a member says
 * and hears travels in this one request; what it says is looked at in group_consumer_check.c. */
#include "engine/group/group_inner.h"

#include <stdio.h>

/* ---- the answer */

static void
heartbeat_refuse(struct groups *groups,
                 const struct group_call *call,
                 int16_t error,
                 const char *why)
{
    struct kafka_consumer_group_heartbeat_response response;

    kafka_consumer_group_heartbeat_response_defaults(&response);
    response.error = error;
    if (why != NULL)
        response.error_message = (struct bytes){(const uint8_t *)why, strlen(why)};
    response.heartbeat_interval_ms = groups->config.limits.consumer_heartbeat_ms;
    groups__answer(groups, call->token, &response);
}

static bool
answer_assignment(const struct groups *groups,
                  const struct group_set *set,
                  struct kafka_arena *arena,
                  struct kafka_consumer_group_heartbeat_response_assignment *ret)
{
    struct kafka_consumer_group_heartbeat_response_topic_partitions *topics = kafka_arena_take(
        arena, set->count * sizeof(*topics) + 8);
    int32_t *partitions = kafka_arena_take(arena, set->count * sizeof(*partitions) + 8);
    uint32_t count = 0;

    if (topics == NULL || partitions == NULL)
        return false;
    for (uint32_t i = 0; i < set->count; i++) {
        uint32_t topic = set__topic(set->at[i]);
        if (i == 0 || set__topic(set->at[i - 1]) != topic) {
            bytes_copy(topics[count].topic_id.at, 16, ctopic__at(groups, topic)->id, 16);
            topics[count++].partitions.at = &partitions[i];
        }
        partitions[i] = (int32_t)(uint32_t)set->at[i];
        topics[count - 1].partitions.count++;
    }
    ret->topic_partitions.at = topics;
    ret->topic_partitions.count = count;
    return true;
}

static void
heartbeat_answer(struct groups *groups,
                 uint64_t token,
                 const struct member *member,
                 bool with_assignment)
{
    struct kafka_arena arena = groups->config.hooks.scratch(groups->config.hooks.ctx);
    struct kafka_consumer_group_heartbeat_response response;
    struct kafka_consumer_group_heartbeat_response_assignment assignment = {0};

    kafka_consumer_group_heartbeat_response_defaults(&response);
    response.member_id = member->id;
    response.member_epoch = member->consumer.epoch;
    response.heartbeat_interval_ms = groups->config.limits.consumer_heartbeat_ms;
    if (with_assignment &&
        !answer_assignment(groups, &member->consumer.assigned, &arena, &assignment))
        response.error = KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE;
    if (with_assignment) {
        response.assignment.at = &assignment;
        response.assignment.count = 1;
    }
    groups__answer(groups, token, &response);
}

static void
answer_left(struct groups *groups, const struct group_wait *wait)
{
    struct kafka_consumer_group_heartbeat_response response;

    kafka_consumer_group_heartbeat_response_defaults(&response);
    response.member_id = wait->member_id;
    response.member_epoch = wait->leave_epoch;
    groups__answer(groups, wait->token, &response);
}

void
consumer__heartbeat_durable(struct groups *groups, struct group_wait *wait, enum rc rc)
{
    const struct group_call call = {.token = wait->token};
    const struct group *group = group__at(groups, wait->group);
    struct member *member = wait->member_serial == 0 ? NULL
                                                     : member__find(groups, group, wait->member_id);

    if (member != NULL && member->serial != wait->member_serial)
        member = NULL;
    if (member != NULL && rc != RC_OK)
        member->consumer.is_dirty = true;
    /* What a later heartbeat of the same member changed is not durable yet. */
    bool is_overtaken = member != NULL && member->consumer.record_number > wait->number;

    if (rc != RC_OK || is_overtaken)
        heartbeat_refuse(groups, &call, KAFKA_ERROR_COORDINATOR_LOAD_IN_PROGRESS, NULL);
    else if (wait->leave_epoch < 0)
        answer_left(groups, wait);
    else if (member == NULL)
        heartbeat_refuse(groups, &call, KAFKA_ERROR_UNKNOWN_MEMBER_ID, "the member is gone");
    else
        heartbeat_answer(groups, wait->token, member, wait->with_assignment);
    group_heap_drop(&groups->heap, &wait->member_id);
}

/* ---- joining and going on */

/* A new epoch with new targets, if anything about subscriptions is new; 0 or an error. */
static int16_t
group_refresh(struct groups *groups,
              struct group *group,
              struct member *member,
              bool changed,
              struct group_time time)
{
    uint64_t version = groups->config.hooks.topics_version(groups->config.hooks.ctx);
    bool ok = !changed || consumer__resolve(groups, member);

    for (uint32_t idx = group->member_first;
         ok && group->topics_version != version && idx != SLAB_NONE;) {
        struct member *other = member__at(groups, idx);
        idx = other->after;
        ok = consumer__resolve(groups, other);
    }
    if (!ok)
        return KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE;
    group->topics_version = version;
    changed |= group->topics_hash != consumer__topics_hash(groups, group);
    if ((changed || group->needs_targets) && !consumer__bump(groups, group, time))
        return KAFKA_ERROR_COORDINATOR_LOAD_IN_PROGRESS;
    return KAFKA_ERROR_NONE;
}

static void
heartbeat_store(struct groups *groups,
                struct group *group,
                struct member *member,
                const struct consumer_heartbeat *beat,
                bool with_assignment)
{
    struct consumer *consumer = &member->consumer;
    struct group_wait wait = {.kind = GROUP_WAIT_CONSUMER,
                              .token = beat->call->token,
                              .group = group__idx(groups, group),
                              .member_serial = member->serial,
                              .with_assignment = with_assignment};

    if (!consumer->is_dirty && consumer->record_number <= groups->durable_number) {
        heartbeat_answer(groups, beat->call->token, member, with_assignment);
        return;
    }
    bool ok = groups->waits.used < groups->waits.count &&
              group_heap_copy(&groups->heap, member->id, &wait.member_id);
    if (ok && consumer->is_dirty)
        ok = record__append_consumer_member(groups, group, member, &consumer->record_number);
    if (!ok) {
        group_heap_drop(&groups->heap, &wait.member_id);
        heartbeat_refuse(groups, beat->call, KAFKA_ERROR_COORDINATOR_LOAD_IN_PROGRESS, NULL);
        return;
    }
    consumer->is_dirty = false;
    wait.number = consumer->record_number;
    wait__add(groups, &wait);
}

static void
heartbeat_go_on(struct groups *groups, struct group *group, const struct consumer_heartbeat *beat)
{
    const struct kafka_consumer_group_heartbeat_request *request = beat->request;
    struct member *member = NULL;
    bool changed = false;
    int16_t error = heartbeat__identify(groups, group, beat, &member);

    if (error == KAFKA_ERROR_NONE) {
        member__heard(groups, member, beat->time.now_ns);
        error = KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE;
        if (heartbeat__update(groups, member, beat, &changed))
            error = group_refresh(groups, group, member, changed, beat->time);
        group->needs_targets |= error != KAFKA_ERROR_NONE;
    }
    if (error != KAFKA_ERROR_NONE) {
        heartbeat_refuse(groups, beat->call, error, NULL);
        return;
    }
    struct consumer *consumer = &member->consumer;
    bool has_said = request->topic_partitions.at != NULL;
    bool is_behind = request->member_epoch != consumer->epoch; /* the last answer was lost */
    uint64_t held = set__hash(groups, &consumer->assigned);
    bool moved = consumer__reconcile(groups, group, member, has_said ? &beat->owned : NULL);
    consumer->is_dirty |= moved;
    if (consumer->state != CONSUMER_UNREVOKED)
        consumer->revoke_deadline_ns = NO_DEADLINE;
    else if (moved) /* also from one revocation into the next */
        consumer->revoke_deadline_ns = beat->time.now_ns + member->rebalance_ns;
    consumer__settle_state(groups, group, beat->time);
    group__wake(groups, group, consumer->revoke_deadline_ns);
    bool is_full = has_said && request->rebalance_timeout_ms >= 0 &&
                   (request->subscribed_topic_names.at != NULL ||
                    request->subscribed_topic_regex.at != NULL);
    if (set__hash(groups, &consumer->assigned) != held || is_behind)
        consumer->is_untold = true;
    else if (has_said && !beat->owns_unknown &&
             set__equals(&consumer->assigned, beat->owned.at, beat->owned.count))
        consumer->is_untold = false;
    /* Told until it is confirmed: an answer that found too little room is asked for again. */
    bool with_assignment = request->member_epoch == 0 || is_full || consumer->is_untold;
    heartbeat_store(groups, group, member, beat, with_assignment);
}

/* ---- leaving */

static int16_t
leave_check(struct groups *groups,
            const struct group *group,
            const struct consumer_heartbeat *beat,
            struct member **ret_member)
{
    struct bytes instance = beat->request->instance_id;
    struct member *member = instance.at != NULL ? member__find_instance(groups, group, instance)
                                                : member__find(groups, group, beat->member_id);

    if (member == NULL)
        return KAFKA_ERROR_UNKNOWN_MEMBER_ID;
    if (!bytes__equal(member->id, beat->member_id))
        return KAFKA_ERROR_FENCED_INSTANCE_ID;
    *ret_member = member;
    return KAFKA_ERROR_NONE;
}

static void
heartbeat_leave(struct groups *groups, struct group *group, const struct consumer_heartbeat *beat)
{
    struct group_wait wait = {.kind = GROUP_WAIT_CONSUMER,
                              .token = beat->call->token,
                              .group = group__idx(groups, group),
                              .leave_epoch = beat->request->member_epoch};
    struct member *member = NULL;
    int16_t error = leave_check(groups, group, beat, &member);

    if (error == KAFKA_ERROR_NONE &&
        (groups->waits.used == groups->waits.count ||
         !group_heap_copy(&groups->heap, beat->member_id, &wait.member_id)))
        error = KAFKA_ERROR_COORDINATOR_LOAD_IN_PROGRESS;
    if (error == KAFKA_ERROR_NONE && wait.leave_epoch == CONSUMER_EPOCH_STATIC) {
        member->consumer.epoch = CONSUMER_EPOCH_STATIC;
        consumer__settle_state(groups, group, beat->time);
        if (!record__append_consumer_member(groups, group, member, &wait.number))
            error = KAFKA_ERROR_COORDINATOR_LOAD_IN_PROGRESS;
    } else if (error == KAFKA_ERROR_NONE) {
        if (consumer__drop_member(groups, member, GROUP_CAUSE_LEAVE, beat->time))
            wait.number = groups->gone_number;
        else
            error = KAFKA_ERROR_COORDINATOR_LOAD_IN_PROGRESS;
    }
    if (error == KAFKA_ERROR_NONE) {
        wait__add(groups, &wait);
        return;
    }
    group_heap_drop(&groups->heap, &wait.member_id);
    heartbeat_refuse(groups, beat->call, error, NULL);
}

/* ---- the request */

/* The group of a request, made or converted if need be. */
static int16_t
group_enter(struct groups *groups, const struct consumer_heartbeat *beat, struct group **ret_group)
{
    struct group *group = group__find(groups, beat->request->group_id);
    bool joins = beat->request->member_epoch == 0;

    if (group == NULL && !joins)
        return KAFKA_ERROR_UNKNOWN_MEMBER_ID;
    if (group == NULL) {
        group = group__add(groups, beat->request->group_id);
        if (group == NULL)
            return KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE;
        group->state_ms = beat->time.wall_ms;
    }
    if (group->state == GROUP_DEAD)
        return KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE;
    if (group->kind != GROUP_CONSUMER) {
        if (group->state != GROUP_EMPTY || group->pending_count > 0 || !joins)
            return KAFKA_ERROR_GROUP_ID_NOT_FOUND; /* not one of this protocol */
        group__convert(groups, group, GROUP_CONSUMER);
    }
    *ret_group = group;
    return KAFKA_ERROR_NONE;
}

void
groups_consumer_heartbeat(struct groups *groups,
                          const struct group_call *call,
                          const struct kafka_consumer_group_heartbeat_request *request,
                          struct group_time time)
{
    struct consumer_heartbeat beat = {
        .call = call, .request = request, .time = time, .member_id = request->member_id};
    char text[40];
    struct group *group = NULL;
    int16_t error = heartbeat__check(&beat);

    if (error == KAFKA_ERROR_NONE && !heartbeat__read_owned(groups, &beat)) {
        beat.why = "more partitions than group.consumer.partitions_max";
        error = KAFKA_ERROR_INVALID_REQUEST;
    }
    if (error == KAFKA_ERROR_NONE)
        error = group_enter(groups, &beat, &group);
    if (error != KAFKA_ERROR_NONE) {
        heartbeat_refuse(groups, call, error, beat.why);
        return;
    }
    if (beat.member_id.count == 0) { /* version 0: the broker names it */
        int count = snprintf(
            text,
            sizeof(text),
            "%016llx%016llx",
            (unsigned long long)groups->config.hooks.draw(groups->config.hooks.ctx),
            (unsigned long long)groups->config.hooks.draw(groups->config.hooks.ctx));
        beat.member_id = (struct bytes){(const uint8_t *)text, (size_t)count};
    }
    groups->counters.joins += request->member_epoch == 0;
    if (request->member_epoch < 0)
        heartbeat_leave(groups, group, &beat);
    else
        heartbeat_go_on(groups, group, &beat);
}
