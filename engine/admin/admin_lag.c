/* How far groups lag, in records and in time, and the list of all committed offsets.
 *
 * Time: to say exactly how old the first unread record is, the log would have to be read at every
 * scrape. Instead each partition that somebody has committed keeps LAG_SAMPLES readings of its high
 * watermark, one per question at most a second, thinned so that they are dense for the last moments
 * and sparse for long ago. When the end of the partition was where the group is now is read off
 * between two of them. A group that stood behind the oldest reading already is told "at least since
 * then"; readings begin at the first question after the start. */
#include "engine/admin/admin_internal.h"

#include "engine/base/hash.h"

#define LAG_SAMPLES 16u
#define LAG_SAMPLE_MS 1000
#define LAG_SLOTS (2u * ADMIN_LAG_OFFSETS_MAX)

_Static_assert((LAG_SLOTS & (LAG_SLOTS - 1)) == 0, "slots are found by a mask");

struct lag_history {
    uint64_t incarnation; /* 0: free */
    uint64_t count;
    int64_t wall_ms[LAG_SAMPLES]; /* ascending */
    uint64_t end[LAG_SAMPLES];    /* not descending */
};

struct admin_lag {
    int64_t sampled_ms;
    uint32_t used;
    struct lag_history slots[LAG_SLOTS];
};

size_t
admin__lag_bytes(void)
{
    return sizeof(struct admin_lag);
}

/* NULL: not there; with add, the table is full (a deleted partition's place is not given back: then
 * everything is forgotten and begins anew). */
static struct lag_history *
lag_find(struct admin_lag *lag, uint64_t incarnation, bool add)
{
    uint32_t at = (uint32_t)hash_xxh3(&incarnation, sizeof(incarnation), 0);

    if (add && lag->used == ADMIN_LAG_OFFSETS_MAX)
        memset(lag, 0, sizeof(*lag));
    for (uint32_t i = 0; i < LAG_SLOTS; i++) {
        struct lag_history *history = &lag->slots[(at + i) & (LAG_SLOTS - 1)];
        if (history->incarnation == incarnation)
            return history;
        if (history->incarnation != 0)
            continue;
        if (!add)
            return NULL;
        lag->used++;
        history->incarnation = incarnation;
        return history;
    }
    return NULL;
}

/* Drops the reading that leaves the smallest hole for its age; the first and the last stay. */
static void
lag_thin(struct lag_history *history, int64_t now_ms)
{
    uint64_t least = 1;
    double least_hole = 1e300;

    for (uint64_t i = 1; i + 1 < history->count; i++) {
        double hole = (double)(history->wall_ms[i + 1] - history->wall_ms[i - 1]) /
                      (double)(now_ms - history->wall_ms[i] + 1);
        if (hole < least_hole) {
            least_hole = hole;
            least = i;
        }
    }
    history->count--;
    for (uint64_t i = least; i < history->count; i++) {
        history->wall_ms[i] = history->wall_ms[i + 1];
        history->end[i] = history->end[i + 1];
    }
}

static void
lag_add(struct lag_history *history, int64_t now_ms, uint64_t end)
{
    if (history->count > 0 && now_ms <= history->wall_ms[history->count - 1])
        return; /* the wall clock went back, or this moment is known */
    if (history->count == LAG_SAMPLES)
        lag_thin(history, now_ms);
    history->wall_ms[history->count] = now_ms;
    history->end[history->count++] = end;
}

/* Milliseconds since the end was at offset, between two readings as if records came evenly. */
static int64_t
lag_age_ms(const struct lag_history *history, uint64_t offset, uint64_t end, int64_t now_ms)
{
    uint64_t i = 0;

    while (i < history->count && history->end[i] <= offset)
        i++;
    if (history->count == 0)
        return 0;
    if (i == 0)
        return now_ms - history->wall_ms[0]; /* at least */
    int64_t before_ms = history->wall_ms[i - 1];
    uint64_t before = history->end[i - 1];
    int64_t after_ms = i < history->count ? history->wall_ms[i] : now_ms;
    uint64_t after = i < history->count ? history->end[i] : end;
    if (after <= before)
        return now_ms - before_ms;
    double part = (double)(offset - before) / (double)(after - before);
    return now_ms - before_ms - (int64_t)(part * (double)(after_ms - before_ms));
}

/* ---- committed offsets, one after the other ---- */

bool
admin__next_offset(struct admin *admin, struct admin_offset *ret)
{
    const struct groups *groups = control_groups(admin->walked);

    while (groups != NULL) {
        if (admin->group_cursor == 0 ||
            !groups_next_offset(
                groups, admin->walk_group.id, &admin->offset_cursor, &ret->offset)) {
            if (!groups_next(groups, &admin->group_cursor, &admin->walk_group))
                return false;
            admin->offset_cursor = UINT32_MAX;
            continue;
        }
        ret->group = admin->walk_group.id;
        admin__fill_lag(admin, ret);
        return true;
    }
    return false;
}

void
admin__begin_offsets(struct admin *admin, struct control *control)
{
    admin->walked = control;
    admin->group_cursor = 0;
    admin->offset_cursor = UINT32_MAX;
}

void
admin__fill_lag(struct admin *admin, struct admin_offset *offset)
{
    struct control_topic_view topic;
    struct control_partition_view view;
    const struct group_offset_view *committed = &offset->offset;

    offset->end = NULL;
    offset->lag_records = 0;
    offset->lag_ms = 0;
    if (!control_find_topic(admin->walked, committed->topic, &topic) ||
        committed->partition >= topic.partition_count)
        return;
    control_partition(admin->walked, &topic, committed->partition, &view);
    const struct metrics_partition *metrics = admin__partition_metrics(admin, &view);
    if (metrics == NULL)
        return;
    offset->incarnation = view.incarnation;
    offset->end = &metrics->high_watermark;
    uint64_t end = admin__get(&metrics->high_watermark);
    if (committed->offset < 0 || (uint64_t)committed->offset >= end)
        return;
    const struct lag_history *history = lag_find(admin->lag, view.incarnation, false);
    offset->lag_records = end - (uint64_t)committed->offset;
    if (history == NULL)
        return;
    int64_t age_ms = lag_age_ms(
        history, (uint64_t)committed->offset, end, clock_wall_ms(&admin->clock));
    offset->lag_ms = age_ms > 0 ? (uint64_t)age_ms : 0; /* the wall clock may go back */
}

void
admin__sample_lag(struct admin *admin, struct control *control)
{
    int64_t now_ms = clock_wall_ms(&admin->clock);
    struct admin_offset offset;

    if (now_ms - admin->lag->sampled_ms < LAG_SAMPLE_MS && now_ms >= admin->lag->sampled_ms)
        return;
    admin->lag->sampled_ms = now_ms;
    admin__begin_offsets(admin, control);
    for (uint32_t i = 0; i < ADMIN_LAG_OFFSETS_MAX && admin__next_offset(admin, &offset); i++) {
        struct lag_history *history = offset.end == NULL
                                          ? NULL
                                          : lag_find(admin->lag, offset.incarnation, true);
        if (history != NULL)
            lag_add(history, now_ms, admin__get(offset.end));
    }
}
