#include "net/http/http.h"

#include <errno.h>
#include <microhttpd.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

struct http {
    struct MHD_Daemon *daemon;
    struct http_config config;
    uint16_t port;
};

/* One request while its body arrives; made at its first callback, freed by on_completed(). */
struct exchange {
    size_t body_count;
    uint8_t body[HTTP_BODY_BYTES_MAX];
};

/* Marks a request whose body is not wanted, so that only its first callback allocates. */
static struct exchange no_body;

/* Error texts live here until the answer is copied; one thread runs all handlers of a daemon, and
 * each daemon's thread has its own. */
static _Thread_local char error_text[256];

void
http_answer_error(struct http_answer *ret, uint32_t status, const char *text)
{
    int count = snprintf(error_text, sizeof(error_text), "{\"error\": \"%.200s\"}\n", text);

    ret->status = status;
    ret->content_type = HTTP_JSON;
    ret->body.at = (const uint8_t *)error_text;
    ret->body.count = count > 0 ? (size_t)count : 0;
}

const char *
http_query(const struct http_request *request, const char *name)
{
    return MHD_lookup_connection_value(request->connection_opaque, MHD_GET_ARGUMENT_KIND, name);
}

static bool
path_matches(const char *pattern, const char *path)
{
    size_t count = strlen(pattern);

    if (count >= 2 && strcmp(pattern + count - 2, "/*") == 0)
        return strncmp(pattern, path, count - 1) == 0;
    return strcmp(pattern, path) == 0;
}

static bool
method_matches(const char *wanted, const char *method)
{
    return strcmp(wanted, method) == 0 ||
           (strcmp(wanted, MHD_HTTP_METHOD_GET) == 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) == 0);
}

/* The route of a request, or NULL; *ret_other is one with the same path but another method, or
 * NULL. */
static const struct http_route *
route_find(const struct http *http,
           const char *method,
           const char *path,
           const struct http_route **ret_other)
{
    *ret_other = NULL;
    for (uint32_t i = 0; i < http->config.route_count; i++) {
        const struct http_route *route = &http->config.routes[i];
        if (!path_matches(route->path, path))
            continue;
        if (method_matches(route->method, method))
            return route;
        *ret_other = route;
    }
    return NULL;
}

static enum MHD_Result
answer_send(struct MHD_Connection *connection, const struct http_answer *answer, const char *allow)
{
    /* libmicrohttpd takes void * but only reads, as MUST_COPY says. */
    struct MHD_Response *response = MHD_create_response_from_buffer(
        answer->body.count, (void *)(uintptr_t)answer->body.at, MHD_RESPMEM_MUST_COPY);
    enum MHD_Result result;

    if (response == NULL)
        return MHD_NO;
    /* A header that does not fit in memory is left out; the answer is right without it. */
    (void)MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, answer->content_type);
    (void)MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    (void)MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    if (allow != NULL)
        (void)MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, allow);
    result = MHD_queue_response(connection, answer->status, response);
    MHD_destroy_response(response);
    return result;
}

static enum MHD_Result
refuse(struct MHD_Connection *connection, uint32_t status, const char *text, const char *allow)
{
    struct http_answer answer;

    http_answer_error(&answer, status, text);
    return answer_send(connection, &answer, allow);
}

static enum MHD_Result
dispatch(const struct http *http,
         struct MHD_Connection *connection,
         const struct http_request *request)
{
    struct http_answer answer = {.status = MHD_HTTP_OK, .content_type = HTTP_JSON};
    const struct http_route *other;
    const struct http_route *route = route_find(http, request->method, request->path, &other);

    if (route == NULL && other != NULL)
        return refuse(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "method not allowed", other->method);
    if (route == NULL)
        return refuse(connection, MHD_HTTP_NOT_FOUND, "no such page", NULL);
    route->handle(http->config.ctx, request, &answer);
    return answer_send(connection, &answer, NULL);
}

/* How long the body says it is: 0 none, more than HTTP_BODY_BYTES_MAX too long, 1 not told. */
static uint64_t
body_announced(struct MHD_Connection *connection)
{
    const char *length = MHD_lookup_connection_value(
        connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_LENGTH);
    const char *encoding = MHD_lookup_connection_value(
        connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_TRANSFER_ENCODING);
    uint64_t announced = 0;

    if (encoding != NULL)
        return 1;
    if (length == NULL)
        return 0;
    /* libmicrohttpd has refused what is not a number before it calls us. */
    for (; *length >= '0' && *length <= '9' && announced <= HTTP_BODY_BYTES_MAX; length++)
        announced = announced * 10 + (uint64_t)(*length - '0');
    return announced;
}

