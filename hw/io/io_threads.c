/* The threads body: the same contract without io_uring, for containers and kernels that deny it.
 *
 * File requests go through a bounded queue to THREADS_WORKERS workers (pread, pwrite, pwritev,
 * fdatasync); finished ones come back in a list under the same lock. Stream requests are tried at
 * once on the core's own thread; those that would block wait in a table by descriptor until a
 * one-shot epoll event. One eventfd carries worker completions and wakes alike.
 *
 * Each request has a slot; slots are linked by index: free list, new list (submitted, not yet
 * handed over), waiting buckets, the workers' queue, the finished list. A slot is in exactly one of
 * them.
 *
 * What it costs against io_uring: two thread switches per file request and one syscall per stream
 * request. */
#include "hw/io/io_bodies.h"

#include "engine/base/check.h"
#include "hw/mem/mem.h"

#include <errno.h>
#include <poll.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define THREADS_WORKERS 4u
#define THREADS_BUCKETS 1024u
#define THREADS_EVENTS 64u
#define THREADS_NO_SLOT UINT32_MAX
#define THREADS_WAIT_MAX_NS (3600 * NS_PER_S)

struct threads_slot {
    struct io_request request;
    int32_t result;
    uint32_t next; /* in whichever list it is */
};

/* Slot indexes, first in first out. */
struct threads_list {
    uint32_t head;
    uint32_t tail;
};

struct threads {
    struct io io;
    int epoll_fd;
    int event_fd;
    bool wake_seen; /* taken from event_fd, and not yet answered by io_wait() */
    bool has_pwait2;
    uint32_t free_head;
    uint32_t stream_waiting; /* slots in all buckets */
    struct threads_list fresh;
    struct threads_list finished; /* ready for io_reap(), the owner's own */
    struct threads_list buckets[THREADS_BUCKETS];
    struct threads_slot slots[IO_REQUESTS_MAX];

    pthread_t workers[THREADS_WORKERS];
    uint32_t worker_count;

    /* Shared with the workers, under the lock. */
    _Alignas(BASE_LINE_BYTES) pthread_mutex_t lock;
    pthread_cond_t work_came;
    struct threads_list work;
    struct threads_list done;
    bool stop;

    /* done is not empty; a hint that lets the owner skip the lock. Pairs: set (release) under the
     * lock by a worker, read (acquire) and cleared under the lock by the owner. */
    _Alignas(BASE_LINE_BYTES) _Atomic bool done_hint;
    /* Set by any thread before it writes event_fd, cleared by the owner when it sees the wake. */
    _Alignas(BASE_LINE_BYTES) _Atomic bool wake_pending;
};

static struct threads *
threads_of(struct io *io)
{
    return (struct threads *)io;
}

/* ---- lists ---- */

static void
list_clear(struct threads_list *list)
{
    list->head = THREADS_NO_SLOT;
    list->tail = THREADS_NO_SLOT;
}

static bool
list_is_empty(const struct threads_list *list)
{
    return list->head == THREADS_NO_SLOT;
}

static void
list_push(struct threads *threads, struct threads_list *list, uint32_t slot_idx)
{
    threads->slots[slot_idx].next = THREADS_NO_SLOT;
    if (list_is_empty(list))
        list->head = slot_idx;
    else
        threads->slots[list->tail].next = slot_idx;
    list->tail = slot_idx;
}

/* The list must not be empty. */
static uint32_t
list_pop(struct threads *threads, struct threads_list *list)
{
    uint32_t slot_idx = list->head;

    CHECK(slot_idx != THREADS_NO_SLOT);
    list->head = threads->slots[slot_idx].next;
    if (list->head == THREADS_NO_SLOT)
        list->tail = THREADS_NO_SLOT;
    return slot_idx;
}

/* Moves everything from one list to the end of the other. */
static void
list_move(struct threads *threads, struct threads_list *from, struct threads_list *to)
{
    if (list_is_empty(from))
        return;
    if (list_is_empty(to))
        to->head = from->head;
    else
        threads->slots[to->tail].next = from->head;
    to->tail = from->tail;
    list_clear(from);
}

/* ---- workers ---- */

static int32_t
threads_file_run(const struct io_request *request)
{
    off_t position = (off_t)request->position;
    ssize_t result = -1;

    do {
        switch (request->op) {
        case IO_READ:
            result = pread(request->fd, request->buffer, request->bytes, position);
            break;
        case IO_WRITE:
            result = pwrite(request->fd, request->buffer, request->bytes, position);
            break;
        case IO_WRITEV:
            result = pwritev(request->fd, request->iovecs, (int)request->iovec_count, position);
            break;
        case IO_FDATASYNC:
            result = fdatasync(request->fd);
            break;
        case IO_ACCEPT:
        case IO_RECV:
        case IO_SENDV:
        case IO_POLL:
            CHECK(false && "stream request on a worker");
        }
    } while (result < 0 && errno == EINTR);
    return result < 0 ? -errno : (int32_t)result;
}

