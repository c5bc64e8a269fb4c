/* See fixture.h. Requests live on the heap because parked ones are borrowed until they are
 * answered; the process of a test ends with it. */
#include "tests/unit/engine/group/fixture.h"
#include "tests/unit/engine/group/fixture_more.h"

#include "tests/unit/kept.h"

#include <criterion/criterion.h>
#include <stdio.h>

struct bytes
text(const char *text)
{
    return text == NULL ? (struct bytes){0} : (struct bytes){(const uint8_t *)text, strlen(text)};
}

static void
keep(char *to, size_t capacity, struct bytes from)
{
    snprintf(to, capacity, "%.*s", (int)from.count, from.count > 0 ? (const char *)from.at : "");
}

/* ---- answers */

static void
keep_join(struct fixture_answer *answer, const struct kafka_join_group_response *response)
{
    answer->error = response->error;
    answer->generation = response->generation_id;
    keep(answer->leader, sizeof(answer->leader), response->leader);
    keep(answer->member_id, sizeof(answer->member_id), response->member_id);
    keep(answer->protocol, sizeof(answer->protocol), response->protocol_name);
    answer->member_count = response->members.count;
    answer->skip_assignment = response->skip_assignment;
}

static void
keep_fetch(struct fixture_answer *answer, const struct kafka_offset_fetch_response *response)
{
    answer->error = response->error;
    for (uint32_t t = 0; t < response->topics.count; t++)
        for (uint32_t p = 0; p < response->topics.at[t].partitions.count; p++) {
            const struct kafka_offset_fetch_response_partition *partition =
                &response->topics.at[t].partitions.at[p];
            cr_assert_lt(answer->item_count, 16);
            keep(answer->metadata[answer->item_count], 32, partition->metadata);
            answer->errors[answer->item_count] = partition->error;
            answer->offsets[answer->item_count++] = partition->committed_offset;
        }
}

static void
keep_items(struct fixture_answer *answer, int16_t api, const void *response)
{
    if (api == 8) {
        const struct kafka_offset_commit_response *commit = response;
        for (uint32_t t = 0; t < commit->topics.count; t++)
            for (uint32_t p = 0; p < commit->topics.at[t].partitions.count; p++)
                answer->errors[answer->item_count++] = commit->topics.at[t].partitions.at[p].error;
    } else if (api == 28) {
        const struct kafka_txn_offset_commit_response *commit = response;
        for (uint32_t t = 0; t < commit->topics.count; t++)
            for (uint32_t p = 0; p < commit->topics.at[t].partitions.count; p++)
                answer->errors[answer->item_count++] = commit->topics.at[t].partitions.at[p].error;
    } else if (api == 42) {
        const struct kafka_delete_groups_response *gone = response;
        for (uint32_t i = 0; i < gone->results.count; i++)
            answer->errors[answer->item_count++] = gone->results.at[i].error;
    } else if (api == 47) {
        const struct kafka_offset_delete_response *gone = response;
        answer->error = gone->error;
        for (uint32_t t = 0; t < gone->topics.count; t++)
            for (uint32_t p = 0; p < gone->topics.at[t].partitions.count; p++)
                answer->errors[answer->item_count++] = gone->topics.at[t].partitions.at[p].error;
    } else if (api == 15) {
        const struct kafka_describe_groups_response *groups = response;
        for (uint32_t i = 0; i < groups->groups.count; i++) {
            keep(answer->states[i], 32, groups->groups.at[i].group_state);
            answer->member_count = groups->groups.at[i].members.count;
            answer->item_count++;
        }
    } else if (api == 16) {
        fixture_keep_listed(answer, response);
    } else if (api == 69) {
        fixture_keep_described(answer, response);
    } else if (api == 13) {
        const struct kafka_leave_group_response *left = response;
        answer->error = left->error;
        for (uint32_t i = 0; i < left->members.count; i++)
            answer->errors[answer->item_count++] = left->members.at[i].error;
    }
}

