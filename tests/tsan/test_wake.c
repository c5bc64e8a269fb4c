/* The two-fence sleep: a core that sleeps the moment it finds its ring empty must notice every
 * publication. A lost wake-up shows as a consumer that stays blocked until its deadline (one second
 * here) and is counted as a failure.
 *
 * TSan does not model fences, so this program proves the protocol by stress: with either fence
 * taken out (build with -DEAGRE_MUTANT_NO_FENCE, tests/mutants) it fails. Bounded by ROUNDS. */
#include "engine/ring/ring.h"
#include "engine/tile/tile.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define ROUNDS 60000u

struct pair {
    struct ring request;
    struct ring answer;
    struct core core;
    struct clock clock;
    struct io *io;
    _Atomic uint32_t ready;
    uint64_t served;
    uint64_t late; /* slept until the deadline although something was published */
};

static struct pair pair;
static _Alignas(128) uint8_t request_memory[16 * sizeof(uint64_t)];
static _Alignas(128) uint8_t answer_memory[16 * sizeof(uint64_t)];

static struct tile_report
echo_poll(void *object, uint64_t now_ns)
{
    struct pair *p = object;
    uint64_t items[16];
    uint32_t count = ring_pop(&p->request, items, 16);

    if (count > 0) {
        ring_push(&p->answer, items, count);
        p->served += count;
    }
    return (struct tile_report){.work = count, .deadline_ns = now_ns + NS_PER_S};
}

static bool
echo_has_work(void *object)
{
    return !ring_is_empty(&((struct pair *)object)->request);
}

static const struct tile_ops echo_ops = {.poll = echo_poll, .has_work = echo_has_work};

static void *
core_thread(void *unused)
{
    clock_init_real(&pair.clock);
    if (io_create(IO_BODY_AUTO, &pair.io, NULL) != RC_OK)
        abort();
    core_init(&pair.core, &pair.clock, pair.io, CORE_POLL_AUTO, 0);
    core_add(&pair.core, "echo", &echo_ops, &pair);
    atomic_store_explicit(
        &pair.ready, 1, memory_order_release); /* pairs with the acquire in main() */
    core_run(&pair.core);
    return unused;
}

static uint64_t
now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

int
main(void)
{
    pthread_t thread;
    uint64_t late = 0;
    uint64_t round = 0;

    ring_init(&pair.request, request_memory, sizeof(uint64_t), 16);
    ring_init(&pair.answer, answer_memory, sizeof(uint64_t), 16);
    if (pthread_create(&thread, NULL, core_thread, NULL) != 0)
        return 1;
    while (atomic_load_explicit(&pair.ready, memory_order_acquire) == 0)
        ;
    for (; round < ROUNDS && late < 3; round++) {
        uint64_t got = 0;
        uint64_t begin = now_ns();
        /* A pause of changing length hits every moment of the other side falling asleep. */
        for (uint64_t spin = round % 2000; spin > 0; spin--)
            __builtin_ia32_pause();
        ring_push(&pair.request, &round, 1);
        waker_notify(&pair.core.waker);
        while (ring_pop(&pair.answer, &got, 1) == 0)
            if (now_ns() - begin > 5 * NS_PER_S)
                break;
        if (now_ns() - begin > 900 * NS_PER_MS)
            late++;
        if (got != round)
            late++;
    }
    core_stop(&pair.core);
    pthread_join(thread, NULL);
    io_destroy(pair.io); /* not before: core_stop() wakes through it */
    printf(
        "%llu rounds, %llu late wake-ups\n", (unsigned long long)round, (unsigned long long)late);
    printf("%d passed, %d failed\n", late == 0, late != 0);
    return late != 0;
}
