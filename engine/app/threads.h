/* The threads of the engine's cores: each makes its own clock and io ring (the kernel ties a ring
 * to the thread that made it), waits until the engine is wired and recovered, and then runs its
 * core until it is stopped. */
#ifndef EAGRE_ENGINE_APP_THREADS_H
#define EAGRE_ENGINE_APP_THREADS_H

#include "engine/app/engine.h"

#include <pthread.h>

struct threads;

struct thread {
    struct threads *threads;
    uint32_t core_idx;
    pthread_t handle;
    bool started;
    struct clock clock;
    struct io *io;
    enum rc rc;
    struct diag_trail trail;
};

struct threads {
    struct engine *engine;
    enum io_body io_body;
    struct thread thread[ENGINE_CORES_MAX];
    uint32_t count;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    uint32_t ready_count; /* threads that made their ring, or failed to */
    enum { THREADS_WAIT, THREADS_GO, THREADS_ABANDON } order;
};

/* Starts one thread per core and attaches its clock and ring to the engine. On failure the cause is
 * in trail; threads_end() is to be called in either case. */
enum rc threads_start(struct threads *threads,
                      struct engine *engine,
                      enum io_body io_body,
                      struct diag_trail *trail) MUST_USE;
/* Lets the cores run. */
void threads_go(struct threads *threads);
/* Stops every core, or lets waiting threads leave, and joins them. */
void threads_end(struct threads *threads);

#endif
