/* What is measured: the CPU that heartbeats cost, commits per second, how long a rebalance takes
 * beyond what the protocol itself waits for. */
#include "perf/group/group_load.h"

#include <stdio.h>
#include <stdlib.h>

#define SETTLE_SECONDS 120u
#define COMMIT_VERSION 7

static double
seconds_of(uint64_t ns)
{
    return (double)ns / 1e9;
}

/* Until every member is stable, or `wanted` of them. False: time is over, or something broke. */
static bool
settle(struct group_load *load, uint32_t wanted)
{
    uint64_t end_ns = process_now_ns() + SETTLE_SECONDS * NS_PER_S;

    while (load->stable_count < wanted || load->stable_count > wanted) {
        uint64_t now_ns = process_now_ns();
        if (now_ns > end_ns || load->peers.is_broken || load->errors > 0) {
            fprintf(stderr,
                    "group-load: %u of %u members are stable, %lu errors, the first is %d\n",
                    load->stable_count,
                    wanted,
                    load->errors,
                    load->first_error);
            return false;
        }
        (void)members_heartbeat(load, now_ns);
        peers_poll(&load->peers, 1);
    }
    return true;
}

static bool
members_create(struct group_load *load)
{
    const struct group_options *options = &load->options;
    uint32_t lanes = options->connections / options->members;

    load->member_count = options->groups * options->members;
    load->members = calloc(load->member_count, sizeof(*load->members));
    load->peers.ctx = load;
    load->peers.answered = members_answered;
    if (load->members == NULL || !peers_open(&load->peers, options, options->connections))
        return false;
    /* Answers of a connection come in order and a Join waits for its group, so no two members of
     * a group share a connection. */
    for (uint32_t i = 0; i < load->member_count; i++) {
        load->members[i].group = i / options->members;
        load->members[i].peer = i / options->members % lanes * options->members +
                                i % options->members;
    }
    return true;
}

/* Members that are all there, or as good as there for the floor. */
static bool
heartbeat_prepare(struct group_load *load, bool is_floor)
{
    if (!members_create(load))
        return false;
    for (uint32_t i = 0; i < load->member_count; i++) {
        if (is_floor)
            member_pretend(load, i, process_now_ns());
        else
            member_join(load, i);
    }
    return settle(load, load->member_count);
}

int
mode_heartbeat(struct group_load *load)
{
    struct group_options *options = &load->options;
    static char port[8];
    bool is_floor = strcmp(options->mode, "floor") == 0;

    if (is_floor) {
        options->server_pid = floor_start(port, sizeof(port));
        options->port = port;
    }
    if (options->server_pid < 0 || !heartbeat_prepare(load, is_floor))
        return 1;
    uint64_t begin_ns = process_now_ns() + (uint64_t)(options->warmup_seconds * 1e9);
    uint64_t end_ns = begin_ns + (uint64_t)(options->seconds * 1e9);
    double server_cpu_s = 0;
    double own_cpu_s = 0;
    uint64_t now_ns;
    while ((now_ns = process_now_ns()) < end_ns && !load->peers.is_broken) {
        if (!load->is_measuring && now_ns >= begin_ns) {
            load->is_measuring = true;
            begin_ns = now_ns;
            server_cpu_s = process_cpu_s(options->server_pid);
            own_cpu_s = process_own_cpu_s();
        }
        (void)members_heartbeat(load, now_ns);
        peers_poll(&load->peers, 1);
    }
    double elapsed_s = seconds_of(now_ns - begin_ns);
    server_cpu_s = process_cpu_s(options->server_pid) - server_cpu_s;
    own_cpu_s = process_own_cpu_s() - own_cpu_s;
    printf(
        options->json
            ? "{\"mode\":\"%s\",\"groups\":%u,\"members\":%u,\"connections\":%u,"
              "\"heartbeats_per_s\":%.0f,\"server_cores\":%.4f,\"client_cores\":%.4f,"
              "\"p50_us\":%.0f,\"p99_us\":%.0f,\"errors\":%lu}\n"
            : "%s: %u groups x %u members on %u connections: %.0f heartbeats/s, server %.4f cores, "
              "client %.4f cores, p50 %.0f us, p99 %.0f us, %lu errors\n",
        options->mode,
        options->groups,
        options->members,
        options->connections,
        (double)load->heartbeats / elapsed_s,
        server_cpu_s / elapsed_s,
        own_cpu_s / elapsed_s,
        (double)histogram_quantile(&load->latency, 0.5) / 1e3,
        (double)histogram_quantile(&load->latency, 0.99) / 1e3,
        load->errors);
    return load->errors > 0 || load->peers.is_broken || load->stable_count < load->member_count;
}

/* ---- commits */

static void
commit_send(struct group_load *load, uint32_t idx)
{
    struct kafka_offset_commit_request_partition partition;
    struct kafka_offset_commit_request_topic topic;
    struct kafka_offset_commit_request request;
    const char *topic_name = load->options.topic;
    char name[64];

    kafka_offset_commit_request_partition_defaults(&partition);
    kafka_offset_commit_request_topic_defaults(&topic);
    kafka_offset_commit_request_defaults(&request);
    partition.index = (int32_t)(idx % load->options.partitions);
    partition.committed_offset = (int64_t)load->commits;
    partition.committed_metadata = (struct bytes){(const uint8_t *)"", 0};
    topic.name = (struct bytes){(const uint8_t *)topic_name, strlen(topic_name)};
    topic.partitions.at = &partition;
    topic.partitions.count = 1;
    snprintf(name, sizeof(name), "commit-group-%u", idx % load->options.groups);
    request.group_id = (struct bytes){(const uint8_t *)name, strlen(name)};
    request.member_id = (struct bytes){(const uint8_t *)"", 0};
    request.topics.at = &topic;
    request.topics.count = 1;
    const struct peer_awaited awaited = {.sent_ns = process_now_ns(),
                                         .who = idx,
                                         .api_key = KAFKA_OFFSET_COMMIT,
                                         .version = COMMIT_VERSION};
    peer_request(&load->peers, idx, &awaited, &request);
}

