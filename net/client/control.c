/* The control exchange: TCP or TLS to the server, JOIN out, GRANT in, and then an open connection
 * whose end is the session's end. Non-blocking; a socket of our own with MSG_NOSIGNAL under OpenSSL
 * too, because a library must neither get its host killed by SIGPIPE nor touch its signals. */
#include "net/client/client_parts.h"
#include "net/client/tls.h"

#include "net/kafka/kafka_error.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONTROL_LOOK_NS NS_PER_MS /* a granted connection is looked at so often, not per poll */
#define CONTROL_LOOK_DPDK_NS (20 * NS_PER_MS) /* and on a carrier that makes no system calls */

int
client__control_init(struct eagre_client *client, char *why, size_t why_capacity)
{
    struct control *control = &client->control;

    control->fd = -1;
    control->backoff_ns = client->config.reconnect_min_ms * NS_PER_MS;
    control->retry_at_ns = client->now_ns;
    control->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (control->epoll_fd < 0)
        return EAGRE_NO_MEMORY;
    if (!client__carrier_is_polled(client)) {
        struct epoll_event event = {.events = EPOLLIN, .data.fd = client->nic->wait_fd};
        if (epoll_ctl(control->epoll_fd, EPOLL_CTL_ADD, client->nic->wait_fd, &event) != 0)
            return EAGRE_NO_MEMORY;
    }
    if (client->config.tls == EAGRE_TLS_OFF)
        return EAGRE_OK;
    return client__tls_context(&client->config, &control->tls, why, why_capacity);
}

static void
client_control_disconnect(struct control *control)
{
    if (control->stream != NULL)
        SSL_free(control->stream);
    control->stream = NULL;
    if (control->fd >= 0)
        close(control->fd); /* leaves the epoll set by itself */
    control->fd = -1;
    control->out_bytes = control->out_done = control->in_bytes = 0;
    control->state = CONTROL_DOWN;
    explicit_bzero(control->out, sizeof(control->out)); /* the secret of a JOIN */
    explicit_bzero(control->in, sizeof(control->in));   /* the keys of a GRANT */
}

void
client__control_fini(struct eagre_client *client)
{
    struct control *control = &client->control;

    client_control_disconnect(control);
    SSL_CTX_free(control->tls);
    control->tls = NULL;
    if (control->epoll_fd > 0)
        close(control->epoll_fd);
    control->epoll_fd = -1;
}

void
client__control_drop(struct eagre_client *client)
{
    struct control *control = &client->control;
    uint64_t most_ns = client->config.reconnect_max_ms * NS_PER_MS;

    client__link_end(client);
    client_control_disconnect(control);
    /* Three quarters to five quarters: many clients of one server must not come back at once. */
    uint64_t wait_ns = control->backoff_ns * 3 / 4 +
                       clock_random_below(&client->clock, control->backoff_ns / 2 + 1);
    control->retry_at_ns = client->now_ns + wait_ns;
    control->backoff_ns = min_u64(control->backoff_ns * 2, most_ns);
}

static void
client_control_watch(struct control *control, bool wants_write)
{
    struct epoll_event event = {.data.fd = control->fd};

    event.events = EPOLLIN | EPOLLRDHUP | (wants_write ? (uint32_t)EPOLLOUT : 0u);
    control->wants_write = wants_write;
    (void)epoll_ctl(control->epoll_fd, EPOLL_CTL_MOD, control->fd, &event);
}

static bool
client_control_connect(struct eagre_client *client)
{
    struct control *control = &client->control;
    struct sockaddr_storage address;
    socklen_t address_bytes = client__tls_sockaddr(&client->server, &address);
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP};
    int one = 1;

    control->give_up_ns = client->now_ns + CLIENT_JOIN_NS;
    control->fd = socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (control->fd < 0)
        return false;
    event.data.fd = control->fd;
    (void)setsockopt(control->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (epoll_ctl(control->epoll_fd, EPOLL_CTL_ADD, control->fd, &event) != 0)
        return false;
    control->wants_write = true;
    control->state = CONTROL_CONNECTING;
    return connect(control->fd, (struct sockaddr *)&address, address_bytes) == 0 ||
           errno == EINPROGRESS;
}

