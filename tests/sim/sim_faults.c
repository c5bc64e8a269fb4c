/* The log on a disk that fails, fills up, is damaged, or runs out of descriptors.
 *
 * Each kind of fault is a family of cases; a case strikes one operation (or one place) of a bounded
 * run that appends, rolls, trims, reclaims, drops and stops. While the fault lasts the log may
 * refuse, fence or halt, by name; it must always answer, never serve a wrong byte, and never call a
 * failure success. Afterwards the fault is lifted and the log started anew: everything that was
 * ever acknowledged is there, and it serves again. Damage to stored bytes (flips, missing, cut and
 * empty files) may cost what was damaged, but only loudly: the start refuses, the partition halts,
 * or the read fails. */
#include "log_script.h"
#include "sim_options.h"

#include "engine/base/check.h"
#include "log/format/format.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CASES_PER_FAMILY 100000u
#define FILES_MAX 128u
#define LONG_BYTES (200u * 1024) /* longer than the chunks in which a cold read takes it */
#define SIM_FAULT_PAGE 4096u
#define FLIPS_PER_FILE 96u

enum verdict {
    VERDICT_GOOD,
    VERDICT_BAD,
    VERDICT_BEYOND /* the run has no such operation: the family ends */
};

struct run {
    struct sim_world world;
    struct log_model model;
    struct log_rig rig;
    struct log_script script;
    uint32_t plan;
};

struct family {
    const char *name;
    enum verdict (*try_case)(struct run *run, const struct family *family, uint32_t idx);
    uint32_t cases_max;
    uint32_t classes; /* of operations, for plans */
    enum disk_sim_effect effect;
    int error;
    const char *path_part;
};

static const enum script_op busy_ops[] = {SCRIPT_SMALL,
                                          SCRIPT_BIG,
                                          SCRIPT_ROLL,
                                          SCRIPT_TRIM,
                                          SCRIPT_SMALL,
                                          SCRIPT_DROP,
                                          SCRIPT_RECLAIM,
                                          SCRIPT_SMALL};
_Static_assert(ARRAY_COUNT(busy_ops) <= SCRIPT_OPS_MAX, "fits a script");

static enum verdict try_damage(struct run *run, const struct family *family, uint32_t idx);

/* ---- parts of a case ---- */

static void
run_init(struct run *run, uint64_t seed, const struct family *family, bool verbose)
{
    struct rig_options options = log_script_options();
    if (family->try_case == try_damage)
        options.journal_file_bytes = 512 * KIB; /* room for a long batch */
    *run = (struct run){0};
    sim_world_init(&run->world, &(struct sim_world_options){.seed = seed, .verbose = verbose});
    disk_sim_set_faults(run->world.disk,
                        &(struct disk_sim_faults){.latency_ns = 20000, .spread_ns = 50000});
    log_model_init(&run->model);
    options.faults = true;
    rig_init(&run->rig, &run->world, &run->model, &options);
    run->script = (struct log_script){
        .rig = &run->rig, .settle = seed % 2 == 0, .idempotent = true};
    memcpy(run->script.ops, busy_ops, sizeof(busy_ops));
    run->script.op_count = ARRAY_COUNT(busy_ops);
}

static void
run_fini(struct run *run)
{
    if (run->rig.running)
        rig_kill(&run->rig);
    rig_fini(&run->rig);
    log_model_fini(&run->model);
    sim_world_fini(&run->world);
}

static bool
start_well(struct run *run)
{
    struct diag_trail trail = {{0}};
    enum rc rc = rig_start(&run->rig, &trail);
    if (rc == RC_OK)
        return true;
    return log_model_fail(&run->model, "start on a sound disk: %s: %s", rc_name(rc), trail.text);
}

static void
arm(struct run *run, const struct family *family, uint64_t skip)
{
    run->plan = disk_sim_plan_add(run->world.disk,
                                  &(struct disk_sim_plan){.classes = family->classes,
                                                          .path_part = family->path_part,
                                                          .skip = skip,
                                                          .count = 1,
                                                          .effect = family->effect,
                                                          .error = family->error});
}

