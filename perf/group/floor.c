/* The least that a heartbeat can cost over TCP on this machine: a process that reads a frame and
 * writes a fixed answer, with nothing in between. */
#include "perf/group/group_load.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define FLOOR_EVENTS 512
#define FLOOR_SECONDS_MAX 600u /* it ends by itself after that, whatever happens */

/* A heartbeat's answer of version 2: length, correlation id, no throttling, no error. */
static bool
floor_answer(int fd, const uint8_t *frame)
{
    uint8_t answer[14] = {0, 0, 0, 10};

    bytes_copy(answer + 4, 4, frame + 8, 4); /* length, api key and version come before */
    return write(fd, answer, sizeof(answer)) == (ssize_t)sizeof(answer);
}

/* Heartbeats come one at a time on a connection, so a read gives one whole frame. */
static bool
floor_serve(int fd)
{
    uint8_t frame[4096];
    ssize_t got = read(fd, frame, sizeof(frame));

    return got >= 12 && (uint32_t)got == 4 + get_u32_be(frame) && floor_answer(fd, frame);
}

static void
floor_accept(int listener, int epoll_fd)
{
    int one = 1;
    int fd = accept(listener, NULL, NULL);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};

    if (fd < 0)
        return;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event);
}

static void
floor_run(int listener)
{
    int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener};
    uint64_t end_ns = process_now_ns() + FLOOR_SECONDS_MAX * NS_PER_S;

    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &event);
    while (process_now_ns() < end_ns) {
        struct epoll_event events[FLOOR_EVENTS];
        int count = epoll_wait(epoll_fd, events, FLOOR_EVENTS, 1000);
        for (int i = 0; i < count; i++) {
            if (events[i].data.fd == listener)
                floor_accept(listener, epoll_fd);
            else if (!floor_serve(events[i].data.fd))
                close(events[i].data.fd);
        }
    }
    _exit(0);
}

int
floor_start(char *ret_port, size_t port_capacity)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof(address);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (listener < 0 || bind(listener, (struct sockaddr *)&address, bytes) != 0 ||
        listen(listener, 4096) != 0 ||
        getsockname(listener, (struct sockaddr *)&address, &bytes) != 0) {
        fprintf(stderr, "group-load: %s\n", strerror(errno));
        return -1;
    }
    snprintf(ret_port, port_capacity, "%u", ntohs(address.sin_port));
    int pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        floor_run(listener);
    }
    close(listener);
    return pid;
}
