/* Goal: ring requests end in virtual time, once each, in an order that the seed decides; each fault
 * of a request works; what was under way at a crash may be kept, lost or torn. Method: one ring
 * over one virtual disk, the clock moved by hand. */
#include "hw/io/io_sim.h"

#include "sim_disk_help.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <string.h>

TestSuite(io_sim, .timeout = 30);

#define BLOCK DISK_ALIGN_BYTES

struct rig {
    struct clock clock;
    struct disk *disk;
    struct io *io;
    struct sim_trace trace;
    int fd;
};

static _Alignas(BLOCK) uint8_t buffers[16][4 * BLOCK];

static void
rig_start(struct rig *rig, uint64_t seed, uint32_t flags)
{
    clock_init_sim(&rig->clock, seed, 0);
    sim_trace_init(&rig->trace);
    struct disk_sim_config config = {.seed = seed, .trace = &rig->trace};
    cr_assert_eq(disk_sim_create(&config, &rig->disk), RC_OK);
    struct io_sim_config io_config = {.clock = &rig->clock, .seed = seed, .trace = &rig->trace};
    cr_assert_eq(io_sim_create(&io_config, &rig->io), RC_OK);
    io_sim_attach(rig->io, disk_sim_device(rig->disk));
    rig->fd = help_create(rig->disk, "a", flags);
    cr_assert_eq(disk_allocate(rig->disk, rig->fd, 0, 64 * BLOCK), RC_OK);
    cr_assert_eq(disk_sync(rig->disk, rig->fd), RC_OK);
    disk_sim_set_faults(rig->disk,
                        &(struct disk_sim_faults){.latency_ns = 1000, .spread_ns = 9000});
}

static void
rig_stop(struct rig *rig)
{
    io_destroy(rig->io);
    disk_fini(rig->disk);
}

static void
submit(struct rig *rig, enum io_op op, uint32_t slot, uint32_t bytes, uint64_t position)
{
    struct io_request request = {
        .tag = slot,
        .op = op,
        .fd = rig->fd,
        .buffer = buffers[slot],
        .bytes = bytes,
        .position = position,
    };
    cr_assert(io_submit(rig->io, &request));
}

/* Moves the clock to the next completion and takes it. */
static struct io_completion
next_completion(struct rig *rig)
{
    struct io_completion completion;
    uint64_t due_ns = io_sim_due_ns(rig->io);
    cr_assert_neq(due_ns, SIM_NEVER_NS);
    uint64_t now_ns = clock_now_ns(&rig->clock);
    if (due_ns > now_ns) {
        cr_assert_eq(io_reap(rig->io, &completion, 1), 0, "not before its time");
        clock_sim_advance(&rig->clock, due_ns - now_ns);
    }
    cr_assert_eq(io_reap(rig->io, &completion, 1), 1);
    return completion;
}

Test(io_sim, unknown_descriptors_and_wrong_requests_fail_by_completion)
{
    struct rig rig;
    rig_start(&rig, 1, DISK_DIRECT);
    struct io_request request = {.tag = 1, .op = IO_READ, .fd = 3, .bytes = 10};
    cr_assert(io_submit(rig.io, &request));
    cr_assert_eq(next_completion(&rig).result, -EBADF);
    request.fd = rig.fd;
    request.buffer = buffers[0];
    cr_assert(io_submit(rig.io, &request));
    cr_assert_eq(next_completion(&rig).result, -EINVAL, "unaligned");
    request.op = IO_RECV;
    cr_assert(io_submit(rig.io, &request));
    cr_assert_eq(next_completion(&rig).result, -ENOTSOCK);
    cr_assert_eq(rig.io->under_way, 0);
    rig_stop(&rig);
}

Test(io_sim, the_table_is_bounded)
{
    struct rig rig;
    rig_start(&rig, 1, 0);
    struct io_request request = {.op = IO_READ, .fd = rig.fd, .buffer = buffers[0], .bytes = 1};
    for (uint32_t i = 0; i < IO_REQUESTS_MAX; i++)
        cr_assert(io_submit(rig.io, &request));
    cr_assert_not(io_submit(rig.io, &request));
    cr_assert_eq(rig.io->under_way, IO_REQUESTS_MAX);
    rig_stop(&rig);
}

