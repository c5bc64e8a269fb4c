/* Goal: every request gets the answer its route gives, and no request gets more than its bounds.
 * Method: a listener on a free loopback port, raw bytes from a socket; bad requests first. */
#include "net/http/http.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

static struct http *http;
static char reply[1 << 18];

static void
handle_hello(void *ctx, const struct http_request *request, struct http_answer *ret)
{
    static char text[128];
    const char *name = http_query(request, "name");

    snprintf(text, sizeof(text), "hello %s from %s", name != NULL ? name : "you", (char *)ctx);
    ret->content_type = HTTP_TEXT;
    ret->body = (struct bytes){(const uint8_t *)text, strlen(text)};
}

static void
handle_echo(void *ctx, const struct http_request *request, struct http_answer *ret)
{
    (void)ctx;
    ret->status = 201;
    ret->body = request->body;
}

static void
handle_below(void *ctx, const struct http_request *request, struct http_answer *ret)
{
    (void)ctx;
    ret->body = (struct bytes){(const uint8_t *)request->path, strlen(request->path)};
}

static const struct http_route routes[] = {
    {"GET", "/hello", handle_hello},
    {"POST", "/echo", handle_echo},
    {"GET", "/below/*", handle_below},
};

static const struct http_config config = {
    .host = "127.0.0.1", .routes = routes, .route_count = ARRAY_COUNT(routes), .ctx = "here"};

static void
set_up(void)
{
    struct diag_trail trail = {0};

    cr_assert_eq(http_start(&config, &http, &trail), RC_OK, "%s", trail.text);
}

static void
tear_down(void)
{
    http_stop(http);
}

TestSuite(http, .init = set_up, .fini = tear_down, .timeout = 20);

static int
open_client(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(http_port(http))};
    struct timeval patience = {.tv_sec = 15};
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    cr_assert_eq(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    return fd;
}

/* Reads until the peer closes; ends with NUL. */
static void
read_reply(int fd)
{
    size_t count = 0;
    ssize_t got;

    while ((got = recv(fd, reply + count, sizeof(reply) - 1 - count, 0)) > 0)
        count += (size_t)got;
    reply[count] = '\0';
}

static void
ask(const char *request)
{
    int fd = open_client();

    cr_assert_eq(send(fd, request, strlen(request), MSG_NOSIGNAL), (ssize_t)strlen(request));
    read_reply(fd);
    close(fd);
}

#define TAIL " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
#define HAS(words) cr_assert_not_null(strstr(reply, words), "no '%s' in '%s'", words, reply)

Test(http, answers_an_unknown_path_with_404_in_json)
{
    ask("GET /nothing" TAIL);
    HAS("HTTP/1.1 404");
    HAS("Content-Type: application/json");
    HAS("{\"error\": \"no such page\"}");
    ask("GET /hello/" TAIL);
    HAS("HTTP/1.1 404");
    ask("GET /belowstairs" TAIL);
    HAS("HTTP/1.1 404");
}

Test(http, answers_a_wrong_method_with_405_and_the_right_one)
{
    ask("DELETE /hello" TAIL);
    HAS("HTTP/1.1 405");
    HAS("Allow: GET");
    ask("GET /echo" TAIL);
    HAS("HTTP/1.1 405");
    HAS("Allow: POST");
}

Test(http, refuses_what_is_not_http)
{
    ask("\x16\x03\x01 garbage\r\n\r\n");
    cr_assert_null(strstr(reply, "HTTP/1.1 200"));
    ask("GET\r\n\r\n");
    cr_assert_null(strstr(reply, "HTTP/1.1 200"));
}

Test(http, refuses_headers_beyond_their_bound)
{
    static char request[HTTP_HEADER_BYTES_MAX * 2];
    size_t count = (size_t)snprintf(request, sizeof(request), "GET /hello HTTP/1.1\r\nX: ");

    memset(request + count, 'a', sizeof(request) - count);
    memcpy(request + sizeof(request) - 5, "\r\n\r\n", 5);
    int fd = open_client();
    /* The server may close before it has read all. */
    (void)!send(fd, request, sizeof(request) - 1, MSG_NOSIGNAL);
    read_reply(fd);
    close(fd);
    cr_assert_null(strstr(reply, "HTTP/1.1 200"), "%s", reply);
    ask("GET /hello" TAIL);
    HAS("HTTP/1.1 200");
}

