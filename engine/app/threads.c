#include "engine/app/threads.h"

#include "hw/cpu/cpu.h"

#include <stdio.h>
#include <string.h>

static void
thread_prepare(struct thread *thread)
{
    struct engine *engine = thread->threads->engine;
    const struct engine_layout *layout = engine_layout(engine);
    uint32_t control = engine_control_core(engine);
    char name[16];

    if (thread->core_idx < control)
        snprintf(name, sizeof(name), "core%u", thread->core_idx);
    else
        snprintf(name, sizeof(name), thread->core_idx == control ? "control" : "compact");
    cpu_name_thread(name);
    if (thread->core_idx > control)
        cpu_lower_thread(); /* compaction */
    if (thread->core_idx < control && layout->cores[thread->core_idx].cpu >= 0) {
        thread->rc = cpu_pin((uint32_t)layout->cores[thread->core_idx].cpu, &thread->trail);
        if (thread->rc != RC_OK) {
            diag_trail_add(&thread->trail,
                           "pin %s to CPU %d: %s",
                           name,
                           layout->cores[thread->core_idx].cpu,
                           rc_text(thread->rc));
            return;
        }
    }
    clock_init_real(&thread->clock);
    thread->rc = io_create(thread->threads->io_body, &thread->io, &thread->trail);
    if (thread->rc == RC_OK)
        engine_attach(engine, thread->core_idx, &thread->clock, thread->io);
}

static void *
thread_main(void *object)
{
    struct thread *thread = object;
    struct threads *threads = thread->threads;

    thread_prepare(thread);
    pthread_mutex_lock(&threads->lock);
    threads->ready_count++;
    pthread_cond_broadcast(&threads->changed);
    while (threads->order == THREADS_WAIT)
        pthread_cond_wait(&threads->changed, &threads->lock);
    bool go = threads->order == THREADS_GO;
    pthread_mutex_unlock(&threads->lock);
    if (go) {
        /* Control and compaction may allocate (codecs); engine cores must not. */
        bool is_helper = thread->core_idx >= engine_control_core(threads->engine);
        if (!is_helper)
            mem_trap_enable();
        core_run(engine_core(threads->engine, thread->core_idx));
        if (!is_helper)
            mem_trap_disable();
    }
    io_destroy(thread->io);
    return NULL;
}

enum rc
threads_start(struct threads *threads,
              struct engine *engine,
              enum io_body io_body,
              struct diag_trail *trail)
{
    *threads = (struct threads){.engine = engine, .io_body = io_body};
    pthread_mutex_init(&threads->lock, NULL);
    pthread_cond_init(&threads->changed, NULL);
    for (uint32_t i = 0; i < engine_core_count(engine); i++) {
        struct thread *thread = &threads->thread[i];
        thread->threads = threads;
        thread->core_idx = i;
        threads->count++;
        int error = pthread_create(&thread->handle, NULL, thread_main, thread);
        if (error != 0) {
            diag_trail_add(trail, "start thread %u: %s", i, strerror(error));
            threads->count--;
            return RC_NO_MEMORY;
        }
        thread->started = true;
    }
    pthread_mutex_lock(&threads->lock);
    while (threads->ready_count < threads->count)
        pthread_cond_wait(&threads->changed, &threads->lock);
    pthread_mutex_unlock(&threads->lock);
    for (uint32_t i = 0; i < threads->count; i++) {
        if (threads->thread[i].rc == RC_OK)
            continue;
        diag_trail_add(trail, "core %u: %s", i, threads->thread[i].trail.text);
        return threads->thread[i].rc;
    }
    return RC_OK;
}

static void
threads_order(struct threads *threads, bool go)
{
    pthread_mutex_lock(&threads->lock);
    threads->order = go ? THREADS_GO : THREADS_ABANDON;
    pthread_cond_broadcast(&threads->changed);
    pthread_mutex_unlock(&threads->lock);
}

void
threads_go(struct threads *threads)
{
    threads_order(threads, true);
}

void
threads_end(struct threads *threads)
{
    if (threads->order == THREADS_GO) {
        for (uint32_t i = 0; i < threads->count; i++)
            core_stop(engine_core(threads->engine, i));
    } else {
        threads_order(threads, false);
    }
    for (uint32_t i = 0; i < threads->count; i++)
        if (threads->thread[i].started)
            pthread_join(threads->thread[i].handle, NULL);
    pthread_cond_destroy(&threads->changed);
    pthread_mutex_destroy(&threads->lock);
}