static void
threads_signal(struct threads *threads)
{
    uint64_t one = 1;

    while (write(threads->event_fd, &one, sizeof(one)) < 0 && errno == EINTR)
        continue;
}

static void *
threads_worker(void *ctx)
{
    struct threads *threads = ctx;

    pthread_mutex_lock(&threads->lock);
    for (;;) {
        while (!threads->stop && list_is_empty(&threads->work))
            pthread_cond_wait(&threads->work_came, &threads->lock);
        if (threads->stop)
            break;
        uint32_t slot_idx = list_pop(threads, &threads->work);
        struct threads_slot *slot = &threads->slots[slot_idx];

        pthread_mutex_unlock(&threads->lock);
        int32_t result = threads_file_run(&slot->request);
        pthread_mutex_lock(&threads->lock);

        slot->result = result;
        bool first = list_is_empty(&threads->done);
        list_push(threads, &threads->done, slot_idx);
        if (first) {
            atomic_store_explicit(&threads->done_hint, true, memory_order_release);
            threads_signal(threads);
        }
    }
    pthread_mutex_unlock(&threads->lock);
    return NULL;
}

static void
threads_take_done(struct threads *threads)
{
    /* Pairs with the store in threads_worker(). */
    if (!atomic_load_explicit(&threads->done_hint, memory_order_acquire))
        return;
    pthread_mutex_lock(&threads->lock);
    list_move(threads, &threads->done, &threads->finished);
    atomic_store_explicit(&threads->done_hint, false, memory_order_relaxed);
    pthread_mutex_unlock(&threads->lock);
}

/* ---- streams ---- */

