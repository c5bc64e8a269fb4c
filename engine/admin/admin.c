/* Life of the admin port, its routes, and waiting for control. Whatever happens to control, a
 * request is answered in bounded time: a question that took too long stays with control, and until
 * it is answered others are refused with 503. */
#include "engine/admin/admin_internal.h"

#include "engine/base/check.h"
#include "hw/mem/mem.h"

#include <errno.h>
#include <stdio.h>

enum metrics_owner
admin__owner(const struct admin *admin, const struct tile *tile, uint32_t *ret_idx)
{
    for (uint32_t i = 0; i < admin->config.gate_count; i++) {
        *ret_idx = i;
        if (tile->object == (const void *)admin->config.gates[i])
            return METRICS_GATE;
    }
    for (uint32_t i = 0; i < admin->config.log_count; i++) {
        *ret_idx = i;
        if (tile->object == (const void *)admin->config.brokers[i])
            return METRICS_LOG;
    }
    for (uint32_t i = 0; i < admin->config.door_count; i++) {
        *ret_idx = i;
        if (tile->object == (const void *)admin->config.doors[i])
            return METRICS_NET;
    }
    *ret_idx = 0;
    if (admin->config.exchange != NULL && tile->object == (const void *)admin->config.exchange)
        return METRICS_EXCHANGE;
    return tile->object == (const void *)admin->config.control ? METRICS_CONTROL : METRICS_COMPACT;
}

const struct metrics_partition *
admin__partition_metrics(const struct admin *admin, const struct control_partition_view *view)
{
    if (view->log_tile >= admin->config.log_count || view->slot >= admin->config.log_slots ||
        admin->config.log_partitions[view->log_tile] == NULL)
        return NULL;
    return &admin->config.log_partitions[view->log_tile][view->slot];
}

/* ---- waiting for control */

static void
answered(void *ctx)
{
    struct admin *admin = ctx;

    sem_post(&admin->answered);
}

/* Lets control run a function; false when it did not come to it in time. */
static bool
ask_control(struct admin *admin, void (*run)(struct control *control, void *ctx))
{
    struct control_question question = {.run = run, .done = answered, .ctx = admin};
    int64_t end_ms = clock_wall_ms(&admin->clock) + ADMIN_WAIT_MS;
    struct timespec end = {.tv_sec = end_ms / 1000, .tv_nsec = end_ms % 1000 * (long)NS_PER_MS};

    while (sem_trywait(&admin->answered) == 0)
        ; /* of a question that nobody waited for */
    if (!control_ask(admin->config.control, &question, admin->config.control_waker))
        return false;
    while (!control_answered(admin->config.control)) {
        if (sem_timedwait(&admin->answered, &end) != 0 && errno != EINTR)
            return control_answered(admin->config.control);
    }
    return true;
}

static void
answer_document(struct admin *admin, json_t *document, struct http_answer *ret)
{
    size_t bytes = json_dumpb(document, admin->text, ADMIN_TEXT_BYTES, JSON_COMPACT);

    json_decref(document);
    if (bytes == 0 || bytes > ADMIN_TEXT_BYTES) {
        http_answer_error(ret, 500, "the answer is too long");
        return;
    }
    ret->body = (struct bytes){(const uint8_t *)admin->text, bytes};
}

/* ---- handlers */

static void
handle_console(void *ctx, const struct http_request *request, struct http_answer *ret)
{
    (void)ctx;
    (void)request;
    ret->content_type = HTTP_HTML;
    ret->body = admin__console();
}

static void
handle_metrics(void *ctx, const struct http_request *request, struct http_answer *ret)
{
    struct admin *admin = ctx;

    (void)request;
    admin__collect(admin);
    if (!ask_control(admin, admin__export)) {
        http_answer_error(ret, 503, "control does not answer");
        return;
    }
    ret->content_type = HTTP_PROMETHEUS;
    ret->body = (struct bytes){(const uint8_t *)admin->text, admin->text_bytes};
}

static const char *
state_text(enum control_state state)
{
    static const char *const texts[] = {
        [CONTROL_BOOTING] = "booting",
        [CONTROL_READY] = "ready",
        [CONTROL_FAILED] = "failed",
        [CONTROL_STOPPING] = "stopping",
        [CONTROL_STOPPED] = "stopped",
    };

    return texts[state];
}

static void
answer_state(struct admin *admin, enum control_state state, bool good, struct http_answer *ret)
{
    const char *failure = control_failure(admin->config.control);
    json_t *document = json_pack("{s:s}", "status", state_text(state));

    if (failure[0] != 0)
        json_object_set_new(document, "reason", json_string(failure));
    ret->status = good ? 200 : 503;
    answer_document(admin, document, ret);
}

static void
handle_health(void *ctx, const struct http_request *request, struct http_answer *ret)
{
    struct admin *admin = ctx;

    (void)request;
    enum control_state state = control_state(admin->config.control);
    answer_state(admin, state, state != CONTROL_FAILED, ret);
}

static void
handle_ready(void *ctx, const struct http_request *request, struct http_answer *ret)
{
    struct admin *admin = ctx;

    (void)request;
    enum control_state state = control_state(admin->config.control);
    /* Pairs with the release in admin_announce(): the line is out. */
    if (state == CONTROL_READY && !atomic_load_explicit(&admin->is_announced, memory_order_acquire))
        state = CONTROL_BOOTING;
    answer_state(admin, state, state == CONTROL_READY, ret);
}

