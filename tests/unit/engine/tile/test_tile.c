/* Goal: the core loop gives each completion to its tile, reports the nearest deadline, accounts for
 * time, sleeps only when no ring holds work, and never holds queued requests back twice. Method: a
 * scripted io body and scripted tiles; time is a sim clock. */
#include "engine/tile/tile.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <string.h>

struct fake_io {
    struct io io;
    struct io_completion due[8];
    uint32_t due_count;
    uint32_t waits;
    uint32_t wakes;
    uint64_t last_timeout_ns;
    struct core *stop_after_wait; /* ends core_run() */
    uint32_t lazy_reaps;
    uint32_t lazy_in_a_row;
    uint32_t lazy_in_a_row_max;
};

struct fake_tile {
    uint32_t work; /* units that the next polls find, one poll each */
    uint64_t deadline_ns;
    uint32_t polls;
    uint32_t completions;
    uint64_t last_tag;
    int32_t last_result;
    bool has_work;
};

static struct fake_io fake;
static struct fake_tile tiles[2];
static struct clock sim_clock;
static struct core core;

static uint32_t
fake_reap(struct io *io, struct io_completion *completions, uint32_t count)
{
    struct fake_io *f = (struct fake_io *)(void *)io;
    uint32_t taken = min_u32(count, f->due_count);

    f->lazy_in_a_row = io->lazy ? f->lazy_in_a_row + 1 : 0;
    f->lazy_reaps += io->lazy ? 1 : 0;
    f->lazy_in_a_row_max = f->lazy_in_a_row > f->lazy_in_a_row_max ? f->lazy_in_a_row
                                                                   : f->lazy_in_a_row_max;
    memcpy(completions, f->due, taken * sizeof(*completions));
    f->due_count = 0;
    return taken;
}

static void
fake_wait(struct io *io, uint64_t timeout_ns)
{
    struct fake_io *f = (struct fake_io *)(void *)io;

    f->waits++;
    f->last_timeout_ns = timeout_ns;
    if (f->stop_after_wait != NULL)
        core_stop(f->stop_after_wait);
}

static void
fake_wake(struct io *io)
{
    ((struct fake_io *)(void *)io)->wakes++;
}

static const struct io_ops fake_ops = {.reap = fake_reap, .wait = fake_wait, .wake = fake_wake};

static struct tile_report
tile_poll(void *object, uint64_t now_ns)
{
    struct fake_tile *tile = object;
    uint32_t work = tile->work > 0 ? 1 : 0;

    (void)now_ns;
    tile->polls++;
    tile->work -= work;
    clock_sim_advance(&sim_clock, 100);
    return (struct tile_report){.work = work, .deadline_ns = tile->deadline_ns};
}

static void
tile_complete(void *object, uint64_t tag, int32_t result)
{
    struct fake_tile *tile = object;

    tile->completions++;
    tile->last_tag = tag;
    tile->last_result = result;
}

static bool
tile_has_work(void *object)
{
    return ((struct fake_tile *)object)->has_work;
}

static const struct tile_ops tile_ops = {
    .poll = tile_poll, .complete = tile_complete, .has_work = tile_has_work};

static void
set_up(void)
{
    memset(&fake, 0, sizeof(fake));
    memset(tiles, 0, sizeof(tiles));
    fake.io.ops = &fake_ops;
    tiles[0].deadline_ns = NO_DEADLINE;
    tiles[1].deadline_ns = NO_DEADLINE;
    clock_init_sim(&sim_clock, 1, 1000);
    core_init(&core, &sim_clock, &fake.io, CORE_POLL_AUTO, 0);
    cr_assert_eq(core_add(&core, "a", &tile_ops, &tiles[0]), 0u);
    cr_assert_eq(core_add(&core, "b", &tile_ops, &tiles[1]), 1u);
}

TestSuite(core, .init = set_up, .timeout = 10);

Test(core, a_completion_for_a_tile_that_is_not_there_stops_the_program, .signal = SIGABRT)
{
    fake.due[0] = (struct io_completion){.tag = io_tag(5, 1)};
    fake.due_count = 1;
    core_step(&core);
}

Test(core, gives_each_completion_to_the_tile_in_its_tag)
{
    fake.due[0] = (struct io_completion){.tag = io_tag(1, 77), .result = -5};
    fake.due[1] = (struct io_completion){.tag = io_tag(0, 3), .result = 9};
    fake.due_count = 2;
    cr_assert_eq(core_step(&core), 2u);
    cr_assert_eq(tiles[1].last_tag & IO_TAG_OWN_MASK, 77u);
    cr_assert_eq(tiles[1].last_result, -5);
    cr_assert_eq(tiles[0].last_result, 9);
}

Test(core, reports_the_nearest_deadline_and_where_time_went)
{
    tiles[0].deadline_ns = 9000;
    tiles[1].deadline_ns = 4000;
    tiles[1].work = 1;
    cr_assert_eq(core_step(&core), 1u);
    cr_assert_eq(core.next_deadline_ns, 4000u);
    cr_assert_eq(atomic_load(&core.tiles[0].times.busy_ns), 0u);
    cr_assert_eq(atomic_load(&core.tiles[1].times.busy_ns), 100u);
    cr_assert_eq(atomic_load(&core.tiles[0].times.polls_idle), 1u);
}

Test(core, does_not_wait_while_a_ring_holds_work)
{
    tiles[0].has_work = true;
    fake.stop_after_wait = &core;
    /* The ring is emptied at the third poll; only then may the core wait, and the scripted wait
     * ends the run. */
    for (uint32_t i = 0; i < 3; i++)
        core_step(&core);
    tiles[0].has_work = false;
    core_run(&core);
    cr_assert_eq(fake.waits, 1u);
    cr_assert_eq(fake.last_timeout_ns, UINT64_MAX);
}

Test(core, waits_no_longer_than_the_nearest_deadline)
{
    fake.stop_after_wait = &core;
    tiles[0].deadline_ns = clock_now_ns(&sim_clock) + 5000;
    core_run(&core);
    cr_assert_eq(fake.waits, 1u);
    cr_assert_leq(fake.last_timeout_ns, 5000u);
    cr_assert_gt(fake.last_timeout_ns, 0u);
}

Test(core, holds_queued_requests_back_for_one_round_only)
{
    tiles[0].work = 50;
    fake.stop_after_wait = &core;
    core_run(&core);
    cr_assert_gt(fake.lazy_reaps, 0u, "a round before the sleep may hold back");
    cr_assert_eq(fake.lazy_in_a_row_max, 1u);
}

Test(core, holds_nothing_back_while_a_ring_holds_work)
{
    tiles[0].work = 10;
    tiles[1].has_work = true;
    for (uint32_t i = 0; i < 10; i++)
        core_step(&core);
    cr_assert_eq(fake.lazy_reaps, 0u);
}

Test(waker, wakes_only_a_core_that_sleeps, .timeout = 10)
{
    struct waker waker = {.io = &fake.io};

    set_up();
    waker_notify(&waker);
    cr_assert_eq(fake.wakes, 0u);
    atomic_store(&waker.asleep, 1);
    waker_notify(&waker);
    cr_assert_eq(fake.wakes, 1u);
}
