/* Goal: whatever the server refuses, forgets or survives, every record is stored once and in order,
 * and its delivery says the truth. Method: the server of this folder with faults, then at random.
 */
#include "records.h"

#include "net/kafka/kafka_error.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

struct rig {
    struct server *server;
    struct deliveries *deliveries;
    struct sending sending;
};

static struct rig
rig_open(uint32_t delivery_timeout_ms)
{
    struct rig rig = {.server = server_open(1), .deliveries = deliveries_new()};
    struct eagre_config config = server_config(rig.server);
    struct eagre_producer_options options = eagre_producer_preset("orders");

    options.on_delivery = deliveries_note;
    options.context = rig.deliveries;
    options.delivery_timeout_ms = delivery_timeout_ms;
    options.retry_ms = 1;
    cr_assert_eq(eagre_open(&config, &rig.sending.client, NULL, 0), EAGRE_OK);
    cr_assert_eq(eagre_producer_open(rig.sending.client, &options, &rig.sending.producer, NULL, 0),
                 EAGRE_OK);
    rig.sending.server = rig.server;
    rig.sending.value_bytes = 100;
    return rig;
}

static void
rig_close(struct rig *rig)
{
    eagre_close(rig->sending.client);
    server_close(rig->server);
    free(rig->deliveries);
}

static void
rig_settle(struct rig *rig, uint64_t count)
{
    eagre_flush(rig->sending.producer);
    rig->deliveries->want = count;
    cr_assert(
        server_run(rig->server, rig->sending.client, deliveries_are_there, rig->deliveries, 20),
        "%lu delivered, %lu failed of %lu, why: %s",
        rig->deliveries->delivered,
        rig->deliveries->failed,
        count,
        eagre_why(rig->sending.client));
}

static void
rig_turns(struct rig *rig, uint32_t turns)
{
    for (uint32_t i = 0; i < turns; i++) {
        eagre_poll(rig->sending.client, 0);
        server_poll(rig->server);
    }
}

static struct eagre_stats
rig_stats(const struct rig *rig)
{
    struct eagre_stats stats;

    eagre_get_stats(rig->sending.client, &stats, sizeof(stats));
    return stats;
}

/* A first batch that is answered, because it travels alone; then so many that are stored and whose
 * answers are kept back. Returns how many records were sent. */
static uint64_t
rig_store_unanswered(struct rig *rig, uint32_t batches)
{
    uint64_t number = 11;

    send_numbers(&rig->sending, 0, number);
    rig_settle(rig, number);
    uint32_t wanted = rig->server->batches + batches;
    rig->server->is_mute = true;
    for (uint32_t i = 0; i < 100000 && rig->server->batches < wanted; i++) {
        if (eagre_pending(rig->sending.producer) < batches * 11)
            number += send_some(&rig->sending, number, 11);
        rig_turns(rig, 1);
    }
    cr_assert_geq(rig->server->batches, wanted);
    return number;
}

Test(delivery, a_passing_refusal_is_sent_again_in_order, .timeout = 90)
{
    struct rig rig = rig_open(0);

    rig.server->refuse_status = KAFKA_ERROR_KAFKA_STORAGE_ERROR;
    rig.server->refuse_count = 3;
    send_numbers(&rig.sending, 0, 5000);
    rig_settle(&rig, 5000);
    cr_assert_eq(rig.deliveries->delivered, 5000);
    check_log(rig.server, 0, 0, 5000, NULL);
    cr_assert_gt(rig_stats(&rig).batches_repeated, 0);
    cr_assert_eq(rig_stats(&rig).sequence_resets, 0);
    rig_close(&rig);
}

Test(delivery, a_final_refusal_fails_its_batch_and_no_other, .timeout = 90)
{
    struct rig rig = rig_open(0);

    send_numbers(&rig.sending, 0, 500);
    rig_settle(&rig, 500);
    rig.server->refuse_status = KAFKA_ERROR_INVALID_RECORD;
    rig.server->refuse_count = 1;
    send_numbers(&rig.sending, 500, 5000);
    rig_settle(&rig, 5500);
    cr_assert(rig.deliveries->failed > 0 && rig.deliveries->failed < 20);
    cr_assert_eq(rig.deliveries->rc[500], EAGRE_REFUSED);
    cr_assert_eq(rig_stats(&rig).sequence_resets, 0, "the sequences close up");
    check_log(rig.server, 0, 0, 5500, rig.deliveries);
    rig_close(&rig);
}

