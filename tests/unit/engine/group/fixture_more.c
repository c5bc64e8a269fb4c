/* The fixture's part for transactions and for the consumer protocol; see fixture.h. */
#include "tests/unit/engine/group/fixture_more.h"

#include "tests/unit/kept.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- transactions */

uint64_t
fixture_txn_commit(struct fixture *fixture, const struct txn_commit *commit)
{
    struct group_call call = fixture_begin(
        fixture, 28, commit->version != 0 ? commit->version : 3, "c");
    struct kafka_txn_offset_commit_request *request = kept(calloc(1, sizeof(*request)));
    struct kafka_txn_offset_commit_request_topic *topic = kept(calloc(1, sizeof(*topic)));
    struct kafka_txn_offset_commit_request_partition *partition = kept(
        calloc(1, sizeof(*partition)));

    kafka_txn_offset_commit_request_defaults(request);
    request->transactional_id = text("t");
    request->group_id = text(commit->group);
    request->producer_id = commit->producer;
    request->producer_epoch = commit->epoch;
    request->member_id = text(commit->member);
    request->generation_id = commit->generation;
    request->topics.at = topic;
    request->topics.count = 1;
    topic->name = text(commit->topic);
    topic->partitions.at = partition;
    topic->partitions.count = 1;
    *partition = (struct kafka_txn_offset_commit_request_partition){
        .index = commit->partition,
        .committed_offset = commit->offset,
        .committed_leader_epoch = 3,
        .committed_metadata = text(commit->metadata),
    };
    groups_commit_transaction(fixture->groups, &call, request, fixture->time);
    return fixture_end(fixture, &call);
}

uint64_t
fixture_txn_end(struct fixture *fixture, int64_t producer, int16_t epoch, bool is_commit)
{
    const struct group_transaction_end what = {.token = fixture->next_token++,
                                               .producer_id = producer,
                                               .producer_epoch = epoch,
                                               .is_commit = is_commit};

    groups_end_transaction(fixture->groups, &what, fixture->time);
    if (fixture->auto_durable)
        fixture_durable(fixture, RC_OK);
    return what.token;
}

/* ---- topics */

bool
fixture_topic(void *ctx, struct bytes name, struct group_topic_info *ret)
{
    const struct fixture *fixture = ctx;

    for (uint32_t i = 0; i < fixture->topic_count; i++) {
        const struct fixture_topic *topic = &fixture->topics[i];
        if (strlen(topic->name) != name.count || memcmp(topic->name, name.at, name.count) != 0)
            continue;
        memset(ret->id, topic->id, sizeof(ret->id));
        ret->name = text(topic->name);
        ret->partition_count = topic->partitions;
        return topic->partitions > 0;
    }
    return false;
}

bool
fixture_next_topic(void *ctx, uint32_t *cursor, struct group_topic_info *ret)
{
    const struct fixture *fixture = ctx;

    while (*cursor < fixture->topic_count)
        if (fixture_topic(ctx, text(fixture->topics[(*cursor)++].name), ret))
            return true;
    return false;
}

uint64_t
fixture_topics_version(void *ctx)
{
    return ((const struct fixture *)ctx)->topics_version;
}

/* ---- the consumer protocol */

static const char *
topic_name(const struct fixture *fixture, const struct kafka_uuid *id)
{
    for (uint32_t i = 0; i < fixture->topic_count; i++)
        if (fixture->topics[i].id == id->at[0])
            return fixture->topics[i].name;
    return "?";
}

void
fixture_keep_beat(struct fixture *fixture,
                  struct fixture_answer *answer,
                  const struct kafka_consumer_group_heartbeat_response *response)
{
    size_t at = 0;

    answer->error = response->error;
    answer->generation = response->member_epoch;
    snprintf(answer->member_id,
             sizeof(answer->member_id),
             "%.*s",
             (int)response->member_id.count,
             response->member_id.count > 0 ? (const char *)response->member_id.at : "");
    strcpy(answer->assignment, response->assignment.count > 0 ? "" : "-");
    for (uint32_t i = 0; i < response->assignment.count; i++)
        for (uint32_t t = 0; t < response->assignment.at[i].topic_partitions.count; t++) {
            const struct kafka_consumer_group_heartbeat_response_topic_partitions *topic =
                &response->assignment.at[i].topic_partitions.at[t];
            for (uint32_t p = 0; p < topic->partitions.count; p++) {
                at += (size_t)snprintf(answer->assignment + at,
                                       sizeof(answer->assignment) - at,
                                       p == 0 ? "%s%s:%d" : "%s%s%d",
                                       p == 0 ? (t == 0 ? "" : ";") : ",",
                                       p == 0 ? topic_name(fixture, &topic->topic_id) : "",
                                       topic->partitions.at[p]);
                cr_assert_lt(at, sizeof(answer->assignment));
            }
        }
}

