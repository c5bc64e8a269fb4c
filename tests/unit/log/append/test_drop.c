/* Goal: a partition that is being dropped while its disk fails goes away and harms nobody.
 * Method: a whole log tile on the virtual disk with one failing segment write. */
#include "store_rig.h"

#include <criterion/criterion.h>

static const struct log_partition_config plain = {.durability = LOG_DURABILITY_DEVICE};
static const struct rig_append long_batch = {.partition = 0, .bytes = 30000, .records = 1};

Test(log_drop, a_flush_that_fails_under_a_drop_is_not_repeated, .timeout = 60)
{
    static struct rig rig;

    rig_init(&rig, 8);
    cr_assert_eq(rig_open(&rig), RC_OK);
    rig_create(&rig, &plain);
    disk_sim_plan_add(rig.disk,
                      &(struct disk_sim_plan){.classes = DISK_SIM_WRITE,
                                              .path_part = ".seg",
                                              .count = 1,
                                              .effect = DISK_SIM_EFFECT_ERROR,
                                              .error = 5});
    struct log *log = rig.tiles[0].log;
    struct partition *partition = rig_partition(&rig, 0);
    for (uint32_t i = 0; i < 2000 && !partition->is_flushing; i++)
        cr_assert_eq(rig_append(&rig, &long_batch), LOG_APPEND_TAKEN);
    cr_assert(partition->is_flushing);
    cr_assert_eq(partition->state, PARTITION_OPEN);
    /* More is durable by and by and would be flushed behind what fails. */
    for (uint32_t i = 0; i < 8; i++)
        (void)rig_try(&rig, &long_batch);

    uint64_t events = rig.events;
    cr_assert_eq(log_drop(log, partition_slot(log, partition), partition->incarnation, 77), RC_OK);
    rig_settle(&rig);
    cr_assert_eq(rig.events, events + 1);
    cr_assert_eq(rig.last_event.kind, LOG_EVENT_DROPPED);
    cr_assert_eq(rig.last_event.rc, RC_OK);
    cr_assert_eq(log_find(log, rig.partitions[0].incarnation), UINT32_MAX);
    rig_kill(&rig);
    rig_fini(&rig);
}