/* Ends the process in one of three ways. */
static void
end_process(struct run *run, uint32_t idx)
{
    if (idx % 3 == 0)
        rig_kill(&run->rig);
    else
        rig_power_cut(&run->rig);
}

/* Opens what is there and appends to it: a healed log serves. */
static bool
serves(struct run *run)
{
    struct log_model *model = &run->model;
    run->rig.options.faults = false;
    for (uint32_t i = 0; i < model->partition_count; i++) {
        struct model_partition *partition = &model->partitions[i];
        if (partition->drop_submit != MODEL_NEVER || partition->open_ack == MODEL_NEVER)
            continue;
        if (rig_open(&run->rig, i) != RC_OK || !rig_settle(&run->rig))
            return log_model_fail(model, "a partition cannot be opened after the fault");
        run->script.partition = i;
        run->script.idempotent = false;
        run->script.broken = false;
        if (!log_script_do(&run->script, SCRIPT_SMALL) || !rig_settle(&run->rig))
            return false;
    }
    return true;
}

/* The fault is gone and so is the process: everything acknowledged must be there, and go on. */
static enum verdict
after(struct run *run)
{
    disk_sim_heal(run->world.disk);
    bool good = start_well(run) && rig_judge(&run->rig, rig_mark(&run->rig), true) && serves(run) &&
                rig_judge(&run->rig, rig_mark(&run->rig), true) && rig_stop(&run->rig);
    return good ? VERDICT_GOOD : VERDICT_BAD;
}

/* Reads everything that still answers; wrong bytes are found on the way. */
static bool
read_what_answers(struct run *run)
{
    for (uint32_t i = 0; i < run->model.partition_count; i++) {
        uint64_t incarnation = run->model.partitions[i].config.incarnation;
        uint32_t slot = log_find(run->rig.log, incarnation);
        struct log_read_result offsets;
        if (slot == UINT32_MAX || log_offsets(run->rig.log, slot, incarnation, &offsets) != RC_OK)
            continue;
        for (uint64_t at = offsets.start_offset; at < offsets.high_watermark;) {
            uint64_t next;
            if (!rig_read(&run->rig, i, at, &next))
                return false;
            if (next == at)
                break; /* refused, by name */
            at = next;
        }
    }
    return true;
}

/* ---- families that strike an operation ---- */

/* One operation of the run fails. */
static enum verdict
try_operation(struct run *run, const struct family *family, uint32_t idx)
{
    bool good = start_well(run);
    arm(run, family, idx);
    good = good && log_script_begin(&run->script) &&
           (run->script.broken || log_script_run(&run->script));
    if (!good)
        return VERDICT_BAD;
    if (run->rig.running && !read_what_answers(run))
        return VERDICT_BAD;
    bool beyond = disk_sim_plan_hits(run->world.disk, run->plan) == 0;
    if (run->rig.running)
        end_process(run, idx);
    enum verdict verdict = after(run);
    return verdict == VERDICT_GOOD && beyond ? VERDICT_BEYOND : verdict;
}

/* One read of what stands in segments fails. */
static enum verdict
try_cold_read(struct run *run, const struct family *family, uint32_t idx)
{
    run->rig.options.faults = false;
    if (!start_well(run) || !log_script_begin(&run->script) || !log_script_run(&run->script))
        return VERDICT_BAD;
    rig_kill(&run->rig);
    run->rig.options.faults = true;
    if (!start_well(run))
        return VERDICT_BAD;
    arm(run, family, idx);
    if (!read_what_answers(run))
        return VERDICT_BAD;
    bool beyond = disk_sim_plan_hits(run->world.disk, run->plan) == 0;
    end_process(run, idx);
    enum verdict verdict = after(run);
    return verdict == VERDICT_GOOD && beyond ? VERDICT_BEYOND : verdict;
}