static void
hook_answer(void *ctx, uint64_t token, const void *response)
{
    struct fixture *fixture = ctx;
    struct fixture_answer *answer = &fixture->answers[token];

    answer->count++;
    switch (fixture->api[token]) {
    case 11:
        keep_join(answer, response);
        break;
    case 14: {
        const struct kafka_sync_group_response *sync = response;
        answer->error = sync->error;
        keep(answer->assignment, sizeof(answer->assignment), sync->assignment);
        break;
    }
    case 12:
        answer->error = ((const struct kafka_heartbeat_response *)response)->error;
        break;
    case 9:
        if (((const struct kafka_offset_fetch_response *)response)->groups.count > 0)
            fixture_keep_fetched(answer, response);
        else
            keep_fetch(answer, response);
        break;
    case 68:
        fixture_keep_beat(fixture, answer, response);
        break;
    default:
        keep_items(answer, fixture->api[token], response);
    }
}

/* ---- the log and the rest */

static struct bytes
copy(struct bytes from)
{
    if (from.at == NULL)
        return (struct bytes){0};
    uint8_t *to = kept(malloc(from.count + 1));
    memcpy(to, from.at, from.count);
    return (struct bytes){to, from.count};
}

static bool
hook_append(void *ctx, struct bytes key, struct bytes value, uint64_t *ret_number)
{
    struct fixture *fixture = ctx;

    if (fixture->log_full || fixture->record_count == FIXTURE_RECORDS)
        return false;
    fixture->records[fixture->record_count] = (struct fixture_record){copy(key), copy(value)};
    *ret_number = ++fixture->record_count;
    return true;
}

static uint32_t
hook_partition_count(void *ctx, struct bytes topic)
{
    (void)ctx;
    char last = topic.count > 0 ? (char)topic.at[topic.count - 1] : '0';
    return last >= '0' && last <= '9' ? (uint32_t)(last - '0') : 0;
}

static struct kafka_arena
hook_scratch(void *ctx)
{
    struct fixture *fixture = ctx;

    memset(fixture->scratch, 0xdd, 4096);
    return kafka_arena_over(fixture->scratch, sizeof(fixture->scratch));
}

static uint64_t
hook_random(void *ctx)
{
    struct fixture *fixture = ctx;

    return fixture->random++;
}

static int16_t
hook_check_transaction(void *ctx, const struct kafka_txn_offset_commit_request *request)
{
    (void)request;
    return ((struct fixture *)ctx)->transaction_error;
}

static void
hook_ended(void *ctx, uint64_t token, enum rc rc)
{
    struct fixture *fixture = ctx;

    fixture->ended_count++;
    fixture->ended_token = token;
    fixture->ended_rc = rc;
}

struct groups_limits
fixture_limits(void)
{
    return (struct groups_limits){
        .groups_max = 64,
        .members_max = 256,
        .size_max = 100,
        .offsets_max = 512,
        .transactions_max = 16,
        .consumer_topics_max = 64,
        .consumer_partitions_max = 512,
        .consumer_session_ns = 45 * NS_PER_S,
        .consumer_heartbeat_ms = 5000,
        .memory_bytes = 4 * MIB,
        .metadata_bytes_max = 16,
        .session_min_ns = 6 * NS_PER_S,
        .session_max_ns = 1800 * NS_PER_S,
        .initial_delay_ns = 0,
        .retention_ms = 60000,
    };
}

struct fixture *
fixture_with(const struct groups_limits *limits)
{
    struct fixture *fixture = kept(calloc(1, sizeof(*fixture)));
    struct diag_trail trail = {0};

    fixture->config = (struct groups_config){
        .limits = *limits,
        .hooks = {.ctx = fixture,
                  .answer = hook_answer,
                  .append = hook_append,
                  .partition_count = hook_partition_count,
                  .topic = fixture_topic,
                  .next_topic = fixture_next_topic,
                  .topics_version = fixture_topics_version,
                  .scratch = hook_scratch,
                  .draw = hook_random,
                  .check_transaction = hook_check_transaction,
                  .ended = hook_ended},
        .hash_seed = 7,
    };
    fixture->time = (struct group_time){.now_ns = NS_PER_S, .wall_ms = 1000000};
    fixture->next_token = 1;
    fixture->auto_durable = true;
    uint64_t bytes = round_up(groups_footprint(limits), 4096);
    fixture->memory = kept(aligned_alloc(4096, bytes));
    memset(fixture->memory, 0, bytes);
    cr_assert_eq(groups_init(fixture->memory, &fixture->config, &fixture->groups, &trail), RC_OK);
    groups_loaded(fixture->groups, fixture->time);
    return fixture;
}

