/* A log on a simulated world; see log_rig.h. */
#include "log_rig.h"
#include "log_cleaner.h"

#include "engine/base/check.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define COMPLETIONS 32u
#define TAKES 32u

void
rig_init(struct log_rig *rig,
         struct sim_world *world,
         struct log_model *model,
         const struct rig_options *options)
{
    *rig = (struct log_rig){.world = world, .model = model, .options = *options};
    metrics_init(&rig->metrics, METRICS_LOG, "log0");
    sim_rng_seed(&rig->rng, world->options.seed, 0x6a6f62);
    rig->read_buffer = aligned_alloc(DISK_ALIGN_BYTES, RIG_READ_BYTES);
    CHECK(rig->read_buffer != NULL);
}

void
rig_fini(struct log_rig *rig)
{
    CHECK(!rig->running);
    free(rig->read_buffer);
}

uint64_t
rig_bulk_batches(const struct log_rig *rig)
{
    return metrics_get(&rig->metrics, METRIC_BULK_BATCHES);
}

uint64_t
rig_mark(const struct log_rig *rig)
{
    return disk_sim_trace_count(rig->world->disk);
}

static struct model_partition *
rig_partition(struct log_rig *rig, uint32_t partition)
{
    CHECK(partition < rig->model->partition_count);
    return &rig->model->partitions[partition];
}

/* ---- answers ---- */

static uint64_t
rig_wait(struct log_rig *rig, const struct rig_wait *wait)
{
    CHECK(rig->wait_count < RIG_PENDING_MAX);
    while (rig->waits[rig->wait_next].kind != RIG_FREE)
        rig->wait_next = (rig->wait_next + 1) % RIG_PENDING_MAX;
    rig->waits[rig->wait_next] = *wait;
    rig->wait_count++;
    return rig->wait_next;
}

/* Takes the wait of an answer; NULL (and a reason) when nobody waits for it. */
static bool
rig_take_wait(struct log_rig *rig, uint64_t ctx, enum rig_wait_kind kind, struct rig_wait *ret_wait)
{
    if (ctx >= RIG_PENDING_MAX || rig->waits[ctx].kind != kind)
        return log_model_fail(rig->model, "an answer of kind %d to nobody", (int)kind);
    *ret_wait = rig->waits[ctx];
    rig->waits[ctx].kind = RIG_FREE;
    rig->wait_count--;
    return true;
}

/* A request was refused because of the disk: right only when the disk has faults. */
static void
rig_refused(struct log_rig *rig, uint32_t partition, enum rc rc, const char *what)
{
    rig->counts.refusals++;
    rig_partition(rig, partition)->refused |= rc == RC_FENCED || rc == RC_HALTED;
    if (rig->model->damaged && rc == RC_CORRUPT)
        return;
    if (rig->options.faults && (rc == RC_FENCED || rc == RC_NO_SPACE || rc == RC_HALTED ||
                                rc == RC_IO_ERROR || rc == RC_NO_DESCRIPTORS || rc == RC_LIMIT))
        return;
    (void)log_model_fail(rig->model,
                         "%s of partition %" PRIu64 " refused: %s",
                         what,
                         rig_partition(rig, partition)->config.incarnation,
                         rc_name(rc));
}

static void
rig_ack(struct log_rig *rig, const struct log_ack *ack)
{
    struct rig_wait wait = {0};
    if (!rig_take_wait(rig, ack->ctx, RIG_APPEND, &wait))
        return;
    struct model_partition *partition = rig_partition(rig, wait.partition);
    rig->counts.acks++;
    rig->counts.duplicates += ack->rc == RC_SEQUENCE_DUPLICATE;
    if (ack->rc != RC_OK && ack->rc != RC_SEQUENCE_DUPLICATE) {
        rig_refused(rig, wait.partition, (enum rc)ack->rc, "append");
        return;
    }
    if (wait.duplicate != (ack->rc == RC_SEQUENCE_DUPLICATE)) {
        (void)log_model_fail(rig->model,
                             "partition %" PRIu64 " offset %" PRIu64
                             ": answered %s to a batch that was %s",
                             partition->config.incarnation,
                             wait.offset,
                             rc_name((enum rc)ack->rc),
                             wait.duplicate ? "there already" : "new");
        return;
    }
    if (ack->base_offset != wait.offset) {
        (void)log_model_fail(rig->model,
                             "partition %" PRIu64 ": acknowledged at offset %" PRIu64
                             ", it stands at %" PRIu64,
                             partition->config.incarnation,
                             ack->base_offset,
                             wait.offset);
        return;
    }
    struct model_batch *batch = log_model_find(partition, wait.offset);
    CHECK(batch != NULL);
    batch->ack_mark = min_u64(batch->ack_mark, rig_mark(rig));
}