Test(delivery, what_was_stored_unanswered_is_found_after_a_cut, .timeout = 90)
{
    struct rig rig = rig_open(0);

    uint64_t count = rig_store_unanswered(&rig, 4);
    server_kill(rig.server);
    rig.server->is_mute = false;
    rig_settle(&rig, count);
    cr_assert_eq(rig.deliveries->delivered, count);
    cr_assert_gt(rig.deliveries->duplicates, 0);
    cr_assert_eq(rig.deliveries->unknown_offsets, 0, "the server remembers five batches");
    check_log(rig.server, 0, 0, count, NULL);
    rig_close(&rig);
}

Test(delivery, more_than_the_server_remembers_is_stored_once_with_unknown_offsets, .timeout = 90)
{
    struct rig rig = rig_open(0);

    uint64_t count = rig_store_unanswered(&rig, 40);
    server_kill(rig.server);
    rig.server->is_mute = false;
    rig_settle(&rig, count);
    cr_assert_eq(rig.deliveries->delivered, count);
    cr_assert_gt(rig.deliveries->unknown_offsets, 0);
    cr_assert_eq(rig_stats(&rig).sequence_resets, 0);
    check_log(rig.server, 0, 0, count, NULL);
    for (uint64_t i = 0; i < count; i++)
        cr_assert(rig.deliveries->times[i] == 1 && rig.deliveries->rc[i] == EAGRE_OK);
    rig_close(&rig);
}

Test(delivery, a_server_that_forgot_confirmed_batches_gets_the_rest_under_a_new_id, .timeout = 90)
{
    struct rig rig = rig_open(0);

    send_numbers(&rig.sending, 0, 2000);
    rig_settle(&rig, 2000);
    uint32_t kept = rig.server->batches / 2;
    server_kill(rig.server);
    server_forget_batches(rig.server, 0, kept);
    uint64_t left = log_records(rig.server, 0);
    send_numbers(&rig.sending, 2000, 1000);
    rig_settle(&rig, 3000);
    cr_assert_eq(rig.deliveries->delivered, 3000);
    cr_assert_eq(rig_stats(&rig).sequence_resets, 1);
    cr_assert_eq(log_records(rig.server, 0), left + 1000, "what came after is there, once");
    rig_close(&rig);
}

Test(delivery, a_partition_that_moved_is_looked_up_again, .timeout = 90)
{
    struct rig rig = rig_open(0);

    send_numbers(&rig.sending, 0, 100);
    rig_settle(&rig, 100);
    rig.server->partitions[0].incarnation++;
    send_numbers(&rig.sending, 100, 100);
    rig_settle(&rig, 200);
    check_log(rig.server, 0, 0, 200, NULL);
    rig_close(&rig);
}

Test(delivery, time_over_is_said_and_later_records_go_under_a_new_id, .timeout = 90)
{
    struct rig rig = rig_open(300);

    uint64_t first = rig.deliveries->want = rig_store_unanswered(&rig, 3);
    cr_assert(server_run(rig.server, rig.sending.client, deliveries_are_there, rig.deliveries, 5));
    cr_assert_eq(rig.deliveries->failed, first - 11);
    cr_assert_eq(rig.deliveries->rc[11], EAGRE_TIMED_OUT);
    rig.server->is_mute = false;
    send_numbers(&rig.sending, first, 100);
    rig_settle(&rig, first + 100);
    cr_assert_eq(rig.deliveries->delivered, 100 + 11);
    check_log(rig.server, 0, 0, first + 100, NULL);
    rig_close(&rig);
}

/* A batch is stored, its answer is lost with the session, and in the next one it fails for good. */
static void
check_unsure_and_failed(uint32_t stored_batches, uint16_t refusal, uint32_t batch_bytes_max)
{
    struct rig rig = rig_open(0);

    uint64_t count = rig_store_unanswered(&rig, stored_batches);
    server_kill(rig.server);
    rig.server->is_mute = false;
    rig.server->refuse_status = refusal;
    rig.server->refuse_count = refusal != 0;
    rig.server->batch_bytes_max = batch_bytes_max;
    rig.sending.value_bytes = 8;
    while (eagre_get_state(rig.sending.client) == EAGRE_STATE_OPEN)
        eagre_poll(rig.sending.client, 1000); /* what follows is not sent in the old session */
    for (uint32_t i = 0; i < 5; i++, count += 11) { /* as many records as were in the failed one */
        cr_assert_eq(send_some(&rig.sending, count, 11), 11);
        eagre_flush(rig.sending.producer);
    }
    rig_settle(&rig, count);
    cr_assert_eq(rig.deliveries->rc[11], EAGRE_SEQUENCE_LOST, "%u", rig.deliveries->rc[11]);
    for (uint64_t i = count - 55; i < count; i++)
        cr_assert_eq(rig.deliveries->rc[i], EAGRE_OK);
    cr_assert_eq(rig_stats(&rig).sequence_resets, 1);
    check_log_is_truth(rig.server, 0, count, rig.deliveries);
    rig_close(&rig);
}