/* "a,b" as a list. */
static struct kafka_string_list
name_list(const char *names)
{
    struct bytes *list = kept(calloc(16, sizeof(*list)));
    char *rest = kept(strdup(names));
    uint32_t count = 0;

    for (char *word; count < 16 && (word = strsep(&rest, ",")) != NULL;)
        if (word[0] != '\0')
            list[count++] = text(word);
    return (struct kafka_string_list){.at = list, .count = count};
}

static void
put_owned(const struct fixture *fixture,
          const char *owned,
          struct kafka_consumer_group_heartbeat_request *request)
{
    struct kafka_consumer_group_heartbeat_request_topic_partitions *topics = kept(
        calloc(16, sizeof(*topics)));
    char *rest = kept(strdup(owned));
    uint32_t count = 0;

    for (char *topic; count < 16 && (topic = strsep(&rest, ";")) != NULL;) {
        char *numbers = strchr(topic, ':');
        int32_t *partitions = kept(calloc(64, sizeof(*partitions)));
        if (numbers == NULL)
            continue;
        *numbers++ = '\0';
        for (uint32_t i = 0; i < fixture->topic_count; i++)
            if (strcmp(fixture->topics[i].name, topic) == 0)
                memset(topics[count].topic_id.at, fixture->topics[i].id, 16);
        for (char *number; (number = strsep(&numbers, ",")) != NULL;)
            partitions[topics[count].partitions.count++] = (int32_t)strtol(number, NULL, 10);
        topics[count++].partitions.at = partitions;
    }
    request->topic_partitions.at = topics;
    request->topic_partitions.count = count;
}

uint64_t
fixture_beat(struct fixture *fixture, const struct beat *beat)
{
    struct group_call call = fixture_begin(
        fixture, 68, beat->version != 0 ? beat->version : 1, "c");
    struct kafka_consumer_group_heartbeat_request *request = kept(calloc(1, sizeof(*request)));

    kafka_consumer_group_heartbeat_request_defaults(request);
    request->group_id = text(beat->group);
    request->member_id = text(beat->member);
    request->instance_id = text(beat->instance);
    request->member_epoch = beat->epoch;
    request->rebalance_timeout_ms = beat->rebalance_ms != 0 ? beat->rebalance_ms : -1;
    request->subscribed_topic_regex = text(beat->regex);
    request->server_assignor = text(beat->assignor);
    if (beat->names != NULL)
        request->subscribed_topic_names = name_list(beat->names);
    if (beat->owned != NULL)
        put_owned(fixture, beat->owned, request);
    groups_consumer_heartbeat(fixture->groups, &call, request, fixture->time);
    return fixture_end(fixture, &call);
}

/* ---- ConsumerGroupDescribe, ListGroups and OffsetFetch of several groups, as text */

struct text_end {
    char *at;
    size_t left;
};

static void
put_text(struct text_end *end, const char *before, struct bytes text)
{
    int count = snprintf(end->at,
                         end->left,
                         "%s%.*s",
                         before,
                         (int)text.count,
                         text.count > 0 ? (const char *)text.at : "");

    cr_assert_lt((size_t)count, end->left);
    end->at += count;
    end->left -= (size_t)count;
}

static void
put_number(struct text_end *end, const char *before, int32_t number)
{
    char digits[16];

    snprintf(digits, sizeof(digits), "%d", number);
    put_text(end, before, text(digits));
}

static void
put_assignment(struct text_end *end,
               const char *before,
               const struct kafka_consumer_group_describe_response_assignment *assignment)
{
    put_text(end, before, text(""));
    for (uint32_t t = 0; t < assignment->topic_partitions.count; t++) {
        const struct kafka_consumer_group_describe_response_topic_partitions *topic =
            &assignment->topic_partitions.at[t];
        put_text(end, t == 0 ? "" : ";", topic->topic_name);
        for (uint32_t p = 0; p < topic->partitions.count; p++)
            put_number(end, p == 0 ? ":" : ",", topic->partitions.at[p]);
    }
}