/* One operation of a recovery fails. */
static enum verdict
try_recovery(struct run *run, const struct family *family, uint32_t idx)
{
    struct diag_trail trail = {{0}};
    run->rig.options.faults = false;
    if (!start_well(run) || !log_script_begin(&run->script) || !log_script_run(&run->script))
        return VERDICT_BAD;
    run->rig.options.faults = true;
    rig_power_cut(&run->rig);
    arm(run, family, idx);
    enum rc rc = rig_start(&run->rig, &trail);
    bool beyond = disk_sim_plan_hits(run->world.disk, run->plan) == 0;
    if (rc == RC_OK && run->rig.report.partitions_halted == 0 && !read_what_answers(run))
        return VERDICT_BAD;
    end_process(run, idx);
    enum verdict verdict = after(run);
    return verdict == VERDICT_GOOD && beyond ? VERDICT_BEYOND : verdict;
}

/* One request of the run is short, slow or stuck: nothing is refused for it. */
static enum verdict
try_manner(struct run *run, const struct family *family, uint32_t idx)
{
    run->rig.options.faults = false;
    bool good = start_well(run);
    disk_sim_set_faults(run->world.disk,
                        &(struct disk_sim_faults){
                            .latency_ns = 20000, .spread_ns = 50000, .slow_ns = 5 * NS_PER_S});
    arm(run, family, idx);
    run->script.settle = false;
    good = good && log_script_begin(&run->script) && log_script_run(&run->script);
    if (!good)
        return VERDICT_BAD;
    bool beyond = disk_sim_plan_hits(run->world.disk, run->plan) == 0;
    end_process(run, idx);
    enum verdict verdict = after(run);
    return verdict == VERDICT_GOOD && beyond ? VERDICT_BEYOND : verdict;
}

/* One request never ends; after a minute the device comes back, and so does everything that waited.
 */
static enum verdict
try_stuck(struct run *run, const struct family *family, uint32_t idx)
{
    run->rig.options.faults = false;
    if (!start_well(run) || !log_script_begin(&run->script))
        return VERDICT_BAD;
    arm(run, family, idx);
    if (!log_script_do(&run->script, SCRIPT_SMALL) || !log_script_do(&run->script, SCRIPT_BIG) ||
        !log_script_do(&run->script, SCRIPT_SMALL))
        return VERDICT_BAD;
    sim_world_pass(&run->world, 60 * NS_PER_S);
    bool beyond = disk_sim_plan_hits(run->world.disk, run->plan) == 0;
    disk_sim_heal(run->world.disk);
    io_sim_heal(run->rig.io);
    if (!rig_settle(&run->rig) || !log_script_run(&run->script))
        return VERDICT_BAD;
    end_process(run, idx);
    enum verdict verdict = after(run);
    return verdict == VERDICT_GOOD && beyond ? VERDICT_BEYOND : verdict;
}

/* Two groups are under way when the power fails: where the first is lost and the second kept,
 * recovery gives up both, and the second must stay given up when the next life writes groups of the
 * same sizes in front of it. */
static enum verdict
try_revival(struct run *run, const struct family *family, uint32_t idx)
{
    (void)family;
    uint32_t bytes = (uint32_t)run->rig.options.journal_file_bytes / 5;
    run->rig.options.faults = false;
    run->script.idempotent = false;
    for (uint32_t i = 0; i <= idx; i++)
        (void)sim_rng_next(&run->world.crash); /* every case its own fates */
    if (!start_well(run) || !log_script_begin(&run->script))
        return VERDICT_BAD;
    rig_kill(&run->rig);
    /* A life whose first groups are batches: each append sends off the one before. */
    if (!start_well(run) || rig_open(&run->rig, 0) != RC_OK || !rig_settle(&run->rig))
        return VERDICT_BAD;
    for (uint32_t i = 0; i < 3; i++) {
        if (!log_script_append(&run->script, bytes))
            return VERDICT_BAD;
    }
    rig_power_cut(&run->rig);
    /* The next one begins at the same place with the same number when the first group is lost. */
    if (!start_well(run) || !rig_judge(&run->rig, 0, true) || rig_open(&run->rig, 0) != RC_OK ||
        !rig_settle(&run->rig))
        return VERDICT_BAD;
    if (!log_script_append(&run->script, bytes) || !rig_settle(&run->rig))
        return VERDICT_BAD;
    rig_power_cut(&run->rig);
    return after(run);
}

/* A bulk batch is the last thing that was acknowledged; then a bit of its run turns: the journal
 * has only a reference, so the start must find it. */
