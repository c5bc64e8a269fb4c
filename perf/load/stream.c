#include "perf/load/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static int
stream_connect(const char *address)
{
    const char *colon = strrchr(address, ':');
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    char host[256];
    int one = 1;

    if (colon == NULL || (size_t)(colon - address) >= sizeof(host))
        return -1;
    snprintf(host, sizeof(host), "%.*s", (int)(colon - address), address);
    if (getaddrinfo(host, colon + 1, &hints, &found) != 0)
        return -1;
    int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, found->ai_addr, found->ai_addrlen) != 0) {
        close(fd);
        fd = -1;
    }
    freeaddrinfo(found);
    if (fd < 0)
        return -1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    return fd;
}

bool
stream_open(struct stream *stream, const char *address)
{
    *stream = (struct stream){.fd = stream_connect(address)};
    stream->out = malloc(STREAM_OUT_BYTES);
    stream->in = malloc(STREAM_IN_BYTES);
    if (stream->fd < 0)
        fprintf(stderr, "bench: cannot connect to %s\n", address);
    return stream->fd >= 0 && stream->out != NULL && stream->in != NULL;
}

void
stream_close(struct stream *stream)
{
    if (stream->fd > 0)
        close(stream->fd);
    free(stream->out);
    free(stream->in);
    *stream = (struct stream){.fd = -1};
}

uint8_t *
stream_room(struct stream *stream, uint32_t bytes)
{
    if (stream->out_at == stream->out_count)
        stream->out_at = stream->out_count = 0;
    if (bytes <= STREAM_OUT_BYTES - stream->out_count)
        return stream->out + stream->out_count;
    if (bytes > STREAM_OUT_BYTES - (stream->out_count - stream->out_at))
        return NULL;
    memmove(stream->out, stream->out + stream->out_at, stream->out_count - stream->out_at);
    stream->out_count -= stream->out_at;
    stream->out_at = 0;
    return stream->out + stream->out_count;
}

void
stream_add(struct stream *stream, uint32_t bytes)
{
    stream->out_count += bytes;
}

bool
stream_put(struct stream *stream, const uint8_t *bytes, uint32_t count)
{
    uint8_t *to = stream_room(stream, count);

    if (to == NULL)
        return false;
    bytes_copy(to, count, bytes, count);
    stream_add(stream, count);
    return true;
}

bool
stream_send(struct stream *stream)
{
    while (stream->out_at < stream->out_count) {
        ssize_t sent = send(stream->fd,
                            stream->out + stream->out_at,
                            stream->out_count - stream->out_at,
                            MSG_NOSIGNAL);
        if (sent < 0 && (errno == EAGAIN || errno == EINTR))
            return true;
        if (sent <= 0)
            return false;
        stream->out_at += (uint32_t)sent;
    }
    return true;
}

bool
stream_receive(struct stream *stream)
{
    memmove(stream->in, stream->in + stream->in_at, stream->in_count - stream->in_at);
    stream->in_count -= stream->in_at;
    stream->in_at = 0;
    if (stream->in_count == STREAM_IN_BYTES)
        return false; /* a frame longer than we can hold */
    ssize_t got = recv(
        stream->fd, stream->in + stream->in_count, STREAM_IN_BYTES - stream->in_count, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return true;
    if (got <= 0)
        return false;
    stream->in_count += (uint32_t)got;
    return true;
}

bool
stream_frame(struct stream *stream, struct bytes *ret_frame)
{
    if (stream->in_count - stream->in_at < 4)
        return false;
    uint32_t count = get_u32_be(stream->in + stream->in_at);
    if (count > stream->in_count - stream->in_at - 4)
        return false;
    *ret_frame = (struct bytes){stream->in + stream->in_at + 4, count};
    stream->in_at += 4 + count;
    return true;
}

short
stream_events(const struct stream *stream)
{
    return (short)(POLLIN | (stream->out_at < stream->out_count ? POLLOUT : 0));
}