void
fixture_keep_described(struct fixture_answer *answer,
                       const struct kafka_consumer_group_describe_response *response)
{
    const struct kafka_consumer_group_describe_response_group *group = &response->groups.at[0];
    struct text_end end = {answer->text, sizeof(answer->text)};

    cr_assert_eq(response->groups.count, 1u);
    answer->error = group->error;
    answer->member_count = group->members.count;
    put_text(&end, "", group->group_state);
    put_number(&end, " ", group->group_epoch);
    put_text(&end, " ", group->assignor_name);
    for (uint32_t i = 0; i < group->members.count; i++) {
        const struct kafka_consumer_group_describe_response_member *member = &group->members.at[i];
        put_text(&end, "\n", member->member_id);
        put_number(&end, "@", member->member_epoch);
        put_text(&end, " ", member->client_id);
        put_text(&end, " ", member->client_host);
        put_text(&end, " instance=", member->instance_id);
        for (uint32_t n = 0; n < member->subscribed_topic_names.count; n++)
            put_text(&end, n == 0 ? " reads " : ",", member->subscribed_topic_names.at[n]);
        put_text(&end, " regex=", member->subscribed_topic_regex);
        put_assignment(&end, " has=", member->assignment.at);
        put_assignment(&end, " target=", member->target_assignment.at);
    }
}

const struct fixture_answer *
fixture_describe_consumers(struct fixture *fixture, const char *group)
{
    struct group_call call = fixture_begin(fixture, 69, 1, "c");
    struct kafka_consumer_group_describe_request *request = kept(calloc(1, sizeof(*request)));
    struct bytes *id = kept(calloc(1, sizeof(*id)));

    kafka_consumer_group_describe_request_defaults(request);
    *id = text(group);
    request->group_ids.at = id;
    request->group_ids.count = 1;
    groups_consumer_describe(fixture->groups, &call, request);
    return fixture_answer(fixture, fixture_end(fixture, &call));
}

void
fixture_keep_listed(struct fixture_answer *answer,
                    const struct kafka_list_groups_response *response)
{
    struct text_end end = {answer->text, sizeof(answer->text)};

    answer->error = response->error;
    answer->item_count = response->groups.count;
    for (uint32_t i = 0; i < response->groups.count; i++) {
        const struct kafka_list_groups_response_listed_group *group = &response->groups.at[i];
        put_text(&end, i == 0 ? "" : " ", group->group_id);
        put_text(&end, "/", group->group_state);
        put_text(&end, "/", group->group_type);
        put_text(&end, "/", group->protocol_type);
    }
}

const char *
fixture_list_groups(struct fixture *fixture, const char *states, const char *types)
{
    struct group_call call = fixture_begin(fixture, 16, 5, "c");
    struct kafka_list_groups_request *request = kept(calloc(1, sizeof(*request)));

    kafka_list_groups_request_defaults(request);
    if (states != NULL)
        request->states_filter = name_list(states);
    if (types != NULL)
        request->types_filter = name_list(types);
    groups_list(fixture->groups, &call, request);
    const struct fixture_answer *answer = fixture_answer(fixture, fixture_end(fixture, &call));
    cr_assert_eq(answer->error, 0);
    return answer->text;
}

void
fixture_keep_fetched(struct fixture_answer *answer,
                     const struct kafka_offset_fetch_response *response)
{
    struct text_end end = {answer->text, sizeof(answer->text)};

    for (uint32_t g = 0; g < response->groups.count; g++) {
        const struct kafka_offset_fetch_response_group *group = &response->groups.at[g];
        put_text(&end, g == 0 ? "" : "; ", group->group_id);
        cr_assert_eq(group->error, 0);
        for (uint32_t t = 0; t < group->topics.count; t++)
            for (uint32_t p = 0; p < group->topics.at[t].partitions.count; p++) {
                put_text(&end, " ", group->topics.at[t].name);
                put_number(&end, "/", group->topics.at[t].partitions.at[p].index);
                put_number(
                    &end, "=", (int32_t)group->topics.at[t].partitions.at[p].committed_offset);
            }
    }
}

const char *
fixture_fetch_groups(struct fixture *fixture, const char *groups)
{
    struct group_call call = fixture_begin(fixture, 9, 8, "c");
    struct kafka_offset_fetch_request_group list[16];
    struct kafka_string_list names = name_list(groups);
    struct kafka_offset_fetch_request request;

    kafka_offset_fetch_request_defaults(&request);
    for (uint32_t i = 0; i < names.count; i++)
        list[i] = (struct kafka_offset_fetch_request_group){.group_id = names.at[i],
                                                            .member_epoch = -1};
    request.groups.at = list;
    request.groups.count = names.count;
    groups_fetch_offsets(fixture->groups, &call, &request);
    return fixture_answer(fixture, fixture_end(fixture, &call))->text;
}