Test(http, refuses_a_body_that_announces_too_much)
{
    ask("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 65537\r\nConnection: close\r\n\r\n");
    HAS("HTTP/1.1 413");
    HAS("{\"error\": \"body too long\"}");
    ask("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n"
        "Connection: close\r\n\r\n");
    cr_assert_null(strstr(reply, "HTTP/1.1 201"), "%s", reply);
}

Test(http, closes_on_a_body_of_untold_length_that_grows_too_long)
{
    static char chunk[4 + 2 + 4096 + 2];
    int fd = open_client();
    const char *head = "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";

    memcpy(chunk, "1000\r\n", 6);
    memset(chunk + 6, 'a', 4096);
    memcpy(chunk + 6 + 4096, "\r\n", 2);
    cr_assert_eq(send(fd, head, strlen(head), MSG_NOSIGNAL), (ssize_t)strlen(head));
    for (int i = 0; i < 64; i++)
        (void)!send(fd, chunk, sizeof(chunk), MSG_NOSIGNAL);
    read_reply(fd);
    close(fd);
    cr_assert_null(strstr(reply, "HTTP/1.1 201"));
}

Test(http, gives_a_handler_its_query_and_sends_what_it_says)
{
    ask("GET /hello?name=a%20b&x" TAIL);
    HAS("HTTP/1.1 200");
    HAS("Content-Type: text/plain");
    HAS("Cache-Control: no-store");
    HAS("hello a b from here");
    ask("GET /hello" TAIL);
    HAS("hello you from here");
}

Test(http, answers_head_without_the_body)
{
    ask("HEAD /hello" TAIL);
    HAS("HTTP/1.1 200");
    HAS("Content-Length: 19");
    cr_assert_null(strstr(reply, "from here"));
}

Test(http, gives_a_star_route_all_paths_below)
{
    ask("GET /below/a/b%2Fc" TAIL);
    HAS("HTTP/1.1 200");
    HAS("/below/a/b/c");
}

Test(http, gives_a_handler_a_body_up_to_the_bound)
{
    static char request[HTTP_BODY_BYTES_MAX + 256];
    int count = snprintf(request,
                         sizeof(request),
                         "POST /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                         "Content-Length: %u\r\n\r\n",
                         HTTP_BODY_BYTES_MAX);

    memset(request + count, 'b', HTTP_BODY_BYTES_MAX);
    ask(request);
    HAS("HTTP/1.1 201");
    cr_assert_eq(strlen(strstr(reply, "\r\n\r\n") + 4), HTTP_BODY_BYTES_MAX);
    ask("POST /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
        "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
    HAS("abcde");
}

Test(http, serves_two_requests_on_one_connection)
{
    static const char two[] = "GET /hello HTTP/1.1\r\nHost: x\r\n\r\nGET /nothing" TAIL;

    ask(two);
    HAS("HTTP/1.1 200");
    HAS("HTTP/1.1 404");
}

Test(http, turns_away_connections_beyond_its_limit_and_recovers)
{
    int fds[HTTP_CONNECTIONS_MAX + 8];

    for (size_t i = 0; i < ARRAY_COUNT(fds); i++)
        fds[i] = open_client();
    for (size_t i = 0; i < ARRAY_COUNT(fds); i++)
        close(fds[i]);
    for (int i = 0; i < 100; i++) {
        int fd = open_client();
        const char *request = "GET /hello" TAIL;
        (void)!send(fd, request, strlen(request), MSG_NOSIGNAL);
        read_reply(fd);
        close(fd);
        if (strstr(reply, "HTTP/1.1 200") != NULL)
            return;
        usleep(20000);
    }
    cr_assert_fail("no answer after the crowd had left");
}

Test(http_start, says_when_the_address_is_taken_or_means_nothing, .timeout = 20)
{
    struct diag_trail trail = {0};
    struct http_config other = config;
    struct http *second = NULL;

    set_up();
    other.port = http_port(http);
    cr_assert_eq(http_start(&other, &second, &trail), RC_BUSY, "%s", trail.text);
    cr_assert_not_null(strstr(trail.text, "127.0.0.1"));
    cr_assert_null(second);
    other.host = "no.such.host.invalid";
    cr_assert_eq(http_start(&other, &second, &trail), RC_INVALID);
    http_stop(http);
    http_stop(NULL);
}
