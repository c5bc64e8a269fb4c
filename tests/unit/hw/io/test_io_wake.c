/* Goal: no wake is lost, an idle ring costs nothing, and a host that forbids io_uring gets the
 * other body and the reason. Method: two threads that answer each other only by wakes; CPU time of
 * the thread; a seccomp filter in a forked child. */
#include "io_bench.h"

#include "hw/io/io_bodies.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define WAKE_ROUNDS 10000u

FOR_EACH_BODY(io_wake, that_came_before_the_wait_ends_it_at_once)
{
    struct io *io = io_bench_create(body);
    struct io_completion completion;

    io_wake(io);
    uint64_t begin_ns = io_bench_now_ns();
    io_wait(io, 5 * NS_PER_S);
    cr_assert_lt(io_bench_now_ns() - begin_ns, NS_PER_S);

    /* Also when it was reaped in between, with a stream under way so that reaping looks into the
     * kernel. */
    uint16_t port;
    int listener = io_bench_listen(&port);
    io_bench_submit(io, &(struct io_request){.tag = 1, .op = IO_ACCEPT, .fd = listener});
    cr_assert_eq(io_reap(io, &completion, 1), 0u);
    begin_ns = io_bench_now_ns();
    for (int round = 0; round < 20; round++) {
        io_wake(io);
        io_wake(io);
        for (int i = 0; i < 100; i++)
            cr_assert_eq(io_reap(io, &completion, 1), 0u);
        io_wait(io, 200 * NS_PER_MS);
    }
    /* Twenty rounds, because a signal of the test runner may end one wait and hide a lost wake. */
    cr_assert_lt(io_bench_now_ns() - begin_ns, NS_PER_S);
    close(listener);
    io_destroy(io);
}

/* A signal (the test runner's) may end a wait early; a busy loop of early returns may not. */
FOR_EACH_BODY(io_wait, returns_after_its_timeout)
{
    static const uint64_t timeouts_ns[] = {0, 100 * NS_PER_US, 3 * NS_PER_MS, 30 * NS_PER_MS};
    struct io *io = io_bench_create(body);

    io_wait(io, 0); /* spends what set-up left behind */
    for (size_t i = 0; i < ARRAY_COUNT(timeouts_ns); i++) {
        uint64_t begin_ns = io_bench_now_ns();
        uint64_t passed_ns = 0;
        uint32_t early = 0;

        io_wait(io, timeouts_ns[i]);
        while ((passed_ns = io_bench_now_ns() - begin_ns) < timeouts_ns[i]) {
            cr_assert_lt(early++, 3u, "%s returns early", io->body_name);
            io_wait(io, timeouts_ns[i] - passed_ns);
        }
        cr_assert_lt(passed_ns, timeouts_ns[i] + 500 * NS_PER_MS);
    }
    io_destroy(io);
}

static uint64_t
thread_cpu_ns(void)
{
    struct timespec time;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (uint64_t)time.tv_sec * NS_PER_S + (uint64_t)time.tv_nsec;
}

FOR_EACH_BODY(io_wait, costs_no_time_while_nothing_happens)
{
    struct io *io = io_bench_create(body);
    struct io_completion completion;
    uint16_t port;
    int listener = io_bench_listen(&port);

    /* With an accept and a wake watched, as a quiet server has. */
    io_bench_submit(io, &(struct io_request){.tag = 1, .op = IO_ACCEPT, .fd = listener});
    io_wait(io, NS_PER_MS);
    uint64_t begin_ns = io_bench_now_ns();
    uint64_t cpu_ns = thread_cpu_ns();
    uint32_t rounds = 0;
    while (io_bench_now_ns() - begin_ns < NS_PER_S) {
        io_wait(io, NS_PER_S);
        cr_assert_eq(io_reap(io, &completion, 1), 0u);
        rounds++;
    }
    cr_assert_leq(rounds, 3u);
    cr_assert_lt(thread_cpu_ns() - cpu_ns, 5 * NS_PER_MS);
    close(listener);
    io_destroy(io);
}

FOR_EACH_BODY(io_reap, costs_next_to_nothing_when_nothing_is_under_way)
{
    enum { ROUNDS = 200000 };
    struct io *io = io_bench_create(body);
    struct io_completion completion;

    (void)io_reap(io, &completion, 1);
    uint64_t cpu_ns = thread_cpu_ns();
    for (int i = 0; i < ROUNDS; i++)
        cr_assert_eq(io_reap(io, &completion, 1), 0u);
    uint64_t each_ns = (thread_cpu_ns() - cpu_ns) / ROUNDS;
    cr_log_info("%s: empty reap %llu ns", io->body_name, (unsigned long long)each_ns);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    /* A syscall costs more than 100 ns here; sanitizers alone cost as much. */
    cr_assert_lt(each_ns, 100u);
#endif
    io_destroy(io);
}

/* Two threads with a ring each answer each other. Both wait without limit, so one lost wake hangs
 * the test. */
struct wake_side {
    enum io_body body;
    struct io *io;
    struct wake_side *other;
    pthread_barrier_t *ready;
    _Atomic uint32_t inbox;
};

static void
wake_send(struct wake_side *side, uint32_t round)
{
    /* Pairs with the load in wake_expect(). */
    atomic_store_explicit(&side->other->inbox, round, memory_order_release);
    io_wake(side->other->io);
}

static void
wake_expect(struct wake_side *side, uint32_t round)
{
    struct io_completion completion;

    /* Pairs with the store in wake_send(). */
    while (atomic_load_explicit(&side->inbox, memory_order_acquire) != round) {
        if (round % 3 == 0)
            cr_assert_eq(io_reap(side->io, &completion, 1), 0u);
        /* Sometimes the wake comes before the wait. */
        for (uint32_t spin = 0; spin < round % 64 * 8; spin++)
            __builtin_ia32_pause();
        if (atomic_load_explicit(&side->inbox, memory_order_acquire) != round)
            io_wait(side->io, UINT64_MAX);
    }
}

