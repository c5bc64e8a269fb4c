/* Which operations of the virtual disk go wrong, and how; see disk_sim.h. */
#include "hw/disk/disk_sim_inner.h"

#include "engine/base/check.h"

#include <errno.h>
#include <string.h>

static uint32_t class_idx(enum disk_sim_class class)
{
    CHECK(is_power_of_two((uint64_t) class));
    return (uint32_t)__builtin_ctz((unsigned)class);
}

static void
verdict_add(struct disk_sim_verdict *verdict, const struct disk_sim_plan *plan)
{
    switch (plan->effect) {
    case DISK_SIM_EFFECT_ERROR:
        verdict->error = plan->error;
        return;
    case DISK_SIM_EFFECT_SHORT:
        verdict->is_short = true;
        return;
    case DISK_SIM_EFFECT_STUCK:
        verdict->stuck = true;
        return;
    case DISK_SIM_EFFECT_SLOW:
        verdict->slow = true;
        return;
    case DISK_SIM_EFFECT_LOST:
        verdict->lost = true;
        return;
    case DISK_SIM_EFFECT_MISDIRECT:
        verdict->misdirect = true;
        return;
    case DISK_SIM_EFFECT_FLIP:
        verdict->flip = true;
        return;
    }
}

static void
judge_by_plans(struct disk_sim *sim,
               enum disk_sim_class class,
               const char *name,
               struct disk_sim_verdict *verdict)
{
    for (uint32_t i = 0; i < sim->plan_count; i++) {
        struct disk_sim_planned *planned = &sim->plans[i];
        const struct disk_sim_plan *plan = &planned->plan;
        if ((plan->classes & (uint32_t) class) == 0)
            continue;
        if (plan->path_part != NULL && strstr(name, plan->path_part) == NULL)
            continue;
        uint64_t number = planned->seen++;
        if (number < plan->skip || number - plan->skip >= plan->count)
            continue;
        planned->hits++;
        sim->faults_struck++;
        verdict_add(verdict, plan);
        sim_trace_add(sim->trace, "disk_plan", i, number, (uint64_t)plan->effect);
    }
}

static void
judge_by_chance(struct disk_sim *sim, enum disk_sim_class class, struct disk_sim_verdict *verdict)
{
    const struct disk_sim_faults *faults = &sim->faults;
    uint32_t error_ppm = class == DISK_SIM_READ    ? faults->read_error_ppm
                         : class == DISK_SIM_WRITE ? faults->write_error_ppm
                         : class == DISK_SIM_SYNC  ? faults->sync_error_ppm
                         : class == DISK_SIM_OPEN  ? 0
                                                   : faults->name_error_ppm;
    bool error = sim_rng_chance(&sim->rng, error_ppm);
    bool is_short = sim_rng_chance(&sim->rng, faults->short_ppm);
    bool stuck = sim_rng_chance(&sim->rng, faults->stuck_ppm);
    bool slow = sim_rng_chance(&sim->rng, faults->slow_ppm);
    bool lost = class == DISK_SIM_WRITE && sim_rng_chance(&sim->rng, faults->lost_ppm);
    bool misdirect = class == DISK_SIM_WRITE && sim_rng_chance(&sim->rng, faults->misdirect_ppm);
    bool flip = class == DISK_SIM_READ && sim_rng_chance(&sim->rng, faults->flip_ppm);

    sim->faults_struck += (uint64_t)error + is_short + stuck + slow + lost + misdirect + flip;
    if (error && verdict->error == 0)
        verdict->error = EIO;
    verdict->is_short |= is_short;
    verdict->stuck |= stuck;
    verdict->slow |= slow;
    verdict->lost |= lost;
    verdict->misdirect |= misdirect;
    verdict->flip |= flip;
}

struct disk_sim_verdict
disk_sim__judge(struct disk_sim *sim, enum disk_sim_class class, const char *name)
{
    struct disk_sim_verdict verdict = {0};
    sim->operations[class_idx(class)]++;
    judge_by_plans(sim, class, name, &verdict);
    judge_by_chance(sim, class, &verdict);
    return verdict;
}

void
disk_sim_set_faults(struct disk *disk, const struct disk_sim_faults *faults)
{
    disk_sim_of(disk)->faults = *faults;
}

const struct disk_sim_faults *
disk_sim_get_faults(struct disk *disk)
{
    return &disk_sim_of(disk)->faults;
}

void
disk_sim_heal(struct disk *disk)
{
    struct disk_sim *sim = disk_sim_of(disk);
    sim->faults = (struct disk_sim_faults){
        .latency_ns = sim->faults.latency_ns,
        .spread_ns = sim->faults.spread_ns,
    };
    sim->plan_count = 0;
}

uint32_t
disk_sim_plan_add(struct disk *disk, const struct disk_sim_plan *plan)
{
    struct disk_sim *sim = disk_sim_of(disk);
    CHECK(sim->plan_count < DISK_SIM_PLANS_MAX);
    sim->plans[sim->plan_count] = (struct disk_sim_planned){.plan = *plan};
    return sim->plan_count++;
}

uint64_t
disk_sim_plan_hits(struct disk *disk, uint32_t plan)
{
    struct disk_sim *sim = disk_sim_of(disk);
    CHECK(plan < sim->plan_count);
    return sim->plans[plan].hits;
}

uint64_t
disk_sim_operations(struct disk *disk, uint32_t classes)
{
    struct disk_sim *sim = disk_sim_of(disk);
    uint64_t sum = 0;
    for (uint32_t i = 0; i < ARRAY_COUNT(sim->operations); i++) {
        if ((classes & BIT(i)) != 0)
            sum += sim->operations[i];
    }
    return sum;
}

uint64_t
disk_sim_faults_struck(struct disk *disk)
{
    return disk_sim_of(disk)->faults_struck;
}

bool
disk_sim__has_space(struct disk_sim *sim, uint64_t bytes)
{
    if (sim->faults.space_bytes == 0 || bytes == 0)
        return true;
    if (sim_store_used_bytes(&sim->store) + bytes <= sim->faults.space_bytes)
        return true;
    sim->faults_struck++;
    return false;
}

uint64_t
disk_sim__growth(const struct disk_sim *sim, uint32_t inode, uint64_t bytes)
{
    uint64_t before = round_up(sim->store.inodes[inode].live.bytes, SIM_PAGE_BYTES);
    uint64_t after = round_up(bytes, SIM_PAGE_BYTES);
    return after > before ? after - before : 0;
}

uint64_t
disk_sim__place(struct disk_sim *sim, uint32_t inode, uint64_t position, bool misdirect)
{
    uint64_t pages = sim->store.inodes[inode].live.bytes / SIM_PAGE_BYTES;
    if (!misdirect || pages < 2)
        return position;
    uint64_t page = position / SIM_PAGE_BYTES;
    uint64_t other = (page + 1 + sim_rng_below(&sim->rng, pages - 1)) % pages;
    return other * SIM_PAGE_BYTES + position % SIM_PAGE_BYTES;
}
