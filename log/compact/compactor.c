/* The compactor's life: takes a task, makes map and copies in bounded steps under its rate limit,
 * gives each finished group back to the log tile and waits for its swap. */
#include "log/compact/compactor_inner.h"

#include "engine/base/check.h"

static uint64_t
compactor_place(uint64_t *end, uint64_t bytes)
{
    uint64_t at = round_up(*end, FORMAT_BLOCK_BYTES);

    *end = at + bytes;
    return at;
}

struct compactor_layout {
    uint64_t map;
    uint64_t unpacked;
    uint64_t rebuilt;
    uint64_t packed;
    uint64_t read;
    uint64_t staging;
    uint64_t aborted;
    uint64_t open;
    uint64_t end;
};

static struct compactor_layout
compactor_layout(const struct compactor_config *config)
{
    struct compactor_layout layout = {.end = sizeof(struct compactor)};

    layout.map = compactor_place(&layout.end, config->memory_bytes);
    layout.unpacked = compactor_place(&layout.end, RECORD_FILTER_BUFFER_BYTES);
    layout.rebuilt = compactor_place(&layout.end, RECORD_FILTER_BUFFER_BYTES);
    layout.packed = compactor_place(&layout.end, RECORD_FILTER_BUFFER_BYTES);
    layout.read = compactor_place(&layout.end, COMPACTOR_READ_BYTES);
    layout.staging = compactor_place(&layout.end, COMPACTOR_STAGING_BYTES);
    layout.aborted = compactor_place(&layout.end,
                                     COMPACT_ABORTED_MAX * sizeof(struct aborted_entry));
    layout.open = compactor_place(&layout.end, COMPACTOR_OPEN_MAX * sizeof(struct compactor_open));
    return layout;
}

uint64_t
compactor_footprint(const struct compactor_config *config)
{
    return round_up(compactor_layout(config).end, FORMAT_BLOCK_BYTES);
}

struct compactor *
compactor_init(void *memory, const struct compactor_config *config)
{
    struct compactor_layout layout = compactor_layout(config);
    struct compactor *compactor = memory;
    uint8_t *bytes = memory;

    CHECK(config->memory_bytes >= COMPACT_MEMORY_MIN);
    CHECK(config->link_count <= COMPACT_TASKS_MAX);
    *compactor = (struct compactor){
        .config = *config,
        .read = bytes + layout.read,
        .staging = bytes + layout.staging,
        .aborted = (void *)(bytes + layout.aborted),
        .open = (void *)(bytes + layout.open),
        .reader = {.fd = -1},
        .output_fd = -1,
        .filter = {.unpacked = bytes + layout.unpacked,
                   .rebuilt = bytes + layout.rebuilt,
                   .packed = bytes + layout.packed},
    };
    compactor->filter.ctx = compactor;
    compact_map_init(&compactor->map, bytes + layout.map, config->memory_bytes, config->seed);
    return compactor;
}

static bool
compactor_owns(const struct compact_link *link)
{
    /* Pairs with the release of compact_give() and compactor_give(). */
    return atomic_load_explicit(&link->task.owner, memory_order_acquire) == COMPACT_OWNER_COMPACTOR;
}

static void
compactor_give(struct compactor *compactor, enum compact_answer answer)
{
    struct compact_link *link = compactor->link;

    link->task.answer = answer;
    link->task.is_output_taken = false;
    if (answer != COMPACT_GROUP) {
        compactor->link = NULL;
        compactor->step = COMPACTOR_IDLE;
    } else {
        compactor->step = COMPACTOR_SWAP;
    }
    /* Pairs with the acquire in the log tile's poll. */
    atomic_store_explicit(&link->task.owner, COMPACT_OWNER_LOG, memory_order_release);
    if (link->log != NULL)
        waker_notify(link->log);
}

static void
compactor_fail(struct compactor *compactor, enum rc rc, enum compact_reason reason)
{
    struct compact_task *task = &compactor->link->task;

    compactor__reader_close(compactor);
    compactor__group_abandon(compactor);
    task->rc = rc;
    task->reason = reason;
    compactor_give(compactor, COMPACT_FAILED);
}

static enum compact_reason
compactor_reason(enum rc rc)
{
    if (rc == RC_NO_SPACE)
        return COMPACT_REASON_SPACE;
    if (rc == RC_CORRUPT || rc == RC_NEWER_FORMAT)
        return COMPACT_REASON_CORRUPT;
    return rc == RC_LIMIT ? COMPACT_REASON_LIMIT : COMPACT_REASON_IO;
}