/* First callback of a request: headers are there, the body is not. */
static enum MHD_Result
exchange_begin(struct MHD_Connection *connection, void **ret_exchange)
{
    uint64_t announced = body_announced(connection);
    struct exchange *exchange = &no_body;

    if (announced > HTTP_BODY_BYTES_MAX)
        return refuse(connection, MHD_HTTP_CONTENT_TOO_LARGE, "body too long", NULL);
    if (announced > 0) {
        exchange = malloc(sizeof(*exchange));
        if (exchange == NULL)
            return MHD_NO;
        exchange->body_count = 0;
    }
    *ret_exchange = exchange;
    return MHD_YES;
}

/* A body of untold length that grows too long closes its connection: MHD_NO. */
static enum MHD_Result
exchange_body(struct exchange *exchange, const char *at, size_t count)
{
    if (exchange == &no_body || count > sizeof(exchange->body) - exchange->body_count)
        return MHD_NO;
    bytes_copy(exchange->body + exchange->body_count,
               sizeof(exchange->body) - exchange->body_count,
               at,
               count);
    exchange->body_count += count;
    return MHD_YES;
}

/* libmicrohttpd calls this once for the headers, then per piece of body, then once more at the end.
 */
static enum MHD_Result
on_request(void *ctx,
           struct MHD_Connection *connection,
           const char *path,
           const char *method,
           const char *version,
           const char *upload,
           size_t *upload_count,
           void **exchange_at) /* tidy: parameters, the signature is libmicrohttpd's */
{
    struct exchange *exchange = *exchange_at;
    struct http_request request = {.method = method, .path = path, .connection_opaque = connection};

    (void)version;
    if (exchange == NULL)
        return exchange_begin(connection, exchange_at);
    if (*upload_count > 0) {
        enum MHD_Result result = exchange_body(exchange, upload, *upload_count);
        *upload_count = 0;
        return result;
    }
    request.body.at = exchange->body;
    request.body.count = exchange->body_count;
    return dispatch(ctx, connection, &request);
}

static void
on_completed(void *ctx,
             struct MHD_Connection *connection,
             void **exchange_at,
             enum MHD_RequestTerminationCode code)
{
    (void)ctx;
    (void)connection;
    (void)code;
    if (*exchange_at != &no_body)
        free(*exchange_at);
    *exchange_at = NULL;
}

static enum rc
resolve(const struct http_config *config, struct addrinfo **ret, struct diag_trail *trail)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    char port[8];
    int error;

    (void)snprintf(port, sizeof(port), "%u", (unsigned)config->port);
    error = getaddrinfo(config->host, port, &hints, ret);
    if (error == 0)
        return RC_OK;
    diag_trail_add(trail, "admin address %s: %s", config->host, gai_strerror(error));
    return RC_INVALID;
}

static struct MHD_Daemon *
daemon_start(struct http *http, const struct addrinfo *address)
{
    unsigned flags = MHD_USE_AUTO_INTERNAL_THREAD;

    if (address->ai_family == AF_INET6)
        flags |= MHD_USE_IPv6;
    return MHD_start_daemon(flags,
                            http->config.port,
                            NULL,
                            NULL,
                            on_request,
                            http,
                            MHD_OPTION_SOCK_ADDR,
                            address->ai_addr,
                            MHD_OPTION_NOTIFY_COMPLETED,
                            on_completed,
                            NULL,
                            MHD_OPTION_CONNECTION_LIMIT,
                            HTTP_CONNECTIONS_MAX,
                            MHD_OPTION_CONNECTION_TIMEOUT,
                            HTTP_IDLE_SECONDS,
                            MHD_OPTION_CONNECTION_MEMORY_LIMIT,
                            (size_t)HTTP_HEADER_BYTES_MAX,
                            MHD_OPTION_END);
}

enum rc
http_start(const struct http_config *config, struct http **ret, struct diag_trail *trail)
{
    struct http *http = malloc(sizeof(*http));
    struct addrinfo *address = NULL;
    enum rc rc = RC_NO_MEMORY;

    if (http == NULL)
        return rc;
    *http = (struct http){.config = *config};
    rc = resolve(config, &address, trail);
    if (rc != RC_OK)
        goto fail_free;
    errno = 0;
    http->daemon = daemon_start(http, address);
    if (http->daemon == NULL) {
        rc = rc_from_errno(errno);
        diag_trail_add(
            trail, "admin address %s:%u: %s", config->host, (unsigned)config->port, rc_text(rc));
        goto fail_free;
    }
    freeaddrinfo(address);
    http->port = MHD_get_daemon_info(http->daemon, MHD_DAEMON_INFO_BIND_PORT)->port;
    *ret = http;
    return RC_OK;

fail_free:
    if (address != NULL)
        freeaddrinfo(address);
    free(http);
    return rc;
}

uint16_t
http_port(const struct http *http)
{
    return http->port;
}

void
http_stop(struct http *http)
{
    if (http == NULL)
        return;
    MHD_stop_daemon(http->daemon);
    free(http);
}