static void *
wake_answer(void *ctx)
{
    struct wake_side *side = ctx;

    side->io = io_bench_create(side->body);
    pthread_barrier_wait(side->ready);
    for (uint32_t round = 1; round <= WAKE_ROUNDS; round++) {
        wake_expect(side, round);
        wake_send(side, round);
    }
    pthread_barrier_wait(side->ready);
    io_destroy(side->io);
    return NULL;
}

FOR_EACH_BODY(io_wake, from_another_thread_is_never_lost_in_ten_thousand_rounds)
{
    pthread_barrier_t ready;
    struct wake_side asking = {.body = body, .ready = &ready};
    struct wake_side answering = {.body = body, .ready = &ready, .other = &asking};
    pthread_t thread;

    asking.other = &answering;
    pthread_barrier_init(&ready, NULL, 2);
    asking.io = io_bench_create(body);
    cr_assert_eq(pthread_create(&thread, NULL, wake_answer, &answering), 0);
    pthread_barrier_wait(&ready);
    uint64_t begin_ns = io_bench_now_ns();
    for (uint32_t round = 1; round <= WAKE_ROUNDS; round++) {
        wake_send(&asking, round);
        wake_expect(&asking, round);
    }
    cr_log_info("%s: %llu ns per round of two wakes",
                asking.io->body_name,
                (unsigned long long)((io_bench_now_ns() - begin_ns) / WAKE_ROUNDS));
    pthread_barrier_wait(&ready);
    pthread_join(thread, NULL);
    io_destroy(asking.io);
    pthread_barrier_destroy(&ready);
}

/* Many wakes, few waits: the waker does not wait for an answer, so wakes fall into every moment of
 * the other side. */
struct wake_storm {
    struct io *io;
    _Atomic uint32_t published;
};

static void *
wake_storm_run(void *ctx)
{
    struct wake_storm *storm = ctx;

    for (uint32_t i = 1; i <= 20 * WAKE_ROUNDS; i++) {
        /* Pairs with the load of the waiting side. */
        atomic_store_explicit(&storm->published, i, memory_order_release);
        io_wake(storm->io);
    }
    return NULL;
}

FOR_EACH_BODY(io_wake, storm_is_seen_to_its_last_wake)
{
    struct wake_storm storm = {.io = io_bench_create(body)};
    struct io_completion completion;
    pthread_t thread;
    uint32_t seen = 0;

    cr_assert_eq(pthread_create(&thread, NULL, wake_storm_run, &storm), 0);
    while (seen < 20 * WAKE_ROUNDS) {
        io_wait(storm.io, UINT64_MAX);
        cr_assert_eq(io_reap(storm.io, &completion, 1), 0u);
        /* Pairs with the store of the waking side. */
        seen = atomic_load_explicit(&storm.published, memory_order_acquire);
    }
    pthread_join(thread, NULL);
    cr_assert_eq(storm.io->overflows, 0u);
    io_destroy(storm.io);
}

/* ---- the choice of a body ---- */

/* Makes io_uring_setup fail with EPERM in this process, as a container's seccomp profile does. */
static bool
deny_io_uring(void)
{
    struct sock_filter rules[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = ARRAY_COUNT(rules), .filter = rules};

    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

/* Gives an exit status: 0 when all is as it should be, else the number of the expectation that
 * failed. */
static int
denied_child(void)
{
    struct diag_trail trail = {""};
    struct io *io = NULL;
    char text[4] = "abc";
    char back[4] = "";
    struct io_completion completion;

    if (!deny_io_uring())
        return 77;
    if (io_create(IO_BODY_URING, &io, &trail) != RC_DENIED)
        return 1;
    if (strstr(trail.text, "seccomp") == NULL || strstr(trail.text, "io_uring_disabled") == NULL)
        return 2;
    diag_trail_clear(&trail);
    if (io_create(IO_BODY_AUTO, &io, &trail) != RC_OK || strcmp(io->body_name, "threads") != 0)
        return 3;
    if (strstr(trail.text, "worker threads") == NULL || strstr(trail.text, "seccomp") == NULL)
        return 4;
    int fd = io_bench_file(0);
    struct io_request request = {.op = IO_WRITE, .fd = fd, .buffer = text, .bytes = sizeof(text)};
    if (!io_submit(io, &request))
        return 5;
    while (io_reap(io, &completion, 1) == 0)
        io_wait(io, UINT64_MAX);
    if (completion.result != 4 || pread(fd, back, 4, 0) != 4 || memcmp(back, text, 4) != 0)
        return 6;
    io_destroy(io);
    return 0;
}

Test(io_create, falls_back_to_threads_and_says_why_when_io_uring_is_denied, .timeout = 30)
{
    int status = 0;
    pid_t child = fork();

    if (child == 0)
        _exit(denied_child());
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77)
        cr_skip_test("this host refuses seccomp filters");
    cr_assert_eq(WEXITSTATUS(status), 0, "expectation %d failed", WEXITSTATUS(status));
}

Test(io_create, says_nothing_when_it_gives_what_was_asked_for, .timeout = 30)
{
    struct diag_trail trail = {""};
    struct io *io = NULL;

    cr_assert_eq(io_create(IO_BODY_THREADS, &io, &trail), RC_OK);
    cr_assert_str_eq(io->body_name, "threads");
    cr_assert_str_empty(trail.text);
    io_destroy(io);
    io_destroy(NULL);
}