static void
commit_answered(void *ctx, const struct peer_answer *answer)
{
    struct group_load *load = ctx;
    const struct kafka_offset_commit_response *committed = answer->message;
    int16_t error = committed->topics.count == 1 && committed->topics.at[0].partitions.count == 1
                        ? committed->topics.at[0].partitions.at[0].error
                        : -1;

    if (error != 0)
        group_load_error(load, error);
    else if (load->is_measuring) {
        load->commits++;
        histogram_add(&load->latency, answer->now_ns - answer->sent_ns);
    }
    commit_send(load, answer->who);
}

int
mode_commit(struct group_load *load)
{
    const struct group_options *options = &load->options;
    uint64_t begin_ns = process_now_ns() + (uint64_t)(options->warmup_seconds * 1e9);
    uint64_t end_ns = begin_ns + (uint64_t)(options->seconds * 1e9);
    double server_cpu_s = 0;
    uint64_t now_ns;

    load->peers.ctx = load;
    load->peers.answered = commit_answered;
    if (!peers_open(&load->peers, options, options->connections))
        return 1;
    for (uint32_t i = 0; i < options->connections * options->in_flight; i++)
        commit_send(load, i % options->connections);
    while ((now_ns = process_now_ns()) < end_ns && !load->peers.is_broken) {
        if (!load->is_measuring && now_ns >= begin_ns) {
            load->is_measuring = true;
            load->errors = 0; /* while the coordinator makes its log it asks to come back */
            load->first_error = 0;
            begin_ns = now_ns;
            server_cpu_s = process_cpu_s(options->server_pid);
        }
        peers_poll(&load->peers, 1);
    }
    double elapsed_s = seconds_of(now_ns - begin_ns);
    server_cpu_s = process_cpu_s(options->server_pid) - server_cpu_s;
    printf(options->json ? "{\"mode\":\"commit\",\"connections\":%u,\"in_flight\":%u,"
                           "\"commits_per_s\":%.0f,\"server_cores\":%.4f,\"p50_us\":%.0f,"
                           "\"p99_us\":%.0f,\"errors\":%lu,\"first_error\":%d}\n"
                         : "%u connections x %u in flight: %.0f commits/s, server %.4f cores, p50 "
                           "%.0f us, p99 %.0f us, %lu errors (%d)\n",
           options->connections,
           options->in_flight,
           (double)load->commits / elapsed_s,
           server_cpu_s / elapsed_s,
           (double)histogram_quantile(&load->latency, 0.5) / 1e3,
           (double)histogram_quantile(&load->latency, 0.99) / 1e3,
           load->errors,
           load->first_error);
    return load->errors > 0 || load->peers.is_broken;
}

/* ---- rebalances */

/* Of the round just over: from the first Join to the last member's assignment, and from the last
 * Join, when the protocol has nothing more to wait for. */
static void
rebalance_times(const struct group_load *load, double *ret_whole_ms, double *ret_beyond_ms)
{
    uint64_t first_ns = UINT64_MAX;
    uint64_t last_ns = 0;
    uint64_t stable_ns = 0;

    for (uint32_t i = 0; i < load->member_count; i++) {
        first_ns = min_u64(first_ns, load->members[i].join_sent_ns);
        last_ns = max_u64(last_ns, load->members[i].join_sent_ns);
        stable_ns = max_u64(stable_ns, load->members[i].stable_ns);
    }
    *ret_whole_ms = (double)(stable_ns - first_ns) / 1e6;
    *ret_beyond_ms = (double)(stable_ns - last_ns) / 1e6;
}

int
mode_rebalance(struct group_load *load)
{
    const struct group_options *options = &load->options;
    double worst_ms = 0;
    double sum_ms = 0;

    if (!members_create(load))
        return 1;
    for (uint32_t i = 0; i + 1 < load->member_count; i++)
        member_join(load, i);
    if (!settle(load, load->member_count - 1))
        return 1;
    for (uint32_t round = 0; round < options->rounds; round++) {
        double whole_ms;
        double beyond_ms;
        member_join(load, load->member_count - 1);
        if (!settle(load, load->member_count))
            return 1;
        rebalance_times(load, &whole_ms, &beyond_ms);
        printf(options->json ? "{\"mode\":\"rebalance\",\"members\":%u,\"interval_ms\":%u,"
                               "\"whole_ms\":%.2f,\"beyond_ms\":%.2f}\n"
                             : "%u members, heartbeats each %u ms: %.2f ms from the first Join, "
                               "%.2f ms from the last\n",
               load->member_count,
               options->interval_ms,
               whole_ms,
               beyond_ms);
        worst_ms = worst_ms > beyond_ms ? worst_ms : beyond_ms;
        sum_ms += beyond_ms;
        member_leave(load, load->member_count - 1);
        /* The others learn it from their heartbeats, and form a generation without it. */
        uint64_t until_ns = process_now_ns() + 2 * options->interval_ms * NS_PER_MS;
        while (process_now_ns() < until_ns) {
            (void)members_heartbeat(load, process_now_ns());
            peers_poll(&load->peers, 1);
        }
        if (!settle(load, load->member_count - 1))
            return 1;
    }
    if (!options->json)
        printf("beyond the protocol's own waits: mean %.2f ms, worst %.2f ms\n",
               sum_ms / options->rounds,
               worst_ms);
    return load->errors > 0;
}