static void
rig_event(struct log_rig *rig, const struct log_event *event)
{
    static const enum rig_wait_kind kinds[] = {
        [LOG_EVENT_OPENED] = RIG_OPEN,
        [LOG_EVENT_DROPPED] = RIG_DROP,
        [LOG_EVENT_TRIMMED] = RIG_TRIM,
    };
    struct rig_wait wait = {0};
    if (event->kind == LOG_EVENT_STOPPED) {
        rig->stopped = true;
        rig->stopped_rc = event->rc;
        return;
    }
    if (event->kind >= ARRAY_COUNT(kinds)) /* configured */
        return;
    if (!rig_take_wait(rig, event->ctx, kinds[event->kind], &wait))
        return;
    struct model_partition *partition = rig_partition(rig, wait.partition);
    uint64_t mark = rig_mark(rig);
    if (event->rc != RC_OK) {
        rig_refused(rig, wait.partition, event->rc, "open, drop or trim");
        return;
    }
    if (wait.kind == RIG_OPEN) {
        partition->slot = event->slot;
        partition->open_ack = min_u64(partition->open_ack, mark);
    } else if (wait.kind == RIG_DROP) {
        partition->slot = UINT32_MAX;
        partition->drop_ack = min_u64(partition->drop_ack, mark);
    } else {
        for (uint32_t i = 0; i < partition->trim_count; i++) {
            struct model_trim *trim = &partition->trims[i];
            if (trim->offset == wait.offset && trim->submit_mark != MODEL_NEVER)
                trim->ack_mark = min_u64(trim->ack_mark, mark);
        }
    }
}

/* Judges rig->read_result. */
static bool
rig_read_judge(struct log_rig *rig, uint32_t partition, uint64_t offset, uint64_t *ret_next)
{
    struct model_partition *model = rig_partition(rig, partition);
    uint64_t incarnation = model->config.incarnation;
    const struct log_read_result *result = &rig->read_result;
    *ret_next = offset;
    if (result->rc != RC_OK) {
        rig_refused(rig, partition, (enum rc)result->rc, "read");
        return rig->model->why[0] == '\0';
    }
    rig->counts.reads++;
    rig->counts.read_bytes += result->bytes;
    struct bytes stored = {.at = rig->read_buffer, .count = result->bytes};
    if (!log_model_verify(rig->model, model, stored, offset, ret_next))
        return false;
    if (result->bytes > 0 && *ret_next > result->high_watermark)
        return log_model_fail(rig->model,
                              "partition %" PRIu64 ": served up to %" PRIu64
                              ", the high watermark is %" PRIu64,
                              incarnation,
                              *ret_next,
                              result->high_watermark);
    if (result->bytes == 0 && offset < result->high_watermark)
        return log_model_fail(rig->model,
                              "partition %" PRIu64 ": nothing at %" PRIu64
                              ", the high watermark is %" PRIu64,
                              incarnation,
                              offset,
                              result->high_watermark);
    if (!rig->options.observer)
        log_model_sight(model, result->high_watermark, rig_mark(rig));
    return true;
}

/* A read that ran beside other things has ended: it may have been overtaken by a trim. */
static void
rig_read_beside_end(struct log_rig *rig)
{
    const struct model_partition *model = rig_partition(rig, rig->read_partition);
    uint64_t next;
    rig->reading = false;
    rig->read_beside = false;
    if (rig->read_result.rc == RC_AGAIN)
        return;
    for (uint32_t i = 0; i < model->trim_count; i++) {
        if (rig->read_result.rc == RC_OFFSET_OUT_OF_RANGE &&
            model->trims[i].offset > rig->read_offset)
            return;
    }
    (void)rig_read_judge(rig, rig->read_partition, rig->read_offset, &next);
}