static void
handle_topics(void *ctx, const struct http_request *request, struct http_answer *ret)
{
    struct admin *admin = ctx;
    const char *partitions = http_query(request, "partitions");

    /* A late answer to a question that was given up still belongs to control. */
    if (!control_answered(admin->config.control)) {
        http_answer_error(ret, 503, "control does not answer");
        return;
    }
    json_decref(admin->document);
    admin->document = NULL;
    admin->want_partitions = partitions != NULL && strcmp(partitions, "1") == 0;
    if (!ask_control(admin, admin__build_topics)) {
        http_answer_error(ret, 503, "control does not answer");
        return;
    }
    json_t *document = admin->document;
    admin->document = NULL;
    answer_document(admin, document, ret);
}

/* The document that a question builds about all, or about the one that the query names. */
static void
handle_ids(struct admin *admin,
           const char *id,
           void (*build)(struct control *control, void *ctx),
           struct http_answer *ret)
{
    if (!control_answered(admin->config.control)) {
        http_answer_error(ret, 503, "control does not answer");
        return;
    }
    json_decref(admin->document);
    admin->document = NULL;
    admin->want_id = NULL;
    if (id != NULL) {
        size_t count = strnlen(id, ADMIN_ID_BYTES_MAX - 1);
        bytes_copy(admin->want_text, ADMIN_ID_BYTES_MAX - 1, id, count);
        admin->want_text[count] = '\0';
        admin->want_id = admin->want_text;
    }
    if (!ask_control(admin, build)) {
        http_answer_error(ret, 503, "control does not answer");
        return;
    }
    json_t *document = admin->document;
    admin->document = NULL;
    if (document == NULL)
        http_answer_error(ret, 404, "no such id");
    else
        answer_document(admin, document, ret);
}

static void
handle_groups(void *ctx, const struct http_request *request, struct http_answer *ret)
{
    handle_ids(ctx, http_query(request, "group"), admin__build_groups, ret);
}

static void
handle_transactions(void *ctx, const struct http_request *request, struct http_answer *ret)
{
    handle_ids(ctx, http_query(request, "id"), admin__build_transactions, ret);
}

static void
handle_tiles(void *ctx, const struct http_request *request, struct http_answer *ret)
{
    struct admin *admin = ctx;
    json_t *document = admin__build_tiles(admin);

    (void)request;
    json_object_set_new(
        document, "state", json_string(state_text(control_state(admin->config.control))));
    answer_document(admin, document, ret);
}

static const struct http_route routes[] = {
    {"GET", "/", handle_console},
    {"GET", "/metrics", handle_metrics},
    {"GET", "/healthz", handle_health},
    {"GET", "/readyz", handle_ready},
    {"GET", "/api/v1/topics", handle_topics},
    {"GET", "/api/v1/groups", handle_groups},
    {"GET", "/api/v1/transactions", handle_transactions},
    {"GET", "/api/v1/tiles", handle_tiles},
};

/* ---- life */

static void
list_tiles(struct admin *admin)
{
    uint32_t idx;

    for (uint32_t c = 0; c < admin->config.core_count; c++) {
        const struct core *core = admin->config.cores[c];
        for (uint32_t t = 0; t < core->tile_count; t++) {
            struct metrics_tile *copy = &admin->tiles[admin->tile_count];
            metrics_init(copy, admin__owner(admin, &core->tiles[t], &idx), core->tiles[t].name);
            admin->tile_list[admin->tile_count++] = copy;
        }
    }
}

static uint32_t
count_tiles(const struct admin_config *config)
{
    uint32_t count = 0;

    for (uint32_t c = 0; c < config->core_count; c++)
        count += config->cores[c]->tile_count;
    return count;
}

static void
free_admin(struct admin *admin)
{
    sem_destroy(&admin->answered);
    json_decref(admin->document);
    mem_boot_free(admin->lag);
    mem_boot_free(admin->tiles);
    mem_boot_free(admin->text);
    mem_boot_free(admin);
}

enum rc
admin_start(const struct admin_config *config, struct admin **ret_admin, struct diag_trail *trail)
{
    CHECK(config->core_count <= ADMIN_CORES_MAX);
    struct admin *admin = mem_boot_alloc(sizeof(*admin));

    if (admin == NULL)
        return RC_NO_MEMORY;
    admin->config = *config;
    sem_init(&admin->answered, 0, 0);
    clock_init_real(&admin->clock);
    admin->begin_ns = clock_now_ns(&admin->clock);
    admin->text = mem_boot_alloc(ADMIN_TEXT_BYTES);
    admin->tiles = mem_boot_alloc(sizeof(*admin->tiles) * (count_tiles(config) + 1));
    admin->lag = mem_boot_alloc(admin__lag_bytes());
    enum rc rc = RC_NO_MEMORY;
    if (admin->text == NULL || admin->tiles == NULL || admin->lag == NULL)
        goto fail;
    list_tiles(admin);
    struct http_config http = {
        .host = config->host,
        .port = config->port,
        .routes = routes,
        .route_count = ARRAY_COUNT(routes),
        .ctx = admin,
    };
    rc = http_start(&http, &admin->http, trail);
    if (rc != RC_OK)
        goto fail;
    *ret_admin = admin;
    return RC_OK;

fail:
    free_admin(admin);
    return rc;
}

uint16_t
admin_port(const struct admin *admin)
{
    return http_port(admin->http);
}

void
admin_announce(struct admin *admin)
{
    /* Pairs with the acquire in handle_ready(). */
    atomic_store_explicit(&admin->is_announced, true, memory_order_release);
}

void
admin_stop(struct admin *admin)
{
    if (admin == NULL)
        return;
    http_stop(admin->http);
    /* A question that control has not come to may still run and write here: then the memory stays
     * until the process ends. */
    if (control_answered(admin->config.control))
        free_admin(admin);
}