Test(io_sim, a_write_is_seen_at_its_end_and_read_back)
{
    struct rig rig;
    rig_start(&rig, 1, DISK_DIRECT);
    memset(buffers[0], 5, BLOCK);
    submit(&rig, IO_WRITE, 0, BLOCK, 2 * BLOCK);
    cr_assert_eq(help_byte(rig.disk, "a", 2 * BLOCK), 0);
    struct io_completion done = next_completion(&rig);
    cr_assert_eq(done.tag, 0);
    cr_assert_eq(done.result, (int32_t)BLOCK);
    cr_assert_eq(help_byte(rig.disk, "a", 2 * BLOCK), 5);
    submit(&rig, IO_READ, 1, BLOCK, 2 * BLOCK);
    cr_assert_eq(next_completion(&rig).result, (int32_t)BLOCK);
    cr_assert_eq(memcmp(buffers[0], buffers[1], BLOCK), 0);
    submit(&rig, IO_READ, 1, BLOCK, 64 * BLOCK);
    cr_assert_eq(next_completion(&rig).result, 0, "beyond the end");
    rig_stop(&rig);
}

Test(io_sim, a_vector_write_gathers_its_parts)
{
    struct rig rig;
    rig_start(&rig, 1, DISK_DIRECT);
    memset(buffers[0], 1, BLOCK);
    memset(buffers[1], 2, 2 * BLOCK);
    struct iovec vecs[2] = {{buffers[0], BLOCK}, {buffers[1], 2 * BLOCK}};
    struct io_request request = {
        .op = IO_WRITEV, .fd = rig.fd, .iovecs = vecs, .iovec_count = 2, .position = BLOCK};
    cr_assert(io_submit(rig.io, &request));
    cr_assert_eq(next_completion(&rig).result, (int32_t)(3 * BLOCK));
    cr_assert_eq(help_byte(rig.disk, "a", BLOCK), 1);
    cr_assert_eq(help_byte(rig.disk, "a", 2 * BLOCK), 2);
    cr_assert_eq(help_byte(rig.disk, "a", 4 * BLOCK - 1), 2);
    cr_assert_eq(help_byte(rig.disk, "a", 4 * BLOCK), 0);
    rig_stop(&rig);
}

Test(io_sim, completions_change_places_by_seed)
{
    uint32_t permuted = 0;
    for (uint64_t seed = 0; seed < 50; seed++) {
        struct rig rig;
        rig_start(&rig, seed, 0);
        for (uint32_t i = 0; i < 4; i++)
            submit(&rig, IO_READ, i, 10, i * BLOCK);
        uint32_t seen = 0;
        bool in_order = true;
        for (uint32_t i = 0; i < 4; i++) {
            uint64_t tag = next_completion(&rig).tag;
            cr_assert_eq(seen & BIT(tag), 0, "each once");
            seen |= BIT(tag);
            in_order &= tag == i;
        }
        permuted += !in_order;
        rig_stop(&rig);
    }
    cr_assert_gt(permuted, 20);
    cr_assert_lt(permuted, 50);
}

static uint64_t
busy_run(uint64_t seed)
{
    struct rig rig;
    rig_start(&rig, seed, 0);
    disk_sim_set_faults(rig.disk,
                        &(struct disk_sim_faults){.latency_ns = 100,
                                                  .spread_ns = 5000,
                                                  .short_ppm = 100000,
                                                  .write_error_ppm = 50000,
                                                  .slow_ppm = 100000,
                                                  .slow_ns = 100000});
    for (uint32_t i = 0; i < 300; i++) {
        submit(&rig, i % 3 == 0 ? IO_READ : IO_WRITE, i % 16, 2000, i * 100);
        if (i % 16 == 15) {
            while (rig.io->under_way > 0)
                next_completion(&rig);
        }
    }
    uint64_t hash = rig.trace.hash;
    cr_assert_gt(rig.trace.events, 600);
    rig_stop(&rig);
    return hash;
}