static enum verdict
try_marked_run(struct run *run, const struct family *family, uint32_t idx)
{
    struct diag_trail trail = {{0}};
    char path[FORMAT_PATH_MAX];
    struct log_read_result offsets;
    const struct model_partition *partition = &run->model.partitions[0];
    (void)family;
    run->rig.options.faults = false;
    if (!start_well(run) || !log_script_begin(&run->script) ||
        !log_script_do(&run->script, SCRIPT_SMALL) || !rig_settle(&run->rig) ||
        !log_script_do(&run->script, SCRIPT_BIG) || !rig_settle(&run->rig))
        return VERDICT_BAD;
    if (rig_bulk_batches(&run->rig) != 1)
        return log_model_fail(&run->model, "not a bulk batch") ? VERDICT_GOOD : VERDICT_BAD;
    rig_kill(&run->rig);
    CHECK(disk_sync_all(run->world.disk) == RC_OK);
    format_path_segment(path, partition->config.incarnation, 0, 0);
    CHECK(disk_sim_flip_bit(run->world.disk, path, idx * 997 % (60 * KIB), idx % 8));
    run->rig.options.faults = true;
    uint64_t incarnation = partition->config.incarnation;
    if (rig_start(&run->rig, &trail) != RC_OK)
        return VERDICT_GOOD;
    uint32_t slot = log_find(run->rig.log, incarnation);
    if (slot != UINT32_MAX && log_offsets(run->rig.log, slot, incarnation, &offsets) == RC_HALTED)
        return VERDICT_GOOD;
    (void)log_model_fail(&run->model, "a damaged run before a mark was passed over");
    return VERDICT_BAD;
}

/* ---- no space, no descriptors ---- */

/* The disk has room for idx pages more than an empty log takes. When space returns the log goes on
 * without a restart. */
static enum verdict
try_fill(struct run *run, const struct family *family, uint32_t idx)
{
    (void)family;
    if (!start_well(run))
        return VERDICT_BAD;
    struct disk_sim_faults faults = *disk_sim_get_faults(run->world.disk);
    faults.space_bytes = disk_sim_used_bytes(run->world.disk) + (uint64_t)idx * 4 * SIM_FAULT_PAGE;
    disk_sim_set_faults(run->world.disk, &faults);
    if (!log_script_begin(&run->script) || (!run->script.broken && !log_script_run(&run->script)) ||
        !run->rig.running)
        return run->model.why[0] != '\0' ? VERDICT_BAD : after(run);
    if (!read_what_answers(run))
        return VERDICT_BAD;
    disk_sim_heal(run->world.disk);
    for (uint32_t i = 0; i < run->model.partition_count; i++) {
        if (run->model.partitions[i].refused)
            return log_model_fail(&run->model, "a full disk fenced a partition") ? VERDICT_GOOD
                                                                                 : VERDICT_BAD;
    }
    sim_world_pass(&run->world, 10 * NS_PER_S);
    if (!serves(run))
        return VERDICT_BAD;
    end_process(run, idx);
    return after(run);
}

/* A recovery on a full disk: it may refuse to start, and nothing is lost. */
static enum verdict
try_fill_recovery(struct run *run, const struct family *family, uint32_t idx)
{
    (void)family;
    struct diag_trail trail = {{0}};
    run->rig.options.faults = false;
    if (!start_well(run) || !log_script_begin(&run->script) || !log_script_run(&run->script))
        return VERDICT_BAD;
    run->rig.options.faults = true;
    rig_power_cut(&run->rig);
    struct disk_sim_faults faults = *disk_sim_get_faults(run->world.disk);
    faults.space_bytes = disk_sim_used_bytes(run->world.disk) + (uint64_t)idx * SIM_FAULT_PAGE;
    disk_sim_set_faults(run->world.disk, &faults);
    enum rc rc = rig_start(&run->rig, &trail);
    if (rc == RC_OK && !read_what_answers(run))
        return VERDICT_BAD;
    end_process(run, idx);
    return after(run);
}

