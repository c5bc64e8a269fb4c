/* The tail: who waits for which partition. A partition is armed at most once at a time for this
 * door, and an armed partition holds one credit of its link for the mark that will come. */
#include "net/door/door_internal.h"

static struct door_place *
watch_place(struct door *door, const struct partition_ref *ref)
{
    return door__place(door, ref->log_tile, ref->slot);
}

void
door_watch__listen(struct door *door, uint32_t reader_idx)
{
    struct door_reader *reader = door__reader(door, reader_idx);
    struct door_place *place = watch_place(door, &reader->ref);

    CHECK(place != NULL);
    CHECK(!reader->is_watching);
    reader->is_watching = true;
    reader->previous_watcher = DOOR_NONE;
    reader->next_watcher = place->watchers;
    if (place->watchers != DOOR_NONE)
        door__reader(door, place->watchers)->previous_watcher = reader_idx;
    place->watchers = reader_idx;
}

void
door_watch__forget(struct door *door, uint32_t reader_idx)
{
    struct door_reader *reader = door__reader(door, reader_idx);

    if (!reader->is_watching)
        return;
    reader->is_watching = false;
    if (reader->previous_watcher == DOOR_NONE)
        watch_place(door, &reader->ref)->watchers = reader->next_watcher;
    else
        door__reader(door, reader->previous_watcher)->next_watcher = reader->next_watcher;
    if (reader->next_watcher != DOOR_NONE)
        door__reader(door, reader->next_watcher)->previous_watcher = reader->previous_watcher;
}

bool
door_watch__may_arm(struct door *door, const struct partition_ref *ref)
{
    const struct door_link *link = &door->links[ref->log_tile];
    const struct door_place *place = watch_place(door, ref);

    return place->armed || link->armed < link->credits_max / 4;
}

static void
watch_disarm(struct door *door, struct door_place *place, uint32_t log_tile)
{
    place->armed = false;
    door->links[log_tile].armed--;
    door_link__release(door, log_tile, 1);
}

void
door_watch__arming(struct door *door, const struct partition_ref *ref)
{
    struct door_place *place = watch_place(door, ref);

    if (place->armed && place->armed_incarnation != ref->incarnation)
        watch_disarm(door, place, ref->log_tile); /* that partition is gone and its mark with it */
    place->armed_incarnation = ref->incarnation;
    place->arming++;
}

uint32_t
door_watch__armed(struct door *door, const struct partition_ref *ref, bool armed)
{
    struct door_place *place = watch_place(door, ref);
    bool early = place->early;

    CHECK(place->arming > 0);
    place->arming--;
    if (place->arming == 0)
        place->early = false;
    if (!armed || place->armed || place->armed_incarnation != ref->incarnation)
        return 1;
    if (early) {
        place->early = false;
        return 1;
    }
    place->armed = true;
    door->links[ref->log_tile].armed++;
    return 0;
}

bool
door_watch__is_armed(struct door *door, const struct partition_ref *ref)
{
    const struct door_place *place = watch_place(door, ref);

    return place->armed && place->armed_incarnation == ref->incarnation;
}

/* All look again; those whose partition is gone are told so by its log tile. */
static void
watch_wake(struct door *door, struct door_place *place)
{
    while (place->watchers != DOOR_NONE) {
        uint32_t reader_idx = place->watchers;
        door_watch__forget(door, reader_idx);
        door_read__queue(door, reader_idx);
    }
}

void
door_watch__marked(struct door *door, uint32_t link_idx, const struct response *response)
{
    struct door_place *place = door__place(door, link_idx, response->slot);

    if (place == NULL)
        return;
    if (place->armed && place->armed_incarnation == response->ctx)
        watch_disarm(door, place, link_idx);
    else if (place->arming > 0 && place->armed_incarnation == response->ctx)
        place->early = true;
    watch_wake(door, place);
}

static void
watch_gone(struct door *door, const struct partition_ref *ref)
{
    struct door_place *place = watch_place(door, ref);

    if (place == NULL || ref->incarnation == 0 || place->incarnation != ref->incarnation)
        return;
    place->incarnation = 0;
    if (place->armed && place->armed_incarnation == ref->incarnation)
        watch_disarm(door, place, ref->log_tile);
    watch_wake(door, place);
}

void
door_watch__topic(struct door *door, const struct topic_snapshot *snapshot)
{
    uint32_t idx = topic_table_find_id(&door->topics, snapshot->id);

    if (idx != TOPIC_NONE && snapshot->gone) {
        const struct topic *topic = topic_table_at(&door->topics, idx);
        for (uint32_t i = 0; i < topic->partition_count; i++)
            watch_gone(door, &door->topics.partitions[topic->partition_first + i]);
    }
    /* A topic beyond the limits stays unknown to clients; control told the operator. */
    if (topic_table_apply(&door->topics, snapshot) != RC_OK || snapshot->gone)
        return;
    for (uint32_t i = 0; i < snapshot->partition_count; i++) {
        const struct partition_ref *ref = &snapshot->partitions[i];
        struct door_place *place = watch_place(door, ref);
        if (place == NULL || ref->incarnation == 0)
            continue;
        place->incarnation = ref->incarnation;
        place->batch_bytes_max = snapshot->is_closed ? 0 : snapshot->batch_bytes_max;
        place->is_memory = snapshot->is_memory;
    }
}
