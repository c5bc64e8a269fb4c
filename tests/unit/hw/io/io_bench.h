/* What the suites of the real bodies share: creating a body, driving it until n completions came,
 * files, socket pairs. */
#ifndef EAGRE_TESTS_UNIT_HW_IO_IO_BENCH_H
#define EAGRE_TESTS_UNIT_HW_IO_IO_BENCH_H

#include "hw/io/io.h"

/* The bodies that this host has, [count]; io_uring is left out, and said so, where it is denied. */
struct io_bench_bodies {
    enum io_body bodies[2];
    uint32_t count;
};
struct io_bench_bodies io_bench_bodies(void);

struct io *io_bench_create(enum io_body body);
/* Submits one request, waits for its completion, and gives the result. Nothing else may be under
 * way. */
int32_t io_bench_run(struct io *io, const struct io_request *request);
void io_bench_submit(struct io *io, const struct io_request *request);
/* Waits until count completions came; stops the test after 10 s. */
void io_bench_collect(struct io *io, struct io_completion *completions, uint32_t count);
/* A new, unlinked file in the working directory's file system. */
int io_bench_file(int flags);
/* A listener on a free loopback port, and a blocking connection to it. */
int io_bench_listen(uint16_t *ret_port);
int io_bench_connect(uint16_t port);
/* A connected pair of loopback TCP streams: [0] non-blocking (ours), [1] blocking (the peer). */
void io_bench_pair(int fds[2]);
uint64_t io_bench_now_ns(void);

/* A test that runs once for every body: FOR_EACH_BODY(suite, name) { ... body ... } */
#define FOR_EACH_BODY(suite, name)                         \
    static void suite##_##name(enum io_body body);         \
    Test(suite, name, .timeout = 60)                       \
    {                                                      \
        struct io_bench_bodies bodies = io_bench_bodies(); \
                                                           \
        for (uint32_t i = 0; i < bodies.count; i++)        \
            suite##_##name(bodies.bodies[i]);              \
    }                                                      \
    static void suite##_##name(enum io_body body)

#endif