static int32_t
threads_stream_run(const struct io_request *request)
{
    ssize_t result;

    do {
        if (request->op == IO_ACCEPT) {
            result = accept4(request->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        } else if (request->op == IO_RECV) {
            result = recv(request->fd, request->buffer, request->bytes, MSG_DONTWAIT);
        } else if (request->op == IO_POLL) {
            struct pollfd entry = {.fd = request->fd, .events = POLLIN};

            result = poll(&entry, 1, 0);
            if (result == 0)
                return -EAGAIN;
            if (result > 0 && (entry.revents & POLLNVAL) != 0)
                return -EBADF; /* as the kernel's ring says it */
        } else {
            struct msghdr message = {.msg_iov = (struct iovec *)(uintptr_t)request->iovecs,
                                     .msg_iovlen = request->iovec_count};

            result = sendmsg(request->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
        }
    } while (result < 0 && errno == EINTR);
    if (result < 0)
        return -errno;
    if (request->op == IO_ACCEPT)
        io__prepare_stream((int)result);
    return (int32_t)result;
}

static struct threads_list *
threads_bucket(struct threads *threads, int fd)
{
    return &threads->buckets[(uint32_t)fd % THREADS_BUCKETS];
}

/* Asks epoll for one event on fd, for all requests waiting on it; 0 or -errno. */
static int
threads_watch(struct threads *threads, int fd)
{
    struct epoll_event event = {.events = EPOLLONESHOT, .data = {.fd = fd}};
    uint32_t slot_idx = threads_bucket(threads, fd)->head;

    for (; slot_idx != THREADS_NO_SLOT; slot_idx = threads->slots[slot_idx].next) {
        const struct io_request *request = &threads->slots[slot_idx].request;

        if (request->fd == fd)
            event.events |= request->op == IO_SENDV ? EPOLLOUT : EPOLLIN | EPOLLRDHUP;
    }
    if (event.events == EPOLLONESHOT)
        return 0;
    /* Known to epoll from an earlier wait, unless it is new or was closed since: closing forgets
     * it. */
    if (epoll_ctl(threads->epoll_fd, EPOLL_CTL_MOD, fd, &event) == 0)
        return 0;
    if (errno == ENOENT && epoll_ctl(threads->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0)
        return 0;
    return -errno;
}

static void
threads_finish(struct threads *threads, uint32_t slot_idx, int32_t result)
{
    threads->slots[slot_idx].result = result;
    list_push(threads, &threads->finished, slot_idx);
}

/* Repeats every request that waits on fd; those that would block again stay, the others are
 * finished. With error != 0 all of them are finished with it. */
static void
threads_retry(struct threads *threads, int fd, int error)
{
    struct threads_list *bucket = threads_bucket(threads, fd);
    struct threads_list kept;

    list_clear(&kept);
    while (!list_is_empty(bucket)) {
        uint32_t slot_idx = list_pop(threads, bucket);
        const struct io_request *request = &threads->slots[slot_idx].request;
        int32_t result = -EAGAIN;

        if (request->fd == fd)
            result = error != 0 ? -error : threads_stream_run(request);
        if (result == -EAGAIN) {
            list_push(threads, &kept, slot_idx);
            continue;
        }
        threads->stream_waiting--;
        threads_finish(threads, slot_idx, result);
    }
    *bucket = kept;
}

static void
threads_stream_start(struct threads *threads, uint32_t slot_idx)
{
    const struct io_request *request = &threads->slots[slot_idx].request;
    int32_t result = threads_stream_run(request);

    if (result != -EAGAIN) {
        threads_finish(threads, slot_idx, result);
        return;
    }
    list_push(threads, threads_bucket(threads, request->fd), slot_idx);
    threads->stream_waiting++;
    int error = threads_watch(threads, request->fd);
    if (error != 0)
        threads_retry(threads, request->fd, -error);
}

/* ---- the owner's side ---- */

static bool
threads_submit(struct io *io, const struct io_request *request)
{
    struct threads *threads = threads_of(io);
    uint32_t slot_idx = threads->free_head;

    io__check_request(request);
    if (slot_idx == THREADS_NO_SLOT)
        return false;
    threads->free_head = threads->slots[slot_idx].next;
    threads->slots[slot_idx].request = *request;
    list_push(threads, &threads->fresh, slot_idx);
    io->under_way++;
    return true;
}

/* Hands new requests over: streams are tried here, files go to the workers in one lock. */
static void
threads_hand_over(struct threads *threads)
{
    struct threads_list files;
    uint32_t file_count = 0;

    list_clear(&files);
    while (!list_is_empty(&threads->fresh)) {
        uint32_t slot_idx = list_pop(threads, &threads->fresh);
        enum io_op op = threads->slots[slot_idx].request.op;

        if (op == IO_ACCEPT || op == IO_RECV || op == IO_SENDV || op == IO_POLL) {
            threads_stream_start(threads, slot_idx);
        } else {
            list_push(threads, &files, slot_idx);
            file_count++;
        }
    }
    if (file_count == 0)
        return;
    pthread_mutex_lock(&threads->lock);
    list_move(threads, &files, &threads->work);
    pthread_mutex_unlock(&threads->lock);
    for (uint32_t i = 0; i < file_count && i < threads->worker_count; i++)
        pthread_cond_signal(&threads->work_came);
}

static void
threads_event_fd_drain(struct threads *threads)
{
    uint64_t count;

    (void)!read(threads->event_fd, &count, sizeof(count));
    /* Pairs with the exchange in threads_wake(). */
    if (atomic_exchange_explicit(&threads->wake_pending, false, memory_order_acq_rel))
        threads->wake_seen = true;
}

/* epoll_pwait2 has nanoseconds (kernel 5.11); where it is missing or filtered, whole milliseconds
 * rounded up. */
static int
threads_epoll(struct threads *threads, struct epoll_event *events, uint64_t timeout_ns)
{
    uint64_t ns = min_u64(timeout_ns, THREADS_WAIT_MAX_NS);

    if (ns > 0 && ns < THREADS_WAIT_MAX_NS && threads->has_pwait2) {
        struct timespec time = {.tv_sec = (time_t)(ns / NS_PER_S),
                                .tv_nsec = (long)(ns % NS_PER_S)};
        int count = epoll_pwait2(threads->epoll_fd, events, THREADS_EVENTS, &time, NULL);

        if (count >= 0 || (errno != ENOSYS && errno != EPERM))
            return count;
        threads->has_pwait2 = false;
    }
    int ms = ns == THREADS_WAIT_MAX_NS ? -1 : (int)((ns + NS_PER_MS - 1) / NS_PER_MS);
    return epoll_wait(threads->epoll_fd, events, THREADS_EVENTS, ms);
}

/* Takes what epoll has within timeout_ns and finishes the streams it names. */
static void
threads_poll(struct threads *threads, uint64_t timeout_ns)
{
    struct epoll_event events[THREADS_EVENTS];
    int count = threads_epoll(threads, events, timeout_ns);

    for (int i = 0; i < count; i++) {
        int fd = events[i].data.fd;

        if (fd == threads->event_fd) {
            threads_event_fd_drain(threads);
            continue;
        }
        threads_retry(threads, fd, 0);
        int error = threads_watch(threads, fd);
        if (error != 0)
            threads_retry(threads, fd, -error);
    }
}

static uint32_t
threads_reap(struct io *io, struct io_completion *completions, uint32_t count)
{
    struct threads *threads = threads_of(io);
    uint32_t taken = 0;

    threads_hand_over(threads);
    threads_take_done(threads);
    if (threads->stream_waiting > 0 && list_is_empty(&threads->finished))
        threads_poll(threads, 0);
    while (taken < count && !list_is_empty(&threads->finished)) {
        uint32_t slot_idx = list_pop(threads, &threads->finished);
        struct threads_slot *slot = &threads->slots[slot_idx];

        completions[taken++] = (struct io_completion){.tag = slot->request.tag,
                                                      .result = slot->result};
        slot->next = threads->free_head;
        threads->free_head = slot_idx;
        io->under_way--;
    }
    return taken;
}

static void
threads_wait(struct io *io, uint64_t timeout_ns)
{
    struct threads *threads = threads_of(io);

    threads_hand_over(threads);
    threads_take_done(threads);
    bool ready = threads->wake_seen || !list_is_empty(&threads->finished);
    threads_poll(threads, ready ? 0 : timeout_ns);
    threads->wake_seen = false;
}

static void
threads_wake(struct io *io)
{
    struct threads *threads = threads_of(io);

    /* Pairs with the exchange in threads_event_fd_drain(): when it is set already, the owner has
     * yet to see that wake, and will then also see everything written before this exchange. */
    if (!atomic_exchange_explicit(&threads->wake_pending, true, memory_order_acq_rel))
        threads_signal(threads);
}

/* ---- life ---- */

static void
threads_fini(struct io *io)
{
    struct threads *threads = threads_of(io);

    pthread_mutex_lock(&threads->lock);
    threads->stop = true;
    pthread_cond_broadcast(&threads->work_came);
    pthread_mutex_unlock(&threads->lock);
    for (uint32_t i = 0; i < threads->worker_count; i++)
        pthread_join(threads->workers[i], NULL);
    if (threads->event_fd >= 0)
        close(threads->event_fd);
    if (threads->epoll_fd >= 0)
        close(threads->epoll_fd);
    pthread_cond_destroy(&threads->work_came);
    pthread_mutex_destroy(&threads->lock);
    mem_boot_free(threads);
}

static const struct io_ops threads_ops = {
    .submit = threads_submit,
    .reap = threads_reap,
    .wait = threads_wait,
    .wake = threads_wake,
    .fini = threads_fini,
};

static void
threads_init(struct threads *threads)
{
    threads->io.ops = &threads_ops;
    threads->io.body_name = "threads";
    threads->has_pwait2 = true;
    pthread_mutex_init(&threads->lock, NULL);
    pthread_cond_init(&threads->work_came, NULL);
    list_clear(&threads->fresh);
    list_clear(&threads->finished);
    list_clear(&threads->work);
    list_clear(&threads->done);
    for (uint32_t i = 0; i < THREADS_BUCKETS; i++)
        list_clear(&threads->buckets[i]);
    for (uint32_t i = 0; i < IO_REQUESTS_MAX; i++)
        threads->slots[i].next = i + 1 < IO_REQUESTS_MAX ? i + 1 : THREADS_NO_SLOT;
}

/* Workers take no signals: those belong to the thread that the program chose for them. */
static int
threads_start_workers(struct threads *threads)
{
    sigset_t all;
    sigset_t before;
    int error = 0;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (error == 0 && threads->worker_count < THREADS_WORKERS) {
        error = pthread_create(
            &threads->workers[threads->worker_count], NULL, threads_worker, threads);
        if (error == 0) {
            pthread_setname_np(threads->workers[threads->worker_count], "eagre-io");
            threads->worker_count++;
        }
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return threads->worker_count > 0 ? 0 : error;
}

enum rc
io__create_threads(struct io **ret_io, struct diag_trail *trail)
{
    struct threads *threads = mem_boot_alloc(sizeof(*threads));

    if (threads == NULL)
        return RC_NO_MEMORY;
    threads_init(threads);
    threads->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    threads->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int error = threads->epoll_fd < 0 || threads->event_fd < 0 ? errno : 0;
    if (error == 0) {
        struct epoll_event event = {.events = EPOLLIN, .data = {.fd = threads->event_fd}};

        if (epoll_ctl(threads->epoll_fd, EPOLL_CTL_ADD, threads->event_fd, &event) != 0)
            error = errno;
    }
    if (error == 0)
        error = threads_start_workers(threads);
    if (error != 0) {
        diag_trail_add(trail, "starting input/output threads: %s", strerror(error));
        threads_fini(&threads->io);
        return rc_from_errno(error);
    }
    *ret_io = &threads->io;
    return RC_OK;
}