/* JOIN into the buffer. */
static void
client_control_join(struct eagre_client *client)
{
    const struct eagre_config *config = &client->config;
    struct control *control = &client->control;
    struct wire_join join = {
        .version = WIRE_VERSION,
        .auth = config->auth == EAGRE_AUTH_NONE ? WIRE_AUTH_NONE : WIRE_AUTH_AEAD,
        .tile = 0xff,
        .datagram_bytes_max = client->datagram_bytes_max,
        .user = {(const uint8_t *)config->user, strlen(config->user)},
        .secret = {(const uint8_t *)config->secret, strlen(config->secret)},
        .client = {(const uint8_t *)config->client_name, strlen(config->client_name)},
    };
    control->out_bytes = wire_join_encode(control->out, &join);
    control->out_done = 0;
    control->state = CONTROL_JOINING;
}

/* After SYN: >0 connected, 0 not yet, <0 failed. */
static int
client_control_connected(struct eagre_client *client)
{
    struct control *control = &client->control;
    struct pollfd ready = {.fd = control->fd, .events = POLLOUT};
    int error = 0;
    socklen_t error_bytes = sizeof(error);

    if (poll(&ready, 1, 0) <= 0)
        return 0;
    if (getsockopt(control->fd, SOL_SOCKET, SO_ERROR, &error, &error_bytes) != 0 || error != 0) {
        char text[NIC_ADDRESS_TEXT_MAX];
        nic_address_text(&client->server, text, sizeof(text));
        client_say(client, "connect %s: %s", text, strerror(error));
        return -1;
    }
    return 1;
}

static bool
client_control_secure(struct eagre_client *client)
{
    struct control *control = &client->control;

    control->stream = client__tls_stream(control->tls, control->fd, client->config.tls_server_name);
    if (control->stream == NULL) {
        client_say(client, "TLS: no memory");
        return false;
    }
    control->state = CONTROL_TLS;
    return true;
}

/* Writes what is left of `out`. False: the connection is gone. */
static bool
client_control_write(struct eagre_client *client)
{
    struct control *control = &client->control;

    while (control->out_done < control->out_bytes) {
        long wrote = client__tls_write(control->stream,
                                       control->fd,
                                       control->out + control->out_done,
                                       control->out_bytes - control->out_done);
        if (wrote < 0)
            return false;
        if (wrote == 0)
            break;
        control->out_done += (uint32_t)wrote;
        if (control->out_done == control->out_bytes) /* no secret stays behind */
            explicit_bzero(control->out, control->out_bytes);
    }
    bool wants_write = control->out_done < control->out_bytes;
    if (wants_write != control->wants_write)
        client_control_watch(control, wants_write);
    return true;
}

/* A refusal that another try may overcome only says so; the others are final. */
static void
client_control_refused(struct eagre_client *client, struct bytes body)
{
    struct wire_refused refused;

    if (wire_refused_decode(body, &refused) != RC_OK) {
        client_say(client, "the server refused, and not in a form that can be read");
        return;
    }
    client_say(client,
               "the server refuses: %.*s (%u)",
               (int)refused.text.count,
               (const char *)refused.text.at,
               refused.code);
    client->is_refused = refused.code != KAFKA_ERROR_THROTTLING_QUOTA_EXCEEDED &&
                         !client_error_is_passing(refused.code);
}

/* False: the connection is of no use any more. */
static bool
client_control_message(struct eagre_client *client, uint8_t type, struct bytes body)
{
    struct control *control = &client->control;

    if (type == WIRE_CONTROL_REFUSED) {
        client_control_refused(client, body);
        return false;
    }
    if (type != WIRE_CONTROL_GRANT || control->state != CONTROL_JOINING ||
        wire_grant_decode(body, &client->grant) != RC_OK) {
        client_say(client, "the server answered something else than a grant");
        return false;
    }
    control->state = CONTROL_GRANTED;
    return client__link_begin(client);
}

