#include "engine/tile/tile.h"

#include "engine/base/check.h"
#include "hw/cpu/cpu.h"

/* Completions taken per round: enough to drain a burst of journal, segment and socket completions,
 * small enough that a round stays far below a commit's time. */
#define CORE_COMPLETIONS 256u

static uint64_t
relaxed_get(const _Atomic uint64_t *value)
{
    return atomic_load_explicit(value, memory_order_relaxed);
}

/* Single writer, so a plain load and store are enough; readers are metrics. */
static void
relaxed_add(_Atomic uint64_t *value, uint64_t add)
{
    atomic_store_explicit(value, relaxed_get(value) + add, memory_order_relaxed);
}

void
core_init(struct core *core,
          struct clock *clock,
          struct io *io,
          enum core_poll_mode mode,
          uint64_t spin_ns)
{
    *core = (struct core){
        .clock = clock,
        .io = io,
        .waker = {.io = io},
        .spin_ns = spin_ns,
        .mode = mode,
        .next_deadline_ns = 0,
    };
}

uint32_t
core_add(struct core *core, const char *name, const struct tile_ops *ops, void *object)
{
    CHECK(core->tile_count < CORE_TILES_MAX);
    CHECK(ops->poll != NULL);
    CHECK(ops->has_work != NULL);
    core->tiles[core->tile_count] = (struct tile){.name = name, .ops = ops, .object = object};
    return core->tile_count++;
}

static uint32_t
core_deliver(struct core *core)
{
    struct io_completion completions[CORE_COMPLETIONS];
    uint32_t count = io_reap(core->io, completions, CORE_COMPLETIONS);

    for (uint32_t i = 0; i < count; i++) {
        uint32_t tile_idx = io_tag_tile(completions[i].tag);
        CHECK(tile_idx < core->tile_count);
        struct tile *tile = &core->tiles[tile_idx];
        CHECK(tile->ops->complete != NULL);
        tile->ops->complete(tile->object, completions[i].tag, completions[i].result);
    }
    return count;
}

uint32_t
core_step(struct core *core)
{
    uint32_t work = core_deliver(core);
    uint64_t now = clock_now_ns(core->clock);
    uint64_t deadline = NO_DEADLINE;

    for (uint32_t i = 0; i < core->tile_count; i++) {
        struct tile *tile = &core->tiles[i];
        struct tile_report report = tile->ops->poll(tile->object, now);
        uint64_t after = clock_now_ns(core->clock);

        relaxed_add(&tile->times.polls, 1);
        if (report.work > 0) {
            relaxed_add(&tile->times.busy_ns, after - now);
            relaxed_add(&tile->times.work, report.work);
        } else {
            relaxed_add(&tile->times.polls_idle, 1);
        }
        work += report.work;
        deadline = min_u64(deadline, report.deadline_ns);
        now = after;
    }
    core->next_deadline_ns = deadline;
    return work;
}

static bool
core_has_work(struct core *core)
{
    for (uint32_t i = 0; i < core->tile_count; i++)
        if (core->tiles[i].ops->has_work(core->tiles[i].object))
            return true;
    return atomic_load_explicit(&core->stop, memory_order_acquire) !=
           0; /* pairs with core_stop() */
}

/* Blocks until a completion, a wake or the nearest deadline. */
static void
core_sleep(struct core *core, uint64_t now)
{
    if (core->next_deadline_ns <= now)
        return;
    atomic_store_explicit(&core->waker.asleep, 1, memory_order_relaxed);
    /* First of the two fences: the store of `asleep` is visible before we look at the rings. Pairs
     * with the fence in waker_notify(), which puts the publication before its look at `asleep`: one
     * of the two sides sees the other. */
    atomic_thread_fence(memory_order_seq_cst);
    if (!core_has_work(core)) {
        uint64_t timeout = core->next_deadline_ns == NO_DEADLINE ? UINT64_MAX
                                                                 : core->next_deadline_ns - now;
        io_wait(core->io, timeout);
        relaxed_add(&core->wakes, 1);
        relaxed_add(&core->sleep_ns, clock_now_ns(core->clock) - now);
    }
    atomic_store_explicit(&core->waker.asleep, 0, memory_order_relaxed);
}

/* After a round that did work: when no ring holds more, the next round will most likely find
 * nothing and the core will sleep. Then what is queued goes to the kernel together with the wait:
 * one syscall instead of two, which is a third of a lone request's syscalls. Never two rounds in
 * turn, so nothing queued waits longer than one round. */
static void
core_consider_lazy(struct core *core)
{
    core->io->lazy = core->spin_ns == 0 && core->mode == CORE_POLL_AUTO && !core->io->lazy &&
                     !core_has_work(core);
}

void
core_run(struct core *core)
{
    /* Pairs with core_stop(). */
    while (atomic_load_explicit(&core->stop, memory_order_acquire) == 0) {
        if (core_step(core) > 0) {
            core->idle_since_ns = 0;
            core_consider_lazy(core);
            continue;
        }
        core->io->lazy = false;
        if (core->mode == CORE_POLL_ALWAYS) {
            if (core->io->under_way > 0)
                cpu_yield();
            else
                __builtin_ia32_pause();
            continue;
        }
        uint64_t now = clock_now_ns(core->clock);
        if (core->idle_since_ns == 0)
            core->idle_since_ns = now;
        if (now - core->idle_since_ns < core->spin_ns)
            __builtin_ia32_pause();
        else
            core_sleep(core, now);
    }
}

void
core_stop(struct core *core)
{
    /* Pairs with the acquire in core_run(). The wake is sent in any case: stopping is rare. */
    atomic_store_explicit(&core->stop, 1, memory_order_release);
    io_wake(core->io);
}

void
waker_notify(struct waker *waker)
{
    /* Second of the two fences, see core_sleep(). */
    atomic_thread_fence(memory_order_seq_cst);
    if (UNLIKELY(atomic_load_explicit(&waker->asleep, memory_order_relaxed) != 0))
        io_wake(waker->io);
}