Test(io_sim, a_seed_replays_to_the_same_trace)
{
    for (uint64_t seed = 1; seed < 10; seed++)
        cr_assert_eq(busy_run(seed), busy_run(seed), "seed %lu", seed);
    cr_assert_neq(busy_run(1), busy_run(2));
}

Test(io_sim, a_changed_buffer_under_way_stops_the_program, .signal = SIGABRT)
{
    struct rig rig;
    rig_start(&rig, 1, 0);
    submit(&rig, IO_WRITE, 0, 100, 0);
    buffers[0][50]++;
    next_completion(&rig);
}

Test(io_sim, short_transfers_stop_at_aligned_places_on_direct_files)
{
    struct rig rig;
    rig_start(&rig, 3, DISK_DIRECT);
    disk_sim_set_faults(rig.disk, &(struct disk_sim_faults){.short_ppm = SIM_PPM_ALL});
    uint32_t cut = 0;
    for (uint32_t i = 0; i < 50; i++) {
        memset(buffers[0], (int)i + 1, 4 * BLOCK);
        submit(&rig, IO_WRITE, 0, 4 * BLOCK, 0);
        int32_t result = next_completion(&rig).result;
        cr_assert_gt(result, 0);
        cr_assert_eq(result % (int32_t)BLOCK, 0);
        cr_assert_eq(help_byte(rig.disk, "a", (uint64_t)result - 1), (int)i + 1);
        cut += result < (int32_t)(4 * BLOCK);
        if (result < (int32_t)(4 * BLOCK))
            cr_assert_neq(help_byte(rig.disk, "a", (uint64_t)result), (int)i + 1);
    }
    cr_assert_gt(cut, 10);
    rig_stop(&rig);
}

Test(io_sim, a_stuck_request_ends_when_healed)
{
    struct rig rig;
    struct io_completion completion;
    rig_start(&rig, 1, 0);
    disk_sim_set_faults(rig.disk, &(struct disk_sim_faults){.stuck_ppm = SIM_PPM_ALL});
    submit(&rig, IO_READ, 0, 10, 0);
    disk_sim_heal(rig.disk);
    submit(&rig, IO_READ, 1, 10, 0);
    clock_sim_advance(&rig.clock, 3600 * NS_PER_S);
    cr_assert_eq(io_reap(rig.io, &completion, 1), 1);
    cr_assert_eq(completion.tag, 1);
    cr_assert_eq(io_sim_due_ns(rig.io), SIM_NEVER_NS);
    io_sim_heal(rig.io);
    cr_assert_eq(next_completion(&rig).result, 10);
    rig_stop(&rig);
}

Test(io_sim, errors_full_disks_lost_writes_and_flips_come_by_completion)
{
    struct rig rig;
    rig_start(&rig, 1, 0);
    memset(buffers[0], 0, BLOCK);
    disk_sim_set_faults(rig.disk, &(struct disk_sim_faults){.read_error_ppm = SIM_PPM_ALL});
    submit(&rig, IO_READ, 0, 10, 0);
    cr_assert_eq(next_completion(&rig).result, -EIO);
    disk_sim_set_faults(rig.disk, &(struct disk_sim_faults){.sync_error_ppm = SIM_PPM_ALL});
    submit(&rig, IO_FDATASYNC, 0, 0, 0);
    cr_assert_eq(next_completion(&rig).result, -EIO);
    disk_sim_set_faults(rig.disk, &(struct disk_sim_faults){.space_bytes = 65 * BLOCK});
    submit(&rig, IO_WRITE, 0, 10, 64 * BLOCK);
    cr_assert_eq(next_completion(&rig).result, -ENOSPC);
    disk_sim_set_faults(rig.disk, &(struct disk_sim_faults){.lost_ppm = SIM_PPM_ALL});
    memset(buffers[1], 9, BLOCK);
    submit(&rig, IO_WRITE, 1, 10, 0);
    cr_assert_eq(next_completion(&rig).result, 10);
    cr_assert_eq(help_byte(rig.disk, "a", 0), 0);
    disk_sim_set_faults(rig.disk, &(struct disk_sim_faults){.flip_ppm = SIM_PPM_ALL});
    submit(&rig, IO_READ, 2, 1, 0);
    cr_assert_eq(next_completion(&rig).result, 1);
    cr_assert(is_power_of_two(buffers[2][0]));
    rig_stop(&rig);
}