/* Returns how many there were. */
static uint32_t
rig_take_answers(struct log_rig *rig)
{
    struct log_ack acks[TAKES];
    struct log_read_result reads[TAKES];
    struct log_mark marks[TAKES];
    struct log_event events[TAKES];
    uint32_t count = log_take_acks(rig->log, acks, TAKES);
    for (uint32_t i = 0; i < count; i++)
        rig_ack(rig, &acks[i]);
    uint32_t taken = count;
    count = log_take_reads(rig->log, reads, TAKES);
    for (uint32_t i = 0; i < count; i++) {
        CHECK(rig->reading);
        rig->read_result = reads[i];
        rig->read_ended = true;
        if (rig->read_beside)
            rig_read_beside_end(rig);
    }
    taken += count;
    taken += log_take_marks(rig->log, marks, TAKES);
    count = log_take_events(rig->log, events, TAKES);
    for (uint32_t i = 0; i < count; i++)
        rig_event(rig, &events[i]);
    return taken + count;
}

/* ---- actors ---- */

static uint32_t
tile_step(void *object)
{
    struct log_rig *rig = object;
    struct io_completion completions[COMPLETIONS];
    uint32_t work = io_reap(rig->io, completions, COMPLETIONS);
    for (uint32_t i = 0; i < work; i++)
        log_complete(rig->log, completions[i].tag, completions[i].result);
    work += log_poll(rig->log, clock_now_ns(&rig->clock), &rig->deadline_ns);
    work += rig_take_answers(rig);
    rig->idle = work == 0;
    return work;
}

static uint64_t
tile_due_ns(void *object)
{
    struct log_rig *rig = object;
    if (!rig->idle || !ring_is_empty(&rig->jobs_done))
        return 0;
    return min_u64(rig->deadline_ns, io_sim_due_ns(rig->io));
}

static uint32_t
control_step(void *object)
{
    struct log_rig *rig = object;
    if (rig->job == NULL) {
        if (ring_pop(&rig->jobs, &rig->job, 1) == 0)
            return 0;
        uint64_t ns = sim_rng_between(&rig->rng, 1, max_u64(1, rig->options.job_ns_max));
        rig->job_due_ns = sim_world_now_ns(rig->world) + ns;
        return 1;
    }
    if (rig->job->kind == DISK_JOB_POPULATE)
        rig->job->result = RC_OK; /* touching memory ahead of need only costs time here */
    else
        disk_job_run(rig->world->disk, rig->job);
    sim_trace_add(
        &rig->world->trace, "job", (uint64_t)rig->job->kind, (uint64_t)rig->job->result, 0);
    rig->counts.jobs++;
    CHECK(ring_push(&rig->jobs_done, &rig->job, 1) == 1);
    rig->job = NULL;
    return 1;
}

static uint64_t
control_due_ns(void *object)
{
    struct log_rig *rig = object;
    if (rig->job != NULL)
        return rig->job_due_ns;
    return ring_is_empty(&rig->jobs) ? SIM_NEVER_NS : 0;
}

/* ---- life of a process ---- */

static void
rig_make_rings(struct log_rig *rig)
{
    struct ring *rings[2] = {&rig->jobs, &rig->jobs_done};
    for (uint32_t i = 0; i < 2; i++) {
        size_t bytes = round_up(ring_footprint(sizeof(struct disk_job *), RIG_JOBS * 2), 128);
        rig->ring_memory[i] = aligned_alloc(128, bytes);
        CHECK(rig->ring_memory[i] != NULL);
        ring_init(rings[i], rig->ring_memory[i], sizeof(struct disk_job *), RIG_JOBS * 2);
    }
}