struct fixture *
fixture_new(void)
{
    struct groups_limits limits = fixture_limits();

    return fixture_with(&limits);
}

void
fixture_durable(struct fixture *fixture, enum rc rc)
{
    groups_durable(fixture->groups, fixture->record_count, rc, fixture->time);
}

struct group_call
fixture_begin(struct fixture *fixture, int16_t api, int16_t version, const char *client)
{
    uint64_t token = fixture->next_token++;

    cr_assert_lt(token, FIXTURE_TOKENS);
    fixture->api[token] = api;
    return (struct group_call){
        .token = token, .version = version, .client_id = text(client), .client_host = text("/h")};
}

uint64_t
fixture_end(struct fixture *fixture, const struct group_call *call)
{
    if (fixture->auto_durable)
        fixture_durable(fixture, RC_OK);
    cr_assert_leq(fixture->answers[call->token].count, 1);
    return call->token;
}

/* ---- requests */

/* Cuts the first word off a list with commas; NULL at its end. */
static char *
next_word(char **rest)
{
    char *word = *rest;
    size_t count = strcspn(word, ",");

    if (count == 0)
        return NULL;
    *rest = word[count] == ',' ? word + count + 1 : word + count;
    word[count] = '\0';
    return word;
}

static struct bytes
subscription(const char *topics)
{
    uint8_t *at = kept(calloc(1, 256));
    char *names = kept(strdup(topics));
    size_t count = 6; /* version 0 and the count of names */

    for (char *name; (name = next_word(&names)) != NULL; at[5]++) {
        cr_assert_lt(count + 2 + strlen(name) + 4, 256);
        at[count + 1] = (uint8_t)strlen(name);
        bytes_copy(at + count + 2, 256 - count - 2, name, strlen(name));
        count += 2 + strlen(name);
    }
    return (struct bytes){at, count + 4}; /* no user data */
}

uint64_t
fixture_join(struct fixture *fixture, const struct join *join)
{
    struct group_call call = fixture_begin(
        fixture, 11, join->version != 0 ? join->version : 5, join->client);
    struct kafka_join_group_request_protocol *protocols = kept(calloc(8, sizeof(*protocols)));
    struct kafka_join_group_request *request = kept(calloc(1, sizeof(*request)));
    char *names = kept(strdup(join->protocols != NULL ? join->protocols : "range"));
    uint32_t count = 0;

    for (char *name; count < 8 && (name = next_word(&names)) != NULL;) {
        char *meta = kept(malloc(128));
        snprintf(meta, 128, "%s%s", name, join->meta != NULL ? join->meta : "");
        protocols[count++] = (struct kafka_join_group_request_protocol){
            text(name), join->topics != NULL ? subscription(join->topics) : text(meta)};
    }
    kafka_join_group_request_defaults(request);
    request->group_id = text(join->group);
    request->session_timeout_ms = join->session_ms != 0 ? join->session_ms : 10000;
    request->rebalance_timeout_ms = join->rebalance_ms != 0 ? join->rebalance_ms : 60000;
    request->member_id = text(join->member);
    request->group_instance_id = text(join->instance);
    request->protocol_type = text(join->type != NULL ? join->type : "consumer");
    request->protocols.at = protocols;
    request->protocols.count = count;
    groups_join(fixture->groups, &call, request, fixture->time);
    return fixture_end(fixture, &call);
}