Test(io_sim, a_write_under_way_at_a_crash_is_lost_kept_or_torn)
{
    uint32_t outcomes[3] = {0};
    for (uint64_t seed = 0; seed < 200; seed++) {
        struct rig rig;
        rig_start(&rig, seed, DISK_DIRECT | DISK_DSYNC);
        memset(buffers[0], 7, 4 * BLOCK);
        submit(&rig, IO_WRITE, 0, 4 * BLOCK, 0);
        help_crash(rig.disk, seed);
        io_destroy(rig.io);
        uint32_t sectors = 0;
        for (uint64_t at = 0; at < 4 * BLOCK; at += 512)
            sectors += help_byte(rig.disk, "a", at) == 7;
        outcomes[sectors == 0 ? 0 : sectors == 32 ? 1 : 2]++;
        disk_fini(rig.disk);
    }
    for (int i = 0; i < 3; i++)
        cr_assert_gt(outcomes[i], 10, "outcome %d", i);
}

Test(io_sim, a_sync_covers_what_had_ended_when_it_began)
{
    uint32_t lost = 0;
    for (uint64_t seed = 0; seed < 100; seed++) {
        struct rig rig;
        rig_start(&rig, seed, 0);
        memset(buffers[0], 1, BLOCK);
        memset(buffers[1], 2, BLOCK);
        submit(&rig, IO_WRITE, 0, 512, 0);
        next_completion(&rig);
        submit(&rig, IO_WRITE, 1, 512, BLOCK);
        submit(&rig, IO_FDATASYNC, 2, 0, 0);
        while (rig.io->under_way > 0)
            next_completion(&rig);
        help_crash(rig.disk, seed);
        cr_assert_eq(help_byte(rig.disk, "a", 0), 1, "seed %lu", seed);
        lost += help_byte(rig.disk, "a", BLOCK) != 2;
        rig_stop(&rig);
    }
    cr_assert_gt(lost, 10, "a write that ran beside the sync is not promised");
}

Test(io_sim, a_killed_process_leaves_its_writes_to_the_kernel)
{
    uint32_t whole = 0;
    uint32_t partly = 0;
    for (uint64_t seed = 0; seed < 100; seed++) {
        struct rig rig;
        rig_start(&rig, seed, 0);
        memset(buffers[0], 3, BLOCK);
        memset(buffers[1], 4, 4 * BLOCK);
        submit(&rig, IO_WRITE, 0, BLOCK, 0);
        next_completion(&rig);
        submit(&rig, IO_WRITE, 1, 4 * BLOCK, BLOCK);
        io_destroy(rig.io);
        disk_sim_close_all(rig.disk);
        cr_assert_eq(help_byte(rig.disk, "a", 0), 3, "ended writes are in the page cache");
        int last = help_byte(rig.disk, "a", 5 * BLOCK - 1);
        whole += last == 4;
        partly += last != 4;
        disk_fini(rig.disk);
    }
    cr_assert_gt(whole, 20);
    cr_assert_gt(partly, 20);
}

Test(io_sim, a_wake_is_remembered_once)
{
    struct rig rig;
    rig_start(&rig, 1, 0);
    cr_assert_not(io_sim_take_wake(rig.io));
    io_wake(rig.io);
    io_wait(rig.io, UINT64_MAX);
    cr_assert(io_sim_take_wake(rig.io));
    cr_assert_not(io_sim_take_wake(rig.io));
    rig_stop(&rig);
}