/* Only idx descriptors are to be had. */
static enum verdict
try_descriptors(struct run *run, const struct family *family, uint32_t idx)
{
    (void)family;
    struct diag_trail trail = {{0}};
    struct disk_sim_faults faults = *disk_sim_get_faults(run->world.disk);
    faults.descriptors_max = idx + 1;
    disk_sim_set_faults(run->world.disk, &faults);
    enum rc rc = rig_start(&run->rig, &trail);
    if (rc == RC_OK) {
        run->world.options.time_max_ns = 60 * NS_PER_S;
        bool good = log_script_begin(&run->script) &&
                    (run->script.broken || log_script_run(&run->script));
        run->world.options.time_max_ns = 3600 * NS_PER_S;
        if (!good && run->rig.running && run->rig.wait_count > 0) {
            /* What cannot be done without a descriptor may wait for one, but no longer. */
            run->model.why[0] = '\0';
            disk_sim_heal(run->world.disk);
            good = rig_settle(&run->rig);
        }
        if (!good || (run->rig.running && !read_what_answers(run)))
            return VERDICT_BAD;
    }
    if (run->rig.running)
        end_process(run, idx);
    return after(run);
}

/* ---- damage ---- */

struct damage_file {
    char path[DISK_PATH_MAX];
    uint64_t bytes;
};

/* Every file of the disk, in name order. */
static uint32_t
list_files(struct disk *disk, struct damage_file *files)
{
    static struct disk_entry entries[FILES_MAX];
    char directories[32][DISK_PATH_MAX] = {""};
    uint32_t directory_count = 1;
    uint32_t count = 0;
    for (uint32_t d = 0; d < directory_count; d++) {
        size_t found = 0;
        CHECK(disk_list(disk, directories[d], entries, FILES_MAX, &found) == RC_OK);
        for (size_t i = 0; i < found && i < FILES_MAX; i++) {
            char path[DISK_PATH_MAX];
            int length = snprintf(path,
                                  sizeof(path),
                                  "%.100s%s%.100s",
                                  directories[d],
                                  directories[d][0] == '\0' ? "" : "/",
                                  entries[i].name);
            CHECK(length > 0);
            if (entries[i].is_directory && directory_count < ARRAY_COUNT(directories))
                memcpy(directories[directory_count++], path, sizeof(path));
            else if (count < FILES_MAX) {
                memcpy(files[count].path, path, sizeof(path));
                files[count++].bytes = entries[i].bytes;
            }
        }
    }
    return count;
}

/* Where the idx-th flip of a file goes: dense at its beginning and end, then spread. */
static uint64_t
flip_position(uint64_t bytes, uint32_t idx)
{
    uint64_t third = FLIPS_PER_FILE / 3;
    if (idx < third)
        return idx * 5 % bytes;
    if (idx < 2 * third)
        return bytes - 1 - (idx - third) * 5 % bytes;
    return (idx - 2 * third + 1) * (bytes / (third + 2)) % bytes;
}

/* A run with everything on disk: sealed segments, an active one, journal groups behind the
 * checkpoint, a trim, a drop. What is acknowledged by the returned mark is followed by some more
 * groups: a flipped last group cannot be told from a torn end. */
static bool
prepare_damage(struct run *run, uint64_t *ret_mark)
{
    static const enum script_op ops[] = {
        SCRIPT_SMALL, SCRIPT_ROLL, SCRIPT_TRIM, SCRIPT_RECLAIM, SCRIPT_BIG};
    run->rig.options.faults = false;
    if (!start_well(run))
        return false;
    disk_sim_trace_start(run->world.disk);
    memcpy(run->script.ops, ops, sizeof(ops));
    run->script.op_count = ARRAY_COUNT(ops);
    run->script.settle = true;
    if (!log_script_begin(&run->script) || !log_script_run(&run->script) ||
        !log_script_append(&run->script, LONG_BYTES) || !rig_settle(&run->rig))
        return false;
    *ret_mark = rig_mark(&run->rig);
    for (uint32_t i = 0; i < 4; i++) {
        if (!log_script_do(&run->script, SCRIPT_SMALL) || !rig_settle(&run->rig))
            return false;
    }
    return true;
}

/* Batches that bypassed the journal, over all cases. */
static uint64_t bulk_batches;