uint64_t
fixture_sync(struct fixture *fixture,
             const char *group,
             const char *member,
             int32_t generation,
             const char *assignments)
{
    struct group_call call = fixture_begin(fixture, 14, 3, "c");
    struct kafka_sync_group_request *request = kept(calloc(1, sizeof(*request)));
    struct kafka_sync_group_request_assignment *list = kept(calloc(16, sizeof(*list)));
    uint32_t count = 0;

    kafka_sync_group_request_defaults(request);
    request->group_id = text(group);
    request->member_id = text(member);
    request->generation_id = generation;
    char *pairs = kept(strdup(assignments != NULL ? assignments : ""));
    for (char *pair; count < 16 && (pair = next_word(&pairs)) != NULL;) {
        char *equals = strchr(pair, '=');
        *equals = '\0';
        list[count++] = (struct kafka_sync_group_request_assignment){text(pair), text(equals + 1)};
    }
    request->assignments.at = list;
    request->assignments.count = count;
    groups_sync(fixture->groups, &call, request, fixture->time);
    return fixture_end(fixture, &call);
}

uint64_t
fixture_heartbeat(struct fixture *fixture,
                  const char *group,
                  const char *member,
                  int32_t generation)
{
    struct group_call call = fixture_begin(fixture, 12, 3, "c");
    struct kafka_heartbeat_request request;

    kafka_heartbeat_request_defaults(&request);
    request.group_id = text(group);
    request.member_id = text(member);
    request.generation_id = generation;
    groups_heartbeat(fixture->groups, &call, &request, fixture->time);
    return fixture_end(fixture, &call);
}

uint64_t
fixture_leave(struct fixture *fixture, const char *group, const char *member)
{
    struct group_call call = fixture_begin(fixture, 13, 3, "c");
    struct kafka_leave_group_request request;
    struct kafka_leave_group_request_member_identity who = {.member_id = text(member)};

    kafka_leave_group_request_defaults(&request);
    request.group_id = text(group);
    request.members.at = &who;
    request.members.count = 1;
    groups_leave(fixture->groups, &call, &request, fixture->time);
    return fixture_end(fixture, &call);
}

uint64_t
fixture_commit(struct fixture *fixture, const struct commit *commit)
{
    struct group_call call = fixture_begin(
        fixture, 8, commit->version != 0 ? commit->version : 8, "c");
    struct kafka_offset_commit_request *request = kept(calloc(1, sizeof(*request)));
    struct kafka_offset_commit_request_topic *topic = kept(calloc(1, sizeof(*topic)));
    struct kafka_offset_commit_request_partition *partition = kept(calloc(1, sizeof(*partition)));

    kafka_offset_commit_request_defaults(request);
    request->group_id = text(commit->group);
    request->member_id = text(commit->member);
    request->generation_id_or_member_epoch = commit->generation;
    request->topics.at = topic;
    request->topics.count = 1;
    topic->name = text(commit->topic);
    topic->partitions.at = partition;
    topic->partitions.count = 1;
    *partition = (struct kafka_offset_commit_request_partition){
        .index = commit->partition,
        .committed_offset = commit->offset,
        .committed_leader_epoch = 3,
        .committed_metadata = text(commit->metadata),
    };
    groups_commit(fixture->groups, &call, request, fixture->time);
    return fixture_end(fixture, &call);
}

uint64_t
fixture_fetch(struct fixture *fixture, const char *group, const char *topic, int32_t partition)
{
    struct group_call call = fixture_begin(fixture, 9, 7, "c");
    struct kafka_offset_fetch_request request;
    struct kafka_offset_fetch_request_topic one = {
        .name = text(topic), .partition_indexes = {.at = &partition, .count = 1}};

    kafka_offset_fetch_request_defaults(&request);
    request.group_id = text(group);
    request.require_stable = fixture->is_stable_only;
    if (topic != NULL) {
        request.topics.at = &one;
        request.topics.count = 1;
    }
    groups_fetch_offsets(fixture->groups, &call, &request);
    return fixture_end(fixture, &call);
}