static bool
compactor_take(struct compactor *compactor)
{
    for (uint32_t i = 0; i < compactor->config.link_count; i++) {
        uint32_t at = (compactor->link_next + i) % compactor->config.link_count;
        struct compact_link *link = compactor->config.links[at];
        if (!compactor_owns(link))
            continue;
        CHECK(link->task.input_count > 0);
        compactor->link = link;
        compactor->link_next = at + 1;
        compactor->step = COMPACTOR_FOOTERS;
        compactor->aborted_count = 0;
        compactor->limit = UINT64_MAX;
        compactor->filter.horizon_ms = 0;
        compactor->output_path[0] = '\0';
        link->task.group_first = 0;
        link->task.group_count = 0;
        int64_t horizon;
        if (__builtin_add_overflow(link->task.now_ms, link->task.delete_retention_ms, &horizon))
            horizon = INT64_MAX;
        compactor->filter.horizon_ms = horizon;
        compactor__reader_set(compactor, 0);
        return true;
    }
    return false;
}

/* RC_NOT_FOUND: this step is at its end. */
static enum rc
compactor_do(struct compactor *compactor)
{
    const struct compact_task *task = &compactor->link->task;
    uint32_t input = compactor->reader.input;
    enum rc rc;

    switch (compactor->step) {
    case COMPACTOR_FOOTERS:
        rc = compactor__read_aborted(compactor, input);
        if (rc != RC_OK)
            return rc;
        if (input + 1 == task->input_count) {
            rc = compactor__add_aborted(compactor);
            return rc == RC_OK ? RC_NOT_FOUND : rc;
        }
        compactor__reader_set(compactor, input + 1);
        return RC_OK;
    case COMPACTOR_MAP:
        return compactor__map_step(compactor);
    case COMPACTOR_BEGIN:
        rc = compactor__group_begin(compactor);
        if (rc == RC_OK)
            compactor->step = COMPACTOR_COPY;
        return rc;
    case COMPACTOR_COPY:
        return compactor__group_step(compactor);
    case COMPACTOR_END:
        rc = compactor__group_end(compactor);
        return rc == RC_OK ? RC_NOT_FOUND : rc;
    case COMPACTOR_IDLE:
    case COMPACTOR_SWAP:
        break;
    }
    CHECK(!"a step without work");
    return RC_INVALID;
}

/* What follows a step that is at its end. */
static void
compactor_next(struct compactor *compactor)
{
    switch (compactor->step) {
    case COMPACTOR_FOOTERS:
        compactor->step = COMPACTOR_MAP;
        compactor__map_begin(compactor);
        return;
    case COMPACTOR_MAP:
        compactor->step = COMPACTOR_BEGIN;
        return;
    case COMPACTOR_BEGIN: /* no group is left */
        compactor_give(compactor, COMPACT_DONE);
        return;
    case COMPACTOR_COPY:
        compactor->step = COMPACTOR_END;
        return;
    case COMPACTOR_END:
        compactor_give(compactor, COMPACT_GROUP);
        return;
    case COMPACTOR_IDLE:
    case COMPACTOR_SWAP:
        break;
    }
}

static void
compactor_step(struct compactor *compactor)
{
    struct compact_task *task = &compactor->link->task;

    /* Relaxed: an order to hurry carries nothing with it. */
    if (atomic_load_explicit(&task->is_cancelled, memory_order_relaxed) != 0) {
        compactor_fail(compactor, RC_CLOSED, COMPACT_REASON_CANCELLED);
        return;
    }
    enum rc rc = compactor_do(compactor);
    if (rc == RC_NOT_FOUND)
        compactor_next(compactor);
    else if (rc == RC_AGAIN)
        compactor_give(compactor, COMPACT_DONE); /* nothing is clean yet; later */
    else if (rc != RC_OK)
        compactor_fail(compactor, rc, compactor_reason(rc));
}

struct tile_report
compactor_poll(void *object, uint64_t now_ns)
{
    struct compactor *compactor = object;
    uint64_t rate = compactor->config.bytes_per_second;
    struct tile_report report = {.deadline_ns = NO_DEADLINE};

    if (compactor->step == COMPACTOR_SWAP && compactor_owns(compactor->link)) {
        if (compactor->link->task.is_output_taken)
            compactor->output_path[0] = '\0';
        compactor->step = COMPACTOR_BEGIN;
    }
    if (compactor->step == COMPACTOR_SWAP ||
        (compactor->link == NULL && !compactor_take(compactor)))
        return report;
    if (now_ns < compactor->ready_ns) {
        report.deadline_ns = compactor->ready_ns;
        return report;
    }
    compactor->spent_bytes = 0;
    compactor_step(compactor);
    if (rate > 0)
        compactor->ready_ns = max_u64(now_ns, compactor->ready_ns) +
                              (uint64_t)((unsigned __int128)compactor->spent_bytes * NS_PER_S /
                                         rate);
    report.work = 1;
    report.deadline_ns = compactor->ready_ns;
    return report;
}

static bool
compactor_has_work(void *object)
{
    const struct compactor *compactor = object;

    if (compactor->link != NULL)
        return compactor->step == COMPACTOR_SWAP && compactor_owns(compactor->link);
    for (uint32_t i = 0; i < compactor->config.link_count; i++)
        if (compactor_owns(compactor->config.links[i]))
            return true;
    return false;
}

const struct tile_ops compactor_tile_ops = {.poll = compactor_poll, .has_work = compactor_has_work};