/* Reads what is there. False: the connection is gone. */
static bool
client_control_read(struct eagre_client *client)
{
    struct control *control = &client->control;
    uint32_t room = WIRE_CONTROL_BYTES_MAX - control->in_bytes;
    long got = client__tls_read(
        control->stream, control->fd, control->in + control->in_bytes, room);
    uint8_t type;
    struct bytes body;
    uint32_t bytes;

    if (got < 0) {
        if (control->state == CONTROL_GRANTED)
            client_say(client, "the server ended the session");
        else
            client_say(client, "the server closed the connection");
        return false;
    }
    control->in_bytes += (uint32_t)got;
    enum rc rc = RC_AGAIN;
    while (control->in_bytes > 0 &&
           (rc = wire_control_next(control->in, control->in_bytes, &type, &body, &bytes)) ==
               RC_OK) {
        if (!client_control_message(client, type, body))
            return false;
        control->in_bytes -= bytes;
        memmove(control->in, control->in + bytes, control->in_bytes);
        explicit_bzero(control->in + control->in_bytes, bytes);
    }
    return rc == RC_OK || rc == RC_AGAIN;
}

/* One step of a connection that stands or is being made. False: drop it. */
static bool
client_control_advance(struct eagre_client *client)
{
    struct control *control = &client->control;

    if (control->state == CONTROL_CONNECTING) {
        int connected = client_control_connected(client);
        if (connected <= 0)
            return connected == 0;
        if (control->tls != NULL && !client_control_secure(client))
            return false;
        if (control->tls == NULL)
            client_control_join(client);
    }
    if (control->state == CONTROL_TLS) {
        bool wants_write = false;
        int done = client__tls_handshake(
            control->stream, &wants_write, client->why, (uint32_t)sizeof(client->why));
        if (wants_write != control->wants_write)
            client_control_watch(control, wants_write);
        if (done <= 0)
            return done == 0;
        client_control_join(client);
    }
    return client_control_write(client) && client_control_read(client);
}

void
client__control_step(struct eagre_client *client)
{
    struct control *control = &client->control;
    uint64_t now_ns = client->now_ns;

    if (client->is_refused)
        return;
    if (control->state == CONTROL_DOWN) {
        if (now_ns >= control->retry_at_ns && !client_control_connect(client)) {
            client_say(client, "connect: %s", strerror(errno));
            client__control_drop(client);
        }
        return;
    }
    if (control->state == CONTROL_GRANTED && now_ns < control->look_at_ns)
        return;
    control->look_at_ns = now_ns + (client__carrier_is_polled(client) ? CONTROL_LOOK_DPDK_NS
                                                                      : CONTROL_LOOK_NS);
    if (!client_control_advance(client)) {
        client__control_drop(client);
        return;
    }
    if (!client->is_open && now_ns >= control->give_up_ns) {
        client_say(client,
                   control->state == CONTROL_GRANTED ? "no answer on the data path (UDP)"
                                                     : "no answer to the join");
        client__control_drop(client);
    }
}

uint64_t
client__control_deadline(const struct eagre_client *client)
{
    const struct control *control = &client->control;

    if (client->is_refused)
        return UINT64_MAX;
    if (control->state == CONTROL_DOWN)
        return control->retry_at_ns;
    return client->is_open ? UINT64_MAX : control->give_up_ns;
}

void
client__control_leave(struct eagre_client *client)
{
    struct control *control = &client->control;

    if (control->state != CONTROL_GRANTED || control->out_done < control->out_bytes)
        return;
    control->out_bytes = wire_leave_encode(control->out);
    control->out_done = 0;
    (void)client_control_write(client);
}