uint64_t
fixture_describe(struct fixture *fixture, const char *group)
{
    struct group_call call = fixture_begin(fixture, 15, 5, "c");
    struct kafka_describe_groups_request request;
    struct bytes name = text(group);

    kafka_describe_groups_request_defaults(&request);
    request.groups.at = &name;
    request.groups.count = 1;
    groups_describe(fixture->groups, &call, &request);
    return fixture_end(fixture, &call);
}

uint64_t
fixture_delete(struct fixture *fixture, const char *group)
{
    struct group_call call = fixture_begin(fixture, 42, 2, "c");
    struct kafka_delete_groups_request *request = kept(calloc(1, sizeof(*request)));
    struct bytes *name = kept(malloc(sizeof(*name)));

    *name = text(group);
    request->groups_names.at = name;
    request->groups_names.count = 1;
    groups_delete(fixture->groups, &call, request);
    return fixture_end(fixture, &call);
}

uint64_t
fixture_delete_offset(struct fixture *fixture,
                      const char *group,
                      const char *topic,
                      int32_t partition)
{
    struct group_call call = fixture_begin(fixture, 47, 0, "c");
    struct kafka_offset_delete_request *request = kept(calloc(1, sizeof(*request)));
    struct kafka_offset_delete_request_topic *one = kept(calloc(1, sizeof(*one)));
    struct kafka_offset_delete_request_partition *part = kept(calloc(1, sizeof(*part)));

    part->index = partition;
    one->name = text(topic);
    one->partitions.at = part;
    one->partitions.count = 1;
    request->group_id = text(group);
    request->topics.at = one;
    request->topics.count = 1;
    groups_delete_offsets(fixture->groups, &call, request);
    return fixture_end(fixture, &call);
}

/* ---- looking */

const struct fixture_answer *
fixture_answer(const struct fixture *fixture, uint64_t token)
{
    cr_assert_eq(fixture->answers[token].count, 1, "token %llu", (unsigned long long)token);
    return &fixture->answers[token];
}

bool
fixture_is_parked(const struct fixture *fixture, uint64_t token)
{
    return fixture->answers[token].count == 0;
}

void
fixture_pass(struct fixture *fixture, uint64_t ms)
{
    while (ms > 0) {
        uint64_t step_ms = ms < 100 ? ms : 100;
        fixture->time.now_ns += step_ms * NS_PER_MS;
        fixture->time.wall_ms += (int64_t)step_ms;
        ms -= step_ms;
        groups_tick(fixture->groups, fixture->time);
        if (fixture->auto_durable)
            fixture_durable(fixture, RC_OK);
    }
}

struct fixture *
fixture_restart(const struct fixture *fixture)
{
    struct fixture *next = fixture_with(&fixture->config.limits);
    struct diag_trail trail = {0};

    memcpy(next->topics, fixture->topics, sizeof(next->topics));
    next->topic_count = fixture->topic_count;
    next->topics_version = fixture->topics_version;
    next->time = fixture->time;
    next->random = fixture->random;
    for (uint32_t i = 0; i < fixture->record_count; i++)
        cr_assert_eq(
            groups_replay(next->groups, fixture->records[i].key, fixture->records[i].value, &trail),
            RC_OK);
    groups_loaded(next->groups, next->time);
    return next;
}

const char *
fixture_stable(struct fixture *fixture, const char *group, int32_t *ret_generation)
{
    struct join join = {.group = group, .client = "c", .version = 3};
    const struct fixture_answer *answer = fixture_answer(fixture, fixture_join(fixture, &join));
    char pair[200];

    cr_assert_eq(answer->error, 0);
    snprintf(pair, sizeof(pair), "%s=all", answer->member_id);
    uint64_t sync = fixture_sync(fixture, group, answer->member_id, answer->generation, pair);
    cr_assert_eq(fixture_answer(fixture, sync)->error, 0);
    *ret_generation = answer->generation;
    return answer->member_id;
}
