/* Goal: every page of the admin port is well-formed, tells the truth of what control knows, and is
 * answered in bounded time whatever control does. Method: the port on loopback, a control tile
 * booted over a log tile that answers by hand, polled by a thread of the test; requests by a plain
 * socket; then the same with control at a standstill. */
#include "engine/admin/admin.h"

#include "tests/unit/kept.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define PAGE_BYTES (1u << 20)

/* A log tile that knows nothing but the metadata log, which is empty and takes everything. */
struct stub_log {
    struct ring requests, responses, jobs, jobs_done;
    uint64_t end;
};

struct server {
    struct control_config config;
    struct control *control;
    struct clock clock;
    struct stub_log log;
    struct core core;
    struct broker broker;
    struct metrics_tile log_metrics;
    struct admin *admin;
    pthread_t thread;
    _Atomic bool run;
    _Atomic bool still; /* control is not polled */
};

static void
new_ring(struct ring *ring, uint32_t slot_bytes)
{
    size_t bytes = round_up(ring_footprint(slot_bytes, REQUEST_RING_SLOTS), 128);

    ring_init(ring, kept(aligned_alloc(128, bytes)), slot_bytes, REQUEST_RING_SLOTS);
}

static void
answer_log(struct stub_log *log)
{
    struct request request;

    while (ring_pop(&log->requests, &request, 1) == 1) {
        struct response response = {.kind = RESPONSE_DONE,
                                    .request_kind = request.kind,
                                    .ctx = request.ctx,
                                    .high_watermark = log->end};
        if (request.kind == REQUEST_PRODUCE)
            response.base_offset = log->end++;
        cr_assert_eq(ring_push(&log->responses, &response, 1), 1u);
    }
}

static void *
poll_control(void *ctx)
{
    struct server *server = ctx;

    while (atomic_load(&server->run)) {
        if (!atomic_load(&server->still)) {
            control_tile_ops.poll(server->control, clock_now_ns(&server->clock));
            answer_log(&server->log);
        }
        usleep(200);
    }
    return NULL;
}

static struct coordinator_limits
coordinator_limits(void)
{
    return (struct coordinator_limits){
        .transactions_max = 16,
        .partitions_max = 64,
        .size_max = 32,
        .timeout_max_ms = 900000,
        .expiration_ms = -1,
        .orders_max = 64,
    };
}