/* How damage showed; a family in which nothing ever shows would prove nothing. */
static struct {
    uint32_t refused;
    uint32_t halted;
    uint32_t unread;
    uint32_t unharmed;
} shown;

/* Judges a log with damaged bytes: nothing wrong served, nothing lost in silence. */
static enum verdict
judge_damage(struct run *run, uint64_t mark)
{
    struct diag_trail trail = {{0}};
    struct log_model *model = &run->model;
    model->damaged = true;
    run->rig.options.observer = true;
    run->rig.options.faults = true;
    if (rig_start(&run->rig, &trail) != RC_OK) {
        shown.refused++;
        return VERDICT_GOOD;
    }
    bool halted = false;
    bool unread = false;
    for (uint32_t i = 0; i < model->partition_count; i++) {
        struct model_partition *partition = &model->partitions[i];
        uint64_t incarnation = partition->config.incarnation;
        uint32_t slot = log_find(run->rig.log, incarnation);
        struct log_read_result offsets;
        struct seen_partition seen = {.exists = slot != UINT32_MAX};
        if (seen.exists && log_offsets(run->rig.log, slot, incarnation, &offsets) != RC_OK) {
            halted = true;
            continue;
        }
        if (seen.exists) {
            seen.start = offsets.start_offset;
            seen.end = offsets.end_offset;
        }
        if (!log_model_judge(model, partition, mark, &seen))
            return VERDICT_BAD;
        for (uint64_t at = seen.start; at < seen.end;) {
            uint64_t next;
            if (!rig_read(&run->rig, i, at, &next))
                return VERDICT_BAD;
            if (next == at) {
                unread = true;
                break;
            }
            at = next;
        }
    }
    shown.halted += halted;
    shown.unread += unread && !halted;
    shown.unharmed += !halted && !unread;
    return VERDICT_GOOD;
}

enum damage { DAMAGE_FLIP, DAMAGE_REMOVE, DAMAGE_EMPTY, DAMAGE_CUT };

static void
damage(struct disk *disk, const struct damage_file *file, enum damage kind, uint32_t idx)
{
    int fd;
    switch (kind) {
    case DAMAGE_FLIP:
        CHECK(disk_sim_flip_bit(disk, file->path, flip_position(file->bytes, idx), idx % 8));
        break;
    case DAMAGE_REMOVE:
        CHECK(disk_unlink(disk, file->path) == RC_OK);
        break;
    case DAMAGE_EMPTY:
    case DAMAGE_CUT:
        CHECK(disk_open(disk, file->path, DISK_WRITE, &fd) == RC_OK);
        CHECK(disk_truncate(disk, fd, kind == DAMAGE_EMPTY ? 0 : file->bytes / 2) == RC_OK);
        disk_close(disk, fd);
        break;
    }
    CHECK(disk_sync_all(disk) == RC_OK);
}

/* family->error: enum damage; family->classes: 1 after a clean stop, 0 after a kill. */
static enum verdict
try_damage(struct run *run, const struct family *family, uint32_t idx)
{
    static struct damage_file files[FILES_MAX];
    enum damage kind = (enum damage)family->error;
    uint32_t per_file = kind == DAMAGE_FLIP ? FLIPS_PER_FILE : 1;
    uint64_t mark;
    if (!prepare_damage(run, &mark))
        return VERDICT_BAD;
    if (family->classes == 1) {
        if (!rig_stop(&run->rig))
            return VERDICT_BAD;
    } else {
        rig_kill(&run->rig);
        CHECK(disk_sync_all(run->world.disk) == RC_OK);
    }
    uint32_t count = list_files(run->world.disk, files);
    if (idx / per_file >= count)
        return VERDICT_BEYOND;
    const struct damage_file *file = &files[idx / per_file];
    if (file->bytes == 0)
        return VERDICT_GOOD;
    damage(run->world.disk, file, kind, idx % per_file);
    enum verdict verdict = judge_damage(run, mark);
    if (verdict == VERDICT_BAD)
        printf("  damaged: %s, place %" PRIu32 " (byte %" PRIu64 " of %" PRIu64 ")\n",
               file->path,
               idx % per_file,
               flip_position(file->bytes, idx % per_file),
               file->bytes);
    return verdict;
}