Test(delivery, the_sequence_of_one_that_may_be_stored_is_not_used_again, .timeout = 90)
{
    check_unsure_and_failed(1, KAFKA_ERROR_INVALID_RECORD, WIRE_MESSAGE_BYTES_MAX);
    check_unsure_and_failed(1, 0, 500);
}

Test(delivery, those_behind_one_that_may_be_stored_are_not_stored_twice, .timeout = 90)
{
    check_unsure_and_failed(4, KAFKA_ERROR_INVALID_RECORD, WIRE_MESSAGE_BYTES_MAX);
    check_unsure_and_failed(4, KAFKA_ERROR_UNKNOWN_PRODUCER_ID, WIRE_MESSAGE_BYTES_MAX);
    check_unsure_and_failed(4, 0, 500);
}

Test(delivery, a_refusal_among_doubts_proves_nothing, .timeout = 90)
{
    struct rig rig = rig_open(0);

    uint64_t count = rig_store_unanswered(&rig, 40);
    server_kill(rig.server);
    rig.server->is_mute = false;
    for (uint32_t i = 0; i < 10000000 && rig.server->out_of_order == 0; i++)
        rig_turns(&rig, 1);
    cr_assert_gt(rig.server->out_of_order, 0, "the first is older than what is remembered");
    rig.server->refuse_status = KAFKA_ERROR_LEADER_NOT_AVAILABLE;
    rig.server->refuse_count = 60;
    rig_settle(&rig, count);
    cr_assert_eq(rig.deliveries->delivered, count);
    cr_assert_eq(rig_stats(&rig).sequence_resets, 0);
    check_log(rig.server, 0, 0, count, NULL);
    rig_close(&rig);
}

Test(delivery, everything_arrives_once_while_all_goes_wrong, .timeout = 120)
{
    struct rig rig = rig_open(0);
    struct clock chance;
    uint64_t seed = (uint64_t)time(NULL);
    uint64_t sent = 0;
    uint64_t kill_at = 100;
    uint64_t refuse_at = 50;
    uint32_t kills = 0;

    printf("seed %lu\n", seed);
    clock_init_sim(&chance, seed, 0);
    while (sent < 30000) {
        sent += send_some(
            &rig.sending, sent, min_u64(1 + clock_random_below(&chance, 200), 30000 - sent));
        rig_turns(&rig, 1);
        rig.server->is_mute = clock_random_below(&chance, 4) == 0;
        /* By progress, not by turns: a fast host makes thousands of turns in one round trip, and
         * would be refused or killed for ever. */
        if (rig.deliveries->delivered >= refuse_at) {
            rig.server->refuse_status = KAFKA_ERROR_REQUEST_TIMED_OUT;
            rig.server->refuse_count = 1 + (uint32_t)clock_random_below(&chance, 5);
            refuse_at = rig.deliveries->delivered + 1 + clock_random_below(&chance, 2000);
        }
        if (eagre_get_state(rig.sending.client) == EAGRE_STATE_OPEN &&
            rig.deliveries->delivered >= kill_at) {
            server_kill(rig.server);
            kills++;
            kill_at = rig.deliveries->delivered + 1 + clock_random_below(&chance, 1000);
        }
    }
    rig.server->is_mute = false;
    rig.server->refuse_count = 0;
    rig_settle(&rig, sent);
    printf("%u kills, %lu unknown offsets\n", kills, rig.deliveries->unknown_offsets);
    cr_assert_eq(rig.deliveries->delivered, sent);
    check_log(rig.server, 0, 0, sent, NULL);
    for (uint64_t i = 0; i < sent; i++) {
        cr_assert_eq(rig.deliveries->times[i], 1);
        cr_assert(rig.deliveries->offset[i] == (int64_t)i ||
                      rig.deliveries->offset[i] == EAGRE_OFFSET_UNKNOWN,
                  "%lu is said to be at %ld",
                  i,
                  rig.deliveries->offset[i]);
    }
    rig_close(&rig);
}
