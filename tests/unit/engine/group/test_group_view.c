/* Goal: a record says the same to `eagre dump` as to the replay, and damaged ones say nothing.
 * Method: bytes written by hand from the drawings in group_record.c and group_consumer_record.c;
 * every prefix of them; a kind that nobody knows. */
#include "engine/group/group_view.h"

#include <criterion/criterion.h>

static const uint8_t member_key[] = {3, 0xec, 0, 1, 'g', 0, 1, 'm'};
static const uint8_t member_value[] = {
    0,    0,              /* version */
    0xff, 0xff,           /* no instance */
    0,    1,    'r',      /* rack */
    0,    1,    'c',      /* client id */
    0,    1,    'h',      /* host */
    0,    0,    0,   5,   /* rebalance ms */
    0xff, 0xff,           /* no pattern */
    1,                    /* assignor */
    0,    0,    0,   7,   /* epoch */
    0,    0,    0,   6,   /* previous epoch */
    2,                    /* state */
    0,    0,    0,   1,   /* one name */
    0,    2,    't', '3', /* it */
    9,                    /* what rest is left at */
};

Test(group_view, refuses_every_prefix, .timeout = 10)
{
    const struct bytes key = {member_key, sizeof(member_key)};
    struct group_view_record view;

    for (size_t cut = 0; cut < sizeof(member_key); cut++)
        cr_expect_eq(group_view_read((struct bytes){member_key, cut}, key, &view), RC_CORRUPT);
    cr_expect_eq(group_view_read(key, (struct bytes){member_value, 1}, &view), RC_CORRUPT);
    static const uint8_t newer[] = {0, 1};
    cr_expect_eq(group_view_read(key, (struct bytes){newer, sizeof(newer)}, &view),
                 RC_NEWER_FORMAT);
    for (size_t cut = 2; cut < sizeof(member_value) - 1; cut++) {
        struct group_view_consumer consumer;
        cr_assert_eq(group_view_read(key, (struct bytes){member_value, cut}, &view), RC_OK);
        cr_expect_not(group_view_consumer(&view.rest, &consumer), "cut at %zu", cut);
    }
}

Test(group_view, reads_a_member_of_the_consumer_protocol, .timeout = 10)
{
    const struct bytes key = {member_key, sizeof(member_key)};
    struct group_view_record view;
    struct group_view_consumer consumer;

    cr_assert_eq(group_view_read(key, (struct bytes){member_value, sizeof(member_value)}, &view),
                 RC_OK);
    cr_expect_eq(view.kind, RECORD_KEY_CONSUMER_MEMBER);
    cr_expect_eq(view.member.at[0], 'm');
    cr_assert(group_view_consumer(&view.rest, &consumer));
    cr_expect_eq(consumer.instance.count, 0);
    cr_expect_eq(consumer.rack.at[0], 'r');
    cr_expect_eq(consumer.rebalance_ms, 5);
    cr_expect_eq(consumer.epoch, 7);
    cr_expect_eq(consumer.previous_epoch, 6);
    cr_expect_eq(consumer.state, 2);
    cr_expect_eq(consumer.name_count, 1);
    cr_expect_eq(consumer.names.count, 4);
    cr_expect_eq(reader_u8(&view.rest), 9);
    cr_assert_eq(group_view_read(key, (struct bytes){0}, &view), RC_OK);
    cr_expect(view.is_tombstone);
}

Test(group_view, tells_kinds_that_nobody_knows_by_their_number_alone, .timeout = 10)
{
    static const uint8_t unknown[] = {0, 77, 1, 2};
    struct group_view_record view;

    cr_assert_eq(group_view_read(
                     (struct bytes){unknown, sizeof(unknown)}, (struct bytes){unknown, 1}, &view),
                 RC_OK);
    cr_expect_eq(view.kind, 77);
    cr_expect_eq(view.group.count, 0);
}