static struct server *
start(bool boot)
{
    struct server *server = kept(aligned_alloc(128, round_up(sizeof(*server), 128)));
    struct diag_trail trail = {0};

    memset(server, 0, sizeof(*server));
    clock_init_sim(&server->clock, 1, 1700000000000);
    new_ring(&server->log.requests, sizeof(struct request));
    new_ring(&server->log.responses, sizeof(struct response));
    new_ring(&server->log.jobs, sizeof(void *));
    new_ring(&server->log.jobs_done, sizeof(void *));
    server->config = (struct control_config){
        .clock = &server->clock,
        .log_tile_count = 1,
        .logs = {{&server->log.requests,
                  &server->log.responses,
                  &server->log.jobs,
                  &server->log.jobs_done,
                  NULL}},
        .limits = {.topics_max = 16,
                   .partitions_max = 64,
                   .topic_partitions_max = 16,
                   .calls_max = 8,
                   .operations_max = 8,
                   .pool_bytes = 16 * MIB,
                   .transactions = coordinator_limits(),
                   .groups = {.groups_max = 16,
                              .members_max = 16,
                              .size_max = 8,
                              .offsets_max = 16,
                              .transactions_max = 16,
                              .consumer_topics_max = 64,
                              .consumer_partitions_max = 512,
                              .consumer_session_ns = 45 * NS_PER_S,
                              .consumer_heartbeat_ms = 5000,
                              .memory_bytes = MIB,
                              .metadata_bytes_max = 4096,
                              .session_min_ns = NS_PER_S,
                              .session_max_ns = 60 * NS_PER_S,
                              .retention_ms = -1}},
        .default_partitions = 1,
        .producer_block = 10,
    };
    uint64_t bytes = control_footprint(&server->config);
    void *memory = mmap(
        NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    cr_assert_eq(control_init(memory, &server->config, &server->control, &trail), RC_OK);
    metrics_init(&server->log_metrics, METRICS_LOG, "log0");
    metrics_add(&server->log_metrics, METRIC_RECORDS_APPENDED, 4711);
    metrics_record(&server->log_metrics, METRIC_COMMIT_GROUP_LATENCY, 100 * NS_PER_US);
    server->core.tiles[0] = (struct tile){.name = "log0", .object = &server->broker};
    server->core.tiles[1] = (struct tile){.name = "control", .object = server->control};
    server->core.tile_count = 2;
    atomic_store(&server->core.tiles[1].times.busy_ns, 12345u);
    struct admin_config admin = {
        .host = "127.0.0.1",
        .version = "0.1.0",
        .control = server->control,
        .cores = {&server->core},
        .core_count = 1,
        .brokers = {&server->broker},
        .log_count = 1,
        .log_metrics = {&server->log_metrics},
    };
    cr_assert_eq(admin_start(&admin, &server->admin, &trail), RC_OK, "%s", trail.text);
    atomic_store(&server->run, true);
    atomic_store(&server->still, !boot);
    pthread_create(&server->thread, NULL, poll_control, server);
    for (uint32_t i = 0; boot && i < 5000 && !control_is_ready(server->control); i++)
        usleep(1000);
    cr_assert_eq(control_is_ready(server->control), boot);
    return server;
}

static void
stop(struct server *server)
{
    admin_stop(server->admin);
    atomic_store(&server->run, false);
    pthread_join(server->thread, NULL);
}

/* The status; body is what follows the headers. */
static int
get(struct server *server, const char *path, char *page, char **ret_body)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(admin_port(server->admin)),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    char request[256];
    size_t at = 0;
    ssize_t got;
    int status = 0;

    cr_assert_eq(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    int count = snprintf(
        request, sizeof(request), "GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", path);
    cr_assert_eq(send(fd, request, (size_t)count, 0), count);
    while ((got = recv(fd, page + at, PAGE_BYTES - 1 - at, 0)) > 0)
        at += (size_t)got;
    close(fd);
    page[at] = 0;
    cr_assert_eq(sscanf(page, "HTTP/1.1 %d", &status), 1);
    *ret_body = strstr(page, "\r\n\r\n");
    cr_assert_not_null(*ret_body);
    *ret_body += 4;
    return status;
}

Test(admin, answers_503_in_bounded_time_when_control_stands_still, .timeout = 60)
{
    struct server *server = start(true);
    char *page = kept(malloc(PAGE_BYTES));
    char *body;

    atomic_store(&server->still, true);
    usleep(20000);
    cr_assert_eq(get(server, "/api/v1/topics", page, &body), 503);
    cr_assert_eq(get(server, "/metrics", page, &body), 503);
    cr_assert_eq(get(server, "/api/v1/tiles", page, &body), 200, "needs no answer of control");
    cr_assert_eq(get(server, "/healthz", page, &body), 200);
    atomic_store(&server->still, false);
    usleep(50000);
    cr_assert_eq(get(server, "/api/v1/topics", page, &body), 200, "it recovers");
    stop(server);
}

Test(admin, is_not_ready_before_boot_and_alive_all_the_time, .timeout = 60)
{
    struct server *server = start(false);
    char *page = kept(malloc(PAGE_BYTES));
    char *body;

    cr_assert_eq(get(server, "/readyz", page, &body), 503);
    cr_assert_str_eq(body, "{\"status\":\"booting\"}");
    cr_assert_eq(get(server, "/healthz", page, &body), 200);
    atomic_store(&server->still, false);
    for (uint32_t i = 0; i < 5000 && !control_is_ready(server->control); i++)
        usleep(1000);
    cr_assert_eq(get(server, "/readyz", page, &body), 503, "nobody has been told yet");
    cr_assert_str_eq(body, "{\"status\":\"booting\"}");
    admin_announce(server->admin);
    cr_assert_eq(get(server, "/readyz", page, &body), 200);
    cr_assert_str_eq(body, "{\"status\":\"ready\"}");
    cr_assert_eq(get(server, "/nothing", page, &body), 404);
    stop(server);
}

Test(admin, tells_topics_and_tiles_as_json, .timeout = 60)
{
    struct server *server = start(true);
    char *page = kept(malloc(PAGE_BYTES));
    char *body;

    cr_assert_eq(get(server, "/api/v1/topics?partitions=1", page, &body), 200);
    json_t *topics = json_loads(body, 0, NULL);
    cr_assert_not_null(topics);
    cr_assert_eq(json_array_size(json_object_get(topics, "topics")), 0u);
    cr_assert_eq(strlen(json_string_value(json_object_get(topics, "cluster_id"))), 22u);

    cr_assert_eq(get(server, "/api/v1/tiles", page, &body), 200);
    json_t *tiles = json_loads(body, 0, NULL);
    cr_assert_not_null(tiles);
    cr_assert_str_eq(json_string_value(json_object_get(tiles, "state")), "ready");
    json_t *core = json_array_get(json_object_get(tiles, "cores"), 0);
    json_t *log = json_array_get(json_object_get(core, "tiles"), 0);
    json_t *control = json_array_get(json_object_get(core, "tiles"), 1);
    cr_assert_eq(
        json_integer_value(json_object_get(json_object_get(log, "log"), "records_appended")), 4711);
    cr_assert_geq(json_integer_value(json_object_get(json_object_get(log, "log"), "commit_p99_us")),
                  100);
    cr_assert_eq(json_integer_value(json_object_get(control, "busy_ns")), 12345);
    cr_assert_eq(json_integer_value(
                     json_object_get(json_object_get(control, "control"), "metadata_batches")),
                 1);
    json_decref(topics);
    json_decref(tiles);
    stop(server);
}

Test(admin, exports_metrics_and_serves_the_page, .timeout = 60)
{
    struct server *server = start(true);
    char *page = kept(malloc(PAGE_BYTES));
    char *body;

    cr_assert_eq(get(server, "/metrics", page, &body), 200);
    cr_assert_not_null(strstr(body, "eagre_records_appended_total{tile=\"log0\"} 4711"));
    cr_assert_not_null(strstr(body, "eagre_tile_busy_nanoseconds_total{tile=\"control\"} 12345"));
    cr_assert_eq(get(server, "/", page, &body), 200);
    cr_assert_not_null(strstr(body, "<title>Eagre</title>"));
    cr_assert_null(strstr(body, "http://"), "the page loads nothing from elsewhere");
    cr_assert_null(strstr(body, "https://"));
    stop(server);
}