/* A device that lies about writes to segments: what is read later is right or refused. */
static enum verdict
try_lie(struct run *run, const struct family *family, uint32_t idx)
{
    bool good = start_well(run);
    arm(run, family, idx);
    good = good && log_script_begin(&run->script) &&
           (run->script.broken || log_script_run(&run->script));
    if (!good)
        return VERDICT_BAD;
    bool beyond = disk_sim_plan_hits(run->world.disk, run->plan) == 0;
    rig_kill(&run->rig);
    disk_sim_heal(run->world.disk);
    if (beyond)
        return VERDICT_BEYOND;
    return judge_damage(run, rig_mark(&run->rig));
}

/* ---- the table ---- */

#define FAILS DISK_SIM_EFFECT_ERROR /* so that a row is a line */

static const struct family families[] = {
    {"EIO of a write", try_operation, 1000, DISK_SIM_WRITE, FAILS, EIO, NULL},
    {"EIO of a sync", try_operation, 1000, DISK_SIM_SYNC, FAILS, EIO, NULL},
    {"EIO of a cold read", try_cold_read, 1000, DISK_SIM_READ, FAILS, EIO, NULL},
    {"EIO of a name", try_operation, 1000, DISK_SIM_NAME | DISK_SIM_OPEN, FAILS, EIO, NULL},
    {"EIO of a size", try_operation, 1000, DISK_SIM_SIZE | DISK_SIM_CUT, FAILS, EIO, NULL},
    {"ENOSPC at an operation",
     try_operation,
     1000,
     DISK_SIM_NAME | DISK_SIM_SIZE,
     FAILS,
     ENOSPC,
     NULL},
    {"EIO of a write in recovery", try_recovery, 1000, DISK_SIM_WRITE, FAILS, EIO, NULL},
    {"EIO of a sync in recovery", try_recovery, 1000, DISK_SIM_SYNC, FAILS, EIO, NULL},
    {"EIO of a read in recovery", try_recovery, 1000, DISK_SIM_READ, FAILS, EIO, NULL},
    {"EIO of a name in recovery",
     try_recovery,
     1000,
     DISK_SIM_NAME | DISK_SIM_OPEN | DISK_SIM_SIZE | DISK_SIM_CUT,
     FAILS,
     EIO,
     NULL},
    {"ENOSPC in recovery",
     try_recovery,
     1000,
     DISK_SIM_NAME | DISK_SIM_SIZE | DISK_SIM_WRITE,
     FAILS,
     ENOSPC,
     NULL},
    {"short transfer",
     try_manner,
     1000,
     DISK_SIM_READ | DISK_SIM_WRITE,
     DISK_SIM_EFFECT_SHORT,
     0,
     NULL},
    {"slow request",
     try_manner,
     1000,
     DISK_SIM_READ | DISK_SIM_WRITE | DISK_SIM_SYNC,
     DISK_SIM_EFFECT_SLOW,
     0,
     NULL},
    {"stuck request",
     try_stuck,
     30,
     DISK_SIM_READ | DISK_SIM_WRITE | DISK_SIM_SYNC,
     DISK_SIM_EFFECT_STUCK,
     0,
     NULL},
    {"group of a former life", try_revival, 200, 0, 0, 0, NULL},
    {"flip in a run that the journal refers to", try_marked_run, 200, 0, 0, 0, NULL},
    {"full disk", try_fill, 64, 0, 0, 0, NULL},
    {"full disk in recovery", try_fill_recovery, 64, 0, 0, 0, NULL},
    {"descriptor table full", try_descriptors, 40, 0, 0, 0, NULL},
    {"flip after a kill", try_damage, 10000, 0, 0, DAMAGE_FLIP, NULL},
    {"flip after a stop", try_damage, 10000, 1, 0, DAMAGE_FLIP, NULL},
    {"file missing after a kill", try_damage, 1000, 0, 0, DAMAGE_REMOVE, NULL},
    {"file missing after a stop", try_damage, 1000, 1, 0, DAMAGE_REMOVE, NULL},
    {"file empty after a kill", try_damage, 1000, 0, 0, DAMAGE_EMPTY, NULL},
    {"file empty after a stop", try_damage, 1000, 1, 0, DAMAGE_EMPTY, NULL},
    {"file cut after a kill", try_damage, 1000, 0, 0, DAMAGE_CUT, NULL},
    {"file cut after a stop", try_damage, 1000, 1, 0, DAMAGE_CUT, NULL},
    {"lost write of a segment", try_lie, 1000, DISK_SIM_WRITE, DISK_SIM_EFFECT_LOST, 0, ".seg"},
    {"misdirected write of a segment",
     try_lie,
     1000,
     DISK_SIM_WRITE,
     DISK_SIM_EFFECT_MISDIRECT,
     0,
     ".seg"},
};