enum rc
rig_start(struct log_rig *rig, struct diag_trail *trail)
{
    CHECK(!rig->running);
    clock_init_sim(&rig->clock, sim_rng_next(&rig->rng), SIM_WALL_MS);
    sim_world_add_clock(rig->world, &rig->clock);
    rig->io = sim_world_create_io(rig->world, &rig->clock);
    rig_make_rings(rig);
    struct log_config config = {
        .io = rig->io,
        .clock = &rig->clock,
        .disk = rig->world->disk,
        .jobs = &rig->jobs,
        .jobs_done = &rig->jobs_done,
        .slab_ring_bytes = rig->options.slab_ring_bytes,
        .cold_bytes = MIB,
        .journal_file_bytes = rig->options.journal_file_bytes,
        .bulk_bytes = rig->options.bulk_bytes,
        .metrics = &rig->metrics,
        .partitions_max = rig->options.partitions_max,
        .producers_max = rig->options.producers_max,
        .open_files_max = rig->options.open_files_max,
    };
    rig->memory_bytes = log_footprint(&config);
    rig->memory = mmap(
        NULL, rig->memory_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(rig->memory != MAP_FAILED);
    CHECK(log_init(rig->memory, &config, &rig->log, trail) == RC_OK);
    rig->running = true;
    rig->stopped = false;
    rig->idle = false;
    enum rc rc = recover_run(rig->log, &rig->report, trail);
    rig->counts.recoveries++;
    rig->counts.groups_replayed += rig->report.groups_replayed;
    rig->counts.batches_replayed += rig->report.batches_replayed;
    rig->counts.batches_referred += rig->report.batches_referred;
    rig->counts.halted += rig->report.partitions_halted;
    sim_world_add(rig->world,
                  &(struct sim_actor){
                      .name = "log", .object = rig, .step = tile_step, .due_ns = tile_due_ns});
    sim_world_add(
        rig->world,
        &(struct sim_actor){
            .name = "control", .object = rig, .step = control_step, .due_ns = control_due_ns});
    if (rig->options.compacts && rc == RC_OK)
        cleaner_start(rig);
    return rc;
}

/* The process' memory goes; the disk's descriptors and the ring are gone already. */
static void
rig_forget(struct log_rig *rig)
{
    sim_world_remove(rig->world, rig);
    cleaner_forget(rig);
    sim_world_remove_clock(rig->world, &rig->clock);
    (void)munmap(rig->memory, rig->memory_bytes);
    free(rig->ring_memory[0]);
    free(rig->ring_memory[1]);
    memset(rig->waits, 0, sizeof(rig->waits));
    rig->wait_count = 0;
    rig->reading = false;
    rig->read_beside = false;
    rig->job = NULL;
    rig->log = NULL;
    rig->running = false;
    for (uint32_t i = 0; i < rig->model->partition_count; i++) {
        rig->model->partitions[i].slot = UINT32_MAX;
        rig->model->partitions[i].refused = false;
    }
}

void
rig_kill(struct log_rig *rig)
{
    CHECK(rig->running);
    io_destroy(rig->io);
    disk_sim_close_all(rig->world->disk);
    rig_forget(rig);
}

void
rig_power_cut(struct log_rig *rig)
{
    CHECK(rig->running);
    disk_sim_crash(rig->world->disk, &rig->world->crash);
    io_destroy(rig->io);
    rig_forget(rig);
}

static bool
rig_has_stopped(void *object)
{
    const struct log_rig *rig = object;
    return rig->stopped || rig->model->why[0] != '\0';
}

bool
rig_stop(struct log_rig *rig)
{
    log_stop(rig->log);
    rig->idle = false;
    enum sim_world_end end = sim_world_run(rig->world, rig_has_stopped, rig);
    if (end != SIM_WORLD_DONE)
        return log_model_fail(rig->model, "the log did not stop: %s", sim_world_end_name(end));
    bool done = rig->stopped && (rig->stopped_rc == RC_OK || rig->options.faults);
    if (!done)
        (void)log_model_fail(rig->model, "stopped with %s", rc_name(rig->stopped_rc));
    /* Control ends what it was given: a compaction's removal or close may be among it. */
    for (uint32_t i = 0; rig->options.compacts && i < 2 * RIG_JOBS; i++)
        (void)control_step(rig);
    cleaner_stop(rig);
    log_fini(rig->log);
    uint32_t open = disk_sim_open_descriptors(rig->world->disk);
    if (done && open > 0 && !rig->options.faults)
        done = log_model_fail(rig->model, "%u descriptors are left open after a stop", open);
    io_destroy(rig->io);
    disk_sim_close_all(rig->world->disk);
    rig_forget(rig);
    return done;
}

/* ---- requests ---- */

enum rc
rig_open(struct log_rig *rig, uint32_t partition)
{
    struct model_partition *model = rig_partition(rig, partition);
    uint64_t ctx = rig_wait(rig, &(struct rig_wait){.kind = RIG_OPEN, .partition = partition});
    enum rc rc = log_open(rig->log, &model->config, ctx);
    rig->idle = false;
    if (rc == RC_OK) {
        rig->counts.opens++;
        return RC_OK;
    }
    rig->waits[ctx].kind = RIG_FREE;
    rig->wait_count--;
    return rc;
}

enum rc
rig_append(struct log_rig *rig, uint32_t partition, const struct model_batch *batch)
{
    static uint8_t bytes[MODEL_BATCH_BYTES_MAX];
    struct model_partition *model = rig_partition(rig, partition);
    struct rig_wait wait = {.kind = RIG_APPEND, .partition = partition};
    struct log_ack ack;
    for (uint32_t i = model->batch_count; i > 0 && batch->producer_id >= 0; i--) {
        if (model->batches[i - 1].id == batch->id) {
            wait.duplicate = true;
            wait.offset = model->batches[i - 1].offset;
            break;
        }
    }
    if (!wait.duplicate)
        wait.offset = log_model_end(model);
    struct model_batch sent = *batch;
    sent.has_keys = model->config.is_compacted;
    uint64_t ctx = rig_wait(rig, &wait);
    struct log_append_request request = {
        .slot = model->slot,
        .incarnation = model->config.incarnation,
        .batch = bytes,
        .batch_bytes = log_model_build(&sent, bytes),
        .ctx = ctx,
        .wall_ms = clock_wall_ms(&rig->clock),
    };
    uint64_t mark = rig_mark(rig);
    enum log_append_status status = log_append(rig->log, &request, &ack);
    rig->idle = false;
    if (status == LOG_APPEND_TAKEN) {
        rig->counts.appends++;
        if (!wait.duplicate)
            (void)log_model_take(model, sent, mark);
        return RC_OK;
    }
    if (status == LOG_APPEND_AGAIN) {
        rig->waits[ctx].kind = RIG_FREE;
        rig->wait_count--;
        rig->counts.again++;
        return RC_AGAIN;
    }
    rig_ack(rig, &ack);
    return (enum rc)ack.rc;
}

enum rc
rig_trim(struct log_rig *rig, uint32_t partition, uint64_t offset)
{
    struct model_partition *model = rig_partition(rig, partition);
    uint64_t ctx = rig_wait(
        rig, &(struct rig_wait){.kind = RIG_TRIM, .partition = partition, .offset = offset});
    uint64_t mark = rig_mark(rig);
    enum rc rc = log_trim(rig->log, model->slot, model->config.incarnation, offset, ctx);
    rig->idle = false;
    if (rc == RC_OK) {
        rig->counts.trims++;
        log_model_trim(model, offset, mark);
        return RC_OK;
    }
    rig->waits[ctx].kind = RIG_FREE;
    rig->wait_count--;
    return rc;
}

enum rc
rig_drop(struct log_rig *rig, uint32_t partition)
{
    struct model_partition *model = rig_partition(rig, partition);
    uint64_t ctx = rig_wait(rig, &(struct rig_wait){.kind = RIG_DROP, .partition = partition});
    uint64_t mark = rig_mark(rig);
    enum rc rc = log_drop(rig->log, model->slot, model->config.incarnation, ctx);
    rig->idle = false;
    if (rc == RC_OK) {
        rig->counts.drops++;
        model->drop_submit = min_u64(model->drop_submit, mark);
        model->slot = UINT32_MAX;
        return RC_OK;
    }
    rig->waits[ctx].kind = RIG_FREE;
    rig->wait_count--;
    return rc;
}

static bool
rig_read_has_ended(void *object)
{
    const struct log_rig *rig = object;
    return rig->read_ended || rig->model->why[0] != '\0';
}

static struct log_read_request
rig_read_request(struct log_rig *rig, uint32_t partition, uint64_t offset)
{
    uint64_t incarnation = rig_partition(rig, partition)->config.incarnation;
    return (struct log_read_request){
        .slot = log_find(rig->log, incarnation),
        .incarnation = incarnation,
        .offset = offset,
        .dst = rig->read_buffer,
        .dst_bytes = RIG_READ_BYTES,
        .max_bytes = RIG_READ_BYTES,
        .leader_epoch = -1,
        .whole_first = true,
    };
}

/* One read to its end; false when it never ends. */
static bool
rig_read_once(struct log_rig *rig, const struct log_read_request *request)
{
    for (uint32_t attempt = 0; attempt < 10000; attempt++) {
        rig->reading = true;
        rig->read_ended = log_read(rig->log, request, &rig->read_result);
        rig->idle = false;
        enum sim_world_end end = sim_world_run(rig->world, rig_read_has_ended, rig);
        rig->reading = false;
        if (end != SIM_WORLD_DONE)
            return log_model_fail(rig->model, "a read has no answer: %s", sim_world_end_name(end));
        if (rig->model->why[0] != '\0')
            return false;
        if (rig->read_result.rc != RC_AGAIN)
            return true;
        (void)sim_world_step(rig->world);
    }
    return log_model_fail(rig->model, "a read is put off for ever");
}

bool
rig_read(struct log_rig *rig, uint32_t partition, uint64_t offset, uint64_t *ret_next)
{
    struct log_read_request request = rig_read_request(rig, partition, offset);
    CHECK(!rig->reading);
    return rig_read_once(rig, &request) && rig_read_judge(rig, partition, offset, ret_next);
}

void
rig_read_begin(struct log_rig *rig, uint32_t partition, uint64_t draw)
{
    struct model_partition *model = rig_partition(rig, partition);
    struct log_read_result offsets;
    if (rig->reading ||
        log_offsets(rig->log, model->slot, model->config.incarnation, &offsets) != RC_OK)
        return;
    uint64_t span = offsets.end_offset - offsets.start_offset + 1;
    uint64_t offset = offsets.start_offset + draw % span;
    struct log_read_request request = rig_read_request(rig, partition, offset);
    rig->read_partition = partition;
    rig->read_offset = offset;
    rig->read_beside = true;
    rig->reading = true;
    rig->idle = false;
    if (log_read(rig->log, &request, &rig->read_result))
        rig_read_beside_end(rig);
}

/* ---- settling and judging ---- */

bool
rig_is_settled(void *object)
{
    struct log_rig *rig = object;
    if (rig->model->why[0] != '\0')
        return true;
    return rig->wait_count == 0 && !rig->reading && rig->job == NULL && ring_is_empty(&rig->jobs) &&
           ring_is_empty(&rig->jobs_done) && rig->io->under_way == 0 && rig->idle;
}

bool
rig_settle(struct log_rig *rig)
{
    enum sim_world_end end = sim_world_run(rig->world, rig_is_settled, rig);
    if (end != SIM_WORLD_DONE)
        return log_model_fail(
            rig->model, "%u answers never come: %s", rig->wait_count, sim_world_end_name(end));
    return rig->model->why[0] == '\0';
}

bool
rig_look(struct log_rig *rig, uint32_t partition, struct seen_partition *ret_seen)
{
    uint64_t incarnation = rig_partition(rig, partition)->config.incarnation;
    uint32_t slot = log_find(rig->log, incarnation);
    struct log_read_result offsets;
    *ret_seen = (struct seen_partition){.exists = slot != UINT32_MAX};
    if (!ret_seen->exists)
        return true;
    enum rc rc = log_offsets(rig->log, slot, incarnation, &offsets);
    if (rc != RC_OK)
        return log_model_fail(
            rig->model, "partition %" PRIu64 " tells no offsets: %s", incarnation, rc_name(rc));
    struct log_keys_bounds bounds = {.clean = MODEL_NEVER};
    bool compacted = rig_partition(rig, partition)->config.is_compacted;
    if (compacted) {
        log_keys_look(rig_partition(rig, partition));
        cleaner_bounds(rig, slot, &bounds);
    }
    ret_seen->start = offsets.start_offset;
    ret_seen->end = offsets.end_offset;
    if (offsets.high_watermark != offsets.end_offset)
        return log_model_fail(rig->model,
                              "partition %" PRIu64 ": high watermark %" PRIu64 ", end %" PRIu64,
                              incarnation,
                              offsets.high_watermark,
                              offsets.end_offset);
    for (uint64_t at = ret_seen->start; at < ret_seen->end;) {
        uint64_t next;
        if (!rig_read(rig, partition, at, &next))
            return false;
        if (next == at)
            return log_model_fail(rig->model,
                                  "partition %" PRIu64 " cannot be read at %" PRIu64 ": %s",
                                  incarnation,
                                  at,
                                  rc_name((enum rc)rig->read_result.rc));
        at = next;
    }
    if (!compacted)
        return true;
    cleaner_bounds(rig, slot, &bounds);
    return log_keys_judge(rig->model, rig_partition(rig, partition), ret_seen, &bounds);
}

bool
rig_judge(struct log_rig *rig, uint64_t mark, bool adopt)
{
    for (uint32_t i = 0; i < rig->model->partition_count; i++) {
        struct model_partition *partition = rig_partition(rig, i);
        struct seen_partition seen;
        if (!rig_look(rig, i, &seen) || !log_model_judge(rig->model, partition, mark, &seen))
            return false;
        if (adopt)
            log_model_adopt(partition, rig_mark(rig), &seen);
    }
    return true;
}
