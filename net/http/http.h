/* The admin port's HTTP: maps requests to handlers and answers to bytes, nothing more.
 *
 * One thread of libmicrohttpd's polls all connections and runs the handlers, one at a time, away
 * from the engine cores. Everything is bounded: connections, headers, body, time without progress.
 * The table of routes decides 404 (no such path) and 405 (path with another method); all errors are
 * answered as {"error": "..."} in JSON. HEAD is answered as GET without the body.
 *
 *   static const struct http_route routes[] = {{"GET", "/healthz", answer_healthz}};
 *   struct http_config config = {.host = "127.0.0.1", .port = 9644, .routes = routes,
 *                                .route_count = 1, .ctx = admin};
 *   rc = http_start(&config, &http, &trail);  ...  http_stop(http);
 *
 * Clear text, no authentication: it listens on loopback unless the operator says otherwise. */
#ifndef EAGRE_NET_HTTP_HTTP_H
#define EAGRE_NET_HTTP_HTTP_H

#include "engine/base/base.h"
#include "engine/base/bytes.h"
#include "engine/base/diag.h"
#include "engine/base/rc.h"

#define HTTP_CONNECTIONS_MAX 64u
#define HTTP_HEADER_BYTES_MAX (16u * 1024u) /* request line and headers of one connection */
#define HTTP_BODY_BYTES_MAX (64u * 1024u)   /* of a request; a longer one gets 413 */
#define HTTP_IDLE_SECONDS 10u               /* a connection without progress is closed */

struct http;

struct http_request {
    const char *method;
    const char *path;        /* without the query, percent-decoded; begins with '/' */
    struct bytes body;       /* at most HTTP_BODY_BYTES_MAX; empty when there is none */
    void *connection_opaque; /* for http_query() */
};

/* What a handler gives back. The body is copied when the handler returns, so it may stand in a
 * buffer that the next call overwrites. */
struct http_answer {
    uint32_t status;          /* 200 .. 599; 200 unless the handler says otherwise */
    const char *content_type; /* HTTP_JSON unless the handler says otherwise */
    struct bytes body;
};

#define HTTP_JSON "application/json"
#define HTTP_TEXT "text/plain; charset=utf-8"
#define HTTP_HTML "text/html; charset=utf-8"
#define HTTP_PROMETHEUS "text/plain; version=0.0.4; charset=utf-8"

struct http_route {
    const char *method;
    const char *path; /* whole path; one that ends in '/' and a star matches all below it */
    /* Runs on: the HTTP thread.  May block, but then all admin requests wait. */
    void (*handle)(void *ctx, const struct http_request *request, struct http_answer *ret);
};

struct http_config {
    const char *host;                /* name or address to listen on */
    uint16_t port;                   /* 0 takes a free one */
    const struct http_route *routes; /* [route_count], borrowed until http_stop() */
    uint32_t route_count;
    void *ctx;
};

/* Listens and starts the thread. RC_BUSY: the address is taken; RC_INVALID: host means nothing
 * here; RC_DENIED, RC_NO_MEMORY, RC_IO_ERROR.
 *
 * Runs on: the starting thread.  Allocates: with malloc.  Blocks: on resolving host. */
enum rc
http_start(const struct http_config *config, struct http **ret, struct diag_trail *trail) MUST_USE;

/* The port it listens on. */
uint16_t http_port(const struct http *http);

/* Closes all connections and ends the thread; a handler that runs is waited for. http may be NULL.
 */
void http_stop(struct http *http);

/* The decoded value of a query argument, or NULL when it is missing or has none; lives as long as
 * the request. */
const char *http_query(const struct http_request *request, const char *name);

/* An error answer: status and a JSON body {"error": text}; text is a literal without quotes in it.
 */
void http_answer_error(struct http_answer *ret, uint32_t status, const char *text);

#endif