static enum verdict
try_one(uint64_t number, const struct sim_options *options)
{
    static struct run run;
    const struct family *family = &families[number / CASES_PER_FAMILY];
    uint32_t idx = (uint32_t)(number % CASES_PER_FAMILY);
    /* An operation is struck in two worlds; all cases of a family share these two, so that their
     * runs are alike. */
    bool by_operation = family->effect != DISK_SIM_EFFECT_ERROR || family->classes > 1;
    run_init(&run, number / CASES_PER_FAMILY * 2 + idx % 2, family, options->verbose);
    enum verdict verdict = family->try_case(&run, family, by_operation ? idx / 2 : idx);
    if (run.model.why[0] != '\0')
        verdict = VERDICT_BAD;
    if (verdict == VERDICT_BAD || options->single)
        printf("%s %" PRIu32 ": %s\n",
               family->name,
               idx,
               verdict == VERDICT_BAD      ? run.model.why
               : verdict == VERDICT_BEYOND ? "the run has no such operation"
                                           : "good");
    if (verdict == VERDICT_BAD)
        printf("  to repeat: tests/sim/run --fault %" PRIu64 "\n", number);
    bulk_batches += rig_bulk_batches(&run.rig);
    run_fini(&run);
    return verdict;
}

/* All cases of a family: until one is beyond the run's operations. */
static void
try_family(uint32_t at, const struct sim_options *options, uint64_t *passed, uint64_t *failed)
{
    uint32_t cases = 0;
    uint32_t beyond = 0;
    memset(&shown, 0, sizeof(shown));
    for (uint32_t idx = 0; idx < families[at].cases_max && !(options->stop && *failed > 0); idx++) {
        uint64_t number = (uint64_t)at * CASES_PER_FAMILY + idx;
        sim_options_case("--fault", number);
        enum verdict verdict = try_one(number, options);
        if (verdict == VERDICT_BEYOND) {
            if (++beyond == 2)
                break;
            continue;
        }
        beyond = 0;
        cases++;
        *passed += verdict == VERDICT_GOOD;
        *failed += verdict == VERDICT_BAD;
    }
    printf("%s: %" PRIu32 " cases", families[at].name, cases);
    if (shown.refused + shown.halted + shown.unread + shown.unharmed > 0)
        printf(" (%" PRIu32 " refused to start, %" PRIu32 " halted, %" PRIu32
               " not readable, %" PRIu32 " without harm)",
               shown.refused,
               shown.halted,
               shown.unread,
               shown.unharmed);
    printf("\n");
    (void)fflush(stdout);
}

int
main(int count, char **arguments)
{
    struct sim_options options = {.count = ARRAY_COUNT(families)};
    uint64_t passed = 0;
    uint64_t failed = 0;
    if (!sim_options_read(&options, count, arguments))
        return 2;
    sim_options_quiet(&options);
    if (options.single) {
        if (options.first / CASES_PER_FAMILY >= ARRAY_COUNT(families))
            return 2;
        sim_options_case("--fault", options.first);
        enum verdict verdict = try_one(options.first, &options);
        return sim_options_end(verdict != VERDICT_BAD, verdict == VERDICT_BAD);
    }
    for (uint32_t at = (uint32_t)options.first; at < ARRAY_COUNT(families); at++) {
        if (at - options.first < options.count && sim_options_mine(&options, at))
            try_family(at, &options, &passed, &failed);
    }
    printf("%" PRIu64 " batches bypassed the journal\n", bulk_batches);
    return sim_options_end(passed, failed);
}
